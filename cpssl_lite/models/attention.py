"""Where a vision transformer looks: attention of its last layer, or rolled out over all layers."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.formats_public import ChannelAgnosticViT
from cpssl_lite.models.timm_parts import ParallelScalingBlock
from cpssl_lite.models.vit import ViT


def attention_maps(
    encoder: Encoder, crops: NDArray, rollout: bool = False, batch_size: int = 64
) -> NDArray[np.float32]:
    """Attention that the tokens making up the feature pay to every patch.

    The class token asks where the feature is the class token (DINO, SimCLR). Where it is the mean
    of the patches (MAE), the class token does nothing, and the mean over all patches that ask is
    given instead.

    Parameters
    ----------
    encoder
        Any encoder whose network is a vision transformer.
    crops
        (n, C, s, s), intensities 0..1 or uint16 (65535 is 1).
    rollout
        Follow attention through all layers (Abnar and Zuidema 2020): heads averaged, half of it
        replaced by the identity for the residual path, layers multiplied.

    Returns
    -------
    (n, heads, h, w), or (n, 1, h, w) with `rollout`. Softmax weights: with the part that goes to
    the class and register tokens they add up to 1. A network that takes stains one at a time or
    as separate patches gives a map for each, (n, C, heads, h, w).

    Raises
    ------
    InputError
        The network is no vision transformer, or the crops' sides are not multiples of its patch.
    """
    network = encoder.network
    if not isinstance(network, ViT):
        raise InputError(f"attention maps need a vision transformer, got {type(network).__name__}")
    size, patch = crops.shape[-1], network.shape.patch
    if size % patch or crops.shape[-2] != size:
        raise InputError(
            f"crops of {crops.shape[-2]} x {size} px: sides must be equal, multiples of {patch}"
        )
    pixels = torch.from_numpy(np.asarray(crops, np.float32))
    if crops.dtype == np.uint16:
        pixels = pixels / 65535
    device = next(network.parameters()).device
    parts = [_maps(encoder, network, part.to(device), rollout) for part in pixels.split(batch_size)]
    maps = torch.cat(parts).cpu()  # (m, heads, patches of one or all stains)
    n, side, stains = len(crops), size // patch, len(encoder.channels)
    if encoder.per_channel:  # m = n * C
        return maps.reshape(n, stains, -1, side, side).numpy()
    if isinstance(network, ChannelAgnosticViT):
        return maps.reshape(n, -1, stains, side, side).transpose(1, 2).numpy()
    return maps.reshape(n, -1, side, side).numpy()


def _maps(encoder: Encoder, network: ViT, pixels: torch.Tensor, rollout: bool) -> torch.Tensor:
    """Attention to every patch, (m, heads, patches)."""
    weights: list[torch.Tensor] = []  # of each layer, (m, heads, tokens, tokens)
    # Of the last layer the network computes the class token's attention only, but it normalises
    # all tokens before.
    blocks: list[Any] = list(network.blocks)[0 if rollout else -1 :]
    hooks = [
        _norm_of(block).register_forward_hook(
            lambda _, __, x, b=block: weights.append(_softmax(b, x))
        )
        for block in blocks
    ]
    try:
        with torch.inference_mode():
            encoder(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    whole = weights[-1]
    if rollout:
        eye = torch.eye(whole.shape[-1], device=whole.device)
        whole = eye
        for layer in weights:
            whole = (0.5 * layer.mean(dim=1) + 0.5 * eye) @ whole
        whole = whole[:, None]
    first = 1 if isinstance(network, ChannelAgnosticViT) else network.num_prefix_tokens
    asking = whole[:, :, :1] if encoder.pooling == "cls" else whole[:, :, first:]
    return asking.mean(dim=2)[..., first:]


def _norm_of(block: Any) -> torch.nn.Module:
    """What normalises a timm block's tokens before its attention."""
    return block.in_norm if isinstance(block, ParallelScalingBlock) else block.norm1


def _softmax(block: Any, x: torch.Tensor) -> torch.Tensor:
    """Attention weights of a timm block: tokens (m, t, d), normalised, to (m, heads, t, t)."""
    m, tokens, _ = x.shape
    if isinstance(block, ParallelScalingBlock):  # queries, keys and MLP from one product
        layer = block
        _, q, k, _ = torch.split(layer.in_proj(x), layer.in_split, dim=-1)
        q, k = (part.view(m, tokens, layer.num_heads, -1).transpose(1, 2) for part in (q, k))
    else:
        layer = block.attn
        qkv = layer.qkv(x).reshape(m, tokens, 3, layer.num_heads, -1)
        q, k, _ = qkv.permute(2, 0, 3, 1, 4)
    q, k = layer.q_norm(q), layer.k_norm(k)
    return (q @ k.transpose(-2, -1) * layer.scale).softmax(dim=-1)


def attention_follows(encoder: Encoder, crops: NDArray) -> NDArray[np.float64]:
    """Rank correlation, within a crop, of attention to a patch with its mean in each channel.

    Attention is that of `attention_maps`, the mean of all heads.

    Parameters
    ----------
    crops
        (n, C, s, s), as `attention_maps` takes them.

    Returns
    -------
    (n, C); 1 where the map is a blurred copy of the channel.
    """
    seen = attention_maps(encoder, crops).mean(axis=-3)  # (n, h, w), or (n, C, h, w)
    n, stains, size, _ = crops.shape
    side, step = seen.shape[-1], size // seen.shape[-1]
    patches = crops.reshape(n, stains, side, step, side, step).mean(axis=(3, 5))
    seen = np.broadcast_to(seen if seen.ndim == 4 else seen[:, None], patches.shape)
    pairs = zip(seen.reshape(n * stains, -1), patches.reshape(n * stains, -1), strict=True)
    return np.reshape([spearmanr(*pair).statistic for pair in pairs], (n, stains))
