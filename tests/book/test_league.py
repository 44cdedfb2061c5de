"""The league: best first, each number with its interval, what is not sure said to be so."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.dark import dark_png
from cpssl_lite.book.figures import style
from cpssl_lite.book.league import (
    caption_of,
    headline_of,
    league,
    league_figure,
    league_table,
    level_with,
)
from cpssl_lite.profiles.intervals import SCORES
from tests.cases.tables import wells


def tables(noise):
    """The same wells with more and more noise."""
    made = {}
    for name, level in noise.items():
        table = wells(perturbations=12)
        table["Metadata_Control"] = np.where(table["Metadata_Perturbation"] == "DMSO", "negcon", "")
        features = [f for f in table if f.startswith("emb_")]
        rng = np.random.default_rng(1)
        table[features] += level * rng.normal(size=(len(table), len(features)))
        made[name] = table
    return made


NOISE = {"<b>bad": 60.0, "best": 6.0, "good": 15.0, "as good": 15.0}


def test_the_best_comes_first_and_what_is_level_is_said():
    seconds = {"best": 3.0, "good": 1.0}
    frame = league(tables(NOISE), seconds=seconds)
    assert list(frame.index) == ["best", "good", "as good", "<b>bad"]
    for score in SCORES:
        assert (frame[f"{score}_low"] <= frame[score]).all()
        assert (frame[score] <= frame[f"{score}_high"]).all()
    assert level_with(frame, "perturbation_map") == ["best"]
    assert level_with(frame.drop("best"), "perturbation_map") == ["good", "as good"]
    best = headline_of(frame)
    assert best.startswith("Of 4 feature types best finds replicates best") and ")." in best
    assert "interval of as good reaches it" in headline_of(frame.drop("best"))
    said = caption_of(frame, "perturbation_map", ["good"], "cpu")
    assert "sorted by perturbation mAP" in said and "random weights (good)." in said
    assert said.endswith("(cpu), 3 times as long in best as in good.")
    assert caption_of(frame.assign(seconds=np.nan), "label_map", [], "cpu").endswith("tions.")
    by_time = league(tables(NOISE), seconds=seconds, by="seconds")
    assert list(by_time.index[:2]) == ["good", "best"]
    with pytest.raises(InputError, match="sort 'speed' is not one of perturbation_map"):
        league(tables(NOISE), by="speed")
    whats = ("Perturbation", "Target")
    page = league_table(frame, whats, "all")
    assert "&lt;b&gt;bad" in page and page.count("not measured") == 2
    value = frame.loc["best", "label_map"]
    assert f"{value:.3f} ({frame.loc['best', 'label_map_low']:.3f} to" in page
    figure = league_figure(frame, whats, ["good"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(frame.index)
    assert len(figure.axes) == 3
    assert len(league_figure(frame.assign(seconds=np.nan), whats).axes) == 2


@pytest.mark.parametrize("maps", [0.9, 0.007])
@pytest.mark.parametrize("seconds", [(0.02, 0.09), (0.0003, 0.2), (0.5, 40.0)])
def test_the_axes_of_any_league_can_be_read(maps, seconds):
    ends = {f"{score}{end}": [maps / 2, maps] for score in SCORES for end in ("", "_low", "_high")}
    frame = pd.DataFrame({**ends, "seconds": seconds}, index=["DINO (ViT-S/16)", "MAE"])
    with matplotlib.rc_context():
        style()
        figure = league_figure(frame, ("Perturbation", "Target"))
        measured = dark_png(figure)[1]
    assert measured["overlaps"] == measured["cut"] == []
    for axis in figure.axes:
        low, high = axis.get_xlim()
        assert sum(low <= x <= high for x in axis.get_xticks()) >= 2
