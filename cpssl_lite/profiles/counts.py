"""How many cells a well has, where a profile table of CellProfiler says it in some way."""

import pandas as pd

CELLS = "Metadata_Count_Cells"
# Columns that count, best first: of the well (pycytominer), or the mean of its fields.
_COUNTS = (
    CELLS,
    "Metadata_Count_Nuclei",
    "Metadata_Object_Count",
    "Metadata_Cells_Count",
    "Image_Count_Cells",
    "Image_Count_Nuclei",
)
# Objects of a field are numbered 1 to n: the mean and the median number is (n + 1) / 2.
_NUMBERS = ("Cells_Number_Object_Number", "Nuclei_Number_Object_Number")


def count_cells(table: pd.DataFrame) -> pd.Series | None:
    """Cells of each well, or of a field of it; None where no column tells.

    Whether a column counts the well or a mean field does not matter to what is compared with it.
    Normalised columns count nothing and are passed over.

    Examples
    --------
    >>> count_cells(pd.DataFrame({"Nuclei_Number_Object_Number": [10.5, 50.5]})).tolist()
    [20.0, 100.0]
    """
    for name in (*_COUNTS, *_NUMBERS):
        if name not in table:
            continue
        cells = pd.to_numeric(table[name], errors="coerce").astype(float)
        if name in _NUMBERS:
            cells = 2 * cells - 1
        if cells.notna().any() and (cells.dropna() >= 0).all():
            return cells
    return None
