"""What is said of a figure's letters is what is drawn."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from cpssl_lite.book.dark import dark_png


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
    assert measured == {"smallest": 6.5, "overlaps": [["one", "other"]]}
    right.axis("on")
    right.set_xlim(-0.1, 0.1)  # two of the three ticks are beyond its end
    assert dark_png(figure)[1]["overlaps"] == [["one", "other"]]
    right.set_xlim(0, 2)
    assert ["a rather long name"] * 2 in dark_png(figure)[1]["overlaps"]
    plt.close(figure)
