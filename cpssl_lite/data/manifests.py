"""Data sets by name: one YAML file each in ``data_manifests/``, as ``schema.json`` there says."""

import difflib
import logging
import os
import sys
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import stamp
from cpssl_lite.base.yamls import check_mapping, read_mapping

if TYPE_CHECKING:  # pandas takes a second to import, and a list of names does not need it
    import pandas as pd

log = logging.getLogger(__name__)
# In a clone they lie beside the package; where only the package is installed, under its prefix.
_CLONE = Path(__file__).resolve().parents[2] / "data_manifests"
FOLDER = _CLONE if _CLONE.is_dir() else Path(sys.prefix) / "share" / "cpssl_lite" / "data_manifests"
SCHEMA = FOLDER / "schema.json"
_MOST = 1 << 20  # bytes; longer lists of files belong into an index


def list_manifests() -> list[dict[str, Any]]:
    """Every manifest, by name; one that cannot be used is said and left out."""
    manifests = []
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            manifests.append(load_manifest(path.stem))
        except InputError as error:
            log.warning("%s", error)
    return manifests


def load_manifest(name: str) -> dict[str, Any]:
    """Read one manifest.

    Raises
    ------
    InputError
        No manifest has that name, it is no small YAML mapping, or not as the schema says.
    """
    path = FOLDER / f"{name}.yaml"
    if not os.path.lexists(path):
        known = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"no data set {name!r}; there are: {', '.join(known)}{hint}")
    there = stamp(path) if path.is_file() else (0, 0)  # what is no file is told by reading it
    return {"name": name, **deepcopy(_read(path, there))}


@cache  # an edition's claims ask for the same ones a hundred times
def _read(path: Path, _: tuple[int, int]) -> dict[str, Any]:
    manifest = read_mapping(path, "manifest", _MOST)
    check_mapping(manifest, path, SCHEMA)
    return manifest


def read_index(manifest: Mapping[str, Any]) -> "pd.DataFrame":
    """The table beside a manifest that its ``index`` names.

    Raises
    ------
    InputError
        It is not there or no readable table.
    """
    import pandas as pd
    import pyarrow as pa

    file = FOLDER / manifest["index"]
    if not file.is_file():
        raise InputError(f"{file}: the index of {manifest['name']} is not there")
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        return pd.read_csv(file, dtype=str)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: not a readable table ({reason})") from error


def base_url(manifest: Mapping[str, Any]) -> str:
    """Where the files of a data set are; CPSSL_BASE_URL names a mirror to take instead."""
    return (os.environ.get("CPSSL_BASE_URL") or manifest.get("base_url", "")).rstrip("/")
