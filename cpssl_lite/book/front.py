"""What the build adds: the first page's picture, verdicts and times, dark figures, launch lines."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cpssl_lite.book import dark
from cpssl_lite.book.api import fill_api
from cpssl_lite.book.arrange import HEADLINE
from cpssl_lite.book.claims import Claim
from cpssl_lite.book.drawn import Expected
from cpssl_lite.book.editions import Edition
from cpssl_lite.book.figures import WIDTH
from cpssl_lite.book.findings import write_findings
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.real_cells import write_real_cells
from cpssl_lite.book.scorecard import Page, count_drawn, count_verdicts, judged, tested
from cpssl_lite.book.shelf import PLACE
from cpssl_lite.book.wording import badge

OVERVIEW = "fig-phenotypes"  # the figure, of whatever notebook, that the first page shows
WORDS_A_MINUTE = 200
# For a page that names the repository before anybody has said where it is.
NO_ADDRESS = (
    "This copy of the book was built without a public address of its repository; it goes to "
    "`cpssl_repository` in `_config.yml`."
)


KEPT = (
    "Kept from other runs are the features measured on segmented cells, the predictions of the "
    "image networks, the times of CellProfiler itself and of `make bench`, and the three small "
    "networks; everything else on these pages was computed when the book was built."
)


def add_front(
    stage: Path,
    pages: Sequence[Page],
    claims: Mapping[str, Claim],
    expected: Mapping[str, Expected],
    covered: Mapping[str, Sequence[str]],
    repository: str = "",
    edition: Edition | None = None,
) -> None:
    """Write what ``index.md`` includes from ``_made/``, and a line under each chapter's title.

    Parameters
    ----------
    stage
        The book's sources, about to be rendered.
    pages
        The book's own notebooks, in the order of the contents.
    claims, expected
        Claims to judge, and what drawn data should show.
    covered
        Claims that each edition can test (`coverage`).
    repository
        Public address of the repository on GitHub, or "".
    edition
        What this build is made from.
    """
    from cpssl_lite.book.recipe_table import recipe_table  # torch, for a name or two

    made = stage / "_made"
    made.mkdir()
    overview = [f for f in _figures(pages) if f[0]["figure"].get("name") == OVERVIEW]
    measured = {id: found for page in pages for id, found in page.measured.items()}
    texts = {
        "findings": write_findings(claims, measured, covered),
        "box": _box(claims, expected, pages, edition),
        "overview": _overview(stage, *overview[0]) if overview else "",
        "real": write_real_cells(),
        "scorecard": _scorecard(claims, pages),
        "chapters": _chapters(pages),
        "recipes": f"```{{raw}} html\n{recipe_table()}\n```\n",
    }
    for name, text in texts.items():
        (made / f"{name}.md").write_text(text, encoding="utf-8")
    fill_api(stage)
    values = _times(pages) | _addresses(repository)
    for file in stage.glob("*.md"):
        _substitute(file, values)
    for page in pages:
        _launch_line(stage, page, repository, edition)


def _edition(edition: Edition) -> str:
    """Name the edition on its first page; links to others come when they are there (`shelf`)."""
    name, title, about = map(cell, (edition.name, edition.title, edition.about))
    text = f"<strong>The edition <em>{name}</em>: {title}.</strong> {about}{PLACE}"
    return f'<p class="cpssl-edition">{" ".join(text.split())}</p>'


def _figures(pages: Sequence[Page]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the mystnb metadata and the output data of every captioned figure."""
    for code in (code for page in pages for code in page.cells):
        about = code["metadata"].get("mystnb", {})
        for output in code.get("outputs", []):
            if "image/png" in output.get("data", {}) and "figure" in about:
                yield about, output["data"]


def add_dark_figures(stage: Path, pages: Sequence[Page]) -> None:
    """Write dark pictures under the name that the light one will have on the page."""
    for _, data in _figures(pages):
        light = base64.b64decode("".join(data["image/png"]))
        name = f"{hashlib.sha256(light).hexdigest()}.png"  # as MyST-NB names it
        _write_dark(stage, name, data)


def _write_dark(stage: Path, name: str, data: dict[str, Any]) -> None:
    if dark.MIME in data:
        folder = stage / "_static" / "dark"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(base64.b64decode(data[dark.MIME]["png"]))


def _overview(stage: Path, about: dict[str, Any], data: dict[str, Any]) -> str:
    """Write the first page's picture, in both themes; return it with its notebook's caption."""
    picture = stage / "_made" / "overview.png"
    picture.write_bytes(base64.b64decode("".join(data["image/png"])))
    _write_dark(stage, picture.name, data)
    draw_card(stage / "_static" / "social-card.png", picture)
    # As wide as in its chapter, where a phone lets it scroll (cpssl.css).
    options = f":alt: {about['image']['alt']}", f":width: {round(110 * WIDTH)}px"
    caption = about["figure"]["caption"]
    return "\n".join(("```{figure} _made/overview.png", *options, "", caption, "```", ""))


def draw_card(target: Path, picture: Path) -> None:
    """Draw the picture that a link to the book is shown with, 1200 x 630 px."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="white")
    ink = "#14202b"
    figure.text(
        0.04, 0.9, "Cell Painting without segmentation", fontsize=34, weight="bold", color=ink
    )
    figure.text(0.04, 0.83, "A paper, re-run: its numbers beside those of this build", fontsize=20)
    axes = figure.add_axes((0.04, 0.03, 0.92, 0.76))
    axes.imshow(imread(picture))
    axes.axis("off")
    figure.savefig(target)


def _box(
    claims: Mapping[str, Claim],
    expected: Mapping[str, Expected],
    pages: Sequence[Page],
    edition: Edition | None,
) -> str:
    """What this edition can say, and what it cannot, in one place."""
    found = judged(claims, pages)
    lines = [_edition(edition)] if edition else []
    lines.append(f"<p>{count_verdicts(claims, found)}</p>")
    good, seen = count_drawn(expected, pages)
    if seen:
        lines.append(
            f"<p>On drawn data the truth is known: {good} of {seen} things that a method should do "
            'there were <a href="scorecard.html#where-the-truth-is-known">as they should be</a>. '
            "That says how the methods behave, and nothing about real cells.</p>"
        )
    title = "What this edition can say, and what it cannot"
    inside = f"<p><strong>{title}</strong></p>{''.join(lines)}"
    return f'```{{raw}} html\n<div class="cpssl-box">{inside}</div>\n```\n'


def _scorecard(claims: Mapping[str, Claim], pages: Sequence[Page]) -> str:
    """Show the claims that this build's data can test; "" where there are none."""
    rows = []
    for claim, status, page, _ in tested(judged(claims, pages)):
        if page:
            link = f"chapters/{page.name}.html#claim-{claim.id}"
            text, where = cell(claim.sentence), cell(claim.where)
            sentence = Html(f'<a href="{cell(link)}">{text}</a> <small>{where}</small>')
            rows.append((sentence, badge(status)))
    header = ("Claim", "Verdict")
    return table(header, rows, "What this build's data can test", "cpssl-claims") if rows else ""


def _chapters(pages: Sequence[Page]) -> str:
    """List the chapters with what they re-run and how long that took in this build."""
    rows = ["| Chapter | In the paper | Ran in |", "| --- | --- | --- |"]
    for page in pages:
        where = re.search(r"\*\*The paper's claim\*\* \(([^)]+)\)", page.prose)
        shown = " ".join(where[1].split()) if where else "-"
        rows.append(f"| [{page.title}](chapters/{page.name}) | {shown} | {_took(page) or '-'} |")
    return "\n".join(rows) + "\n"


def _is_drawn(page: Page) -> bool:
    """Whether the chapter that loads kept features ran on its drawn screen."""
    return page.name.endswith("_ssl_comparison") and any(
        measured.data == "simulated" for measured in page.measured.values()
    )


def _took(page: Page) -> str:
    return f"{page.run['seconds']:.0f}\u00a0s" if "seconds" in page.run else ""


def _times(pages: Sequence[Page]) -> dict[str, str]:
    """Reading and running times of this build, for `{{ read }}`, `{{ rerun }}`, `{{ build }}`."""
    seconds = [page.run.get("seconds", 0.0) for page in pages] or [0.0]  # all may have failed
    words = sum(len(page.prose.split()) for page in pages)
    total = sum(seconds)
    return {
        "read": f"about {max(round(words / WORDS_A_MINUTE / 5), 1) * 5} minutes for the prose",
        "rerun": f"{_span(min(seconds))} to {_span(max(seconds))} a chapter in this build",
        "build": _span(total),
        "kept": KEPT if any(_is_drawn(page) for page in pages) else "",
    }


def _span(seconds: float) -> str:
    """A time in words.

    Examples
    --------
    >>> _span(22.4), _span(1184.3)
    ('22 seconds', '20 minutes')
    """
    return f"{seconds / 60:.0f} minutes" if seconds > 100 else f"{seconds:.0f} seconds"


def _addresses(repository: str) -> dict[str, str]:
    """What pages say about places on the network."""
    binder = f"[Open the repository there]({_binder(repository)})." if repository else NO_ADDRESS
    return {
        "binder": binder,
        "clone": repository or "ADDRESS-OF-THE-REPOSITORY",
        "address": "" if repository else NO_ADDRESS,
    }


def _binder(repository: str, path: str = "notebooks") -> str:
    place = repository.removeprefix("https://github.com/").removesuffix(".git")
    return f"https://mybinder.org/v2/gh/{place}/HEAD?labpath={path}"


def _substitute(page: Path, values: dict[str, str]) -> None:
    """Fill in `{{ name }}`, in code as well, where MyST's own substitutions do not reach."""
    text = page.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{{ {name} }}}}", value)
    page.write_text(text, encoding="utf-8")


def _launch_line(stage: Path, page: Page, repository: str, edition: Edition | None) -> None:
    """Say under a chapter's title how long it ran, where its notebook is and how to run it."""
    again = f"cpssl run {re.sub(r'^[0-9]+_', '', page.name)}"
    if edition and edition.chapters.get(page.name):
        again = f"cpssl book {edition.name if edition.shipped else edition.path.name}"
    parts = [
        f'<a href="../_sources/chapters/{page.name}.ipynb" download>executed notebook</a>',
        f"<code>{cell(again)}</code>",
    ]
    if took := _took(page):
        parts.insert(0, f"Ran in {took}")
    if repository:
        there = _binder(repository, f"notebooks/{page.name}.py")
        parts.append(f'<a href="{cell(there)}">Binder</a>')
    if (stage / "launch.md").is_file():
        parts.append('<a href="../launch.html">more ways to open it</a>')
    line = f'<p class="cpssl-launch">{" &middot; ".join(parts)}</p>'
    path = stage / "chapters" / f"{page.name}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for part in notebook["cells"]:
        text = "".join(part["source"])
        if part["cell_type"] == "markdown" and text.startswith("# "):
            head, _, rest = text.partition("\n")
            if rest.lstrip().startswith(HEADLINE):
                found, _, rest = rest.lstrip().partition("\n")
                head = f"{head}\n\n{found}"
            part["source"] = f"{head}\n\n{line}\n\n{rest.lstrip()}"
            break
    path.write_text(json.dumps(notebook), encoding="utf-8")
