"""Is an average precision more than chance: its expectation, p, and q for many of them.

What chance gives depends on two numbers only, the positives and how many are ranked in all. One
null for each such pair serves every query that has them; where all placements of the positives
can be counted, p is exact.
"""

from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.similarity import TIE, compiled, in_threads

MOST_COUNTED = 1_000_000  # placements that are counted one by one
NULL_SIZE = 100_000
FDR = ("bh", "two-stage")
AT_ONCE = 4_000_000  # random numbers drawn at once


class Groups(NamedTuple):
    """Means and p of groups of queries; each array is (groups,), NaN without a defined query.

    `queries` that have a precision, and the mean number of their `positives`.
    """

    precision: np.ndarray
    normalised: np.ndarray
    p: np.ndarray
    queries: np.ndarray
    positives: np.ndarray


def expected_precision(positives: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mean average precision of random rankings; NaN without a positive.

    With m of n places and H the n-th harmonic number, H/n + (m - 1)/(n - 1) (1 - H/n)
    (Bestgen 2015).

    Examples
    --------
    >>> expected_precision(np.array([1, 1, 2]), np.array([2, 4, 2])).round(3)
    array([0.75 , 0.521, 1.   ])
    """
    m, n = (np.asarray(a, dtype=np.float64) for a in (positives, total))
    harmonic = np.append(0, np.cumsum(1 / np.arange(1, int(n.max(initial=0)) + 1)))
    mean = harmonic[n.astype(int)] / np.maximum(n, 1)
    chance = mean + (m - 1) / np.maximum(n - 1, 1) * (1 - mean)
    return np.where(m > 0, np.where(m == n, 1.0, chance), np.nan)


def normalised_precision(
    precision: np.ndarray, positives: np.ndarray, total: np.ndarray
) -> np.ndarray:
    """Average precision moved so that chance is 0 and perfect 1; below chance it is negative.

    0 where every ranked profile is a positive: nothing could have gone wrong. Not below -1, as in
    copairs (where nearly all are positives, what is left above chance is small).
    """
    chance = expected_precision(positives, total)
    room = 1 - chance
    gain = np.subtract(precision, chance)
    value = np.divide(gain, room, out=np.zeros_like(gain), where=room > 0)
    return np.where(np.isnan(gain), np.nan, np.maximum(value, -1.0))


def null_precisions(
    positives: int, total: int, size: int = NULL_SIZE, seed: int = 0
) -> tuple[np.ndarray, bool]:
    """Average precisions of rankings by chance, ascending, and whether these are all there are.

    Parameters
    ----------
    positives, total : int
    size : int
        How many are drawn where the placements are too many to count.
    seed : int
        The draw depends on it and the two numbers, not on what else was asked.
    """
    if comb(total, positives) <= MOST_COUNTED:
        values = np.empty(comb(total, positives))
        _every(positives, total, values)
        return np.sort(values), True
    return np.sort(_draw(positives, total, size, seed)), False


def p_values(
    precision: np.ndarray,
    positives: np.ndarray,
    total: np.ndarray,
    size: int = NULL_SIZE,
    seed: int = 0,
) -> np.ndarray:
    """Chance of an average precision at least as high, for every query; NaN where it is NaN.

    Exact where the placements are counted (`MOST_COUNTED` at most), else (1 + how many of `size`
    random rankings reach it) / (1 + size).
    """
    result = np.full(len(precision), np.nan)
    known = np.flatnonzero(~np.isnan(precision))
    pairs = np.column_stack([positives, total])[known]
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    for k, (m, n) in enumerate(distinct.tolist()):
        mine = known[which.ravel() == k]
        result[mine] = _beyond(null_precisions(m, n, size, seed), precision[mine])
    return result


def group_evidence(
    precision: np.ndarray,
    positives: np.ndarray,
    total: np.ndarray,
    codes: np.ndarray,
    size: int = NULL_SIZE,
    seed: int = 0,
) -> Groups:
    """Mean average precision of groups of queries, and its p.

    Parameters
    ----------
    precision, positives, total : (n,)
        As `ranking` returns them; a query without a precision takes no part.
    codes : (n,) int
        Group of each query, 0 to g - 1; -1 is in no group.

    Notes
    -----
    As copairs does it: the null of a group is the mean of its queries' nulls, and queries with
    the same numbers of positives and of all share one. Of a group of equal queries it is
    therefore the null of one query, not of a mean of several: p is on the safe side, because
    the precisions of replicates depend on each other in a way that nobody knows. Two things
    differ from copairs 0.5.5, which counts only rankings that are strictly better: here equals
    count too, without which few placements give too small a p; and p is exact where all
    queries of a group have the same numbers and the placements can be counted.
    """
    codes = np.where(np.isnan(precision), -1, codes)
    g = int(codes.max(initial=-1)) + 1
    here = codes >= 0
    queries = np.bincount(codes[here], minlength=g)

    def mean(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.bincount(codes[here], weights=values[here], minlength=g) / queries

    average = mean(np.asarray(precision, dtype=np.float64))
    normalised = mean(normalised_precision(precision, positives, total))
    rows = np.column_stack([codes, positives, total])[here]
    cells, count = np.unique(rows, axis=0, return_counts=True)
    start = np.searchsorted(cells[:, 0], np.arange(g + 1))
    p = np.full(g, np.nan)
    kinds: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for group in range(g):
        part = slice(start[group], start[group + 1])
        if queries[group]:
            kind = tuple(map(tuple, np.column_stack([cells[part, 1:], count[part]]).tolist()))
            key = ((*kind[0][:2], 1),) if len(kind) == 1 else kind
            kinds.setdefault(key, []).append(group)

    @lru_cache(maxsize=128)
    def drawn(m: int, n: int) -> np.ndarray:
        return _draw(m, n, size, seed)

    for kind, members in sorted(kinds.items()):
        if len(kind) == 1:
            m, n, _ = kind[0]
            p[members] = _beyond(null_precisions(m, n, size, seed), average[members])
            continue
        mixed = np.zeros(size)
        for part_m, part_n, weight in kind:
            mixed += drawn(part_m, part_n) * (weight / sum(row[-1] for row in kind))
        for group in members:  # hardly ever several: nothing to sort for
            above = np.count_nonzero(mixed >= average[group] - TIE)
            p[group] = (above + 1) / (size + 1)
    return Groups(average, normalised, p, queries, mean(np.asarray(positives, np.float64)))


def q_values(p: np.ndarray, method: str = "bh", alpha: float = 0.05) -> np.ndarray:
    """False discovery rate at which each test would be called; NaN where p is.

    Parameters
    ----------
    p : (g,)
    method : {"bh", "two-stage"}
        Benjamini and Hochberg 1995, or the adaptive procedure of Benjamini, Krieger and Yekutieli
        2006 (definition 6), which estimates from a first round how many effects are none; its
        values are for `alpha` only.

    Raises
    ------
    InputError
        Another method.

    Examples
    --------
    >>> q_values(np.array([0.01, 0.02, np.nan, 0.5])).tolist()
    [0.03, 0.03, nan, 0.5]
    """
    if method not in FDR:
        raise InputError(f"method {method!r} is not one of {', '.join(FDR)}")
    p = np.asarray(p, dtype=np.float64)
    result = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    if not known.any():
        return result
    q = false_discovery_control(p[known])
    if method == "two-stage":
        found = np.count_nonzero(q <= alpha / (1 + alpha))
        rest = len(q) - found if found < len(q) else len(q)
        q = np.minimum(q * rest / len(q) * (1 + alpha), 1)
    result[known] = q
    return result


def share_below(q: np.ndarray, alpha: float = 0.05) -> float:
    """Share of the tests that have a q and are called: below `alpha`. NaN if none has one."""
    known = q[~np.isnan(q)]
    return float(np.mean(known < alpha)) if len(known) else float("nan")


def _beyond(null: tuple[np.ndarray, bool], observed: np.ndarray) -> np.ndarray:
    """Share of a null (ascending) that is at least as high."""
    values, exact = null
    above = len(values) - np.searchsorted(values, observed - TIE)
    return above / len(values) if exact else (above + 1) / (len(values) + 1)


def _draw(positives: int, total: int, size: int, seed: int) -> np.ndarray:
    """Average precisions (size,) of random placements."""
    rng = np.random.default_rng([seed, positives, total])
    values = np.empty(size)
    step = max(AT_ONCE // positives, 1)
    for first in range(0, size, step):
        part = values[first : first + step]
        in_threads(_placed, len(part), rng.random((len(part), positives)), total, part)
    return values


@compiled
def _placed(random: np.ndarray, total: int, values: np.ndarray, first: int, last: int) -> None:
    """Average precision of positives at random places, a subset by Floyd's method a row."""
    m = random.shape[1]
    taken = np.full(total, -1, np.int64)  # in which row a place was last taken
    place = np.empty(m, np.int64)
    for i in range(first, last):
        for k in range(m):
            top = total - m + k
            pick = min(int(random[i, k] * (top + 1)), top)
            if taken[pick] == i:
                pick = top
            taken[pick] = i
            place[k] = pick
        value = 0.0
        if total < 16 * m:  # looking at every place is faster than sorting
            k = 0
            for j in range(total):
                if taken[j] == i:
                    k += 1
                    value += k / (j + 1)
        else:
            place.sort()
            for k in range(m):
                value += (k + 1) / (place[k] + 1)
        values[i] = value / m


@compiled
def _every(positives: int, total: int, values: np.ndarray) -> None:
    """Average precisions of all placements."""
    place = np.arange(positives)
    for i in range(len(values)):
        value = 0.0
        for k in range(positives):
            value += (k + 1) / (place[k] + 1)
        values[i] = value / positives
        k = positives - 1
        while k >= 0 and place[k] == total - positives + k:
            k -= 1
        if k >= 0:
            place[k] += 1
            for later in range(k + 1, positives):
                place[later] = place[later - 1] + 1
