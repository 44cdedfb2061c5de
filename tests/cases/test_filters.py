"""Fields and wells left out by cell counts and QC flags; rows of wells, fields and crops."""

import logging

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.nuclei import count_nuclei
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.filters import enough_cells, without_flagged
from cpssl_lite.profiles.table import feature_columns, read_profiles, read_provenance
from tests.cases.tables import saved, wells
from tests.profiles.toy import Moments

KEY = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]


def discs(places, radius=8, side=200, noise=400, seed=0):
    """DNA with a disc at every place."""
    y, x = np.mgrid[:side, :side]
    dna = np.random.default_rng(seed).integers(0, noise, (side, side))
    for row, column in places:
        dna[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = 40000
    return dna.astype(np.uint16)


@pytest.mark.parametrize("radius", [4, 8, 11])
@pytest.mark.parametrize("n", [0, 1, 2, 9, 36])
def test_nuclei_are_counted(n, radius):
    rng = np.random.default_rng(n)
    grid = [(i, j) for i in range(20, 200, 30) for j in range(20, 200, 30)]
    places = [np.array(grid[k]) + rng.integers(-2, 3, 2) for k in rng.permutation(36)[:n]]
    dna = discs(places, radius, seed=n)
    dna[3, 3:180:7] = 65535  # specks
    assert count_nuclei(dna, 0.3) == n


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """An image table of two plates with fields of 0 to 6 nuclei, and how many each has."""
    folder, rows, known = tmp_path_factory.mktemp("counted"), [], []
    places = [(30, 30), (30, 80), (30, 130), (80, 30), (80, 80), (80, 130)]
    counts = {"P1": [(3, 5), (0, 4), (6, 2)], "P2": [(1, 0), (2, 6), (1, 1)]}
    for plate, of_wells in counts.items():
        for well, of_fields in zip(("A01", "A02", "A03"), of_wells, strict=True):
            for site, n in enumerate(of_fields, start=1):
                rng = np.random.default_rng(len(known))
                pixels = rng.integers(0, 2000, (5, 160, 160), dtype=np.uint16)
                pixels[4] = discs(places[:n], side=160, seed=len(known))
                name = f"{plate}_{well}_{site}.tif"
                write_merged(folder / name, pixels, 0.3)
                row = dict(zip(KEY, (plate, well, str(site)), strict=True))
                rows.append(row | {"Metadata_Perturbation": well, "FileName_Merged": name})
                known.append(n)
    return saved(pd.DataFrame(rows), folder / "images.csv"), known


def profiles(table, out, **options):
    return pd.read_parquet(extract(read_image_table(table), Moments(), out, **options))


def test_cells_per_field_are_a_column(counted, tmp_path):
    table, _ = counted
    got = read_profiles(extract(read_image_table(table), Moments(), tmp_path / "a.parquet"))
    assert got["Metadata_Cells_Per_Field"].tolist() == ["4", "2", "4", "0.5", "4", "1"]


def test_rows_of_fields_and_crops_add_up_to_wells(counted, tmp_path):
    table, known = counted
    of = {lv: profiles(table, tmp_path / f"{lv}.parquet", level=lv)
          for lv in ("well", "field", "crop")}  # fmt: skip
    features = feature_columns(of["well"])
    assert all(feature_columns(one) == features for one in of.values())
    assert of["field"]["Metadata_Cells_Per_Field"].astype(int).tolist() == known
    assert of["field"][KEY].equals(read_image_table(table)[KEY])
    crops = of["crop"].groupby(KEY, sort=False)
    np.testing.assert_allclose(of["field"][features], crops[features].mean(), rtol=1e-5)
    assert of["field"]["Metadata_Crops"].astype(int).tolist() == crops.size().tolist()
    assert of["crop"]["Metadata_Crop"].iloc[: crops.size().iloc[0]].tolist()[:2] == ["1", "2"]
    np.testing.assert_allclose(
        of["well"][features], of["crop"].groupby(KEY[:2])[features].mean(), rtol=1e-5
    )
    assert read_provenance(tmp_path / "crop.parquet")["level"] == "crop"
    for level in ("field", "crop"):
        message = "more than once .*rows differ in Metadata_Site: take profiles of wells"
        with pytest.raises(InputError, match=message):
            read_profiles(tmp_path / f"{level}.parquet")


@pytest.mark.parametrize("level", ["well", "field", "crop"])
@pytest.mark.parametrize("least", [1, 2, 4])
def test_fields_with_few_cells_are_left_out_and_said(counted, tmp_path, caplog, level, least):
    table, known = counted
    rows = pd.read_csv(table, dtype=str)[[n >= least for n in known]]
    rows["FileName_Merged"] = [str(table.parent / name) for name in rows["FileName_Merged"]]
    expected = profiles(saved(rows, tmp_path / "few.csv"), tmp_path / "e.parquet", level=level)
    with caplog.at_level(logging.INFO):
        got = profiles(table, tmp_path / "g.parquet", level=level, min_cells=least)
    pd.testing.assert_frame_equal(got, expected)
    lost = sum(n < least for n in known[:6])
    line = f"plate P1: {lost} of 6 fields left out, with fewer than {least} nuclei"
    assert (line in caplog.text) == (lost > 0)


def test_no_field_with_enough_cells(counted, tmp_path):
    with pytest.raises(InputError, match="min_cells 7: no field has as many nuclei"):
        profiles(counted[0], tmp_path / "a.parquet", min_cells=7)
    with pytest.raises(InputError, match="level 'cell' is not one of well, field, crop"):
        profiles(counted[0], tmp_path / "a.parquet", level="cell")
    assert not (tmp_path / "a.parquet").exists()


@pytest.mark.parametrize(
    ("column", "factor"),
    [("Metadata_Cells_Per_Field", 1), ("Metadata_Count_Cells", 10), ("Metadata_Cell_Count", 2),
     ("Image_Count_Nuclei", 3), ("Metadata_Object_Count", 1), ("Count_Cells", 5)],
)  # fmt: skip
def test_wells_with_few_cells(tmp_path, cpssl, column, factor):
    table = wells()
    counts = np.arange(len(table)) % 9
    path = saved(table.assign(**{column: counts * factor}), tmp_path / "a.csv")
    out = tmp_path / "n.parquet"
    words = ("normalize", path, "-o", out, "--method", "none", "--min-cells", 4 * factor)
    code, _, err = cpssl(*words)
    assert code == 0, err
    expected = saved(table[counts >= 4], tmp_path / "e.csv")
    assert read_profiles(out)["emb_0"].tolist() == read_profiles(expected)["emb_0"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "--min-cells 3: no column counts cells"),
        ({"Metadata_Count_Cells": "many"}, "well 0b1/A01: Metadata_Count_Cells is 'many', not a"),
        ({"Metadata_Count_Cells": "2"}, "nothing is left: 64 wells with fewer than 3 cells"),
    ],
)
def test_counts_that_cannot_be_used(tmp_path, change, message):
    table = read_profiles(saved(wells().assign(**change), tmp_path / "a.csv"))
    with pytest.raises(InputError, match=message):
        enough_cells(table, 3)


def flagged(table, at, words="out of focus: DNA"):
    rows = pd.read_csv(table, dtype=str)[KEY]
    return rows.assign(flag=[words if i in at else "" for i in range(len(rows))], otsu=0.3)


@pytest.mark.parametrize("at", [[0], [2, 3], [0, 5, 9, 10]])
def test_flagged_fields_and_wells_are_left_out(counted, tmp_path, caplog, at):
    images = read_image_table(counted[0])
    qc = saved(flagged(counted[0], at), tmp_path / "qc.csv")
    with caplog.at_level(logging.INFO):
        got = without_flagged(images, qc)
    assert got[KEY].equals(images[KEY].drop(at).reset_index(drop=True))
    assert f"{len(at)} of 12 fields left out, flagged in {qc}" in caplog.text
    whole = [i for i in range(6) if {2 * i, 2 * i + 1} <= set(at)]
    all_wells = read_profiles(extract(images, Moments(), tmp_path / "a.parquet"))
    kept = without_flagged(all_wells, qc)
    assert kept[KEY[:2]].equals(all_wells[KEY[:2]].drop(whole).reset_index(drop=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="flag"), "no column flag"),
        (lambda t: t.drop(columns="Metadata_Site"), "no column Metadata_Site"),
        (lambda t: t.assign(Metadata_Plate="P7"), "knows none of 12 rows"),
        (lambda t: t.assign(flag="empty"), "nothing is left: 12 fields flagged in "),
    ],
)
def test_qc_tables_that_cannot_be_used(counted, tmp_path, change, message):
    qc = saved(change(flagged(counted[0], [1])), tmp_path / "qc.csv")
    with pytest.raises(InputError, match=message):
        without_flagged(read_image_table(counted[0]), qc)
