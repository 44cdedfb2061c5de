"""The letters of a figure, as they are drawn: how small they get, and which lie on each other."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

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
    ``smallest`` letters in points (None where there are none), and ``overlaps``, pairs of texts.
    Slanted texts have no box of their own and overlap nothing.
    """
    from matplotlib.text import Text

    found = list(_texts(figure))
    boxes = [
        (text.get_text(), Text.get_window_extent(text, renderer))
        for text in found
        if text.get_rotation() % 90 == 0
    ]
    lying = [[a, b] for (a, one), (b, other) in combinations(boxes, 2) if _overlap(one, other)]
    return {"smallest": min((t.get_fontsize() for t in found), default=None), "overlaps": lying}


def _overlap(one: "Bbox", other: "Bbox") -> bool:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    least = SHARE * min(one.width, one.height, other.width, other.height)
    return wide > least and high > least


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
