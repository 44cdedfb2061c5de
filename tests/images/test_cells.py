"""Segmentation and measurements on drawn cells, whose sizes are known."""

import numpy as np
import pytest

from cpssl_lite.images.channels import CHANNELS

pytest.importorskip("cp_measure")
cells = pytest.importorskip("cpssl_lite.images.cells")


def drawn(centres, size=160, radius=12, wide=24):
    """Round nuclei in round cells; every channel is brighter inside the cells."""
    row, column = np.mgrid[:size, :size]
    rng = np.random.default_rng(0)
    channels = {name: 0.02 + 0.01 * rng.random((size, size)) for name in CHANNELS}
    for r, c in centres:
        distance = np.hypot(row - r, column - c)
        channels["DNA"][distance < radius] = 0.8
        for name in ("Mito", "AGP", "RNA", "ER"):
            channels[name][distance < wide] = 0.5
    return {name: pixels.astype(np.float32) for name, pixels in channels.items()}


CENTRES = [(40, 40), (40, 62), (110, 50), (100, 120)]  # the first two touch almost


def test_every_nucleus_is_found_and_measured():
    channels = drawn(CENTRES)
    nuclei, whole = cells.segment(channels)
    assert nuclei.max() == 4
    assert all(len(set(whole[r, c] for r, c in [centre])) == 1 for centre in CENTRES)
    assert (whole[nuclei > 0] == nuclei[nuclei > 0]).all()
    got = cells.measure_cells(channels, nuclei, whole)
    assert len(got) == 4
    assert got["Nuclei_AreaShape_Area"].to_numpy() == pytest.approx(np.pi * 12**2, rel=0.15)
    alone = got["Cells_AreaShape_Area"].max()
    assert alone == pytest.approx(np.pi * 24**2, rel=0.15)
    ring = got["Cells_AreaShape_Area"] - got["Nuclei_AreaShape_Area"]
    assert got["Cytoplasm_AreaShape_Area"].to_numpy() == pytest.approx(ring.to_numpy())
    dna = got["Nuclei_Intensity_MeanIntensity_DNA"].to_numpy()
    assert dna == pytest.approx(0.8, abs=0.06)
    assert (got["Cytoplasm_Intensity_MeanIntensity_DNA"] < 0.3).all()
    assert not [name for name in got if "Location" in name or "Center" in name]


def test_fields_without_cells_and_cells_without_cytoplasm():
    empty = {name: np.zeros((64, 64), np.float32) for name in CHANNELS}
    assert len(cells.measure_cells(empty, *cells.segment(empty))) == 0
    channels = drawn([(30, 30)], size=64)
    nuclei, _ = cells.segment(channels)
    got = cells.measure_cells(channels, nuclei, nuclei)
    assert got["Nuclei_AreaShape_Area"].notna().all()
    assert "Cytoplasm_AreaShape_Area" not in got
