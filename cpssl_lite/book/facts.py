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
    given = [wells.set_index(WELL)[column] for wells in features.raw.values() if column in wells]
    numbers = [pd.to_numeric(cells, errors="coerce").dropna().astype(float) for cells in given]
    numbers = [cells for cells in numbers if len(cells)]  # counts may be those of other plates
    truth = read_truth(features.image_table)
    if not numbers and truth is not None:
        numbers = [truth.set_index(WELL)["cells"].astype(float)]
    if not numbers:
        return pd.Series(dtype=float)
    return numbers[0][~numbers[0].index.duplicated()]


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
