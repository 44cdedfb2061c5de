"""The eight methods' networks: inputs (N, ...) -> logits of activity (N, A) for A assays.

Architectures of Hofmarcher et al. 2019 and its published code, as facts; defaults are full size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cpssl_lite.models.timm_parts import BasicBlock, Bottleneck
from cpssl_lite.models.timm_parts import DenseNet as TimmDenseNet
from cpssl_lite.models.timm_parts import ResNet as TimmResNet


class FeatureNetwork(nn.Module):
    """Profiles (N, D) -> three layers of `width` with ReLU -> logits (N, A)."""

    def __init__(self, n_inputs: int, n_assays: int, width: int = 2048) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Dropout(0.1)]
        for size in (n_inputs, width, width):
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(0.5)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, n_assays))
        _initialise(self, nn.init.xavier_normal_)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, A) of profiles (N, D)."""
        return self.layers(x)


class GapNet(nn.Module):
    """Four stages of SELU convolutions; the averages of all four make the features.

    `dilations` are those of the last stage: (2, 2, 4), or (1, 1, 1) for single cells (SC-CNN).
    """

    def __init__(
        self,
        n_inputs: int,
        n_assays: int,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        width: int = 2048,
        dropout: float = 0.5,
        dilations: tuple[int, ...] = (2, 2, 4),
    ) -> None:
        super().__init__()
        a, b, c, d = channels
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_conv(n_inputs, a, stride=2), nn.MaxPool2d(2)),
                nn.Sequential(
                    _conv(a, b, stride=2), _conv(b, b), _conv(b, b), nn.MaxPool2d(2, padding=1)
                ),
                nn.Sequential(_conv(b, c), _conv(c, c), _conv(c, c), nn.MaxPool2d(2)),
                nn.Sequential(
                    *(_conv(c if i == 0 else d, d, gap=gap) for i, gap in enumerate(dilations))
                ),
            ]
        )
        self.head = nn.Sequential(
            *(nn.Linear(sum(channels), width), nn.SELU(), nn.AlphaDropout(dropout)),
            *(nn.Linear(width, width), nn.SELU(), nn.AlphaDropout(dropout)),
            nn.Linear(width, n_assays),
        )
        _initialise(self, _lecun_normal_)  # variance 1 / fan-in, which SELU needs

    def features(self, x: Tensor) -> Tensor:
        """Averages over positions of every stage, side by side: (N, sum of channels)."""
        averages = []
        for stage in self.stages:
            x = stage(x)  # (N, C, H', W')
            averages.append(x.mean(dim=(2, 3)))  # (N, C)
        return torch.cat(averages, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, A) of images (N, C, H, W)."""
        return self.head(self.features(x))


class SingleCellNet(GapNet):
    """SC-CNN: GapNet without dilation, on crops of one cell each."""

    def __init__(self, n_inputs: int, n_assays: int, **sizes: object) -> None:
        super().__init__(n_inputs, n_assays, dilations=(1, 1, 1), **sizes)  # type: ignore[arg-type]


class MILNet(nn.Module):
    """Maps of activity per assay, pooled by a noisy and: active if enough positions are.

    Gives two outputs, the logits and the pooled activities, and both enter the loss; as in the
    published code the pooled value (0..1) is treated as a logit there.
    """

    def __init__(
        self,
        n_inputs: int,
        n_assays: int,
        channels: tuple[int, ...] = (32, 64, 64, 128, 128, 1000),
        shrink: bool = True,
        slope: float = 10.0,
    ) -> None:
        super().__init__()
        a, b, c, d, e, f = channels
        pool = (nn.MaxPool2d(3, stride=2), nn.Dropout(0.2))
        self.maps = nn.Sequential(
            nn.AvgPool2d(3, stride=2) if shrink else nn.Identity(),
            *(nn.Conv2d(n_inputs, a, 3), nn.ReLU(), nn.Conv2d(a, b, 3), nn.ReLU(), *pool),
            *(nn.Conv2d(b, c, 5), nn.ReLU(), *pool),
            *(nn.Conv2d(c, d, 3), nn.ReLU(), *pool),
            *(nn.Conv2d(d, e, 3), nn.ReLU(), *pool),
            *(nn.Conv2d(e, f, 1), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(f, n_assays, 1)),
            nn.Sigmoid(),
        )
        self.slope = slope
        self.thresholds = nn.Parameter(torch.full((n_assays,), 0.1))
        self.head = nn.Linear(n_assays, n_assays)
        _initialise(self, nn.init.xavier_normal_)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and pooled activities, both (N, A), of images (N, C, H, W)."""
        mean = self.maps(x).mean(dim=(2, 3))  # (N, A)
        a, b = self.slope, self.thresholds
        low = torch.sigmoid(-a * b)
        pooled = (torch.sigmoid(a * (mean - b)) - low) / (torch.sigmoid(a * (1 - b)) - low)
        return self.head(pooled), pooled


class MCNN(nn.Module):
    """Seven scales: shrink by 1 to 64, three 5x5 convolutions, shrink by 64 to 1."""

    def __init__(
        self,
        n_inputs: int,
        n_assays: int,
        channels: tuple[int, ...] = (16, 16, 16, 32, 32, 32, 64),
        mix: int = 1024,
        width: int = 512,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList()
        for i, c in enumerate(channels):
            layers: list[nn.Module] = [nn.MaxPool2d(2**i)]
            for size in (n_inputs, c, c):
                layers += [nn.Conv2d(size, c, 5, padding=2), nn.ReLU()]
            self.scales.append(nn.Sequential(*layers, nn.MaxPool2d(2 ** (6 - i))))
        self.mix = nn.Sequential(
            nn.Conv2d(sum(channels), mix, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        # The number of positions left depends on the image; the first batch sets it.
        self.head = nn.Sequential(nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, n_assays))
        _initialise(self, nn.init.xavier_uniform_)

    def features(self, x: Tensor) -> Tensor:
        """All scales side by side: (N, sum of channels, H / 64, W / 64)."""
        return torch.cat([scale(x) for scale in self.scales], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, A) of images (N, C, H, W), at least 128 pixels wide and high."""
        return self.head(self.mix(self.features(x)))


def resnet(
    n_inputs: int,
    n_assays: int,
    layers: tuple[int, ...] = (3, 4, 23, 3),
    channels: tuple[int, ...] = (64, 128, 256, 512),
    bottleneck: bool = True,
    stem: int = 0,
) -> nn.Module:
    """ResNet-101 of timm, with as many input channels as stains.

    `stem` replaces the first convolution (7x7, 64 channels) by three narrow 3x3 ones.
    """
    block: Any = Bottleneck if bottleneck else BasicBlock
    first: dict[str, Any] = {"stem_type": "deep", "stem_width": stem} if stem else {}
    return TimmResNet(block, layers, n_assays, n_inputs, channels=channels, **first)


def densenet(
    n_inputs: int,
    n_assays: int,
    growth: int = 32,
    layers: tuple[int, ...] = (6, 12, 24, 16),
) -> nn.Module:
    """DenseNet-121 of timm, with as many input channels as stains."""
    return TimmDenseNet(growth, layers, n_assays, n_inputs)


def _conv(inputs: int, outputs: int, stride: int = 1, gap: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=gap, dilation=gap)
    return nn.Sequential(conv, nn.SELU())


def _lecun_normal_(weight: Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="linear")


def _initialise(network: nn.Module, initialise: object) -> None:
    """Draw all weights by one rule, biases 0; lazy layers keep PyTorch's."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not isinstance(module, nn.LazyLinear):
            initialise(module.weight)  # type: ignore[operator]
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
