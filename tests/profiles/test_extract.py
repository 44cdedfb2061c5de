"""Extraction against a plain loop, and what happens when something is wrong."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from cpssl_lite.errors import InputError
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import feature_columns, read_profiles, read_provenance

SIZE = 32


class Moments(torch.nn.Module):
    """Stands in for a network: mean and mean square of each channel of a crop."""

    channels = CHANNELS
    crop_size = SIZE
    n_features = 10

    def __init__(self, name: str = "moments"):
        super().__init__()
        self.card = {"method": name, "sha256": name}
        self.calls = 0

    def forward(self, crops):
        self.calls += len(crops)
        return torch.cat([crops.mean((2, 3)), crops.square().mean((2, 3))], dim=1)


@pytest.fixture
def screen(tmp_path):
    """Two plates of three wells with two fields of 2 x 3 crops; some crops hold no cell."""
    generator = np.random.default_rng(0)
    rows = []
    for plate in ("P1", "P2"):
        for well in ("A01", "A02", "B01"):
            for site in ("1", "2"):
                pixels = generator.integers(0, 2000, (5, 70, 100), dtype=np.uint16)
                pixels[4] = 0
                for row, column in generator.integers(0, (2, 3), (3, 2)):
                    pixels[
                        4, row * SIZE + 5 : row * SIZE + 20, column * SIZE : column * SIZE + 9
                    ] = 40000 + generator.integers(0, 9000)
                file = f"{plate}_{well}_{site}.tif"
                write_merged(tmp_path / file, pixels, 0.5)
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
    table = tmp_path / "images.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def plain_loop(images):
    """One field at a time, every crop through the network, empty ones left out afterwards."""
    network, fields = Moments(), {}
    for _, row in images.iterrows():
        pixels = tifffile.imread(row["FileName_Merged"]).astype(np.float32) / 65535
        corners = grid(*pixels.shape[1:], SIZE)
        features = network(torch.from_numpy(cut(pixels, corners, SIZE))).numpy()
        kept = select(foreground_share(pixels[4], 0.5, corners, SIZE))
        fields.setdefault((row["Metadata_Plate"], row["Metadata_Well"]), []).append(features[kept])
    return fields


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_equals_the_plain_loop(screen, tmp_path, batch_size):
    images = read_image_table(screen)
    expected = plain_loop(images)
    assert len({len(f) for wells in expected.values() for f in wells}) > 1, "fields must differ"

    pooled = read_profiles(
        extract(images, Moments(), tmp_path / "pooled.parquet", batch_size=batch_size)
    )
    of_fields = read_profiles(
        extract(images, Moments(), tmp_path / "fields.parquet", convention="paper")
    )
    for table, average in [
        (pooled, lambda wells: np.concatenate(wells).mean(axis=0)),
        (of_fields, lambda wells: np.mean([field.mean(axis=0) for field in wells], axis=0)),
    ]:
        assert len(table) == 6
        for _, row in table.iterrows():
            wells = expected[row["Metadata_Plate"], row["Metadata_Well"]]
            np.testing.assert_allclose(
                row[feature_columns(table)].to_numpy(float), average(wells), rtol=1e-5
            )
            assert row["Metadata_Crops"] == str(sum(map(len, wells)))
            assert row["Metadata_Fields"] == "2"


def test_crops_without_cells_never_reach_the_network(screen, tmp_path):
    images = read_image_table(screen)
    network = Moments()
    extract(images, network, tmp_path / "out.parquet")
    kept = sum(len(field) for wells in plain_loop(images).values() for field in wells)
    assert network.calls == kept < len(images) * 6


def test_resumes_with_the_first_missing_plate(screen, tmp_path, monkeypatch):
    images = read_image_table(screen)
    out = tmp_path / "out" / "out.parquet"
    broken = images.copy()
    last = broken.index[broken["Metadata_Plate"] == "P2"][-1]
    whole_file = tmp_path / images.loc[last, "FileName_Merged"]
    content = whole_file.read_bytes()
    whole_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=whole_file.name):
        extract(images, Moments(), out)
    assert not out.exists()
    assert len(list(out.parent.rglob("*.parquet"))) == 1, "the finished plate waits"

    whole_file.write_bytes(content)
    network = Moments()
    extract(images, network, out)
    reference = extract(images, Moments(), tmp_path / "reference.parquet")
    pd.testing.assert_frame_equal(read_profiles(out), read_profiles(reference))
    only_p2 = images[images["Metadata_Plate"] == "P2"]
    kept = sum(len(field) for wells in plain_loop(only_p2).values() for field in wells)
    assert network.calls == kept, "the first plate was not computed again"
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.parquet"]

    again = Moments()
    extract(images, again, out)
    assert again.calls == 0, "a finished table is not computed again"
    monkeypatch.setattr("cpssl_lite.profiles.extract._code", lambda: "a later version")
    later = Moments()
    extract(images, later, out)
    assert later.calls > 0, "features of older code are not kept"
    other = Moments("another checkpoint")
    extract(images, other, out)
    assert other.calls > 0, "another network's features are not taken for this one's"
    assert read_provenance(out)["checkpoint"]["method"] == "another checkpoint"


def planes(folder, dna=(70, 100)):
    """A table of one field in five files."""
    row = {"plate": "1", "well": "A1"}
    for name in CHANNELS:
        row[f"FileName_{name}"] = f"{name}.tif"
        shape = dna if name == "DNA" else (70, 100)
        pixels = np.random.default_rng(0).integers(0, 9999, shape, dtype=np.uint16)
        tifffile.imwrite(folder / f"{name}.tif", pixels)
    pd.DataFrame([row]).to_csv(folder / "planes.csv", index=False)
    return read_image_table(folder / "planes.csv")


def test_single_channels(tmp_path):
    out = tmp_path / "out.parquet"
    extract(planes(tmp_path), Moments(), out)
    planes(tmp_path, dna=(60, 100))
    with pytest.raises(InputError, match=r"DNA\.tif is \(60, 100\)"):  # the change is noticed
        extract(read_image_table(tmp_path / "planes.csv"), Moments(), out)


def test_the_tables_threshold_counts_where_the_file_has_none(tmp_path):
    pixels = np.zeros((5, 64, 64), np.uint16)
    pixels[4, :32, :32], pixels[4, 32:, 32:] = 30000, 60000
    np.save(tmp_path / "a.npy", pixels)
    table = tmp_path / "t.csv"
    for otsu, crops in (("0.5", "2"), ("0.9", "1")):  # 30000 / 65535 is 0.46
        table.write_text(f"plate,well,FileName_Merged,Otsu_th\n1,A1,a.npy,{otsu}\n")
        got = read_profiles(extract(read_image_table(table), Moments(), tmp_path / "o.parquet"))
        assert got["Metadata_Crops"].tolist() == [crops]


def test_bad_input_is_one_clear_line(screen, tmp_path):
    images = read_image_table(screen)
    out = tmp_path / "out.parquet"

    missing = images.assign(FileName_Merged=[*images["FileName_Merged"][:-1], "/nowhere/x.tif"])
    with pytest.raises(InputError, match=r"/nowhere/x.tif: no such image \(1 of 12"):
        extract(missing, Moments(), out)

    two = images.assign(Metadata_Perturbation=[str(i) for i in range(len(images))])
    with pytest.raises(InputError, match="2 different perturbations"):
        extract(two, Moments(), out)

    class NotANumber(Moments):
        def forward(self, crops):
            return super().forward(crops) * float("nan")

    with pytest.raises(InputError, match=r"NaN.*plate s1_b1_P1 well A01"):
        extract(images, NotANumber(), out)

    write_merged(images["FileName_Merged"].iloc[1], np.zeros((5, 80, 100), np.uint16), 0.5)
    with pytest.raises(InputError, match=r"80 x 100 px, but the first field .* 70 x 100"):
        extract(images, Moments(), out)

    write_merged(images["FileName_Merged"].iloc[1], np.zeros((5, 70, 100), np.uint16), 0.5)
    for file in images["FileName_Merged"][images["Metadata_Plate"] == "P2"]:
        write_merged(file, np.zeros((5, 80, 100), np.uint16), 0.5)
    for _ in range(2):  # the second run finds the first plate done, and still refuses
        with pytest.raises(InputError, match=r"80 x 100 px, but the first field .* 70 x 100"):
            extract(images, Moments(), out)

    with pytest.raises(InputError, match=r"_1\.tif: \d+ x 100 px is smaller .* crops of 128 px"):
        wide = Moments()
        wide.crop_size = 128
        extract(images, wide, out)
    for device in ("nonsense", "cuda:77"):
        with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
            extract(images, Moments(), out, device=device)
    with pytest.raises(InputError, match="batch_size must be 1 or more, got 0"):
        extract(images, Moments(), out, batch_size=0)
    unused = Moments()
    with pytest.raises(InputError, match=r"out\.csv: profile tables are written as \.parquet"):
        extract(images, unused, tmp_path / "out.csv")
    assert unused.calls == 0, "found out before the work, not after it"

    blocked = tmp_path / "a_file"
    blocked.touch()
    with pytest.raises(InputError, match="cannot be written"):
        extract(images, Moments(), blocked / "out.parquet")
    with pytest.raises(InputError, match="convention 'theirs'"):
        extract(images, Moments(), out, convention="theirs")
    assert not out.exists()


RUN = """
import sys, torch
sys.path.insert(0, sys.argv[4])
from test_extract import Moments
from cpssl_lite.images.table import read_image_table
from cpssl_lite.profiles import extract as module
if len(sys.argv) > 5:  # slow enough to be killed
    import time
    cut = module.embed_fields
    module.embed_fields = lambda *a, **k: (time.sleep(0.3), cut(*a, **k))[1]
module.extract(read_image_table(sys.argv[1]), Moments(), sys.argv[2], device="cpu",
               devices=int(sys.argv[3]))
"""


def start(table, out, devices, *slow):
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", RUN, str(table), str(out), str(devices), here, *slow]
    if devices > 1:  # Lightning starts the script again, so it must be one
        script = Path(out).with_suffix(".py")
        script.write_text(RUN)
        command = [sys.executable, str(script), *command[3:]]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_two_processes_make_the_table_of_one(screen, tmp_path):
    extract(read_image_table(screen), Moments(), tmp_path / "one.parquet")
    process = start(screen, tmp_path / "two.parquet", 2)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said[-2000:]
    one, two = (read_profiles(tmp_path / f"{n}.parquet") for n in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
    assert not (tmp_path / "two.parquet.plates").exists()


@pytest.mark.slow
def test_killed_runs_leave_whole_files_and_go_on(screen, tmp_path):
    extract(read_image_table(screen), Moments(), tmp_path / "one.parquet")
    out = tmp_path / "killed.parquet"
    moments = np.random.default_rng().uniform(0.2, 0.9, 3)  # of the time a run takes from here
    began = time.monotonic()
    for share in moments:
        process = start(screen, out, 1, "slow")
        parts = out.with_name(out.name + ".plates")
        while process.poll() is None and not parts.exists() and time.monotonic() - began < 60:
            time.sleep(0.01)
        time.sleep(0.6 * share)
        process.kill()
        process.communicate()
        for left in [*parts.glob("*.parquet"), *([out] if out.exists() else [])]:
            pd.read_parquet(left)
    process = start(screen, out, 1)
    assert process.wait(100) == 0, process.stderr.read()
    pd.testing.assert_frame_equal(read_profiles(tmp_path / "one.parquet"), read_profiles(out))


def test_fifty_times_the_fields_need_no_more_memory(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60000, (5, 512, 512), dtype=np.uint16)
    write_merged(tmp_path / "field.tif", pixels, 0.1)  # 2.6 MB: 200 kept ones would show
    row = {"Metadata_Plate": "P", "Metadata_Well": "A01"}
    rows = pd.DataFrame([{**row, "FileName_Merged": str(tmp_path / "field.tif")}])
    script = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import pandas as pd
from test_extract import Moments
from cpssl_lite.profiles.embed import embed_fields
rows = pd.read_json(sys.argv[1])
for times in (16, 800):
    embed_fields(pd.concat([rows] * times), Moments(), (512, 512), batch_size=64)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    rows.to_json(tmp_path / "rows.json")
    command = [sys.executable, "-c", script, tmp_path / "rows.json", Path(__file__).parent]
    few, many = map(int, subprocess.check_output(command, text=True, timeout=200).split())
    assert many < 1.1 * few


def test_two_runs_of_one_table_do_not_disturb_each_other(screen, tmp_path):
    images, out = read_image_table(screen), tmp_path / "out.parquet"
    networks = [Moments(), Moments()]
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(extract, images, network, out) for network in networks]:
            done.result()
    assert sorted(network.calls > 0 for network in networks) == [False, True]
