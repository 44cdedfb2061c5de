"""Do replicates of a perturbation look alike: replicate correlation, percent replicating."""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cpssl_lite.metrics.similarity import TIE, encode, groups, unit_rows

# Of the released code.
SEED = 507
NULL_GROUPS = 1000
GROUP_SIZE = 12
DRAWS_A_GROUP = 10_000  # without success: there are hardly any such groups
N_BINS = 2**16
MOST_AT_ONCE = 2000  # wells whose correlations are held in one matrix


class Replication(NamedTuple):
    """What `percent_replicating` found.

    `share` of the perturbations with replicates whose median correlation (`correlation`, one
    per perturbation in sorted order, NaN for a single well) is above `threshold`, the 95th
    percentile of `null`.
    """

    share: float
    threshold: float
    correlation: np.ndarray
    null: np.ndarray


def replicate_correlation(profiles: np.ndarray, perturbation: np.ndarray) -> np.ndarray:
    """Median Pearson correlation over all pairs of replicates of each perturbation.

    Parameters
    ----------
    profiles : (n, d)
    perturbation : (n,)
        "" and NaN are missing: such wells are left out.

    Returns
    -------
    (g,) float64
        One per perturbation in sorted order; NaN for those with one well. Their `np.nanmean`
        is the released code's replicate correlation.

    Examples
    --------
    >>> profiles = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.5], [3.0, 2.0, 1.0]])
    >>> replicate_correlation(profiles, np.array(["a", "a", "b"])).round(3)
    array([0.998,   nan])
    """
    return _by_group(unit_rows(profiles, "correlation"), encode(perturbation))


def percent_replicating(
    profiles: np.ndarray,
    perturbation: np.ndarray,
    *,
    position: np.ndarray | None = None,
    count_single: bool = True,
    seed: int = SEED,
) -> Replication:
    """Share of perturbations whose replicates correlate better than chance groups of wells.

    Chance is 1,000 groups of 12 wells with 12 different perturbations (drawn with Python's
    ``random.choices``, groups with a repeated perturbation drawn again); the threshold is the
    95th percentile of their median correlations.

    Parameters
    ----------
    profiles : (n, d)
    perturbation : (n,)
    position : (n,), optional
        Well positions. With them the groups are drawn from wells at one position (any of
        those that enough perturbations share): a null that keeps position effects.
    count_single : bool
        Whether perturbations with one well count, as not replicating (as in the released
        code), or are left out.
    seed : int
        Fresh for every call. The released code seeds once before its loop over tables, so
        that its figure depends on their order.

    Returns
    -------
    Replication
        With fewer than 24 perturbations the groups are half as many wells as there are
        perturbations. With fewer than 4, or if one has so many of the wells that hardly any
        group of different ones can be drawn, `share` and `threshold` are NaN.
    """
    codes = encode(perturbation)
    named = np.flatnonzero(codes >= 0)
    rows = unit_rows(profiles, "correlation")[named]
    codes = codes[named]
    correlation = _by_group(rows, codes)
    pools = [np.arange(len(rows))]
    if position is not None:
        order, start = groups(encode(np.asarray(position)[named]))
        pools = [order[a:b] for a, b in pairwise(start)]
    null = _null(rows, codes, pools, random.Random(seed))
    if len(null) == 0:
        return Replication(np.nan, np.nan, correlation, null)
    threshold = float(np.percentile(null, 95))
    counted = correlation if count_single else correlation[~np.isnan(correlation)]
    share = float(np.mean(counted > threshold + TIE)) if len(counted) else np.nan
    return Replication(share, threshold, correlation, null)


def replicating_by_chance(
    profiles: np.ndarray,
    perturbation: np.ndarray,
    threshold: float,
    *,
    count_single: bool = True,
    seed: int = SEED,
) -> float:
    """Share of perturbations that would be above `threshold` if their names were shuffled.

    The median over few replicates scatters more than the one over the groups of 12 wells that
    the threshold comes from: with three replicates about a third of random features "replicate".

    Parameters
    ----------
    profiles : (n, d)
    perturbation : (n,)
    threshold
        Of `percent_replicating`.
    count_single, seed
        As there. Names are shuffled until at least 1,000 perturbations were looked at.
    """
    codes = encode(perturbation)
    named = np.flatnonzero(codes >= 0)
    rows, codes = unit_rows(profiles, "correlation")[named], codes[named]
    if np.isnan(threshold) or not len(codes):
        return float("nan")
    rng = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < NULL_GROUPS:
        found += _by_group(rows, rng.permutation(codes)).tolist()
    drawn = np.array(found)
    counted = drawn if count_single else drawn[~np.isnan(drawn)]
    return float(np.mean(counted > threshold + TIE)) if len(counted) else float("nan")


def _by_group(rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Median correlation within each group of unit rows."""
    order, start = groups(codes)
    return _medians(rows, [order[a:b] for a, b in pairwise(start)])


def _null(
    rows: np.ndarray, codes: np.ndarray, pools: list[np.ndarray], draw: random.Random
) -> np.ndarray:
    """Median correlations of groups of wells with different perturbations."""
    distinct = [len(np.unique(codes[pool])) for pool in pools]
    usable = [i for i, n in enumerate(distinct) if n >= 2 * GROUP_SIZE]
    if not usable:  # small screens, and positions: as large as leaves a choice
        usable = [i for i, n in enumerate(distinct) if n >= 4]
    drawn: list[np.ndarray] = []
    draws = 0
    while usable and len(drawn) < NULL_GROUPS:
        draws += 1
        if draws > DRAWS_A_GROUP * (len(drawn) + 1):
            return np.array([])
        pick = usable[0] if len(usable) == 1 else draw.choice(usable)
        size = min(GROUP_SIZE, distinct[pick] // 2)
        # Positions in the pool as a list: what random.choices does with the seed depends on it.
        group = pools[pick][draw.choices(range(len(pools[pick])), k=size)]
        if len(set(codes[group].tolist())) == size:
            drawn.append(group)
    return _medians(rows, drawn)


def _medians(rows: np.ndarray, members: Sequence[np.ndarray]) -> np.ndarray:
    """Median correlation over the pairs of each group; groups of one size are taken together."""
    sizes = np.array([len(group) for group in members], dtype=int)
    found = np.full(len(members), np.nan)
    for size in np.unique(sizes[sizes > 1]):
        at = np.flatnonzero(sizes == size)
        if size > MOST_AT_ONCE:
            found[at] = [_median(rows[members[i]]) for i in at.tolist()]
            continue
        upper = np.triu_indices(size, 1)
        together = max(1, MOST_AT_ONCE**2 // (size * rows.shape[1]))  # as large as one block
        for start in range(0, len(at), together):
            part = at[start : start + together]
            block = rows[np.stack([members[i] for i in part.tolist()])]  # (groups, size, d)
            pairs = (block @ block.transpose(0, 2, 1))[:, *upper]
            found[part] = np.median(pairs, axis=1)
    return found


def _median(rows: np.ndarray) -> float:
    """Median correlation over the pairs of a group too large to hold all of them."""
    count = len(rows) * (len(rows) - 1) // 2
    return float(pair_order(rows, ((count - 1) // 2, count // 2)).mean())


def pair_order(rows: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """The products of all pairs of unit rows at these places of their ascending order (from 0).

    They are too many to hold: counted in bins first, then those of the bins asked for are sorted.
    """
    counts = np.zeros(N_BINS + 1, dtype=np.int64)
    for part in pairs_of(rows):
        counts += np.bincount(_bins(part), minlength=len(counts))
    upto = np.cumsum(counts)
    wanted = np.searchsorted(upto, ranks, side="right")
    kept = np.concatenate([part[np.isin(_bins(part), wanted)] for part in pairs_of(rows)])
    kept.sort()
    bins = np.unique(wanted)
    first = np.append(0, np.cumsum(counts[bins]))[np.searchsorted(bins, wanted)]
    return kept[first + np.asarray(ranks) - (upto[wanted] - counts[wanted])]


def pairs_of(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the products of all pairs of unit rows, in parts."""
    for start in range(0, len(rows), MOST_AT_ONCE):
        part = rows[start : start + MOST_AT_ONCE]
        yield (part @ part.T)[np.triu_indices(len(part), 1)]
        for other in range(start + MOST_AT_ONCE, len(rows), MOST_AT_ONCE):
            yield (part @ rows[other : other + MOST_AT_ONCE].T).ravel()


def _bins(correlations: np.ndarray) -> np.ndarray:
    """Bin of each, 0 to N_BINS; never falls as correlations rise."""
    return np.clip((correlations + 1) * (N_BINS / 2), 0, N_BINS).astype(np.int64)
