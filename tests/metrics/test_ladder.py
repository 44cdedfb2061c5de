"""The stringency ladder: the accuracies that are there, full matrices, and planted shortcuts."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_distances

from cpssl_lite.metrics.ladder import ladder
from cpssl_lite.metrics.nearest import nearest_accuracies
from cpssl_lite.metrics.similarity import encode
from cpssl_lite.profiles.table import profile_matrix, read_profiles


@pytest.mark.parametrize("name", ["compound/DINO", "edge/DINO", "orf/CellProfiler"])
def test_rungs_equal_the_present_accuracies(parity, name):
    table = read_profiles(parity / "eval" / name / "well_features.csv")
    head, profiles = profile_matrix(table[table["Metadata_Control"] != "negcon"])
    label = head["Metadata_GeneGroup" if "orf" in name else "Metadata_Target"].to_numpy()
    treatment, batch = (head[f"Metadata_{c}"].to_numpy() for c in ("Perturbation", "Batch"))
    expected = nearest_accuracies(profiles, treatment, label, batch)
    treated, group, batches = encode(treatment), encode(label), encode(batch)
    found = ladder(profiles, treated, {"nr": [], "nsb": [batches]}, ks=[1])
    found |= ladder(profiles, group, {"nsp": [treated], "nsbp": [batches, treated]}, ks=[1])
    for rung, key in {
        "nr": "perturbation_nn",
        "nsb": "perturbation_nsb",
        "nsp": "label_nsp",
        "nsbp": "label_nsbp",
    }.items():
        assert found[rung].recall[0] == pytest.approx(expected[key], abs=1e-12, nan_ok=True), rung


def test_equals_a_full_matrix():
    rng = np.random.default_rng(0)
    n = 150
    truth, batch, well = (rng.integers(-1, k, n) for k in (20, 3, 12))
    profiles = rng.standard_normal((n, 5)) + rng.standard_normal((21, 5))[truth]
    got = ladder(profiles, truth, {"all": [batch, well]}, ks=[1, 3])["all"]
    distance = cosine_distances(profiles)
    hits, precision = [], []
    for i in np.flatnonzero(truth >= 0):
        free = (truth >= 0) & (np.arange(n) != i)
        for code in (batch, well):
            free &= (code != code[i]) | (code[i] < 0)
        correct = (truth == truth[i])[free]
        order = np.argsort(distance[i, free])
        hits.append([correct[order[:k]].any() for k in (1, 3)])
        if correct.any():
            precision.append(average_precision_score(correct, -distance[i, free]))
    np.testing.assert_allclose(got.recall, np.mean(hits, axis=0), atol=1e-12)
    assert got.precision == pytest.approx(np.mean(precision), abs=1e-9)
    assert got.queries == len(hits)


def shortcut(by, seed=0):
    """40 perturbations in 8 batches of 2 plates; profiles know the position or the batch alone.

    A perturbation stands at two positions, on one of the two plates of each batch at either.
    """
    rng = np.random.default_rng(seed)
    batch, plate, place = (
        a.ravel() for a in np.meshgrid(np.arange(8), [0, 1], np.arange(40), indexing="ij")
    )
    treatment = np.where(plate == 0, place, (place + 1) % 40)
    known = {"position": place, "batch": batch * 40 + treatment}[by]
    effect = rng.standard_normal((known.max() + 1, 30))[known]
    return effect + 0.3 * rng.standard_normal(effect.shape), treatment, batch, place


@pytest.mark.parametrize(("by", "rung"), [("position", "nsl"), ("batch", "nsb")])
def test_a_planted_shortcut_falls_to_chance_at_its_rung(by, rung):
    at_rung, before, chance = [], [], []
    for seed in range(5):
        profiles, treatment, batch, place = shortcut(by, seed)
        rungs = {"nr": [], "nsb": [batch], "nsl": [place], "all": [batch, place]}
        found = ladder(profiles, treatment, rungs)
        other = {"nsl": "nsb", "nsb": "nr"}[rung]
        at_rung.append(found[rung].recall[0])
        before.append(found[other].recall[0])
        chance.append(found["all"].recall[0])
    # Of 600 to 632 admitted, 8 (not that position) or 14 (not that batch) are right.
    right = {"nsl": 8 / 624, "nsb": 14 / 560}[rung]
    error = 3 * np.sqrt(right / (5 * 640)) * 3  # replicates of a perturbation go together
    assert min(before) > 0.4
    assert abs(np.mean(at_rung) - right) < error
    assert np.mean(chance) < right + error


def test_nobody_admitted_is_undefined():
    profiles, one = np.eye(4) + 0.1, np.zeros(4, dtype=int)
    found = ladder(profiles, np.array([0, 0, 1, 1]), {"nsb": [one]})["nsb"]
    assert np.isnan(found.recall).all() and np.isnan(found.precision) and found.queries == 0
    assert ladder(profiles, np.full(4, -1), {"nr": []})["nr"].queries == 0
