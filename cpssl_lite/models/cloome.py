"""CLOOME's image encoder: a ResNet that learned to match images with molecules."""

import re
from typing import Any

import torch
from torch import nn

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.formats import Found, Tensors, split, tensors_of
from cpssl_lite.models.formats_authors import Convention
from cpssl_lite.models.timm_parts import Bottleneck, ResNet
from cpssl_lite.models.vit import Pooling, Shape

STAINS = ("Mito", "ER", "RNA", "AGP", "DNA")  # Mito, ERSyto, ERSytoBleed, Ph_golgi, Hoechst
# Of intensities from 0 to 255, in this order; sd is the mean once more (clip.py, _transform).
MEANS = (47.1314, 40.8138, 53.7692, 46.2656, 28.7243)
FEATURES = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")


class CloomeResNet(nn.Module):
    """Crops to the image's side of the common embedding.

    Source: ml-jku/cloome, src/clip/model.py (``ResNet``): torchvision's beginning, and CLIP's
    blocks, where an average over 2 x 2 pixels takes the place of every stride.
    """

    any_channels = False
    poolings: tuple[Pooling, ...] = ("patch_mean",)
    layers: tuple[int, ...] = (3, 4, 6, 3)  # blocks at each of four resolutions
    planes = 64
    network: Any

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.embed_dim = shape, shape.width
        planes: Any = tuple(self.planes * 2**i for i in range(4))
        kind: Any = Bottleneck
        network: Any = ResNet(
            kind,
            self.layers,
            shape.width,
            shape.in_channels,
            channels=planes,
            avg_down=True,
            aa_layer=nn.AvgPool2d,
        )
        network.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks: list[Any] = [part for part in network.modules() if isinstance(part, Bottleneck)]
        for one in (block for block in blocks if block.stride > 1):
            # timm counts an odd last row, which the other branch leaves out.
            one.downsample[0] = nn.AvgPool2d(one.stride)
        self.network = network

    def pooled(self, x: torch.Tensor, pooling: Pooling = "patch_mean") -> torch.Tensor:
        """(n, C, s, s) to (n, d): the mean over the picture, projected."""
        for name in FEATURES:
            x = getattr(self.network, name)(x)
        if side := min(7, *x.shape[2:]):  # windows of 7 x 7, averaged in turn
            x = nn.functional.avg_pool2d(x, side, 1)
        return self.network.get_classifier()(x.mean(dim=(2, 3)))


def cloome(content: dict[str, Any], convention: Convention) -> Found | None:
    """`visual.*`, a ResNet with its `fc`, beside the molecules' `transformer.*`."""
    state = content.get("state_dict", content)
    found = tensors_of(state) if isinstance(state, dict) else {}
    needed = ("visual.conv1.weight", "visual.layer1.0.conv2.weight", "visual.fc.weight")
    if not all(name in found for name in needed):
        return None
    kept, dropped = split(found, "visual.", drop=("transformer.", "logit_inv_tau"))
    first, second, last = (kept[name.removeprefix("visual.")] for name in needed)
    if (first.ndim, second.ndim, last.ndim) != (4, 4, 2):
        shapes = ", ".join(str(tuple(one.shape)) for one in (first, second, last))
        raise InputError(f"{', '.join(needed)} have the shapes {shapes}, which no ResNet has")
    planes = len(second)
    blocks = {m[0]: m[1] for name in kept if (m := re.match(r"layer([1-4])\.\d+\.", name))}
    layers = tuple(list(blocks.values()).count(str(i)) for i in (1, 2, 3, 4))
    _check_blocks(kept, blocks, planes)
    return Found(
        "CLOOME",
        "CLOOME",
        {f"network.{_renamed(name)}": value for name, value in kept.items()},
        dropped,
        pooling="patch_mean",
        mean=tuple(mean / 255 for mean in MEANS),
        sd=tuple(mean / 255 for mean in MEANS),
        channels=STAINS,
        network=type("CloomeResNet", (CloomeResNet,), {"layers": layers, "planes": planes}),
        shape=Shape(len(last), sum(layers), 1, patch=32, in_channels=first.shape[1]),
        architecture="resnet50" if layers == (3, 4, 6, 3) else f"resnet {layers}",
    )


def _renamed(name: str) -> str:
    """As timm names it, whose downsampling has its average counted."""
    return re.sub(r"downsample\.([01])\.", lambda m: f"downsample.{int(m[1]) + 1}.", name)


def _check_blocks(tensors: Tensors, blocks: dict[str, str], planes: int) -> None:
    """Refuse a block that is but a name: its network would be larger than its file."""
    for block, layer in blocks.items():
        name, side = f"{block}conv2.weight", planes * 2 ** (int(layer) - 1)
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != (side, side, 3, 3):
            raise InputError(f"visual.{name} is {found}, expected {(side, side, 3, 3)}")
