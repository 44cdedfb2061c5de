"""What a checkpoint reader must find out about a file, and what all formats share."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models.vit import Pooling, Shape, ViT

Tensors = dict[str, torch.Tensor]
# Notes that a card which states the rule takes back.
ORDER_ASSUMED = "the order of the channels is not in the file; assumed: this project's"
SCALE_ASSUMED = "the normalisation is not in the file; assumed: "
TRAINED_ELSEWHERE = "features use the released inference's constants; training used others"
STATED: dict[str, str | tuple[str, ...]] = {
    "channels": ORDER_ASSUMED,
    "mean": (SCALE_ASSUMED, TRAINED_ELSEWHERE),
}
USUAL_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}  # by width: ViT-Ti, -S, -B, -L, -H
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass
class Found:
    """A recognised checkpoint: backbone tensors under timm's names, and the input rules."""

    format: str
    method: str
    tensors: Tensors
    dropped: list[str] = field(default_factory=list)  # heads, decoders: not needed for features
    pooling: Pooling = "cls"
    mean: tuple[float, ...] | None = None  # None: each channel of each crop is standardised
    sd: tuple[float, ...] | None = None
    channels: tuple[str, ...] = CHANNELS
    crop_size: int | None = None  # None: the size of the position embeddings
    per_channel: bool = False
    heads: int | None = None  # None: see infer_shape
    network: type[ViT] = ViT  # another one is channel-agnostic: one sequence for all channels
    notes: list[str] = field(default_factory=list)


def tensors_of(content: dict[str, Any]) -> Tensors:
    """The entries that are plain tensors, without data-parallel training's `module.`."""
    return {
        str(key).removeprefix("module."): value
        for key, value in content.items()
        if isinstance(value, torch.Tensor) and value.layout == torch.strided
    }


def split(
    tensors: Tensors, prefix: str = "", drop: tuple[str, ...] = ()
) -> tuple[Tensors, list[str]]:
    """Separate a backbone (names that start with `prefix`, which is cut off) from heads.

    Only names that start with one of `drop` are dropped; anything else is kept under its name,
    so that the strict comparison afterwards reports it.
    """
    dropped = [name for name in tensors if name.startswith(drop)] if drop else []
    kept = {
        name.removeprefix(prefix): value for name, value in tensors.items() if name not in dropped
    }
    return kept, dropped


def infer_shape(tensors: Tensors, source: str, heads: int | None = None) -> Shape:
    """Read width, depth, patch, image size and channels off the tensors of a ViT.

    The number of heads leaves no trace in the tensors. Unless given, it is that of the usual ViT
    of this width, else one per 64 of width, else 3.

    Raises
    ------
    InputError
        The tensors that fix the shape are missing or are not a ViT's.
    """
    patches, positions = tensors.get("patch_embed.proj.weight"), tensors.get("pos_embed")
    if patches is None or positions is None:
        lacking = [n for n in ("patch_embed.proj.weight", "pos_embed") if n not in tensors]
        raise InputError(f"{source}: not a plain vision transformer, missing {', '.join(lacking)}")
    square = patches.ndim == 4 and patches.shape[2] == patches.shape[3] and patches.numel()
    if not square or positions.ndim != 3 or positions.shape[1] < 2:
        raise InputError(
            f"{source}: patch_embed.proj.weight {tuple(patches.shape)} and pos_embed "
            f"{tuple(positions.shape)} do not have a ViT's shapes (d, C, p, p) and (1, 1 + n, d)"
        )
    width, in_channels, patch, _ = patches.shape
    side = round((positions.shape[1] - 1) ** 0.5)
    if side * side != positions.shape[1] - 1:
        raise InputError(f"{source}: pos_embed has {positions.shape[1]} positions, not 1 + n x n")
    # Counted: a file that names a block number 1,000,000 does not get a network of that depth.
    blocks = {m[1] for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name))}
    heads = heads or USUAL_HEADS.get(width) or (width // 64 if width % 64 == 0 else 3)
    if width % heads:
        raise InputError(f"{source}: {heads} heads do not divide the width {width}")
    register = tensors.get("reg_token")
    return Shape(
        width=width,
        depth=len(blocks),
        heads=heads,
        patch=patch,
        image_size=side * patch,
        in_channels=in_channels,
        qkv_bias=any(name.endswith("attn.qkv.bias") for name in tensors),
        layer_scale=any(name.endswith("ls1.gamma") for name in tensors),
        registers=register.shape[1] if register is not None and register.ndim == 3 else 0,
    )


def apply_input(found: Found, given: Any, source: str) -> None:
    """Take over the input rules that a card states, each of the right kind.

    Raises
    ------
    InputError
        Names the key, what was got and what is expected.
    """
    if not isinstance(given, dict):
        raise InputError(f"{source}: input is {given!r}, expected a mapping")
    for key, value in given.items():
        if key not in INPUT_RULES:
            raise InputError(
                f"{source}: unknown key {key} under input (allowed: {', '.join(INPUT_RULES)})"
            )
        expected, fits = INPUT_RULES[key]
        if not fits(value):
            raise InputError(f"{source}: input {key} is {value!r}, expected {expected}")
        setattr(found, key, tuple(value) if isinstance(value, list) else value)
        found.notes = [note for note in found.notes if not note.startswith(STATED.get(key, ()))]


def check_input(found: Found, shape: Shape, source: str) -> None:
    """Refuse input rules that do not go with the network.

    Raises
    ------
    InputError
        The number of channels, of means or of sds, or the size of the crops.
    """
    one_by_one = found.per_channel or found.network is not ViT
    if not one_by_one and shape.in_channels != len(found.channels):
        raise InputError(
            f"{source}: the network takes {shape.in_channels} channels, "
            f"{len(found.channels)} are named ({', '.join(found.channels)}); "
            f"name them in {Path(source).with_suffix('.yaml')} under input: channels"
        )
    n = shape.in_channels if found.per_channel else len(found.channels)
    for name, values in (("mean", found.mean), ("sd", found.sd)):
        if values is not None and len(values) not in (1, n):
            raise InputError(
                f"{source}: input {name} has {len(values)} values; the network takes {n} channels"
            )
    if found.crop_size and found.crop_size % shape.patch:
        raise InputError(
            f"{source}: input crop_size {found.crop_size} is no multiple of the patch {shape.patch}"
        )


def _numbers(value: Any) -> bool:
    numbers = isinstance(value, list) and all(isinstance(v, int | float) for v in value)
    return numbers and all(math.isfinite(v) for v in value)


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value) and bool(value)


# What a card may state under `input`: what it must be, and how to tell.
INPUT_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "channels": ("distinct names", lambda v: _names(v) and len(set(v)) == len(v)),
    "crop_size": ("a size in pixels", _positive),
    "heads": ("a number of heads", _positive),
    "mean": ("a number per channel, or null", lambda v: v is None or _numbers(v)),
    "sd": (
        "a number above 0 per channel, or null",
        lambda v: v is None or (_numbers(v) and all(x > 0 for x in v)),
    ),
    "pooling": (f"one of {', '.join(get_args(Pooling))}", lambda v: v in get_args(Pooling)),
}


def load_strictly(network: torch.nn.Module, tensors: Tensors, source: str) -> None:
    """Load weights into `network`; any tensor missing, left over or of another shape is an error.

    Raises
    ------
    InputError
        Lists what is missing, unexpected, misshapen, and NaN or infinite (the first five of each).
    """
    expected = network.state_dict()
    problems = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "wrong shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
            for name, value in expected.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
        "not finite numbers": [
            name
            for name, value in tensors.items()
            if not (value.is_floating_point() and bool(value.float().isfinite().all()))
        ],
    }
    parts = [f"{what}: {shorten(names)}" for what, names in problems.items() if names]
    if parts:
        raise InputError(f"{source}: tensors do not fit the network; " + "; ".join(parts))
    network.load_state_dict(tensors)


def shorten(names: list[str], most: int = 5) -> str:
    """Join names, at most `most` of them.

    >>> shorten(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
