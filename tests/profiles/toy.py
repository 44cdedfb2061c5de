"""A network of ten numbers and a screen of twelve fields, for tests of extraction."""

import numpy as np
import pandas as pd
import torch

from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.tiff import write_merged

SIZE = 32


class Moments(torch.nn.Module):
    """Stands in for a network: mean and mean square of each channel of a crop."""

    channels = CHANNELS
    crop_size = SIZE
    n_features = 10
    per_channel = False

    def __init__(self, name: str = "moments"):
        super().__init__()
        self.card = {"method": name, "sha256": name}
        self.calls = 0

    def forward(self, crops):
        self.calls += len(crops)
        crops = crops / 65535 if crops.dtype == torch.uint16 else crops
        return torch.cat([crops.mean((2, 3)), crops.square().mean((2, 3))], dim=1)


def write_screen(folder, plates=("P1", "P2")):
    """Plates of three wells with two fields of 2 x 3 crops; some crops hold no cell."""
    generator = np.random.default_rng(0)
    rows = []
    for plate in plates:
        for well in ("A01", "A02", "B01"):
            for site in ("1", "2"):
                pixels = generator.integers(0, 2000, (5, 70, 100), dtype=np.uint16)
                pixels[4] = 0
                for row, column in generator.integers(0, (2, 3), (3, 2)):
                    pixels[
                        4, row * SIZE + 5 : row * SIZE + 20, column * SIZE : column * SIZE + 9
                    ] = 40000 + generator.integers(0, 9000)
                file = f"{plate}_{well}_{site}.tif"
                write_merged(folder / file, pixels, 0.5)
                rows.append(
                    {
                        "Metadata_Source": "s1",
                        "Metadata_Batch": "b1",
                        "Metadata_Plate": plate,
                        "Metadata_Well": well,
                        "Metadata_Site": site,
                        "Metadata_Perturbation": "DMSO" if well == "A01" else f"cpd{well}",
                        "FileName_Merged": file,
                    }
                )
    table = folder / "images.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table
