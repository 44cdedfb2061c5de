"""Read checkpoint files without ever running what is in them."""

import argparse
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import kind_of, refuse_pointer

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
EXPECTED = "a checkpoint is safetensors, or what torch.save makes of a state_dict()"


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a safetensors or PyTorch file into nested dictionaries of tensors.

    What a file is, its first bytes say, not its name: OpenPhenom's `.safetensors` is a
    PyTorch pickle. Pickles are read by PyTorch's restricted unpickler, which builds tensors
    and plain containers only, plus `argparse.Namespace` (where the authors keep arguments).

    Returns
    -------
    content
        The top level of a PyTorch file, or the tensors of a safetensors file.
    metadata
        The string metadata of a safetensors file, else empty.

    Raises
    ------
    InputError
        No such file, not a checkpoint, cut off, it holds something that would run code, or a
        tensor that stands for more numbers than the file has bytes for.
    """
    path = Path(path)
    if _is_safetensors(path):
        return _read_safetensors(path)
    content = _read_pickle(path)
    _check_sizes(content, path)
    return content, {}


def read_notes(path: str | Path) -> dict[str, str]:
    """The string metadata of a safetensors file, without its tensors; empty for other files.

    Raises
    ------
    InputError
        No such file, or a damaged one.
    """
    path = Path(path)
    if not _is_safetensors(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: broken safetensors file ({error})") from error


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of the header, then a JSON object."""
    if path.is_dir():
        inside = sorted(file for end in SUFFIXES for file in path.glob(f"*{end}"))
        raise InputError(
            f"{path}: is a folder; name the checkpoint in it"
            + (f", such as {inside[0]}" if inside else "")
        )
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        refuse_pointer(path)
        with open(path, "rb") as file:
            head = file.read(9)
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: broken safetensors file ({error})") from error


def _read_pickle(path: Path) -> dict[str, Any]:
    if zipfile.is_zipfile(path):
        _check_packing(path)
    try:
        # A handle, not the path: torch chooses another reader by the suffix.
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore"),
            open(path, "rb") as file,
        ):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, AttributeError) as error:
        # The unpickler names the offending object; only that name is worth a reader's time.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found:
            raise InputError(
                f"{path}: refused, it asks to run {found[1]} on opening; only tensors and plain "
                "values are read (save the network's state_dict() alone, or as safetensors)"
            ) from error
        with open(path, "rb") as file:
            what = kind_of(file.read(32)) or "not a file of plain tensors"
        raise InputError(f"{path}: refused, {what}; {EXPECTED}") from error
    except Exception as error:  # foreign bytes can break the parser in any way
        why = (str(error).splitlines() or [type(error).__name__])[0][:120]
        why = why if path.stat().st_size else "it is empty"
        raise InputError(f"{path}: not a checkpoint or cut off ({why})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a dictionary")
    return content


def _check_packing(path: Path) -> None:
    """PyTorch stores numbers as they are; an archive that unpacks to far more is no file of its.

    Nor does one that holds a program beside its weights get opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # PyTorch says what is wrong with it
    if {"constants.pkl", "archive_format"} & {e.filename.partition("/")[2] for e in entries}:
        raise InputError(
            f"{path}: an exported program (TorchScript, torch.export), which is run, not read; "
            "save the network's state_dict()"
        )
    if unpacked > 4 * path.stat().st_size:
        raise InputError(
            f"{path}: unpacks to {unpacked:,} bytes, {unpacked // path.stat().st_size} times its "
            "own; PyTorch does not write such files"
        )


def _check_sizes(content: dict[str, Any], path: Path) -> None:
    """Refuse tensors that are larger than the file: such a shape costs a few bytes to write.

    A tensor may show the same number many times (stride 0), or have no numbers at all (meta).
    """
    size = path.stat().st_size
    for name, tensor in _tensors(content):
        if tensor.is_meta:
            raise InputError(
                f"{path}: {name} has a shape {tuple(tensor.shape)} and no numbers (meta device); "
                "save the state after the weights are loaded"
            )
        if tensor.numel() * tensor.element_size() > size:
            raise InputError(
                f"{path}: {name} says it has {tensor.numel():,} numbers {tuple(tensor.shape)}; "
                f"the whole file has {size:,} bytes"
            )


def _tensors(content: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in nested dictionaries, lists and tuples, once, with its keys."""
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{name}.{key}" if name else str(key), each) for key, each in pairs]


def arguments(content: dict[str, Any]) -> dict[str, Any]:
    """The training arguments that a PyTorch checkpoint carries, as a dictionary."""
    args = content.get("args", {})
    return vars(args) if isinstance(args, argparse.Namespace) else {}
