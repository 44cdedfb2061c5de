"""Cells found by segmentation and measured one by one, with CellProfiler's feature names.

Nuclei from the DNA stain, cells grown from them over RNA and AGP, and `cp_measure`, which is
CellProfiler's measurements as a library. It is not CellProfiler's Cell Painting pipeline: the
segmentation is simpler, and the slow or large groups of measurements are left out: granularity,
Zernike moments, Manders, Costes and rank-weighted colocalisation, neighbours, radial distribution
outside whole cells, texture at other scales than 3 pixels and direction by direction.
"""

import warnings
from functools import cache
from importlib.metadata import version
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.rows import read_field

# Where a cell lies or which way it points says nothing about it; moments depend on that, but for
# Hu's.
LEFT_OUT = (
    *("Center_", "BoundingBoxM", "Orientation", "Location_", "Inertia"),
    *("SpatialMoment", "CentralMoment", "NormalizedMoment"),
)


def measure_row(record: dict[str, Any]) -> pd.DataFrame:
    """Measure one row of an image table: a row per cell, a column per feature."""
    field = read_field(record, CHANNELS)
    channels = dict(zip(field.channels, field.pixels.astype(np.float32) / 65535, strict=True))
    return measure_cells(channels, *segment(channels))


def segment(channels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Label nuclei and the cells around them: two (H, W) int32, 0 is background.

    Nuclei: Otsu's threshold on the smoothed DNA stain, touching ones split by a watershed on
    the distance to their edge. Cells: a watershed on RNA and AGP that starts at the nuclei.
    Cell i contains nucleus i. Objects at the edge of the field are kept.

    Parameters
    ----------
    channels
        Name to (H, W) float32 with values 0..1; DNA, RNA and AGP are used.
    """
    feature, segmentation = _skimage()
    dna = ndimage.gaussian_filter(channels["DNA"], 1.5)
    mask = ndimage.binary_fill_holes(dna > otsu_threshold(dna, step=2))
    pieces, n = ndimage.label(mask)
    area = np.bincount(pieces.ravel(), minlength=n + 1)
    # The diameter of a typical nucleus sets the scale: fields of any magnification.
    typical = np.median(area[1:][area[1:] >= 30]) if (area[1:] >= 30).any() else 30.0
    mask &= (area >= 0.1 * typical)[pieces]
    radius = np.sqrt(typical / np.pi)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), radius / 6)
    peaks = feature.peak_local_max(
        depth, min_distance=max(2, int(0.6 * radius)), labels=pieces * mask, exclude_border=False
    )
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    nuclei = segmentation.watershed(-depth, seeds, mask=mask)
    body = ndimage.gaussian_filter(channels["RNA"] + channels["AGP"], 1.5)
    inside = (body > 0.7 * otsu_threshold(body, step=2)) | mask
    cells = segmentation.watershed(-body, nuclei, mask=inside)
    return nuclei.astype(np.int32), cells.astype(np.int32)


def measure_cells(
    channels: dict[str, np.ndarray], nuclei: np.ndarray, cells: np.ndarray
) -> pd.DataFrame:
    """Measure each cell, its nucleus and the rest of it: a row per cell, NaN where undefined."""
    core, pairs = _measurements()
    n = int(nuclei.max(initial=0))
    parts = {"Nuclei": nuclei, "Cells": cells, "Cytoplasm": np.where(nuclei > 0, 0, cells)}
    columns: dict[str, np.ndarray] = {}

    def add(prefix: str, suffix: str, there: np.ndarray, values: dict[str, np.ndarray]) -> None:
        for name, value in values.items():
            if not name.startswith(LEFT_OUT):
                columns.setdefault(prefix + name + suffix, np.full(n, np.nan))[there] = value

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # cells of a few pixels: NaN is the answer
        for part, labels in parts.items():
            labels, there = _dense(labels, n)
            if not len(there):
                continue
            for group in ("sizeshape", "feret"):
                add(f"{part}_AreaShape_", "", there, core[group](labels, labels > 0))
            for name, pixels in channels.items():
                add(f"{part}_", f"_{name}", there, core["intensity"](labels, pixels))
                texture = _mean_directions(core["texture"](labels, pixels))
                add(f"{part}_Texture_", f"_{name}_3_256", there, texture)
            for one, other in combinations(channels, 2):
                both = pairs["pearson"](channels[one], channels[other], labels)
                add(f"{part}_", f"_{one}_{other}", there, both)
        labels, there = _dense(cells[::2, ::2], n)  # a quarter of the time
        for name, pixels in channels.items() if len(there) else ():
            add("Cells_", f"_{name}", there, core["radial_distribution"](labels, _halved(pixels)))
    return pd.DataFrame(columns, index=range(n))


def _dense(labels: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels 1..m without gaps, as cp_measure wants them, and which of n objects they are."""
    there = np.flatnonzero(np.bincount(labels.ravel(), minlength=n + 1)[1:])
    dense = np.zeros(n + 1, np.int32)
    dense[there + 1] = np.arange(1, len(there) + 1)
    return dense[labels], there


def _halved(pixels: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels, the last row or column twice where the side is odd."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, height % 2), (0, width % 2)), mode="edge")
    return even.reshape(len(even) // 2, 2, -1, 2).mean(axis=(1, 3))


def _mean_directions(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Texture features, ``Contrast_3_00_256`` and so on, averaged over the four directions."""
    names = dict.fromkeys(name.split("_")[0] for name in values)
    return {
        name: np.mean([v for key, v in values.items() if key.split("_")[0] == name], axis=0)
        for name in names
    }


@cache
def _measurements() -> tuple[dict[str, Any], dict[str, Any]]:
    """cp_measure's functions, in their fast versions: per object and per pair of channels."""
    measure_version()
    import cp_measure
    from cp_measure import bulk

    cp_measure.set_accelerator("numba")
    core = bulk.get_core_measurements(sanitize=False)
    return core, bulk.get_correlation_measurements(sanitize=False)


def measure_version() -> str:
    """Version of cp_measure, or a line that says how to install it."""
    try:
        _skimage()
        return version("cp_measure")
    except ImportError as error:
        raise InputError(
            "cp_measure or scikit-image is not installed: pip install 'cpssl_lite[book]'"
        ) from error


def _skimage() -> Any:
    from skimage import feature, segmentation

    return feature, segmentation
