"""Vision transformers over image crops with any number of channels, on timm's blocks."""

from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from cpssl_lite.models.timm_parts import VisionTransformer

Pooling = Literal["cls", "patch_mean", "patch_mean_before_norm", "attention"]


class Shape(NamedTuple):
    """The numbers that fix a ViT: everything else follows from them."""

    width: int
    depth: int
    heads: int
    patch: int = 16
    image_size: int = 224
    in_channels: int = 5
    qkv_bias: bool = True
    layer_scale: bool = False
    registers: int = 0


ARCHITECTURES = {
    "vit_mini_patch16": Shape(width=64, depth=3, heads=2, image_size=64),
    "vit_lite_patch16": Shape(width=128, depth=6, heads=4, image_size=128),
    "vit_small_patch16": Shape(width=384, depth=12, heads=6),
    "vit_base_patch16": Shape(width=768, depth=12, heads=12),
}


class ViT(VisionTransformer):
    """A ViT that takes square crops of any size that is a multiple of its patch.

    Position embeddings are resampled as DINO's code does it (bicubic, scale of
    (n + 0.1) / N): training on small local crops and the authors' features depend on it.
    """

    any_channels = False  # whether the number of channels is free
    poolings: tuple[Pooling, ...] = ("cls", "patch_mean", "patch_mean_before_norm")

    def __init__(self, shape: Shape, drop_path: float = 0.0) -> None:
        super().__init__(
            img_size=shape.image_size,
            patch_size=shape.patch,
            in_chans=shape.in_channels,
            num_classes=0,
            embed_dim=shape.width,
            depth=shape.depth,
            num_heads=shape.heads,
            qkv_bias=shape.qkv_bias,
            init_values=1e-5 if shape.layer_scale else None,
            reg_tokens=shape.registers,
            drop_path_rate=drop_path,
            dynamic_img_size=True,
        )
        self.shape = shape
        if shape.registers:  # as in DINOv2, registers have no position
            side = shape.image_size // shape.patch
            self.pos_embed = nn.Parameter(torch.randn(1, 1 + side * side, shape.width) * 0.02)

    def _pos_embed(self, x: torch.Tensor) -> torch.Tensor:
        assert self.cls_token is not None
        n, height, width, d = x.shape  # (n, h, w, d) patch tokens
        position = self.positions(height, width)  # (1, 1 + h * w, d)
        x = x.reshape(n, height * width, d) + position[:, 1:]
        cls = (self.cls_token + position[:, :1]).expand(n, -1, -1)
        extra = [self.reg_token.expand(n, -1, -1)] if self.reg_token is not None else []
        return self.pos_drop(torch.cat([cls, *extra, x], dim=1))  # (n, 1 + r + h * w, d)

    def positions(self, height: int, width: int) -> torch.Tensor:
        """Position embeddings for a grid of height x width patches, (1, 1 + h * w, d)."""
        assert self.pos_embed is not None
        side = self.patch_embed.grid_size[0]
        if (height, width) == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        scale = ((height + 0.1) / side, (width + 0.1) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")  # (1, d, h, w)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

    def pooled(self, x: torch.Tensor, pooling: Pooling = "cls") -> torch.Tensor:
        """Normalised crops (n, C, s, s) to features (n, d) by class token or patch mean."""
        x = self.norm_pre(self._pos_embed(self.patch_embed(x)))  # (n, 1 + L, d)
        if pooling == "cls" and not self.training:
            x = class_token_block(self.blocks[-1], self.blocks[:-1](x))
        else:
            x = self.blocks(x)
        if pooling == "cls":
            return self.norm(x[:, 0])  # the norm acts on each token alone
        patches = x[:, self.num_prefix_tokens :]
        return (patches if pooling == "patch_mean_before_norm" else self.norm(patches)).mean(dim=1)


def class_token_block(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A transformer block for the class token alone, (n, 1 + L, d) to (n, 1, d).

    Of the last block nothing else is used: queries, projection and MLP of the other tokens,
    7% of all the work of a ViT-S/16, need not be computed.
    """
    attention: Any = block.attn
    d, heads = x.shape[-1], attention.num_heads
    weight, bias = attention.qkv.weight, attention.qkv.bias
    y = block.norm1(x)  # type: ignore[operator]
    q = F.linear(y[:, :1], weight[:d], None if bias is None else bias[:d])  # (n, 1, d)
    kv = F.linear(y, weight[d:], None if bias is None else bias[d:])  # (n, 1 + L, 2 * d)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, *kv.chunk(2, dim=-1)))
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (n, 1, d)
    x = x[:, :1] + block.ls1(attention.proj(y))  # type: ignore[operator]
    return x + block.ls2(block.mlp(block.norm2(x)))  # type: ignore[operator]


def build_vit(architecture: str | Shape, drop_path: float = 0.0, **changes: Any) -> ViT:
    """Make a ViT with fresh random weights.

    Parameters
    ----------
    architecture
        A name in `ARCHITECTURES` or a `Shape`.
    drop_path
        Stochastic depth rate of the last block.
    **changes
        Fields of `Shape` to change, such as ``in_channels=3``.

    Examples
    --------
    >>> vit = build_vit("vit_lite_patch16")
    >>> vit(torch.zeros(2, 5, 48, 48)).shape
    torch.Size([2, 128])
    """
    shape = ARCHITECTURES[architecture] if isinstance(architecture, str) else architecture
    return ViT(shape._replace(**changes), drop_path)
