"""What the image networks look at: whole fields made smaller, or crops of single cells."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch.nn.functional import interpolate

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.tiff import Field


def read_views(images: pd.DataFrame, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Whole fields, averaged down to `size` pixels.

    Returns
    -------
    pixels : (n, 5, size, size) uint8
    rows : (n,)
        Position in `images` of each.
    """
    fields = _each(images, lambda field: resize(field.pixels[:5], size))
    return np.stack(fields), np.arange(len(images))


def read_cells(
    images: pd.DataFrame, size: int = 32, width: int = 64, at_most: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Crops of `width` px around nuclei, averaged down to `size`; at most so many per field.

    Returns
    -------
    pixels : (n, 5, size, size) uint8
    rows : (n,)
        Position in `images` of each; a field without a nucleus inside has none.
    """

    def crops(field: Field) -> np.ndarray:
        corners = find_nuclei(field, width)[:at_most] - width // 2
        cut = [field.pixels[:5, y : y + width, x : x + width] for y, x in corners]
        return np.stack([resize(c, size) for c in cut]) if cut else np.empty((0, 5, size, size))

    fields = _each(images, crops)
    rows = np.repeat(np.arange(len(fields)), [len(f) for f in fields])
    if not len(rows):
        raise InputError(f"no nucleus at least {width // 2} px from the edge of a field was found")
    return np.concatenate(fields).astype(np.uint8), rows


def find_nuclei(field: Field, width: int) -> np.ndarray:
    """Centres (n, 2) of nuclei that have room for a crop of `width` px, largest first.

    A nucleus is a connected piece of at least 30 pixels above Otsu's threshold of the
    smoothed DNA channel; touching nuclei stay one piece.
    """
    assert field.otsu is not None
    dna = field.pixels[field.channels.index("DNA")] / np.float32(65535)
    pieces, n = ndimage.label(ndimage.gaussian_filter(dna, 1.0) > field.otsu)
    if not n:
        return np.empty((0, 2), int)
    area = np.bincount(pieces.ravel())[1:]
    centre = np.array(ndimage.center_of_mass(pieces > 0, pieces, range(1, n + 1))).round()
    half, shape = width // 2, np.array(dna.shape)
    inside = ((centre >= half) & (centre <= shape - half)).all(axis=1) & (area >= 30)
    order = np.argsort(-area[inside], kind="stable")
    return centre[inside][order].astype(int)


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """(C, H, W) uint16 -> (C, size, size) uint8, each pixel the mean of its area."""
    x = torch.from_numpy(pixels.astype(np.float32))[None]
    small = interpolate(x, size=(size, size), mode="area")[0]
    return (small / 257).round().to(torch.uint8).numpy()


def _each(images: pd.DataFrame, make: Callable[[Field], np.ndarray]) -> list[np.ndarray]:
    """`make` of every field, in the order of the table."""
    records: list[dict[Any, Any]] = images.to_dict("records")
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda record: make(read_field(record, CHANNELS)), records))
