"""The letters of a figure, as they are drawn: their size, what lies on each other, what is cut."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox, BboxBase

SHARE = 0.2  # of a text's height that may lie in another's box: boxes are higher than most letters


def letters(figure: "Figure", renderer: Any) -> dict[str, Any]:
    """Measure the texts of a figure that was just drawn.

    Parameters
    ----------
    figure
    renderer
        What drew it (of a ``draw_event``); boxes are those of this drawing.

    Returns
    -------
    ``smallest`` letters in points (None where there are none), ``overlaps``, pairs of texts, and
    ``cut``, texts of which a part lies beyond the figure. Slanted texts have no box of their own:
    they do neither.
    """
    from matplotlib.text import Text

    found = list(_texts(figure))
    boxes = [
        (text.get_text(), Text.get_window_extent(text, renderer))
        for text in found
        if text.get_rotation() % 90 == 0
    ]
    lying = [[a, b] for (a, one), (b, other) in combinations(boxes, 2) if _overlap(one, other)]
    cut = [text for text, box in boxes if _leaves(box, figure.bbox)]
    least = min((t.get_fontsize() for t in found), default=None)
    return {"smallest": least, "overlaps": lying, "cut": cut}


def _overlap(one: "Bbox", other: "Bbox") -> bool:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    least = SHARE * min(one.width, one.height, other.width, other.height)
    return wide > least and high > least


def _leaves(text: "Bbox", figure: "BboxBase") -> bool:
    beyond = (figure.x0 - text.x0, text.x1 - figure.x1, figure.y0 - text.y0, text.y1 - figure.y1)
    return max(beyond) > 1  # pixel


def _texts(artist: Any) -> Iterator["Text"]:
    """All texts that are drawn: nothing invisible, no ticks beyond the ends of their axis."""
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis, Tick
    from matplotlib.text import Text

    if not artist.get_visible():
        return
    if isinstance(artist, Text):
        if artist.get_text().strip():
            yield artist
        return
    for child in artist.get_children():
        if isinstance(artist, Axes) and isinstance(child, Axis) and not artist.axison:
            continue
        if isinstance(artist, Axis) and isinstance(child, Tick):
            low, high = sorted(artist.get_view_interval())
            slack = 1e-9 * (high - low)
            if not low - slack <= child.get_loc() <= high + slack:
                continue
        yield from _texts(child)
