"""Are related profiles among the most similar pairs: odds ratios, and recall in the tails.

Related pairs are given as (m, 2) rows of the profiles; a pair counts once, whichever comes first.
All other pairs are counted in blocks and never held.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import hypergeom, norm

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.replicates import pair_order, pairs_of
from cpssl_lite.metrics.similarity import encode, groups, unit_rows

TOP = 0.05
AT_ONCE = 20_000  # related pairs multiplied at once


class Enrichment(NamedTuple):
    """Odds ratio with its 95% interval; how many pairs are related, and how many of them on top."""

    odds_ratio: float
    low: float
    high: float
    related: int
    on_top: int


class GroupEnrichment(NamedTuple):
    """The same of every label in sorted order; each (g,), NaN (p too) for one profile."""

    odds_ratio: np.ndarray
    p: np.ndarray


def related_pairs(labels: np.ndarray) -> np.ndarray:
    """Pairs of profiles with the same label, (m, 2); "" and NaN are no label."""
    order, start = groups(encode(labels))
    parts = [combinations(part, 2) for part in np.split(order, start[1:-1])]
    pairs = [pair for part in parts for pair in part]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def enrichment(profiles: np.ndarray, related: np.ndarray, share: float = TOP) -> Enrichment:
    """Odds of being on top, of related pairs against all others.

    Parameters
    ----------
    profiles : (n, d)
    related : (m, 2) int
    share : float
        On top is the cosine similarity of at least this share of all pairs of profiles.

    Returns
    -------
    Enrichment
        With the Haldane-Anscombe correction: a half is added to each of the four counts, which
        keeps a ratio finite where nothing, or everything, is on top. The interval is Woolf's.
        NaN without related pairs, or where all pairs are alike. 1 is chance.

    Raises
    ------
    InputError
        A share that is not between 0 and 1.

    Notes
    -----
    Pairs that share a profile depend on each other: the interval is on the narrow side.
    """
    rows, pairs = unit_rows(profiles), _distinct(related)
    if len(pairs) == 0 or len(rows) < 3:
        return Enrichment(np.nan, np.nan, np.nan, len(pairs), 0)
    total, top, (_, high) = _tails(rows, share)
    found = int(np.count_nonzero(_similarity(rows, pairs) >= high))
    ratio, error = _odds(np.array(found), np.array(len(pairs)), top, total)
    odds, reach = float(ratio), float(np.exp(norm.ppf(0.975) * error))
    return Enrichment(odds, odds / reach, odds * reach, len(pairs), found)


def group_enrichment(
    profiles: np.ndarray, labels: np.ndarray, share: float = TOP
) -> GroupEnrichment:
    """Odds ratio of the pairs of each label, and p of so many on top (hypergeometric).

    NaN where all pairs are alike.

    `share_below(q_values(p))` is the fraction of labels that are significant. Pairs that share a
    profile depend on each other, so that p of a label of many is on the small side.

    Raises
    ------
    InputError
        A share that is not between 0 and 1.
    """
    codes = encode(labels)
    rows, pairs = unit_rows(profiles), related_pairs(labels)
    g = int(codes.max(initial=-1)) + 1
    if len(pairs) == 0 or len(rows) < 3:
        return GroupEnrichment(*np.full((2, g), np.nan))
    total, top, (_, high) = _tails(rows, share)
    code = codes[pairs[:, 0]]
    size = np.bincount(code, minlength=g)
    found = np.bincount(code[_similarity(rows, pairs) >= high], minlength=g)
    ratio, _ = _odds(found, size, top, total)
    p = hypergeom.sf(found - 1, total, top, size)
    return GroupEnrichment(*(np.where(size > 0, values, np.nan) for values in (ratio, p)))


def tail_recall(profiles: np.ndarray, related: np.ndarray, tail: float = TOP) -> float:
    """Share of the related pairs whose similarity is in either tail of that of all pairs.

    Chance is twice `tail`: related genes may act alike or against each other. As in EFAAR's
    benchmarks (Celik et al., PLOS Computational Biology 2024).

    Raises
    ------
    InputError
        A tail that is not between 0 and 1.
    """
    rows, pairs = unit_rows(profiles), _distinct(related)
    if len(pairs) == 0 or len(rows) < 3:
        return float("nan")
    _, _, (low, high) = _tails(rows, tail)
    if low >= high:  # all are alike: nothing is in a tail
        return float("nan")
    similarity = _similarity(rows, pairs)
    return float(np.mean((similarity <= low) | (similarity >= high)))


def _distinct(related: np.ndarray) -> np.ndarray:
    pairs = np.sort(np.asarray(related, dtype=np.int64).reshape(-1, 2), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _similarity(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    parts = np.split(pairs, range(AT_ONCE, len(pairs), AT_ONCE))
    return np.concatenate(
        [np.einsum("ij,ij->i", rows[a], rows[b]) for a, b in (p.T for p in parts)]
    )


def _tails(rows: np.ndarray, share: float) -> tuple[int, int, np.ndarray]:
    """Number of all pairs, of those on top, and the similarities where the tails begin.

    On top are all that equal the last of the share too.
    """
    if not 0 < share < 1:
        raise InputError(f"a share of {share:g} is not between 0 and 1")
    total = len(rows) * (len(rows) - 1) // 2
    top = max(round(share * total), 1)
    low, high = pair_order(rows, (top - 1, total - top))
    tails = np.array([low + 1e-12, high - 1e-12])
    return total, sum(int(np.count_nonzero(part >= tails[1])) for part in pairs_of(rows)), tails


def _odds(
    found: np.ndarray, size: np.ndarray, top: int, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Odds ratio and the standard error of its logarithm, half a pair added to each count."""
    if top == total:
        return np.full(found.shape, np.nan), np.full(found.shape, np.nan)
    cells = np.array([found, size - found, top - found, total - size - top + found]) + 0.5
    return cells[0] * cells[3] / (cells[1] * cells[2]), np.sqrt((1 / cells).sum(axis=0))
