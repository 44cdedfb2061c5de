"""Read checkpoint files without ever running what is in them."""

import argparse
import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from cpssl_lite.base.errors import InputError


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
        No such file, not a checkpoint, cut off, or it holds something that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        with open(path, "rb") as file:
            head = file.read(9)
        # As safetensors start: the length of the header, then a JSON object.
        if head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
            return _read_safetensors(path)
        if head == b"version h":
            raise InputError(f"{path}: a Git LFS pointer; get the file itself with git lfs pull")
        return _read_pickle(path), {}
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: broken safetensors file ({error})") from error


def _read_pickle(path: Path) -> dict[str, Any]:
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
        raise InputError(f"{path}: refused, not a file of plain tensors") from error
    except Exception as error:  # foreign bytes can break the parser in any way
        why = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"{path}: not a checkpoint or cut off ({why})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a dictionary")
    return content


def arguments(content: dict[str, Any]) -> dict[str, Any]:
    """The training arguments that a PyTorch checkpoint carries, as a dictionary."""
    args = content.get("args", {})
    return vars(args) if isinstance(args, argparse.Namespace) else {}
