"""Merged fields as Zarr arrays: a folder per field, for object stores and partial reads."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS


def read_zarr(path: str | Path) -> tuple[NDArray, dict[str, Any]]:
    """Pixels (C, H, W) and notes (``otsuth``, ``channels``) of one field.

    Raises
    ------
    InputError
        There is no such folder, it holds no array or a damaged one, or zarr is not installed.
    """
    zarr = _zarr()
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    try:
        array = zarr.open_array(str(path), mode="r")
        # A chunk that is not there reads as zeros, which would pass for a dark image.
        if array.nchunks_initialized < array.nchunks:
            raise InputError(f"{path}: damaged, pixel blocks are missing")
        return np.asarray(array[:]), dict(array.attrs)
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable Zarr array ({reason})") from error


def write_zarr(
    path: str | Path,
    pixels: NDArray[np.uint16],
    otsu: float,
    channels: Sequence[str] = CHANNELS,
) -> None:
    """Write a field (C, H, W) as one Zarr array (zstd), a chunk per channel."""
    zarr = _zarr()
    array = zarr.create_array(
        store=str(path),
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=(1, *pixels.shape[1:]),
        compressors=zarr.codecs.ZstdCodec(level=1),
        fill_value=0,
        config={"write_empty_chunks": True},  # so that a missing chunk is damage, not darkness
        attributes={"otsuth": str(float(otsu)), "channels": list(channels)},
        overwrite=True,
    )
    array[:] = pixels


def _zarr() -> ModuleType:
    try:
        import zarr
        import zarr.codecs
    except ImportError as error:
        raise InputError("Zarr images need the zarr package: pip install zarr") from error
    return zarr
