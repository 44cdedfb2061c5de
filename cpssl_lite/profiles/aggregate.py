"""Averages of replicate wells: per batch, per source, or over the whole data set."""

import logging
from collections.abc import Iterable

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.profiles.roles import LABELS, say_nameless
from cpssl_lite.profiles.table import feature_columns, profile_matrix, require

log = logging.getLogger(__name__)

# What keeps replicates apart. A batch belongs to a source: two sources may both have a "Batch1".
LEVELS = {
    "batch": ("Metadata_Batch", "Metadata_Source"),
    "source": ("Metadata_Source",),
    "consensus": (),
}


def aggregate(table: pd.DataFrame, by: str = "consensus") -> pd.DataFrame:
    """Average the profiles of all replicates of a perturbation.

    Parameters
    ----------
    table : DataFrame
        Normalised well profiles.
    by : {"batch", "source", "consensus"}
        Within an experimental batch, a JUMP-CP source, or the whole data set.

    Returns
    -------
    DataFrame
        A row per group, sorted by batch and perturbation: the first value of each Metadata column
        that is not empty, the mean of each feature. Wells without a perturbation name belong to
        no group and are left out, with a log line.

    Raises
    ------
    InputError
        An unknown level, or a column that it needs is missing.

    Notes
    -----
    Paper, "SSL inference and postprocessing"; the same groups as in the released code.
    """
    head, values = profile_matrix(table)
    first, means = aggregate_arrays(head, values, by)
    return pd.concat([first, pd.DataFrame(means, columns=feature_columns(table))], axis=1)


def aggregate_arrays(
    head: pd.DataFrame, values: np.ndarray, by: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """`aggregate` of what `profile_matrix` gives: Metadata and means (g, d) of the groups."""
    if by not in LEVELS:
        raise InputError(f"by={by!r} is not one of {', '.join(LEVELS)}")
    require(head, "Metadata_Perturbation", *(f"Metadata_{by.title()}",) * (by != "consensus"))
    named = (head["Metadata_Perturbation"] != "").to_numpy()
    if not named.all():
        say_nameless(head, ~named, "left out")
        head, values = head[named], values[named]
    keys = [name for name in (*LEVELS[by], "Metadata_Perturbation") if name in head]
    codes = head.groupby(keys).ngroup().to_numpy()
    _say_which_differ(head, LABELS)
    text = head.columns.difference(head.select_dtypes("number").columns)
    first = head.mask(head == "").groupby(codes).first().fillna(dict.fromkeys(text, ""))
    return first, group_means(values, codes)


def groups_with(
    column: str, head: pd.DataFrame, values: np.ndarray, by: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """`aggregate_arrays`, of it the groups that have a value in `column`."""
    if column not in LABELS:
        _say_which_differ(head, [column])
    head, values = aggregate_arrays(head, values, by)
    known = (head[column] != "").to_numpy()
    return head[known], values[known]


def _say_which_differ(head: pd.DataFrame, labels: Iterable[str]) -> None:
    """Warn of perturbations that have two labels: an aggregated profile has room for one."""
    for column in labels:
        if column not in head:
            continue
        named = head[head[column] != ""]
        values = named.groupby("Metadata_Perturbation")[column].unique()
        several = values[values.map(len) > 1]
        if len(several):
            log.warning(
                "%s: %s with several (%s: %s), of which the first is taken",
                *(column, counted(len(several), "perturbation")),
                *(several.index[0], ", ".join(map(str, several.iloc[0]))),
            )


def group_means(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Mean of the rows of each group: values (n, d), codes (n,) in 0..g-1 -> (g, d).

    Examples
    --------
    >>> group_means(np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 1])).ravel()
    array([1., 3.])
    """
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max() + 1))
    sums = np.add.reduceat(values[order], starts, axis=0)
    return sums / np.bincount(codes)[:, None]
