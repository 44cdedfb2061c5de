"""Data sets by name: one YAML file each in ``data_manifests/``."""

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.base.errors import InputError

# In a clone they lie beside the package; where only the package is installed, under its prefix.
_CLONE = Path(__file__).resolve().parents[2] / "data_manifests"
FOLDER = _CLONE if _CLONE.is_dir() else Path(sys.prefix) / "share" / "cpssl_lite" / "data_manifests"


def list_manifests() -> list[dict[str, Any]]:
    """Every manifest, by name."""
    return [load_manifest(path.stem) for path in sorted(FOLDER.glob("*.yaml"))]


def load_manifest(name: str) -> dict[str, Any]:
    """Read one manifest.

    Raises
    ------
    InputError
        No manifest has that name, or it is no YAML mapping.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"no data set {name!r}; there are: {', '.join(known)}{hint}")
    try:
        manifest = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path}: a manifest is a mapping of keys to values")
    return {"name": name, **manifest}


def base_url(manifest: Mapping[str, Any]) -> str:
    """Where the files of a data set are; CPSSL_BASE_URL names a mirror to take instead."""
    return (os.environ.get("CPSSL_BASE_URL") or manifest.get("base_url", "")).rstrip("/")
