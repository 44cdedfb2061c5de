"""The first page's first picture: what the paper found, drawn from its claims and this build's."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpssl_lite.book import dark
from cpssl_lite.book.claims import Claim, Measured, verdict
from cpssl_lite.book.figures import COLORS, WIDTH, style
from cpssl_lite.book.rules import SHOWN, UNTESTABLE

# What is compared, and the claims that hold it: DINO's and CellProfiler's number (and which
# part of a row), or one claim that is a difference in percent, or a ratio.
FINDINGS = {
    "finds replicates\n(perturbation mAP)": ("dino-cellprofiler-perturbation",),
    "finds shared targets\n(target mAP, not significant)": ("dino-cellprofiler-target",),
    "groups gene families\n(AMI)": ("ami-dino", "ami-cellprofiler"),
    "predicts bioactivity\n(mean AUCROC)": ("bioactivity-dino", "bioactivity-cellprofiler"),
    "speed on a plate": ("fifty-times-faster",),
}
PART = "AUCROC"  # of a row of Table 1


def relative(claims: list[Claim], values: list[Any]) -> float | None:
    """DINO's number as a multiple of CellProfiler's; None where one was not measured.

    Examples
    --------
    >>> relative([Claim("a", "", "", unit="%")], [29]), relative([Claim("a", "", "")] * 2, [6, 3])
    (1.29, 2.0)
    """
    if any(value is None for value in values):
        return None
    first, *other = [float(v[PART] if isinstance(v, dict) else v) for v in values]
    if other:
        return first / other[0]
    return 1 + first / 100 if claims[0].unit == "%" else first


def write_findings(
    folder: Path, dark_folder: Path, claims: Mapping[str, Claim], measured: Mapping[str, Measured]
) -> str:
    """Draw the picture in both themes; return the lines that put it on a page.

    Returns
    -------
    MyST Markdown, empty where none of the claims is known.
    """
    rows = {}
    for name, ids in FINDINGS.items():
        if all(id in claims for id in ids):
            known = [claims[id] for id in ids]
            # Only what may stand beside the paper's number; what has no verdict says so.
            beside = {
                id: measured[id]
                for id in ids
                if id in measured and verdict(claims[id], measured[id]) != UNTESTABLE
            }
            here = [beside[id].value if id in beside else None for id in ids]
            kinds = {beside[id].data for id in ids if id in beside}
            if any(verdict(claims[id], beside[id]) == SHOWN for id in ids if id in beside):
                kinds.add("no verdict on the paper's number")
            paper = relative(known, [claim.paper_value for claim in known])
            if paper is not None:
                rows[name] = (paper, relative(known, here), ", ".join(sorted(kinds)))
    if not rows:
        return ""
    light, night = _draw(rows)
    (folder / "findings.png").write_bytes(light)
    dark_folder.mkdir(parents=True, exist_ok=True)
    (dark_folder / "findings.png").write_bytes(night)
    told = "; ".join(
        f"{name.replace(chr(10), ' ')} {paper:.3g}" for name, (paper, *_) in rows.items()
    )
    ours = [
        f"{name.replace(chr(10), ' ')} {value:.3g} ({kind})"
        for name, (_, value, kind) in rows.items()
        if value is not None
    ]
    caption = (
        "What the paper found on real plates: how well DINO's features do, as a multiple of "
        "CellProfiler's (1: equal). Diamonds are the paper's numbers. Circles are this build's: "
        f"{'; '.join(ours) or 'none here'}."
    )
    alt = f"DINO as a multiple of CellProfiler in the paper: {told}"
    return f"```{{figure}} _made/findings.png\n:alt: {alt}\n\n{caption}\n```\n"


def _draw(rows: Mapping[str, tuple[float, float | None, str]]) -> tuple[bytes, bytes]:
    """Pictures for the light and the dark page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    with mpl.rc_context():
        style()
        figure = Figure(figsize=(WIDTH, 0.45 * len(rows) + 0.9))
        axes = figure.add_subplot()
        axes.axvline(1, lw=2, color=COLORS["CellProfiler"], label="CellProfiler")
        for y, (paper, here, _) in enumerate(rows.values()):
            axes.plot([1, paper], [y, y], color=COLORS["DINO"], lw=3, alpha=0.35)
            axes.plot(paper, y, "D", ms=8, color=COLORS["DINO"], label="DINO in the paper")
            text = f"  {paper:.3g}\N{MULTIPLICATION SIGN}"
            axes.text(1.04 * paper, y, text, va="center")
            if here is not None:
                axes.plot(
                    here, y, "o", ms=8, mfc="none", mec="#26303A", mew=1.6, label="this build"
                )
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        shown = [value for row in rows.values() for value in row[:2] if value is not None]
        axes.set_xlim(0.8 * min([1, *shown]), 1.8 * max([1, *shown]))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("DINO as a multiple of CellProfiler")
        handles, labels = axes.get_legend_handles_labels()
        legend = dict(zip(labels, handles, strict=True))
        figure.legend(legend.values(), legend, loc="outside upper right", ncols=len(legend))
        target = io.BytesIO()
        figure.savefig(target, format="png", dpi=2 * figure.dpi)
        return target.getvalue(), dark.dark_png(figure)
