"""The paper's six augmentations, on batches of crops.

Every transform takes (n, C, H, W) float tensors in 0..1, draws anew for each crop from the
generator that it is given, and returns a new tensor: the released code writes into its input,
which there is a view of the whole field, so one view changes the next (see the page "Paper and
code"). The functions below take the draws themselves, the classes make them.

Source: Methods, "Augmentations for multichannel images"; ranges from the released code where the
text has none.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cpssl_lite.base.errors import InputError


def flip(x: Tensor, horizontal: Tensor, vertical: Tensor) -> Tensor:
    """Mirror the crops where `horizontal` (n,) bool is set left to right, `vertical` top down."""
    x = x.clone()
    x[horizontal] = x[horizontal].flip(-1)
    x[vertical] = x[vertical].flip(-2)
    return x


def shift(x: Tensor, amount: Tensor) -> Tensor:
    """Add `amount` (n, C) to every channel, clipped to 0..1."""
    return (x + amount[:, :, None, None]).clamp_(0, 1)


def gamma(x: Tensor, exponent: Tensor) -> Tensor:
    """Raise every channel to the power `exponent` (n, C), clipped to 0..1."""
    return x.clamp(0, 1).pow_(exponent[:, :, None, None])


def drop_channel(x: Tensor, channel: Tensor) -> Tensor:
    """Set channel number `channel` (n,) of each crop to zero; -1 drops none."""
    kept = torch.arange(x.shape[1], device=x.device) != channel[:, None]  # (n, C)
    return x * kept[:, :, None, None]


def blur(x: Tensor, sigma: Tensor, kernel: int = 23) -> Tensor:
    """Gaussian blur with standard deviation `sigma` (n,) in pixels, mirrored at the edges."""
    n, c, h, w = x.shape
    half = kernel // 2
    if min(h, w) <= half:
        raise InputError(f"a blur of {kernel} px needs crops of over {half} px, got {h} x {w}")
    distance = torch.arange(-half, half + 1, device=x.device, dtype=x.dtype)
    weights = torch.exp(-0.5 * (distance / sigma.to(x)[:, None]) ** 2)  # (n, kernel)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None]
    x = F.pad(x, (half, half, half, half), mode="reflect").reshape(1, n * c, h + 2 * half, -1)
    x = F.conv2d(x, weights[:, :, None, :], groups=n * c)  # along rows, then along columns
    return F.conv2d(x, weights[:, :, :, None], groups=n * c).reshape(n, c, h, w)


def resize_crop(x: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut a box out of each image and rescale it to `size`: (n, C, H, W) to (n, C, size, size).

    `boxes` (n, 4) integers: top, left, height, width. Shrinking averages (no aliasing).
    """
    cuts = [
        image[None, :, top : top + height, left : left + width]
        for image, (top, left, height, width) in zip(x, boxes.tolist(), strict=True)
    ]
    return torch.cat([
        cut if cut.shape[-2:] == (size, size)
        else F.interpolate(cut, (size, size), mode="bilinear", antialias=True, align_corners=False)
        for cut in cuts
    ])  # fmt: skip


def _over_pixels(per_crop: Tensor) -> Tensor:
    return per_crop[:, None, None, None]


def _uniform(low: float, high: float, shape: tuple[int, ...], x: Tensor, g: Generator) -> Tensor:
    """Draw on the generator's device, so that a seed means the same wherever `x` lies."""
    return (low + (high - low) * torch.rand(shape, generator=g, device=g.device)).to(x.device)


def _chosen(p: float, x: Tensor, g: Generator) -> Tensor:
    return torch.rand(len(x), generator=g, device=g.device).to(x.device) < p


@dataclass(frozen=True)
class Flip:
    """Mirror left to right and top down, each with probability `p`.

    The text says "rotates by 180 degrees along the axes"; the released code mirrors.
    """

    p: float = 0.5

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Apply to (n, C, H, W)."""
        return flip(x, _chosen(self.p, x, generator), _chosen(self.p, x, generator))


@dataclass(frozen=True)
class Color:
    """Intensity shift, then brightness change (gamma), drawn for each channel of each crop."""

    p: float = 1.0
    shift: float = 0.3
    gamma: tuple[float, float] = (0.5, 1.5)

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Apply to (n, C, H, W)."""
        shape = (x.shape[0], x.shape[1])
        chosen = _chosen(self.p, x, generator)
        amount = _uniform(-self.shift, self.shift, shape, x, generator)
        exponent = _uniform(*self.gamma, shape, x, generator)
        changed = gamma(shift(x, amount), exponent)
        return changed if chosen.all() else torch.where(_over_pixels(chosen), changed, x)


@dataclass(frozen=True)
class DropChannel:
    """Set one channel, chosen at random, to zero with probability `p`."""

    p: float = 0.5

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Apply to (n, C, H, W)."""
        chosen = _chosen(self.p, x, generator)
        channel = _uniform(0, x.shape[1], (len(x),), x, generator).long()
        return drop_channel(x, torch.where(chosen, channel, -1))


@dataclass(frozen=True)
class GaussianNoise:
    """Add noise of standard deviation `sd`, not clipped afterwards (as in the released code)."""

    p: float = 0.5
    sd: float = 0.05

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Apply to (n, C, H, W)."""
        chosen = _chosen(self.p, x, generator)
        noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x)
        x = x.clone()
        x[chosen] += self.sd * noise[chosen]
        return x


@dataclass(frozen=True)
class GaussianBlur:
    """Gaussian blur of `kernel` pixels with a standard deviation from `sigma`."""

    p: float = 0.5
    kernel: int = 23
    sigma: tuple[float, float] = (0.1, 2.0)

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Apply to (n, C, H, W)."""
        chosen = _chosen(self.p, x, generator)
        sigma = _uniform(*self.sigma, (len(x),), x, generator)
        x = x.clone()
        if chosen.any():
            x[chosen] = blur(x[chosen], sigma[chosen], self.kernel)
        return x


@dataclass(frozen=True)
class Resize:
    """Random part of the field, rescaled to `size`; otherwise a random crop of `size`.

    Unlike the others it takes whole fields; in training it cuts the crops (`models.crops_data`).
    The text's "dimensions varying between 12% and 47% of the whole microscopy image" is read as
    shares of the area, as the `scale` of the usual random resized crop is; for shares of the
    side, square them: ``scale=(0.0144, 0.2209)``. `ratio` is the usual range of width to height.
    """

    p: float = 1.0
    scale: tuple[float, float] = (0.12, 0.47)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    size: int = 224

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise InputError(f"resize: scale is {low} to {high}, expected shares from 0 to 1")

    def boxes(self, draws: Tensor, h: int, w: int) -> Tensor:
        """Turn draws (n, 5) from 0..1 into boxes (n, 4) of fields of h x w px.

        The draws decide, in this order: whether to resize, area, ratio, row, column.
        """
        if min(h, w) < self.size:
            raise InputError(f"a field of {h} x {w} px is smaller than a crop of {self.size} px")
        least, most = self.scale
        area = (least + (most - least) * draws[:, 1]) * h * w
        low, high = torch.log(torch.tensor(self.ratio)).tolist()
        ratio = (low + (high - low) * draws[:, 2]).exp()
        chosen = draws[:, 0] < self.p
        height = torch.where(chosen, (area / ratio).sqrt().round().clamp(1, h), self.size)
        width = torch.where(chosen, (area * ratio).sqrt().round().clamp(1, w), self.size)
        top = (draws[:, 3] * (h - height + 1)).floor().clamp(max=h - height)
        left = (draws[:, 4] * (w - width + 1)).floor().clamp(max=w - width)
        return torch.stack([top, left, height, width], 1).long()

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        """Apply to (n, C, H, W); gives (n, C, size, size)."""
        draws = _uniform(0, 1, (len(x), 5), x, generator)
        return resize_crop(x, self.boxes(draws, *x.shape[-2:]), self.size)


Transform = Callable[[Tensor, Generator], Tensor]

AUGMENTATIONS: dict[str, Callable[..., Transform]] = {
    "resize": Resize,
    "flip": Flip,
    "color": Color,
    "drop_channel": DropChannel,
    "noise": GaussianNoise,
    "blur": GaussianBlur,
}
