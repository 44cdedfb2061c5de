"""From an executed notebook to its page: what cells said goes where the page wants it.

A chapter (chapter.py) computes its captions and its headline, so they are in the outputs; MyST-NB
reads captions from the cells' metadata, the headline and the first figure belong below the title,
and what not every reader wants stays folded.
"""

import json
import re
from pathlib import Path
from typing import Any

from cpssl_lite.base.words import counted
from cpssl_lite.book.html import markdown

KEY = "cpssl"  # in the metadata of an output
HEADLINE = '<p class="cpssl-headline">'
WARNING = '<div class="admonition warning">'
FOLDS = {"parameters": "the parameters", "injected-parameters": "what this run was given"}
HELD = {
    "<table": "how this table is made",
    "cpssl-ask": "how the answer is computed",
    "cpssl-live": "how this drawing is made",
    "<p>": "how this sentence is computed",
}
IMPORTS = re.compile(r"\s*(?:import|from) \w")
FUNCTIONS = re.compile(r"^(?:def|class) ", re.MULTILINE)
FIRST = "how the first figure is drawn"
SOLUTION = "solution"  # tag of a cell that answers an exercise
DRAWN, REAL = "drawn", "real"  # tags of what is said of the one kind of data only
EXPLORER = '<div class="cpssl-explorer"'  # begins what explorer.py writes
ELSEWHERE = "# see the cell that made this"  # an empty cell would lose its outputs (MyST-NB)
MORE = "more"  # tag of a text whose first section is folded but for its first paragraph
FOLDED = "{.cpssl-more}"  # before a heading: sphinx_offline.py folds its section
# The fold of a question (chapter.py), with what stands before it.
ANSWER = re.compile(r'(<div class="cpssl-ask">.*?)<details>.*?</details>', re.DOTALL)
# Sections that every chapter has and that are looked up, not read.
ASIDE = re.compile(r"^## (?:Re-run it|Use your own|Exercises|How this page was made)", re.MULTILINE)


def read_executed(path: str | Path) -> dict[str, Any]:
    """Read an executed notebook as its page shows it (`arrange`)."""
    return arrange(json.loads(Path(path).read_text(encoding="utf-8")))


def write_arranged(path: Path, folder: Path, answers: bool = True) -> None:
    """Write an executed notebook into a folder as its page shows it, or without the answers."""
    notebook = read_executed(path)
    if not answers:
        _leave_out_answers(notebook)
    (folder / path.name).write_text(json.dumps(notebook), encoding="utf-8")


def _leave_out_answers(notebook: dict[str, Any]) -> None:
    """Take away what solves exercises, and the folds below questions."""
    notebook["cells"] = [
        one for one in notebook["cells"] if SOLUTION not in one["metadata"].get("tags", [])
    ]
    for output in (output for one in notebook["cells"] for output in one.get("outputs", [])):
        if ANSWER.search(text := _html(output)):
            output["data"] = {"text/html": ANSWER.sub(r"\1", text)}  # its plain text has it, too


def arrange(notebook: dict[str, Any]) -> dict[str, Any]:
    """Put captions into the cells' metadata, headline and figure below the title; label folds.

    In place; a notebook that is arranged already stays as it is.
    """
    notebook["cells"] = _of_these_data(notebook["cells"])
    for code in notebook["cells"]:
        if code["cell_type"] != "code":
            _fold_sections(code)
            continue
        about = code["metadata"].setdefault("mystnb", {})
        for output in list(code.get("outputs", [])):
            words = output.get("metadata", {}).get(KEY, {})
            if "headline" in words:
                code["outputs"].remove(output)
                _below_title(notebook, "".join(output["data"]["text/html"]))
            if "figure" in words:
                said = words["figure"]
                # Text from data must not be read as markup.
                about["figure"] = {"name": said["name"], "caption": markdown(said["caption"])}
                about["image"] = {"alt": said["alt"]}
        _label_fold(code, about)
        _fold_warnings(code)
        if not about:
            del code["metadata"]["mystnb"]
    cells = [part for one in notebook["cells"] for part in _figure_alone(one)]
    notebook["cells"] = _first_figure(cells)
    return notebook


def _of_these_data(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells without those that speak of other data than the figures show."""
    outputs = [output for one in cells for output in one.get("outputs", [])]
    words = [output.get("metadata", {}).get(KEY, {}).get("figure", {}) for output in outputs]
    shown = {word["data"].partition(" ")[0] for word in words if word.get("data")}
    other = DRAWN if shown - {"simulated"} else REAL
    return [one for one in cells if other not in one["metadata"].get("tags", [])]


def _fold_sections(part: dict[str, Any]) -> None:
    """Mark the sections of a text that the page shows folded."""
    text = "".join(part["source"])
    if FOLDED in text:
        return
    text = ASIDE.sub(rf"{FOLDED}\n\g<0>", text)
    if MORE in part.get("metadata", {}).get("tags", []):
        text = re.sub("^## ", f"{FOLDED}\n## ", text, count=1, flags=re.MULTILINE)
    part["source"] = text


def _first_figure(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the first figure, or explorer, that is not folded below title and headline.

    The code that draws it stays where it ran.
    """
    texts = ["".join(part["source"]) if part["cell_type"] == "markdown" else "" for part in cells]
    title = next((i for i, text in enumerate(texts) if text.startswith("# ")), None)
    if title is None:
        return cells
    end = next((i for i, text in enumerate(texts) if FOLDED in text), len(cells))
    drawn = next((i for i in range(title, end) if _figure_of(cells[i])), title + 1)
    if drawn <= title + 1:
        return cells
    code, about = cells[drawn], cells[drawn]["metadata"].setdefault("mystnb", {})
    moved = {key: about.pop(key) for key in ("figure", "image") if key in about}
    name = {"id": f"{code['id']}-first"} if "id" in code else {}
    metadata = {"tags": ["remove-input"], "mystnb": moved}
    first = {**code, **name, "source": ELSEWHERE, "metadata": metadata}
    first["outputs"] = [output for output in code["outputs"] if _image(output)]
    code["outputs"] = [output for output in code["outputs"] if not _image(output)]
    if "code_prompt_show" in about:
        about |= {"code_prompt_show": f"Show {FIRST}", "code_prompt_hide": f"Hide {FIRST}"}
    if not about:
        del code["metadata"]["mystnb"]
    head, rest = _split_title(cells[title])
    return [*cells[:title], head, first, *rest, *cells[title + 1 :]]


def _figure_of(part: dict[str, Any]) -> bool:
    outputs = part.get("outputs", []) if part["cell_type"] == "code" else []
    captioned = "figure" in part["metadata"].get("mystnb", {})
    return any(_image(one) if captioned else EXPLORER in _html(one) for one in outputs)


def _split_title(part: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A chapter's title, with its headline, and the text that follows in the same cell."""
    head, _, rest = "".join(part["source"]).partition("\n")
    if rest.lstrip().startswith(HEADLINE):
        said, _, rest = rest.lstrip().partition("\n")
        head = f"{head}\n\n{said}"
    if not rest.strip():
        return part, []
    name = {"id": f"{part['id']}-text"} if "id" in part else {}
    return {**part, "source": head}, [{**part, **name, "source": rest.lstrip()}]


def _figure_alone(code: dict[str, Any]) -> list[dict[str, Any]]:
    """A cell, and after it what it shows beside its figure: MyST-NB gives all the same caption."""
    if "figure" not in code["metadata"].get("mystnb", {}):
        return [code]
    shown = code.get("outputs", [])
    rest = [output for output in shown if output.get("data") and not _image(output)]
    if not rest or len(rest) == len(shown):
        return [code]
    code["outputs"] = [o for o in shown if not any(o is other for other in rest)]
    about = {"tags": ["remove-input"]}
    name = {"id": f"{code['id']}-more"} if "id" in code else {}
    return [code, {**code, **name, "source": ELSEWHERE, "metadata": about, "outputs": rest}]


def _below_title(notebook: dict[str, Any], html: str) -> None:
    """Put a paragraph below the first heading."""
    for part in notebook["cells"]:
        text = "".join(part["source"])
        if part["cell_type"] == "markdown" and text.startswith("# "):
            title, _, rest = text.partition("\n")
            part["source"] = f"{title}\n\n{html}\n\n{rest.lstrip()}".rstrip()
            return


def _fold_warnings(code: dict[str, Any]) -> None:
    """Fold what a cell warns of (kernel.py); of texts alike but for numbers, show the first."""
    outputs = code.get("outputs", [])
    told = [output for output in outputs if _html(output).startswith(WARNING)]
    if told:
        alike: dict[str, list[str]] = {}
        for text in (_html(o).removeprefix(WARNING).removesuffix("</div>") for o in told):
            alike.setdefault(re.sub(r"\d+", "", text), []).append(text)
        each = ""
        for text, *others in alike.values():
            more = f" (And {len(others)} more with other numbers.)</p>" if others else "</p>"
            each += text.removesuffix("</p>") + more
        summary = counted(len(told), "warning")
        told[0]["data"]["text/html"] = (
            f'<details class="cpssl-fold"><summary>{summary} of this step</summary>{each}</details>'
        )
        code["outputs"] = [o for o in outputs if o is told[0] or not any(o is t for t in told)]


def _label_fold(code: dict[str, Any], about: dict[str, Any]) -> None:
    """Say on a fold what is in it."""
    tags = code["metadata"].get("tags", [])
    if SOLUTION in tags and "hide-cell" not in tags:
        code["metadata"]["tags"] = tags = [*tags, "hide-cell"]
    if not {"hide-input", "hide-cell"} & set(tags) or "code_prompt_show" in about:
        return
    held = next((FOLDS[tag] for tag in tags if tag in FOLDS), "")
    if SOLUTION in tags:
        held = "the solution"
    elif not held and "figure" in about:
        held = "how this figure is drawn"
    elif not held:
        shown = [_html(output) for output in code.get("outputs", [])]
        shown = [html for html in shown if html and not html.startswith(WARNING)]
        held = next((what for mark, what in HELD.items() if mark in "".join(shown)), "")
        source = "".join(code["source"])
        if not shown and IMPORTS.match(source):
            held = "imports and loading"
        elif not held:
            held = "the functions used below" if FUNCTIONS.search(source) else "the preparation"
    about["code_prompt_show"], about["code_prompt_hide"] = f"Show {held}", f"Hide {held}"


def _image(output: dict[str, Any]) -> bool:
    pictures = (kind.startswith("image/") for kind in output.get("data", {}))
    return any(pictures) or EXPLORER in _html(output)


def _html(output: dict[str, Any]) -> str:
    return "".join(output.get("data", {}).get("text/html", ""))
