"""MAE: rebuild the hidden half of an image from the visible half.

He et al. 2022; hyperparameters of the paper (Model training details) are in the recipes.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from cpssl_lite.models.objective import Objective
from cpssl_lite.models.timm_parts import Block
from cpssl_lite.models.vit import Pooling, build_vit

NORM = partial(nn.LayerNorm, eps=1e-6)  # as in the encoder


def patchify(images: torch.Tensor, patch: int) -> torch.Tensor:
    """(n, C, H, W) to (n, L, patch * patch * C): patches row by row, channels last."""
    n, c, height, width = images.shape
    x = images.reshape(n, c, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, patch * patch * c)


def random_masking(noise: torch.Tensor, ratio: float) -> tuple[torch.Tensor, ...]:
    """Hide the patches with the largest noise.

    Parameters
    ----------
    noise
        (n, L) random numbers, one for each patch.

    Returns
    -------
    keep
        (n, L * (1 - ratio)) positions of the visible patches, in the order they are used.
    restore
        (n, L) where each patch went in the order visible first, hidden after.
    mask
        (n, L) 1 for hidden, 0 for visible.
    """
    n, length = noise.shape
    kept = int(length * (1 - ratio))
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    mask = torch.ones(n, length, device=noise.device)
    mask[:, :kept] = 0
    return order[:, :kept], restore, mask.gather(1, restore)


def mae_loss(
    predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, per_patch: bool = True
) -> torch.Tensor:
    """Mean squared error over hidden patches, against patches standardised one by one.

    predicted, target: (n, L, patch * patch * C); mask: (n, L), 1 for hidden.
    """
    if per_patch:
        var, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) / (var + 1e-6).sqrt()
    error = (predicted - target).square().mean(dim=-1)  # (n, L)
    return (error * mask).sum() / mask.sum()


def sincos_positions(width: int, side: int) -> torch.Tensor:
    """Fixed position embeddings (1, 1 + side * side, width); zeros for the class token.

    The first half of the width encodes the column, the second the row, each as sines, then
    cosines, of `width // 4` frequencies.
    """
    frequencies = 10000.0 ** (-np.arange(width // 4) / (width / 4))
    angle = np.outer(np.arange(side), frequencies)  # (side, width / 4)
    one = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)  # (side, width / 2)
    rows, columns = np.meshgrid(range(side), range(side), indexing="ij")
    grid = np.concatenate([one[columns.ravel()], one[rows.ravel()]], axis=1)
    return torch.from_numpy(np.concatenate([np.zeros((1, width)), grid]))[None].float()


class Decoder(nn.Module):
    """A small ViT from visible tokens to the pixels of all patches."""

    positions: torch.Tensor

    def __init__(self, width_in: int, side: int, patch_values: int, shape: dict[str, int]) -> None:
        super().__init__()
        width = shape["width"]
        self.embed = nn.Linear(width_in, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.register_buffer("positions", sincos_positions(width, side), persistent=False)
        self.blocks = nn.Sequential(
            *(
                Block(width, shape["heads"], qkv_bias=True, norm_layer=NORM)  # type: ignore[arg-type]
                for _ in range(shape["depth"])
            )
        )
        self.norm = NORM(width)
        self.predict = nn.Linear(width, patch_values)

    def forward(self, x: torch.Tensor, restore: torch.Tensor) -> torch.Tensor:
        """Encoded class token and visible patches (n, 1 + kept, d), to (n, L, patch values)."""
        x = self.embed(x)
        n, length = restore.shape
        hidden = self.mask_token.expand(n, length + 1 - x.shape[1], -1)
        patches = torch.cat([x[:, 1:], hidden], dim=1)  # (n, L, width)
        patches = patches.gather(1, restore[..., None].expand(-1, -1, x.shape[-1]))
        x = torch.cat([x[:, :1], patches], dim=1) + self.positions
        return self.predict(self.norm(self.blocks(x)))[:, 1:]


class MAE(Objective):
    """Encoder over visible patches, decoder over all."""

    pooling: Pooling = "patch_mean_before_norm"

    def __init__(self, recipe: dict[str, Any], steps_per_epoch: int) -> None:
        super().__init__(recipe, steps_per_epoch)
        self.backbone = build_vit(recipe["architecture"])
        shape = self.backbone.shape
        side = shape.image_size // shape.patch
        values = shape.patch**2 * shape.in_channels
        self.decoder = Decoder(shape.width, side, values, recipe["decoder"])
        self.apply(_init)
        nn.init.xavier_uniform_(self.backbone.patch_embed.proj.weight.data.flatten(1))
        with torch.no_grad():
            self.backbone.pos_embed.copy_(sincos_positions(shape.width, side))  # type: ignore[union-attr]
            nn.init.normal_(self.backbone.cls_token, std=0.02)  # type: ignore[arg-type]
        self.backbone.pos_embed.requires_grad_(False)  # type: ignore[union-attr]

    def encode_visible(self, images: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Class token and visible patches (n, 1 + kept, d), after the final norm."""
        vit = self.backbone
        x = vit.patch_embed(images).flatten(1, 2) + vit.pos_embed[:, 1:]  # type: ignore[index]
        x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[-1]))  # (n, kept, d)
        cls = vit.cls_token + vit.pos_embed[:, :1]  # type: ignore[index,operator]
        return vit.norm(vit.blocks(torch.cat([cls.expand(len(x), -1, -1), x], dim=1)))

    def reconstruct(
        self, images: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Loss, predicted patches (n, L, values) and mask (n, L) for given mask noise."""
        keep, restore, mask = random_masking(noise, self.recipe["mask_ratio"])
        tokens = self.encode_visible(images, keep)
        self.watch(tokens[:, 1:].mean(dim=1))
        predicted = self.decoder(tokens, restore).float()
        target = patchify(images, self.backbone.shape.patch)
        loss = mae_loss(predicted, target, mask, self.recipe["standardise_patches"])
        return loss, predicted, mask

    def loss(self, views: list[torch.Tensor]) -> torch.Tensor:
        """One group of several crops of each field, all treated alike."""
        images = views[0].flatten(0, 1)
        length = self.decoder.positions.shape[1] - 1
        return self.reconstruct(images, torch.rand(len(images), length).to(images.device))[0]


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
