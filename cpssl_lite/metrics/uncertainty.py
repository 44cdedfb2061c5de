"""How sure is a mean, or a difference of two methods, over perturbations."""

import numpy as np
from scipy.stats import wilcoxon


def bootstrap_mean(values: np.ndarray, n: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95% bootstrap interval (percentiles): (mean, low, high).

    Parameters
    ----------
    values : (g,)
        One value per perturbation (the unit that is drawn again); NaN are left out.
    n : int
        Number of resamples.

    Returns
    -------
    Three floats, NaN if there is no value.

    Examples
    --------
    >>> bootstrap_mean(np.array([1.0, 1.0, np.nan]))
    (1.0, 1.0, 1.0)
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return (float("nan"),) * 3
    rng = np.random.default_rng(seed)
    means = np.empty(n)
    for start in range(0, n, 100):  # blocks: n x g indices need not fit
        block = means[start : start + 100]
        block[:] = values[rng.integers(len(values), size=(len(block), len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def bootstrap_groups(
    values: np.ndarray, codes: np.ndarray, n: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of all values, and its 95% interval where whole groups are drawn again.

    Values of one group (the wells of a perturbation) stand or fall together; as many values as it
    has, so much does it weigh.

    Parameters
    ----------
    values : (m,)
        NaN are left out.
    codes : (m,)
        Group of each, 0..g-1.
    n : int
        Number of resamples.

    Returns
    -------
    Mean, low, high; NaN if there is no value.

    Examples
    --------
    >>> bootstrap_groups(np.array([1.0, 0.0, 1.0, 0.0]), np.array([0, 0, 1, 1]))
    (0.5, 0.5, 0.5)
    """
    known = ~np.isnan(values)
    if not known.any():
        return (float("nan"),) * 3
    sizes = np.bincount(codes[known])
    totals = np.bincount(codes[known], weights=values[known])[sizes > 0]
    sizes = sizes[sizes > 0]
    rng = np.random.default_rng(seed)
    means = np.empty(n)
    for start in range(0, n, 100):
        block = means[start : start + 100]
        drawn = rng.integers(len(sizes), size=(len(block), len(sizes)))
        block[:] = totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(totals.sum() / sizes.sum()), float(low), float(high)


def bootstrap_difference(
    a: np.ndarray, b: np.ndarray, n: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of a - b over perturbations with its bootstrap interval: (mean, low, high).

    `a` and `b` are paired: the same perturbations in the same order. Pairs with a NaN are left
    out.
    """
    return bootstrap_mean(np.subtract(a, b, dtype=np.float64), n, seed)


def wilcoxon_paired(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test on pairs; 1 if all pairs are equal."""
    difference = np.subtract(a, b, dtype=np.float64)
    difference = difference[~np.isnan(difference)]
    if len(difference) == 0:
        return float("nan")
    if not difference.any():
        return 1.0
    return float(wilcoxon(difference).pvalue)


def known_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the first axis's values that are not NaN, (n, k) -> (k,); NaN where none is known.

    `np.nanmean` without its warning.
    """
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)


def mean_by(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Mean of the values of each group (codes 0..g-1), NaN left out: one per perturbation."""
    known = ~np.isnan(values)
    size = int(codes.max(initial=-1)) + 1
    total = np.bincount(codes[known], weights=values[known], minlength=size)
    with np.errstate(invalid="ignore"):
        return total / np.bincount(codes[known], minlength=size)
