"""What a checkpoint reader must find out about a file, and what all formats share."""

import re
from dataclasses import dataclass, field
from typing import Any

import torch

from cpssl_lite.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models.vit import Pooling, Shape

Tensors = dict[str, torch.Tensor]
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
    tokens_of_all_channels: bool = False  # channel-agnostic: one sequence for all channels
    notes: list[str] = field(default_factory=list)


def tensors_of(content: dict[str, Any]) -> Tensors:
    """The entries that are tensors, without the `module.` that data-parallel training adds."""
    return {
        str(key).removeprefix("module."): value
        for key, value in content.items()
        if isinstance(value, torch.Tensor)
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

    The number of heads leaves no trace in the tensors. Unless given, it is one per 64 of width
    (ViT-Ti, -S, -B, -L) and 3 for a width that 64 does not divide.

    Raises
    ------
    InputError
        The tensors that fix the shape are missing or are not a ViT's.
    """
    patches, positions = tensors.get("patch_embed.proj.weight"), tensors.get("pos_embed")
    if patches is None or positions is None:
        lacking = [n for n in ("patch_embed.proj.weight", "pos_embed") if n not in tensors]
        raise InputError(f"{source}: not a vision transformer, missing {', '.join(lacking)}")
    if patches.ndim != 4 or patches.shape[2] != patches.shape[3] or positions.ndim != 3:
        raise InputError(
            f"{source}: patch_embed.proj.weight {tuple(patches.shape)} and pos_embed "
            f"{tuple(positions.shape)} do not have a ViT's shapes (d, C, p, p) and (1, 1 + n, d)"
        )
    width, in_channels, patch, _ = patches.shape
    side = round((positions.shape[1] - 1) ** 0.5)
    if side * side != positions.shape[1] - 1:
        raise InputError(f"{source}: pos_embed has {positions.shape[1]} positions, not 1 + n x n")
    blocks = [int(m[1]) for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name))]
    heads = heads or (width // 64 if width % 64 == 0 else 3)
    if width % heads:
        raise InputError(f"{source}: {heads} heads do not divide the width {width}")
    register = tensors.get("reg_token")
    return Shape(
        width=width,
        depth=max(blocks, default=-1) + 1,
        heads=heads,
        patch=patch,
        image_size=side * patch,
        in_channels=in_channels,
        qkv_bias=any(name.endswith("attn.qkv.bias") for name in tensors),
        layer_scale=any(name.endswith("ls1.gamma") for name in tensors),
        registers=0 if register is None else register.shape[1],
    )


def load_strictly(network: torch.nn.Module, tensors: Tensors, source: str) -> None:
    """Load weights into `network`; any tensor missing, left over or of another shape is an error.

    Raises
    ------
    InputError
        Lists what is missing, unexpected and misshapen (the first five of each).
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
