"""What a microscope makes of the stains: blur, glow, bleed-through, background, shading, noise."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from cpssl_lite.data.simulate.textures import smooth, upsample

# Camera counts, Mito AGP RNA ER DNA, at the level of the real fields that were looked at.
BACKGROUND = (900.0, 430.0, 390.0, 270.0, 330.0)
FULL = (4200.0, 15000.0, 19000.0, 13000.0, 14500.0)
STEP = 16  # counts between two values that the camera can give (12 bits of 65,536)

Five = tuple[float, ...]  # a value per channel


@dataclass(frozen=True)
class Optics:
    """A microscope, a staining run and a plate, as far as the image shows them."""

    blur: Five = (1.0, 1.0, 0.95, 0.95, 1.05)  # px, standard deviation of the spot
    glow: float = 0.16  # share of light that out-of-focus parts spread over about 7 px
    gain: Five = (1.0, 1.0, 1.0, 1.0, 1.0)  # stain and exposure, relative
    background: Five = (1.0, 1.0, 1.0, 1.0, 1.0)  # relative to BACKGROUND
    bleed: float = 0.06  # share of ER seen in RNA and back, half of it from RNA into AGP
    shading: float = 0.10  # fall of the light from the brightest point to the corner
    centre: tuple[float, float] = (0.5, 0.5)  # brightest point, as a share of the field
    noise: float = 1.0  # relative; 1 is a variance of 40 + 0.2 x counts, as in real fields

    def moved(self, steps: np.ndarray, scale: float) -> "Optics":
        """Move every property by 20 standard-normal `steps` times `scale` (0 leaves it)."""
        s = np.asarray(steps, dtype=float) * scale
        up = np.exp2(s)
        return replace(
            self,
            blur=_times(self.blur, up[:5] ** 0.08 * up[19] ** 0.2),
            gain=_times(self.gain, up[5:10] ** 0.35),
            background=_times(self.background, up[10:15] ** 0.3),
            glow=float(min(self.glow * up[15] ** 0.3, 0.5)),
            bleed=float(min(self.bleed * up[16] ** 0.6, 0.4)),
            shading=float(min(self.shading * up[17] ** 0.7, 0.6)),
            noise=float(min(self.noise * up[18] ** 0.4, 6.0)),
        )


def _times(values: Five, factors: np.ndarray) -> Five:
    return tuple(float(v * f) for v, f in zip(values, factors, strict=True))


def expose(stains: np.ndarray, optics: Optics, rng: np.random.Generator) -> np.ndarray:
    """Turn stains into camera counts.

    Parameters
    ----------
    stains
        (5, H, W) float32 from `draw.draw_field`; H = W.
    optics
        The microscope.
    rng
        Noise and uneven background.

    Returns
    -------
    (5, H, W) uint16, multiples of STEP.
    """
    f = np.float32
    size = stains.shape[-1]
    mito, agp, rna, er, dna = stains
    b = f(optics.bleed)
    light = (mito, agp + f(0.5) * b * rna, rna + b * er, er + b * rna, dna)
    axis = np.arange(size, dtype=np.float32) / f(size)
    dx, dy = axis[None, :] - f(optics.centre[0]), axis[:, None] - f(optics.centre[1])
    shade = f(1) - f(optics.shading) * np.minimum(f(2) * (dx * dx + dy * dy), f(1))
    counts = np.empty(stains.shape, np.uint16)
    for c, channel in enumerate(light):
        sharp = gaussian_filter(channel, min(optics.blur[c], 4.0), truncate=2.5, mode="nearest")
        seen = f(1 - optics.glow) * sharp + f(optics.glow) * _haze(channel)
        uneven = f(1) + f(0.05) * upsample(smooth(rng, size // 4, 12), 4)
        base = f(BACKGROUND[c] * optics.background[c])
        value = (seen * f(FULL[c] * optics.gain[c]) + base * uneven) * shade
        spread = np.sqrt(f(40) + f(0.2) * value) * f(optics.noise)
        value += spread * rng.standard_normal(value.shape, dtype=np.float32)
        value = np.floor(value * f(1 / STEP) + f(0.5)) * f(STEP)
        counts[c] = np.clip(value, 0, 65520)
    return counts


def _haze(channel: np.ndarray) -> np.ndarray:
    """Wide blur (about 7 px) at a quarter of the resolution, brought back linearly."""
    f = np.float32
    size = channel.shape[-1]
    small = channel.reshape(size // 4, 4, size // 4, 4)
    small = (small[:, 0] + small[:, 1] + small[:, 2] + small[:, 3]) * f(0.25)
    small = (small[..., 0] + small[..., 1] + small[..., 2] + small[..., 3]) * f(0.25)
    small = gaussian_filter(small, 1.7, truncate=2.5, mode="nearest")
    return upsample(small, 4)
