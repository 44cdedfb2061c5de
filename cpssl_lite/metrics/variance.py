"""How much of the variance of profiles goes along with a factor (source, plate, cell count)."""

from typing import NamedTuple

import numpy as np

from cpssl_lite.metrics.similarity import encode


class Explained(NamedTuple):
    """Share of the variance, and the share beyond what a meaningless factor would get."""

    share: float
    adjusted: float


def variance_explained(profiles: np.ndarray, factor: np.ndarray) -> Explained:
    """R squared of a factor, averaged over principal components weighted by their variance.

    With all components this is the sum of squares between groups over the total one, in any
    basis, so no components are computed.

    Parameters
    ----------
    profiles : (n, d)
        Features count by their variance: scale them first.
    factor : (n,)
        Numbers of kind float are a straight line, anything else is groups. Profiles with
        "" or NaN are left out.

    Returns
    -------
    Explained
        `share`, and `adjusted` for the p parameters of the factor,
        1 - (1 - share) (n - 1) / (n - 1 - p): 0 on average for a factor that means nothing, and
        therefore sometimes negative. Both NaN where the factor is constant, where every
        profile is its own group, or where nothing varies.

    Notes
    -----
    Each factor is taken alone. Shares of factors that go together (a plate lies in one batch,
    the same layout puts a perturbation at one position) overlap and do not add up.
    """
    numeric = np.asarray(factor).dtype.kind == "f"
    codes = np.zeros(len(profiles), dtype=int) if numeric else encode(factor)
    known = np.isfinite(factor) if numeric else codes >= 0
    values = np.asarray(profiles, dtype=np.float64)[known]
    n = len(values)
    if n < 3:
        return Explained(np.nan, np.nan)
    values = values - values.mean(axis=0)
    total = float((values**2).sum())
    if numeric:
        line = np.asarray(factor, dtype=np.float64)[known]
        line = line - line.mean()
        used, length = int(np.ptp(factor[known]) > 0), float(line @ line)
        between = float(((line @ values) ** 2).sum()) / length if used else 0.0
    else:
        codes = np.unique(codes[known], return_inverse=True)[1]
        size = np.bincount(codes)
        used = len(size) - 1
        sums = (codes == np.arange(len(size))[:, None]).astype(np.float64) @ values
        between = float((sums**2 / size[:, None]).sum())
    if not 0 < used < n - 1 or total == 0:
        return Explained(np.nan, np.nan)
    share = between / total
    return Explained(share, 1 - (1 - share) * (n - 1) / (n - 1 - used))
