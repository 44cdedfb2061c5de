"""The adapter to CellProfiler, on what the real program wrote for drawn fields.

`recorded/` holds the tables and the log of CellProfiler 4.2.8.1 with the package's pipeline: four
drawn fields of 256 px in three wells (A01 has two; A03 shows noise), of all columns those of two
stains. A stand-in plays them back for whatever wells its load_data table names.
"""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.profiles import cellprofiler_program as program
from cpssl_lite.profiles.agreement import correlations, in_style_names, same_nuclei
from cpssl_lite.profiles.cellprofiler import average_wells, cellprofiler
from cpssl_lite.profiles.table import feature_columns, read_profiles, read_provenance

RECORDED = Path(__file__).parent / "recorded"
FIELDS = [("A01", "1"), ("A01", "2"), ("A02", "1"), ("A03", "1")]  # as recorded
STAND_IN = """#!{python}
import csv, gzip, os, pathlib, sys, time
if "--version" in sys.argv:
    sys.exit(print("Starting\\n4.2.8.1"))
given = dict(zip(sys.argv, sys.argv[1:]))
recorded, fields = pathlib.Path({recorded!r}), {fields!r}
with open(given["--data-file"]) as file:
    rows = list(csv.DictReader(file))
for row in rows:  # every image must be where the table says
    for key in row:
        if key.startswith("FileName_"):
            assert os.path.isfile(os.path.join(row["PathName_" + key[9:]], row[key])), row[key]
numbers = {{fields.index((row["Metadata_Well"], row["Metadata_Site"])) + 1: i + 1
           for i, row in enumerate(rows)}}
print("started", os.getpid(), *(row["Metadata_Well"] for row in rows), flush=True)
{then}
out = pathlib.Path(given["-o"])
out.mkdir()
for path in recorded.glob("*.csv.gz"):
    with gzip.open(path, "rt") as file:
        lines = list(csv.reader(file))
    at = lines[0].index("ImageNumber")
    with open(out / {before!r}.__add__(path.stem), "w") as file:
        writer = csv.writer(file)
        writer.writerow(lines[0])
        for line in lines[1:]:
            if int(line[at]) in numbers:
                line[at] = numbers[int(line[at])]
                writer.writerow(line)
for line in open(recorded / "log.txt"):
    number = int(line.split("Image # ")[1].split(",")[0])
    if number in numbers:
        print(line.replace("Image # %d" % number, "Image # %d" % numbers[number]), end="")
pathlib.Path(given["-d"]).write_text("Complete\\n")
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Write a program that plays the recorded run back; `then` is what it does before."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))  # the stand-in needs none

    def write(then: str = "", before: str = "") -> Path:
        path = tmp_path / "cellprofiler"
        path.write_text(
            STAND_IN.format(
                python=sys.executable, recorded=str(RECORDED), fields=FIELDS, then=then,
                before=before,
            )
        )  # fmt: skip
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


@pytest.fixture
def images(tmp_path):
    """The image table of the recorded fields; what is in the files does not matter here."""
    rows = []
    for well, site in FIELDS:
        path = tmp_path / f"{well}_{site}.tif"
        write_merged(path, np.full((5, 32, 32), 7, np.uint16), 0.5)
        rows.append((path.name, "b1", "p1", well, site, "DMSO"))
    head = ["FileName_Merged", *(f"Metadata_{n}" for n in "Batch Plate Well Site".split())]
    table = tmp_path / "images.csv"
    pd.DataFrame(rows, columns=[*head, "Metadata_Perturbation"]).to_csv(table, index=False)
    return read_image_table(table)


def recorded(name: str) -> pd.DataFrame:
    return pd.read_csv(RECORDED / f"{name}.csv.gz")


def test_a_table_like_every_other_feature_types(stand_in, images, tmp_path, caplog):
    caplog.set_level("INFO")
    out = cellprofiler(images, tmp_path / "raw.parquet", program=stand_in(), workers=2, batch=2)
    table = read_profiles(out)
    assert table["Metadata_Well"].tolist() == ["A01", "A02", "A03"]
    assert table["Metadata_Fields"].tolist() == ["2", "1", "1"]
    cells = recorded("Cells")
    number = cells["ImageNumber"]
    counts = [(number <= 2).sum(), (number == 3).sum(), (number == 4).sum()]
    assert table["Metadata_Count_Cells"].astype(int).tolist() == counts and counts[1] > 3
    want = cells[cells["ImageNumber"] <= 2]["AreaShape_Area"].mean()  # of all cells, not of fields
    assert table["Cells_AreaShape_Area"][0] == pytest.approx(want)
    assert {name.split("_")[0] for name in feature_columns(table)} == {
        "Cells",
        "Cytoplasm",
        "Nuclei",
    }
    assert not any("Location" in name or "ObjectNumber" in name for name in feature_columns(table))
    made = read_provenance(out)
    assert made["program"] == "4.2.8.1" and len(made["pipeline_sha256"]) == 64
    log = (RECORDED / "log.txt").read_text()
    texture = [float(line.split("CPU_time = ")[1].split()[0]) for line in log.splitlines()
               if "MeasureTexture" in line]  # fmt: skip
    assert made["cpu_seconds"]["MeasureTexture"] == pytest.approx(sum(texture)) and sum(texture) > 0
    assert "well A02 site 1" in caplog.text and "CPU s (" in caplog.text
    assert not out.with_name("raw.parquet.wells").exists()
    cellprofiler(images, out, program=stand_in())
    assert "up to date" in caplog.text


def test_a_well_without_cells_has_no_values():
    tables = {name: recorded(name) for name in ("Cells", "Nuclei")}
    objects = {
        name: table[table["ImageNumber"] < 4].assign(field=table["ImageNumber"] - 1)
        for name, table in tables.items()
    }
    got = average_wells(program.Measured(objects, pd.DataFrame()), [2, 1, 1])
    assert got["Metadata_Count_Cells"].iloc[2] == "0"
    assert got[feature_columns(got)].iloc[2].isna().all()
    assert got["Nuclei_AreaShape_Area"].notna().tolist() == [True, True, False]


def test_median_names_and_illumination(stand_in, images, tmp_path):
    """Files may have something before their names; raw images take illumination functions."""
    raw = images.drop(columns="FileName_Merged")
    for name in CHANNELS:
        raw[f"FileName_{name}"] = [
            str(tmp_path / f"{w}_{s}_{name}.tif") for w, s in FIELDS
        ]  # fmt: skip
        for file in raw[f"FileName_{name}"]:
            Path(file).write_bytes(b"")
        (tmp_path / "illum" / "p1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "illum" / "p1" / f"p1_Illum{name}.npy").write_bytes(b"")
    there = stand_in("assert all('p1_Illum' in row['FileName_IllumDNA'] for row in rows)", "My_")
    how = {"program": there, "average": "median", "illum": tmp_path / "illum"}
    table = read_profiles(cellprofiler(raw, tmp_path / "raw.parquet", **how))
    cells = recorded("Cells")
    want = cells[cells["ImageNumber"] == 3]["AreaShape_Area"].median()
    assert table["Cells_AreaShape_Area"][1] == pytest.approx(want)
    with pytest.raises(InputError, match="this table has merged ones"):
        cellprofiler(images, tmp_path / "no.parquet", **how)
    (tmp_path / "illum" / "p1" / "p1_IllumER.npy").unlink()
    with pytest.raises(InputError, match=r"p1_IllumER\.npy"):
        cellprofiler(raw, tmp_path / "no.parquet", **how)


def test_killed_and_resumed_is_the_same_table(stand_in, images, tmp_path):
    whole = cellprofiler(images, tmp_path / "whole.parquet", program=stand_in())
    # One batch a well; A02 does not end by itself.
    there = stand_in("time.sleep(60 * (rows[0]['Metadata_Well'] == 'A02'))")
    images.to_parquet(tmp_path / "images.parquet")
    code = (
        "import sys; from cpssl_lite.profiles.cellprofiler import cellprofiler;"
        "from cpssl_lite.images.table import read_image_table as read;"
        "cellprofiler(read(sys.argv[1]), sys.argv[2], program=sys.argv[3], workers=1, batch=1)"
    )
    out = tmp_path / "raw.parquet"
    words = [sys.executable, "-c", code, tmp_path / "images.parquet", out, there]
    parts = out.with_name("raw.parquet.wells")
    with subprocess.Popen(words) as process:
        child = _pid(parts, "A02")
        process.kill()
    assert [len(read_provenance(file)["wells"]) for file in parts.glob("*.parquet")] == [1]
    for _ in range(100):  # the program ends with who started it
        if not _runs(child):
            break
        time.sleep(0.1)
    assert not _runs(child)
    again = stand_in("assert rows[0]['Metadata_Well'] != 'A01', 'is there already'")
    cellprofiler(read_image_table(tmp_path / "images.parquet"), out, program=again)
    pd.testing.assert_frame_equal(read_profiles(out), read_profiles(whole))
    assert read_provenance(out)["cpu_seconds"] == read_provenance(whole)["cpu_seconds"]


def _pid(parts: Path, well: str) -> int:
    """Number of the process that has begun with a well."""
    for _ in range(600):
        for log in parts.glob("run-*/log.txt"):
            said = log.read_text().split()
            if said[:1] == ["started"] and well in said:
                return int(said[1])
        time.sleep(0.1)
    raise AssertionError("did not begin")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.is_file() or state.read_text().rsplit(")")[1].split()[0] != "Z"


def test_what_is_wrong_is_said_in_one_line(stand_in, images, tmp_path, monkeypatch):
    out = tmp_path / "raw.parquet"
    starts = "print('ModuleNotFoundError: No module named \\'MySQLdb\\'', flush=True)"
    fails = stand_in(f"{starts}; os._exit(137)")
    with pytest.raises(StepFailed, match=r"failed \(exit 137\): started"):
        cellprofiler(images, tmp_path / "other.parquet", program=fails)
    fails = stand_in(f"{starts}; raise ValueError('The OrigBrightfield image is missing')")
    with pytest.raises(
        StepFailed, match=r"failed \(exit 1\): ValueError: The OrigBrightfield"
    ) as e:
        cellprofiler(images, out, program=fails)
    assert Path(str(e.value).split("see ")[1]).is_file() and not out.exists()
    for text, line in (
        ("no pipeline", "not a CellProfiler pipeline"),
        ("CellProfiler Pipeline: x\nLoadData:[]\n", "has no module ExportToSpreadsheet"),
    ):
        mine = tmp_path / "mine.cppipe"
        mine.write_text(text)
        with pytest.raises(InputError, match=line):
            cellprofiler(images, out, program=fails, pipeline=mine)
    with pytest.raises(InputError, match="average 'max' is not one of mean, median"):
        cellprofiler(images, out, program=fails, average="max")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(program, "OWN", Path("nowhere"))
    with pytest.raises(InputError, match=r"`make cellprofiler` makes it .* Python 3.8 or 3.9"):
        cellprofiler(images, out)
    monkeypatch.delenv("JAVA_HOME")
    with pytest.raises(InputError, match="Java is not there"):
        cellprofiler(images, out, program=fails)


def test_the_command_refuses_what_the_style_has_not(cpssl, images, tmp_path):
    words = "measure", tmp_path / "images.csv", "-o", tmp_path / "raw.parquet"
    code, _, said = cpssl(*words, "--average", "median")
    assert code == 2 and "--average is for --program cellprofiler" in said
    code, _, said = cpssl(*words, "--program", "cellprofiler", "--cellprofiler", "nowhere")
    assert code == 2 and "--cellprofiler nowhere: no such program" in said


def test_the_same_numbers_under_the_styles_names():
    nuclei = recorded("Nuclei")
    named = in_style_names(nuclei)
    directions = [f"Texture_Contrast_DNA_3_0{i}_256" for i in range(4)]
    np.testing.assert_allclose(named["Texture_Contrast_DNA_3_256"], nuclei[directions].mean(axis=1))
    pd.testing.assert_series_equal(
        named["Correlation_Pearson_ER_DNA"],
        nuclei["Correlation_Correlation_DNA_ER"],
        check_names=False,
    )
    assert "RadialDistribution_MeanFrac_2of4_ER" in named


def test_the_same_nucleus_has_its_centre_there():
    labels = np.zeros((8, 8), int)
    labels[:4, :4], labels[4:, 4:] = 1, 2
    centres = [(1, 1), (6, 6), (5, 7), (0, 7)]  # two in the second; one in none
    nuclei = pd.DataFrame(centres, columns=["Location_Center_Y", "Location_Center_X"])
    assert same_nuclei(nuclei, labels).tolist() == [1, 0, 0, 0]


def test_correlations_by_cell_and_by_field():
    rng = np.random.default_rng(0)
    one = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40), "c": 0.0})
    other = pd.DataFrame({"a": 2 * one["a"] + 1, "b": -one["b"], "c": one["a"], "d": 1.0})
    got = correlations(one, other, np.repeat(np.arange(5), 8))
    assert list(got.index) == ["a", "b", "c"]
    np.testing.assert_allclose(got.loc["a"], 1)
    np.testing.assert_allclose(got.loc["b"], -1)
    assert got.loc["c"].isna().all()
    assert correlations(one, other, np.zeros(40))["fields"].isna().all()
