"""Image tables: one row per field of view, in any of the forms that people have."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import read_table
from cpssl_lite.images.channels import CHANNELS, canonical_channel
from cpssl_lite.images.metadata import IMAGE_METADATA, canonical_metadata, text_of
from cpssl_lite.images.paths import absolute
from cpssl_lite.images.zarrs import is_site, is_zarr, read_plate

# CellProfiler's own table of images puts Image_ in front.
_FILE_COLUMN = re.compile(r"(?:Image_)?(FileName|PathName|URL)_(.+)", re.IGNORECASE)
_KINDS = {kind.lower(): kind for kind in ("FileName", "PathName", "URL")}


def read_image_table(path: str | Path, channels: Sequence[str] | None = None) -> pd.DataFrame:
    """Read an image table from CSV, TSV (also ``.gz``) or Parquet; or list an OME-Zarr plate.

    Recognised by their columns: this project's form, the authors' dataset.csv, and JUMP's
    load_data.csv with ``FileName_Orig*``/``PathName_Orig*`` or ``URL_Orig*`` (local addresses).
    Columns of brightfield and of illumination functions are left out.

    Where the files are: see `cpssl_lite.images.paths.absolute`.

    Parameters
    ----------
    path
        The table, or the folder of an OME-Zarr plate.
    channels
        All channels of its merged files, in their order, where the files do not say it.

    Returns
    -------
    DataFrame with the seven `IMAGE_METADATA` columns (text, ``""`` where unknown; the site is
    ``"1"`` if there is no such column), further ``Metadata_*`` columns, and either
    ``FileName_Merged`` (and ``Channels``, if given, with commas) or five ``FileName_<channel>``
    columns of absolute paths, and the authors' ``Otsu_th`` if it is there.

    Raises
    ------
    InputError
        No such file, unreadable, empty, a column is missing or there twice, a plate, well or file
        name is empty, the same field twice, one file for two fields or two channels, or remote
        addresses.
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
    if channels:
        if "FileName_Merged" not in table:
            raise InputError(f"{path}: --channels is for merged images; its files have one each")
        for name in CHANNELS:
            if [canonical_channel(given) for given in channels].count(name) != 1:
                raise InputError(
                    f"--channels {','.join(channels)}: {name} must be in it once; name all "
                    "channels of a file in their order"
                )
        table["Channels"] = ",".join(name.strip() for name in channels)
    _check_rows(path, table, raw)
    return table


def _read(path: Path) -> pd.DataFrame:
    if path.is_dir() and (is_zarr(path) or any(map(is_site, path.iterdir()))):
        return read_plate(path)
    if not path.is_file():
        what = "is a folder, not a table" if path.is_dir() else "no such image table"
        raise InputError(f"{path}: {what}")
    table = read_table(path)
    if table.empty:
        raise InputError(f"{path}: the table has no rows")
    return table


def _files(path: Path, raw: pd.DataFrame) -> pd.DataFrame:
    """Absolute paths: one column FileName_Merged, or one per channel."""
    columns: dict[tuple[str, str], str] = {}
    for column in map(str, raw.columns):
        if match := _FILE_COLUMN.fullmatch(column):
            name = "Merged" if match[2].lower() == "merged" else canonical_channel(match[2])
            kind = _KINDS[match[1].lower()]  # in any case, as metadata: databases know one
            first = columns.setdefault((kind, name), column) if name else column
            if first != column and not raw[first].equals(raw[column]):
                raise InputError(
                    f"{path}: {first} and {column} are both {kind} of {name}, with different"
                    " values; keep one"
                )
    found = {name for kind, name in columns if kind != "PathName"}
    if "Merged" not in found and not found.issuperset(CHANNELS):
        missing = [name for name in CHANNELS if name not in found] if found else []
        raise InputError(
            f"{path}: no complete set of image columns"
            + (f" (channels without one: {', '.join(missing)})" if missing else "")
            + "; accepted: FileName_Merged, or FileName_Orig<channel> with PathName_Orig<channel>,"
            f" or URL_Orig<channel>, for {', '.join(CHANNELS)}; found: {_listed(raw.columns)}"
        )
    paths, said = {}, {}
    for name in ["Merged"] if "Merged" in found else CHANNELS:
        said[name] = columns.get(("FileName", name)) or columns["URL", name]
        names = text_of(raw[said[name]])
        folder_column = columns.get(("PathName", name)) if ("FileName", name) in columns else None
        folders = text_of(raw[folder_column]) if folder_column else names.map(lambda _: "")
        if (names == "").any():
            raise InputError(
                f"{path}: row {int(np.argmax(names == '')) + 1}: {said[name]} is empty"
            )
        paths[f"FileName_{name}"] = absolute(path, names, folders)
    files = pd.DataFrame(paths, index=raw.index)
    _check_files(path, files, list(said.values()))
    return files


def _check_files(path: Path, files: pd.DataFrame, said: list[str]) -> None:
    """A file belongs to one field and one channel; `said` are the columns as the table has them."""
    flat = files.to_numpy(dtype=object).ravel()
    twice = pd.Series(flat).duplicated()
    if not twice.any():
        return
    file = flat[int(np.argmax(twice))]
    (first, a), (second, b) = (
        (at // len(said) + 1, said[at % len(said)]) for at in np.flatnonzero(flat == file)[:2]
    )
    if a == b:
        what = f"rows {first} and {second} are the same file: {file}"
    elif first == second:
        what = f"row {first}: {a} and {b} name one file, {file}; each channel has its own"
    else:
        what = f"row {first}: {a} and row {second}: {b} name one file, {file}"
    raise InputError(f"{path}: {what}")


def _thresholds(path: Path, raw: pd.DataFrame) -> pd.DataFrame:
    """The authors' column Otsu_th as numbers, NaN where it is empty."""
    text = text_of(raw["Otsu_th"])
    numbers = pd.to_numeric(text, errors="coerce")
    wrong = (text != "") & ~numbers.between(0, 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{path}: row {row + 1}: Otsu_th is {text.iloc[row]!r}, not a number within 0..1"
        )
    return pd.DataFrame({"Otsu_th": numbers})


def _check_rows(path: Path, table: pd.DataFrame, raw: pd.DataFrame) -> None:
    for column in ("Metadata_Plate", "Metadata_Well"):
        if (table[column] == "").any():
            row = int(np.argmax(table[column] == "")) + 1
            raise InputError(f"{path}: row {row}: {column} is empty")
    field = list(IMAGE_METADATA[:5])
    twice = table.duplicated(field)
    if twice.any():
        key = table[field].iloc[int(np.argmax(twice))]
        first, second, *_ = np.flatnonzero((table[field] == key).all(axis=1))
        message = (
            f"{path}: rows {first + 1} and {second + 1} are the same field (source, batch, plate,"
            f" well, site): {', '.join(filter(None, key))}"
        )
        if not _has_site(raw):
            a, b = (raw.iloc[row].astype(str) for row in (first, second))
            differ = [str(c) for c in raw.columns[a != b] if not _FILE_COLUMN.fullmatch(str(c))]
            may = f" (one of {', '.join(differ[:4])}?)" if differ else ""
            message += f"; no column says which site a field is: call it Metadata_Site{may}"
        raise InputError(message)


def _has_site(raw: pd.DataFrame) -> bool:
    return "Metadata_Site" in canonical_metadata(raw.iloc[:1])


def _listed(columns: pd.Index) -> str:
    return ", ".join(map(str, columns[:20])) + ", ..." * (len(columns) > 20)
