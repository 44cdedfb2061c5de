"""Activity labels: which compound is active in which assay."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import mmread

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import check_once, reading_errors
from cpssl_lite.base.words import counted
from cpssl_lite.bioactivity.splits import COMPOUND as COMPOUND
from cpssl_lite.bioactivity.splits import PARTS as PARTS
from cpssl_lite.bioactivity.splits import draw_splits as draw_splits
from cpssl_lite.bioactivity.splits import read_splits as read_splits
from cpssl_lite.bioactivity.splits import write_splits as write_splits

log = logging.getLogger(__name__)

BINS = ((0, 50), (50, 100), (100, 500), (500, 1000), (1000, 3000))
WORDS = {"active": 1, "inactive": -1, "": 0}
# Columns that name compounds, lower case and without "Metadata_" and "_".
KEYS = ("jcp2022", "broadsample", "inchikey", "standardinchikey", "perturbation")
CHEMBL = ("standard_inchi_key", "target_chembl_id", "pchembl_value")


def read_labels(path: str | Path, compound: str = COMPOUND, active_at: float = 6.0) -> pd.DataFrame:
    """Read a label matrix.

    Parameters
    ----------
    path : path
        CSV or Parquet with a row per compound and a column per assay, or a Matrix Market
        file beside ``row-compound-index.csv`` and ``column-assay-index.csv`` (as Hofmarcher et
        al. 2019 published theirs; a file or its folder). Cells are -1, 0, 1 (0 is not measured),
        or 0, 1 and empty (empty is not measured), or active, inactive and empty. A ChEMBL table,
        a row per measurement with ``standard_inchi_key``, ``target_chembl_id`` and
        ``pchembl_value``, is taken as well: a compound with several values for a target gets
        their median.
    compound : str
        Column that names the compounds of a CSV or Parquet table [default, where it is not there:
        the one that is called JCP2022, broad_sample or InChIKey]. Other ``Metadata_`` columns
        are left out.
    active_at : float
        pChEMBL value from which a compound of a ChEMBL table is active (6 is 1 micromolar).

    Returns
    -------
    DataFrame int8
        Indexed by compound; 1 active, -1 inactive, 0 not measured.

    Raises
    ------
    InputError
        No such file or column; a compound or assay twice; a cell that is no label; 0 and 1
        with neither -1 nor an empty cell, where 0 could mean both.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.mtx"))
        if len(found) != 1:
            raise InputError(f"{path}: holds {len(found)} .mtx files; give one label matrix")
        path = found[0]
    if not path.is_file():
        raise InputError(f"{path}: no such label matrix")
    table = _read_mtx(path) if path.suffix == ".mtx" else _read_table(path, compound, active_at)
    for what, names in (("compound", table.index), ("assay", table.columns)):
        twice = names[names.duplicated()]
        if len(twice):
            raise InputError(
                f"{path}: {what} {twice[0]} is there {int((names == twice[0]).sum())} times "
                f"({len(set(twice))} such); keep one of each"
            )
    if table.empty:
        raise InputError(f"{path}: no {'compounds' if not len(table) else 'assay columns'}")
    return _codes(table, path)


def _read_table(path: Path, compound: str, active_at: float) -> pd.DataFrame:
    with reading_errors(path):
        if path.suffix in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        else:
            header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0]
            check_once(path, header.dropna().tolist())
            table = pd.read_csv(path, dtype={compound: str}, index_col=False)
    if set(CHEMBL) <= set(table):
        return _from_measurements(table, path, active_at)
    keys = [c for c in map(str, table) if re.sub(r"^metadata_|[_ ]", "", c.lower()) in KEYS]
    if compound not in table and compound == COMPOUND and len(keys) == 1:
        log.info("%s: compounds are named by %s", path, keys[0])
        compound = keys[0]
    if compound not in table:
        shown = ", ".join(map(str, table.columns[:4]))
        raise InputError(f"{path}: no column {compound} that names the compounds (has {shown} ...)")
    table = table.set_index(table[compound].fillna("").astype(str)).drop(columns=compound)
    if (table.index == "").any():
        raise InputError(
            f"{path}: {counted((table.index == '').sum(), 'row')} without a compound name"
        )
    return table[[name for name in table if not str(name).startswith("Metadata_")]]


def _from_measurements(table: pd.DataFrame, path: Path, active_at: float) -> pd.DataFrame:
    """Label matrix of a ChEMBL table: targets are the assays."""
    key, target, value = CHEMBL
    numbers = pd.to_numeric(table[value], errors="coerce")
    bad = np.flatnonzero(table[value].notna() & numbers.isna())
    if len(bad):
        raise InputError(f"{path}: {value} '{table[value].iat[bad[0]]}' is no number")
    values = numbers.groupby([table[key].astype(str), table[target].astype(str)]).median()
    matrix = values.unstack()
    return ((matrix >= active_at) * 2.0 - 1).where(matrix.notna(), 0.0).rename_axis(columns=None)


def _read_mtx(path: Path) -> pd.DataFrame:
    names = {}
    for part in ("row-compound-index", "column-assay-index"):
        index = path.with_name(f"{part}.csv")
        if not index.is_file():
            raise InputError(f"{index}: no such file; it names what is in {path.name}")
        with reading_errors(index):
            names[part] = pd.read_csv(index, dtype=str).iloc[:, -1]
    # The published matrix has two columns for some assays (two read-outs): 600885, 600885.2
    assays = names["column-assay-index"]
    again = assays.groupby(assays).cumcount()
    names["column-assay-index"] = assays + ("." + (again + 1).astype(str)).where(again > 0, "")
    with reading_errors(path):
        matrix = mmread(path).toarray()
    if matrix.shape != tuple(map(len, names.values())):
        raise InputError(f"{path}: {matrix.shape}, its indexes {tuple(map(len, names.values()))}")
    return pd.DataFrame(matrix, *(pd.Index(part, name=None) for part in names.values()))


def _codes(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Cells as 1, -1, 0, by one of the three codings."""
    text = table.map(lambda cell: WORDS.get(cell) if isinstance(cell, str) else cell)
    bad = ~text.isin([-1, 0, 1]) & ~(text.isna() & table.isna())
    if bad.to_numpy().any():
        row, column = np.argwhere(bad.to_numpy())[0]
        raise InputError(
            f"{path}: compound {table.index[row]}, assay {table.columns[column]}: "
            f"'{table.iat[row, column]!s}' is none of -1, 0, 1, active, inactive, empty"
        )
    values = text.to_numpy(dtype=np.float64)
    words = table.map(lambda cell: isinstance(cell, str)).to_numpy().any()
    if not words and not (values == -1).any() and (values == 0).any():
        if not np.isnan(values).any():
            raise InputError(
                f"{path}: has only 0 and 1, so 0 could mean inactive or not measured; write -1 "
                "for inactive, or leave what was not measured empty"
            )
        values[values == 0] = -1
    return pd.DataFrame(np.nan_to_num(values).astype(np.int8), table.index, table.columns)


def match_labels(
    labels: pd.DataFrame, compounds: np.ndarray, strict: bool = True, least: int = 1
) -> pd.DataFrame:
    """Rows of the compounds of a screen, and the assays that hold both classes there.

    Parameters
    ----------
    labels : DataFrame
        As `read_labels` returns it.
    compounds : (n,)
        Names of the screen's compounds, in any order and number.
    strict : bool
        False leaves out compounds that the screen does not have and assays with too few labels,
        each with a log line, instead of refusing them.
    least : int
        Actives, and inactives, that an assay needs.

    Raises
    ------
    InputError
        Compounds that the screen does not have, assays with fewer than `least` of a class
        (if strict); nothing is left.
    """
    known = labels.index.isin(np.asarray(compounds, dtype=str))
    found = labels[known]
    if not known.any():
        raise InputError(
            f"none of {len(labels)} labelled compounds is in the screen (labels: "
            f"{labels.index[0]} ..., screen: {compounds[0]} ...); which column names them?"
        )
    few = np.minimum((found > 0).sum(), (found < 0).sum()) < least
    for what, names in (
        ("compounds with labels are not in the screen", labels.index[~known]),
        (f"assays have fewer than {least} active or inactive", labels.columns[few]),
    ):
        message = f"{len(names)} {what} ({', '.join(map(str, names[:3]))} ...)"
        if len(names) and strict:
            raise InputError(f"{message}; remove them, or leave them out with strict=False")
        if len(names):
            log.warning("%s and are left out", message)
    found = found.loc[:, ~few]
    found = found[(found != 0).any(axis=1)]
    if found.empty:
        raise InputError(
            f"no assay has {least} active and {least} inactive compounds in the screen"
        )
    return found


def label_bins(labels: pd.DataFrame) -> pd.Series:
    """The paper's bin of each assay by its number of labels (Supplementary Fig. 8).

    A number on the edge of two bins is in the upper one; 3,000 and more in the last.

    Examples
    --------
    >>> label_bins(pd.DataFrame({"a": [1, -1, 0], "b": [1] * 3}).astype("int8")).tolist()
    ['<50', '<50']
    """
    names = [f"<{BINS[0][1]}", *(f"{low}-{high}" for low, high in BINS[1:])]
    counts = (labels != 0).sum()
    place = np.searchsorted([low for low, _ in BINS[1:]], counts, side="right")
    kind = pd.CategoricalDtype(names, ordered=True)
    return pd.Series([names[i] for i in place], labels.columns, dtype=kind)
