"""Other public checkpoints, by the layouts that their projects describe.

Recognised by their tensors, never by file name: how many channels the patch embedding takes,
and how the names are written. Three channels mean a photograph network, which sees each stain
three times (as the paper's transfer-learning baseline does); one channel means that each stain
is looked at alone. In both cases the features of the stains are concatenated.
"""

import re
from collections.abc import Callable
from typing import Any

import torch

from cpssl_lite.models.formats import IMAGENET, Found, Tensors, split, tensors_of
from cpssl_lite.models.formats_authors import Convention
from cpssl_lite.models.vit import Pooling, ViT

HEADS = ("head.", "fc_norm.", "dino_head.", "ibot_head.", "mask_token")
_NESTED = ("teacher", "state_dict", "model")


class ChannelAgnosticViT(ViT):
    """Patches of every channel in one sequence, each channel with the same positions."""

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


def open_phenom(content: dict[str, Any], convention: Convention) -> Found | None:
    """`state_dict` with `encoder.vit_backbone.*`: a channel-agnostic MAE.

    Its images are standardised per channel; features are the mean of all patch tokens.
    """
    state = content.get("state_dict", content)
    if not any(str(name).startswith("encoder.vit_backbone.") for name in state):
        return None
    drop = ("decoder.", "encoder_decoder_proj.", "encoder.vit_backbone.head.", "mask_token")
    tensors, dropped = split(tensors_of(state), "encoder.vit_backbone.", drop)
    return Found(
        "OpenPhenom",
        "MAE",
        tensors,
        dropped,
        pooling="patch_mean",
        tokens_of_all_channels=True,
    )


def vit_state(content: dict[str, Any], convention: Convention) -> Found | None:
    """Any ViT under timm's, DINO's or DINOv2's names, bare or inside a training checkpoint."""
    nested = next((key for key in _NESTED if isinstance(content.get(key), dict)), None)
    tensors = tensors_of(content[nested] if nested else content)
    for prefix in ("backbone.", "model.", "encoder.", "vit."):
        if f"{prefix}patch_embed.proj.weight" in tensors:
            break
    else:
        prefix = ""
    drop = (*HEADS, *(prefix + name for name in HEADS)) if prefix else HEADS
    tensors, dropped = split(tensors, prefix, drop)
    patches = tensors.get("patch_embed.proj.weight")
    if patches is None or patches.ndim != 4:
        return None
    tensors, chunked = unchunk(tensors)
    found = Found(
        "", "DINO" if nested == "teacher" else "unknown", with_positions(tensors), dropped
    )
    kind = "block-chunked DINOv2 (Cell-DINO)" if chunked else "ViT state"
    if patches.shape[1] == 3:
        found.mean, found.sd = IMAGENET
        found.format, found.per_channel = f"photograph {kind}, each stain three times", True
    elif patches.shape[1] == 1:
        found.format, found.per_channel = f"per-channel {kind}", True
    else:
        found.format = f"{patches.shape[1]}-channel {kind}"
        found.notes.append("the order of the channels is not in the file; assumed: this project's")
    if nested:
        found.format += f" under `{nested}`"
    return found


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
        if round(n**0.5) ** 2 == n and round((n - 1) ** 0.5) ** 2 != n - 1:
            zero = torch.zeros_like(positions[:, :1])
            tensors["pos_embed"] = torch.cat([zero, positions], dim=1)
    return tensors


READERS: tuple[Callable[[dict[str, Any], Convention], Found | None], ...] = (open_phenom, vit_state)
