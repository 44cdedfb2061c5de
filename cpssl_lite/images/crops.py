"""Crops on a grid, and how much of each is nucleus."""

import numpy as np
from numpy.typing import NDArray

from cpssl_lite.base.errors import InputError

FACTOR = 0.7  # of the Otsu threshold: foreground (the released code; the paper's text has 1.0)
SHARE = 0.01  # of a crop that must be foreground (paper: Methods, image preprocessing)


def grid(height: int, width: int, size: int, stride: int | None = None) -> NDArray[np.intp]:
    """Top-left corners of square crops laid from the top left, row by row.

    Any field works, square or not. What is left over at the right and the bottom edge is not
    covered, as in the released code (a 1080 px field gives 4 x 4 crops of 224).

    Parameters
    ----------
    size, stride
        Side of a crop and distance between neighbours, in pixels; `stride` defaults to `size`.

    Returns
    -------
    (n, 2) integers, row and column of each corner.

    Raises
    ------
    InputError
        The field is smaller than one crop, or size or stride are not positive.

    Examples
    --------
    >>> grid(300, 500, 224).tolist()
    [[0, 0], [0, 224]]
    """
    stride = size if stride is None else stride
    if size < 1 or stride < 1:
        raise InputError(f"crop size and stride must be positive, got {size} and {stride}")
    if height < size or width < size:
        raise InputError(f"a field of {height} x {width} px is smaller than a crop of {size} px")
    rows = np.arange(0, height - size + 1, stride)
    columns = np.arange(0, width - size + 1, stride)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def cut(pixels: NDArray, corners: NDArray[np.intp], size: int) -> NDArray:
    """Copy crops out of a field: (C, H, W) and (n, 2) corners give (n, C, size, size)."""
    crops = np.empty((len(corners), len(pixels), size, size), pixels.dtype)
    for crop, (row, column) in zip(crops, corners, strict=True):
        crop[:] = pixels[:, row : row + size, column : column + size]
    return crops


def foreground_share(
    dna: NDArray,
    threshold: float,
    corners: NDArray[np.intp],
    size: int,
    factor: float = FACTOR,
) -> NDArray[np.float64]:
    """Share of each crop that is brighter than `factor` times the Otsu threshold.

    Parameters
    ----------
    dna
        (H, W) DNA channel; uint16 counts as 65535 = 1.
    threshold
        Otsu threshold on the 0..1 scale.

    Returns
    -------
    (n,) shares in 0..1, one per corner. Pixels equal to the threshold do not count.
    """
    level = np.float32(factor * threshold)
    if dna.dtype == np.uint16:
        nucleus = dna.astype(np.float32) / np.float32(65535) > level
    else:
        nucleus = dna.astype(np.float32) > level
    # Counting inside slices is faster than an integral image until crops overlap many times over.
    counts = [np.count_nonzero(nucleus[r : r + size, c : c + size]) for r, c in corners]
    return np.asarray(counts, np.float64) / size**2


def select(share: NDArray[np.float64], minimum: float = SHARE) -> NDArray[np.intp]:
    """Positions of the crops that count as holding cells: a share of at least `minimum`.

    If none does, the crop at position n // 2 counts anyway (the released code's rule: every field
    contributes something; in a 4 x 4 grid that is the first crop of the third row).

    Examples
    --------
    >>> select(np.array([0.5, 0.0, 0.01])).tolist(), select(np.zeros(4)).tolist()
    ([0, 2], [2])
    """
    passed = np.flatnonzero(share >= minimum)
    return passed if len(passed) else np.array([len(share) // 2])
