"""The same cells by CellProfiler and in its style: matched, renamed, correlated."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.profiles.cellprofiler_program import features_in

_PLACE = ("Location_Center_Y", "Location_Center_X")


def in_style_names(table: pd.DataFrame) -> pd.DataFrame:
    """Features of one kind of object as `cpssl_lite.images.cells` calls them.

    A texture becomes the mean of its four directions, as there. A slope that CellProfiler took
    the other way round keeps its own name: it is another number.

    Parameters
    ----------
    table
        As CellProfiler writes it: a row per object, ``Texture_Contrast_DNA_3_00_256``,
        ``Correlation_Correlation_DNA_ER``, ``RadialDistribution_FracAtD_DNA_1of4``, ...

    Examples
    --------
    >>> names = ["Correlation_Correlation_DNA_ER", "RadialDistribution_RadialCV_DNA_1of4"]
    >>> list(in_style_names(pd.DataFrame([[0.5, 1.0]], columns=names)))
    ['Correlation_Pearson_ER_DNA', 'RadialDistribution_RadialCV_1of4_DNA']
    """
    names = features_in(table)
    by_name = table[names].T.groupby([_style_name(name) for name in names], sort=False)
    return by_name.mean().T


def _style_name(name: str) -> str:
    if texture := re.fullmatch(r"(Texture_.+_\d+)_\d\d_(\d+)", name):
        return f"{texture[1]}_{texture[2]}"
    if pair := re.fullmatch(r"Correlation_Correlation_([^_]+)_([^_]+)", name):
        order = sorted(pair.groups(), key=lambda stain: (*CHANNELS, stain).index(stain))
        return "_".join(["Correlation_Pearson", *order])
    if ring := re.fullmatch(r"(RadialDistribution_[^_]+)_([^_]+)_(\d+of\d+)", name):
        return f"{ring[1]}_{ring[3]}_{ring[2]}"
    return name


def same_nuclei(nuclei: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    """Which nucleus of `labels` each of CellProfiler's is: its number, 0 where it is none.

    A nucleus is the one that its centre lies in, if no other centre lies in it.

    Parameters
    ----------
    nuclei
        CellProfiler's table of the nuclei of one field.
    labels
        (H, W): 1, 2, ... inside nuclei, 0 elsewhere.
    """
    y, x = (np.rint(nuclei[name]).astype(int) for name in _PLACE)
    found = labels[y, x]
    return np.where(np.bincount(found, minlength=2)[found] == 1, found, 0)


def correlations(
    one: pd.DataFrame, other: pd.DataFrame, owner: Sequence[int] | np.ndarray
) -> pd.DataFrame:
    """Pearson's r of every feature that two tables of the same cells have, by cell and by field.

    Parameters
    ----------
    one, other
        A row per cell, in the same order.
    owner
        The field of each cell.

    Returns
    -------
    DataFrame
        A row per feature: ``cells`` and ``fields`` (of the means of fields; NaN below five
        fields, where it says nothing). A feature that does not vary has NaN.
    """
    both = [name for name in one if name in set(other)]
    fields = [table[both].groupby(np.asarray(owner)).mean() for table in (one, other)]
    by_cell = one[both].reset_index(drop=True).corrwith(other[both].reset_index(drop=True))
    by_field = fields[0].corrwith(fields[1]) if len(fields[0]) >= 5 else np.nan
    return pd.DataFrame({"cells": by_cell, "fields": by_field}, index=both)
