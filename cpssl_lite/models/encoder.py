"""An encoder: crops in, features out, with the input rules that belong to the weights."""

from typing import Any

import torch
from torch import nn

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models.vit import Pooling

# Of the released code (see its inference): used there for all three methods, even though
# DINO and SimCLR were trained with others.
RELEASED_MEAN = (0.12528631, 0.17596765, 0.14736995, 0.13445823, 0.08349566)
RELEASED_SD = (0.12594905, 0.15605405, 0.16031352, 0.15751939, 0.15773378)


class Encoder(nn.Module):
    """A network with its input rules.

    Attributes
    ----------
    channels
        Channel names, in the order in which crops must give them.
    crop_size
        Side of the crops in pixels that the weights were trained for.
    n_features
        Length of a crop's feature vector.
    card
        What is known about the weights: format, method, architecture, sha256, ...
    """

    mean: torch.Tensor
    sd: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        card: dict[str, Any],
        *,
        channels: tuple[str, ...] = CHANNELS,
        crop_size: int = 224,
        pooling: Pooling = "cls",
        mean: tuple[float, ...] | None = RELEASED_MEAN,
        sd: tuple[float, ...] | None = RELEASED_SD,
        per_channel: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.channels = tuple(channels)
        self.crop_size = crop_size
        self.pooling: Pooling = pooling
        self.per_crop_norm = mean is None or sd is None
        self.per_channel = per_channel
        for name, values in (("mean", mean), ("sd", sd)):
            values = (0.0,) if values is None else values
            self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1), persistent=False)
        width = int(network.embed_dim)  # type: ignore[arg-type]
        self.n_features = width * len(self.channels) if per_channel else width

    def normalise(self, crops: torch.Tensor) -> torch.Tensor:
        """Intensities 0..1 to what the network expects.

        (n, C, s, s) both, or (n * C, k, s, s) for a network that sees one stain at a time, k
        times over. uint16 counts as 65535 = 1; its scale is folded into mean and sd here, which
        saves a pass over the pixels.
        """
        one = 1
        if crops.dtype == torch.uint16:
            crops, one = crops.to(torch.float32), 65535
        if self.per_channel:
            k = int(self.network.shape.in_channels)  # type: ignore[union-attr,arg-type]
            crops = crops.flatten(0, 1).unsqueeze(1).expand(-1, k, -1, -1)
        if self.per_crop_norm:  # each channel of each crop to mean 0, variance 1
            sd, mean = torch.std_mean(crops, dim=(2, 3), keepdim=True, correction=0)
            return (crops - mean).div_(sd + 1e-7 * one)
        return (crops - one * self.mean).div_(one * self.sd)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised crops, as `normalise` gives them, to features (n, n_features)."""
        pooled = self.network.pooled(x, self.pooling)  # type: ignore[operator]
        return pooled.reshape(-1, self.n_features)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Crops (n, C, s, s), float32 0..1 or uint16, to features (n, n_features).

        Raises
        ------
        InputError
            The number of channels is not `len(self.channels)`.
        """
        if crops.ndim != 4 or crops.shape[1] != len(self.channels):
            raise InputError(
                f"crops have shape {tuple(crops.shape)}, expected (n, {len(self.channels)}, s, s) "
                f"with channels {', '.join(self.channels)}"
            )
        return self.embed(self.normalise(crops))
