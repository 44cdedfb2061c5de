"""What a checkpoint reader must find out about a file, and what all formats share."""

import re
from dataclasses import dataclass, field
from typing import Any

import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models.vit import Pooling, Shape, ViT

Tensors = dict[str, torch.Tensor]
# Notes; a card that states the rule takes them back.
ORDER_ASSUMED = "the order of the channels is not in the file; assumed: this project's ("
ORDER_ASSUMED += f"{', '.join(CHANNELS)})"
SCALE_ASSUMED = "the normalisation is not in the file; assumed: "
POOLING_ASSUMED = "the pooling is not in the file; assumed: the class token"
EACH_CROP = "each channel of each crop to mean 0 and variance 1"
TRAINED_ELSEWHERE = "features use the released inference's constants; training used others"
# What torch.compile, FSDP, activation checkpointing and (D)DP put into the names of what they wrap.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module"}
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
    network: Any = ViT  # class of networks, built from the shape
    shape: Shape | None = None  # None: see infer_shape
    architecture: str = ""  # where it is no ViT
    stains: str = ""  # that it was trained on, where they are not those of Cell Painting
    notes: list[str] = field(default_factory=list)


def tensors_of(content: dict[str, Any]) -> Tensors:
    """The entries that are plain tensors, under names without the parts that are `WRAPPERS`.

    Examples
    --------
    >>> list(tensors_of({"module._orig_mod.norm.bias": torch.ones(1), "epoch": 3}))
    ['norm.bias']
    """
    named = {
        str(key): value
        for key, value in content.items()
        if isinstance(value, torch.Tensor) and value.layout == torch.strided
    }
    plain = {
        name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in named
    }
    # Two of one name are two networks: they keep theirs, and the comparison afterwards says so.
    if len(set(plain.values())) < len(plain):
        return named
    return {plain[name]: value for name, value in named.items()}


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


def check_size(shape: Shape, n_bytes: int, source: str) -> None:
    """Refuse a network with more numbers than its file has bytes, before it is built.

    Names of blocks and shapes of empty tensors cost nothing to write down.

    Raises
    ------
    InputError
        Says both numbers.
    """
    positions = 1 + (shape.image_size // shape.patch) ** 2 + shape.registers
    block = 12 * shape.width**2  # queries, keys, values, projection and an MLP four times as wide
    n = shape.depth * block + shape.width * (positions + shape.in_channels * shape.patch**2)
    if n > n_bytes:
        raise InputError(
            f"{source}: its names and shapes stand for a network of {n:,} numbers "
            f"({shape.depth:,} blocks of width {shape.width:,}, {positions:,} positions); "
            f"the whole file has {n_bytes:,} bytes"
        )


def load_strictly(network: torch.nn.Module, tensors: Tensors, source: str) -> None:
    """Load weights into `network`; any tensor missing, left over or of another shape is an error.

    Raises
    ------
    InputError
        Lists what is missing, unexpected, misshapen, of whole or complex numbers, and NaN or
        infinite (the first five of each).
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
    if not any(problems.values()):
        # A batch norm counts its batches, in whole numbers.
        real = {n: value for n, value in tensors.items() if expected[n].is_floating_point()}
        problems["no floating-point numbers (quantised?)"] = [
            f"{name} ({str(value.dtype).removeprefix('torch.')})"
            for name, value in real.items()
            if not value.is_floating_point()
        ]
        problems["not finite numbers"] = [
            name
            for name, value in real.items()
            if value.is_floating_point() and not bool(value.float().isfinite().all())
        ]
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
