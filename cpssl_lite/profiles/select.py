"""Feature selection, as compared in Supplementary Fig. 3: variance, correlation, lists."""

import logging
from collections.abc import Collection

import numpy as np
import pandas as pd

from cpssl_lite.errors import InputError
from cpssl_lite.profiles.table import feature_columns, profile_matrix

log = logging.getLogger(__name__)


def keep_features(table: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Keep a given list of features (such as CPJUMP1's 560), in the table's order.

    Raises
    ------
    InputError
        None of them is there. Those that are not are counted in a log line.
    """
    wanted, features = set(names), feature_columns(table)
    kept = [name for name in features if name in wanted]
    if not kept:
        raise InputError(f"none of the {len(wanted)} listed features is in the table")
    if len(kept) < len(wanted):
        log.warning("%d of %d listed features are not there", len(wanted) - len(kept), len(wanted))
    return _only(table, kept)


def drop_features(table: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Leave out a blocklist of features.

    Raises
    ------
    InputError
        Nothing is left.
    """
    blocked = set(names)
    return _only(table, [name for name in feature_columns(table) if name not in blocked])


def drop_rare(table: pd.DataFrame, distinct: int = 2, share: float = 0.95) -> pd.DataFrame:
    """Leave out features with fewer than `distinct` values, or one value in over `share` wells."""
    _, values = profile_matrix(table)
    kept = []
    for name, column in zip(feature_columns(table), values.T, strict=True):
        counts = np.unique(column, return_counts=True)[1]
        if len(counts) >= distinct and counts.max() <= share * len(column):
            kept.append(name)
    return _only(table, kept)


def drop_correlated(table: pd.DataFrame, threshold: float = 0.9) -> pd.DataFrame:
    """Leave out features until no two correlate (Pearson, absolute) above `threshold`.

    Of the most correlated pair still there, the one with the larger sum of absolute
    correlations to all features goes; the earlier one if these are equal.
    """
    _, values = profile_matrix(table)
    names = np.array(feature_columns(table))
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    length[length == 0] = np.inf
    correlation = np.abs((centred / length).T @ (centred / length))
    total = correlation.sum(axis=0)
    np.fill_diagonal(correlation, 0.0)
    kept = np.ones(len(names), dtype=bool)
    best = correlation.max(axis=1)
    while best.max(initial=0.0) > threshold:
        one = int(best.argmax())
        other = int(correlation[one].argmax())
        gone = one if total[one] >= total[other] else other
        kept[gone] = False
        partners = np.flatnonzero(correlation[gone] == best)  # whose largest may be gone
        correlation[gone, :] = correlation[:, gone] = 0.0
        best[gone] = 0.0
        best[partners] = correlation[partners].max(axis=1)
    return _only(table, names[kept].tolist())


def _only(table: pd.DataFrame, kept: list[str]) -> pd.DataFrame:
    if not kept:
        raise InputError("feature selection leaves no feature")
    chosen = set(feature_columns(table)) - set(kept)
    return table[[name for name in table.columns if name not in chosen]]
