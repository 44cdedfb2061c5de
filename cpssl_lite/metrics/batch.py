"""How far batches (or sources) stay apart: silhouette, graph connectivity, LISI.

Paper, "Quantification of technical biases". High silhouette, high connectivity and low LISI
mean a strong effect. Labels may not be missing; every function takes one label per profile.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from cpssl_lite.errors import InputError
from cpssl_lite.metrics.graph import Graph
from cpssl_lite.metrics.similarity import BLOCK_BYTES, encode, unit_rows

CONNECTIVITY_K = (1, 2, 3, 5, 10, 15)
LISI_K = (15, 30, 60, 90)
ROWS = 256  # profiles whose weights are sought together: few enough to stay in the cache


def silhouette(profiles: np.ndarray, labels: np.ndarray, distance: str = "cosine") -> np.ndarray:
    """Silhouette of every profile within its batch.

    Parameters
    ----------
    profiles : (n, d)
    labels : (n,)
    distance : {"cosine", "correlation", "euclidean"}
        The mean cosine distance to a batch is 1 minus the product with the batch's mean unit
        vector, so the first two never look at pairs. Euclidean does, in blocks.

    Returns
    -------
    (n,) float64
        From -1 to 1: (b - a) / max(a, b), with a the mean distance to the others of the own
        batch and b that to the nearest other batch. 0 for a batch of one profile, NaN where
        there is a single batch. Equals ``sklearn.metrics.silhouette_samples``.
    """
    codes, size = _codes(labels)
    if len(size) < 2:
        return np.full(len(codes), np.nan)
    member = (codes[:, None] == np.arange(len(size))).astype(np.float64)
    if distance == "euclidean":
        values = np.asarray(profiles, dtype=np.float64)
        height = max(int(BLOCK_BYTES / (8 * len(values))), 1)
        starts = range(0, len(values), height)
        total = np.vstack([cdist(values[i : i + height], values) @ member for i in starts])
        itself = np.zeros(len(values))
    else:
        rows = unit_rows(profiles, distance)
        total = size - rows @ (member.T @ rows).T
        itself = 1 - np.einsum("ij,ij->i", rows, rows)  # 1 for a profile of length zero
    here = np.arange(len(codes))
    others = size[codes] - 1
    within = (total[here, codes] - itself) / np.maximum(others, 1)
    means = total / size
    means[here, codes] = np.inf
    nearest = means.min(axis=1)
    largest = np.maximum(within, nearest)
    apart = np.divide(nearest - within, largest, out=np.zeros_like(largest), where=largest > 0)
    return np.where(others > 0, apart, 0.0)


def graph_connectivity(graph: Graph, labels: np.ndarray, k: int) -> float:
    """Mean share of a batch's profiles that hang together in the k-nearest-neighbour graph.

    Two profiles are joined if either is among the k nearest others of the other (an undirected
    graph). Within each batch alone, the largest connected component is divided by the batch's
    size; the result is the mean over batches. A batch of one profile counts as 1, and a
    single batch is measured like any other.

    Raises
    ------
    InputError
        The graph has fewer than k neighbours.

    Notes
    -----
    The paper names the cosine graph and the largest connected component, not the direction of
    edges; with directed edges and strong components the values are lower.
    """
    codes, size = _codes(labels)
    near = _first(graph, k, "graph connectivity")[0]
    start = np.repeat(np.arange(len(codes)), k)
    stop = near.ravel()
    same = codes[start] == codes[stop]
    edges = (np.ones(np.count_nonzero(same), dtype=bool), (start[same], stop[same]))
    joined = csr_array(edges, shape=(len(codes), len(codes)))
    # No edge leaves a batch, so every component lies in one.
    component = connected_components(joined, directed=False)[1]
    count = np.bincount(component)
    largest = np.zeros(len(size))
    np.maximum.at(largest, codes, count[component])
    return float(np.mean(largest / size))


def lisi(graph: Graph, labels: np.ndarray, k: int) -> np.ndarray:
    """Local inverse Simpson's index: how many batches are mixed around each profile.

    Parameters
    ----------
    graph : Graph
        At least k - 1 neighbours; the weights fall with its distances.
    labels : (n,)
    k : int
        Size of a neighbourhood with the profile itself in it, which then gets no weight. The
        perplexity is k / 3. This is the rule of harmonypy 0.0.9, which the paper used
        (``compute_lisi(perplexity=30)`` is k = 90); other versions take other neighbourhoods.

    Returns
    -------
    (n,) float64
        From 1 (one batch) to the number of batches; expected number of profiles drawn from
        the neighbourhood until two are of one batch.

    Raises
    ------
    InputError
        The graph has fewer than k - 1 neighbours, or k is below 6.

    Notes
    -----
    Korsunsky et al., Nature Methods 2019. Weights are exp(-beta distance), beta by bisection
    until their entropy is log(perplexity) within 1e-5, 50 steps at most. Distances are taken
    from the nearest on, which changes no weight and saves far profiles from underflow.
    """
    if k < 6:
        raise InputError(f"LISI needs k of 6 or more, got {k}")
    codes, size = _codes(labels)
    near, distance = _first(graph, k - 1, f"LISI with k = {k}")
    weights = _weights(distance, np.log(k / 3))
    result = np.empty(len(codes))
    for start in range(0, len(codes), ROWS):
        here = slice(start, start + ROWS)
        rows = np.arange(len(codes[here]))[:, None] * len(size)
        cells = (rows + codes[near[here]]).ravel()
        shares = np.bincount(cells, weights[here].ravel(), len(codes[here]) * len(size))
        result[here] = 1 / (shares.reshape(-1, len(size)) ** 2).sum(axis=1)
    return result


def gaussian_clusters(
    labels: np.ndarray, n_features: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the paper's two baselines: batches that do not overlap, and the same labels shuffled.

    Every batch is a Gaussian cluster of variance 1 around a centre drawn from U(-10, 10) per
    feature (scikit-learn's ``make_blobs``), with as many profiles as it has in `labels`.

    Returns
    -------
    profiles (n, n_features), shuffled labels (n,)
    """
    codes, size = _codes(labels)
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-10, 10, (len(size), n_features))
    profiles = centres[codes] + rng.standard_normal((len(codes), n_features))
    return profiles, rng.permutation(labels)


def _weights(distance: np.ndarray, entropy: float) -> np.ndarray:
    """Weights of each row's neighbours, (n, k) summing to 1, with the wanted entropy."""
    weights = distance - distance[:, :1]
    for start in range(0, len(weights), ROWS):
        away = weights[start : start + ROWS].copy()
        raw = weights[start : start + ROWS]
        beta = np.ones(len(away))
        low, high = np.full(len(away), -np.inf), np.full(len(away), np.inf)
        for _ in range(51):  # the first guess and 50 steps
            np.exp(np.multiply(away, -beta[:, None], out=raw), out=raw)
            total = raw.sum(axis=1)
            gap = np.log(total) + beta * np.einsum("ij,ij->i", away, raw) / total - entropy
            apart = np.abs(gap) >= 1e-5
            if not apart.any():
                break
            low = np.where(apart & (gap > 0), beta, low)
            high = np.where(apart & (gap <= 0), beta, high)
            middle = np.where(np.isinf(high), beta * 2, (low + high) / 2)
            middle = np.where(np.isinf(low), beta / 2, middle)
            beta = np.where(apart, middle, beta)
        raw /= total[:, None]
    return weights


def _codes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes = encode(labels)
    missing = int(np.count_nonzero(codes < 0))
    if missing or len(codes) == 0:
        raise InputError(f"batch effects: {missing} of {len(codes)} wells have no batch or source")
    return codes, np.bincount(codes)


def _first(graph: Graph, k: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    have = graph.neighbours.shape[1]
    if not 1 <= k <= have:
        raise InputError(f"{what} needs {k} neighbours of every well, the graph has {have}")
    return graph.neighbours[:, :k], graph.distance[:, :k]
