"""Drawings that several chapters need: methods as points, intervals, numbers, pictures."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cpssl_lite.book.figures import ARCHITECTURES, WIDTH, color, marker, show_image

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, LINE = "#26303A", "#6B7785"


def wrap(name: str) -> str:
    """A method's name for a tick: what stands in brackets goes to a second line."""
    return name.replace(" (", "\n(")


def log_axis(axis: "Axes", values: "pd.Series", room: float = 0.0) -> None:
    """Make the x axis logarithmic, from a power of ten to the next at least: two have a number.

    Parameters
    ----------
    axis
    values
        What is drawn along it; NaN counts for nothing.
    room
        Share of the axis that stays free beyond the greatest value, for a text.
    """
    from matplotlib.ticker import LogLocator

    least, most = np.log10(values.min()), np.log10(values.max())
    low = np.floor(least - 0.05)
    high = max(np.ceil(most + 0.05), low + (most - low) / (1 - room))
    axis.set(xscale="log", xlim=(10.0**low, 10.0**high))
    axis.xaxis.set_major_locator(LogLocator(numticks=5))  # fewer by default, on a narrow axis
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")


def scatter(
    axis: "Axes",
    scores: "pd.DataFrame",
    x: str,
    y: str,
    shapes: Mapping[str, str] | None = None,
    dotted: str | None = None,
) -> None:
    """One number of every method against another; both axes begin at 0.

    Parameters
    ----------
    axis
    scores
        A row for each method.
    x, y
        Columns.
    shapes
        Which of `figures.ARCHITECTURES` made each method (`Features.shape`) [every method has a
        shape of its own].
    dotted
        A row that gets dotted lines, as CellProfiler's in the paper's figures.
    """
    for name, row in zip(map(str, scores.index), scores.to_dict("records"), strict=True):
        shape = ARCHITECTURES[shapes[name]][1] if shapes else marker(name)
        axis.plot(row[x], row[y], shape, color=color(name), markersize=9)
        if name == dotted:
            line: dict[str, Any] = {"color": color(name), "ls": ":", "lw": 1.2, "zorder": 0}
            axis.axvline(row[x], **line)
            axis.axhline(row[y], **line)
    axis.margins(0.12)
    axis.autoscale_view()
    right, top = axis.get_xlim()[1], axis.get_ylim()[1]
    axis.set(xlim=(-0.04 * right, right), ylim=(-0.04 * top, top))


def legend(
    figure: "Figure",
    names: Iterable[str],
    shapes: Mapping[str, str] | None = None,
    lines: bool = False,
) -> None:
    """Say above a figure which colour is which method and, below it, which shape is what.

    Parameters
    ----------
    figure
    names
        Methods.
    shapes
        As for `scatter`.
    lines
        Methods are drawn as lines, not as points.
    """
    from matplotlib.lines import Line2D

    names = list(names)
    handles = []
    for name in names:
        mark = "" if lines else "o" if shapes else marker(name)
        style = "-" if lines else ""
        handles.append(Line2D([], [], color=color(name), label=name, marker=mark, ls=style))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    if shapes and not lines:
        kinds = dict.fromkeys(shapes[name] for name in names)
        handles = [
            Line2D([], [], color=LINE, ls="", marker=ARCHITECTURES[kind][1], label=kind)
            for kind in kinds
        ]
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(kinds),
            handletextpad=0.1,
            columnspacing=0.9,
        )


def intervals(
    axis: "Axes",
    rows: Mapping[str, tuple[float, float, float]],
    hollow: Collection[str] = (),
) -> None:
    """Values with their intervals, a row each, beside a line at zero.

    Parameters
    ----------
    axis
    rows
        Value, lower and upper end by name, from top to bottom.
    hollow
        Rows whose value is an open circle: no difference by some rule that the caption tells.
    """
    for place, (name, (value, low, high)) in enumerate(rows.items()):
        axis.plot([low, high], [place, place], color=color(name), linewidth=3)
        axis.plot(value, place, "o", mec=INK, mfc="white" if name in hollow else INK)
    axis.axvline(0, color=LINE, linewidth=1)
    axis.locator_params(axis="x", nbins=4)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_yticks(range(len(rows)), [wrap(name) for name in rows])


def numbers(
    axis: "Axes",
    values: "pd.DataFrame",
    shade: np.ndarray | None = None,
    best: Collection[str] = (),
    form: str = ".2f",
) -> None:
    """A frame's numbers on a grid of shades.

    Parameters
    ----------
    axis
    values
        NaN leaves a place empty. Names of rows and columns go to the ticks.
    shade
        Between 0 and 1, as large as `values` [each row from its lowest to its highest].
    best
        Rows in which the highest number is framed. Where some are named, others stay plain.
    form
        Format of the numbers.
    """
    from matplotlib.patches import Rectangle

    plain = values.to_numpy(float)
    if shade is None:
        low = np.nanmin(plain, axis=1, keepdims=True)
        span = np.nanmax(plain, axis=1, keepdims=True) - low
        shade = (plain - low) / np.where(span > 0, span, 1)
        if best:
            shade[~np.isin(values.index, list(best))] = 0
    # No shade is so dark that black numbers on it cannot be read.
    axis.imshow(shade, cmap="Blues", vmin=-0.1, vmax=1.8, aspect="auto")
    for (i, j), value in np.ndenumerate(plain):
        text = "" if np.isnan(value) else f"{value:{form}}"
        axis.text(j, i, text, ha="center", va="center", fontsize=9)
    for name in best:
        i = list(values.index).index(name)
        if np.isfinite(plain[i]).any():
            corner = (int(np.nanargmax(plain[i])) - 0.5, i - 0.5)
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, lw=1.8))
    axis.set_yticks(range(len(values)), [wrap(str(name)) for name in values.index])
    axis.set_xticks(range(values.shape[1]), [str(name) for name in values.columns])
    axis.grid(False)


def pictures(images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 6) -> Any:
    """A figure of pictures in a grid, crops say, with a title each.

    Parameters
    ----------
    images
        As `show_image` takes them.
    titles
        As many, or none.
    columns
        Pictures in a row.

    Returns
    -------
    Figure
    """
    import matplotlib.pyplot as plt

    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    side = WIDTH / columns
    lines = max((1 + title.count("\n") for title in titles), default=0)
    size = WIDTH, rows * (side + 0.25 * lines) + 0.1 * (lines > 1)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for place, axis in enumerate(axes.flat):
        if place < len(images):
            show_image(axis, images[place], titles[place] if titles else "", fontsize=8.5)
            axis.set_anchor("S")  # what height is left over goes to the title
        else:
            axis.set_axis_off()
    return figure


def picture_rows(rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[str]) -> "Figure":
    """Draw pictures in named rows under titled columns: grey (H, W) from 0 to 1, or coloured.

    Parameters
    ----------
    rows
        Pictures by the name of their row.
    titles
        Of the columns.
    """
    import matplotlib.pyplot as plt

    side = 0.95 * WIDTH / len(titles)
    size = (WIDTH, 0.45 + side * len(rows))
    figure, axes = plt.subplots(len(rows), len(titles), figsize=size, squeeze=False)
    for number, (name, images) in enumerate(rows.items()):
        for axis, title, picture in zip(axes[number], titles, images, strict=True):
            show_image(axis, picture, "" if number else title, fontsize=8.5)
            axis.images[0].set_clim(0, 1)
        axes[number, 0].set_ylabel(name, fontsize=8)
    return figure
