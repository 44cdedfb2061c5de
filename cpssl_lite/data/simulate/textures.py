"""Tileable noise patterns that cells are filled with, and how they are looked up.

Only additions, multiplications, divisions and comparisons touch float32 arrays, and filters
accumulate in double: those round the same way on every processor, so the same seed gives
the same pixels wherever NumPy's random streams are the same.
"""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE = 512
KINDS = ("fine", "coarse", "cloud", "threads", "mesh", "fibres", "puncta", "bubbles")


def _noise(key: int, sigma: float | tuple[float, float]) -> np.ndarray:
    """Band-pass noise with mean 0 and standard deviation 1, wrapping at the edges."""
    white = np.random.Generator(np.random.PCG64(key)).standard_normal((SIDE, SIDE))
    narrow = gaussian_filter(white, sigma, mode="wrap")
    broad = gaussian_filter(white, np.multiply(sigma, 2.5), mode="wrap")
    band = narrow / np.std(narrow) - 0.5 * broad / np.std(broad)
    band -= np.mean(band)
    return band / np.std(band)


def _ridges(noise: np.ndarray, width: float) -> np.ndarray:
    """Turn the zero lines of a noise into bright threads, 0..1."""
    return 1.0 / (1.0 + (noise / width) ** 2)


def _peaks(noise: np.ndarray, level: float) -> np.ndarray:
    """Keep what rises above `level` standard deviations, 0 elsewhere, about 1 at the top."""
    return np.clip(noise - level, 0.0, None) / 1.2


@cache
def bank() -> np.ndarray:
    """All patterns, (SIDE, SIDE, len(KINDS)) float32; made once per process (0.3 s)."""
    # Threads: the zero lines of a noise, broken up and uneven in brightness.
    threads = np.maximum(_ridges(_noise(11, 2.3), 0.15), 0.8 * _ridges(_noise(13, 1.9), 0.1))
    threads *= np.clip(0.7 + 0.6 * _noise(12, 3.0), 0.0, 2.0)
    return np.stack(
        [
            _noise(1, 1.1),
            _noise(2, 2.0),
            _noise(3, 7.0),
            threads,
            _ridges(_noise(4, 2.2), 0.5) - 0.5,
            np.clip(_noise(5, (1.0, 13.0)) - 0.4, 0.0, None),
            _peaks(_noise(6, 1.15), 1.5),
            _peaks(_noise(7, 2.6), 1.0),
        ],
        axis=-1,
    ).astype(np.float32)


def look_up(x: np.ndarray, y: np.ndarray, kinds: tuple[str, ...]) -> list[np.ndarray]:
    """Patterns at float32 positions (px, any range), nearest neighbour: one (n,) array a kind.

    Interpolation would cost four times as much and be lost in the microscope's blur.
    """
    column = x.astype(np.int32) & (SIDE - 1)  # SIDE is a power of two, so & wraps
    row = y.astype(np.int32) & (SIDE - 1)
    values = np.take(_columns(kinds), row * SIDE + column, axis=0)
    return [np.ascontiguousarray(values[:, k]) for k in range(len(kinds))]


@cache
def _columns(kinds: tuple[str, ...]) -> np.ndarray:
    """Chosen patterns side by side, (SIDE * SIDE, len(kinds)) and contiguous."""
    chosen = [KINDS.index(kind) for kind in kinds]
    return np.ascontiguousarray(bank()[..., chosen]).reshape(SIDE * SIDE, len(kinds))


def smooth(rng: np.random.Generator, size: int, cell: int) -> np.ndarray:
    """Smooth random surface (size, size) float32, sd about 0.5, with bumps of about `cell` px.

    Random values on a coarse grid joined by quadratic B-splines: as soft as a Gaussian
    filter of that width, at a fraction of its cost.
    """
    n = size // cell + 3
    grid = rng.standard_normal((n, n), dtype=np.float32)
    position = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(cell)
    t = position - np.floor(position)
    first = position.astype(np.int32)
    weights = (0.5 * (1 - t) * (1 - t), 0.5 + t * (1 - t), 0.5 * t * t)
    rows = sum(w[:, None] * grid[first + i] for i, w in enumerate(weights))
    return sum(w[None, :] * rows[:, first + i] for i, w in enumerate(weights))  # type: ignore[return-value]


def upsample(image: np.ndarray, factor: int) -> np.ndarray:
    """Linear interpolation, (n, m) -> (factor * n, factor * m); pixel centres stay in place."""
    return _stretch(_stretch(image, factor).T, factor).T


def _stretch(image: np.ndarray, factor: int) -> np.ndarray:
    """Linear interpolation along the first axis."""
    n = len(image)
    position = (np.arange(n * factor, dtype=np.float32) + np.float32(0.5)) / np.float32(factor)
    position -= np.float32(0.5)
    whole = np.floor(position)
    t = (position - whole)[:, None]
    first = whole.astype(np.int32)
    low, high = image[np.clip(first, 0, n - 1)], image[np.clip(first + 1, 0, n - 1)]
    return low + (high - low) * t
