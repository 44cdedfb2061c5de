"""What the build adds: the first page's picture, verdicts and times, dark figures, launch lines."""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.book import dark
from cpssl_lite.book.claims import badge, load_claims, read_recorded, verdict
from cpssl_lite.book.findings import write_findings
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.rules import UNTESTABLE, VERDICTS

OVERVIEW = "fig-overview"  # the figure, of whatever notebook, that the first page shows
WORDS_A_MINUTE = 200


# For a page that names the repository before anybody has said where it is.
NO_ADDRESS = (
    "This copy of the book was built without a public address of its repository; it goes to "
    "`cpssl_repository` in `_config.yml`."
)


def add_front(
    stage: Path, executed: Sequence[Path], claims_file: Path, repository: str = ""
) -> None:
    """Write what ``index.md`` includes from ``_made/``, dark pictures, a line under each title.

    Parameters
    ----------
    stage
        The book's sources, about to be rendered.
    executed
        The executed notebooks, in the order of the contents.
    claims_file
        Claims to judge.
    repository
        Public address of the repository on GitHub, or "".
    """
    made = stage / "_made"
    made.mkdir()
    notebooks = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in executed}
    for name in ("findings", "overview", "scorecard", "chapters"):
        (made / f"{name}.md").write_text("", encoding="utf-8")
    _dark_figures(stage, notebooks)
    for metadata, data in _figures(notebooks):
        if metadata["figure"]["name"] == OVERVIEW:
            _overview(stage, metadata, data)
    if claims_file.is_file():
        (made / "scorecard.md").write_text(_scorecard(executed, claims_file), encoding="utf-8")
        claims, measured = load_claims(claims_file), read_recorded(executed)
        text = write_findings(made, stage / "_static" / "dark", claims, measured)
        (made / "findings.md").write_text(text, encoding="utf-8")
    (made / "chapters.md").write_text(_chapters(notebooks), encoding="utf-8")
    _substitute(stage / "index.md", _times(notebooks))
    _substitute(stage / "launch.md", _addresses(repository))
    for name in notebooks:
        _launch_line(stage / "chapters" / f"{name}.ipynb", repository)


def _figures(notebooks: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the mystnb metadata and the output data of every captioned figure."""
    for notebook in notebooks.values():
        for code in notebook["cells"]:
            about = code["metadata"].get("mystnb", {})
            for output in code.get("outputs", []):
                if "image/png" in output.get("data", {}) and "figure" in about:
                    yield about, output["data"]


def _dark_figures(stage: Path, notebooks: dict[str, Any]) -> None:
    """Write dark pictures under the name that the light one will have on the page."""
    folder = stage / "_static" / "dark"
    folder.mkdir(parents=True, exist_ok=True)
    for _, data in _figures(notebooks):
        if dark.MIME in data:
            light = base64.b64decode("".join(data["image/png"]))
            name = f"{hashlib.sha256(light).hexdigest()}.png"  # as MyST-NB names it
            (folder / name).write_bytes(base64.b64decode(data[dark.MIME]["png"]))


def _overview(stage: Path, about: dict[str, Any], data: dict[str, Any]) -> None:
    """Write the first page's picture, in both themes, with the caption that its notebook gives."""
    made = stage / "_made"
    (made / "overview.png").write_bytes(base64.b64decode("".join(data["image/png"])))
    if dark.MIME in data:
        picture = base64.b64decode(data[dark.MIME]["png"])
        (stage / "_static" / "dark" / "overview.png").write_bytes(picture)
    draw_card(stage / "_static" / "social-card.png", made / "overview.png")
    lines = ("```{figure} _made/overview.png", f":alt: {about['image']['alt']}", "")
    text = "\n".join((*lines, about["figure"]["caption"], "```", ""))
    (made / "overview.md").write_text(text, encoding="utf-8")


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


def _scorecard(executed: Sequence[Path], claims_file: Path) -> str:
    """Count the verdicts and show the claims that this build's data can test."""
    known, measured = load_claims(claims_file), read_recorded(executed)
    status = {id: verdict(c, measured.get(id)) for id, c in known.items() if not c.reason}
    counts = Counter(status.values())
    rows = []
    for id, told in status.items():
        if told == UNTESTABLE:
            continue
        page = f"chapters/{measured[id].notebook}.html#claim-{id}"
        claim, where = cell(known[id].sentence), cell(known[id].where)
        sentence = Html(f'<a href="{cell(page)}">{claim}</a> <small>{where}</small>')
        rows.append((sentence, badge(told)))
    badges = ", ".join(f"{counts[told]} {badge(told)}" for told in VERDICTS)
    text = f"<p>{len(status)} claims: {badges}.</p>\n\n"
    if rows:
        text += table(("Claim", "Verdict"), rows, "What this build's data can test", "cpssl-claims")
    return text + "\n"


def _chapters(notebooks: dict[str, Any]) -> str:
    """List the chapters with what they re-run and how long that took in this build."""
    rows = ["| Chapter | In the paper | Ran in |", "| --- | --- | --- |"]
    for name, notebook in notebooks.items():
        text = _prose(notebook)
        title = re.search(r"^# (.+)$", text, re.M)
        where = re.search(r"\*\*The paper's claim\*\* \(([^)]+)\)", text)
        shown = " ".join(where[1].split()) if where else "-"
        seconds = notebook["metadata"].get("cpssl", {}).get("seconds")
        took = f"{seconds:.0f}\u00a0s" if seconds is not None else "-"
        rows.append(f"| [{title[1] if title else name}](chapters/{name}) | {shown} | {took} |")
    return "\n".join(rows) + "\n"


def _prose(notebook: dict[str, Any]) -> str:
    return "\n\n".join(
        "".join(part["source"]) for part in notebook["cells"] if part["cell_type"] == "markdown"
    )


def _times(notebooks: dict[str, Any]) -> dict[str, str]:
    """Reading and running times of this build, for `{{ read }}`, `{{ rerun }}`, `{{ build }}`."""
    seconds = [n["metadata"].get("cpssl", {}).get("seconds", 0.0) for n in notebooks.values()]
    words = sum(len(_prose(notebook).split()) for notebook in notebooks.values())
    known = sorted(seconds) or [0.0]
    total = sum(known)
    return {
        "read": f"about {max(round(words / WORDS_A_MINUTE / 5), 1) * 5} minutes for the prose",
        "rerun": f"{known[0]:.0f} to {known[-1]:.0f} s a chapter in this build",
        "build": f"{total / 60:.0f} minutes" if total > 100 else f"{total:.0f} seconds",
    }


def _addresses(repository: str) -> dict[str, str]:
    """What the page on launching says about places on the network."""
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
    """Define substitutions for one page, in its front matter."""
    if page.is_file():
        front = yaml.safe_dump({"myst": {"substitutions": values}}, sort_keys=False)
        text = page.read_text(encoding="utf-8")
        page.write_text(f"---\n{front}---\n\n{text}", encoding="utf-8")


def _launch_line(path: Path, repository: str) -> None:
    """Say under a chapter's title how long it ran, where its notebook is and how to run it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    seconds = notebook["metadata"].get("cpssl", {}).get("seconds")
    parts = [f"Ran in {seconds:.0f} s"] if seconds is not None else []
    name = path.stem
    parts += [
        f'<a href="../_sources/chapters/{name}.ipynb" download>executed notebook</a>',
        f"<code>cpssl run {re.sub(r'^[0-9]+_', '', name)}</code>",
    ]
    if repository:
        there = _binder(repository, f"notebooks/{name}.py")
        parts.append(f'<a href="{cell(there)}">Binder</a>')
    if (path.parents[1] / "launch.md").is_file():
        parts.append('<a href="../launch.html">more ways to open it</a>')
    line = f'<p class="cpssl-launch">{" &middot; ".join(parts)}</p>'
    for part in notebook["cells"]:
        text = "".join(part["source"])
        if part["cell_type"] == "markdown" and text.startswith("# "):
            title, _, rest = text.partition("\n")
            part["source"] = f"{title}\n\n{line}\n\n{rest.lstrip()}"
            break
    path.write_text(json.dumps(notebook), encoding="utf-8")
