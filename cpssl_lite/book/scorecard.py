"""The scorecard page: every claim of the paper beside what the pages of this book measured."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cpssl_lite.base.words import counted
from cpssl_lite.book.arrange import read_executed
from cpssl_lite.book.claims import Claim, Measured, missing, needs, read_recorded, verdict
from cpssl_lite.book.coverage import coverage_line, needs_table
from cpssl_lite.book.drawn import SHOULD, UNSEEN, Expected, behaviour, drawn_table
from cpssl_lite.book.findings import FINDINGS
from cpssl_lite.book.html import Html, cell
from cpssl_lite.book.rules import SHOWN, UNTESTABLE, VERDICTS
from cpssl_lite.book.wording import badge, number

_COLUMNS = ("Claim", "Paper", "This build", "Verdict")
_CELLS = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in _COLUMNS)
_HEAD = f'<thead role="rowgroup"><tr role="row">{_CELLS}</tr></thead>'


@dataclass(frozen=True)
class Page:
    """A notebook's page in the book."""

    name: str  # 02_ssl_comparison
    title: str
    measured: Mapping[str, Measured]
    prose: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)  # what the runner noted
    cells: Sequence[dict[str, Any]] = ()


class Judged(NamedTuple):
    """A claim, its verdict, and the page and number that it rests on, where there are any."""

    claim: Claim
    status: str
    page: Page | None
    measured: Measured | None


def read_page(notebook: Path) -> Page:
    """Read an executed notebook."""
    content = read_executed(notebook)
    cells, run = content["cells"], content["metadata"].get("cpssl", {})
    prose = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    heading = re.search(r"^# (.+)$", prose, re.MULTILINE)
    title = heading[1] if heading else notebook.stem
    return Page(notebook.stem, title, read_recorded(cells), prose, run, cells)


def fill_scorecard(
    stage: Path,
    claims: Mapping[str, Claim],
    expected: Mapping[str, Expected],
    pages: Sequence[Page],
    covered: Mapping[str, list[str]],
) -> None:
    """Put the tables into ``scorecard.md`` of a staged book.

    Parameters
    ----------
    covered
        Claims that each edition can test (`coverage`).
    """
    file = stage / "scorecard.md"
    if not file.is_file():
        return
    text = file.read_text(encoding="utf-8")
    for mark, html in (
        ("<!-- scorecard -->", coverage_line(covered, len(claims)) + scorecard(claims, pages)),
        ("<!-- drawn -->", on_drawn(expected, pages) or "<p>Nothing here was drawn.</p>"),
        ("<!-- needs -->", needs_table(claims, covered)),
    ):
        text = text.replace(mark, f"```{{raw}} html\n{html}\n```")
    file.write_text(text, encoding="utf-8")


def judged(claims: Mapping[str, Claim], pages: Sequence[Page]) -> list[Judged]:
    """Judge every claim that can be checked.

    A claim measured on several pages is judged by the one that can test it best: real data before
    simulated ones, which test nothing.
    """
    best = []
    for claim in claims.values():
        if claim.reason:
            continue
        found = [
            Judged(claim, verdict(claim, page.measured[claim.id]), page, page.measured[claim.id])
            for page in pages
            if claim.id in page.measured
        ]
        found.sort(key=lambda one: (one.status == UNTESTABLE, _drawn(one.measured)))
        best.append(found[0] if found else Judged(claim, verdict(claim, None), None, None))
    return best


def tested(judgements: Sequence[Judged]) -> list[Judged]:
    """Those with a verdict."""
    return [one for one in judgements if one.status not in (UNTESTABLE, SHOWN)]


def count_verdicts(claims: Mapping[str, Claim], judgements: Sequence[Judged]) -> str:
    """How many claims this build can test, and how many have which verdict, as HTML."""
    counts = Counter(one.status for one in judgements)
    told = [f"{counts[status]} {badge(status)}" for status in VERDICTS if counts[status]]
    can = tested(judgements)
    on = ", ".join(sorted({one.measured.data for one in can if one.measured}))
    build = f"This build can test {len(can)} of the paper's {len(claims)} claims"
    told.append(f"{sum(bool(claim.reason) for claim in claims.values())} that nobody can check")
    return f"{build}{f' (with {cell(on)})' if on else ''}: {', '.join(told)}."


def scorecard(claims: Mapping[str, Claim], pages: Sequence[Page]) -> Html:
    """Table of all claims that can be checked, each number with a link to its cell.

    By chapter, those that hold the first page's headlines first. What these data cannot test is one
    folded row a chapter; what the paper has as one table is one row.
    """
    found = judged(claims, pages)
    homes = {_stem(page): page for page in reversed(pages)}
    headlines: dict[str, list[str]] = {}
    for finding in FINDINGS:
        if finding.ids[0] in claims:
            headlines.setdefault(claims[finding.ids[0]].chapter, []).append(finding.name)
    order = [*headlines, *map(_stem, pages), *(claim.chapter for claim in claims.values())]
    bodies = []
    for chapter in dict.fromkeys(order):
        here = [one for one in found if one.claim.chapter == chapter]
        others = [one for one in here if one.status == UNTESTABLE]
        told = _rows([one for one in here if one.status != UNTESTABLE], homes)
        if others:
            told += (
                f'<tr role="row" class="cpssl-lacking"><td role="cell" colspan="4"><details>'
                f"<summary>{counted(len(others), 'claim')} for other data</summary>"
                f'<table class="cpssl-table cpssl-claims cpssl-scorecard" role="table">{_HEAD}'
                f'<tbody role="rowgroup">{_rows(others, homes)}</tbody></table></details></td></tr>'
            )
        if told:
            title = _title(chapter, homes, headlines.get(chapter, ()))
            bodies.append(f'<tbody role="rowgroup">{title}{told}</tbody>')
    return Html(
        f"<p>{count_verdicts(claims, found)}</p>"
        '<table class="cpssl-table cpssl-claims cpssl-scorecard" id="scorecard" role="table">'
        f"{_HEAD}{''.join(bodies)}</table>"
    )


def _stem(page: Page) -> str:
    """A page's chapter, as claims name it."""
    return re.sub(r"^\d+_|-run\d+$", "", page.name)


def _title(chapter: str, homes: Mapping[str, Page], headlines: Sequence[str]) -> str:
    """The row that a chapter's claims stand below."""
    name = cell(chapter.replace("_", " ") or "Claims")
    if home := homes.get(chapter):
        name = f'<a href="chapters/{cell(home.name)}.html">{cell(home.title)}</a>'
    if headlines:
        name += f" <small>DINO {cell(', '.join(headlines))}</small>"
    return (
        f'<tr role="row" class="cpssl-group"><th role="rowheader" scope="rowgroup" colspan="4">'
        f"{name}</th></tr>"
    )


def _rows(found: Sequence[Judged], homes: Mapping[str, Page]) -> str:
    """A row for each claim, one for those that are rows of one table of the paper's."""
    tables: dict[tuple[str, ...], list[Judged]] = {}
    for one in found:
        many = one.claim.judge.get("kind") == "values"
        key = (one.claim.where, one.claim.metric) if many else (one.claim.id,)
        tables.setdefault(key, []).append(one)
    return "".join(_row(t[0], homes) if len(t) == 1 else _merged(t, homes) for t in tables.values())


def _merged(rows: Sequence[Judged], homes: Mapping[str, Page]) -> str:
    """Claims that differ in their features only, with a line each."""
    first = rows[0].claim
    lines = "".join(
        f'<tr id="{cell(claim.id)}"><th scope="row">{cell(", ".join(claim.features))}</th>'
        f"<td>{cell(number(claim.paper_value, claim))}</td><td>{_value(one)}</td>"
        f"<td>{badge(one.status)}</td></tr>"
        for one in rows
        for claim in (one.claim,)
    )
    lacks = f"; needs {cell(', '.join(first.testable_on))}" if _lacks(rows[0]) else ""
    return (
        f'<tr role="row" {_marks(rows, homes)}><td role="cell" colspan="4">'
        f"{cell(first.where)}: {len(rows)} rows, as the paper has them{lacks}"
        f"<small>Measured: {cell(first.metric)}</small>"
        f"<table><thead><tr>{''.join(f'<th scope=col>{h}</th>' for h in _COLUMNS)}</tr></thead>"
        f"<tbody>{lines}</tbody></table></td></tr>"
    )


def _drawn(measured: Measured | None) -> bool:
    return measured is not None and measured.data.startswith("simulated")


def _row(one: Judged, homes: Mapping[str, Page]) -> str:
    """One claim; roles keep it a table for screen readers where the page shows it as a card."""
    claim = one.claim
    about = [text for text in (one.measured.data if one.measured else "", _lacks(one)) if text]
    cells = "".join(
        f'<td role="cell" data-label="{label}">{html}</td>'
        for label, html in (
            ("Paper", cell(number(claim.paper_value, claim))),
            ("This build", f"{_value(one)} <small>{cell('; '.join(about))}</small>"),
            ("Verdict", badge(one.status)),
        )
    )
    return (
        f'<tr role="row" id="{cell(claim.id)}" {_marks([one], homes)}>'
        f'<th scope="row" role="rowheader">{cell(claim.sentence)} <small>{cell(claim.where)}'
        f"</small> <small>Measured: {cell(claim.metric)}</small></th>{cells}</tr>"
    )


def _value(one: Judged) -> str:
    """What this build measured, with a link to the cell that did."""
    if not (one.page and one.measured):
        return "not measured"
    text = cell(number(one.measured.value, one.claim))
    return f'<a href="chapters/{cell(one.page.name)}.html#claim-{cell(one.claim.id)}">{text}</a>'


def _lacks(one: Judged) -> str:
    """Why there is no verdict; "" where there is one."""
    claim, status, _, measured = one
    if status != UNTESTABLE:
        return claim.no_verdict if status == SHOWN else ""
    if measured is None or _drawn(measured):
        return f"needs {needs(claim)}"
    return f"needs {needs(claim)} ({missing(claim, measured)})"


def _marks(rows: Sequence[Judged], homes: Mapping[str, Page]) -> str:
    """Attributes of a row that the page's menus filter by; several values by semicolons."""
    home = homes.get(rows[0].claim.chapter)
    kinds = (
        "simulated" if _drawn(one.measured) else one.measured.data if one.measured else "none here"
        for one in rows
    )
    marks = {
        "verdict": "; ".join(dict.fromkeys(one.status for one in rows)),
        "chapter": home.title if home else "",
        "data": "; ".join(dict.fromkeys(kinds)),
        "claims": len(rows),
    }
    return " ".join(f'data-{name}="{cell(text)}"' for name, text in marks.items())


def on_drawn(expected: Mapping[str, Expected], pages: Sequence[Page]) -> Html:
    """Table of what methods should do on drawn data, each number with a link to its cell."""
    measured = _measured_on_drawn(pages)
    links = {id: f"chapters/{page.name}.html#claim-{id}" for id, (page, _) in measured.items()}
    return drawn_table(expected, {id: one for id, (_, one) in measured.items()}, links)


def count_drawn(expected: Mapping[str, Expected], pages: Sequence[Page]) -> tuple[int, int]:
    """How many of them were as they should be, and how many were measured."""
    measured = _measured_on_drawn(pages)
    known = {id: one for id, (_, one) in measured.items()}
    found = [behaviour(one, known.get(one.of or one.id)) for one in expected.values()]
    return found.count(SHOULD), len(found) - found.count(UNSEEN)


def _measured_on_drawn(pages: Sequence[Page]) -> dict[str, tuple[Page, Measured]]:
    measured: dict[str, tuple[Page, Measured]] = {}
    for page in pages:
        for id, one in page.measured.items():
            if _drawn(one):
                measured.setdefault(id, (page, one))
    return measured
