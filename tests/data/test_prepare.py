import json
import logging
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import tifffile

import cpssl_lite.data.prepare as module
from cpssl_lite.base.errors import InputError
from cpssl_lite.data.prepare import prepare
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged, read_plane, write_merged
from tests.cases.tables import load_data, saved

ORDER = ("DNA", "ER", "RNA", "AGP", "Mito")  # not the canonical one, on purpose


@pytest.fixture
def screen(tmp_path):
    """A load_data.csv with two plates of two wells, single-channel planes of 60 x 90 px."""
    rng = np.random.default_rng(0)
    rows = []
    for plate in ("P1", "P2"):
        (tmp_path / plate).mkdir()
        for well in ("A01", "A02"):
            row = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": 1}
            for name in ORDER:
                file = tmp_path / plate / f"{well}-{name}.tiff"
                tifffile.imwrite(file, rng.gamma(2, 900, (60, 90)).astype(np.uint16))
                row |= {f"FileName_Orig{name}": file.name, f"PathName_Orig{name}": plate}
            rows.append(row)
    table = tmp_path / "load_data.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def times(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "images").rglob("*.tif")}


@pytest.mark.parametrize("workers", [1, 2])
def test_merged_fields_and_their_table(screen, tmp_path, workers):
    out = tmp_path / "out"
    path = prepare(screen, out, low=0.1, workers=workers)
    assert path == out / "images.parquet"
    table, source = read_image_table(path), read_image_table(screen)
    assert table["FileName_Merged"][3] == str(out / "images/P2/P2_A02_s1.tif")
    for (_, row), (_, raw) in zip(table.iterrows(), source.iterrows(), strict=True):
        field = read_merged(row["FileName_Merged"])
        planes = np.stack([read_plane(raw[f"FileName_{name}"]) for name in CHANNELS])
        expected = to_uint16(scale_intensities(planes, 0.1, 99.9))
        np.testing.assert_array_equal(field.pixels, expected)
        assert field.otsu == otsu_threshold(field.pixels[4])
    everything = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    fields = {f"images/{p}/{p}_{w}_s1.tif" for p in ("P1", "P2") for w in ("A01", "A02")}
    assert everything == fields | {"images.parquet", "images.json"}


def test_the_table_can_move_with_its_images(screen, tmp_path):
    prepare(screen, tmp_path / "out", workers=1)
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    table = read_image_table(tmp_path / "elsewhere/images.parquet")
    assert read_merged(table["FileName_Merged"][0]).pixels.shape == (5, 60, 90)


def test_provenance(screen, tmp_path):
    prepare(screen, tmp_path / "out", high=99, workers=1)
    made = json.loads((tmp_path / "out/images.json").read_text())
    assert (made["step"], made["low"], made["high"]) == ("prepare", 0.01, 99)
    assert made["channels"] == list(CHANNELS) and made["fields"] == 4
    assert [len(digest) for digest in made["inputs"].values()] == [64]


def test_the_table_carries_its_provenance(screen, tmp_path):
    table = pd.read_parquet(prepare(screen, tmp_path / "out", workers=1))
    assert table.attrs["provenance"] == json.loads((tmp_path / "out/images.json").read_text())


def test_a_table_never_stands_beside_images_made_otherwise(screen, tmp_path):
    out = tmp_path / "out"
    prepare(screen, out, workers=1)
    (tmp_path / "P2/A02-ER.tiff").write_bytes(b"")
    for low, still_there in ((0.01, True), (1, False)):
        with pytest.raises(InputError):
            prepare(screen, out, low=low, workers=1)
        assert (out / "images.parquet").exists() == still_there


def test_what_is_done_is_not_done_again(screen, tmp_path):
    out = tmp_path / "out"
    prepare(screen, out, workers=1)
    before = times(out)
    (out / "images/P1/P1_A02_s1.tif").unlink()
    half = out / "images/P2/P2_A01_s1.tif"
    half.write_bytes(half.read_bytes()[:5000])
    prepare(screen, out, workers=1)
    after = times(out)
    assert {name for name in before if before[name] != after[name]} == {
        "P1_A02_s1.tif",
        "P2_A01_s1.tif",
    }
    assert read_merged(half).pixels.shape == (5, 60, 90)


def test_other_parameters_or_changed_sources_are_noticed(screen, tmp_path):
    out = tmp_path / "out"
    prepare(screen, out, workers=1)
    first = times(out)
    tifffile.imwrite(tmp_path / "P1/A01-ER.tiff", np.eye(60, 90, dtype=np.uint16))
    prepare(screen, out, workers=1)
    second = times(out)
    assert [name for name in first if first[name] != second[name]] == ["P1_A01_s1.tif"]
    prepare(screen, out, low=1, workers=1)
    assert not set(second.values()) & set(times(out).values())


def test_a_killed_run_leaves_whole_files_and_is_resumed(screen, tmp_path):
    out = tmp_path / "out"
    call = f"prepare({str(screen)!r}, {str(out)!r}, 0.1, 99.9, 1)"
    code = f"from cpssl_lite.data.prepare import prepare; {call}"
    run = subprocess.Popen([sys.executable, "-c", code])
    while run.poll() is None and not list(out.rglob("*.tif")):
        time.sleep(0.001)
    run.kill()
    run.wait()
    for name in times(out):
        if not name.startswith("."):
            assert read_merged(out / "images" / name[:2] / name).pixels.shape == (5, 60, 90)
    prepare(screen, out, 0.1, workers=1)
    assert len([name for name in times(out) if not name.startswith(".")]) == 4


def test_merged_fields_as_input(tmp_path):
    pixels = np.random.default_rng(1).gamma(2, 900, (5, 40, 40)).astype(np.uint16)
    write_merged(tmp_path / "a.tif", pixels[::-1], 0.9, CHANNELS[::-1])
    table = pd.DataFrame({"FileName_Merged": ["a.tif"], "plate": ["P"], "well": ["A01"]})
    table.to_csv(tmp_path / "dataset.csv", index=False)
    prepare(tmp_path / "dataset.csv", tmp_path / "out")
    field = read_merged(tmp_path / "out/images/P/P_A01_s1.tif")
    np.testing.assert_array_equal(field.pixels, to_uint16(scale_intensities(pixels)))
    assert field.otsu != 0.9


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_field_stops_the_run_and_keeps_what_is_done(screen, tmp_path, workers):
    bad = tmp_path / "P2/A01-RNA.tiff"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:3000])
    out = tmp_path / "out"
    with pytest.raises(InputError) as error:
        prepare(screen, out, workers=workers)
    assert str(bad) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (out / "images.parquet").exists()
    kept = times(out)
    assert {"P1_A01_s1.tif", "P1_A02_s1.tif"} <= set(kept)
    assert not list(out.rglob("*partial*"))
    bad.write_bytes(whole)
    prepare(screen, out, workers=workers)
    assert kept.items() <= times(out).items()
    assert len(times(out)) == 4


def test_after_a_bad_field_the_rest_is_not_worked_through(tmp_path):
    pixels = np.random.default_rng(1).gamma(2, 900, (5, 200, 200)).astype(np.uint16)
    for i in range(60):
        write_merged(tmp_path / f"{i}.tif", pixels, 0.5)
    write_merged(tmp_path / "0.tif", pixels[:4], 0.5, CHANNELS[:4])
    files = [f"{i}.tif" for i in range(60)]
    wells = [f"A{i + 1:02d}" for i in range(60)]
    table = pd.DataFrame({"FileName_Merged": files, "plate": "P", "well": wells})
    table.to_csv(tmp_path / "dataset.csv", index=False)
    with pytest.raises(InputError, match="channel DNA"):
        prepare(tmp_path / "dataset.csv", tmp_path / "out", workers=2)
    assert len(times(tmp_path / "out")) < 55, "all others are 59; how many depends on the machine"


@pytest.mark.parametrize("workers", [1, 2])
def test_fields_of_different_sizes(screen, tmp_path, workers):
    for name in ORDER:
        tifffile.imwrite(tmp_path / f"P2/A02-{name}.tiff", np.ones((60, 80), np.uint16))
    with pytest.raises(InputError, match=r"Mito.tiff is 60 x 90 px.*Mito.tiff is 60 x 80 px"):
        prepare(screen, tmp_path / "out", workers=workers)
    assert not times(tmp_path / "out")


def test_channels_of_different_sizes(screen, tmp_path):
    tifffile.imwrite(tmp_path / "P1/A01-ER.tiff", np.ones((60, 80), np.uint16))
    with pytest.raises(InputError, match="channels of one field must have one size"):
        prepare(screen, tmp_path / "out", workers=1)


def test_a_missing_file(screen, tmp_path):
    (tmp_path / "P1/A02-DNA.tiff").unlink()
    with pytest.raises(InputError, match=r"A02-DNA\.tiff: no such file"):
        prepare(screen, tmp_path / "out", workers=1)


def test_an_output_folder_that_cannot_be_written(screen, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        prepare(screen, tmp_path / "file/out")


def test_the_folder_of_the_table_itself_is_refused(screen, tmp_path):
    made = prepare(screen, tmp_path / "out", workers=1)
    before = made.read_bytes(), times(tmp_path / "out")
    with pytest.raises(InputError, match=r"images\.parquet: is read as well"):
        prepare(made, tmp_path / "out", workers=1)
    assert (made.read_bytes(), times(tmp_path / "out")) == before


def test_a_table_that_cannot_be_used_leaves_the_one_of_an_earlier_run(screen, tmp_path):
    made = prepare(screen, tmp_path / "out", workers=1)
    with pytest.raises(InputError, match="percentiles"):
        prepare(screen, tmp_path / "out", low=99, high=1, workers=1)
    tifffile.imwrite(tmp_path / "P2/A02-Mito.tiff", np.ones((60, 80), np.uint16))
    with pytest.raises(InputError, match="one size"):
        prepare(screen, tmp_path / "out", low=0.1, workers=1)
    assert made.is_file()


def test_percentiles_are_checked(screen, tmp_path):
    with pytest.raises(InputError, match="percentiles"):
        prepare(screen, tmp_path / "out", low=99, high=1)


@pytest.mark.parametrize("plate", ["../../up", "/etc/x", "..", "a b/c", ".hidden", "Ä"])
def test_names_never_leave_the_folder(screen, tmp_path, plate):
    table = pd.read_csv(screen).iloc[:1].assign(Metadata_Plate=plate)
    table.to_csv(screen, index=False)
    before = set(tmp_path.rglob("*"))
    path = prepare(screen, tmp_path / "deep/out", workers=1)
    for new in set(tmp_path.rglob("*")) - before - {tmp_path / "deep"}:
        assert new.is_relative_to(tmp_path / "deep/out")
        assert not new.name.startswith(".")
    assert read_image_table(path)["Metadata_Plate"][0] == plate


def test_names_that_become_the_same_file(screen, tmp_path):
    table = pd.read_csv(screen).iloc[:2].assign(Metadata_Well=["a b", "a_b"])
    table.to_csv(screen, index=False)
    with pytest.raises(
        InputError, match=r"csv: rows 1 and 2 \(.* s1 and .* s1\) would both be written to"
    ):
        prepare(screen, tmp_path / "out")


@pytest.mark.parametrize(
    "names", [("P1", "p1"), ("a b", "a_b"), ("BR/01", "br:01"), ("ÄX", "öx"), ("..P", "P")]
)
def test_plates_keep_apart_where_case_does_not_count(screen, tmp_path, names):
    table = pd.read_csv(screen).iloc[[0, 2]].assign(Metadata_Plate=names)
    table.to_csv(screen, index=False)
    made = pd.read_parquet(prepare(screen, tmp_path / "out", workers=1))
    assert made["Metadata_Plate"].tolist() == list(names)
    assert made["FileName_Merged"].str.casefold().nunique() == 2
    folders = made["FileName_Merged"].map(lambda file: file.split("/")[1].casefold())
    assert folders.nunique() == 2


def test_wells_that_differ_in_case_only_are_refused(screen, tmp_path):
    table = pd.read_csv(screen).iloc[:2].assign(Metadata_Well=["xA", "xa"])
    table.to_csv(screen, index=False)
    with pytest.raises(
        InputError, match=r"csv: rows 1 and 2 \(.* s1 and .* s1\) would both be written to"
    ):
        prepare(screen, tmp_path / "out")


@pytest.mark.parametrize("column", ["Metadata_Plate", "Metadata_Source"])
def test_plates_whose_folders_would_be_one(screen, tmp_path, column):
    table = pd.read_csv(screen).iloc[[0, 2]].assign(Metadata_Plate="P")
    table.assign(**{column: ["甲", "乙"]}).to_csv(screen, index=False)
    made = read_image_table(prepare(screen, tmp_path / "out", workers=1))
    assert made[column].tolist() == ["甲", "乙"]
    fields = [read_merged(file).pixels for file in made["FileName_Merged"]]
    assert not np.array_equal(*fields)


def test_one_log_line_a_plate_without_a_terminal(screen, tmp_path, caplog, capsys):
    with caplog.at_level(logging.INFO, logger=module.__name__):
        prepare(screen, tmp_path / "out", workers=1)
    assert [record.message for record in caplog.records] == [
        "plate P1: 2 of 2 fields made anew",
        "plate P2: 2 of 2 fields made anew",
    ]
    assert capsys.readouterr() == ("", "")


def test_real_fields(real, tmp_path):
    manifest = pd.read_csv(real / "images/manifest.csv", dtype=str).fillna("")
    manifest = manifest[manifest["plate"] == "BR00117011"]
    rows = []
    for (plate, well, site), planes in manifest.groupby(["plate", "well", "field"]):
        files = dict(zip(planes["channel"], planes["file"], strict=True))
        row = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": site}
        rows.append(row | {f"URL_Orig{c}": f"file://{real}/{files[c]}" for c in CHANNELS})
    pd.DataFrame(rows).to_csv(tmp_path / "load_data_with_illum.csv", index=False)
    table = read_image_table(prepare(tmp_path / "load_data_with_illum.csv", tmp_path / "out"))
    assert len(table) == 2
    for name in table["FileName_Merged"]:
        field = read_merged(name)
        assert field.pixels.shape == (5, 1080, 1080)
        assert (field.pixels.max(axis=(1, 2)) == 65535).all()
        nuclei = np.mean(field.pixels[4] / 65535 > 0.7 * field.otsu)
        assert 0.01 < nuclei < 0.5


def functions(folder, shape=(60, 90), value=None):
    """Illumination functions of both plates: bright in the middle, another one a channel."""
    for plate in ("P1", "P2"):
        (folder / plate).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(CHANNELS):
            y, x = np.mgrid[: shape[0], : shape[1]] / 50
            bright = 1 + number / 5 + np.sin(x) * np.sin(y) ** 2 if value is None else value
            np.save(folder / plate / f"{plate}_Illum{name}.npy", np.broadcast_to(bright, shape))
    return folder


def test_illumination_is_divided_out_before_scaling(screen, tmp_path):
    illum = functions(tmp_path / "illum")
    table = read_image_table(prepare(screen, tmp_path / "out", workers=1, illum=illum))
    source = read_image_table(screen)
    for file, (_, raw) in zip(table["FileName_Merged"], source.iterrows(), strict=True):
        planes = np.stack([read_plane(raw[f"FileName_{name}"]) for name in CHANNELS])
        bright = [np.load(illum / "P1" / f"P1_Illum{name}.npy") for name in CHANNELS]
        even = planes.astype(np.float64) / np.stack(bright)
        low, high = np.percentile(even, [0.01, 99.9], axis=(1, 2), keepdims=True)
        expected = np.clip((even - low) / (high - low), 0, 1) * 65535
        assert np.abs(read_merged(file).pixels - expected).max() <= 1


@pytest.mark.parametrize("name", ["Plate 1", "Plätte 漢字", "a+b"])
def test_illumination_functions_are_found_by_the_plates_own_name(tmp_path, name):
    """As `data fetch` writes them and `measure` reads them; names of results may differ."""
    source = saved(load_data(tmp_path, plates=(name,)), tmp_path / "load_data.csv")
    (tmp_path / "illum" / name).mkdir(parents=True)
    for channel in CHANNELS:
        np.save(tmp_path / "illum" / name / f"{name}_Illum{channel}.npy", np.ones((40, 50)))
    even, plain = (
        read_image_table(prepare(source, tmp_path / out, workers=1, illum=illum))
        for out, illum in (("even", tmp_path / "illum"), ("plain", None))
    )
    for one, other in zip(even["FileName_Merged"], plain["FileName_Merged"], strict=True):
        np.testing.assert_array_equal(read_merged(one).pixels, read_merged(other).pixels)


def test_illumination_given_takes_effect_and_is_written_down(screen, tmp_path):
    out = tmp_path / "out"
    prepare(screen, out, workers=1)
    plain = times(out)
    prepare(screen, out, workers=1, illum=functions(tmp_path / "illum"))
    made = times(out)
    assert not set(plain.values()) & set(made.values())
    assert json.loads((out / "images.json").read_text())["illum"].endswith("illum")
    prepare(screen, out, workers=1, illum=tmp_path / "illum")
    assert times(out) == made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: functions(folder, shape=(90, 60)), r"P1_IllumMito.npy: shape \(90, 60\)"),
        (lambda folder: functions(folder, value=0), "must be positive"),
        (lambda folder: functions(folder, value=np.nan), "5,400 pixels that are no number"),
        (lambda folder: folder, "P1_IllumMito.npy: no such file"),
    ],
)
def test_illumination_functions_that_do_not_fit(screen, tmp_path, change, words):
    folder = tmp_path / "illum"
    change(folder)
    with pytest.raises(InputError, match=words):
        prepare(screen, tmp_path / "out", workers=1, illum=folder)


def test_the_reference_scaling_to_one_grey_level(parity, tmp_path):
    """What the authors' function gave, through files and back (both of its percentiles)."""
    arrays = np.load(parity / "train/scale_intensities.npz")
    raw = np.round(arrays["input"] / arrays["input"].max() * 65535).astype(np.uint16)
    row = {"Metadata_Plate": "P", "Metadata_Well": "A01"}
    for name, plane in zip(CHANNELS, raw, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tiff", plane)
        row[f"FileName_Orig{name}"] = f"{name}.tiff"
    pd.DataFrame([row]).to_csv(tmp_path / "load_data.csv", index=False)
    for low, high, key in ((0.1, 99.9, "out_999"), (0.01, 99.99, "out_9999")):
        made = prepare(tmp_path / "load_data.csv", tmp_path / key, low, high, workers=1)
        got = read_merged(read_image_table(made)["FileName_Merged"][0]).pixels / 65535
        textured = [0, 1, 2, 4]  # the fourth is constant: NaN there, zeros here
        span = np.percentile(raw[textured], [low, high], axis=(1, 2))
        # The input was rounded to grey levels on the way into the file, hence the first term.
        limit = 1 / (span[1] - span[0]) + 1 / 65535
        assert (np.abs(got - arrays[key])[textured].max(axis=(1, 2)) <= limit).all()


@pytest.mark.parametrize("low", [0.01, 0.1])
def test_real_fields_by_both_conventions_to_one_grey_level(real, tmp_path, low):
    file = sorted((real / "images").rglob("*ch1*.tiff"))[0]
    row = {"Metadata_Plate": "P", "Metadata_Well": "A01"}
    planes = [file.with_name(file.name.replace("ch1", f"ch{n}")) for n in range(1, 6)]
    row |= {f"FileName_Orig{c}": str(p) for c, p in zip(CHANNELS, planes, strict=True)}
    pd.DataFrame([row]).to_csv(tmp_path / "load_data.csv", index=False)
    made = prepare(tmp_path / "load_data.csv", tmp_path / "out", low=low, workers=1)
    field = read_merged(read_image_table(made)["FileName_Merged"][0])
    for got, plane in zip(field.pixels, planes, strict=True):
        raw = tifffile.imread(plane).astype(np.float64)
        ends = np.percentile(raw, [low, 99.9])
        expected = np.clip((raw - ends[0]) / (ends[1] - ends[0]), 0, 1) * 65535
        assert np.abs(got - expected).max() <= 1
