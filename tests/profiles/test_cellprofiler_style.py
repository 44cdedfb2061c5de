"""Cell measurements as a profile table, from images to normalised profiles."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.profiles import kept
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.select import select_features
from cpssl_lite.profiles.table import feature_columns, read_profiles, read_provenance

pytest.importorskip("cp_measure")
style = pytest.importorskip("cpssl_lite.profiles.cellprofiler_style")


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """Two plates of twelve wells, one field each, and their table."""
    folder = tmp_path_factory.mktemp("screen")
    images = read_image_table(simulate("tiny", folder / "tiny", workers=1))
    plates = images.groupby("Metadata_Plate", sort=True)
    images = plates.head(24).groupby(["Metadata_Plate", "Metadata_Well"]).head(1)
    two = images["Metadata_Plate"].isin(sorted(images["Metadata_Plate"].unique())[:2])
    images = images[two].reset_index(drop=True)
    out = folder / "style.parquet"
    style.cellprofiler_style(images, out, workers=1)
    return images, out, folder


def test_a_table_of_cellprofilers_kind(screen):
    images, out, _ = screen
    table = read_profiles(out)
    features = feature_columns(table)
    assert len(table) == images.groupby(["Metadata_Plate", "Metadata_Well"]).ngroups
    parts = {name.split("_")[0] for name in features}
    assert parts == {"Nuclei", "Cells", "Cytoplasm"} and len(features) > 400
    assert (table["Metadata_Count_Cells"].astype(int) > 0).all()


def test_counts_follow_the_truth(screen):
    _, out, folder = screen
    well = ["Metadata_Plate", "Metadata_Well"]
    truth = pd.read_parquet(folder / "tiny" / "truth.parquet")
    both = read_profiles(out).merge(truth, on=well, suffixes=("", "_truth"))
    counted = both["Metadata_Count_Cells"].astype(int)
    assert np.corrcoef(counted, both["cells"])[0, 1] > 0.7


def test_normalises_and_selects(screen):
    _, out, _ = screen
    table = select_features(read_profiles(out), ["missing", "variance"])
    got = normalize(table, "mad_robustize")
    values = got[feature_columns(got)].to_numpy()
    assert np.isfinite(values).all() and values.shape[1] > 100


def test_stays(screen, caplog):
    images, out, _ = screen
    before = out.stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        style.cellprofiler_style(images, out)
    assert out.stat().st_mtime_ns == before and "up to date" in caplog.text


@pytest.mark.slow
def test_resumes_with_the_first_missing_plate(screen, tmp_path, caplog):
    images, whole, _ = screen
    images = images.groupby("Metadata_Plate").head(3).reset_index(drop=True)
    broken = tmp_path / "broken.tiff"
    good = Path(images["FileName_Merged"].iloc[-1])
    broken.write_bytes(good.read_bytes()[:1000])
    images.loc[images.index[-1], "FileName_Merged"] = str(broken)
    out = tmp_path / "style.parquet"
    with pytest.raises(InputError, match=r"broken\.tiff"):
        style.cellprofiler_style(images, out, workers=1)
    parts = list(out.with_name("style.parquet.plates").iterdir())
    assert len(parts) == 1 and not out.exists()
    broken.write_bytes(good.read_bytes())
    caplog.clear()
    with caplog.at_level(logging.INFO):
        style.cellprofiler_style(images, out, workers=1)
    assert "(2 of 2)" in caplog.text and "(1 of 2)" not in caplog.text
    expected = pd.read_parquet(whole).groupby("Metadata_Plate").head(3).reset_index(drop=True)
    # A feature that some other well lacks is left out of the whole table.
    pd.testing.assert_frame_equal(pd.read_parquet(out)[list(expected)], expected)


def test_kept_table_is_taken_for_the_same_images_only(screen, tmp_path, monkeypatch):
    images, out, _ = screen
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    kept.keep(images, out, kept.FOLDER / "any.parquet")
    made_by = "CellProfiler-style", read_provenance(out)["code"]
    table = kept.kept_profiles(images, *made_by)
    assert kept.kept_profiles(images, made_by[0]).equals(table), "whatever code made it"
    made = pd.read_parquet(out)
    features = feature_columns(made)
    np.testing.assert_allclose(table[features], made[features], rtol=1.3e-4)
    assert kept.kept_profiles(images, made_by[0], "older") is None
    assert kept.kept_profiles(images, "CellProfiler", made_by[1]) is None
    assert kept.kept_profiles(images.iloc[1:], *made_by) is None
    swapped = images.assign(FileName_Merged=images["FileName_Merged"].to_numpy()[::-1])
    assert kept.kept_profiles(swapped, *made_by) is None


@pytest.mark.slow
def test_images_of_real_cells(real):
    """A full field of U2OS cells at 20x holds about a hundred of them."""
    from cpssl_lite.images.cells import measure_row

    manifest = pd.read_csv(real / "images" / "manifest.csv")
    field = manifest[(manifest["plate"] == "BR00117013") & (manifest["pert_iname"] == "DMSO")]
    record = {
        f"FileName_{channel}": str(real / file)
        for channel, file in zip(field["channel"], field["file"], strict=True)
    }
    got = measure_row(record)
    assert 70 < len(got) < 140
    assert 500 < got["Nuclei_AreaShape_Area"].median() < 1500
