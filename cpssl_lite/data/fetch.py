"""A data set of many remote files: chosen, estimated, fetched side by side, made a table."""

import logging
import os
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from cpssl_lite.data.download import Downloader, Remote, is_there, place
from cpssl_lite.data.manifests import FOLDER
from cpssl_lite.errors import InputError, StepFailed
from cpssl_lite.files import atomic_path

log = logging.getLogger(__name__)

FILTERS = {"plates": "Metadata_Plate", "wells": "Metadata_Well", "sites": "Metadata_Site"}


def index_of(manifest: dict[str, Any]) -> pd.DataFrame:
    """The files of a data set: ``path``, ``url``, ``bytes``, ``sha256`` and Metadata columns.

    A manifest either lists them under ``files`` or names a table beside it (``index``, CSV or
    Parquet). Addresses are whole, or follow ``base_url`` (environment variable CPSSL_BASE_URL
    takes its place: a mirror, say).

    Raises
    ------
    InputError
        The manifest has no files to fetch, or its index lacks a column.
    """
    name = manifest["name"]
    if "index" in manifest:
        file = FOLDER / manifest["index"]
        reader = pd.read_parquet if file.suffix == ".parquet" else pd.read_csv
        if not file.is_file():
            raise InputError(f"{file}: the index of {name} is not there")
        index = reader(file) if file.suffix == ".parquet" else reader(file, dtype=str)
    elif manifest.get("files"):
        index = pd.DataFrame(manifest["files"])
    else:
        raise InputError(f"{name} ({manifest.get('kind')}) has no files to fetch")
    if "path" not in index:
        raise InputError(f"{name}: its index has no column path")
    for column in ("url", "bytes", "sha256"):
        if column not in index:
            index[column] = None
    base = os.environ.get("CPSSL_BASE_URL") or manifest.get("base_url", "")
    relative = index["url"].fillna(index["path"])
    index["url"] = [u if "://" in u else f"{base.rstrip('/')}/{u}" for u in relative]
    index["bytes"] = pd.to_numeric(index["bytes"])
    return index


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
            some = ", ".join(sorted(known)[:8])
            raise InputError(f"no {what[:-1]} {unknown[0]!r} in this data set; there are {some}...")
        index = index[index[column].isin(names)]
    if index.empty:
        raise InputError("no file is left by these plates, wells and sites")
    return index


def missing(index: pd.DataFrame, folder: Path) -> list[Remote]:
    """Files that are not in place yet."""
    remotes = [
        Remote(
            row["path"],
            row["url"],
            None if pd.isna(row["bytes"]) else int(row["bytes"]),
            row["sha256"] if isinstance(row["sha256"], str) and row["sha256"] else None,
        )
        for row in index.to_dict("records")
    ]
    return [r for r in remotes if not is_there(place(folder, r.path), r)]


def fetch(
    index: pd.DataFrame,
    folder: str | Path,
    *,
    workers: int = 8,
    tries: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Fetch the files of an index that are not there yet.

    One file's failure does not stop the others; at the end the first one is named. Where
    the index tells channels (column ``Channel``), a ``load_data.csv`` that ``cpssl data prepare``
    takes is written beside the files.

    Returns
    -------
    Path of ``load_data.csv``, or of the folder.

    Raises
    ------
    StepFailed
        Some files could not be fetched; the others are in place, and the same call goes on.
    """
    folder = Path(folder)
    todo = missing(index, folder)
    failures = []
    sizes = [r.bytes for r in todo]
    total = sum(filter(None, sizes)) if None not in sizes else None
    log.info("%d of %d files to fetch", len(todo), len(index))
    with tqdm(total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        loader = Downloader(folder, tries, pause, timeout, bar.update)
        pool = ThreadPoolExecutor(workers)
        try:
            for future in as_completed([pool.submit(loader.get, remote) for remote in todo]):
                error = future.exception()
                if isinstance(error, InputError):
                    failures.append(str(error))
                elif error:
                    raise error
        finally:  # Ctrl-C too: every thread leaves its part file and ends
            loader.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            loader.session.close()
    if failures:
        more = f" (and {len(failures) - 1} more files)" if len(failures) > 1 else ""
        raise StepFailed(f"{failures[0]}{more}; the same command tries what is missing again")
    if "Channel" in index:
        return _load_data(index, folder)
    return folder


def _load_data(index: pd.DataFrame, folder: Path) -> Path:
    """Write a row per field with ``FileName_Orig*`` columns, relative to the table."""
    head = [c for c in index if str(c).startswith("Metadata_")]
    index = index.fillna({c: "" for c in head})
    wide = index.pivot(index=head, columns="Channel", values="path").reset_index()
    wide = wide.rename(columns={c: f"FileName_Orig{c}" for c in wide if c not in head})
    path = folder / "load_data.csv"
    with atomic_path(path) as scratch:
        wide.to_csv(scratch, index=False)
    return path


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip or tar archive; a member that would leave `folder` stops it before anything.

    Raises
    ------
    InputError
        It is no archive, is damaged, or holds a link or a path that leaves the folder.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                names = [i.filename for i in zipped.infolist() if not i.is_dir()]
                targets = [place(folder, name) for name in names]
                for name, target in zip(names, targets, strict=True):
                    with atomic_path(target) as scratch:
                        scratch.write_bytes(zipped.read(name))
            return targets
        with tarfile.open(archive) as tarred:
            members = [m for m in tarred.getmembers() if not m.isdir()]
            if odd := [m.name for m in members if not m.isfile()]:
                raise InputError(f"{archive}: holds a link or device ({odd[0]}); not unpacked")
            targets = [place(folder, m.name) for m in members]
            for member, target in zip(members, targets, strict=True):
                source = tarred.extractfile(member)
                assert source is not None
                with atomic_path(target) as scratch:
                    scratch.write_bytes(source.read())
        return targets
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(f"{archive}: not a readable archive ({error})") from error
