"""Sizes and training settings of the eight methods: as published, and small for two cores."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.networks import (
    MCNN,
    FeatureNetwork,
    GapNet,
    MILNet,
    SingleCellNet,
    densenet,
    resnet,
)


@dataclass(frozen=True)
class Preset:
    """How one method is built and trained (SGD with momentum 0.9, gradient norm at most 5)."""

    build: Callable[..., nn.Module]
    sizes: dict[str, Any] = field(default_factory=dict)
    lr: float = 0.01
    weight_decay: float = 1e-4
    batch_size: int = 128
    epochs: int = 100


FULL = {
    "FNN": Preset(FeatureNetwork),
    "ResNet": Preset(resnet, lr=0.001, batch_size=24),
    "DenseNet": Preset(densenet, batch_size=12),
    "GapNet": Preset(GapNet),
    "MIL-Net": Preset(MILNet, batch_size=64),
    "M-CNN": Preset(MCNN, lr=0.001, weight_decay=5e-4, batch_size=100),
    "SC-CNN": Preset(SingleCellNet, batch_size=2048),
}
# A few hundred training images of 128 px: narrower networks and smaller batches. The networks on
# images get equally many steps: equal epochs, and batches of 32 fields or the 160 crops from them.
GAPNET = {"channels": (16, 32, 64, 96), "width": 128, "dropout": 0.1}
RESNET = {"layers": (1,) * 4, "channels": (16, 32, 64, 128), "bottleneck": False, "stem": 8}
DENSENET = {"growth": 8, "layers": (2, 3, 4, 3)}
MILNET = {"channels": (8, 16, 16, 32, 32, 64), "shrink": False}
MULTISCALE = {"channels": (6, 6, 6, 12, 12, 12, 24), "mix": 128, "width": 64}
SMALL = {
    "FNN": Preset(FeatureNetwork, {"width": 256}, batch_size=32),
    "ResNet": Preset(resnet, RESNET, batch_size=32, epochs=25),
    "DenseNet": Preset(densenet, DENSENET, batch_size=32, epochs=25),
    "GapNet": Preset(GapNet, GAPNET, batch_size=32, epochs=25),
    "MIL-Net": Preset(MILNet, MILNET, batch_size=32, epochs=25),
    "M-CNN": Preset(MCNN, MULTISCALE, batch_size=32, epochs=25),
    "SC-CNN": Preset(SingleCellNet, GAPNET, batch_size=160, epochs=25),
}
PRESETS = {"full": FULL, "small": SMALL}
CNNS = tuple(name for name in FULL if name != "FNN")


def build(method: str, preset: Preset, inputs: torch.Size, n_assays: int, seed: int) -> nn.Module:
    """Build a network for inputs (C, H, W) or (D,), its weights drawn from the seed."""
    torch.manual_seed(seed)
    network = preset.build(inputs[0], n_assays, **preset.sizes)
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *inputs))  # sets lazy sizes
    except RuntimeError as error:
        raise InputError(
            f"{method}: images of {' x '.join(map(str, inputs[1:]))} px are too small for it "
            f"({str(error).splitlines()[0]})"
        ) from error
    if len(inputs) == 3:
        network.to(memory_format=torch.channels_last)  # see to_tensor
    return network
