"""The scorecard page: every claim of the paper beside what the pages of this book measured."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cpssl_lite.book.arrange import read_executed
from cpssl_lite.book.claims import Claim, Measured, missing, needs, read_recorded, verdict
from cpssl_lite.book.coverage import coverage_line, needs_table
from cpssl_lite.book.drawn import SHOULD, UNSEEN, Expected, behaviour, drawn_table
from cpssl_lite.book.html import Html, cell, markdown
from cpssl_lite.book.rules import SHOWN, UNTESTABLE, VERDICTS
from cpssl_lite.book.wording import badge, number


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


def stage_runs(stage: Path, runs: Sequence[Path]) -> list[Page]:
    """Add executed notebooks with other data to a staged book, as pages after its own."""
    added = []
    for order, path in enumerate(runs, 1):
        page = read_page(path)
        data = ", ".join(sorted({m.data for m in page.measured.values()})) or path.parent.name
        notebook = read_executed(path)
        for part in notebook["cells"]:
            # The chapter itself is in the book: its labels are taken.
            part["metadata"].get("mystnb", {}).get("figure", {}).pop("name", None)
            if part["cell_type"] == "markdown":
                text = f"{''.join(part['source'])}\n"
                title = f"# {page.title}: {markdown(data)}\n"
                part["source"] = text.replace(f"# {page.title}\n", title, 1).removesuffix("\n")
        name = re.sub(r"[^\w.-]", "_", page.name)
        page = replace(page, name=f"{name}-run{order}", title=f"{page.title}: {data}")
        file = stage / "chapters" / f"{page.name}.ipynb"
        file.write_text(json.dumps(notebook), encoding="utf-8")
        added.append(page)
    if added:
        toc = yaml.safe_load((stage / "_toc.yml").read_text(encoding="utf-8"))
        files = [{"file": f"chapters/{page.name}"} for page in added]
        toc["parts"].append({"caption": "Runs on other data", "chapters": files})
        (stage / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    return added


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
    told = ", ".join(f"{counts[status]} {badge(status)}" for status in VERDICTS)
    can = tested(judgements)
    on = ", ".join(sorted({one.measured.data for one in can if one.measured}))
    build = f"This build can test {len(can)} of the paper's {len(claims)} claims"
    reasons = sum(bool(claim.reason) for claim in claims.values())
    return f"{build}{f' (with {cell(on)})' if on else ''}: {told}, {reasons} that nobody can check."


def scorecard(claims: Mapping[str, Claim], pages: Sequence[Page]) -> Html:
    """Table of all claims that can be checked, each number with a link to its cell."""
    # What this build can say comes first; both parts in the order of the paper.
    found = sorted(judged(claims, pages), key=lambda one: one.status in (UNTESTABLE, SHOWN))
    head = "".join(
        f'<th scope="col" role="columnheader">{name}</th>'
        for name in ("Claim", "Paper", "This build", "Verdict")
    )
    rows = "".join(_row(one, pages) for one in found)
    return Html(
        f"<p>{count_verdicts(claims, found)}</p>"
        '<table class="cpssl-table cpssl-claims cpssl-scorecard" id="scorecard" role="table">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table>'
    )


def _drawn(measured: Measured | None) -> bool:
    return measured is not None and measured.data.startswith("simulated")


def _row(one: Judged, pages: Sequence[Page]) -> str:
    """One claim; roles keep it a table for screen readers where the page shows it as a card."""
    claim, status, page, measured = one
    home = next((p for p in pages if re.sub(r"^\d+_", "", p.name) == claim.chapter), None)
    where = cell(claim.where)
    if home:
        where += f' &middot; <a href="chapters/{cell(home.name)}.html">{cell(home.title)}</a>'
    lacks = claim.no_verdict if status == SHOWN else ""
    if status == UNTESTABLE:
        lacks = f"needs {needs(claim)}"
        if measured and not _drawn(measured):
            lacks += f" ({missing(claim, measured)})"
    value = "not measured"
    if page and measured:
        text = cell(number(measured.value, claim))
        value = f'<a href="chapters/{cell(page.name)}.html#claim-{cell(claim.id)}">{text}</a>'
    about = [text for text in (measured.data if measured else "", lacks) if text]
    value += f" <small>{cell('; '.join(about))}</small>"
    marks = {
        "verdict": status,
        "chapter": home.title if home else "",
        "data": "simulated" if _drawn(measured) else measured.data if measured else "none here",
    }
    attributes = " ".join(f'data-{name}="{cell(text)}"' for name, text in marks.items())
    cells = "".join(
        f'<td role="cell" data-label="{label}">{html}</td>'
        for label, html in (
            ("Paper", cell(number(claim.paper_value, claim))),
            ("This build", value),
            ("Verdict", badge(status)),
        )
    )
    return (
        f'<tr role="row" id="{cell(claim.id)}" {attributes}><th scope="row" role="rowheader">'
        f"{cell(claim.sentence)} <small>{where}</small> "
        f"<small>Measured: {cell(claim.metric)}</small></th>{cells}</tr>"
    )


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
