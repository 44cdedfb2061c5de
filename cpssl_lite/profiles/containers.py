"""Profile tables in other communities' containers: AnnData, SpatialData's tables, GCT."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import kind_of
from cpssl_lite.base.quiet import quiet
from cpssl_lite.base.tables import check_once, reading_errors, tidy, without_index
from cpssl_lite.base.words import counted
from cpssl_lite.images.metadata import is_metadata, is_missing
from cpssl_lite.profiles.families import FIELD_LEVEL

GCT = (".gct", ".gct.gz")


def reader_of(file: Path) -> Callable[[Path], tuple[pd.DataFrame, list[str]]] | None:
    """What reads this container: its table, and the columns that it calls values.

    None for plain tables. The reader raises InputError if the file is damaged.
    """
    if is_store(file):
        return _from_zarr
    if file.name.lower().endswith(GCT):
        return _from_gct
    return _from_h5ad if file.name.lower().endswith(".h5ad") else None


def is_store(file: Path) -> bool:
    """Whether a folder is a Zarr store, or lies in one."""
    return file.is_dir() and any(part.lower().endswith(".zarr") for part in file.absolute().parts)


def _from_h5ad(file: Path) -> tuple[pd.DataFrame, list[str]]:
    with _hdf5(file):
        return _split(file, anndata_package().read_h5ad(file))


@contextmanager
def _hdf5(file: Path) -> Iterator[None]:
    """Errors of reading AnnData in one line, and no warnings (names of rows that repeat, say)."""
    with reading_errors(file), quiet():
        with open(file, "rb") as data:
            head = data.read(32)
        if not head.startswith(b"\x89HDF"):
            is_what = kind_of(head) or ("no HDF5 file" if head else "empty")
            raise InputError(f"{file}: is {is_what}, not AnnData")
        yield


def _from_zarr(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """AnnData as a Zarr store, or the only table of a SpatialData store."""
    tables = sorted(path for path in (file / "tables").glob("*") if path.is_dir())
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise InputError(f"{file}: has several tables ({names}); name one: {tables[0]}")
    with reading_errors(file), quiet():
        return _split(file, anndata_package().read_zarr(str(tables[0] if tables else file)))


def _split(file: Path, data: Any) -> tuple[pd.DataFrame, list[str]]:
    if data.X is None:
        there = ", ".join([*(f"obsm {k}" for k in data.obsm), *(f"layer {k}" for k in data.layers)])
        raise InputError(
            f"{file}: has no X, where features stand (it has {there or 'nothing else either'}); "
            "put them there: anndata.AnnData(data.obsm[NAME], data.obs)"
        )
    names = {c: tidy(str(c)) for c in data.obs}
    known = [n for n in names.values() if is_metadata(n) or n.startswith(FIELD_LEVEL)]
    names = {c: n if n in known else f"Metadata_{n}" for c, n in names.items()}
    head = data.obs.rename(columns=names)
    values = data.to_df()
    table = without_index(pd.concat([head, values], axis=1).reset_index(drop=True))
    check_once(file, list(table.columns))
    return table, [str(name) for name in values]


def _from_gct(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """Versions 1.2 and 1.3: a row per feature, a column per well, the wells' metadata on top."""
    with reading_errors(file):
        opened = gzip.open if file.name.lower().endswith(".gz") else open
        with opened(file, "rt", encoding="utf-8-sig", newline="") as text:
            rows = [row for row in csv.reader(text, delimiter="\t") if row]
    version = rows[0][0].strip() if rows else ""
    if version not in ("#1.2", "#1.3"):
        raise InputError(f"{file}: a GCT file begins with #1.2 or #1.3, got {version[:60]!r}")
    counts = [part.strip() for part in (rows[1] if len(rows) > 1 else []) if part.strip()]
    if len(counts) != (4 if version == "#1.3" else 2) or not all(n.isdecimal() for n in counts):
        raise InputError(f"{file}: the second line of a GCT file is its sizes, got {counts}")
    high, wide, left, top = (*map(int, counts), 1, 0)[:4]
    header, body = (rows[2], rows[3:]) if len(rows) > 2 else ([], [])
    if len(header) != 1 + left + wide or len(body) != top + high:
        raise InputError(
            f"{file}: cut off or damaged: {wide} columns and {high} rows of values are announced "
            f"(beside {left} and {top} of metadata); it has {len(header) - 1 - left} and "
            f"{len(body) - top}"
        )
    for number, row in enumerate(body, start=4):
        if len(row) != len(header):
            has = counted(len(row), "value")
            raise InputError(f"{file}: line {number} has {has}, not {len(header)}")
    about = {_named(row[0]): row[1 + left :] for row in body[:top]}
    features = [row[0].strip() for row in body[top:]]
    check_once(file, [*about, *features])
    values = pd.DataFrame([row[1 + left :] for row in body[top:]]).T
    values = values.set_axis(features, axis=1).apply(numbers_of)
    head = pd.DataFrame({"Metadata_id": header[1 + left :], **about})
    return pd.concat([head, values], axis=1), features


def _named(name: str) -> str:
    name = name.strip()
    return name if is_metadata(name) else f"Metadata_{name}"


def numbers_of(column: pd.Series) -> pd.Series:
    """A column's numbers; as it is if something else is in it."""
    if column.dtype.kind in "mM":  # times would pass for numbers
        return column
    filled = column.mask(is_missing(column))
    numbers = pd.to_numeric(filled, errors="coerce")
    # Exact, which those of pandas are not in their last digit.
    return filled.astype(float) if numbers.notna().equals(filled.notna()) else filled


def stored_provenance(path: Path) -> dict[str, Any]:
    """Where the table in an ``.h5ad`` file came from; empty if it does not say."""
    with _hdf5(path):
        data = anndata_package().read_h5ad(path, backed="r")
        try:
            made = json.loads(data.uns.get("provenance", "{}"))
        except (TypeError, ValueError):
            made = {}  # somebody else's
        finally:
            data.file.close()
    return made if isinstance(made, dict) else {}


def anndata_package() -> Any:
    """The optional package, imported where it is needed."""
    try:
        import anndata
    except ImportError as error:
        raise InputError("anndata is not installed: pip install anndata") from error
    return anndata
