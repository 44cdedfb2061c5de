"""The first page's five headlines: the paper's number as a bar, and this build's beside it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cpssl_lite.book.claims import Claim, Measured, verdict
from cpssl_lite.book.html import Html, cell
from cpssl_lite.book.rules import SHOWN, UNTESTABLE
from cpssl_lite.book.wording import badge

PART = "AUCROC"  # of a row of Table 1


class Finding(NamedTuple):
    """A headline: what is compared, the claims that hold it, and what else tests it."""

    name: str
    detail: str
    ids: tuple[str, ...]  # DINO's and CellProfiler's number, or one that is a difference or a ratio
    test: str = "cpssl book EDITION"


FINDINGS = (
    Finding(
        "finds replicates",
        "perturbation mAP",
        ("dino-cellprofiler-perturbation",),
    ),
    Finding(
        "finds shared targets",
        "target mAP; not significant in the paper",
        ("dino-cellprofiler-target",),
    ),
    Finding("groups gene families", "AMI", ("ami-dino", "ami-cellprofiler")),
    Finding(
        "predicts bioactivity",
        "mean AUCROC",
        ("bioactivity-dino", "bioactivity-cellprofiler"),
        'cpssl run bioactivity -p profiles=\'{"DINO": ["cpg0012.parquet"]}\'',
    ),
    Finding("is fast", "time for the same images", ("fifty-times-faster",), "make bench"),
)


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
    claims: Mapping[str, Claim],
    measured: Mapping[str, Measured],
    covered: Mapping[str, Sequence[str]],
) -> str:
    """Lines of MyST Markdown that put the headlines on a page; "" where no claim is known.

    What this build measured is shown where it may stand beside the paper's number. Where it may
    not, the row is grey and names the command that tests it: that of an edition which can
    (`covered`: claims by edition), where there is one.
    """
    rows = []
    for finding in FINDINGS:
        if all(id in claims for id in finding.ids):
            known = [claims[id] for id in finding.ids]
            paper = relative(known, [claim.paper_value for claim in known])
            if paper is not None:
                rows.append((finding, known, paper))
    if not rows:
        return ""
    body = "".join(_row(*row, measured, _command(row[0], covered)) for row in rows)
    return (
        '```{raw} html\n<div class="cpssl-scroll cpssl-findings" role="region" tabindex="0" '
        'aria-label="What the paper found">'
        '<table class="cpssl-table"><caption>DINO as a multiple of CellProfiler (1: equal; bars '
        'on a logarithmic scale)</caption><thead><tr><th scope="col">DINO</th>'
        '<th scope="col">In the paper</th><th scope="col">In this build</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>\n```\n"
    )


def _command(finding: Finding, covered: Mapping[str, Sequence[str]]) -> str:
    """What to type to have a finding tested."""
    able = [name for name, ids in covered.items() if set(finding.ids) <= set(ids)]
    return f"cpssl book {able[0]}" if able else finding.test


def _row(
    finding: Finding,
    known: list[Claim],
    paper: float,
    measured: Mapping[str, Measured],
    command: str,
) -> str:
    got = [measured.get(claim.id) for claim in known]
    said = {verdict(claim, one) for claim, one in zip(known, got, strict=True)}
    head = f"{cell(finding.name)} <small>{cell(finding.detail)}</small>"
    value = None if UNTESTABLE in said else relative(known, [one and one.value for one in got])
    if value is None:
        grey, here = ' class="cpssl-untested"', f"<code>{cell(command)}</code>"
        here = f"not tested by these data; try {here}"
    else:
        marks = " ".join(badge(status) for status in sorted(said - {SHOWN}))
        on = ", ".join(sorted({one.data for one in got if one}))
        note = f"{cell(on)}{' (shown beside, judges nothing)' if SHOWN in said else ''}"
        grey, here = "", f"{_bar(value)} {marks} <small>{note}</small>"
    return f'<tr{grey}><th scope="row">{head}</th><td>{_bar(paper)}</td><td>{here}</td></tr>'


def _bar(value: float) -> Html:
    """A multiple in words and as a bar from 1; full length (--part: 100) is a hundredfold.

    Examples
    --------
    >>> print(_bar(10))
    <span class="cpssl-bar" style="--part: 50"></span>10×
    >>> "0.5×" in _bar(0.5), "--part: 15" in _bar(0.5)
    (True, True)
    """
    part = round(100 * min(abs(math.log10(max(value, 0.01))) / 2, 1))
    less = " cpssl-less" if value < 1 else ""
    style = f'class="cpssl-bar{less}" style="--part: {part}"'
    return Html(f"<span {style}></span>{value:.3g}\N{MULTIPLICATION SIGN}")
