"""A page to look at before anything is computed: every plate, what is out of focus, what is empty.

Thresholds are chosen to be looked at, not to drop fields by themselves: nothing is removed.
"""

import base64
import io
import logging
import re
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, check_writable
from cpssl_lite.base.words import counted
from cpssl_lite.base.workers import in_processes
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.metadata import PLATE
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.images.twins import mark, twin_channels

log = logging.getLogger(__name__)

EMPTY, FULL = 0.01, 0.6  # share of a field above 0.7 x Otsu; noise alone gives about 0.9
BLUR = 1.0  # fall of the spectral slope; a Gaussian blur of one pixel lowers it by about 1.7
THUMBNAIL = 44  # px
MOST = 500  # flagged fields that the page lists
SLOPES = [f"slope_{name}" for name in CHANNELS]


def quality(table: str | Path, out: str | Path, workers: int = 2) -> Path:
    """Measure every merged field and write a page about it.

    Flags, per field: *nothing in a channel* (its pixels have one value), *the same pixels* in two
    channels or as another field (copies of one file), *empty* (under 1% of it
    is brighter than 0.7 x Otsu's threshold in DNA), *no
    nuclei to tell apart* (over 60% is: an empty field whose noise was stretched), *out of focus*
    (in some channel the log-log slope of the power spectrum, which a blur makes steeper, is more
    than 1 and more than five robust standard deviations below the median of its plate; plates with
    under eight fields are taken together). The slope is CellProfiler's measure of focus
    (Bray et al., J. Biomol. Screen. 2012).

    Parameters
    ----------
    table
        Image table with merged fields.
    out
        HTML file, one file with everything in it; the measures are written beside it as CSV.

    Returns
    -------
    Path of the page.

    Raises
    ------
    InputError
        The table cannot be used or has no merged fields, or `out` cannot be written.
    """
    table, out = Path(table), Path(out)
    images = read_image_table(table)
    if "FileName_Merged" not in images:
        raise InputError(f"{table}: has no merged fields; make them with cpssl data prepare")
    for file in (out, out.with_suffix(".csv")):
        check_writable(file, [table, *images["FileName_Merged"][:1]])
    files = images["FileName_Merged"].tolist()
    # tqdm's own rule: no bar unless standard error is a terminal.
    done = in_processes(_measure, files, workers)
    found = list(tqdm(done, total=len(files), unit="field", disable=None))
    measures = images.drop(columns="FileName_Merged").join(pd.DataFrame([m for m, _ in found]))
    measures["same"] = _same(measures, measures.pop("twins"), measures.pop("mark"))
    if (same := measures["same"] != "").any():
        log.warning(
            "%d of %s with the same pixels in two channels or as another (first: %s %s)",
            *(same.sum(), counted(len(same), "field")),
            *(_names(measures[same])[0], measures["same"][same].iloc[0]),
        )
    measures["flag"] = flags(measures)
    with atomic_path(out.with_suffix(".csv")) as scratch:
        measures.to_csv(scratch, index=False)
    name = f"{table.resolve().parent.name}/{table.name}"
    with atomic_path(out) as scratch:
        scratch.write_text(_page(name, measures, [picture for _, picture in found]))
    return out


def flags(measures: pd.DataFrame) -> list[str]:
    """What is wrong with each field, in words; empty where nothing is.

    Parameters
    ----------
    measures
        Columns ``foreground``, the five ``slope_*``, ``blank``, ``same`` and the plate's.
    """
    slope = measures[SLOPES]
    plate = measures[PLATE].agg("/".join, axis=1)
    plate = plate.where(plate.map(plate.value_counts()) >= 8, "few fields")
    fall = slope.groupby(plate).transform("median") - slope
    spread = 1.4826 * fall.abs().groupby(plate).transform("median")
    blurred = (fall > BLUR) & (fall > 5 * spread)
    words = []
    columns = (measures["foreground"], blurred.to_numpy(), measures["blank"], measures["same"])
    for share, lost, blank, same in zip(*columns, strict=True):
        if blank:
            words.append(f"nothing in {blank}: one value all over")
        elif same:
            words.append(f"the same pixels {same}")
        elif share < EMPTY:
            words.append(f"empty: {share:.1%} foreground")
        elif share > FULL:
            words.append(f"no nuclei to tell apart: {share:.0%} foreground")
        elif lost.any():
            names = [name for name, yes in zip(CHANNELS, lost, strict=True) if yes]
            words.append(f"out of focus: {', '.join(names)}")
        else:
            words.append("")
    return words


def _same(measures: pd.DataFrame, twins: pd.Series, marks: pd.Series) -> list[str]:
    """Where the pixels of each field are there once more, in words; empty where they are not."""
    names = pd.Series(_names(measures), measures.index)
    alike = names.groupby(marks.where(marks != "")).agg(list)
    words = []
    for name, key, pair in zip(names, marks, twins, strict=True):
        others = [other for other in alike.get(key, []) if other != name]
        more = f" and {len(others) - 1} more" * (len(others) > 1)
        words.append(f"in {pair}" if pair else f"as {others[0]}{more}" if others else "")
    return words


def _names(fields: pd.DataFrame) -> list[str]:
    """Plate, well and site of each field, with slashes."""
    key = fields[[*PLATE, "Metadata_Well", "Metadata_Site"]]
    return ["/".join(filter(None, row)) for row in key.itertuples(index=False, name=None)]


def spectral_slope(plane: NDArray) -> float:
    """Slope of log power over log frequency; steeper (lower) where fine detail is missing.

    Of the upper left 512 px at most, under a Hann window, over frequencies of 1/64 to 1/2 per px.
    A constant plane gives 0.
    """
    plane = plane[:512, :512].astype(np.float32)
    plane -= plane.mean()
    height, width = plane.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.rfft2(plane * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    edges = np.geomspace(1 / 64, 1 / 2, 20)
    ring = np.digitize(frequency.ravel(), edges)
    counts = np.bincount(ring, minlength=len(edges) + 1)[1:-1]
    means = np.bincount(ring, power.ravel(), len(edges) + 1)[1:-1] / np.maximum(counts, 1)
    there = means > 0
    if there.sum() < 2:
        return 0.0
    centres = np.log(np.sqrt(edges[1:] * edges[:-1]))
    return float(np.polyfit(centres[there], np.log(means[there]), 1)[0])


def _measure(file: str) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Measures of a field, and a thumbnail: Mito and AGP red, RNA and ER green, DNA blue."""
    field = read_merged(file)
    mito, agp, rna, er, dna = field.pixels
    otsu = field.otsu if field.otsu is not None else otsu_threshold(dna)
    share = float((dna > 0.7 * otsu * 65535).mean())
    slopes = [spectral_slope(plane) for plane in field.pixels]
    blank = [name for name, plane in zip(CHANNELS, field.pixels, strict=True) if not np.ptp(plane)]
    step = max(1, min(dna.shape) // (2 * THUMBNAIL))
    colours = (np.maximum(mito, agp), np.maximum(rna, er), dna)
    small = np.stack([(c[::step, ::step] >> 8).astype(np.uint8) for c in colours], axis=-1)
    picture = np.asarray(Image.fromarray(small).resize((THUMBNAIL, THUMBNAIL)))
    pair = " and ".join(twin_channels(field.pixels, CHANNELS) or ())
    measures = {"otsu": otsu, "foreground": share, "blank": ", ".join(blank)}
    measures |= {"twins": pair, "mark": mark(field.pixels)}
    return measures | dict(zip(SLOPES, slopes, strict=True)), picture


HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;color:#26303a;
background:#fff}}img{{max-width:100%;height:auto}}.scroll{{overflow-x:auto}}
table{{border-collapse:collapse;font-size:.9rem}}th,td{{padding:.2rem .8rem;text-align:left;
border-bottom:1px solid #dde2e7}}</style><h1>{title}</h1>"""


def _page(name: str, measures: pd.DataFrame, pictures: list[NDArray[np.uint8]]) -> str:
    flagged = measures[measures["flag"] != ""]
    parts = [
        HEAD.format(title=f"Quality of {escape(name)}"),
        f"<p>{counted(len(measures), 'field')}, {len(flagged):,} flagged. Nothing has been "
        "removed; every field's measures are in the CSV beside this page.</p>",
        _histograms(measures),
        "<h2>Flagged fields</h2>",
        _table(flagged) if len(flagged) else "<p>None.</p>",
    ]
    for key, rows in measures.groupby(PLATE, sort=False):
        title = " / ".join(filter(None, map(str, key)))
        parts += [f"<h2>Plate {escape(title)}</h2>", _montage(title, rows, pictures)]
    return "\n".join(parts) + "</html>\n"


def _table(flagged: pd.DataFrame) -> str:
    columns = [*PLATE, "Metadata_Well", "Metadata_Site", "flag"]
    shown = flagged[columns].head(MOST).rename(columns=lambda c: c.removeprefix("Metadata_"))
    more = f"<p>The first {MOST} of {len(flagged)}.</p>" if len(flagged) > MOST else ""
    with pd.option_context("display.max_colwidth", None):
        table = shown.to_html(index=False, border=0, justify="left")
    box = '<div class="scroll" tabindex="0" role="region" aria-label="flagged fields">'
    return f"{box}{table}</div>{more}"


def _montage(title: str, rows: pd.DataFrame, pictures: list[NDArray[np.uint8]]) -> str:
    """The first site of every well, where it lies on the plate; flagged wells have a red frame."""
    wells = rows.groupby("Metadata_Well", sort=False)
    first, bad = wells.head(1), set(rows.loc[rows["flag"] != "", "Metadata_Well"])
    places = [_place(well) for well in first["Metadata_Well"]]
    spots = [place for place in places if place]
    if len(spots) < len(places):  # some wells have no position: side by side
        spots = [divmod(n, 24) for n in range(len(places))]
    top, left = (min(spot[i] for spot in spots) for i in (0, 1))
    height, width = (max(spot[i] for spot in spots) + 1 for i in (0, 1))
    step = THUMBNAIL + 4
    canvas = np.full(((height - top) * step, (width - left) * step, 3), 255, np.uint8)
    for number, well, (row, column) in zip(
        first.index.tolist(), first["Metadata_Well"], spots, strict=True
    ):
        y, x = (row - top) * step, (column - left) * step
        if well in bad:
            canvas[y : y + step, x : x + step] = (213, 0, 0)
        canvas[y + 2 : y + 2 + THUMBNAIL, x + 2 : x + 2 + THUMBNAIL] = pictures[number]
    alt = f"Plate {title}: {counted(len(first), 'well')}, {len(bad)} of them with a flagged field"
    return _embedded(Image.fromarray(canvas), alt)


def _place(well: str) -> tuple[int, int] | None:
    """Row and column of A01, B12, AA03; None for other names."""
    found = re.fullmatch(r"(A?)([A-Z])0*(\d\d?)", well)
    return found and (26 * len(found[1]) + ord(found[2]) - ord("A"), int(found[3]) - 1)


def _histograms(measures: pd.DataFrame) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots(1, 3)
    measured = [
        ("otsu", "Otsu threshold of DNA (0 to 1)"),
        ("foreground", "share above 0.7 x Otsu"),
        ("slope_DNA", "spectral slope of DNA"),
    ]
    for axis, (column, title) in zip(axes, measured, strict=True):
        axis.hist(measures[column], bins=40, color="#0072B2")
        axis.set(xlabel=title, ylabel="fields")
    for edge in (EMPTY, FULL):
        axes[1].axvline(edge, color="#D50000", linestyle="--", linewidth=1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _embedded(
        Image.open(buffer), "Histograms of Otsu threshold, foreground share and spectral slope"
    )


def _embedded(image: Image.Image, alt: str) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<p><img alt="{escape(alt, quote=True)}" src="data:image/jpeg;base64,{data}"></p>'
