"""Retrieval: average precision, and precision, recall and F1 at k or within a distance.

Every profile is a query; the others are ranked by their distance to it; those of the same
label are the hits. Paper, "Evaluation of reproducibility and biological relevance".
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.pairs import Pairs, Rule
from cpssl_lite.metrics.ranking import count_hits, ranking
from cpssl_lite.metrics.similarity import (
    blocks,
    encode,
    groups,
    in_threads,
    nearness,
    rank,
    unit_rows,
)
from cpssl_lite.metrics.uncertainty import known_mean

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
    code = encode(labels)
    question = Pairs(same=[code]), Pairs(different=[code])
    return ranking(profiles, [question], distance=distance, thresholds=thresholds)[0].precision


def mean_average_precision(
    profiles: np.ndarray, labels: np.ndarray, convention: str = "paper"
) -> float:
    """Mean average precision over the profiles whose label somebody else has.

    ``paper``: cosine distance, precision and recall at 100 distances from 0 to 1; NaN if no
    label has two members. ``released``: correlation distance, complete ranking; 0 then.

    Raises
    ------
    InputError
        Another convention.
    """
    values = convention_precision(profiles, labels, convention)
    if np.isnan(values).all():
        return 0.0 if convention == "released" else float("nan")
    return float(np.nanmean(values))


def convention_precision(
    profiles: np.ndarray, labels: np.ndarray, convention: str = "paper"
) -> np.ndarray:
    """Average precisions (n,) as `mean_average_precision` averages them; the same errors."""
    if convention == "paper":
        return average_precision(profiles, labels, "cosine", PAPER_THRESHOLDS)
    if convention == "released":
        return average_precision(profiles, labels, "correlation")
    raise InputError(f"convention {convention!r} is not one of paper, released")


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
    for part in _queries(profiles, labels, distance):
        size[part.here] = np.diff(part.start)
        _, place = part.rank(part.start, part.exact, part.item)
        # A hit counts from the first k that is no smaller than its place.
        step = np.searchsorted(at, place)
        height, width = len(part.start) - 1, len(at) + 1
        query = np.repeat(np.arange(height), np.diff(part.start))
        entered = np.bincount(query * width + step, minlength=height * width)
        hits[part.here] = entered.reshape(height, width)[:, :-1].cumsum(axis=1)
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
    falling = np.argsort(-at)
    cutoffs = 1 - at - (1e-6 if convention == "released" else 0.0)
    least = np.inf  # the smallest similarity of all pairs
    for part in _queries(profiles, labels, distance):
        height = len(part.start) - 1
        size[part.here] = np.diff(part.start)
        start, cutoff = np.arange(height + 1) * len(at), np.tile(cutoffs[falling], height)
        within, _ = part.rank(start, cutoff, np.full(len(cutoff), -1))
        found[part.here, falling] = within.reshape(height, -1)
        hits[part.here, falling] = part.hits(start, cutoff).reshape(height, -1)
        if convention == "released":
            others = part.similarity > -np.inf
            least = min(least, float(part.similarity.min(where=others, initial=np.inf)))
    if convention == "released":
        own = cutoffs < least
        hits += own
        found += own
    return _curve(at, hits, found, size, labels)


class _Queries(NamedTuple):
    """A block of queries; the hits of query i are start[i] to start[i + 1], farthest first."""

    here: slice
    similarity: np.ndarray  # (b, n) float32, to itself -inf
    rows: np.ndarray  # (n, d) float64, unit length
    near: float
    start: np.ndarray  # (b + 1,)
    item: np.ndarray
    exact: np.ndarray  # similarity of each hit

    def rank(
        self, start: np.ndarray, cutoff: np.ndarray, item: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """`similarity.rank` of each query's ascending cutoffs: (found, place), like `cutoff`."""
        found, place = np.zeros((2, len(cutoff)), dtype=np.int64)
        args = (
            self.similarity,
            self.rows,
            self.rows,
            self.here.start,
            self.near,
            start,
            cutoff,
            item,
        )
        in_threads(rank, len(self.similarity), *args, found, place)
        return found, place

    def hits(self, start: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
        """How many of a query's hits have a similarity of at least each of its cutoffs."""
        hits = np.zeros(len(cutoff), dtype=np.int64)
        args = (self.start, self.exact, start, cutoff, hits)
        in_threads(count_hits, len(self.similarity), *args)
        return hits


def _queries(profiles: np.ndarray, labels: np.ndarray, distance: str) -> Iterator[_Queries]:
    """Yield every profile as a query among the others, in blocks."""
    rows, everyone = unit_rows(profiles, distance), np.arange(len(profiles))
    rule = Rule(Pairs(same=[encode(labels)]), Pairs(), everyone, everyone, len(rows))
    near = nearness(rows)
    for here, similarity in blocks(rows):
        yield _Queries(here, similarity, rows, near, *rule.members(rows, here))


def _curve(
    at: np.ndarray, hits: np.ndarray, found: np.ndarray, size: np.ndarray, labels: np.ndarray
) -> Curve:
    """Averages over queries and over labels: hits, found (n, K), size (n,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(found > 0, hits / found, np.nan)
        recall = np.where(size[:, None] > 0, hits / size[:, None], np.nan)
    codes = encode(labels)
    order, start = groups(codes)
    means = [  # (labels, K) each, of no label too
        np.array([known_mean(part[order[a:b]]) for a, b in pairwise(start)]).reshape(-1, len(at))
        for part in (precision, recall)
    ]
    p, r = (np.nan_to_num(known_mean(part)) for part in (precision, recall))
    macro_p, macro_r = (np.nan_to_num(known_mean(part)) for part in means)
    return Curve(at, p, r, _f1(p, r), macro_p, macro_r, _f1(macro_p, macro_r))


def _f1(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
