"""The explorer: a map of wells that a page draws by itself, without a server or a network.

The HTML holds all data; ``explorer.js`` and ``explorer_wells.js`` of ``book/_static`` draw it,
``explorer.css`` lays it out.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.figures import CHANNEL_COLORS
from cpssl_lite.book.html import Html, script_data
from cpssl_lite.metrics.graph import nearest_graph

NEIGHBOURS = 8
BYTES = 16e6  # that all pictures of a page may take; with the rest it stays under 25 MB
PER_PIXEL = 0.22  # bytes that a pixel of one stain takes: simulated fields take most
WELL = re.compile(r"([A-Za-z]{1,2})0*(\d{1,2})")


class Sheet(NamedTuple):
    """Thumbnails of many wells, row by row: a grey picture for each stain."""

    pictures: tuple[bytes, ...]  # WebP, one a channel
    columns: int
    wells: tuple[int, ...]  # rows of the well table, in the order of the thumbnails
    channels: tuple[str, ...]


def fit_side(wells: int, channels: int, side: int) -> int:
    """Side of the thumbnails, at most `side`, with which a page of so many wells stays small.

    Examples
    --------
    >>> fit_side(384, 5, 128), fit_side(10_000, 5, 128)
    (128, 38)
    """
    return min(side, int((BYTES / (PER_PIXEL * max(wells * channels, 1))) ** 0.5))


def sheet(planes: NDArray, channels: Sequence[str], wells: Sequence[int]) -> Sheet:
    """Put small fields of one plate into a grey picture for each stain, at one contrast each.

    Parameters
    ----------
    planes
        (n, C, s, s), one field per well. Each channel is black at its 1st and full at its 99.7th
        percentile over all of them together, so that a dark well looks dark.
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
    pictures = []
    for plane in grid.reshape(c, rows * s, columns * s):
        bottom, top = np.percentile(plane, (1.0, 99.7))
        grey = np.clip((plane - bottom) / max(float(top - bottom), 1e-9), 0, 1)
        packed = io.BytesIO()
        Image.fromarray((255 * grey).astype(np.uint8)).save(packed, "WEBP", quality=60)
        pictures.append(packed.getvalue())
    return Sheet(tuple(pictures), columns, tuple(int(well) for well in wells), tuple(channels))


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


def plate_layout(plates: Sequence[str], wells: Sequence[str]) -> dict[str, Any] | None:
    """Every well at its place on its plate, the plates side by side; None for other names.

    Examples
    --------
    >>> plate_layout(["P1", "P1", "P2"], ["A01", "B02", "A01"])["x"]
    [1.0, 2.0, 4.0]
    >>> plate_layout(["P1"], ["7"]) is None
    True
    """
    found = [WELL.fullmatch(str(well)) for well in wells]
    if not all(found):
        return None
    rows = [_row(match[1]) for match in found if match]
    columns = [int(match[2]) for match in found if match]
    names = sorted(set(plates))
    across = int(np.ceil(np.sqrt(len(names))))
    wide, high = max(columns) + 1, max(rows) + 2
    at = {name: (i % across * wide, i // across * high) for i, name in enumerate(names)}
    return {
        "name": "Plates, as laid out",
        "x": [float(at[p][0] + c) for p, c in zip(plates, columns, strict=True)],
        "y": [-float(at[p][1] + r) for p, r in zip(plates, rows, strict=True)],
        "labels": [[name, x + 0.6, -y - 0.4] for name, (x, y) in at.items()],
    }


def _row(letters: str) -> int:
    """Number of a row of a plate: A is 1, AA 27."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + ord(letter) - 64
    return number


def explorer(
    wells: pd.DataFrame,
    maps: Mapping[str, NDArray],
    *,
    color_by: Sequence[str],
    select: str | None = None,
    sheets: Sequence[Sheet] = (),
    grey: Sequence[str] = (),
    title: str = "Map of wells",
    features: Mapping[str, NDArray] | None = None,
    controls: NDArray | None = None,
    plate: str = "Plate",
    well: str = "Well",
) -> Html:
    """Build the explorer of one or several maps of the same wells.

    Parameters
    ----------
    wells
        A row per point; every column is shown, under its name, in its order. A column of numbers
        gets a scale of colours; NaN is no number.
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
    features
        Profiles (n, d) behind the maps, by the same names: the nearest wells in them (by cosine
        similarity) can be looked at.
    controls
        (n,) bool: wells that another one of their plate can be laid beside.
    plate, well
        Columns of plates and of places on them, for the view by plate, where they are there.

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
    near = min(NEIGHBOURS, len(wells) - 1) if features else 0
    drawn = []
    for name, points in placed.items():
        one: dict[str, Any] = {"name": name, "x": _short(points[:, 0]), "y": _short(points[:, 1])}
        if features:
            one["near"] = nearest_graph(features[name], near).neighbours.ravel().tolist()
        else:
            one["near"] = []
        drawn.append(one)
    if plate in wells and well in wells:
        layout = plate_layout(wells[plate].astype(str).tolist(), wells[well].astype(str).tolist())
        drawn += [layout] if layout else []
    channels = tuple(dict.fromkeys(name for made in sheets for name in made.channels))
    data: dict[str, Any] = {
        "title": title,
        "columns": [_column(str(name), wells[name]) for name in wells],
        "maps": drawn,
        "near": near,
        "select": select,
        "grey": list(grey),
        "plate": plate,
        "controls": [] if controls is None else np.flatnonzero(controls).tolist(),
        "channels": [{"name": name, "color": CHANNEL_COLORS[name]} for name in channels],
        "sheets": [
            {"src": [_uri(p) for p in made.pictures], "columns": made.columns, "wells": made.wells}
            for made in sheets
        ],
    }
    picks = ""
    if select:
        labels = sorted(set(wells[select].astype(str)) - {""})
        picks = _menu(select, "select", [("", "all"), *((v, v) for v in labels)])
    return Html(
        f'<div class="cpssl-explorer" data-n="{len(wells)}">'
        '<div class="cx-bar">'
        + _menu("Map", "map", [(str(i), one["name"]) for i, one in enumerate(drawn)])
        + _menu("Colour by", "color", [(name, name) for name in color_by])
        + picks
        + '<label class="cx-wide">Search<input type="search" name="search" autocomplete="off" '
        'placeholder="well, perturbation, ..." spellcheck="false"></label></div>'
        f"<noscript><p>{escape(title)}: drawing {len(wells)} points needs JavaScript. The figures "
        "and tables of the other chapters do not.</p></noscript>"
        f"{script_data(data)}</div>"
        f'<p class="cx-caption">{escape(title)}.{_colors(channels)}</p>'
    )


def _uri(picture: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(picture).decode()


def _colors(names: Sequence[str]) -> str:
    """Say which colour of the pictures is which channel."""
    dots = (
        f'<span><i style="background:rgb({",".join(f"{255 * v:.0f}" for v in CHANNEL_COLORS[name])}'
        f')"></i>{escape(name)}</span>'
        for name in names
    )
    return " Colours of the pictures: " + " ".join(dots) if names else ""


def _column(name: str, values: pd.Series) -> dict[str, Any]:
    """A column as its numbers, or as its sorted texts and the number of each row's text."""
    if pd.api.types.is_numeric_dtype(values):
        known = [None if np.isnan(v) else float(f"{v:.6g}") for v in values.to_numpy(float)]
        there = [v for v in known if v is not None] or [0.0]
        return {"name": name, "numbers": known, "range": [min(there), max(there)]}
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
