"""Figures for the dark theme: the same drawing in other colours, kept beside the light one.

`style` (figures.py) makes every figure of a notebook leave two pictures in its cell's output:
``image/png`` and, under `MIME`, the dark one. The build (front.py) puts both on the page.
"""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from cpssl_lite.book.letters import letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIME = "application/vnd.cpssl.dark+json"
PAPER = "#12181e"  # the page's background in the dark theme (cpssl.css)
DARKEST, LIGHTEST = 0.20, 0.91  # lightness (Oklab) of that background and of text on it
GREY = 0.06  # chroma (Oklab) below which a colour is a grey: ink, lines, tints
READABLE = 0.66  # least lightness of a colour on the dark background
DRAWN = 0.5  # least lightness of a grey that is data, not a grid line
# Maps of colours that have white where nothing is, and what they are on a dark page.
MAPS = {
    "RdBu_r": ("#9CC8F5", "#2F77B5", "#1A222A", "#B5473C", "#FFB4A2"),
    "PuOr_r": ("#C9B3F2", "#7A5BB5", "#1A222A", "#B5701F", "#FFCF8F"),
    "Blues": ("#1A222A", "#1F4E79", "#4F93CE", "#D6E9FA"),
    "gray_r": ("#1A222A", "#DBE2E8"),
}

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def darken(color: Any, least: float = 0.0) -> tuple[float, float, float, float]:
    """Colour on a dark page of what has `color` on a white one; hue and transparency stay.

    Greys are turned over (ink becomes light, grid lines dark), colours only made light enough to
    be seen. In Oklab, where equal steps look equal. A grey becomes at least `least` light.

    Examples
    --------
    >>> [round(float(x), 1) for x in darken("black")], [round(float(x), 1) for x in darken("white")]
    ([0.9, 0.9, 0.9, 1.0], [0.1, 0.1, 0.1, 1.0])
    """
    from matplotlib.colors import to_rgba

    *rgb, alpha = to_rgba(color)
    plain = np.array(rgb)
    linear = np.where(plain <= 0.04045, plain / 12.92, ((plain + 0.055) / 1.055) ** 2.4)
    light, a, b = _TO_LAB @ np.cbrt(_TO_LMS @ linear)
    if np.hypot(a, b) < GREY:
        # Faster than linear: dark grey text is as light as black text.
        light = DARKEST + (LIGHTEST - DARKEST) * min(1.3 * (1 - light), 1.0)
        light = max(light, least)
    else:
        light = max(light, READABLE)
    linear = np.linalg.solve(_TO_LMS, np.linalg.solve(_TO_LAB, np.array([light, a, b])) ** 3)
    linear = np.clip(linear, 0, 1)
    plain = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = plain.tolist()
    return red, green, blue, alpha


@contextmanager
def dark_colors(figure: "Figure") -> Iterator[None]:
    """Recolour a figure for the time of one drawing. Pictures, and text on them, stay.

    Numbers drawn as colours (`MAPS`) are no pictures: they would be white panels.
    """
    from matplotlib.colors import LinearSegmentedColormap

    with_map: list[Any] = [one for one in figure.findobj() if _has_map(one)]
    mapped = [(one, one.get_cmap()) for one in with_map]
    # All old colours first: one that is "auto" follows another.
    old = [
        (artist, part, getattr(artist, f"get_{part}")(), least)
        for artist, least in _artists(figure)
        for part in _parts(artist)
    ]
    old = [item for item in old if not isinstance(item[2], str) or item[2] != "none"]
    for one, colors in mapped:
        one.set_cmap(LinearSegmentedColormap.from_list("dark", MAPS[colors.name]))
    for artist, part, color, least in old:
        many = isinstance(color, np.ndarray) and color.ndim == 2
        new = [darken(c, least) for c in color] if many else darken(color, least)
        getattr(artist, f"set_{part}")(new)
    try:
        yield
    finally:
        for artist, part, color, _ in old:
            getattr(artist, f"set_{part}")(color)
        for one, colors in mapped:
            one.set_cmap(colors)


def _has_map(artist: Any) -> bool:
    """Whether an artist shows numbers in one of `MAPS`."""
    from matplotlib.cm import ScalarMappable

    values = artist.get_array() if isinstance(artist, ScalarMappable) else None
    return values is not None and values.ndim < 3 and artist.get_cmap().name in MAPS


def _artists(figure: "Figure") -> Iterator[tuple[Any, float]]:
    """Everything drawn but for what lies on a picture, and how light it must be at least."""
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D

    on_pictures = {
        id(artist)
        for axes in figure.axes
        if axes.images and not any(map(_has_map, axes.images))
        for artist in (*axes.texts, *axes.patches, *axes.lines, *axes.collections)
        if not _beside(artist, axes)
    }
    grid = {id(g) for ax in figure.axes for a in (ax.xaxis, ax.yaxis) for g in a.get_gridlines()}
    for artist in figure.findobj():
        if id(artist) in on_pictures:
            continue
        data = isinstance(artist, Line2D | Collection) and id(artist) not in grid
        yield artist, DRAWN if data else 0.0
        box = artist.get_bbox_patch() if hasattr(artist, "get_bbox_patch") else None
        if box is not None:
            yield box, 0.0


def _beside(artist: Any, axes: Any) -> bool:
    """Whether an artist is a text that stands outside its axes, such as a label with a line."""
    from matplotlib.text import Text

    if not isinstance(artist, Text):
        return False
    artist.get_window_extent()  # places an annotation; its own box would hold the line, too
    box = Text.get_window_extent(artist)
    return not axes.bbox.contains((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)


def _parts(artist: Any) -> tuple[str, ...]:
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    if isinstance(artist, Collection):
        # Where an array decides, it decides again at every drawing.
        return () if artist.get_array() is not None else ("facecolor", "edgecolor")
    if isinstance(artist, Patch):
        return ("facecolor", "edgecolor")
    if isinstance(artist, Line2D):
        return ("color", "markerfacecolor", "markeredgecolor")
    return ("color",) if isinstance(artist, Text) else ()


def dark_png(figure: "Figure") -> tuple[bytes, dict[str, Any]]:
    """Draw a figure for the dark theme, as large as Jupyter's light one, and measure its letters.

    Returns
    -------
    The picture, and what `letters` says of it.
    """
    target = io.BytesIO()
    measured: dict[str, Any] = {}

    def measure(event: Any) -> None:
        measured.update(letters(figure, event.renderer))  # of the last drawing: the others lay out

    watch = figure.canvas.mpl_connect("draw_event", measure)
    with dark_colors(figure):
        figure.savefig(target, format="png", dpi=2 * figure.dpi, facecolor=PAPER)
    figure.canvas.mpl_disconnect(watch)
    return target.getvalue(), measured


def _bundle(figure: "Figure") -> dict[str, Any]:
    picture, measured = dark_png(figure)
    return {"png": base64.b64encode(picture).decode(), "letters": measured}


def show_both(shell: Any) -> None:
    """Make an IPython shell keep a dark picture with each figure that it shows."""
    from matplotlib.figure import Figure

    formatter = shell.display_formatter
    if MIME in formatter.formatters:
        return
    from IPython.core.formatters import BaseFormatter
    from traitlets import ObjectName, Unicode

    class DarkFormatter(BaseFormatter):  # type: ignore[misc]
        format_type = Unicode(MIME)
        print_method = ObjectName("_repr_cpssl_dark_")
        _return_type = (dict, str)

    dark = DarkFormatter(parent=formatter)
    dark.for_type(Figure, _bundle)
    formatter.formatters[MIME] = dark
    formatter.active_types = [*formatter.active_types, MIME]
