"""Profile tables: a row per well, Metadata columns and features, whoever made them."""

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, check_writable
from cpssl_lite.images.metadata import canonical_metadata
from cpssl_lite.images.table import readable
from cpssl_lite.profiles.roles import assign_roles as assign_roles
from cpssl_lite.profiles.roles import check_wells, name_controls, some, well_name
from cpssl_lite.profiles.roles import find_column as find_column
from cpssl_lite.profiles.roles import require as require

if TYPE_CHECKING:
    import anndata

log = logging.getLogger(__name__)

# Families of feature names, first match wins: this project's and the authors', CellProfiler's,
# and the plain f0, f1, ... of other learned profiles. Image_* is about the field, not the cells.
FAMILIES = (
    re.compile(r"emb_?\d+"),
    re.compile(r"(Cells|Nuclei|Cytoplasm)_\w.*"),
    re.compile(r"f_?\d+|feature_?\d+"),
)
FIELD_LEVEL = "Image_"
HUGE = 1e100  # the squares of larger values have no place in float64
PROVENANCE = b"cpssl"


def feature_columns(table: pd.DataFrame) -> list[str]:
    """Names of the features of a profile table, in their order.

    Known are ``emb_0000``/``emb0``, CellProfiler's ``Cells_``, ``Nuclei_`` and ``Cytoplasm_``
    and plain ``f0``. ``Image_*`` and anything with "metadata" in its name never count.

    Examples
    --------
    >>> feature_columns(pd.DataFrame(columns=["Metadata_Well", "emb_0000", "emb_0001"]))
    ['emb_0000', 'emb_0001']
    >>> feature_columns(pd.DataFrame(columns=["Image_Count", "Cells_Metadata_Site", "Cells_Area"]))
    ['Cells_Area']
    """
    names = [name for name in table.columns if "metadata" not in str(name).lower()]
    for family in FAMILIES:
        found = [name for name in names if family.fullmatch(str(name))]
        if found:
            return found
    return []


def read_profiles(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Read one profile table, or several as one (Parquet, CSV, CSV.gz, AnnData's .h5ad).

    Parameters
    ----------
    paths : path or paths
        Tables of this project, the authors' ``well_features.csv``, CellProfiler profiles.
        Several tables must have the same features.

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
        Not there, not a table, empty, no features, text in a feature, a well twice, tables
        with different features.
    """
    files = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not files:
        raise InputError("no profile table was given")
    tables = [_read_one(file) for file in files]
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


def _read_one(file: Path) -> pd.DataFrame:
    """One table with canonical metadata; features numeric, everything else as text."""
    if not file.is_file():
        what = "is a folder, not a table" if file.is_dir() else "no such profile table"
        raise InputError(f"{file}: {what}")
    with readable(file):
        if file.suffix in (".parquet", ".pq"):
            stored = pq.ParquetFile(file).read()
            check_once(file, stored.column_names)
            # An index that pandas stored is metadata like any other column.
            table = stored.to_pandas(ignore_metadata=True)
        elif file.suffix == ".h5ad":
            data = _anndata().read_h5ad(file)
            table = pd.concat([data.obs, data.to_df()], axis=1).reset_index(drop=True)
            check_once(file, list(table.columns))
        elif file.name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
            tab = "\t" if ".tsv" in file.name else ","
            header = pd.read_csv(file, sep=tab, header=None, nrows=1, dtype=str).iloc[0].dropna()
            check_once(file, header.tolist())
            fields = [name for name in header if name.startswith(FIELD_LEVEL)]
            numeric = {*feature_columns(pd.DataFrame(columns=header)), *fields}
            text = {name: str for name in header if name not in numeric}
            table = pd.read_csv(file, sep=tab, dtype=text, low_memory=False, index_col=False)
        else:
            raise InputError(f"{file}: is neither .parquet nor .csv, .csv.gz, .tsv, .h5ad")
    # A data frame saved with its index brings a nameless first column.
    unnamed = [name for name in table.columns if re.fullmatch(r"Unnamed: \d+|index|", str(name))]
    table = table.drop(columns=[*unnamed, *(n for n in table if str(n).startswith("__index_"))])
    features = feature_columns(table)
    if not features:
        names = [name for name in table.columns if not str(name).startswith("Metadata_")]
        raise InputError(
            f"{file}: no features found; expected columns such as emb_0000, emb0, Cells_..., "
            f"Nuclei_..., Cytoplasm_..., got {some(names or table.columns)}; "
            f"{'put commas between them' if len(table.columns) == 1 else 'rename yours'}"
        )
    if table.empty:
        raise InputError(f"{file}: has no rows")
    for name in features:
        if not pd.api.types.is_numeric_dtype(table[name]):
            odd = table[name][pd.to_numeric(table[name], errors="coerce").isna()].dropna()
            found = f"{odd.iloc[0]!r} in row {odd.index[0] + 1}" if len(odd) else "text"
            raise InputError(f"{file}: feature {name} is not numeric ({found})")
    rest = [name for name in table.columns if name.startswith(FIELD_LEVEL)]
    head = canonical_metadata(table.drop(columns=[*features, *rest]))
    return pd.concat([head, table[rest], table[features]], axis=1)


def check_once(file: Path, names: list[str]) -> None:
    """Refuse a column that is there twice: pandas would rename the second one."""
    twice = pd.Index(names)[pd.Index(names).duplicated()]
    if len(twice):
        raise InputError(f"{file}: column {twice[0]} is there more than once; keep one")


def profile_matrix(table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Metadata and features (n, d) float64 of the wells that have a profile.

    The rule for missing values: wells without any value (no cell was found) are left out, with
    a log line; a feature without any value, a well with some values missing, and infinite
    or absurdly large values are errors that name them.
    """
    features = feature_columns(table)
    if not features:
        raise InputError(f"no features found; the table has {some(table.columns)}")
    if table.empty:
        raise InputError("the profile table has no rows")
    values = table[features].to_numpy(dtype=np.float64, copy=True)
    head = table[[name for name in table.columns if name not in set(features)]]
    values[np.abs(values) > HUGE] = np.inf
    if np.isfinite(values).all():
        return head, values
    missing = np.isnan(values)
    if missing.all():
        raise InputError("all features of all wells are NaN; the profiles are empty")
    empty = missing.all(axis=1)
    if empty.any():
        first = well_name(head, int(np.flatnonzero(empty)[0]))
        log.warning(
            "%d of %d wells have no values and are left out (first: %s)",
            *(int(empty.sum()), len(table), first),
        )
        head, values, missing = head[~empty], values[~empty], missing[~empty]
    gone = np.flatnonzero(missing.all(axis=0))
    if len(gone):
        raise InputError(f"feature {features[gone[0]]} is NaN in all wells; drop it")
    for what, bad in (("NaN", missing), (f"infinite or beyond {HUGE:.0e}", np.isinf(values))):
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InputError(
                f"well {well_name(head, int(row))}: feature {features[column]} is {what} "
                f"({int(bad.sum())} such values); drop these wells, or these features with "
                "cpssl select --rules missing"
            )
    return head, values


def check_output(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Fail before the work, not after it, when a profile table cannot be written to `path`.

    Raises
    ------
    InputError
        It asks for another format than Parquet, is a folder or one of `inputs`, or cannot be
        written.
    """
    if Path(path).suffix not in (".parquet", ".pq"):
        raise InputError(f"{path}: profile tables are written as .parquet; choose such a name")
    check_writable(path, inputs)


def write_profiles(table: pd.DataFrame, path: str | Path, provenance: dict[str, Any]) -> None:
    """Write a profile table as Parquet, whole or not at all, with where it came from.

    Raises
    ------
    InputError
        The path cannot be written or asks for another format.
    """
    check_output(path)
    data = pa.Table.from_pandas(table, preserve_index=False)
    note = json.dumps(provenance, default=str).encode()
    data = data.replace_schema_metadata({**(data.schema.metadata or {}), PROVENANCE: note})
    with atomic_path(path) as scratch:
        pq.write_table(data, scratch, compression="zstd")


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


def _anndata() -> Any:
    """The optional package, imported where it is needed."""
    try:
        import anndata
    except ImportError as error:
        raise InputError("anndata is not installed: pip install anndata") from error
    return anndata


def to_anndata(
    table: pd.DataFrame,
    provenance: dict[str, Any] | None = None,
    evidence: pd.DataFrame | None = None,
) -> "anndata.AnnData":
    """Export to the scverse format: obs = Metadata, X = features, uns = provenance (JSON text).

    `evidence`, rows as `evidence.evidence` makes them, stands in obs beside the wells.

    Raises
    ------
    InputError
        The optional package anndata is not installed.
    """
    features = feature_columns(table)
    head = table[[name for name in table.columns if name.startswith("Metadata_")]]
    if evidence is not None:
        key = "Metadata_Perturbation"
        more = evidence.set_index(key)[evidence.columns.difference(head.columns, sort=False)]
        head = head.join(more.astype(float), on=key)
    head = head.set_axis(table.index.astype(str), axis=0)
    return _anndata().AnnData(
        X=table[features].to_numpy(dtype=np.float32),
        obs=head,
        var=pd.DataFrame(index=pd.Index(features, dtype=str)),
        uns={"provenance": json.dumps(provenance or {}, default=str)},
    )
