"""Profile tables: a row per well, Metadata columns and features, whoever made them."""

import json
import logging
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, check_writable
from cpssl_lite.base.words import counted
from cpssl_lite.profiles.containers import anndata_package
from cpssl_lite.profiles.families import FIELD_LEVEL as FIELD_LEVEL
from cpssl_lite.profiles.families import feature_columns as feature_columns
from cpssl_lite.profiles.reading import PROVENANCE as PROVENANCE
from cpssl_lite.profiles.reading import read_profiles as read_profiles
from cpssl_lite.profiles.reading import read_provenance as read_provenance
from cpssl_lite.profiles.roles import WELL_KEY, first_few, well_name
from cpssl_lite.profiles.roles import assign_roles as assign_roles
from cpssl_lite.profiles.roles import find_column as find_column
from cpssl_lite.profiles.roles import require as require

if TYPE_CHECKING:
    import anndata

log = logging.getLogger(__name__)

HUGE = 1e100  # the squares of larger values have no place in float64


def profile_matrix(table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Metadata and features (n, d) float64 of the wells that have a profile.

    The rule for missing values: wells without any value (no cell was found) are left out, with
    a log line; a feature without any value, a well with some values missing, and infinite
    or absurdly large values are errors that name them.
    """
    features = feature_columns(table)
    if not features:
        raise InputError(f"no features found; the table has {first_few(table.columns)}")
    if table.empty:
        raise InputError("the profile table has no rows")
    values = table[features].to_numpy(dtype=np.float64, copy=True)
    known = set(features)
    head = table[[name for name in table.columns if name not in known]]
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
            "%d of %s left out, without values (first: %s)",
            *(empty.sum(), counted(len(table), "well"), first),
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
                f"({counted(bad.sum(), 'such value')}); drop these wells, or these features with "
                "cpssl select --rules missing"
            )
    return head, values


def in_order(wells: pd.DataFrame) -> pd.DataFrame:
    """Wells by plate and position, however the table has them.

    Nulls are drawn by row, of equally near profiles the first counts, and so does the first of
    several labels of a perturbation.
    """
    key = [name for name in (*WELL_KEY, "Metadata_Perturbation") if name in wells]
    if wells.duplicated(key).any():  # no plates or positions in it: by what was measured
        key += sorted(feature_columns(wells))
    place = wells[key].reset_index(drop=True).sort_values(key, kind="stable").index
    return wells if place.is_monotonic_increasing else wells.iloc[place]


def check_output(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Fail before the work, not after it, when a profile table cannot be written to `path`.

    Raises
    ------
    InputError
        It asks for another format than Parquet or AnnData, is a folder or one of `inputs`, or
        cannot be written.
    """
    if Path(path).suffix not in (".parquet", ".pq", ".h5ad"):
        raise InputError(
            f"{path}: profile tables are written as .parquet or .h5ad; choose such a name"
        )
    if Path(path).suffix == ".h5ad":
        anndata_package()
    check_writable(path, inputs)


def write_profiles(table: pd.DataFrame, path: str | Path, provenance: dict[str, Any]) -> None:
    """Write a profile table (Parquet, AnnData), whole or not at all, with where it came from.

    Raises
    ------
    InputError
        The path cannot be written or asks for another format.
    """
    check_output(path)
    if Path(path).suffix == ".h5ad":
        write_anndata(to_anndata(table, provenance), path)
        return
    data = pa.Table.from_pandas(table, preserve_index=False)
    note = json.dumps(provenance, default=str).encode()
    data = data.replace_schema_metadata({**(data.schema.metadata or {}), PROVENANCE: note})
    # Features hardly repeat a value: dictionaries of them make files larger and slower.
    words = [field.name for field in data.schema if not pa.types.is_floating(field.type)]
    with atomic_path(path) as scratch:
        pq.write_table(
            data, scratch, compression="zstd", use_dictionary=words, write_statistics=False
        )


def write_anndata(data: "anndata.AnnData", path: str | Path) -> None:
    """Write AnnData, whole or not at all. By way of memory: on a full disk HDF5 crashes."""
    import h5py
    from anndata.io import write_elem

    file = BytesIO()
    try:
        with h5py.File(file, "w") as group:
            write_elem(group, "/", data)
    except (ValueError, TypeError) as error:  # a name that it keeps for itself, NUL in text
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: AnnData does not hold this table ({reason}); rename the column, or write "
            ".parquet"
        ) from error
    with atomic_path(path) as scratch:
        scratch.write_bytes(file.getbuffer())


def features_of(paths: Iterable[str | Path]) -> dict[str, Any]:
    """What the provenance of tables says of their features, for a table that is made of them."""
    said = [read_provenance(path) for path in paths]
    kept = [{k: v for k, v in s.items() if k in ("checkpoint", "feature_type")} for s in said]
    return kept[0] if kept and all(one == kept[0] for one in kept) else {}


def to_anndata(
    table: pd.DataFrame,
    provenance: dict[str, Any] | None = None,
    evidence: pd.DataFrame | None = None,
) -> "anndata.AnnData":
    """Export to the scverse format: X = features, obs = the rest, uns = provenance (JSON text).

    `evidence`, rows as `evidence.evidence` makes them, stands in obs beside the wells, in the place
    of columns that have these names already.

    Raises
    ------
    InputError
        The optional package anndata is not installed.
    """
    features = feature_columns(table)
    head = table[table.columns.difference(features, sort=False)]
    if evidence is not None:
        key = "Metadata_Perturbation"
        more = evidence.set_index(key).filter(regex="^(?!Metadata_)").astype(float)
        head = head.drop(columns=more.columns, errors="ignore").join(more, on=key)
    head = head.set_axis(table.index.astype(str), axis=0)
    values = table[features].to_numpy()
    return anndata_package().AnnData(
        X=values if values.dtype.kind == "f" else values.astype(np.float64),
        obs=head,
        var=pd.DataFrame(index=pd.Index(features, dtype=str)),
        uns={"provenance": json.dumps(provenance or {}, default=str)},
    )
