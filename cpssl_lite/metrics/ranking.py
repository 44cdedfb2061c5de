"""Average precision by rule: who is a positive of a query, who is a negative.

A query's positives and negatives are ranked by their similarity to it; who is neither takes no
part. Everything that is a mean average precision in this package is made here, whatever the
question: the same label among all others, replicates against negative controls, the same
perturbation where nobody of the query's batch is admitted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cpssl_lite.metrics.pairs import Pairs, Rule
from cpssl_lite.metrics.similarity import (
    TIE,
    blocks,
    compiled,
    in_threads,
    nearness,
    rank,
    unit_rows,
)


class Ranking(NamedTuple):
    """What every profile as a query found; each array is (n,).

    `precision` is NaN where there is no positive (and 1 where there is no negative). `total`
    counts both. `first` is one more than the negatives ahead of the nearest positive, 0 without
    any: the query finds one among its k nearest where 0 < first <= k.
    """

    precision: np.ndarray
    positives: np.ndarray
    total: np.ndarray
    first: np.ndarray


def ranking(
    profiles: np.ndarray,
    questions: Sequence[tuple[Pairs, Pairs]],
    *,
    queries: np.ndarray | None = None,
    distance: str = "cosine",
    thresholds: np.ndarray | None = None,
) -> list[Ranking]:
    """Average precision of every query, for several questions in one pass over the similarities.

    Parameters
    ----------
    profiles : (n, d)
    questions : sequence of (positives, negatives)
        The positives need something in `same`. A profile that is both counts twice; rules that
        say the same of opposite kind (``same=[a]``, ``different=[a]``) never do that.
    queries : (n,) bool, optional
        Whose precision is wanted [default: everyone's]; of the others nothing is known.
    distance : {"cosine", "correlation"}
    thresholds : (t,), optional
        Take precision and recall only at these distances (ascending, inclusive) instead of
        wherever a positive enters. Positives beyond the last are never found.

    Returns
    -------
    list of Ranking

    Raises
    ------
    InputError
        Another distance, or positives with nothing in `same`.

    Notes
    -----
    Equal similarities (within 1e-12) enter together, as in scikit-learn's
    ``average_precision_score``; copairs sorts similarities rounded to float32 and puts the
    positives first. `first` counts equals in the order of the table.

    Only who may be a negative of someone is multiplied with the queries; positives are few, and
    each is multiplied alone in float64. Nothing of n x n is held, and no list of pairs.

    Examples
    --------
    >>> profiles = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.8, 0.3]])
    >>> compound, control = np.array([0, 0, -1, -1]), np.array([False, False, True, True])
    >>> activity = Pairs(same=[compound]), Pairs(among=control)
    >>> ranking(profiles, [activity], queries=~control)[0].precision
    array([ 1.,  1., nan, nan])
    """
    rows = unit_rows(profiles, distance)
    n = len(rows)
    asked = np.arange(n) if queries is None else np.flatnonzero(queries)
    masks = [negative.among for _, negative in questions]
    given = [mask for mask in masks if mask is not None]
    wanted = np.any(given, axis=0) if len(given) == len(masks) and given else np.ones(n, dtype=bool)
    others = np.flatnonzero(wanted)
    near = nearness(rows)
    low, there = rows[asked], rows[others]
    here_all = len(asked) == n == len(others)
    found = [_empty(n) for _ in questions]
    rules = [Rule(positive, negative, asked, others, n) for positive, negative in questions]
    for here, similarity in blocks(low, None if here_all else there):
        for rule, result in zip(rules, found, strict=True):
            part = similarity.copy() if len(rules) > 1 else similarity
            negatives = rule.mask(part, here)
            start, item, exact = rule.members(rows, here)
            cutoff, beyond, named = exact, np.False_, item if here_all else np.full_like(item, -1)
            if thresholds is not None:
                step = np.searchsorted(thresholds, 1 - exact - TIE)
                beyond = step == len(thresholds)
                cutoff = 1 - np.asarray(thresholds)[np.minimum(step, len(thresholds) - 1)]
                named = np.full_like(item, -1)
            ahead, place = np.zeros((2, len(cutoff)), dtype=np.int64)
            args = (part, low, there, here.start, near, start, cutoff, named)
            in_threads(rank, len(part), *args, ahead, place)
            hits = np.zeros(len(cutoff), dtype=np.int64)
            in_threads(count_hits, len(part), start, exact, start, cutoff, hits)
            share = np.where(beyond, 0.0, hits / np.maximum(hits + ahead, 1))
            _summarise(result, asked[here], start, share, place, negatives)
    return found


def _empty(n: int) -> Ranking:
    return Ranking(np.full(n, np.nan), *np.zeros((3, n), dtype=np.int64))


def _summarise(
    result: Ranking,
    who: np.ndarray,
    start: np.ndarray,
    share: np.ndarray,
    place: np.ndarray,
    negatives: np.ndarray,
) -> None:
    """From the precision at each positive (`start` says whose) to one number a query."""
    size = np.diff(start)
    query = np.repeat(np.arange(len(size)), size)
    total = np.bincount(query, weights=share, minlength=len(size))
    result.precision[who] = np.where(size > 0, total / np.maximum(size, 1), np.nan)
    result.positives[who] = size
    result.total[who] = size + negatives
    nearest = np.full(len(size), np.iinfo(np.int64).max)
    np.minimum.at(nearest, query, place)
    result.first[who] = np.where(size > 0, nearest, 0)


@compiled
def count_hits(
    of: np.ndarray,
    exact: np.ndarray,
    start: np.ndarray,
    cutoff: np.ndarray,
    hits: np.ndarray,
    first: int,
    last: int,
) -> None:
    """How many of query i's positives (exact[of[i]:of[i + 1]]) reach each of its cutoffs.

    Both are ascending.
    """
    for i in range(first, last):
        k = of[i]
        for t in range(start[i], start[i + 1]):
            while k < of[i + 1] and exact[k] < cutoff[t] - TIE:
                k += 1
            hits[t] = of[i + 1] - k
