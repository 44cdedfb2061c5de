"""Batch-effect metrics: published algorithms written out plainly, and what must be by hand."""

import networkx as nx
import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_samples
from sklearn.metrics.pairwise import cosine_distances

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics import similarity
from cpssl_lite.metrics.batch import gaussian_clusters, graph_connectivity, lisi, silhouette
from cpssl_lite.metrics.graph import Graph, nearest_graph
from cpssl_lite.metrics.variance import variance_explained


@pytest.fixture(scope="module")
def wells():
    """Profiles of 300 wells in five batches of different sizes, with a moderate effect."""
    rng = np.random.default_rng(3)
    batch = np.repeat(np.array(["b1", "b2", "b3", "b4", "b5"]), [120, 80, 60, 38, 2])
    profiles = rng.standard_normal((300, 40))
    profiles += 0.5 * rng.standard_normal((5, 40))[np.unique(batch, return_inverse=True)[1]]
    return profiles, batch


def small_blocks(monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK_BYTES", 4 * 300 * 7)
    monkeypatch.setattr(similarity, "BLOCK_ROWS", 1)


def brute_neighbours(profiles, k):
    distance = cosine_distances(profiles)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distance, order, axis=1)


def plain_lisi(distance, neighbours, labels, perplexity):
    """One well after the other, as harmonypy 0.0.9 does it (written from its description)."""
    result = []
    for far, who in zip(distance, neighbours, strict=True):
        beta, low, high = 1.0, -np.inf, np.inf
        for step in range(51):
            raw = np.exp(-far * beta)
            share = raw / raw.sum()
            entropy = np.log(raw.sum()) + beta * (far @ share)
            gap = entropy - np.log(perplexity)
            if abs(gap) < 1e-5 or step == 50:
                break
            if gap > 0:
                low = beta
                beta = beta * 2 if np.isinf(high) else (beta + high) / 2
            else:
                high = beta
                beta = beta / 2 if np.isinf(low) else (beta + low) / 2
        result.append(1 / sum(share[labels[who] == name].sum() ** 2 for name in set(labels)))
    return np.array(result)


@pytest.mark.parametrize("distance", ["cosine", "correlation", "euclidean"])
def test_silhouette_is_scikit_learns(wells, monkeypatch, distance):
    profiles, batch = wells
    small_blocks(monkeypatch)
    expected = silhouette_samples(profiles, batch, metric=distance)
    np.testing.assert_allclose(silhouette(profiles, batch, distance), expected, atol=1e-9)


def test_silhouette_of_zero_and_equal_profiles(wells):
    profiles, batch = wells
    profiles = profiles.copy()
    profiles[[0, 130]] = 0
    profiles[1:4] = profiles[4]
    expected = silhouette_samples(profiles, batch, metric="cosine")
    np.testing.assert_allclose(silhouette(profiles, batch), expected, atol=1e-9)


def test_graph_is_the_exact_one(wells, monkeypatch):
    profiles, _ = wells
    small_blocks(monkeypatch)
    # Near copies, which float32 cannot order.
    near = profiles.copy()
    near[:60] = profiles[0] + 1e-7 * profiles[:60]
    for values in (profiles, near):
        got = nearest_graph(values, 20)
        _, distance = brute_neighbours(values.astype(np.longdouble), 20)
        np.testing.assert_allclose(got.distance, distance.astype(float), atol=1e-12)
    got = nearest_graph(profiles, 20)
    np.testing.assert_array_equal(got.neighbours, brute_neighbours(profiles, 20)[0])
    assert nearest_graph(profiles[:5], 20).neighbours.shape == (5, 4)
    assert nearest_graph(profiles[:1], 20).neighbours.shape == (1, 0)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 10, 15])
def test_connectivity_is_the_networkx_count(wells, k):
    profiles, batch = wells
    edges = [(i, j) for i, row in enumerate(brute_neighbours(profiles, k)[0]) for j in row]
    joined = nx.Graph(edges)
    shares = [
        max(map(len, nx.connected_components(joined.subgraph(np.flatnonzero(batch == name)))))
        / np.count_nonzero(batch == name)
        for name in np.unique(batch)
    ]
    got = graph_connectivity(nearest_graph(profiles, 15), batch, k)
    assert got == pytest.approx(np.mean(shares), abs=1e-12)


@pytest.mark.parametrize("k", [15, 30, 60, 90])
def test_lisi_is_harmonypys(wells, k):
    profiles, batch = wells
    graph = nearest_graph(profiles, 89)
    # k neighbours are asked for, the first is the profile itself and is dropped.
    neighbours, distance = brute_neighbours(profiles, k - 1)
    expected = plain_lisi(distance, neighbours, batch, k / 3)
    np.testing.assert_allclose(lisi(graph, batch, k), expected, atol=1e-6)
    # On Euclidean distances of some hundreds, too.
    expected = plain_lisi(300 * distance, neighbours, batch, k / 3)
    got = lisi(Graph(graph.neighbours, 300 * graph.distance), batch, k)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_lisi_is_what_harmonypy_0_0_9_gave():
    """Numbers of ``compute_lisi(points, labels, ["b"], perplexity=10)`` of that release."""
    i = np.arange(40)
    points = np.column_stack([i * i % 41, i * 7 % 29, i**3 % 37]).astype(float)
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, :29]
    graph = Graph(order, np.take_along_axis(distance, order, axis=1))
    expected = [2.119633266, 2.946218914, 2.275947998, 2.172356943, 2.570025944, 2.723996804]
    np.testing.assert_allclose(lisi(graph, i % 3, 30)[:6], expected, atol=1e-8)


@pytest.mark.parametrize("k", [15, 30, 60, 90])
def test_equal_profiles(wells, k):
    """More copies than a neighbourhood holds: no beta reaches the perplexity."""
    profiles, batch = wells
    profiles = profiles.copy()
    profiles[20:140] = profiles[0] * np.geomspace(0.1, 7, 120)[:, None]  # in two batches
    profiles[200:210] = profiles[200]
    graph = nearest_graph(profiles, 89)
    assert np.all(graph.distance[20:140] == 0) and np.all(graph.distance[200:210, :9] == 0)
    expected = plain_lisi(graph.distance[:, : k - 1], graph.neighbours[:, : k - 1], batch, k / 3)
    np.testing.assert_allclose(lisi(graph, batch, k), expected, atol=1e-6)
    # Equal profiles stand in table order; the first k - 1 of these are of batch b1.
    assert np.allclose(lisi(graph, batch, k)[20:140], 1)
    mixed = np.where(np.arange(300) % 2, "b1", "b2")
    assert np.allclose(lisi(graph, mixed, k)[20:140], 2, atol=0.05)


def test_fewer_wells_than_neighbours(wells):
    profiles, batch = wells[0][::30], wells[1][::30]  # 10 wells
    graph = nearest_graph(profiles, 90)
    assert graph.neighbours.shape == (10, 9)
    assert graph_connectivity(graph, batch, 9) == 1  # everyone is joined to everyone
    assert ((lisi(graph, batch, 10) >= 1) & (lisi(graph, batch, 10) <= 4)).all()
    with pytest.raises(InputError, match="needs 10 neighbours of every well, the graph has 9"):
        graph_connectivity(graph, batch, 10)


def test_lisi_of_equal_weights_by_hand():
    # Five neighbours at one distance, three of batch a and two of b: 1 / (0.6^2 + 0.4^2).
    neighbours = np.array([[j for j in range(6) if j != i] for i in range(6)])
    labels = np.array(["a", "a", "a", "b", "b", "a"])
    got = lisi(Graph(neighbours, np.full((6, 5), 1e4)), labels, 6)
    assert got[5] == pytest.approx(1 / (0.6**2 + 0.4**2))
    assert got[3] == pytest.approx(1 / (0.8**2 + 0.2**2))


def test_one_batch_and_batches_of_one_well(wells):
    profiles, batch = wells
    graph = nearest_graph(profiles, 29)
    one = np.full(300, "b1")
    assert np.isnan(silhouette(profiles, one)).all()
    assert np.allclose(lisi(graph, one, 30), 1)
    assert graph_connectivity(graph, one, 15) == 1
    each = np.arange(300).astype(str)
    assert (silhouette(profiles, each) == 0).all()
    assert graph_connectivity(graph, each, 15) == 1
    # All neighbours differ: at most the perplexity, 10, if their weights are equal.
    assert ((lisi(graph, each, 30) > 3) & (lisi(graph, each, 30) < 10)).all()
    alone = batch.copy()
    alone[0] = "single"
    got = silhouette(profiles, alone)
    np.testing.assert_allclose(got, silhouette_samples(profiles, alone, metric="cosine"), atol=1e-9)
    assert got[0] == 0


def test_disconnected_graph_by_hand():
    # Four pairs, each far from the others: at k = 1 a batch of two pairs is cut in half.
    profiles = np.repeat(np.eye(4), 2, axis=0) + 0.01 * np.tile([[1.0], [0.0]], (4, 4))
    graph = nearest_graph(profiles, 1)
    batch = np.array(["a"] * 4 + ["b"] * 2 + ["c", "d"])
    # a: 2 of 4, b: 2 of 2, c and d: a single well each (their edge is between batches).
    assert graph_connectivity(graph, batch, 1) == pytest.approx((0.5 + 1 + 1 + 1) / 4)


def test_what_cannot_be_measured_says_so(wells):
    profiles, batch = wells
    graph = nearest_graph(profiles, 10)
    with pytest.raises(InputError, match="graph has 10"):
        graph_connectivity(graph, batch, 15)
    with pytest.raises(InputError, match="LISI with k = 15 needs 14"):
        lisi(graph, batch, 15)
    with pytest.raises(InputError, match="k of 6"):
        lisi(graph, batch, 3)
    with pytest.raises(InputError, match="2 of 300 wells"):
        silhouette(profiles, np.where(batch == "b5", "", batch))


def test_baselines_are_the_extremes():
    batch = np.repeat(["a", "b", "c", "d"], 60)
    profiles, shuffled = gaussian_clusters(batch, 50, seed=1)
    graph = nearest_graph(profiles, 29)
    assert silhouette(profiles, batch).min() > 0.5
    assert graph_connectivity(graph, batch, 15) == 1
    assert np.allclose(lisi(graph, batch, 30), 1)
    assert abs(silhouette(profiles, shuffled).mean()) < 0.1
    assert lisi(graph, shuffled, 30).mean() > 2.5
    assert sorted(shuffled) == sorted(batch)
    # The kind of cluster that scikit-learn's generator makes.
    blobs, code = make_blobs(240, 50, centers=4, random_state=1)
    ours, theirs = (np.mean(silhouette(*pair)) for pair in ((profiles, batch), (blobs, code)))
    assert ours == pytest.approx(theirs, abs=0.05)


# --- variance explained ---------------------------------------------------------------------


def test_variance_explained_is_that_of_components_and_of_regression(wells):
    profiles, batch = wells
    got = variance_explained(profiles, batch)
    # By components: R squared of each, weighted by its variance.
    centred = profiles - profiles.mean(axis=0)
    scores = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    design = (batch[:, None] == np.unique(batch)).astype(float)
    fitted = design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    by_component = fitted.var(axis=0) / scores.var(axis=0)
    assert got.share == pytest.approx(np.average(by_component, weights=scores.var(axis=0)))
    line = np.arange(300.0)
    expected = [np.corrcoef(line, c)[0, 1] ** 2 for c in scores.T]
    expected = np.average(expected, weights=scores.var(axis=0))
    assert variance_explained(profiles, line).share == pytest.approx(expected)


def test_variance_of_a_meaningless_factor_is_zero_on_average():
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal((200, 30))
    shares = [variance_explained(profiles, rng.integers(50, size=200)) for _ in range(40)]
    assert np.mean([s.share for s in shares]) == pytest.approx(49 / 199, abs=0.02)
    assert np.mean([s.adjusted for s in shares]) == pytest.approx(0, abs=0.01)


def test_variance_of_undefined_factors(wells):
    profiles, batch = wells
    for factor in (np.full(300, "a"), np.arange(300), np.full(300, 0.1), np.full(300, "")):
        assert np.isnan(variance_explained(profiles, factor)).all()
    assert np.isnan(variance_explained(np.ones((300, 4)), batch)).all()
    # Wells without a value are left out.
    gaps = np.where(np.arange(300) % 3 == 0, "", batch)
    expected = variance_explained(profiles[gaps != ""], batch[gaps != ""])
    assert variance_explained(profiles, gaps) == pytest.approx(expected)
