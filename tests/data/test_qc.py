import re

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.qc import PLATE, _place, _table, quality, spectral_slope
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.tiff import write_merged

FAULTS = {"A02": "out of focus", "B03": "no nuclei", "B05": "empty"}


def cells(generator, size=160):
    """Five channels with round nuclei and some texture."""
    y, x = np.mgrid[:size, :size]
    field = np.zeros((5, size, size))
    for cy, cx in generator.uniform(10, size - 10, (14, 2)):
        field += np.exp(-((((y - cy) ** 2 + (x - cx) ** 2) / 60.0) ** 3))
    return field * generator.uniform(0.7, 1, field.shape) + generator.normal(
        0.05, 0.01, field.shape
    )


@pytest.fixture
def table(tmp_path):
    """12 wells, three of them faulty, on a plate whose name is HTML."""
    generator = np.random.default_rng(0)
    rows = []
    for well in [f"{row}{column:02d}" for row in "AB" for column in range(1, 7)]:
        pixels = cells(generator)
        if well == "A02":
            pixels = gaussian_filter(pixels, (0, 2, 2))
        if well == "B03":
            pixels = generator.normal(500, 20, pixels.shape)
        pixels = to_uint16(scale_intensities(pixels))
        if well == "B05":
            pixels[4] = 0
            pixels[4, 3:8, 3:8] = 65535
        write_merged(tmp_path / f"{well}.tif", pixels, otsu_threshold(pixels[4]))
        rows.append(["<script>x</script>", well, f"{well}.tif"])
    path = tmp_path / "images.csv"
    columns = ["Metadata_Plate", "Metadata_Well", "FileName_Merged"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def test_faulty_fields_are_flagged_and_the_others_not(table, tmp_path):
    page = quality(table, tmp_path / "out/qc.html", workers=1)
    measures = pd.read_csv(page.with_suffix(".csv"), keep_default_na=False)
    found = measures[measures["flag"] != ""].set_index("Metadata_Well")["flag"]
    assert sorted(found.index) == sorted(FAULTS)
    for well, words in FAULTS.items():
        assert found[well].startswith(words)


def test_the_page_is_one_file_with_its_text_escaped(table, tmp_path):
    text = quality(table, tmp_path / "qc.html", workers=1).read_text()
    assert "<script" not in text and "&lt;script&gt;x&lt;/script&gt;" in text
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert text.count("<img") == text.count(' alt="') == 2
    assert "12 fields, 3 flagged" in text
    assert "12 wells, 3 of them with a flagged field" in text


def test_a_blur_lowers_the_slope_whatever_the_brightness():
    plane = cells(np.random.default_rng(1))[4]
    sharp = spectral_slope(plane)
    assert spectral_slope(gaussian_filter(plane, 1)) < sharp - 1.2
    assert spectral_slope(plane * 9) == pytest.approx(sharp, abs=1e-3)
    assert spectral_slope(np.zeros((64, 64))) == 0.0


def test_real_fields_are_sharp_and_a_blur_of_one_pixel_is_seen(real):
    from cpssl_lite.images.tiff import read_plane

    for file in (real / "images").rglob("*ch5*.tiff"):
        plane = scale_intensities(read_plane(file))
        fall = spectral_slope(plane) - spectral_slope(gaussian_filter(plane, 1))
        assert 1.4 < fall < 1.9


def test_positions():
    assert [_place(w) for w in ("A01", "P24", "AA03")] == [(0, 0), (15, 23), (26, 2)]
    assert [_place(w) for w in ("well 3", "x", "12", "", "A123456", "ZZ1")] == [None] * 6


def test_raw_images_are_refused(tmp_path):
    names = ("Mito", "AGP", "RNA", "ER", "DNA")
    row = {f"FileName_Orig{c}": f"{c}.tif" for c in names}
    table = tmp_path / "load_data.csv"
    pd.DataFrame([row | {"Metadata_Plate": "P", "Metadata_Well": "A01"}]).to_csv(table)
    with pytest.raises(InputError, match="no merged fields; make them with cpssl data prepare"):
        quality(table, tmp_path / "qc.html")


def test_all_flagged_fields_are_listed_with_their_whole_names():
    flagged = pd.DataFrame({c: ["P" * 80] * 300 for c in PLATE}).assign(
        Metadata_Well="A01", Metadata_Site="1", flag="empty"
    )
    text = _table(flagged)
    assert text.count("<tr") == 301 and text.count("P" * 80) == 900 and "The first" not in text
    assert "The first 500 of 600" in _table(pd.concat([flagged, flagged]))
