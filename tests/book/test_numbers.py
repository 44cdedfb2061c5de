"""What chapters compute beside their visible lines: numbers for claims, tables, parameters."""

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.scores import LEVELS, Summary
from cpssl_lite.book import (
    batch_numbers,
    compared,
    explored,
    panels,
    parameters,
    readings,
    table_one,
)
from cpssl_lite.book.panels import NSB, NSBP, P, T


def test_a_chapter_passes_on_the_parameters_that_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "load_features", lambda data, seed=0, label="": locals())
    given = {"data": "x", "label": "y", "thumbnail": 3, "__name__": "chapter"}
    assert parameters.features_of(given, label="") == {"data": "x", "seed": 0, "label": ""}


def test_renamed_groups_keep_the_design() -> None:
    treatments = np.repeat(["a", "b", "c"], 8)
    groups = np.tile(["1", "1", "2", "3"], 6)
    moved = batch_numbers.renamed(groups, treatments, 0)
    assert (moved != groups).any()
    for name in "abc":
        here = treatments == name
        assert sorted(moved[here]) == sorted(groups[here])


def test_effects_stand_beside_what_no_effect_gives() -> None:
    seen = {"silhouette": np.array([0.2, 0.4]), "connectivity": {3: 0.5}, "lisi": {30: 2.0}}
    none = {"silhouette": np.zeros(2), "connectivity": {3: 0.25}, "lisi": {30: 3.0}}
    both = {("batch", "DINO"): seen, ("batch", "Gaussian clusters"): none}
    table = batch_numbers.effects_beside_chance(both, {("batch", "DINO"): none})
    row = table.loc["DINO, by batch"].to_dict()
    assert row["Silhouette"] == "0.300 / 0.000" and row["Connectivity, k = 3"] == "0.500 / 0.250"
    assert row["LISI, k = 90"] == "- / -"
    assert table.loc["Gaussian clusters, by batch", "LISI, k = 30"] == "3.000"


def test_targets_that_lie_together_are_above_chance() -> None:
    rng = np.random.default_rng(0)
    compound = np.repeat(np.arange(12).astype(str), 4)
    known = pd.DataFrame({"compound": compound, "target": np.repeat(list("abcd"), 12)})
    spread = rng.normal(size=(48, 2))
    apart = spread + 9 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(12, axis=0)
    assert batch_numbers.targets_above_chance(apart, known, 0) > 0.5
    assert batch_numbers.targets_above_chance(spread, known, 0) < 0
    assert batch_numbers.named_targets([(apart, known)] * 2) == {}


def test_one_feature_type_beside_another() -> None:
    columns = [P, T, NSB, NSBP]
    results = pd.DataFrame([[0.6, 0.3, 0.5, 0.2], [0.4, 0.2, 0.6, 0.1]], ["A", "B"], columns)
    test = pd.Series({f"{m}_{k}": 0.01 for m in (P, T) for k in ("p", "difference")})
    got = compared.one_beside_other(results, ("A", "B"), test)
    assert got["dino-cellprofiler-perturbation"] == pytest.approx(50)
    assert got["dino-cellprofiler-target-p"] == {"p": 0.01, "difference": 0.01}
    genes = compared.genes(results, ("A", "B"), test)
    assert genes["genes-nsb"] == pytest.approx(-0.1)
    places = {"one": results, "two": results[::-1].set_axis(["A", "B"]), "across sources": results}
    sources = compared.by_source(places, ("A", "B"))
    assert sources["dino-cellprofiler-sources"] == 1
    assert sources["cross-source-nsb"] == pytest.approx(100 * (0.5 / 0.6 - 1))


def test_ranks_of_table_one() -> None:
    assays = [f"a{i}" for i in range(6)]
    means = dict(zip(table_one.PAPER, np.linspace(0.8, 0.6, 8), strict=True))
    told = {
        name: Summary(value, 0.1, 0.3, 0.1, (1, 3, 8 - place), 6)
        for place, (name, value) in enumerate(means.items())
    }
    auc = pd.DataFrame({name: np.full(6, value) for name, value in means.items()}, assays)
    bins = pd.Series(["<50"] * 3 + ["100-500"] * 3, assays)
    got = table_one.table_claims(told, auc, bins, 0)
    assert got["bioactivity-rank-07"] == 4 and got["bioactivity-rank-08"] == 1
    assert got["bioactivity-few-labels"] == pytest.approx(means["DINO"] - means["ResNet"])
    assert got["bioactivity-dino"]["AUCROC"] == means["DINO"]
    assert list(table_one.row_of(0.7, 0.1, 0.3, 0.1, 1, 2, 3))[-len(LEVELS) :] == [
        "≥ 0.9",
        "≥ 0.8",
        "≥ 0.7",
    ]
    few = table_one.table_claims({"DINO": told["DINO"]}, auc[["DINO"]], bins, 0)
    assert set(few) == {"bioactivity-dino", "bioactivity-above-chance"}


def test_all_differences_stand_in_one_table() -> None:
    one = {"area": "Metrics", "where": "eval.py", "seen": "run", "text": ""}
    listed = [
        {**one, "code": "low <b>", "severity": "low", "measured": "x"},
        {**one, "code": "first", "severity": "high"},
    ]
    html = readings.all_differences(listed, {"x": ("mAP", 0.5, 0.25, "", "MAE")}, {})
    assert html.index("first") < html.index("low &lt;b&gt;") and "not run here" in html
    assert "mAP; MAE: 0.500 to 0.250" in html and "(nothing)" in html
    assert "elsewhere 3%" in readings.all_differences(listed, {}, {"x": "elsewhere 3%"})
    with pytest.raises(KeyError):
        readings.all_differences(listed, {}, {})


def test_a_well_without_an_image_is_named() -> None:
    key = ["Metadata_Plate", "Metadata_Well"]
    index = pd.MultiIndex.from_tuples([("P1", "A01"), ("P1", "A02")], names=key)
    head, wells = pd.DataFrame(index=index), pd.DataFrame({"Plate": ["P1", "P1"]})
    images = pd.DataFrame({key[0]: ["P1"], key[1]: ["A01"]})
    assert explored.pictures(wells, head, None, 64, "x.csv") == []
    with pytest.raises(InputError, match=r"x.csv: no image of well P1/A02 \(1 of 2 wells\)"):
        explored.pictures(wells, head, images, 64, "x.csv")


def test_luck_is_marked_where_names_shuffled_would_be() -> None:
    found = pd.DataFrame(
        {"percent_replicating": [0.9, 0.34], "percent_replicating_chance": [0.26, 0.32]},
        ["CellProfiler", "Random features"],
    )
    (axis,) = panels.replicating(found).axes
    bars = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "|"]
    assert bars == [0.26, 0.32], "with few replicates luck is far above 5%"
