"""BRAS, CiLISI, kBET and principal-component regression, by hand; scib-metrics': test_parity.py."""

import numpy as np
import pytest
from scipy.stats import chisquare
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics.pairwise import cosine_distances

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.graph import nearest_graph
from cpssl_lite.metrics.mixing import bras, cilisi, kbet, pc_regression


def wells(shift=0.5, seed=0, n=240, batches=3, labels=4, d=12):
    """Profiles of labels that differ, and of batches that are shifted."""
    rng = np.random.default_rng(seed)
    label, batch = rng.integers(0, labels, n), rng.integers(0, batches, n)
    profiles = rng.standard_normal((n, d)) + 2 * rng.standard_normal((labels, d))[label]
    return profiles + shift * rng.standard_normal((batches, d))[batch], label, batch


def test_bras_by_full_matrices():
    profiles, label, batch = wells()
    batch[label == 3] = 0  # a label of one batch is left out
    means = []
    for one in range(3):
        mine = label == one
        distance, codes = cosine_distances(profiles[mine]), batch[mine]
        values = []
        for i, row in enumerate(distance):
            own = (codes == codes[i]) & (np.arange(len(row)) != i)
            a, b = row[own].mean(), row[codes != codes[i]].mean()
            values.append(1 - abs(b - a) / max(a, b))
        means.append(np.mean(values))
    assert bras(profiles, label, batch) == pytest.approx(np.mean(means), abs=1e-12)
    assert np.isnan(bras(profiles, label, np.zeros(240)))


def test_bras_sees_what_silhouette_misses():
    """Two of three batches overlap in each of two pairs of places: silhouette calls it mixed."""
    rng = np.random.default_rng(1)
    centre = 6 * np.eye(12)[[0, 0, 1, 1]]
    batch = np.repeat(np.arange(4), 50)
    apart = centre[batch] + rng.standard_normal((200, 12))
    mixed = rng.standard_normal((200, 12)) + 6 * np.eye(12)[0]
    one = np.zeros(200)
    assert bras(mixed, one, batch) > 0.95 > 0.6 > bras(apart, one, batch)


def test_more_shift_is_less_mixed():
    scores = []
    for shift in (0.0, 0.5, 1.0, 3.0):
        profiles, label, batch = wells(shift)
        graph = nearest_graph(profiles, 30)
        scores.append(
            [
                bras(profiles, label, batch),
                np.nanmean(cilisi(profiles, label, batch, 30)),
                kbet(graph, batch).accepted,
                -pc_regression(profiles, batch),
            ]
        )
    assert (np.diff(scores, axis=0) < 0).all()
    assert scores[0][0] > 0.9 and scores[0][1] > 0.55 and 0.85 < scores[0][2] < 1


def test_cilisi_looks_within_labels_only():
    profiles, label, batch = wells(0.0)
    batch[label == 0] = 0
    few = np.flatnonzero(label == 1)[9:]
    label[few] = -1
    values = cilisi(profiles, np.where(label < 0, "", label.astype(str)), batch)
    assert np.isnan(values[label <= 1]).all()
    assert (
        values[label > 1].mean() > 0.7
        and 0 <= values[label > 1].min() <= values[label > 1].max() <= 1
    )
    # Labels far apart change nothing within.
    moved = profiles + 50 * np.eye(12)[label]
    here = label == 2
    alone = cilisi(moved[here], label[here], batch[here])
    np.testing.assert_allclose(cilisi(moved, label, batch)[here], alone)


def test_kbet_is_a_chi_squared_test_around_each_profile():
    profiles, _, batch = wells()
    graph = nearest_graph(profiles, 25)
    got = kbet(graph, batch, 25)
    share = np.bincount(batch) / 240
    for i in (0, 5, 100):
        seen = np.bincount(batch[graph.neighbours[i]], minlength=3)
        expected = chisquare(seen, share * 25)
        assert got.statistic[i] == pytest.approx(expected.statistic)
        assert got.p[i] == pytest.approx(expected.pvalue)
    assert got.accepted == np.mean(got.p >= 0.05)
    np.testing.assert_array_equal(kbet(graph, batch).p, kbet(graph, batch, 20).p)
    assert np.isnan(kbet(graph, np.zeros(240)).accepted)
    with pytest.raises(
        InputError, match="kBET needs 26 neighbours of every well, the graph has 25"
    ):
        kbet(graph, batch, 26)


@pytest.mark.parametrize("components", [None, 1, 5])
def test_pc_regression_by_scikit_learn(components):
    profiles, _, batch = wells()
    pca = PCA(components).fit(profiles)
    scores = pca.transform(profiles)
    one_hot = batch[:, None] == np.arange(3)
    for factor, design in ((batch, one_hot), (batch + 0.5, batch[:, None])):
        share = [LinearRegression().fit(design, s).score(design, s) for s in scores.T]
        expected = np.average(share, weights=pca.explained_variance_)
        assert pc_regression(profiles, factor, components) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(InputError, match="13 components of 12"):
        pc_regression(profiles, batch, 13)
