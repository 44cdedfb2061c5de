"""Image tables as the field hands them over, by class."""

import logging

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.prepare import prepare
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_header
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import read_profiles
from tests.cases.tables import load_data, saved
from tests.profiles.toy import Moments


def renamed(table, row, column, other, spelling="{}"):
    """One file for two channels: `column` of a row says the file of `other`."""
    table.loc[row, f"FileName_Orig{column}"] = spelling.format(table[f"FileName_Orig{other}"][row])
    return table


@pytest.mark.parametrize(
    ("row", "column", "other", "spelling"),
    [
        (0, "RNA", "ER", "{}"),
        (1, "DNA", "AGP", "./{}"),
        (1, "Mito", "DNA", "sub/../{}"),
        (0, "ER", "Mito", r".\{}"),
    ],
)
def test_one_file_for_two_channels(tmp_path, cpssl, row, column, other, spelling):
    table = renamed(load_data(tmp_path), row, column, other, spelling)
    path = saved(table, tmp_path / "load_data.csv")
    code, _, err = cpssl("data", "prepare", path, "-o", tmp_path / "out")
    assert code == 2 and err.count("\n") == 1 and f"{path}: row {row + 1}: FileName_Orig" in err
    assert f"FileName_Orig{column}" in err and f"FileName_Orig{other}" in err
    assert "name one file" in err and not (tmp_path / "out/images").exists()


def test_one_file_for_two_channels_of_two_rows(tmp_path):
    table = load_data(tmp_path)
    table.loc[1, "FileName_OrigER"] = table["FileName_OrigDNA"][0]
    with pytest.raises(InputError, match=r"row 1: FileName_OrigDNA and row 2: FileName_OrigER"):
        read_image_table(saved(table, tmp_path / "a.parquet"))


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_one_file_under_two_names(tmp_path, link):
    table = load_data(tmp_path)
    er = tmp_path / table["FileName_OrigER"][1]
    er.unlink()
    getattr(er, link)(tmp_path / table["FileName_OrigRNA"][1])
    with pytest.raises(InputError, match=r"A02_RNA.tif and .*A02_ER.tif are one file"):
        prepare(saved(table, tmp_path / "a.csv"), tmp_path / "out", workers=1)
    with pytest.raises(InputError, match=r"A02_RNA.tif and .*A02_ER.tif are one file"):
        extract(read_image_table(tmp_path / "a.csv"), Moments(), tmp_path / "raw.parquet")


@pytest.mark.parametrize(
    "sizes", [((40, 50), (64, 48)), ((70, 100), (32, 33)), ((48, 48), (40, 50))]
)
def test_plates_of_different_sizes_go_through_prepare_and_extract(tmp_path, sizes):
    tables = [load_data(tmp_path, plates=(f"P{i}",), shape=size) for i, size in enumerate(sizes)]
    path = saved(pd.concat(tables), tmp_path / "load_data.csv")
    images = read_image_table(prepare(path, tmp_path / "out", workers=1))
    shapes = [read_header(file)[0][-2:] for file in images["FileName_Merged"]]
    assert shapes == [sizes[0]] * 2 + [sizes[1]] * 2
    alone = read_image_table(
        prepare(saved(tables[1], tmp_path / "one.csv"), tmp_path / "alone", workers=1)
    )
    both = read_profiles(extract(images, Moments(), tmp_path / "both.parquet"))
    one = read_profiles(extract(alone, Moments(), tmp_path / "one.parquet"))
    np.testing.assert_array_equal(both.iloc[2:, -10:], one.iloc[:, -10:])


def test_one_plate_of_two_sizes_is_refused(tmp_path):
    tables = [
        load_data(tmp_path, wells=(w,), shape=s) for w, s in (("A1", (40, 50)), ("A2", (9, 9)))
    ]
    with pytest.raises(InputError, match=r"one plate must have one size.*40 x 50.*A2.*9 x 9"):
        prepare(saved(pd.concat(tables), tmp_path / "a.csv"), tmp_path / "out", workers=1)


@pytest.mark.parametrize(
    ("folder", "name"),
    [(r"raw\day 1", "{}"), (r".\raw\day 1", "{}"), ("raw", r"day 1\{}"), (r"raw/day 1", r".\{}")],
)
def test_backslashes_separate(tmp_path, folder, name):
    table = load_data(tmp_path / "raw/day 1")
    for channel in CHANNELS:
        table[f"PathName_Orig{channel}"] = folder
        table[f"FileName_Orig{channel}"] = table[f"FileName_Orig{channel}"].map(name.format)
    images = read_image_table(saved(table, tmp_path / "load_data.csv"))
    assert images["FileName_DNA"][1] == str(tmp_path / "raw/day 1/P1_A02_DNA.tif")
    prepare(tmp_path / "load_data.csv", tmp_path / "out", workers=1)


@pytest.mark.parametrize(
    ("folder", "shown"),
    [
        ("E:\\data\\plate 7", "E:\\data\\plate 7\\P1_A01_Mito.tif"),
        ("E:/data/", "E:/data/P1_A01_Mito.tif"),
        (r"\\server\share", "\\\\server\\share\\P1_A01_Mito.tif"),
        ("/mnt/none", "/mnt/none/P1_A01_Mito.tif"),
        ("file:///F:/x%20y", "F:/x y/P1_A01_Mito.tif"),
    ],
)
def test_a_folder_that_is_not_there_is_named_as_it_was_given(tmp_path, cpssl, folder, shown):
    table = load_data(tmp_path / "elsewhere")
    for channel in CHANNELS:
        table[f"PathName_Orig{channel}"] = folder
    path = saved(table, tmp_path / "load_data.csv")
    code, _, err = cpssl("data", "prepare", path, "-o", tmp_path / "out", "--workers", "1")
    assert code == 2 and err == f"cpssl: {shown}: no such file\n"


def test_files_beside_the_table_are_taken_and_said(tmp_path, caplog):
    table = load_data(tmp_path)
    for channel in CHANNELS:
        table[f"PathName_Orig{channel}"] = "D:\\gone"
    with caplog.at_level(logging.WARNING):
        images = read_image_table(saved(table, tmp_path / "load_data.csv"))
    assert images["FileName_ER"][0] == str(tmp_path / "P1_A01_ER.tif")
    assert r"folder D:\gone is not there; taken from beside the table: 2 files" in caplog.text


@pytest.mark.parametrize("word", ["NA", "N/A", "NULL", "#N/A"])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_metadata_that_others_wrote_as_missing_is_missing(tmp_path, word, name):
    table = load_data(tmp_path).assign(Metadata_Perturbation=[word, "c1"], Metadata_Batch=word)
    images = read_image_table(saved(table, tmp_path / name))
    assert images["Metadata_Perturbation"].tolist() == ["", "c1"]
    assert images["Metadata_Batch"].tolist() == ["", ""]


@pytest.mark.parametrize("name", ["a.csv", "a.CSV.GZ", "a.tsv", "a.parquet"])
def test_the_image_table_of_cellprofiler(tmp_path, name):
    table = load_data(tmp_path).assign(Metadata_Plate="0012", Image_Count_Nuclei=[3, 4])
    bare = ("FileName", "Metadata")
    table = table.rename(columns=lambda c: f"Image_{c}" if c.startswith(bare) else c)
    path = tmp_path / name
    if name.endswith("GZ"):
        table.to_csv(path, index=False, compression="gzip")
    else:
        saved(table, path)
    images = read_image_table(path)
    assert images["Metadata_Plate"].tolist() == ["0012"] * 2
    assert images["FileName_AGP"][0] == str(tmp_path / "P1_A01_AGP.tif")


@pytest.mark.parametrize("key", ["Metadata_Plate", "Metadata_Well", "FileName_OrigDNA"])
def test_a_parquet_table_with_an_index(tmp_path, key):
    table = load_data(tmp_path)
    path = tmp_path / "indexed.parquet"
    table.set_index(key).to_parquet(path)
    plain = read_image_table(saved(table, tmp_path / "plain.parquet"))
    pd.testing.assert_frame_equal(read_image_table(path), plain)


@pytest.mark.parametrize("column", ["Metadata_Well", "FileName_OrigER", "Metadata_Compound"])
def test_a_column_twice_is_refused(tmp_path, column):
    table = load_data(tmp_path).assign(Metadata_Compound="x")
    path = tmp_path / "twice.csv"
    twice = pd.concat([table, table[[column]]], axis=1)
    twice.to_csv(path, index=False)
    with pytest.raises(InputError, match=f"twice.csv: column {column} is there more than once"):
        read_image_table(path)


@pytest.mark.parametrize(
    ("column", "channel"),
    [("FileName_DNA", "DNA"), ("FileName_OrigHoechst", "DNA"), ("FileName_ERSyto", "ER")],
)
def test_two_columns_of_one_channel(tmp_path, column, channel):
    table = load_data(tmp_path)
    same = table.assign(**{column: table[f"FileName_Orig{channel}"]})
    assert len(read_image_table(saved(same, tmp_path / "same.csv"))) == 2
    other = table.assign(**{column: ["x.tif", "y.tif"]})
    with pytest.raises(InputError, match=rf"FileName_Orig{channel} and {column} are both FileName"):
        read_image_table(saved(other, tmp_path / "other.csv"))


@pytest.mark.parametrize("name", [" Metadata_Plate", "Metadata_Plate ", "Metadata Plate", "plate "])
def test_headers_with_spaces(tmp_path, name):
    table = load_data(tmp_path).rename(columns={"Metadata_Plate": name})
    for path in ("a.csv", "a.parquet"):
        images = read_image_table(saved(table, tmp_path / path))
        assert images["Metadata_Plate"].tolist() == ["P1", "P1"]


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("form", ["PathName", "URL", "Merged"])
def test_headers_in_any_case(tmp_path, spelling, form):
    """Metadata were known so; a table from a database had "no complete set of image columns"."""
    table = load_data(tmp_path / "raw")
    plain = table.copy()
    for channel in CHANNELS:
        plain[f"PathName_Orig{channel}"] = str(tmp_path / "raw")
        if form == "URL":
            folder = plain.pop(f"PathName_Orig{channel}")
            names = folder + "/" + plain.pop(f"FileName_Orig{channel}")
            plain[f"URL_Orig{channel}"] = "file://" + names
    if form == "Merged":
        plain = table[[c for c in table if c.startswith("Metadata_")]].copy()
        plain["FileName_Merged"] = ["a.tif", "b.tif"]
    images, other = (
        read_image_table(saved(one, tmp_path / "a.csv"))
        for one in (plain, plain.rename(columns=spelling))
    )
    pd.testing.assert_frame_equal(other, images)


@pytest.mark.parametrize("name", ["Metadata_FieldID", "Metadata_FOV", "Metadata_field_id", "field"])
def test_sites_under_other_names(tmp_path, name):
    table = load_data(tmp_path).rename(columns={"Metadata_Site": name})
    table = table.assign(Metadata_Well="A01", **{name: ["3", "10"]})
    images = read_image_table(saved(table, tmp_path / "a.csv"))
    assert images["Metadata_Site"].tolist() == ["3", "10"]


def test_fields_without_a_site_say_which_column_may_be_it(tmp_path):
    table = load_data(tmp_path).drop(columns="Metadata_Site")
    table = table.assign(Metadata_Well="A01", ImageNumber=[1, 2])
    with pytest.raises(InputError, match=r"the same field .*Metadata_Site \(one of .*ImageNumber"):
        read_image_table(saved(table, tmp_path / "a.csv"))


@pytest.mark.parametrize("value", [1.01, -0.2, 5, "inf"])
def test_thresholds_of_a_table_are_within_0_and_1(tmp_path, value):
    table = load_data(tmp_path).assign(Otsu_th=[0.5, value])
    with pytest.raises(InputError, match=r"row 2: Otsu_th is '.*', not a number within 0\.\.1"):
        read_image_table(saved(table, tmp_path / "a.csv"))
