"""What is said of a figure's letters is what is drawn."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cpssl_lite.book.dark import dark_png
from cpssl_lite.book.figures import WIDTH, style, tag
from cpssl_lite.book.plots import log_axis, picture_rows


def test_texts_on_each_other_are_found_where_they_are_drawn() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
    left.set(xlim=(0, 1), ylim=(0, 1), title="a title")
    left.text(0.5, 0.5, "one", fontsize=6.5)
    left.text(0.51, 0.52, "other")
    left.text(0.5, 0.5, "slanted", rotation=45)
    left.text(0.5, 0.5, "hidden").set_visible(False)
    right.axis("off")
    right.set_xticks(range(3), ["a rather long name"] * 3)  # of an axis that is off
    _, measured = dark_png(figure)
    assert measured == {"smallest": 6.5, "overlaps": [["one", "other"]], "cut": []}
    right.axis("on")
    right.set_xlim(-0.1, 0.1)  # two of the three ticks are beyond its end
    assert dark_png(figure)[1]["overlaps"] == [["one", "other"]]
    right.set_xlim(0, 2)
    assert ["a rather long name"] * 2 in dark_png(figure)[1]["overlaps"]
    plt.close(figure)


def test_texts_that_leave_a_figure_are_found() -> None:
    figure = plt.figure(figsize=(3, 2))
    for x, y, text in ((0.5, 0.5, "in"), (0.9, 0.5, "to the right"), (0.3, 0.98, "up")):
        figure.text(x, y, text)
    assert dark_png(figure)[1]["cut"] == ["to the right", "up"]
    plt.close(figure)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("columns", [3, 7])
def test_titles_of_rows_of_pictures_have_room(rows: int, columns: int) -> None:
    with matplotlib.rc_context():
        style()
        picture, titles = np.zeros((9, 9)), [f"title {i}" for i in range(columns)]
        figure = picture_rows({f"row {i}": [picture] * columns for i in range(rows)}, titles)
        tag(figure, "simulated")
        measured = dark_png(figure)[1]
    assert measured["cut"] == measured["overlaps"] == []
    assert figure.axes[0]._left_title.get_fontsize() == 8.5
    plt.close(figure)


@pytest.mark.parametrize("least", [0.00031, 0.0095, 2.0, 999.0])
@pytest.mark.parametrize("times", [1.0, 1.2, 40.0, 5e4])
def test_a_log_axis_has_numbers_and_room_whatever_was_measured(least: float, times: float) -> None:
    with matplotlib.rc_context():
        style()
        figure, axis = plt.subplots(figsize=(WIDTH, 2.6))
        values = pd.Series([least, least * times, np.nan], ["a", "DINO (ViT-B/16), bf16", "none"])
        axis.bar_label(axis.barh(values.index, values), ["12345.6 years"] * 3, padding=4)
        log_axis(axis, values, room=0.2)
        measured = dark_png(figure)[1]
        low, high = axis.get_xlim()
        numbers = [x for x in axis.get_xticks() if low <= x <= high]
    assert low <= least and least * times <= high
    assert measured["overlaps"] == measured["cut"] == [] and len(numbers) >= 2
    plt.close(figure)
