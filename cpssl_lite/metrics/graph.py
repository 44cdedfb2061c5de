"""The nearest-neighbour graph of profiles, found once and shared by the batch-effect metrics."""

from typing import NamedTuple

import numpy as np

from cpssl_lite.metrics.similarity import blocks, unit_rows, window

SPARE = 16  # candidates beyond k that float32 proposes and float64 decides on


class Graph(NamedTuple):
    """Nearest other profiles of every profile, nearest first.

    `neighbours` (n, k) and `distance` (n, k) float64; a profile is not its own neighbour.
    """

    neighbours: np.ndarray
    distance: np.ndarray


def nearest_graph(profiles: np.ndarray, k: int, distance: str = "cosine") -> Graph:
    """Find the k nearest other profiles of every profile (all others where there are fewer).

    Candidates come from float32 similarities in blocks, their order from float64; a row whose
    candidates do not surely hold the k nearest is looked at again.

    Parameters
    ----------
    profiles : (n, d)
    k : int
    distance : {"cosine", "correlation"}
    """
    rows = unit_rows(profiles, distance)
    n = len(rows)
    k = max(min(k, n - 1), 0)
    wide = max(min(k + SPARE, n - 1), 0)
    graph = Graph(np.zeros((n, k), dtype=np.int64), np.zeros((n, k)))
    if k == 0:
        return graph
    for here, similarity in blocks(rows):
        found = np.argpartition(similarity, n - wide, axis=1)[:, n - wide :]
        for row, candidates in enumerate(found):
            query = rows[here.start + row]
            values = rows[candidates] @ query
            proposed = similarity[row, candidates]
            near = window(proposed, values)
            last = np.partition(values, wide - k)[wide - k]
            if wide < n - 1 and last <= proposed.min() + near:
                candidates = np.flatnonzero(similarity[row] >= last - near)
                values = rows[candidates] @ query
            best = np.lexsort((candidates, -values))[:k]
            graph.neighbours[here.start + row] = candidates[best]
            graph.distance[here.start + row] = 1 - values[best]
    return graph
