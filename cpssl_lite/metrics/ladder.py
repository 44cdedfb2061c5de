"""Retrieval at rising stringency: what is left when batch, source and position cannot help."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cpssl_lite.metrics.pairs import Pairs
from cpssl_lite.metrics.ranking import ranking

RECALL_AT = (1, 5, 10)


class Rung(NamedTuple):
    """Retrieval under one restriction.

    `recall`, one a k: share of the queries that find one of their own among the k nearest
    admitted. `precision`: mean average precision over the queries that have one of their own to
    find. `queries` that have anybody to choose from.
    """

    recall: tuple[float, ...]
    precision: float
    queries: int


def ladder(
    profiles: np.ndarray,
    truth: np.ndarray,
    rungs: Mapping[str, Sequence[np.ndarray]],
    ks: Sequence[int] = RECALL_AT,
) -> dict[str, Rung]:
    """Nearest-neighbour recall and mean average precision under several restrictions, in one pass.

    Parameters
    ----------
    profiles : (n, d)
    truth : (n,) int
        What should be found: codes of perturbations, or of labels. Profiles of code -1 take no
        part.
    rungs : mapping of name to (n,) code arrays
        Whoever agrees with a query in any of them is not admitted; -1 agrees with nothing.
    ks : sequence of int

    Returns
    -------
    dict of Rung, by the names of `rungs`
        Recall at 1 is the accuracy of `nearest.nearest_accuracies` in the convention ``paper``: a
        query whose truth nobody admitted shares counts as not found, one with nobody admitted is
        left out. NaN where no query is left.

    Examples
    --------
    >>> profiles = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [1.0, 0.3]])
    >>> truth, batch = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1])
    >>> found = ladder(profiles, truth, {"any": [], "other batch": [batch]}, ks=[1])
    >>> {name: rung.recall for name, rung in found.items()}
    {'any': (0.8,), 'other batch': (0.4,)}
    """
    known = np.flatnonzero(truth >= 0)
    code = truth[known]
    questions = []
    for restrictions in rungs.values():
        out = [np.asarray(one)[known] for one in restrictions]
        questions.append((Pairs(same=[code], different=out), Pairs(different=[code, *out])))
    result = {}
    for name, found in zip(rungs, ranking(profiles[known], questions), strict=True):
        asked = found.total > 0
        hit = found.first[asked]
        recall = [float(np.mean((hit > 0) & (hit <= k))) if len(hit) else np.nan for k in ks]
        precision = found.precision[~np.isnan(found.precision)]
        mean = float(precision.mean()) if len(precision) else float("nan")
        result[name] = Rung(tuple(recall), mean, int(asked.sum()))
    return result
