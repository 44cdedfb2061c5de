"""One row of an image table as pixels: merged or single channels, scaled, with a threshold."""

from typing import Any

import numpy as np

from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.tiff import Field, read_merged, read_planes


def read_field(record: dict[str, Any], channels: tuple[str, ...], low: float = 0.01) -> Field:
    """Read one row of an image table: the named channels, then DNA if it is not among them.

    DNA finds the cells, even where the network does not look at it. Single channels are
    clipped at percentiles `low` and 99.9 and scaled, as `cpssl data prepare` does; a merged
    file is taken as it is. The field always has a threshold: the file's, else the table's,
    else Otsu's.
    """
    wanted = tuple(dict.fromkeys((*channels, "DNA")))
    if record.get("FileName_Merged"):
        field = read_merged(record["FileName_Merged"], wanted)
        if field.otsu is None:
            otsu = float(record.get("Otsu_th", "nan"))  # the authors' place for that of .npy files
            if np.isnan(otsu):
                otsu = otsu_threshold(field.pixels[wanted.index("DNA")] / np.float32(65535))
            field = field._replace(otsu=otsu)
        return field
    pixels = read_planes([record[f"FileName_{name}"] for name in wanted])
    scaled = scale_intensities(pixels, low=low)
    return Field(to_uint16(scaled), otsu_threshold(scaled[wanted.index("DNA")]), wanted)


def file_of(record: Any) -> str:
    """The file that stands for a row in messages: the merged one, else that of DNA."""
    return record.get("FileName_Merged") or record.get("FileName_DNA", "")
