"""Profile tables from files: which columns are features, canonical metadata, what is refused."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import read_table, same_words
from cpssl_lite.base.words import counted
from cpssl_lite.base.yamls import shown
from cpssl_lite.images.metadata import canonical_metadata, is_metadata, text_of
from cpssl_lite.profiles.containers import is_store, numbers_of, reader_of, stored_provenance
from cpssl_lite.profiles.families import (
    FIELD_LEVEL,
    choose_features,
    feature_columns,
    named_features,
    without_others,
)
from cpssl_lite.profiles.platemaps import join_platemap
from cpssl_lite.profiles.roles import assign_roles, check_wells, name_controls

PROVENANCE = b"cpssl"


def read_profiles(
    paths: str | Path | Iterable[str | Path],
    features: str | None = None,
    platemaps: Iterable[str | Path] = (),
    **roles: str | None,
) -> pd.DataFrame:
    """Read one profile table, or several as one.

    Parquet, CSV, TSV (also .gz), AnnData's .h5ad and .zarr, SpatialData's .zarr, GCT.

    Parameters
    ----------
    paths : path or paths
        Tables of this project, the authors' ``well_features.csv``, CellProfiler profiles.
        Several tables must have the same features.
    features : str, optional
        Regular expression that the names of the features fit [default: the one known family
        that the table has, see `cpssl_lite.profiles.families`; a table of this project knows
        what it was made with].
    platemaps : paths
        What is in the wells, joined one after another, see
        `cpssl_lite.profiles.platemaps.join_platemap`.
    **roles : str
        Columns that play parts, as for `assign_roles`.

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
                f"{file}: its features are not those of {files[0]}: "
                f"{counted(len(odd), 'feature')} in one of them only "
                f"({', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''})"
            )
    table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    metadata = [name for name in table.columns if name.startswith("Metadata_")]
    table[metadata] = table[metadata].fillna("")  # a column that only some tables have
    for path in platemaps:
        table = join_platemap(table, Path(path))
    table = assign_roles(name_controls(table), **roles)
    check_wells(table, ", ".join(str(file) for file in files))
    return table


def _read_one(file: Path, pattern: str | None) -> pd.DataFrame:
    """One table with canonical metadata; features numeric, everything else as text."""
    made = read_provenance(file)
    if pattern is None and isinstance(said := made.get("features"), str):
        pattern = said  # what it was made with
    own: list[str] = []
    if reader := reader_of(file):
        table, values = reader(file)
        if pattern is None and not named_features(values):  # no name says it, the container does
            own = [name for name in values if not name.startswith(FIELD_LEVEL)]
    else:
        table = read_table(file, lambda names: _numeric(names, pattern))
    features = own or choose_features(file, table, pattern)
    if table.empty:
        raise InputError(f"{file}: has no rows")
    for name in features:
        if pd.api.types.is_bool_dtype(table[name]):
            table[name] = table[name].astype(float)
        elif not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = numbers_of(table[name])  # Parquet may hold them as text
        if not pd.api.types.is_numeric_dtype(table[name]):
            filled = table[name].dropna()
            odd = filled[pd.to_numeric(filled.astype(str), errors="coerce").isna()]
            found = f"{shown(odd.iloc[0])} in row {odd.index[0] + 1}" if len(odd) else "text"
            raise InputError(f"{file}: feature {name} is not numeric ({found})")
    fields = _field_level(list(table.columns))
    head = without_others(file, table.drop(columns=[*features, *fields]))
    head = canonical_metadata(same_words(head))
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


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Where a profile table came from; empty for tables that do not say (CSV, foreign ones).

    Raises
    ------
    InputError
        The file is not there.
    """
    path = Path(path)
    if is_store(path):
        return {}
    if not path.is_file():
        what = "is a folder, not a table" if path.is_dir() else "no such profile table"
        raise InputError(f"{path}: {what}")
    if path.suffix.lower() == ".h5ad":
        return stored_provenance(path)
    try:
        notes = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, UnicodeDecodeError):  # damaged, which reading the table says
        return {}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        made = json.loads(notes.get(PROVENANCE, b"{}"))
    except (ValueError, RecursionError):
        made = {}  # somebody else's
    return made if isinstance(made, dict) else {}
