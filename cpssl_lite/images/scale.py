"""Intensities to 0..1: clip each channel at two of its percentiles."""

import numpy as np
from numpy.typing import NDArray

from cpssl_lite.base.errors import InputError

GREY_LEVELS = 65535


def scale_intensities(image: NDArray, low: float = 0.01, high: float = 99.9) -> NDArray[np.float32]:
    """Clip every channel at its `low` and `high` percentile and stretch it to 0..1.

    The defaults are those of the paper's Methods; the released code uses 0.1 and 99.9. Percentiles
    are NumPy's (linear between neighbours). A channel whose two percentiles are equal, such as a
    constant one, becomes zeros, as it holds nothing to see (the released code gives NaN there).

    Parameters
    ----------
    image
        (..., H, W), any number type; leading axes are channels, each scaled by itself.

    Returns
    -------
    (..., H, W) float32 in 0..1.

    Raises
    ------
    InputError
        `low` and `high` are not 0 <= low < high <= 100, or the image holds NaN or infinity.
    """
    if not 0 <= low < high <= 100:
        raise InputError(f"percentiles must be 0 <= low < high <= 100, got low={low}, high={high}")
    image = np.asarray(image)
    planes = image.reshape(-1, *image.shape[-2:])
    scaled = np.empty(planes.shape, np.float32)
    for plane, out in zip(planes, scaled, strict=True):
        if plane.dtype == np.uint16:
            ends = _percentiles_uint16(plane, low, high)
        elif np.isfinite(plane).all():
            ends = np.percentile(plane, [low, high]).tolist()
        else:
            raise InputError("the image holds NaN or infinite values; scaling needs finite ones")
        bottom, top = map(np.float32, ends)
        if bottom == top:
            out[:] = 0
            continue
        # In place, a plane at a time: it stays in the processor's cache.
        out[:] = plane
        np.clip(out, bottom, top, out=out)
        out -= bottom
        out /= top - bottom
    return scaled.reshape(image.shape)


def to_uint16(image: NDArray) -> NDArray[np.uint16]:
    """0..1 to 0..65535, rounded; values outside are clipped."""
    levels = image * np.float32(GREY_LEVELS)
    levels += np.float32(0.5)
    return np.clip(levels, 0, GREY_LEVELS, out=levels).astype(np.uint16)


def _percentiles_uint16(plane: NDArray[np.uint16], *percents: float) -> list[float]:
    """NumPy's linear percentiles from counts of the 65,536 grey levels: no sorting."""
    below = np.cumsum(np.bincount(plane.ravel(), minlength=GREY_LEVELS + 1))
    values = []
    for percent in percents:
        position = percent / 100 * (plane.size - 1)
        first = int(position)
        # Grey value of the pixel with rank r in sorted order: first level with more than r below.
        a, b = np.searchsorted(below, [first, min(first + 1, plane.size - 1)], side="right")
        values.append(float(a + (b - a) * (position - first)))
    return values
