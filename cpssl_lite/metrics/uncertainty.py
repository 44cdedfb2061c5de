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
