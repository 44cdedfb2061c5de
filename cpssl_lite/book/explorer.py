"""The explorer: a map of wells that a page draws by itself, without a server or a network.

The HTML holds all data; ``book/_static/explorer.js`` draws it and ``explorer.css`` lays it out.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.figures import CHANNEL_COLORS, composite
from cpssl_lite.book.html import Html


class Sheet(NamedTuple):
    """Thumbnails of many wells in one picture, row by row."""

    picture: bytes  # WebP
    columns: int
    wells: tuple[int, ...]  # rows of the well table, in the order of the thumbnails
    channels: tuple[str, ...]


def sheet(planes: NDArray, channels: Sequence[str], wells: Sequence[int]) -> Sheet:
    """Composite small fields of one plate, all with the same contrast.

    Parameters
    ----------
    planes
        (n, C, s, s), one field per well. Contrast is stretched over all of them together, so
        that a dark well looks dark.
    channels
        Names of the C channels.
    wells
        Row of each field in the well table that `explorer` gets.
    """
    from PIL import Image

    n, c, s, _ = planes.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    # Repeating the last field keeps the empty places out of the percentiles.
    filled = planes[np.minimum(np.arange(rows * columns), n - 1)]
    grid = filled.reshape(rows, columns, c, s, s).transpose(2, 0, 3, 1, 4)
    picture = composite(grid.reshape(c, rows * s, columns * s), channels)
    packed = io.BytesIO()
    Image.fromarray(picture).save(packed, "WEBP", quality=70)
    rows_of = tuple(int(well) for well in wells)
    return Sheet(packed.getvalue(), columns, rows_of, tuple(channels))


def align(maps: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Turn and mirror every map to lie as near to the first as it can; axes mean nothing here.

    Each map (n, 2) comes back centred, with its largest distance from the centre as 1.

    Raises
    ------
    InputError
        A map that is not (n, 2), holds NaN, or has another number of points than the first.
    """
    placed: dict[str, NDArray] = {}
    for name, points in maps.items():
        first = next(iter(placed.values()), None)
        n = len(points if first is None else first)
        if np.shape(points) != (n, 2) or n < 2 or not np.isfinite(points).all():
            raise InputError(
                f"map {name}: finite coordinates ({n}, 2) expected, got {np.shape(points)}"
            )
        centred = points - np.mean(points, axis=0)
        centred = centred / max(float(np.linalg.norm(centred, axis=1).max()), 1e-9)
        if first is None:  # its longest side lies across, as pages are wider than high
            turn = np.linalg.svd(centred, full_matrices=False)[2].T
        else:
            turn = orthogonal_procrustes(centred, first)[0]
        placed[name] = centred @ turn
    return placed


def explorer(
    wells: pd.DataFrame,
    maps: Mapping[str, NDArray],
    *,
    color_by: Sequence[str],
    select: str | None = None,
    sheets: Sequence[Sheet] = (),
    grey: Sequence[str] = (),
    title: str = "Map of wells",
) -> Html:
    """Build the explorer of one or several maps of the same wells.

    Parameters
    ----------
    wells
        A row per point; every column is shown, under its name, in its order.
    maps
        Coordinates (n, 2) by feature type.
    color_by
        Columns that the colour menu offers, first one first.
    select
        Column whose values can be picked one at a time (the target, say).
    sheets
        Thumbnails from `sheet`; wells that none of them has are shown without.
    grey
        Values that every colour menu draws grey, below the others: the controls.
    title
        What the map shows and of which data: its caption.

    Raises
    ------
    InputError
        A column that `wells` has not, no map, or maps that do not fit the wells.
    """
    missing = [name for name in (*color_by, select) if name and name not in wells]
    if missing or not maps or not color_by:
        raise InputError(
            f"explorer: {f'no column {missing[0]}' if missing else 'no map or no colour'};"
            f" columns: {', '.join(map(str, wells.columns))}; maps: {', '.join(maps) or 'none'}"
        )
    placed = align(maps)
    if any(len(points) != len(wells) for points in placed.values()):
        raise InputError(f"explorer: {len(wells)} wells, but maps have another number of points")
    data: dict[str, Any] = {
        "title": title,
        "columns": [_coded(str(name), wells[name]) for name in wells],
        "maps": [
            {"name": name, "x": _short(points[:, 0]), "y": _short(points[:, 1])}
            for name, points in placed.items()
        ],
        "select": select,
        "grey": list(grey),
        "sheets": [
            {
                "src": "data:image/webp;base64," + base64.b64encode(made.picture).decode(),
                "columns": made.columns,
                "wells": made.wells,
            }
            for made in sheets
        ],
    }
    # Inside a script element nothing is escaped, and nothing but "<" can end it.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    picks = ""
    if select:
        labels = sorted(set(wells[select].astype(str)) - {""})
        picks = _menu(select, "select", [("", "all"), *((v, v) for v in labels)])
    return Html(
        f'<div class="cpssl-explorer" data-n="{len(wells)}">'
        '<div class="cx-bar">'
        + _menu("Features", "map", [(str(i), name) for i, name in enumerate(placed)])
        + _menu("Colour by", "color", [(name, name) for name in color_by])
        + picks
        + '<label class="cx-wide">Search<input type="search" name="search" autocomplete="off" '
        'placeholder="well, perturbation, ..." spellcheck="false"></label></div>'
        f"<noscript><p>{escape(title)}: drawing {len(wells)} points needs JavaScript. The figures "
        "and tables of the other chapters do not.</p></noscript>"
        f'<script type="application/json">{text}</script></div>'
        f'<p class="cx-caption">{escape(title)}.{_colors(sheets)}</p>'
    )


def _colors(sheets: Sequence[Sheet]) -> str:
    """Say which colour of the pictures is which channel."""
    names = dict.fromkeys(name for made in sheets for name in made.channels)
    dots = (
        f'<span><i style="background:rgb({",".join(f"{255 * v:.0f}" for v in CHANNEL_COLORS[name])}'
        f')"></i>{escape(name)}</span>'
        for name in names
    )
    return " Colours of the pictures: " + " ".join(dots) if names else ""


def _coded(name: str, values: pd.Series) -> dict[str, Any]:
    """A column as its sorted texts and the number of each row's text."""
    texts, codes = np.unique(values.fillna("").astype(str).to_numpy(str), return_inverse=True)
    return {"name": name, "values": texts.tolist(), "codes": codes.tolist()}


def _short(values: NDArray) -> list[float]:
    return [round(float(value), 4) for value in values]


def _menu(label: str, name: str, options: Sequence[tuple[str, str]]) -> str:
    inside = "".join(
        f'<option value="{escape(value, quote=True)}">{escape(text)}</option>'
        for value, text in options
    )
    return f'<label>{escape(label)}<select name="{name}">{inside}</select></label>'
