"""Other public checkpoints, by the layouts that their projects describe.

Recognised by their tensors, never by file name: how many channels the patch embedding takes,
and how the names are written. Three channels mean a photograph network, which sees each stain
three times (as the paper's transfer-learning baseline does); one channel means that each stain
is looked at alone. In both cases the features of the stains are concatenated.
"""

import re
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.formats import (
    EACH_CROP,
    IMAGENET,
    ORDER_ASSUMED,
    POOLING_ASSUMED,
    SCALE_ASSUMED,
    Found,
    Tensors,
    shorten,
    split,
    tensors_of,
)
from cpssl_lite.models.formats_authors import Convention
from cpssl_lite.models.inside import PATCHES, THEIRS, choose
from cpssl_lite.models.timm_parts import ParallelScalingBlock
from cpssl_lite.models.vit import Pooling, Shape, ViT

HEADS = ("head.", "fc_norm.", "dino_head.", "ibot_head.", "mask_token", "decoder", "n_averaged")


class ChannelAgnosticViT(ViT):
    """Patches of every channel in one sequence, each channel with the same positions."""

    any_channels = True
    poolings = ("cls", "patch_mean")

    def pooled(self, x: torch.Tensor, pooling: Pooling = "patch_mean") -> torch.Tensor:
        """(n, C, s, s) to (n, d): the mean over the patches of all channels."""
        assert self.cls_token is not None
        n = len(x)
        x = self.patch_embed(x.flatten(0, 1).unsqueeze(1))  # (n * C, h, w, d)
        position = self.positions(x.shape[1], x.shape[2])
        x = (x.flatten(1, 2) + position[:, 1:]).reshape(n, -1, x.shape[-1])  # (n, C * h * w, d)
        cls = (self.cls_token + position[:, :1]).expand(n, -1, -1)
        x = self.norm(self.blocks(torch.cat([cls, x], dim=1)))
        return x[:, 0] if pooling == "cls" else x[:, 1:].mean(dim=1)


class ParallelViT(ChannelAgnosticViT):
    """As OpenPhenom: attention and MLP side by side, queries and keys normalised, no last norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        block = partial(
            ParallelScalingBlock,
            shape.width,
            shape.heads,
            qk_norm=True,
            init_values=1e-4,
        )
        self.blocks = torch.nn.Sequential(*(block() for _ in range(shape.depth)))
        self.norm = torch.nn.Identity()


class GatedViT(ViT):
    """As SubCell: tokens are averaged with weights that the network gives them, several times.

    Each crop is scaled from its minimum to its maximum, over all channels together.
    """

    poolings = ("attention",)
    hidden, times = 512, 2

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.attention_v = torch.nn.Linear(shape.width, self.hidden)
        self.attention_u = torch.nn.Linear(shape.width, self.hidden)
        self.attention = torch.nn.Linear(self.hidden, self.times)
        self.embed_dim = self.times * shape.width

    def pooled(self, x: torch.Tensor, pooling: Pooling = "attention") -> torch.Tensor:
        """(n, C, s, s) to (n, times * d)."""
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = (x - low) / (high - low + 1e-6)
        x = self.norm(self.blocks(self.norm_pre(self._pos_embed(self.patch_embed(x)))))
        gate = torch.tanh(self.attention_v(x)) * F.gelu(self.attention_u(x))
        weights = self.attention(gate).softmax(dim=1)  # (n, 1 + L, times)
        return (weights.transpose(1, 2) @ x).flatten(1)


# In their order, by how many a network takes; none but ER and DNA are stains of Cell Painting.
SUBCELL_STAINS = ("microtubules", "ER", "DNA", "a protein")


def subcell(content: dict[str, Any], convention: Convention) -> Found | None:
    """`encoder.*` under the Transformers library's names beside `pool_model.*`.

    Source: SubCellPortable (CellProfiling), vit_model.py and its configurations.
    """
    state = content.get("state_dict", content)
    found = tensors_of(state) if isinstance(state, dict) else {}
    backbone, pool = f"encoder.{THEIRS}", "pool_model."
    if backbone not in found or not any(name.startswith(pool) for name in found):
        return None
    kept, dropped = split(found, "encoder.", drop=("classifier", "decoder", "encoder.pooler."))
    tensors = {}
    for name, value in with_positions(from_transformers(kept)).items():
        part = re.sub(r"^(attention_[uv])\.\d\.", r"\1.", name.removeprefix(pool))
        tensors[part] = value
    gate = tensors.get("attention.weight")
    if gate is None or gate.ndim != 2:
        raise InputError("its pool_model has no attention.weight of two dimensions")
    sizes = {"times": gate.shape[0], "hidden": gate.shape[1]}
    n = found[backbone].shape[1] if found[backbone].ndim == 4 else 0
    return Found(
        "SubCell",
        "SubCell",
        tensors,
        dropped,
        pooling="attention",
        mean=(0.0,),
        sd=(1.0,),
        channels=(),
        network=type("GatedViT", (GatedViT,), sizes),
        stains=", ".join(SUBCELL_STAINS[-n:]) if 0 < n <= 4 else f"{n} stains of its own",
        notes=["each crop is scaled from its minimum to its maximum over all its channels"],
    )


def open_phenom(content: dict[str, Any], convention: Convention) -> Found | None:
    """`state_dict` with `encoder.vit_backbone.*`: a channel-agnostic MAE.

    Its images are standardised per channel; features are the mean of all patch tokens, before
    the norm that the file holds for a classifier (Recursion's maes_microscopy, config.json).
    """
    state = content.get("state_dict", content)
    prefix = "encoder.vit_backbone."
    found = tensors_of(state) if isinstance(state, dict) else {}
    if not any(name.startswith(prefix) for name in found):
        return None
    drop = ("decoder", "encoder_decoder_proj.", f"{prefix}head.", f"{prefix}fc_norm.", "mask_token")
    tensors, dropped = split(found, prefix, drop)
    parallel = any(".in_proj." in name for name in tensors)
    return Found(
        "OpenPhenom",
        "MAE",
        one_channels_positions(tensors),
        dropped,
        pooling="patch_mean",
        network=ParallelViT if parallel else ChannelAgnosticViT,
    )


def one_channels_positions(tensors: Tensors) -> Tensors:
    """Of positions that are stored once for each of up to 11 channels, all alike: the first."""
    positions = tensors.get("pos_embed")
    if positions is None or positions.ndim != 3:
        return tensors
    cls, rest = positions[:, :1], positions[:, 1:]
    for channels in range(2, 65):
        each = rest.shape[1] // channels
        if each * channels == rest.shape[1] and round(each**0.5) ** 2 == each:
            first = rest[:, :each]
            if torch.equal(rest, first.repeat(1, channels, 1)):
                return {**tensors, "pos_embed": torch.cat([cls, first], dim=1)}
    return tensors


def vit_state(content: dict[str, Any], convention: Convention) -> Found | None:
    """Any ViT under timm's, DINO's or DINOv2's names, bare or inside a training checkpoint."""
    chosen = choose(content)
    if chosen is None:
        return None
    inside, others = chosen
    outside = [name for name in inside.tensors if not name.startswith(inside.prefix)]
    kept = {
        name.removeprefix(inside.prefix): value
        for name, value in inside.tensors.items()
        if name.startswith(inside.prefix)
    }
    tensors, dropped = split(from_transformers(kept), drop=HEADS)
    tensors, chunked = unchunk(tensors)
    found = Found("", "unknown", with_positions(tensors), [*outside, *dropped])
    if "teacher" in f"{inside.name}.".lower():
        found.method = "DINO"
    n = tensors[PATCHES].shape[1] if tensors[PATCHES].ndim == 4 else 0
    kind = "block-chunked DINOv2 (Cell-DINO)" if chunked else "ViT state"
    if n == 3:
        found.mean, found.sd = IMAGENET
        found.format, found.per_channel = f"photograph {kind}, each stain three times", True
    elif n == 1:
        found.format, found.per_channel = f"per-channel {kind}", True
    else:
        found.format = f"{n}-channel {kind}"
        found.notes.append(ORDER_ASSUMED)
    if inside.place:
        found.format += f" under `{'/'.join(inside.place)}`"
    found.notes += [
        SCALE_ASSUMED + (EACH_CROP if found.mean is None else "ImageNet's mean and sd"),
        POOLING_ASSUMED,
    ]
    if found.dropped:
        found.notes.append(f"not part of the network, left out: {shorten(found.dropped)}")
    if others:
        names = shorten([one.name for one in others])
        found.notes.append(f"taken is {inside.name}; also in the file, not used: {names}")
    return found


_TRANSFORMERS = {
    r"embeddings\.(patch_embeddings\.projection|position_embeddings|cls_token)": r"\1",
    r"patch_embeddings\.projection": "patch_embed.proj",
    r"position_embeddings": "pos_embed",
    r"embeddings\.(mask_token|register_tokens)": r"\1",
    r"encoder\.layer\.": "blocks.",
    r"layernorm_before": "norm1",
    r"layernorm_after": "norm2",
    r"attention\.attention": "attn",
    r"attention\.output\.dense": "attn.proj",
    r"intermediate\.dense": "mlp.fc1",
    r"output\.dense": "mlp.fc2",
    r"layer_scale(\d)\.lambda1": r"ls\1.gamma",
    r"layernorm\.": "norm.",
    r"(pooler|classifier)\.": r"head.\1.",
}


def from_transformers(tensors: Tensors) -> Tensors:
    """Rename what Hugging Face's Transformers library calls otherwise; join queries, keys, values.

    Source: its conversion scripts for ViT and DINOv2.
    """
    if THEIRS not in tensors:
        return tensors
    renamed = {}
    for name, value in tensors.items():
        for theirs, ours in _TRANSFORMERS.items():
            name = re.sub(theirs, ours, name)
        renamed[name] = value
    for name in [name for name in renamed if ".attn.query." in name]:
        three = [name.replace("query", part) for part in ("query", "key", "value")]
        if all(part in renamed for part in three):
            joined = torch.cat([renamed.pop(part) for part in three])
            renamed[name.replace("query", "qkv")] = joined
    return renamed


def unchunk(tensors: Tensors) -> tuple[Tensors, bool]:
    """Rename `blocks.<chunk>.<i>.*` to `blocks.<i>.*`: DINOv2 counts through the chunks.

    A reader that is not strict leaves most blocks of such a file random.
    """
    chunked = any(re.match(r"blocks\.\d+\.\d+\.", name) for name in tensors)
    if not chunked:
        return tensors, False
    return {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", k): v for k, v in tensors.items()}, True


def with_positions(tensors: Tensors) -> Tensors:
    """Give registers timm's name, and the class token a position of zero where it has none."""
    tensors = {("reg_token" if k == "register_tokens" else k): v for k, v in tensors.items()}
    positions = tensors.get("pos_embed")
    if positions is not None and positions.ndim == 3:
        n = positions.shape[1]
        if n and round(n**0.5) ** 2 == n and round((n - 1) ** 0.5) ** 2 != n - 1:
            zero = torch.zeros_like(positions[:, :1])
            tensors["pos_embed"] = torch.cat([zero, positions], dim=1)
    return tensors


READERS = (open_phenom, subcell, vit_state)
