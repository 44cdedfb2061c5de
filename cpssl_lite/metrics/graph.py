"""The nearest-neighbour graph of profiles, found once and shared by the batch-effect metrics."""

from typing import NamedTuple

import numpy as np

from cpssl_lite.metrics.similarity import (
    TIE,
    blocks,
    compiled,
    dot,
    in_threads,
    nearness,
    unit_rows,
)


class Graph(NamedTuple):
    """Nearest other profiles of every profile, nearest first.

    `neighbours` (n, k) and `distance` (n, k) float64; a profile is not its own neighbour.
    """

    neighbours: np.ndarray
    distance: np.ndarray


def nearest_graph(profiles: np.ndarray, k: int) -> Graph:
    """Find the k nearest other profiles by cosine distance (all where there are fewer).

    Candidates come from float32 similarities in blocks, their order from float64. Equally near
    profiles stand in the order of the table, and equal ones have a distance of exactly 0.

    Parameters
    ----------
    profiles : (n, d)
    k : int
    """
    rows = unit_rows(profiles)
    n = len(rows)
    k = max(min(k, n - 1), 0)
    graph = Graph(np.zeros((n, k), dtype=np.int64), np.zeros((n, k)))
    if k == 0:
        return graph
    near = nearness(rows)
    for here, similarity in blocks(rows):
        found = graph.neighbours[here], graph.distance[here]
        in_threads(_nearest, len(similarity), similarity, rows, here.start, near, *found)
    return graph


@compiled
def _nearest(
    similarity: np.ndarray,
    rows: np.ndarray,
    offset: int,
    near: float,
    neighbours: np.ndarray,
    distance: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Fill in neighbours and distances for the rows first to last of a block."""
    k = neighbours.shape[1]
    guess = -np.inf  # most are below; looking at the few above saves time and changes nothing
    for i in range(first, last):
        row = similarity[i]
        high = row[row >= guess]
        if len(high) < k:
            high = row
        cutoff = np.partition(high, len(high) - k)[len(high) - k]
        guess = cutoff - (high.max() - cutoff) / 2  # for the next profile
        # Both the cutoff and what float64 might put above it may be off by `near`.
        candidates = np.flatnonzero(row >= np.float32(cutoff - 2 * near))
        far = np.empty(len(candidates))
        for j, candidate in enumerate(candidates):
            apart = 1 - dot(rows[offset + i], rows[candidate])
            far[j] = apart if apart > TIE else 0.0
        best = np.argsort(far, kind="mergesort")[:k]
        neighbours[i] = candidates[best]
        distance[i] = far[best]
