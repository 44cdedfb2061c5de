"""Copies of one file under two names, in two channels or two fields; warnings said once."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from cpssl_lite.base.errors import InputError
from cpssl_lite.book import kernel
from cpssl_lite.data.prepare import prepare
from cpssl_lite.data.qc import quality
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.filters import without_flagged
from cpssl_lite.profiles.table import read_profiles
from tests.cases.tables import load_data, saved, wells
from tests.profiles.toy import Moments


def small():
    """A network for fields of noise."""
    network = Moments()
    network.crop_size = 16
    return network


@pytest.mark.parametrize(("one", "other"), [("AGP", "Mito"), ("DNA", "ER"), ("RNA", "DNA")])
@pytest.mark.parametrize("form", ["copy", "compressed", "uint8"])
def test_a_channels_file_that_is_a_copy_of_another(tmp_path, one, other, form):
    table = load_data(tmp_path)
    source, copy = (tmp_path / f"P1_A02_{name}.tif" for name in (one, other))
    pixels = tifffile.imread(source) // 16
    if form == "uint8":
        tifffile.imwrite(source, pixels.astype(np.uint16))
        tifffile.imwrite(copy, pixels.astype(np.uint8))
    elif form == "compressed":
        tifffile.imwrite(copy, tifffile.imread(source), compression="zlib")
    else:
        shutil.copy(source, copy)
    path = saved(table, tmp_path / "load_data.csv")
    first, second = sorted((one, other), key=CHANNELS.index)
    message = rf"P1_A02_{first}\.tif and .*P1_A02_{second}\.tif hold the same pixels; each channel"
    with pytest.raises(InputError, match=message):
        prepare(path, tmp_path / "out", workers=1)
    with pytest.raises(InputError, match=r"P1_A02_.*\.tif hold the same pixels"):
        extract(read_image_table(path), small(), tmp_path / "a.parquet")


def test_black_channels_are_no_copies(tmp_path):
    table = load_data(tmp_path)
    for name in ("ER", "RNA"):
        tifffile.imwrite(tmp_path / f"P1_A01_{name}.tif", np.zeros((40, 50), np.uint16))
    assert prepare(saved(table, tmp_path / "load_data.csv"), tmp_path / "out", workers=1)


@pytest.fixture
def merged(tmp_path):
    """Eight fields of noise in four wells; B02's two are one, and A01's first has AGP twice."""
    rows = []
    for i, (well, site) in enumerate((w, s) for w in ("A01", "A02", "B01", "B02") for s in "12"):
        pixels = np.random.default_rng(i).integers(0, 60000, (5, 64, 64), dtype=np.uint16)
        pixels[4, :48] //= 9
        if (well, site) == ("A01", "1"):
            pixels[2] = pixels[1]
        if i != 7:
            write_merged(tmp_path / f"{i}.tif", pixels, 0.3)
        row = {"Metadata_Plate": "P", "Metadata_Well": well, "Metadata_Site": site}
        rows.append(row | {"FileName_Merged": f"{i}.tif"})
    shutil.copy(tmp_path / "6.tif", tmp_path / "7.tif")
    return saved(pd.DataFrame(rows), tmp_path / "images.csv")


def test_merged_fields_with_copies_are_flagged_and_can_be_left_out(merged, caplog):
    page = quality(merged, merged.with_name("qc.html"), workers=1)
    flags = pd.read_csv(page.with_suffix(".csv"), keep_default_na=False)["flag"]
    assert flags[0] == "the same pixels in AGP and RNA"
    assert flags[[6, 7]].tolist() == ["the same pixels as P/B02/2", "the same pixels as P/B02/1"]
    assert not any("same" in flag for flag in flags[1:6])
    assert "3 of 8 fields with the same pixels in two channels or as another" in caplog.text
    caplog.clear()
    extract(read_image_table(merged), small(), merged.with_name("a.parquet"))
    assert caplog.text.count("pixels in two channels (first: ") == 1
    assert "1 field with the same pixels in two channels" in caplog.text
    assert "1 field with the pixels of another field (first: " in caplog.text
    caplog.clear()
    left = without_flagged(read_image_table(merged), page.with_suffix(".csv"))
    extract(left, small(), merged.with_name("b.parquet"))
    assert "pixels" not in caplog.text


def test_two_names_of_one_store(tmp_path, caplog):
    for name in ("a", "b"):
        array = zarr.create_array(tmp_path / f"{name}.zarr", shape=(5, 64, 64), dtype="uint16")
        array[:] = np.random.default_rng(0).integers(0, 4000, (5, 64, 64), dtype=np.uint16)
    table = pd.DataFrame({"Metadata_Plate": ["P", "Q"], "Metadata_Well": "A01",
                          "FileName_Merged": ["a.zarr", "b.zarr"]})  # fmt: skip
    path = saved(table, tmp_path / "images.csv")
    extract(read_image_table(path, CHANNELS), small(), tmp_path / "a.parquet")
    assert "1 field with the pixels of another field (first: " in caplog.text


@pytest.mark.parametrize(("copies", "first"), [((9, 10), "0b1/A10"), ((9, 50), "0b1/A10")])
@pytest.mark.parametrize("form", ["a.csv", "a.parquet"])
def test_wells_with_one_profile_are_said(tmp_path, caplog, copies, first, form):
    table = wells()
    evaluate(read_profiles(saved(table, tmp_path / form)))
    assert "exactly the profile" not in caplog.text
    features = table.columns[6:]
    table.loc[copies[1], features] = table.loc[copies[0], features]
    evaluate(read_profiles(saved(table, tmp_path / form)))
    assert f"2 wells with exactly the profile of another well (first: {first})" in caplog.text


@pytest.fixture
def repeats(tmp_path):
    """Tables that would each be told the same: no labels, one batch, nameless wells."""
    table = wells().assign(Metadata_Target="", Metadata_Batch="b")
    table.loc[9:12, "Metadata_Perturbation"] = "empty"
    return [saved(table, tmp_path / f"{name}.csv") for name in "abcd"]


def test_a_command_says_a_warning_once(repeats, tmp_path, cpssl, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's; the command has its own
    code, _, err = cpssl("evaluate", *repeats, "-o", tmp_path / "m.json")
    assert code == 0 and len(json.loads((tmp_path / "m.json").read_text())) == 4
    lines = err.splitlines()
    assert len(lines) == len(set(lines))
    for words in ("no labels (", "one batch only", "4 wells without a perturbation name"):
        assert sum(words in line for line in lines) == 1, words
    monkeypatch.setattr(logging.root, "handlers", [])
    assert cpssl("evaluate", repeats[0], "-o", tmp_path / "n.json")[2].count("one batch") == 1


def test_a_page_says_a_warning_once(monkeypatch):
    import IPython.display

    told = []
    monkeypatch.setattr(IPython.display, "publish_display_data", told.append)
    monkeypatch.setattr(logging.getLogger("cpssl_lite"), "handlers", [])
    kernel.show_warnings()
    for text in ("<b> a", "<b> a", "c", "<b> a"):
        logging.getLogger("cpssl_lite.profiles.x").warning(text)
    assert [page["text/plain"] for page in told] == ["Warning: <b> a", "Warning: c"]
    assert "&lt;b&gt; a" in told[0]["text/html"]
