"""CellProfiler itself, where it is installed (`make cellprofiler`): nothing here is recorded."""

import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.profiles import cellprofiler_program as program
from cpssl_lite.profiles.cellprofiler import average_wells
from cpssl_lite.profiles.table import feature_columns, read_profiles, read_provenance
from tests.profiles.record_cellprofiler import RECORDED, draw

pytestmark = pytest.mark.slow
# Of the package's pipeline what finds cells, and the quickest measurements.
LIGHT = re.compile("LoadData|Correct|Identify|MeasureObject(Intensity|SizeShape):|Export")


@pytest.fixture(scope="module")
def there():
    """The program."""
    try:
        found = program.find_program()
        program.program_version(found)
    except InputError as error:
        pytest.skip(str(error))
    return found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The recorded fields, drawn as they were then."""
    return draw(tmp_path_factory.mktemp("drawn"))


def test_it_writes_what_was_recorded(there, drawn, tmp_path):
    run = program.start(drawn, tmp_path / "run", there)
    try:
        got = run.result()
    finally:
        run.end()
    for name in ("Cells", "Cytoplasm", "Nuclei"):
        want, mine = pd.read_csv(RECORDED / f"{name}.csv.gz"), got.objects[name]
        assert mine["ImageNumber"].tolist() == want["ImageNumber"].tolist()
        shared = program.features_in(want)
        np.testing.assert_allclose(mine[shared], want[shared], rtol=1e-3, atol=1e-5)
    assert len(got.seconds) == 4 and got.seconds["MeasureTexture"].sum() > 0
    table = average_wells(got, [2, 1, 1])
    assert len(feature_columns(table)) > 1500


def my_pipeline(path: Path) -> Path:
    """A light pipeline, which puts something before its files' names."""
    head, *modules = re.split(r"\n\n(?=\w+:\[)", program.PIPELINE.read_text().strip())
    mine = [module for module in modules if LIGHT.match(module)]
    mine = [re.sub(r"module_num:\d+", f"module_num:{i}", m) for i, m in enumerate(mine, start=1)]
    head = re.sub(r"ModuleCount:\d+", f"ModuleCount:{len(mine)}", head)
    text = "\n\n".join([head, *mine, ""])
    path.write_text(text.replace("prefix to file names?:No", "prefix to file names?:Yes"))
    return path


def raw_images(drawn: pd.DataFrame, folder: Path) -> Path:
    """The fields as five files each, a table of them, and illumination functions of 2."""
    table = drawn.filter(like="Metadata_").assign(Metadata_Perturbation="DMSO")
    for i, merged in enumerate(drawn["FileName_Merged"]):
        for name, plane in zip(CHANNELS, read_merged(merged).pixels, strict=True):
            tifffile.imwrite(folder / f"{i}_{name}.tiff", plane)
            table.loc[table.index[i], f"FileName_Orig{name}"] = f"{i}_{name}.tiff"
            for plate in set(table["Metadata_Plate"]):
                (folder / "illum" / plate).mkdir(parents=True, exist_ok=True)
                function = np.full(plane.shape, 2, np.float32)
                np.save(folder / "illum" / plate / f"{plate}_Illum{name}.npy", function)
    table.to_csv(folder / "load_data.csv", index=False)
    return folder / "load_data.csv"


def test_my_pipeline_my_illumination_and_two_kills(there, drawn, tmp_path):
    """The command, as a user types it; killed in its first batch and in its second."""
    images, pipeline = raw_images(drawn, tmp_path), my_pipeline(tmp_path / "mine.cppipe")
    words = [sys.executable, "-c", "from cpssl_lite.cli.main import main; main()", "measure"]
    words += [images, "--program", "cellprofiler", "--cellprofiler", there, "--pipeline", pipeline]
    words += ["--workers", "1"]
    whole, plain = tmp_path / "whole.parquet", tmp_path / "plain.parquet"
    lit = ["--illum", tmp_path / "illum"]
    subprocess.run([*words, "-o", plain], check=True)
    subprocess.run([*words, *lit, "-o", whole], check=True)
    one, other = read_profiles(plain), read_profiles(whole)
    counts = [table["Metadata_Count_Cells"].tolist()[:2] for table in (one, other)]
    assert counts[0] == counts[1]  # the third well shows noise
    intensity = "Nuclei_Intensity_MeanIntensity_DNA"
    np.testing.assert_allclose(other[intensity][:2], one[intensity][:2] / 2, rtol=0.01)

    out = tmp_path / "raw.parquet"
    parts = out.with_name("raw.parquet.wells")
    for kept, log in ((0, "Image # 1"), (1, "")):  # what is there when it is killed
        with subprocess.Popen([*words, *lit, "-o", out]) as process:
            wait_for(lambda n=kept, text=log: _at_work(parts, n, text), process)
            process.kill()
        assert not out.exists() and len(list(parts.glob("*.parquet"))) == kept
    subprocess.run([*words, *lit, "-o", out], check=True)
    pd.testing.assert_frame_equal(read_profiles(out), other, check_exact=True)
    assert read_provenance(out)["digest"] == read_provenance(whole)["digest"]


def _at_work(parts: Path, kept: int, text: str) -> bool:
    """Whether so many batches are there, and a run has said something."""
    logs = []
    for file in parts.glob("run-*/log.txt"):
        with suppress(FileNotFoundError):  # that run may just have ended
            logs.append(file.read_text(errors="replace"))
    return len(list(parts.glob("*.parquet"))) == kept and any(text in log for log in logs)


def wait_for(happens, process) -> None:
    """Wait until something happens, while a process runs."""
    for _ in range(3000):
        if happens():
            return
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.2)
    raise AssertionError("nothing happened")
