"""What a checkpoint is: of one that `cpssl train` wrote, without PyTorch (5 s to import).

Such a file is known by its digest in the card beside it. Nothing in it was changed since, so what
it holds stands in the card inside and in the names and shapes of its tensors. Every other file is
loaded, which is what tells whether it fits a network.
"""

import json
import re
import struct
from math import isqrt, prod
from pathlib import Path
from typing import Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256
from cpssl_lite.base.yamls import read_mapping


def checkpoint_facts(path: str | Path) -> dict[str, Any]:
    """What the loader recognises in a file, as plain values (`checkpoints.inspect_checkpoint`)."""
    try:
        return _from_card(Path(path))
    except (InputError, OSError, LookupError, TypeError, ValueError, struct.error):
        from cpssl_lite.models.checkpoints import inspect_checkpoint

        return inspect_checkpoint(path)  # says what is wrong, if anything is


def _from_card(path: Path) -> dict[str, Any]:
    """The same from header and card of an untouched file of `cpssl train`; else any error."""
    beside = read_mapping(path.with_suffix(".yaml"), "card")
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, 1 << 20)))  # this project's have some 10 kB
    card = json.loads(header.pop("__metadata__")["cpssl_card"])
    if beside["sha256"] != sha256(path) or card["architecture"] != card["recipe"]["architecture"]:
        raise ValueError("changed since, or not from a training")
    shapes = {name: tensor["shape"] for name, tensor in header.items()}
    rules = card["input"]
    width, in_channels, patch, _ = shapes["patch_embed.proj.weight"]
    shape = {
        "width": width,
        "depth": len({m[1] for name in shapes if (m := re.match(r"blocks\.(\d+)\.", name))}),
        "heads": rules["heads"],
        "patch": patch,
        "image_size": isqrt(shapes["pos_embed"][1] - 1) * patch,
        "in_channels": in_channels,
        "qkv_bias": any(name.endswith("attn.qkv.bias") for name in shapes),
        "layer_scale": any(name.endswith("ls1.gamma") for name in shapes),
        "registers": shapes.get("reg_token", [0, 0])[1],
    }
    known = {
        **card,
        "format": "cpssl_lite",
        "shape": shape,
        "convention": "paper",
        "pooling": rules["pooling"],
        "per_channel": False,
        "dropped": [],
        "notes": [],
        "file": path.name,
        "sha256": beside["sha256"],
        "channels": rules["channels"],
        "crop_size": rules["crop_size"],
        "n_features": width,
        "n_parameters": sum(map(prod, shapes.values())),
        **{key: [_as_shown(value) for value in rules[key]] for key in ("mean", "sd")},
    }
    return {key: value for key, value in known.items() if key != "input"}


def _as_shown(value: float) -> float:
    """As a network holds it (32 bits), in seven digits."""
    return float(f"{struct.unpack('f', struct.pack('f', value))[0]:.7g}")
