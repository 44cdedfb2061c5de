"""How far batches (or sources) stay apart: silhouette, graph connectivity, LISI.

Paper, "Quantification of technical biases". High silhouette, high connectivity and low LISI
mean a strong effect. Labels may not be missing; every function takes one label per profile.
"""

import numpy as np
from sklearn.metrics import silhouette_samples

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.metrics.graph import Graph
from cpssl_lite.metrics.similarity import compiled, encode, in_threads, unit_rows

CONNECTIVITY_K = (1, 2, 3, 5, 10, 15)
LISI_K = (15, 30, 60, 90)


def silhouette(profiles: np.ndarray, labels: np.ndarray, distance: str = "cosine") -> np.ndarray:
    """Silhouette of every profile within its batch.

    Parameters
    ----------
    profiles : (n, d)
    labels : (n,)
    distance : {"cosine", "correlation", "euclidean"}
        The mean cosine distance to a batch is 1 minus the product with the batch's mean unit
        vector, so the first two never look at pairs. Euclidean is scikit-learn's, in blocks.

    Returns
    -------
    (n,) float64
        From -1 to 1: (b - a) / max(a, b), with a the mean distance to the others of the own
        batch and b that to the nearest other batch. 0 for a batch of one profile, NaN where
        there is a single batch. Equals ``sklearn.metrics.silhouette_samples``.
    """
    codes, size = batch_codes(labels)
    if len(size) < 2:
        return np.full(len(codes), np.nan)
    if distance == "euclidean":
        alone = len(size) == len(codes)  # which scikit-learn refuses
        return np.zeros(len(codes)) if alone else silhouette_samples(profiles, codes)
    total, within = cosine_to_batches(unit_rows(profiles, distance), codes, size)
    means = total / size
    means[np.arange(len(codes)), codes] = np.inf
    return silhouette_of(within, means.min(axis=1))


def cosine_to_batches(
    rows: np.ndarray, codes: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the cosine distances of unit rows to each batch (n, batches), without any pair.

    And the mean distance to the others of the own batch, (n,), NaN where there are none.
    """
    member = (codes[:, None] == np.arange(len(size))).astype(np.float64)
    total = size - rows @ (member.T @ rows).T
    itself = 1 - np.einsum("ij,ij->i", rows, rows)  # 1 for a profile of length zero
    others = size[codes] - 1
    within = (total[np.arange(len(codes)), codes] - itself) / np.maximum(others, 1)
    return total, np.where(others > 0, within, np.nan)


def silhouette_of(within: np.ndarray, between: np.ndarray) -> np.ndarray:
    """(between - within) / the larger of them; 0 without others in the own batch."""
    largest = np.maximum(within, between)
    apart = np.divide(between - within, largest, out=np.zeros_like(largest), where=largest > 0)
    return np.nan_to_num(apart)


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
    codes, size = batch_codes(labels)
    near = first_neighbours(graph, k, "graph connectivity")[0]
    return float(np.mean(_largest_component(near, codes, len(size)) / size))


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
    from the nearest on, which changes no weight and saves far profiles from underflow. Among
    equal profiles harmonypy may count a profile as its own neighbour; here it never does.
    """
    if k < 6:
        raise InputError(f"LISI needs k of 6 or more, got {k}")
    codes, size = batch_codes(labels)
    near, distance = first_neighbours(graph, k - 1, f"LISI with k = {k}")
    result = np.empty(len(codes))
    in_threads(_mixing, len(codes), near, distance, codes, len(size), np.log(k / 3), result)
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
    codes, size = batch_codes(labels)
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-10, 10, (len(size), n_features))
    profiles = centres[codes] + rng.standard_normal((len(codes), n_features))
    return profiles, rng.permutation(labels)


@compiled
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def _largest_component(near: np.ndarray, codes: np.ndarray, batches: int) -> np.ndarray:
    """Profiles in the largest component of each batch, joined within batches only: (batches,)."""
    parent = np.arange(len(codes))
    for i in range(len(codes)):
        for j in near[i]:
            if codes[i] == codes[j]:
                parent[_root(parent, j)] = _root(parent, i)
    members = np.zeros(len(codes), np.int64)
    largest = np.zeros(batches, np.int64)
    for i in range(len(codes)):
        root = _root(parent, i)
        members[root] += 1
        largest[codes[i]] = max(largest[codes[i]], members[root])
    return largest


@compiled
def _mixing(
    near: np.ndarray,
    distance: np.ndarray,
    codes: np.ndarray,
    batches: int,
    entropy: float,
    result: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Inverse Simpson's index of the profiles first to last, weighted to the wanted entropy."""
    away, weight = np.empty(near.shape[1]), np.empty(near.shape[1])
    for i in range(first, last):
        away[:] = distance[i] - distance[i, 0]
        below, above = _around(away, entropy, weight)
        beta, low, high = 1.0, -np.inf, np.inf
        for step in range(51):  # the first guess and 50 steps
            gap = 1.0 if beta < below else -1.0
            if below <= beta <= above or step == 50:
                gap = _look(away, beta, entropy, weight)[0]
                if abs(gap) < 1e-5:
                    break
            if gap > 0:
                low = beta
                beta = beta * 2 if high == np.inf else (beta + high) / 2
            else:
                high = beta
                beta = beta / 2 if low == -np.inf else (beta + low) / 2
        share = np.zeros(batches)
        for j in range(len(away)):
            share[codes[near[i, j]]] += weight[j]
        result[i] = np.sum(share) ** 2 / np.sum(share**2)


@compiled
def _around(away: np.ndarray, entropy: float, weight: np.ndarray) -> tuple[float, float]:
    """Bounds between which beta surely comes to lie, by Newton's steps.

    Entropy falls as beta grows: outside of them bisection knows its way without weights, which
    leaves a quarter of the work and no difference. (0, inf) where Newton does not get there.
    """
    spread = np.var(away)
    if spread > 0:
        beta = np.sqrt(2 * (np.log(len(away)) - entropy) / spread)  # were weights near equal
        for _ in range(8):
            gap, slope = _look(away, beta, entropy, weight)
            if not slope > 0:
                break
            if abs(gap) < 1e-6:
                margin = 2e-5 / slope  # twice the gap at which bisection stops
                return (beta - margin, beta + margin) if margin < beta / 100 else (0.0, np.inf)
            beta = max(beta + gap / slope, beta / 2)
    return 0.0, np.inf


@compiled
def _look(away: np.ndarray, beta: float, entropy: float, weight: np.ndarray) -> tuple[float, float]:
    """Set weights; return by how much their entropy is too high, and falls per unit of beta."""
    total = mean = square = 0.0
    for j in range(len(away)):
        weight[j] = np.exp(-beta * away[j])
        total += weight[j]
        mean += weight[j] * away[j]
        square += weight[j] * away[j] ** 2
    mean /= total
    return np.log(total) + beta * mean - entropy, beta * (square / total - mean**2)


def batch_codes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of batches or sources, none missing, and how many profiles each has."""
    codes = encode(labels)
    missing = int(np.count_nonzero(codes < 0))
    if missing or len(codes) == 0:
        wells = counted(len(codes), "well")
        raise InputError(f"batch effects: {missing} of {wells} without batch or source")
    return codes, np.bincount(codes)


def first_neighbours(graph: Graph, k: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours and distances of the k nearest."""
    have = graph.neighbours.shape[1]
    if not 1 <= k <= have:
        raise InputError(f"{what} needs {k} neighbours of every well, the graph has {have}")
    return graph.neighbours[:, :k], graph.distance[:, :k]
