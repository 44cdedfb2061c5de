"""What is known of every well beside its features: batch, source, position, number of cells."""

import numpy as np
import pandas as pd

from cpssl_lite.book.features import Features
from cpssl_lite.book.truth import read_truth
from cpssl_lite.profiles.evaluate import batches

WELL = ["Metadata_Plate", "Metadata_Well"]


def cell_counts(features: Features, column: str) -> pd.Series:
    """Cells in each well, by plate and well: counted, or of a drawn screen the truth.

    Parameters
    ----------
    features
        The first of its tables with such a column tells for all of them.
    column
        Cells per well, or any other column that says how dense a well is.

    Returns
    -------
    Series of float, empty where nobody counted
    """
    tables = [wells for wells in features.raw.values() if column in wells]
    truth = read_truth(features.image_table)
    if not tables and truth is not None:
        tables, column = [truth], "cells"
    if not tables:
        return pd.Series(dtype=float)
    cells = pd.to_numeric(tables[0].set_index(WELL)[column], errors="coerce")
    return cells[~cells.index.duplicated()].astype(float)


def facts(head: pd.DataFrame, cells: pd.Series) -> pd.DataFrame:
    """Source, batch, plate, well, perturbation, control and number of cells of each well.

    Parameters
    ----------
    head
        Metadata columns.
    cells
        As `cell_counts` gives them; a well that is not there has NaN.

    Returns
    -------
    DataFrame
        ``source, batch, plate, well, perturbation`` as text (a batch with its source in front where
        two sources have one of that name), ``negcon`` (bool) and ``cells``.
    """
    names = ("source", "batch", "plate", "well", "perturbation")
    text = {name: head.get(f"Metadata_{name.title()}") for name in names}
    known = pd.DataFrame({k: v.astype(str) for k, v in text.items() if v is not None})
    if "source" not in known or (known["source"] == "").all():
        known["source"] = "one source"
    elif known.groupby("batch")["source"].nunique().max() > 1:
        known["batch"] = batches(head)
    known["negcon"] = (head.get("Metadata_Control", pd.Series("", head.index)) == "negcon").array
    known["cells"] = np.nan
    if len(cells):
        known["cells"] = cells.reindex(pd.MultiIndex.from_frame(head[WELL].astype(str))).to_numpy()
    return known.reset_index(drop=True)
