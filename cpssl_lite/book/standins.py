"""Public checkpoints made small: files of their layouts, with random weights.

Somebody else's weights may not be passed on, and most cannot be fetched without a form. That a
layout is read can be shown without them: every tensor of such a file has the name and the kind of
place that the original's has, only the sizes are a laptop's.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models import cloome, formats_authors, formats_public
from cpssl_lite.models.formats import IMAGENET, Tensors
from cpssl_lite.models.vit import Shape, ViT

SMALL = Shape(width=48, depth=2, heads=3, patch=32, image_size=128)

# What the Transformers library calls a ViT's tensors; DINOv2 differs within a block.
TOP = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
DINOV2 = {"attn.proj": "attention.output.dense"}
VIT = {
    **DINOV2,
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def transformers_names(state: Tensors, layer: Mapping[str, str]) -> Tensors:
    """A ViT's tensors under the Transformers library's names; `layer`: those inside a block."""
    out: Tensors = {}
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        if name in TOP or stem in TOP:
            out[TOP.get(name) or f"{TOP[stem]}.{kind}"] = value
            continue
        _, i, part = stem.split(".", 2)
        block = f"encoder.layer.{i}"
        if part == "attn.qkv":
            for each, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[f"{block}.attention.attention.{each}.{kind}"] = third.clone()
        elif part in ("ls1", "ls2"):
            out[f"{block}.layer_scale{part[-1]}.lambda1"] = value
        else:
            out[f"{block}.{layer.get(part, part)}.{kind}"] = value
    return out


def chunked(state: Tensors) -> Tensors:
    """Blocks as DINOv2's training code stores them: in chunks (here of one), counted through."""
    out: Tensors = {"mask_token": torch.zeros(1, len(state["norm.bias"]))}
    for name, value in state.items():
        if name.startswith("blocks."):
            _, i, rest = name.split(".", 2)
            name = f"blocks.{i}.{i}.{rest}"
        out[name] = value
    return out


def under(prefix: str, state: Tensors) -> Tensors:
    """The same tensors, each name behind a prefix."""
    return {prefix + name: value for name, value in state.items()}


def _ones(names: Iterable[str]) -> Tensors:
    return {name: torch.ones(2, 2) for name in sorted(names)}


def _vit(kind: type[ViT] = ViT, **changes: Any) -> Tensors:
    network = kind(SMALL._replace(**changes))
    state = dict(network.state_dict())
    for name in state:
        if name.endswith("gamma"):  # it begins near zero: let the blocks matter
            state[name] = torch.ones_like(state[name])
    return state


def _authors_vit() -> Tensors:
    return _vit(image_size=224, patch=16)  # by which their files are known


def _authors_dino() -> dict[str, Any]:
    whole = {
        **under("backbone.", _authors_vit()),
        **_ones(formats_authors._DINO_HEAD),
    }
    parts = {"optimizer": {}, "epoch": 1, "dino_loss": {}}
    given = argparse.Namespace(**dict.fromkeys(formats_authors._DINO_ARGS, 0))
    return {"student": under("module.", whole), "teacher": whole, "args": given, **parts}


def _authors_mae() -> dict[str, Any]:
    decoder = formats_authors._names(["decoder_blocks.0."], "decoder_blocks.")
    state = {**_authors_vit(), **_ones({*formats_authors._DECODER, *decoder})}
    given = argparse.Namespace(**dict.fromkeys(formats_authors._MAE_ARGS, 0))
    return {"model": state, "optimizer": {}, "epoch": 1, "args": given}


def _authors_simclr() -> dict[str, Any]:
    state = {
        **under("backbone.", _authors_vit()),
        **_ones(formats_authors._PROJECTION),
    }
    given = dict.fromkeys(formats_authors._SIMCLR_ARGS, 0)
    return {"state_dict": state, "hyper_parameters": given}


def _open_phenom() -> dict[str, Any]:
    state = _vit(formats_public.ParallelViT, in_channels=1)
    cls, patches = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    state["pos_embed"] = torch.cat([cls, patches.repeat(1, 11, 1)], 1)  # for up to 11 channels
    decoder = _ones(("decoder.pos_embeddings", "decoder_pred.bias", "encoder_decoder_proj.bias"))
    return {"state_dict": {**under("encoder.vit_backbone.", state), **decoder}}


def _subcell() -> dict[str, Any]:
    state = _vit(formats_public.GatedViT, in_channels=4)
    pool = {name: state.pop(name) for name in list(state) if name.startswith("attention")}
    pool = {name.replace("_v.", "_v.1.").replace("_u.", "_u.1."): v for name, v in pool.items()}
    return {**under("encoder.", transformers_names(state, VIT)), **under("pool_model.", pool)}


def _cloome() -> dict[str, Any]:
    kind = type("Small", (cloome.CloomeResNet,), {"layers": (1, 1, 1, 1), "planes": 8})
    state = dict(kind(Shape(SMALL.width, 4, 1, patch=32)).state_dict())
    plain = {}
    for name, value in state.items():
        for ours, theirs in (
            ("downsample.1.", "downsample.0."),
            ("downsample.2.", "downsample.1."),
        ):
            name = name.replace(ours, theirs)
        plain[name.removeprefix("network.")] = value
    molecules = under("transformer.layers.0.", _ones(("weight", "bias")))
    whole = {**under("visual.", plain), **molecules, "logit_inv_tau": torch.ones(())}
    return {"epoch": 1, "state_dict": under("module.", whole)}


# By the names of their manifests, and DINOv2 as the Transformers library stores it.
LAYOUTS: dict[str, Callable[[], dict[str, Any]]] = {
    "authors_dino_vits": _authors_dino,
    "authors_mae_vits": _authors_mae,
    "authors_simclr_vits": _authors_simclr,
    "unidino": lambda: {"teacher": under("backbone.", _vit(in_channels=1))},
    "openphenom": _open_phenom,
    "morphem": lambda: chunked(_vit(in_channels=1, layer_scale=True)),
    "cell_dino": lambda: {"teacher": under("backbone.", chunked(_vit(layer_scale=True)))},
    "subcell": _subcell,
    "cloome": _cloome,
    "dinov2": lambda: transformers_names(_vit(in_channels=3, layer_scale=True), DINOV2),
}
# What their projects state, as a card beside a file does.
EACH_CROP = {"mean": None, "sd": None, "pooling": "cls"}
STATED: dict[str, dict[str, Any]] = {
    "unidino": EACH_CROP,
    "morphem": EACH_CROP,
    "cell_dino": {**EACH_CROP, "channels": list(CHANNELS)},
    "subcell": {"channels": ["AGP", "ER", "DNA", "RNA"]},
    "dinov2": {"mean": list(IMAGENET[0]), "sd": list(IMAGENET[1]), "pooling": "cls"},
}


def write_standin(layout: str, folder: str | Path, seed: int = 0) -> Path:
    """Write a small file of a public layout, and a card where its project states the input.

    Parameters
    ----------
    layout
        One of `LAYOUTS`.
    folder
        Made if missing; the file is called after the layout.
    seed
        Of the random weights.
    """
    path = Path(folder) / f"{layout}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.save(LAYOUTS[layout](), path)
    # At the usual widths the number of heads is known.
    stated = {"heads": SMALL.heads, **STATED.get(layout, {})}
    path.with_suffix(".yaml").write_text(yaml.safe_dump({"input": stated}))
    return path
