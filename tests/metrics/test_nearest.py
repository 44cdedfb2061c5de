"""Nearest-neighbour accuracies: the reference's numbers, and what they must be by hand."""

import json

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics import similarity
from cpssl_lite.metrics.nearest import accuracy, nearest_accuracies, nearest_neighbours, standardise
from cpssl_lite.profiles.table import profile_matrix, read_profiles

SETS = ["compound/CellProfiler", "compound/DINO", "compound/MAE", "edge/DINO"]
SETS += ["orf/CellProfiler", "orf/DINO"]


def wells(folder, name):
    table = read_profiles(folder / name / "well_features.csv")
    head, profiles = profile_matrix(table[table["Metadata_Control"] != "negcon"])
    label = "Metadata_GeneGroup" if "orf" in name else "Metadata_Target"
    names = ("Metadata_Perturbation", label, "Metadata_Batch", "Metadata_Well")
    return profiles, *(head[name].to_numpy() for name in names)


@pytest.mark.parametrize("name", SETS)
def test_released_accuracies_and_neighbours(parity, name):
    data = wells(parity / "eval", name)
    got = nearest_accuracies(*data, convention="released")
    expected = json.loads((parity / "eval/expected_summary.json").read_text())[name]
    group = "gene_group" if "orf" in name else "target"
    for key, reference in {
        "perturbation_nn": "pert_acc",
        "perturbation_nsb": "pert_acc_NSB",
        "label_nsp": f"{group}_acc_NSP",
        "label_nsbp": f"{group}_acc_NSBP",
    }.items():
        assert got[key] == pytest.approx(expected[reference], abs=1e-9), key
    # Not only the share: the label of every well's neighbour, exact ties included.
    profiles, treatment, *_ = data
    each = np.load(parity / "eval" / name / "expected_intermediates.npz", allow_pickle=True)
    found = nearest_neighbours(standardise(profiles), [()])[0]
    codes = np.unique(treatment, return_inverse=True)[1]
    np.testing.assert_array_equal(codes[found], each["pert_NN"])


@pytest.mark.parametrize(
    "name", ["compound/DINO", "compound/CellProfiler", "edge/DINO", "orf/DINO"]
)
def test_paper_accuracies(parity, name):
    got = nearest_accuracies(*wells(parity / "eval", name), convention="paper")
    expected = json.loads((parity / "eval/variants_not_authors.json").read_text())[name]
    for key, variant in {
        "perturbation_nsb": "pert NSB raw-cosine exclude whole batch",
        "label_nsp": "tgt NSP raw-cosine true not-same-perturbation",
        "label_nsbp": "tgt NSBP raw-cosine exclude whole batch or perturbation",
    }.items():
        assert got[key] == pytest.approx(expected[variant], abs=1e-9), key


def brute(profiles, rule):
    distance = cosine_distances(profiles)
    np.fill_diagonal(distance, np.inf)
    for codes in rule:
        distance[codes[:, None] == codes[None, :]] = np.inf
    found = distance.argmin(axis=1)
    return np.where(np.isinf(distance.min(axis=1)), -1, found)


@pytest.mark.parametrize("height", [1, 7, 10_000])
def test_equals_a_full_matrix_whatever_the_block(monkeypatch, height):
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal((150, 12))
    batch, treatment = rng.integers(0, 4, 150), rng.integers(0, 20, 150)
    monkeypatch.setattr(similarity, "BLOCK_BYTES", 4 * 150 * height)
    monkeypatch.setattr(similarity, "BLOCK_ROWS", 1)
    rules = [(), (batch,), (treatment,), (batch, treatment)]
    for found, rule in zip(nearest_neighbours(profiles, rules), rules, strict=True):
        assert (found == brute(profiles, rule)).all()


def test_float64_decides_between_neighbours_that_float32_cannot_tell_apart():
    # The second neighbour is nearer by 1e-10, far below float32.
    angles = np.array([0.0, 1.0 + 1e-10, 1.0, 2.5])
    profiles = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert nearest_neighbours(profiles, [()])[0][0] == 2


def test_the_tolerance_is_that_of_the_device_that_multiplies(monkeypatch):
    """One that rounds to 11 bits, as tensor cores do with TF32: float64 still decides."""
    product = similarity._product

    def coarse(low, there, on_gpu):
        if on_gpu:
            low, there = (x.astype(np.float16).astype(np.float32) for x in (low, there))
        return product(low, there, on_gpu=False)

    profiles = np.random.default_rng(3).standard_normal((300, 12))
    rows = similarity.unit_rows(profiles)
    on_processor = similarity.nearness(rows)
    monkeypatch.setattr(similarity, "_product", coarse)
    monkeypatch.setattr(similarity, "_on_gpu", lambda n: True)
    assert similarity.nearness(rows) > 100 * on_processor
    assert (nearest_neighbours(profiles, [()])[0] == brute(profiles, ())).all()


def test_of_equal_neighbours_the_first_counts():
    profiles = np.array([[1.0, 0.2], [0.3, 1.0], [0.3, 1.0], [0.6, 2.0]])
    assert nearest_neighbours(profiles, [()])[0].tolist() == [1, 2, 1, 1]


def test_row_order_does_not_matter():
    rng = np.random.default_rng(1)
    profiles = rng.standard_normal((80, 10))
    arrays = [rng.integers(0, k, 80).astype(str) for k in (20, 10, 3, 12)]
    shuffle = rng.permutation(80)
    for convention in ("paper", "released"):
        one = nearest_accuracies(profiles, *arrays, convention=convention)
        other = nearest_accuracies(
            profiles[shuffle], *(a[shuffle] for a in arrays), convention=convention
        )
        assert one == pytest.approx(other, abs=0)


def test_single_batch_has_no_match_across_batches():
    profiles = np.random.default_rng(2).standard_normal((12, 4))
    treatment, label, batch = np.arange(12) // 3, np.arange(12) // 6, np.zeros(12, dtype=int)
    got = nearest_accuracies(profiles, treatment.astype(str), label.astype(str), batch.astype(str))
    assert np.isnan(got["perturbation_nsb"]) and np.isnan(got["label_nsbp"])
    assert 0 <= got["perturbation_nn"] <= 1


def test_masked_wells_match_the_first_row_in_the_released_convention():
    codes, nobody = np.array([5, 5, 6]), np.array([-1, -1, -1])
    assert accuracy(codes, nobody, "released") == pytest.approx(2 / 3)
    assert np.isnan(accuracy(codes, nobody, "paper"))


def test_wells_without_a_label_take_no_part_in_label_accuracies():
    profiles = np.array([[1, 0.0], [1, 0.1], [0, 1.0], [0.1, 1.0], [1, 0.05]])
    treatment, batch = np.array(list("abcde")), np.array(list("12121"))
    label = np.array(["x", "x", "y", "y", ""])
    got = nearest_accuracies(profiles, treatment, label, batch)
    assert got["label_nsp"] == 1.0  # the fifth is nearest to the first two, but has no label


def test_chance_level_of_random_profiles():
    rng = np.random.default_rng(3)
    n, k = 3000, 10
    labels = rng.integers(0, k, n).astype(str)
    treatment = np.arange(n).astype(str)
    batch = rng.integers(0, 5, n).astype(str)
    got = nearest_accuracies(rng.standard_normal((n, 20)), labels, labels, batch, treatment)
    sd = np.sqrt(0.1 * 0.9 / n)
    assert abs(got["perturbation_nn"] - 1 / k) < 4 * sd
    assert abs(got["perturbation_nsb"] - 1 / k) < 4 * sd


def test_unknown_convention():
    with pytest.raises(InputError, match="theirs"):
        nearest_accuracies(np.eye(2), *np.array([["a", "b"]] * 4), convention="theirs")


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.filterwarnings("error")
def test_no_label_at_all_is_quietly_undefined(convention):
    n = 12
    profiles, names = np.random.default_rng(0).normal(size=(n, 4)), np.arange(n) % 3
    args = (profiles, names, np.full(n, ""), names, np.arange(n))
    got = nearest_accuracies(*args, convention=convention)
    assert np.isnan(got["label_nsp"]) and np.isnan(got["label_nsbp"])
    assert 0 <= got["perturbation_nn"] <= 1
