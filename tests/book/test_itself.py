"""CellProfiler itself beside its style: which fields, which features, which words."""

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.book import itself
from cpssl_lite.profiles.kept import few_fields


def wells(noise: float, seed: int, cells: float) -> pd.DataFrame:
    """Four plates of eight compounds and controls; what tells them apart, and noise."""
    rng = np.random.default_rng(0)
    names = [*(f"C{i}" for i in range(8)), *["DMSO"] * 8]
    effect = rng.normal(size=(8, 30))
    rows = []
    for plate in range(4):
        own = np.random.default_rng([seed, plate])
        for at, name in enumerate(names):
            values = noise * own.normal(size=30) + (effect[at] if name != "DMSO" else 0)
            rows.append([f"B{plate}", f"P{plate}", f"A{at + 1:02d}", name, *values])
    features = [f"Nuclei_Intensity_F{i}" for i in range(20)]
    features += [f"Cells_AreaShape_F{i}" for i in range(10)]
    head = ["Batch", "Plate", "Well", "Perturbation"]
    table = pd.DataFrame(rows, columns=[*(f"Metadata_{name}" for name in head), *features])
    named = table["Metadata_Perturbation"]
    table["Metadata_Control"] = np.where(named == "DMSO", "negcon", "")
    target = "T" + (named.str[1:].replace("MSO", "0").astype(int) // 2).astype(str)
    table["Metadata_Target"] = np.where(named == "DMSO", "", target)
    return table.assign(Metadata_Cells_Per_Field=str(cells))


def test_an_hours_fields():
    rows = [
        {"Metadata_Batch": f"B{b}", "Metadata_Plate": f"B{b}-P{p}", "Metadata_Well": f"W{w}",
         "Metadata_Site": site, "Metadata_Target": "" if w < 10 else f"T{(w - 10) // 2}",
         "Metadata_Control": "negcon" if w < 10 else ""}
        for b in range(2) for p in range(2) for w in range(20) for site in "12"
    ]  # fmt: skip
    some = few_fields(pd.DataFrame(rows))
    assert set(some["Metadata_Plate"]) == {"B0-P0", "B1-P0"} and set(some["Metadata_Site"]) == {"1"}
    controls = some["Metadata_Control"] == "negcon"
    assert controls.sum() == 16 and set(some.loc[~controls, "Metadata_Target"]) == {"T0", "T4"}
    assert (~controls).sum() == 2 * 4


@pytest.mark.parametrize(("noise", "shows"), [(0.5, False), (6.0, True)])
def test_words_follow_from_the_numbers(noise, shows):
    raw = {
        itself.ITSELF: wells(0.5, 1, 12.0),
        itself.STYLE: wells(noise, 2, 9.0),
        "DINO": wells(0.5, 3, 9.0),
    }
    figure, r, gap = itself.draw(raw)
    assert len(r) == 30 and set(r["group"]) == {"Intensity", "AreaShape"}
    assert bool(r["r"].median() > 0.5) != shows
    said = itself.told(raw, r, gap)
    assert "12.0 cells a field, its style 9.0" in said
    first = said.split(";")[0]
    assert ("a difference that shows" in first) is shows, said
    assert bool(gap["perturbation_map_difference"] > 0.2) == shows
    assert len(figure.axes) == 2


def test_nothing_is_kept_for_other_images(tmp_path):
    from cpssl_lite.data.simulate.screen import simulate
    from cpssl_lite.images.table import read_image_table

    images = read_image_table(simulate("tiny", tmp_path / "tiny"))
    assert itself.kept_beside(images) == {}
