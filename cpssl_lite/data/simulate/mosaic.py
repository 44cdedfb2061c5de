"""Fields as large as real ones, put together from simulated ones: for measuring time."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged, write_merged

FEW: dict[str, Any] = {  # 24 small fields
    **{"n_sources": 1, "n_batches": 1, "n_plates": 1},
    **{"rows": 2, "columns": 6, "control_columns": (1, 5)},
}
CROP = 224  # px, side of the crops that are left empty
PER_WELL = 4  # fields


def mosaics(folder: str | Path, number: int, size: int = 1080, empty: float = 0.0) -> pd.DataFrame:
    """Write so many large fields and return their image table, of one plate.

    Parameters
    ----------
    folder
        Where the fields go, and the small simulated screen that they are made of.
    number, size
        How many fields, and their side in pixels.
    empty
        Share of the crops on the grid that is dark, as places without cells are.
    """
    folder = Path(folder)
    table = read_image_table(simulate("lite-train", folder / "small", **FEW))
    small = [read_merged(path) for path in table["FileName_Merged"]]
    rng = np.random.default_rng(0)
    side = -(-size // 256)
    inside = range(0, size - CROP + 1, CROP)
    rows = []
    for i in range(number):
        tiles = [small[j] for j in rng.choice(len(small), side * side)]
        lines = [tiles[r * side : (r + 1) * side] for r in range(side)]
        pixels = np.block([[tile.pixels for tile in line] for line in lines])[:, :size, :size]
        pixels = pixels.copy()
        dark = np.percentile(pixels, 5, axis=(1, 2)).astype(np.uint16)[:, None, None]
        places = [(r, c) for r in inside for c in inside]
        for r, c in rng.permutation(places)[: round(empty * len(places))]:
            pixels[:, r : r + CROP, c : c + CROP] = dark
        path = folder / f"field_{i:04d}.tiff"
        row, column = divmod(i // PER_WELL, 24)
        write_merged(path, pixels, float(np.median([tile.otsu for tile in tiles])))
        rows.append(
            {
                "Metadata_Source": "mosaic",
                "Metadata_Batch": "1",
                "Metadata_Plate": "1",
                "Metadata_Well": f"{'ABCDEFGHIJKLMNOP'[row % 16]}{column + 1:02d}",
                "Metadata_Site": str(i % PER_WELL + 1),
                "Metadata_Perturbation": "DMSO",
                "Metadata_Origin": "simulated",
                "FileName_Merged": str(path),
            }
        )
    return pd.DataFrame(rows)
