"""Wells and fields that are left out before anything is computed, and a line on how many."""

import logging
import re
from pathlib import Path

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import read_table, same_words
from cpssl_lite.base.words import counted
from cpssl_lite.images.metadata import IMAGE_METADATA, canonical_metadata
from cpssl_lite.profiles.roles import WELL_KEY, first_few, well_name

log = logging.getLogger(__name__)

CELLS = "Metadata_Cells_Per_Field"
# What others call the number of cells of a well.
_COUNTS = re.compile(
    r"(metadata_|image_)?(count_(cells|nuclei)|(cell|nuclei|nucleus|object)s?_?counts?"
    r"|n(umber_of)?_?(cells|nuclei))",
    re.IGNORECASE,
)


def enough_cells(table: pd.DataFrame, least: int) -> pd.DataFrame:
    """Wells with at least `least` cells per field, or in the well where only that is known.

    Raises
    ------
    InputError
        No column counts cells, a count is no number, or no well is left.
    """
    columns = [CELLS] if CELLS in table else [c for c in map(str, table) if _COUNTS.fullmatch(c)]
    if not columns:
        raise InputError(
            f"--min-cells {least}: no column counts cells ({CELLS}, Metadata_Count_Cells, "
            f"Metadata_Cell_Count, ...); the table has {first_few(table.filter(like='Metadata'))}"
        )
    column = columns[0]
    counts = pd.to_numeric(table[column], errors="coerce")
    wrong = counts.isna() & ~table[column].isin([""])
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        value = table[column].iloc[row]
        raise InputError(f"well {well_name(table, row)}: {column} is {value!r}, not a number")
    return _kept(table, counts >= least, f"with fewer than {least} cells by {column}")


def without_flagged(rows: pd.DataFrame, qc: Path) -> pd.DataFrame:
    """Fields that a QC table does not flag, or wells of which it does not flag every field.

    Parameters
    ----------
    rows
        Of an image table (with ``Metadata_Site``), or profiles of wells.
    qc
        The ``qc.csv`` of ``cpssl data qc``, edited or not, or a table like it: the columns of
        fields and ``flag``, which is empty where nothing is wrong.

    Raises
    ------
    InputError
        Not such a table, it knows none of the rows, or nothing is left.
    """
    if not qc.is_file():
        raise InputError(f"{qc}: no such QC table")
    fields = canonical_metadata(same_words(read_table(qc)))
    of_fields = "Metadata_Site" in rows
    key = [c for c in (IMAGE_METADATA[:5] if of_fields else WELL_KEY) if c in rows and c in fields]
    needed = {"Metadata_Plate", "Metadata_Well", *(["Metadata_Site"] if of_fields else [])}
    if lacking := sorted((needed - set(key)) | ({"flag"} - set(fields))):
        raise InputError(f"{qc}: no column {', '.join(lacking)}; it has {first_few(fields)}")
    flagged = fields["flag"].fillna("").astype(str).str.strip() != ""
    bad = flagged.groupby([fields[c] for c in key]).all()
    at = pd.MultiIndex.from_frame(rows[key])
    if not at.isin(bad.index).any():
        raise InputError(f"{qc}: knows none of {counted(len(rows), 'row')} by {', '.join(key)}")
    drop = bad.reindex(at).fillna(False).astype(bool).to_numpy()
    what = "flagged" if of_fields else "without a field that has no flag"
    return _kept(rows, pd.Series(~drop, rows.index), f"{what} in {qc}")


def _kept(rows: pd.DataFrame, keep: pd.Series, why: str) -> pd.DataFrame:
    """The rows to keep, and a line about the others."""
    what = "field" if any(str(c).startswith("FileName_") for c in rows) else "well"
    every = counted(len(rows), what)
    if not keep.any():
        raise InputError(f"nothing is left: {every} {why}")
    first = well_name(rows, int((~keep).to_numpy().argmax()))
    more = f" (first: {first})" if not keep.all() else ""
    lost = int((~keep).sum())
    log.info("%d of %s left out, %s%s", lost, every, why, more)
    return rows[keep].reset_index(drop=True)
