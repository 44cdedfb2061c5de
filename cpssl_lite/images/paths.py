"""Where the files of an image table are: names and folders as any system writes them."""

import logging
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted

log = logging.getLogger(__name__)

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # of Windows: C:/..., a share


def absolute(table: Path, names: pd.Series, folders: pd.Series) -> list[str]:
    """Absolute paths of the files of a table.

    A relative name is looked for in its folder (itself relative to the table's folder). The
    file names of JUMP repeat from plate to plate, so the narrower place goes first; where that
    folder is not there at all, a file of this name beside the table is taken, with a log line.
    Otherwise the path is the one that the table says. Backslashes separate folders as slashes
    do, and addresses may be local (``file://``).

    Parameters
    ----------
    table
        The table's file.
    names, folders
        File names and their folders ("" where there is none), a row each.

    Raises
    ------
    InputError
        A remote address.
    """
    home = str(table.parent.resolve())
    places = {folder: _join(home, _local(table, folder)) for folder in folders.unique()}
    there = {folder: os.path.isdir(place) for folder, place in places.items()}
    paths, moved = [], 0
    for name, folder in zip(names, folders, strict=True):
        local = _local(table, name)
        path = _join(places[folder], local)
        if not there[folder] and os.path.exists(beside := _join(home, local)):
            moved += path != beside
            path = beside
        paths.append(path)
    if moved:
        gone = next(folder for folder in places if not there[folder])
        log.warning(
            "%s: folder %s is not there; taken from beside the table: %s",
            *(table, gone, counted(moved, "file")),
        )
    return paths


def _join(folder: str, name: str) -> str:
    """A file in a folder; paths of another system stay as they were written."""
    if _DRIVE.match(name) and os.name != "nt":
        return name
    if _DRIVE.match(folder) and os.name != "nt":
        mark = "\\" if "\\" in folder else "/"
        return f"{folder.rstrip(mark)}{mark}{name}" if name else folder
    path = os.path.join(folder, name.replace("\\", "/"))
    # Millions of files may be listed, and hardly any needs it.
    return os.path.normpath(path) if "./" in path or "//" in path or not name else path


def _local(table: Path, address: str) -> str:
    """A name or folder without ``file://``."""
    scheme = address.partition(":")[0].lower()
    if scheme == "file":
        parts = urlparse(address)
        host = f"//{parts.netloc}" if parts.netloc not in ("", "localhost") else ""
        path = host + unquote(parts.path)
        return path[1:] if re.match(r"/[A-Za-z]:", path) else path
    if "://" in address:
        raise InputError(f"{table}: {address} is a remote address; fetch the images first")
    return address
