"""Record what CellProfiler writes for four drawn fields.

    python -m tests.profiles.record_cellprofiler

The tables keep the columns that name no stain but DNA and ER; numbers are rounded to six digits.
"""

import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged, write_merged
from cpssl_lite.profiles.cellprofiler_program import find_program, start

RECORDED = Path(__file__).parent / "recorded"
LEFT_OUT = re.compile("AGP|Mito|RNA|_(5|10)_0[0-3]_256|Granularity_([3-9]|1[0-6])_|Zernike|Moment")


def draw(folder: Path) -> pd.DataFrame:
    """Four fields in three wells; that of the last one shows noise."""
    images = read_image_table(simulate("tiny", folder, workers=1))
    images = images.head(4).copy()
    images["Metadata_Well"] = ["A01", "A01", "A02", "A03"]
    images["Metadata_Site"] = ["1", "2", "1", "1"]
    noise = folder / "noise.tif"
    pixels = read_merged(images["FileName_Merged"].iloc[0]).pixels
    dark = np.random.default_rng(0).normal(700, 20, pixels.shape).astype(np.uint16)
    write_merged(noise, dark, 0.5)
    images.loc[images.index[3], "FileName_Merged"] = str(noise)
    return images.reset_index(drop=True)


def main() -> None:
    """Run it and keep the little that the tests need."""
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        run = start(draw(Path(scratch) / "drawn"), folder, find_program())
        run.result()
        for file in sorted((folder / "out").glob("*.csv")):
            table = pd.read_csv(file)
            keep = [name for name in table if not LEFT_OUT.search(name)]
            if file.stem == "Image":
                keep = [name for name in keep if re.match("Count_|Metadata_|ImageNumber", name)]
            target = RECORDED / f"{file.name}.gz"
            how = {"method": "gzip", "mtime": 0}
            table[keep].to_csv(target, index=False, float_format="%.6g", compression=how)
        log = (folder / "log.txt").read_text().splitlines(keepends=True)
        (RECORDED / "log.txt").write_text("".join(line for line in log if "CPU_time" in line))


if __name__ == "__main__":
    main()
