"""What an executed notebook is made from: it is run again only when that changed."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cpssl_lite.base.files import sha256
from cpssl_lite.base.made import Recipe
from cpssl_lite.base.provenance import versions
from cpssl_lite.base.sources import content_digest, modules_used


def data_digest(path: str | Path) -> str:
    """Digest of one input: a file by its bytes, a data set by its ``dataset.yaml``.

    That file holds the digests of all images and tables of a simulated or prepared data
    set. A folder without one is known by its files' names, sizes and times: reading
    thousands of images would cost more than the notebook saves.
    """
    path = Path(path)
    if path.is_dir() and (path / "dataset.yaml").is_file():
        path = path / "dataset.yaml"
    if path.is_file():
        return sha256(path)
    files = sorted(f for f in path.rglob("*") if f.is_file() and not f.name.startswith("."))
    lines = [f"{f.relative_to(path)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def inputs_named(parameters: Mapping[str, Any], root: Path) -> dict[str, Path]:
    """Files and folders that the parameters name: paths, patterns, data sets in ``data/``."""
    found: dict[str, Path] = {}
    for text in _texts(list(parameters.values())):
        # An empty name would be the root itself, and so would a lone dot.
        if not text.strip("./") or "\n" in text or len(text) > 1000:
            continue
        named = (text, f"data/{text}", *sorted(glob(text, root_dir=root)))
        # os.path, not Path: a text too long for a name is no error, there is just no such file.
        found |= {name: root / name for name in named if os.path.exists(root / name)}
    return found


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        # A list of tables may come as one text with commas.
        yield from dict.fromkeys([value, *(part.strip() for part in value.split(","))])
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in _texts(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))


def notebook_recipe(source: str, parameters: Mapping[str, Any], root: Path) -> Recipe:
    """What an executed notebook is made from: values of all its parameters, files, code."""
    inputs = inputs_named(parameters, root)
    digests = {name: data_digest(path) for name, path in sorted(inputs.items())}
    return Recipe("notebook", parameters, digests, code_digest(source, root))


def code_digest(source: str, root: Path) -> str:
    """Digest of notebook source, package modules used and library versions."""
    # A new matplotlib may change a picture, the others a number.
    libraries = versions() | {"matplotlib": version("matplotlib")}
    parts = [source, str(libraries)]
    files = modules_used(source)
    if any(file.name == "claims.py" for file in files):
        files += [root / "book" / "claims.yml", root / "book" / "drawn.yml"]
    if any(file.name == "manifests.py" for file in files):
        files += sorted((root / "data_manifests").glob("*.[cy]*"))  # CSV and YAML
    # By name and folder, not by place: a checkout that was moved is still unchanged.
    parts += [f"{f.parent.name}/{f.name} {content_digest(f)}" for f in files if f.is_file()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
