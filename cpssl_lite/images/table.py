"""Image tables: one row per field of view, in any of the forms that people have."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS, canonical_channel
from cpssl_lite.images.metadata import IMAGE_METADATA, canonical_metadata, text_of

_FILE_COLUMN = re.compile(r"(FileName|PathName|URL)_(.+)")


def read_image_table(path: str | Path) -> pd.DataFrame:
    """Read an image table from CSV (also ``.csv.gz``) or Parquet.

    Recognised by their columns: this project's form, the authors' dataset.csv, and JUMP's
    load_data.csv with ``FileName_Orig*``/``PathName_Orig*`` or ``URL_Orig*`` (local addresses).
    Columns of brightfield and of illumination functions are left out.

    A relative file name is looked for in its ``PathName`` folder (itself relative to the table's
    folder) if that exists, otherwise in the table's folder: the file names of JUMP repeat from
    plate to plate, so the narrower place goes first.

    Returns
    -------
    DataFrame with the seven `IMAGE_METADATA` columns (text, ``""`` where unknown; the site is
    ``"1"`` if there is no such column), further ``Metadata_*`` columns, and either
    ``FileName_Merged`` or five ``FileName_<channel>`` columns of absolute paths, and the authors'
    ``Otsu_th`` if it is there.

    Raises
    ------
    InputError
        No such file, unreadable, empty, a column is missing, a plate, well or file name is
        empty, the same field or the same file twice, or remote addresses.
    """
    path = Path(path)
    raw = _read(path)
    table = canonical_metadata(raw)
    for name in ("Metadata_Plate", "Metadata_Well"):
        if name not in table:
            raise InputError(
                f"{path}: column {name} (or {name.removeprefix('Metadata_').lower()}) is missing;"
                f" found: {_listed(raw.columns)}"
            )
    for name in IMAGE_METADATA:
        if name not in table:
            table[name] = "1" if name == "Metadata_Site" else ""
    files = _files(path, raw)
    others = [c for c in table if str(c).startswith("Metadata_") and c not in IMAGE_METADATA]
    kept = table[[*IMAGE_METADATA, *others]]
    extra = _thresholds(path, raw) if "Otsu_th" in raw else raw[[]]
    table = pd.concat([kept, files, extra], axis=1).reset_index(drop=True)
    _check_rows(path, table)
    return table


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever the readers of tables raise about `path` into one InputError."""
    try:
        with warnings.catch_warnings():  # rows longer than the header: pandas only warns
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except InputError:
        raise
    except pd.errors.ParserWarning as error:
        raise InputError(f"{path}: rows have more values than the header has names") from error
    except Exception as error:  # pandas, pyarrow, gzip and HDF5 each have their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable table ({reason})") from error


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        what = "is a folder, not a table" if path.is_dir() else "no such image table"
        raise InputError(f"{path}: {what}")
    name = path.name.lower()
    with readable(path):
        if name.endswith((".parquet", ".pq")):
            table = pd.read_parquet(path)
        elif name.endswith((".csv", ".csv.gz")):
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
        else:
            raise InputError(f"{path}: an image table is .csv, .csv.gz or .parquet")
    if table.empty:
        raise InputError(f"{path}: the table has no rows")
    return table


def _files(path: Path, raw: pd.DataFrame) -> pd.DataFrame:
    """Absolute paths: one column FileName_Merged, or one per channel."""
    columns: dict[tuple[str, str], str] = {}
    for column in map(str, raw.columns):
        if match := _FILE_COLUMN.fullmatch(column):
            name = "Merged" if match[2].lower() == "merged" else canonical_channel(match[2])
            if name:
                columns.setdefault((match[1], name), column)
    found = {name for kind, name in columns if kind != "PathName"}
    if "Merged" not in found and not found.issuperset(CHANNELS):
        missing = [name for name in CHANNELS if name not in found] if found else []
        raise InputError(
            f"{path}: no complete set of image columns"
            + (f" (channels without one: {', '.join(missing)})" if missing else "")
            + "; accepted: FileName_Merged, or FileName_Orig<channel> with PathName_Orig<channel>,"
            f" or URL_Orig<channel>, for {', '.join(CHANNELS)}; found: {_listed(raw.columns)}"
        )
    paths = {}
    for name in ["Merged"] if "Merged" in found else CHANNELS:
        if ("FileName", name) in columns:
            names = text_of(raw[columns["FileName", name]])
        else:
            names = text_of(raw[columns["URL", name]]).map(lambda url: _local(path, url))
        folder_column = columns.get(("PathName", name))
        folders = text_of(raw[folder_column]) if folder_column else names.map(lambda _: "")
        paths[f"FileName_{name}"] = _absolute(path, names, folders)
    return pd.DataFrame(paths, index=raw.index)


def _local(path: Path, url: str) -> str:
    parts = urlparse(url)
    if parts.scheme == "file":
        return unquote(parts.path)
    if parts.scheme and len(parts.scheme) > 1:  # one letter is a Windows drive
        raise InputError(f"{path}: {url} is a remote address; fetch the images first")
    return url


def _absolute(path: Path, names: pd.Series, folders: pd.Series) -> list[str]:
    home = str(path.parent.resolve())
    places = {}  # one look at the disk per folder, not per file
    for folder in folders.unique():
        place = os.path.join(home, _local(path, folder))
        places[folder] = os.path.normpath(place if os.path.isdir(place) else home)
    joined = [
        os.path.join(places[folder], name) if name else ""
        for name, folder in zip(names, folders, strict=True)
    ]
    # Millions of files may be listed, and hardly any needs it.
    return [os.path.normpath(file) if "./" in file or "//" in file else file for file in joined]


def _thresholds(path: Path, raw: pd.DataFrame) -> pd.DataFrame:
    """The authors' column Otsu_th as numbers, NaN where it is empty."""
    text = text_of(raw["Otsu_th"])
    numbers = pd.to_numeric(text, errors="coerce")
    wrong = numbers.isna() & (text != "")
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"{path}: row {row + 1}: Otsu_th is {text.iloc[row]!r}, not a number")
    return pd.DataFrame({"Otsu_th": numbers})


def _check_rows(path: Path, table: pd.DataFrame) -> None:
    files = [column for column in table if str(column).startswith("FileName_")]
    for column in ["Metadata_Plate", "Metadata_Well", *files]:
        if (table[column] == "").any():
            row = int(np.argmax(table[column] == "")) + 1
            raise InputError(f"{path}: row {row}: {column} is empty")
    for what, columns in [
        ("field (source, batch, plate, well, site)", list(IMAGE_METADATA[:5])),
        *(("file", [column]) for column in files),
    ]:
        twice = table.duplicated(columns)
        if twice.any():
            key = table[columns].iloc[int(np.argmax(twice))]
            first, second, *_ = np.flatnonzero((table[columns] == key).all(axis=1)) + 1
            raise InputError(
                f"{path}: rows {first} and {second} are the same {what}:"
                f" {', '.join(filter(None, key))}"
            )


def _listed(columns: pd.Index) -> str:
    return ", ".join(map(str, columns[:20])) + ", ..." * (len(columns) > 20)
