"""Average precision and precision-recall curves."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_distances

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics import similarity
from cpssl_lite.metrics.nearest import nearest_accuracies
from cpssl_lite.metrics.pairs import Pairs
from cpssl_lite.metrics.ranking import ranking
from cpssl_lite.metrics.retrieval import (
    PAPER_THRESHOLDS,
    average_precision,
    mean_average_precision,
    precision_recall_at_distance,
    precision_recall_at_k,
)
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.table import profile_matrix, read_profiles

SETS = ["compound/CellProfiler", "compound/DINO", "compound/MAE", "edge/DINO"]
SETS += ["orf/CellProfiler", "orf/DINO"]


def levels(folder, name):
    """(key of the reference, profiles, labels) of both aggregation levels."""
    table = read_profiles(folder / name / "well_features.csv")
    table = table[table["Metadata_Control"] != "negcon"]
    label = "Metadata_GeneGroup" if "orf" in name else "Metadata_Target"
    for key, by, column in (
        ("pert_batchagg", "batch", "Metadata_Perturbation"),
        ("target_consensus", "consensus", label),
    ):
        head, profiles = profile_matrix(aggregate(table, by))
        yield key, profiles, head[column].to_numpy()


@pytest.mark.parametrize("name", SETS)
def test_released_average_precision(parity, name):
    folder = parity / "eval"
    expected = json.loads((folder / "expected_summary.json").read_text())[name]
    each = np.load(folder / name / "expected_intermediates.npz", allow_pickle=True)
    for key, profiles, labels in levels(folder, name):
        got = average_precision(profiles, labels, "correlation")
        np.testing.assert_allclose(got, each[f"{key}_AP"], rtol=0, atol=1e-9)
        assert mean_average_precision(profiles, labels, "released") == pytest.approx(
            expected[f"{key}_mAP"], abs=1e-9
        )
        assert np.isnan(got).sum() == expected[f"{key}_n_nan_AP"]


@pytest.mark.parametrize(
    "name", ["compound/DINO", "compound/CellProfiler", "edge/DINO", "orf/DINO"]
)
def test_paper_average_precision(parity, name):
    expected = json.loads((parity / "eval/variants_not_authors.json").read_text())[name]
    titles = ("pert mAP batch-agg", "target mAP consensus")
    for title, (_, profiles, labels) in zip(titles, levels(parity / "eval", name), strict=True):
        got = mean_average_precision(profiles, labels, "paper")
        assert got == pytest.approx(expected[f"{title} cosine 100 thresholds in [0,1]"], abs=1e-9)
        full = np.nanmean(average_precision(profiles, labels, "cosine"))
        assert full == pytest.approx(expected[f"{title} cosine sklearn AP"], abs=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_released_curves(parity, name):
    for key, profiles, labels in levels(parity / "eval", name):
        for what, curve in {
            "k": precision_recall_at_k(profiles, labels, distance="correlation"),
            "d": precision_recall_at_distance(
                profiles, labels, distance="correlation", convention="released"
            ),
        }.items():
            table = pd.read_csv(parity / "eval" / name / f"expected_{key}_pr_{what}.csv")
            np.testing.assert_allclose(curve.at, table[what], atol=1e-12)
            for part, column in {
                "precision": "avg_precision_micro",
                "recall": "avg_recall_micro",
                "f1": "avg_f1_micro",
                "macro_precision": "avg_precision_macro",
                "macro_recall": "avg_recall_macro",
                "macro_f1": "avg_f1_macro",
            }.items():
                np.testing.assert_allclose(
                    getattr(curve, part), table[column], rtol=0, atol=1e-9, err_msg=column
                )


def sklearn_average_precision(profiles, labels):
    similarity_ = 1 - cosine_distances(profiles)
    values = []
    for i in range(len(labels)):
        others = np.arange(len(labels)) != i
        hit = labels[others] == labels[i]
        if not hit.any():
            values.append(np.nan)
            continue
        # Rounding must not break what is a tie in the profiles.
        values.append(average_precision_score(hit, similarity_[i, others].round(10)))
    return np.array(values)


@pytest.mark.parametrize("classes", [3, 40])
@pytest.mark.parametrize("kind", ["random", "tied", "duplicates"])
def test_equals_scikit_learn(kind, classes):
    rng = np.random.default_rng(classes)
    profiles = rng.standard_normal((160, 6))
    if kind == "tied":  # few distinct directions: many equal distances
        profiles = rng.integers(-1, 2, (160, 3)) + 0.0
        profiles[(profiles == 0).all(axis=1)] = 1.0
    elif kind == "duplicates":
        profiles[80:] = 3 * profiles[:80]
    labels = rng.integers(0, classes, 160).astype(str)
    got = average_precision(profiles, labels)
    np.testing.assert_allclose(got, sklearn_average_precision(profiles, labels), atol=1e-9)


def test_labels_of_many_hundreds_equal_scikit_learn():
    """More hits than a row has steps to tell them apart, and ties."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1200)
    profiles = np.round(rng.normal(size=(1200, 6)), 1)  # with ties
    queries = [0, 7, 500, 1199]
    got = average_precision(profiles, labels)[queries]
    similarity = 1 - cosine_distances(profiles[queries], profiles).astype(np.float64)
    for value, i, row in zip(got, queries, similarity, strict=True):
        others = np.arange(1200) != i
        expected = average_precision_score((labels == labels[i])[others], row[others].round(12))
        assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("height", [1, 13])
def test_blocks_do_not_change_anything(monkeypatch, height):
    rng = np.random.default_rng(0)
    profiles, labels = rng.standard_normal((90, 8)), rng.integers(0, 9, 90).astype(str)
    whole = average_precision(profiles, labels), precision_recall_at_k(profiles, labels).f1
    monkeypatch.setattr(similarity, "BLOCK_BYTES", 4 * 90 * height)
    monkeypatch.setattr(similarity, "BLOCK_ROWS", 1)
    parts = average_precision(profiles, labels), precision_recall_at_k(profiles, labels).f1
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_differences_below_float32_count():
    # Query, a non-hit and a hit whose similarities differ by 1e-9 only, the hit nearer.
    angles = np.array([0.0, 1.0, 1.0 - 1e-9])
    profiles = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert average_precision(profiles, np.array(["a", "b", "a"]))[0] == 1.0
    farther = np.stack([np.cos(-angles[[0, 2, 1]]), np.sin(angles[[0, 2, 1]])], axis=1)
    assert average_precision(farther, np.array(["a", "b", "a"]))[0] == 0.5


def test_thresholds_by_hand():
    # Distances to the query: hit 0.1, other 0.25, hit 0.29, hit 1.5 (beyond the last).
    cosines = 1 - np.array([0.1, 0.25, 0.29, 1.5])
    profiles = np.array([[1.0, 0.0], *zip(cosines, np.sqrt(1 - cosines**2), strict=True)])
    labels = np.array(["a", "a", "b", "a", "a"])
    got = average_precision(profiles, labels, thresholds=np.array([0.0, 0.2, 0.3, 1.0]))[0]
    assert got == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert average_precision(profiles, labels)[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_noise_free_profiles_are_perfect_and_random_ones_at_chance():
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(60), 5).astype(str)
    signal = np.repeat(rng.standard_normal((60, 30)), 5, axis=0)
    assert mean_average_precision(signal, labels, "paper") == 1.0
    assert mean_average_precision(signal, labels, "released") == 1.0
    # Expected AP of R hits spread at random over N places.
    n, r = len(labels) - 1, 4
    harmonic = (1 / np.arange(1, n + 1)).sum()
    chance = harmonic / n + (r - 1) / (n - 1) * (1 - harmonic / n)
    values = [
        np.nanmean(average_precision(rng.standard_normal((300, 30)), labels)) for _ in range(20)
    ]
    assert abs(np.mean(values) - chance) < 4 * np.std(values) / np.sqrt(20)


def test_a_label_of_one_drops_out_and_row_order_does_not_matter():
    rng = np.random.default_rng(5)
    profiles = rng.standard_normal((41, 7))
    labels = np.array([*(np.arange(40) // 4).astype(str), "alone"])
    values = average_precision(profiles, labels)
    assert np.isnan(values[40]) and not np.isnan(values[:40]).any()
    shuffle = rng.permutation(41)
    np.testing.assert_array_equal(
        average_precision(profiles[shuffle], labels[shuffle]), values[shuffle]
    )
    lonely = np.arange(41).astype(str)
    assert np.isnan(mean_average_precision(profiles, lonely, "paper"))
    assert mean_average_precision(profiles, lonely, "released") == 0.0


def test_missing_labels_are_wrong_answers_only():
    profiles = np.array([[1, 0.0], [1, 0.1], [1, 0.3]])
    values = average_precision(profiles, np.array(["a", "", "a"]))
    assert values[0] == 0.5 and np.isnan(values[1])


def test_constant_and_empty_profiles_are_far_from_all():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profiles = np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 3.5], [1.0, 2.0, 3.0]])
        values = average_precision(profiles, np.array(["a", "b", "b"]), "correlation")
    np.testing.assert_array_equal(values, [np.nan, 1.0, 1.0])


def test_k_beyond_the_number_of_profiles():
    profiles, labels = np.eye(6) + 0.1, np.array(list("aabbcc"))
    curve = precision_recall_at_k(profiles, labels, [1, 49])
    assert curve.recall[1] == 1.0 and curve.precision[1] == pytest.approx(1 / 49)


def test_paper_thresholds_are_a_hundred_from_0_to_1():
    assert len(PAPER_THRESHOLDS) == 100 and PAPER_THRESHOLDS[[0, -1]].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("n", [0, 5])
def test_curves_without_any_label_are_zero(n):
    profiles = np.random.default_rng(0).normal(size=(n, 3))
    for curve in (precision_recall_at_k, precision_recall_at_distance):
        found = curve(profiles, np.full(n, ""), [0.5, 1])
        assert not np.any(found[1:]) and found.macro_f1.shape == (2,)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda x, y: average_precision(x, y, "euclid"), "distance 'euclid' is not one of cosine"),
        (
            lambda x, y: mean_average_precision(x, y, "mine"),
            "convention 'mine' is not one of paper",
        ),
        (
            lambda x, y: ranking(x, [(Pairs(), Pairs())]),
            "positives needs something that is the sam",
        ),
        (lambda x, y: nearest_accuracies(x, y, y, y, None, "released"), "needs the well positions"),
    ],
)
def test_what_cannot_be_asked_is_an_input_error(ask, message):
    with pytest.raises(InputError, match=message):
        ask(np.eye(4), np.array(list("aabb")))
