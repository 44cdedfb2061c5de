"""Retrieval: average precision, and precision, recall and F1 at k or within a distance.

Every profile is a query; the others are ranked by their distance to it; those of the same
label are the hits. Paper, "Evaluation of reproducibility and biological relevance".
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cpssl_lite.metrics.similarity import TIE, Query, blocks, encode, groups, unit_rows, window

# "uniformly sampled between 0 and 1 at 100 increments": the text's thresholds.
PAPER_THRESHOLDS = np.linspace(0.0, 1.0, 100)
RELEASED_K = tuple(range(1, 50, 2))
RELEASED_THRESHOLDS = tuple(k / 100 for k in range(1, 101, 3))


class Curve(NamedTuple):
    """Precision, recall and F1 at every k or distance.

    ``precision`` and ``recall`` are means over queries, ``macro_*`` means over labels of the
    means within a label. F1 is made from the two means, not a mean of F1s (as in the released
    code). Undefined values are left out of a mean; a mean of nothing is 0.
    """

    at: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    macro_precision: np.ndarray
    macro_recall: np.ndarray
    macro_f1: np.ndarray


def average_precision(
    profiles: np.ndarray,
    labels: np.ndarray,
    distance: str = "cosine",
    thresholds: np.ndarray | None = None,
) -> np.ndarray:
    """Average precision of each profile as a query against all others.

    Parameters
    ----------
    profiles : (n, d)
    labels : (n,)
        "" and NaN are missing: such a profile is a wrong answer for everyone.
    distance : {"cosine", "correlation"}
    thresholds : (t,), optional
        Without them, precision and recall are taken wherever a hit enters: the value equals
        scikit-learn's ``average_precision_score(same_label, 1 - distance)``, ties included.
        With them, only at these distances (ascending, inclusive): the sum over thresholds of
        precision times the gain in recall. Hits beyond the last one are never found.

    Returns
    -------
    (n,) float64
        NaN where no other profile has the label (nothing could be found), so that `np.nanmean`
        leaves it out; scikit-learn since 1.1 gives 0 there.

    Examples
    --------
    >>> profiles = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.5, 0.5]])
    >>> average_precision(profiles, np.array(["a", "a", "b", "a"])).round(3)
    array([1.   , 1.   ,   nan, 0.833])
    """
    result = np.full(len(profiles), np.nan)
    for query, _, exact in _queries(profiles, labels, distance):
        if len(exact) == 0:
            continue
        ranked = np.sort(exact)  # so that the sum does not depend on the order of the rows
        entry, known = ranked, 1  # at the cutoff of a hit lies at least the hit itself
        if thresholds is not None:
            step = np.searchsorted(thresholds, 1 - ranked - TIE)
            entry, known = 1 - thresholds[step[step < len(thresholds)]], 0
        hits = len(ranked) - np.searchsorted(ranked, entry - TIE)
        result[query.index] = (hits / query.at_least(entry, known)).sum() / len(exact)
    return result


def mean_average_precision(
    profiles: np.ndarray, labels: np.ndarray, convention: str = "paper"
) -> float:
    """Mean average precision over the profiles whose label somebody else has.

    ``paper``: cosine distance, precision and recall at 100 distances from 0 to 1; NaN if no
    label has two members. ``released``: correlation distance, complete ranking; 0 then.
    """
    values = convention_precision(profiles, labels, convention)
    if np.isnan(values).all():
        return 0.0 if convention == "released" else float("nan")
    return float(np.nanmean(values))


def convention_precision(
    profiles: np.ndarray, labels: np.ndarray, convention: str = "paper"
) -> np.ndarray:
    """Average precisions (n,) as `mean_average_precision` averages them."""
    if convention == "paper":
        return average_precision(profiles, labels, "cosine", PAPER_THRESHOLDS)
    if convention == "released":
        return average_precision(profiles, labels, "correlation")
    raise ValueError(f"convention {convention!r} is not one of paper, released")


def precision_recall_at_k(
    profiles: np.ndarray,
    labels: np.ndarray,
    ks: Sequence[int] = RELEASED_K,
    distance: str = "cosine",
) -> Curve:
    """Precision, recall and F1 among the k nearest (Supplementary Fig. 4).

    Recall divides by the number of other profiles of the label; queries without any have no
    recall, but precision 0. Of equally near profiles the first in the table comes first.
    """
    n, at = len(profiles), np.asarray(ks)
    hits = np.zeros((n, len(at)))
    size = np.zeros(n)
    for query, items, exact in _queries(profiles, labels, distance):
        size[query.index] = len(items)
        if len(items):
            places = np.sort(query.places(items, exact, int(at.max())))
            hits[query.index] = np.searchsorted(places, at, side="right")
    return _curve(at, hits, np.broadcast_to(at, hits.shape), size, labels)


def precision_recall_at_distance(
    profiles: np.ndarray,
    labels: np.ndarray,
    thresholds: Sequence[float] = RELEASED_THRESHOLDS,
    distance: str = "cosine",
    convention: str = "paper",
) -> Curve:
    """Precision, recall and F1 among the profiles within a distance (inclusive).

    Queries with nobody within the distance have no precision there. ``released`` widens every
    distance by 1e-6 and, where a threshold reaches the largest distance of all, lets each
    query count as a hit of its own (so recall can exceed 1); the released code does so with
    correlation distance.
    """
    n, at = len(profiles), np.asarray(thresholds, dtype=np.float64)
    hits, found = np.zeros((n, len(at))), np.zeros((n, len(at)))
    size = np.zeros(n)
    cutoffs = 1 - at - (1e-6 if convention == "released" else 0.0)
    least = np.inf  # the smallest similarity of all pairs
    for query, items, exact in _queries(profiles, labels, distance):
        size[query.index] = len(items)
        found[query.index] = query.at_least(cutoffs)
        hits[query.index] = len(exact) - np.searchsorted(np.sort(exact), cutoffs - TIE)
        least = min(least, query.ranked()[1:2].min(initial=np.inf))
    if convention == "released":
        own = cutoffs < least
        hits += own
        found += own
    return _curve(at, hits, found, size, labels)


def _queries(
    profiles: np.ndarray, labels: np.ndarray, distance: str
) -> Iterator[tuple[Query, np.ndarray, np.ndarray]]:
    """Yield every profile as a query, with its hits and their float64 similarities."""
    rows, codes = unit_rows(profiles, distance), encode(labels)
    order, start = groups(codes)
    nobody = order[:0]
    for here, similarity in blocks(rows):
        queries = range(here.start, here.stop)
        hits = []
        for query, code in zip(queries, codes[here], strict=True):
            same = order[start[code] : start[code + 1]] if code >= 0 else nobody
            hits.append(same[same != query])
        exact = [rows[items] @ rows[query] for query, items in zip(queries, hits, strict=True)]
        rough = [similarity[i, items] for i, items in enumerate(hits)]
        near = window(np.concatenate(rough), np.concatenate(exact))
        for i, query in enumerate(queries):
            yield Query(rows, query, similarity[i], near), hits[i], exact[i]


def _curve(
    at: np.ndarray, hits: np.ndarray, found: np.ndarray, size: np.ndarray, labels: np.ndarray
) -> Curve:
    """Averages over queries and over labels: hits, found (n, K), size (n,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(found > 0, hits / found, np.nan)
        recall = np.where(size[:, None] > 0, hits / size[:, None], np.nan)
    codes = encode(labels)
    order, start = groups(codes)
    means = [
        np.stack([_mean(part[order[a:b]]) for a, b in pairwise(start)])  # (labels, K)
        for part in (precision, recall)
    ]
    p, r = (np.nan_to_num(_mean(part)) for part in (precision, recall))
    macro_p, macro_r = (np.nan_to_num(_mean(part)) for part in means)
    return Curve(at, p, r, _f1(p, r), macro_p, macro_r, _f1(macro_p, macro_r))


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean down the columns of the values that are defined; NaN where none is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)


def _f1(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
