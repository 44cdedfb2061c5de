"""Bioactivity: AUC and F1 of each assay, their summary over assays, calibration.

Labels are 1 active, -1 inactive, 0 not measured. Paper, "Bioactivity prediction" and Table 1.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from cpssl_lite.base.errors import InputError

CONVENTIONS = ("skip", "released")
LEVELS = (0.9, 0.8, 0.7)  # Table 1 counts the assays at or above each


class Summary(NamedTuple):
    """A row of Table 1: mean and SD over assays, and assays with an AUC of at least a level."""

    auc: float
    auc_sd: float
    f1: float
    f1_sd: float
    at_least: tuple[int, ...]  # for LEVELS
    n_assays: int


def roc_auc(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve of one assay, ties counted half; NaN without both classes.

    Parameters
    ----------
    score, label : (n,)
        Entries whose label is 0 or whose score is NaN are left out. Equals scikit-learn's
        ``roc_auc_score``.

    Examples
    --------
    >>> roc_auc(np.array([0.1, 0.4, 0.4, 0.9, 0.0]), np.array([-1, -1, 1, 1, 0]))
    0.875
    """
    known = (label != 0) & ~np.isnan(score)
    active = label[known] > 0
    n, m = int(active.sum()), int((~active).sum())
    if not n or not m:
        return float("nan")
    ranks = rankdata(score[known])
    return float((ranks[active].sum() - n * (n + 1) / 2) / (n * m))


def f1_score(probability: np.ndarray, label: np.ndarray) -> float:
    """F1 of one assay (active is positive, called above 0.5), 0 if nothing is active or called.

    Equals scikit-learn's ``f1_score`` on the measured entries.
    """
    known = (label != 0) & ~np.isnan(probability)
    active, called = label[known] > 0, probability[known] > 0.5
    total = int(active.sum() + called.sum())
    return float(2 * np.sum(active & called) / total) if total else 0.0


def score_assays(
    probability: np.ndarray, labels: np.ndarray, convention: str = "skip"
) -> tuple[np.ndarray, np.ndarray]:
    """AUC and F1 of every assay on one test split: two arrays (assays,).

    Parameters
    ----------
    probability, labels : (compounds, assays)
    convention : {"skip", "released"}
        What an assay gets whose test split holds one class only, where neither is defined:
        ``skip`` NaN, so that it is left out of means; ``released`` AUC 0.5 and F1 0, as the
        released evaluation counts it.

    Raises
    ------
    InputError
        Another convention, or arrays that differ in shape.
    """
    if convention not in CONVENTIONS:
        raise InputError(f"convention {convention!r} is not one of {', '.join(CONVENTIONS)}")
    if probability.shape != labels.shape:
        raise InputError(f"{probability.shape} predictions for {labels.shape} labels")
    auc = np.array([roc_auc(*pair) for pair in zip(probability.T, labels.T, strict=True)])
    f1 = np.array([f1_score(*pair) for pair in zip(probability.T, labels.T, strict=True)])
    undefined = np.isnan(auc)
    auc[undefined], f1[undefined] = (0.5, 0.0) if convention == "released" else (np.nan, np.nan)
    return auc, f1


def summarise(auc: np.ndarray, f1: np.ndarray) -> Summary:
    """Summarise assays as Table 1 does; assays without a value are left out.

    Parameters
    ----------
    auc, f1 : (assays,)
        Means over splits (`uncertainty.known_mean`). The SD over assays divides by their number.
    """
    auc, f1 = auc[~np.isnan(auc)], f1[~np.isnan(f1)]
    if not len(auc):
        nan = float("nan")
        return Summary(nan, nan, nan, nan, (0,) * len(LEVELS), 0)
    above = tuple(int(np.sum(auc >= level)) for level in LEVELS)
    return Summary(
        float(auc.mean()), float(auc.std()), float(f1.mean()), float(f1.std()), above, len(auc)
    )


def calibration(
    probability: np.ndarray, labels: np.ndarray, n_bins: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean prediction, share of actives and number of measured entries in bins of equal count.

    Parameters
    ----------
    probability, labels : same shape
        Pooled over compounds and assays.

    Returns
    -------
    Three arrays (n_bins,), or fewer bins if there are fewer entries.
    """
    known = (labels != 0) & ~np.isnan(probability)
    order = np.argsort(probability[known], kind="stable")
    score, active = probability[known][order], (labels[known] > 0)[order]
    parts = np.array_split(np.arange(len(score)), max(min(n_bins, len(score)), 1))
    rows = [(score[p].mean(), active[p].mean(), len(p)) for p in parts if len(p)]
    mean, share, count = np.array(rows).reshape(-1, 3).T
    return mean, share, count.astype(int)
