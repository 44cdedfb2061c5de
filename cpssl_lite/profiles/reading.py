"""Profile tables from files: which columns are features, canonical metadata, what is refused."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import check_once, read_table, readable, without_index
from cpssl_lite.images.metadata import canonical_metadata, is_metadata, text_of
from cpssl_lite.profiles.families import (
    FIELD_LEVEL,
    choose_features,
    feature_columns,
    named_features,
    without_others,
)
from cpssl_lite.profiles.roles import check_wells, name_controls

PROVENANCE = b"cpssl"


def read_profiles(
    paths: str | Path | Iterable[str | Path], features: str | None = None
) -> pd.DataFrame:
    """Read one profile table, or several as one (Parquet, CSV, TSV, also .gz, AnnData's .h5ad).

    Parameters
    ----------
    paths : path or paths
        Tables of this project, the authors' ``well_features.csv``, CellProfiler profiles.
        Several tables must have the same features.
    features : str, optional
        Regular expression that the names of the features fit [default: the one known family
        that the table has, see `cpssl_lite.profiles.families`; a table of this project knows
        what it was made with].

    Returns
    -------
    DataFrame
        Metadata columns as strings under their canonical names (missing values are ""), then
        the features. Negative controls without a perturbation name get their compound's name
        if the table has one, else "negcon", so that they count as wells with a name.
        ``Image_*`` columns are kept but are no features.

    Raises
    ------
    InputError
        Not there, not a table, empty, no features or those of two families, text in a feature,
        a well twice, tables with different features.
    """
    files = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not files:
        raise InputError("no profile table was given")
    tables = [_read_one(file, features) for file in files]
    first = feature_columns(tables[0])
    for file, table in zip(files[1:], tables[1:], strict=True):
        odd = sorted(set(first) ^ set(feature_columns(table)))
        if odd:
            raise InputError(
                f"{file}: its features are not those of {files[0]}: {len(odd)} are in one of "
                f"them only ({', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''})"
            )
    table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    metadata = [name for name in table.columns if name.startswith("Metadata_")]
    table[metadata] = table[metadata].fillna("")  # a column that only some tables have
    table = name_controls(table)
    check_wells(table, ", ".join(str(file) for file in files))
    return table


def _read_one(file: Path, pattern: str | None) -> pd.DataFrame:
    """One table with canonical metadata; features numeric, everything else as text."""
    if not file.is_file():
        what = "is a folder, not a table" if file.is_dir() else "no such profile table"
        raise InputError(f"{file}: {what}")
    own: list[str] = []
    if file.suffix.lower() == ".h5ad":
        table, own = _from_anndata(file, pattern)
    else:
        if pattern is None:
            pattern = read_provenance(file).get("features")  # what it was made with
        table = read_table(file, lambda names: _numeric(names, pattern))
    features = own or choose_features(file, table, pattern)
    if table.empty:
        raise InputError(f"{file}: has no rows")
    for name in features:
        if not pd.api.types.is_numeric_dtype(table[name]):
            odd = table[name][pd.to_numeric(table[name], errors="coerce").isna()].dropna()
            found = f"{odd.iloc[0]!r} in row {odd.index[0] + 1}" if len(odd) else "text"
            raise InputError(f"{file}: feature {name} is not numeric ({found})")
    fields = _field_level(list(table.columns))
    head = canonical_metadata(without_others(file, table.drop(columns=[*features, *fields])))
    for name in head.columns:
        if head[name].dtype != object:
            head[name] = text_of(head[name])
    return pd.concat([head, table[fields], table[features]], axis=1)


def _numeric(names: list[str], pattern: str | None) -> set[str]:
    """Columns of a text file that are read as numbers."""
    found = named_features(names, pattern).values()
    return set(_field_level(names)).union(*found)


def _field_level(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(FIELD_LEVEL) and not is_metadata(name)]


def _from_anndata(file: Path, pattern: str | None) -> tuple[pd.DataFrame, list[str]]:
    """X and obs of an AnnData file; X are the features where no name says so."""
    with readable(file):
        data = anndata_package().read_h5ad(file)
        head = data.obs.rename(columns=lambda c: c if is_metadata(c) else f"Metadata_{c}")
        values = data.to_df()
        table = without_index(pd.concat([head, values], axis=1).reset_index(drop=True))
        check_once(file, list(table.columns))
    known = pattern is not None or named_features(values.columns)
    return table, [] if known else [c for c in values if not c.startswith(FIELD_LEVEL)]


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Where a profile table came from; empty for tables that do not say (CSV, foreign ones).

    Raises
    ------
    InputError
        The file is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such profile table")
    try:
        notes = pq.read_schema(path).metadata or {}
    except pa.ArrowException:
        return {}
    return json.loads(notes.get(PROVENANCE, b"{}"))


def anndata_package() -> Any:
    """The optional package, imported where it is needed."""
    try:
        import anndata
    except ImportError as error:
        raise InputError("anndata is not installed: pip install anndata") from error
    return anndata
