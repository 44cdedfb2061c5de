"""The first page's table of what was measured on real cells: kept, with command and date."""

from pathlib import Path
from typing import Any

from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.timings import kept_timing, reading_kept
from cpssl_lite.book.where import find_root

KEPT = Path("book") / "kept" / "cpjump1.json"
NEEDED = ("perturbation_map", "label_map", "percent_active", "one_place")
HEADER = ("Real cells", "What was measured; how, on what machine, when")


def kept_profiles_of_cpjump1(path: str | Path | None = None) -> dict[str, Any]:
    """Read what CPJUMP1's public profiles gave (``benchmarks/real_cells.py`` makes it again).

    Returns
    -------
    dict
        ``date``, ``machine``, ``versions``, ``tables`` (digests), ``commands``, ``scores``: as
        ``cpssl evaluate`` names them, and ``one_place``, the share of compounds that stand in the
        same wells of all plates.

    Raises
    ------
    InputError
        It is not there, or not such a measurement.
    """
    with reading_kept(path or find_root() / KEPT, "benchmarks/real_cells.py") as kept:
        if not all([*(name in kept["scores"] for name in NEEDED), kept["commands"], kept["date"]]):
            raise ValueError("scores, commands or date are missing")
    return kept


def write_real_cells() -> str:
    """Lines of MyST Markdown that put the table on a page; none in a book that keeps no numbers."""
    if not (find_root() / KEPT).parent.is_dir():
        return ""
    kept, timing = kept_profiles_of_cpjump1(), kept_timing()
    s = kept["scores"]
    place = "."
    if s["one_place"] > 0.5:
        place = "; compounds stand in the same wells of all plates, so their place may help."
    profiles = (
        f"Replicates on other plates are found with a perturbation mAP of "
        f"{s['perturbation_map']:.2f}, compounds of one target with one of {s['label_map']:.2f}; "
        f"{s['percent_active']:.0%} of the compounds differ from DMSO (q &lt; 0.05){place}"
    )
    what = (
        f"CPJUMP1, {s['n_batches']} plates of one batch: {s['n_perturbations']} compounds, "
        f"{s['n_features']} features by CellProfiler"
    )
    commands = "<br>".join(f"<code>{cell(line)}</code>" for line in kept["commands"])
    first, last = timing.seconds.columns[0], timing.seconds.columns[-1]
    middle, ratio = timing.seconds.median(), timing.ratio
    time = (
        f"{first} takes {middle[first]:.0f} CPU seconds a field and {last} {middle[last]:.1f}: "
        f"{ratio.median():.0f} times as long on the same core ({ratio.min():.0f} to "
        f"{ratio.max():.0f})."
    )
    rows = [
        (what, Html(profiles + _made(commands, kept))),
        (
            f"CPJUMP1, {len(ratio)} fields: {first} beside {last}",
            Html(time + _made("<code>python benchmarks/cellprofiler.py</code>", timing.about)),
        ),
    ]
    caption = "Measured on real cells, kept from earlier runs; neither is a verdict on the paper"
    return f"```{{raw}} html\n{table(HEADER, rows, caption, 'cpssl-real')}\n```\n"


def _made(commands: str, about: dict[str, Any]) -> str:
    return f"<small>{commands}<br>{cell(about['machine'])}, {cell(about['date'])}</small>"
