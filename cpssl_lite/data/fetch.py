"""A data set of many remote files: chosen, estimated, fetched side by side, made a table."""

import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.base.files import atomic_path, check_writable, one_writer
from cpssl_lite.base.words import counted
from cpssl_lite.base.yamls import shown
from cpssl_lite.data.archives import is_unpacked, unpack, unpacked
from cpssl_lite.data.download import Absent, downloads
from cpssl_lite.data.manifests import base_url, read_index
from cpssl_lite.data.remote import Remote, is_there, place

log = logging.getLogger(__name__)

FILTERS = {"plates": "Metadata_Plate", "wells": "Metadata_Well", "sites": "Metadata_Site"}


def index_of(manifest: dict[str, Any]) -> pd.DataFrame:
    """The files of a data set: ``path``, ``url``, ``bytes``, ``sha256`` and Metadata columns.

    A manifest either lists them under ``files`` or names a table beside it (``index``, CSV or
    Parquet). Addresses are whole, or follow ``base_url``. The environment variable CPSSL_BASE_URL
    names a mirror, where all files lie by their path.

    Raises
    ------
    InputError
        The manifest has no files to fetch, or its index lacks a column.
    """
    name = manifest["name"]
    if "index" in manifest:
        index = read_index(manifest)
    elif manifest.get("files"):
        index = pd.DataFrame(manifest["files"])
    elif "part_of" in manifest:
        whole = manifest["part_of"]
        raise InputError(f"{name} is {manifest['member']} of {whole}: cpssl data fetch {whole}")
    elif "by_hand" in manifest:
        raise InputError(f"{name} cannot be fetched: {manifest['by_hand']} ({manifest['source']})")
    else:
        raise InputError(f"{name} has no files to fetch; draw it: cpssl data simulate {name}")
    if "path" not in index:
        raise InputError(f"{name}: its index has no column path")
    for column in ("url", "bytes", "sha256"):
        if column not in index:
            index[column] = None
    _check_index(index, name)
    relative, base = index["url"].fillna(index["path"]), base_url(manifest)
    if os.environ.get("CPSSL_BASE_URL"):
        relative = relative.mask(relative.str.contains("://"), index["path"])
    if not base and (~relative.str.contains("://")).any():
        raise InputError(f"{name}: {index['path'].iloc[0]} has no url, and there is no base_url")
    index["url"] = [u if "://" in u else f"{base}/{u}" for u in relative]
    index["bytes"] = pd.to_numeric(index["bytes"])
    return index


# What a file of an index may have in its columns, beside nothing where that is not known.
_COLUMNS = {
    "path": (r"[^\x00-\x1f]+", "the path of a file"),
    "url": (r"\S+", "an address"),
    "bytes": (r"[1-9]\d{0,14}(\.0)?", "a whole number above 0"),
    "sha256": (r"([0-9a-fA-F]{64})?", "64 hexadecimal digits"),
}


def _check_index(index: pd.DataFrame, name: str) -> None:
    """Refuse values that would fail file by file, or be believed."""
    if index.empty or index["path"].isna().any():
        raise InputError(f"{name}: its index has a row without a path, or no row")
    for column, (pattern, expected) in _COLUMNS.items():
        values = index[column].dropna()
        wrong = ~values.astype(str).str.fullmatch(pattern)
        if wrong.any():
            raise InputError(
                f"{name}: row {values.index[wrong][0] + 1} of its index has {column} "
                f"{shown(values[wrong].iloc[0])}, expected {expected}"
            )


def choose(index: pd.DataFrame, **wanted: Sequence[str]) -> pd.DataFrame:
    """Rows of the named plates, wells and sites; a name that is not there is an error."""
    for what, names in wanted.items():
        if not names:
            continue
        column = FILTERS[what]
        if column not in index:
            raise InputError(f"this data set cannot be cut down by {what}")
        known = set(index[column].dropna())
        if unknown := sorted(set(names) - known):
            there = ", ".join(sorted(known)[:8])
            raise InputError(f"no {what[:-1]} {unknown[0]!r} in this data set but {there}...")
        index = index[index[column].isin(names)]
    if index.empty:
        raise InputError("no file is left by these plates, wells and sites")
    return index


def missing(index: pd.DataFrame, folder: Path) -> list[Remote]:
    """Files that are not in place yet; an archive counts by what was unpacked from it."""
    archives = set(_archives(index))
    remotes = [
        Remote(
            row["path"],
            row["url"],
            None if pd.isna(row["bytes"]) else int(row["bytes"]),
            row["sha256"] if isinstance(row["sha256"], str) and row["sha256"] else None,
        )
        for row in index.to_dict("records")
    ]
    return [
        r
        for r in remotes
        if not is_there(place(folder, r.path), r)
        and not (r.path in archives and is_unpacked(place(folder, r.path), folder))
    ]


def _archives(index: pd.DataFrame) -> list[str]:
    return [] if "unpack" not in index else index["path"][index["unpack"].eq(True)].tolist()


def fetch(
    index: pd.DataFrame,
    folder: str | Path,
    *,
    workers: int = 8,
    skip_absent: bool = False,
    **options: Any,
) -> Path:
    """Fetch the files of an index that are not there yet.

    One file's failure does not stop the others; at the end the first one is named. Where
    the index tells channels (column ``Channel``), a ``load_data.csv`` that ``cpssl data prepare``
    takes is written beside the files. Archives (column ``unpack``) are unpacked and then removed.

    Parameters
    ----------
    skip_absent
        Leave out fields of which the server does not have every image (JUMP has such gaps).
    **options
        For `Downloader`: tries, pause, timeout.

    Returns
    -------
    Path of ``load_data.csv``, or of the folder, or of the one folder that an archive held.

    Raises
    ------
    StepFailed
        Some files could not be fetched; the others are in place, and the same call goes on.
    """
    folder = Path(folder)
    todo = missing(index, folder)
    if todo:
        check_writable(folder / "load_data.csv")
    failures, absent = [], []
    sizes = [r.bytes for r in todo]
    total = sum(filter(None, sizes)) if None not in sizes else None
    log.info("%d of %s to fetch", len(todo), counted(len(index), "file"))
    bar = tqdm(  # counts bytes, or files where sizes are not known; only on a terminal
        total=len(todo) if total is None else total,
        unit="file" if total is None else "B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
    )
    options["on_bytes"] = lambda n: bar.update(n if total else 0)
    with bar, downloads(folder, workers, **options) as (loader, pool):
        for start in range(0, len(todo), 10_000):  # a screen may have millions
            running = {pool.submit(loader.get, r): r.path for r in todo[start : start + 10_000]}
            for future in as_completed(running):
                bar.update(total is None)
                error = future.exception()
                if isinstance(error, Absent) and skip_absent and "Channel" in index:
                    absent.append(running[future])
                elif isinstance(error, InputError):
                    failures.append(str(error))
                elif error:
                    raise error
    if loader.unverified:
        log.warning(
            "%s came with no digest to compare with (first: %s): only first bytes were looked at, "
            "and sizes where they are known",
            *(counted(len(loader.unverified), "file"), sorted(loader.unverified)[0]),
        )
    if failures:
        more = f" (and {counted(len(failures) - 1, 'more file')})" if len(failures) > 1 else ""
        raise StepFailed(f"{failures[0]}{more}; the same command tries what is missing again")
    archives = [place(folder, path) for path in _archives(index)]
    for archive in archives:
        if archive.is_file():
            unpack(archive, folder)
            archive.unlink()
    if "Channel" in index:
        return write_load_data(index, folder, absent)
    tops = {Path(path).parts[0] for archive in archives for path, _ in unpacked(archive)}
    return folder / tops.pop() if len(tops) == 1 else folder


def locate(index: pd.DataFrame, folder: str | Path) -> pd.DataFrame | None:
    """The index with the paths of files that lie somewhere in `folder`; None if one is missing.

    A file is known by its name and that of its own folder, so another layout above does not
    matter.
    """
    there = {path.parts[-2:]: os.path.realpath(path) for path in Path(folder).rglob("*.tif*")}
    wanted = [Path(path).parts[-2:] for path in index["path"]]
    if any(name not in there for name in wanted):
        return None
    return index.assign(path=[there[name] for name in wanted])


def write_load_data(index: pd.DataFrame, folder: Path, absent: Sequence[str] = ()) -> Path:
    """Write a row per whole field with ``FileName_Orig*`` columns, relative to the table."""
    head = [str(c) for c in index if str(c).startswith("Metadata_")]
    images = index[index["Channel"].notna() & ~index["path"].isin(absent)]
    images = images.fillna({c: "" for c in head})
    wide = images.pivot(index=head, columns="Channel", values="path").reset_index()
    whole = wide.dropna()
    if absent:
        log.warning(
            "%s not on the server, %s left out (first: %s)",
            *(counted(len(absent), "file"), counted(len(wide) - len(whole), "field")),
            sorted(absent)[0],
        )
    if whole.empty:
        raise StepFailed("no field has all its images; load_data.csv is not written")
    table = whole.rename(columns={c: f"FileName_Orig{c}" for c in wide if c not in head})
    path = folder / "load_data.csv"
    with one_writer(path):  # two fetches into one folder would each forget the other's rows
        if path.is_file():  # plates or wells that an earlier call fetched stay in the table
            try:
                earlier = pd.read_csv(path, dtype=str, keep_default_na=False)
            except (OSError, ValueError) as error:
                log.warning("%s: is no table (%s) and is written anew", path, error)
                earlier = table[:0]
            if list(earlier) == list(table):
                there = [(folder / name).is_file() for name in earlier.iloc[:, -1]]
                table = pd.concat([earlier[there], table.astype(str)])
                table = table.drop_duplicates(head, keep="last").sort_values(head, kind="stable")
            if path.read_bytes() == table.to_csv(index=False).encode():
                return path  # nothing new; the folder may be read-only
        with atomic_path(path) as scratch:
            table.to_csv(scratch, index=False)
    return path
