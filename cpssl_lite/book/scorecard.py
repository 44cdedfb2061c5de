"""The scorecard page: every claim of the paper beside what the pages of this book measured."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from cpssl_lite.book.claims import Claim, Measured, badge, number, read_recorded, verdict
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.rules import UNTESTABLE, VERDICTS

SIMULATED = "simulated"


class Page(NamedTuple):
    """A notebook's page in the book."""

    name: str  # 02_ssl_comparison
    title: str
    measured: Mapping[str, Measured]


def read_page(notebook: Path) -> Page:
    """Title and recorded claims of an executed notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    title = heading[1] if heading else notebook.stem
    return Page(notebook.stem, title, read_recorded([notebook]))


def stage_runs(stage: Path, runs: Sequence[Path]) -> None:
    """Add executed notebooks with other data to a staged book, as pages after its own."""
    added = []
    for order, path in enumerate(runs, 1):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        page = read_page(path)
        data = ", ".join(sorted({m.data for m in page.measured.values()})) or path.parent.name
        for part in notebook["cells"]:
            # The chapter itself is in the book: its labels are taken.
            part["metadata"].get("mystnb", {}).get("figure", {}).pop("name", None)
            if part["cell_type"] == "markdown":
                text = "".join(part["source"])
                part["source"] = text.replace(f"# {page.title}\n", f"# {page.title}: {data}\n", 1)
        name = f"{page.name}-run{order}"
        (stage / "chapters" / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        added.append({"file": f"chapters/{name}"})
    if added:
        toc = yaml.safe_load((stage / "_toc.yml").read_text(encoding="utf-8"))
        toc["parts"].append({"caption": "Runs on other data", "chapters": added})
        (stage / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")


def fill_scorecard(stage: Path, claims: Mapping[str, Claim]) -> None:
    """Put the tables into ``scorecard.md`` of a staged book, from the notebooks staged with it."""
    page = stage / "scorecard.md"
    if not page.is_file():
        return
    found = (stage / "chapters").glob("*.ipynb")
    pages = [read_page(path) for path in sorted(found, key=lambda path: path.stem)]
    text = page.read_text(encoding="utf-8")
    for mark, html in (
        ("<!-- scorecard -->", scorecard(claims, pages)),
        ("<!-- uncheckable -->", uncheckable(claims)),
    ):
        text = text.replace(mark, f"```{{raw}} html\n{html}\n```")
    page.write_text(text, encoding="utf-8")


def scorecard(claims: Mapping[str, Claim], pages: Sequence[Page]) -> Html:
    """Table of all claims that can be checked, with how many have which verdict.

    A claim measured on several pages shows the one that can test it best: real data before
    simulated ones, and these before data that cannot test it. Each number links to its cell.
    """
    counts: Counter[str] = Counter()
    drawn = 0
    rows = []
    for claim in claims.values():
        if claim.reason:
            continue
        found = [(page, page.measured[claim.id]) for page in pages if claim.id in page.measured]
        found.sort(key=lambda both: (verdict(claim, both[1]) == UNTESTABLE, _drawn(both[1])))
        page, measured = found[0] if found else (None, None)
        status = verdict(claim, measured)
        counts[status] += 1
        drawn += status != UNTESTABLE and measured is not None and _drawn(measured)
        rows.append(_row(claim, status, page, measured, pages))
    # What this build can say comes first; both parts in the order of the paper.
    rows.sort(key=lambda row: f'data-verdict="{UNTESTABLE}"' in row)
    judged = sum(counts.values()) - counts[UNTESTABLE]
    told = ", ".join(f"{counts[status]} {badge(status)}" for status in VERDICTS)
    head = "".join(
        f'<th scope="col" role="columnheader">{name}</th>'
        for name in ("Claim", "Paper", "This build", "Verdict")
    )
    return Html(
        f"<p>{sum(counts.values())} claims: {told}. Of the {judged} with a verdict, {drawn} were "
        "judged on simulated data.</p>"
        '<table class="cpssl-table cpssl-claims cpssl-scorecard" id="scorecard" role="table">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(rows)}</tbody></table>'
    )


def _drawn(measured: Measured) -> bool:
    return measured.data.startswith(SIMULATED)


def _row(
    claim: Claim,
    status: str,
    page: Page | None,
    measured: Measured | None,
    pages: Sequence[Page],
) -> str:
    """One claim; roles keep it a table for screen readers where the page shows it as a card."""
    home = next((p for p in pages if re.sub(r"^\d+_", "", p.name) == claim.chapter), None)
    where = cell(claim.where)
    if home:
        where += f' &middot; <a href="chapters/{cell(home.name)}.html">{cell(home.title)}</a>'
    needs = f"needs {', '.join(claim.testable_on)}" if status == UNTESTABLE else ""
    value = "not measured"
    if page and measured:
        text = cell(number(measured.value, claim))
        value = f'<a href="chapters/{cell(page.name)}.html#claim-{cell(claim.id)}">{text}</a>'
    about = [text for text in (measured.data if measured else "", needs) if text]
    value += f" <small>{cell('; '.join(about))}</small>"
    marks = {
        "verdict": status,
        "chapter": home.title if home else "",
        "data": ("simulated" if _drawn(measured) else measured.data) if measured else "none here",
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


def uncheckable(claims: Mapping[str, Claim]) -> Html:
    """Table of the claims that nobody can check from public files, and why."""
    rows = [(c.sentence, c.where, c.reason) for c in claims.values() if c.reason]
    header = ("Claim", "In the paper", "Why it cannot be checked")
    return table(header, rows, caption="Not checkable from public files", kind="cpssl-reasons")
