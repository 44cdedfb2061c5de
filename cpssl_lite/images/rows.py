"""One row of an image table as pixels: merged or single channels, scaled, with a threshold."""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpssl_lite.base.words import counted
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.tiff import Field, read_merged, read_planes
from cpssl_lite.images.zarrs import is_zarr

log = logging.getLogger(__name__)


def read_field(record: dict[str, Any], channels: tuple[str, ...], low: float = 0.01) -> Field:
    """Read one row of an image table: the named channels, then DNA if it is not among them.

    DNA finds the cells, even where the network does not look at it. Single channels are
    clipped at percentiles `low` and 99.9 and scaled, as `cpssl data prepare` does, and so are
    Zarr stores without a threshold; a merged file is taken as it is. The field always has a
    threshold: the file's, else the table's, else Otsu's.
    """
    wanted = tuple(dict.fromkeys((*channels, "DNA")))
    if file := record.get("FileName_Merged"):
        field = read_merged(file, wanted, stored=stored_channels(record), raw=True)
        if is_zarr(file) and field.otsu is None:
            return _scaled(field.pixels, wanted, low)
        if field.otsu is None:
            otsu = float(record.get("Otsu_th", "nan"))  # the authors' place for that of .npy files
            if np.isnan(otsu):
                otsu = otsu_threshold(field.pixels[wanted.index("DNA")] / np.float32(65535))
            field = field._replace(otsu=otsu)
        return field
    return _scaled(read_planes([record[f"FileName_{name}"] for name in wanted]), wanted, low)


def _scaled(pixels: NDArray, wanted: tuple[str, ...], low: float) -> Field:
    scaled = scale_intensities(pixels, low=low)
    return Field(to_uint16(scaled), otsu_threshold(scaled[wanted.index("DNA")]), wanted)


def file_of(record: Any) -> str:
    """The file that stands for a row in messages: the merged one, else that of DNA."""
    return record.get("FileName_Merged") or record.get("FileName_DNA", "")


def stored_channels(record: Any) -> list[str] | None:
    """What ``--channels`` said of a row's file, if anything."""
    said = record.get("Channels")
    return said.split(",") if said else None


def say_order(headers: Iterable[dict[str, Any]], records: Iterable[Any]) -> None:
    """One line if merged files do not name their channels and nobody else did.

    `headers` are the notes of `read_header`, `records` the rows that they belong to.
    """
    silent = [
        record["FileName_Merged"]
        for notes, record in zip(headers, records, strict=True)
        if record.get("FileName_Merged")
        and not is_zarr(record["FileName_Merged"])  # refused without names
        and not notes.get("channels")
        and not record.get("Channels")
    ]
    if silent:
        log.warning(
            "%s: does not name its channels (%s); read as %s; --channels says otherwise",
            *(silent[0], counted(len(silent), "such file"), ", ".join(CHANNELS)),
        )
