"""From an executed notebook to its page: what cells said goes where the page wants it.

A chapter (chapter.py) computes its captions and its headline, so they are in the outputs; MyST-NB
reads captions from the cells' metadata, and the headline belongs below the title.
"""

import json
from pathlib import Path
from typing import Any

from cpssl_lite.book.html import markdown

KEY = "cpssl"  # in the metadata of an output
HEADLINE = '<p class="cpssl-headline">'
WARNING = '<div class="admonition warning">'
FOLDS = {"parameters": "the parameters", "injected-parameters": "what this run was given"}
SOLUTION = "solution"  # tag of a cell that answers an exercise
DRAWN, REAL = "drawn", "real"  # tags of what is said of the one kind of data only


def read_executed(path: str | Path) -> dict[str, Any]:
    """Read an executed notebook as its page shows it (`arrange`)."""
    return arrange(json.loads(Path(path).read_text(encoding="utf-8")))


def write_arranged(path: Path, folder: Path) -> None:
    """Write an executed notebook into a folder as its page shows it."""
    (folder / path.name).write_text(json.dumps(read_executed(path)), encoding="utf-8")


def arrange(notebook: dict[str, Any]) -> dict[str, Any]:
    """Put captions into the cells' metadata and the headline below the title; label folds.

    In place; a notebook that is arranged already stays as it is.
    """
    notebook["cells"] = _of_these_data(notebook["cells"])
    for code in notebook["cells"]:
        if code["cell_type"] != "code":
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
        _fold_warnings(code)
        _label_fold(code, about)
        if not about:
            del code["metadata"]["mystnb"]
    notebook["cells"] = [part for one in notebook["cells"] for part in _figure_alone(one)]
    return notebook


def _of_these_data(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells without those that speak of other data than the figures show."""
    outputs = [output for one in cells for output in one.get("outputs", [])]
    words = [output.get("metadata", {}).get(KEY, {}).get("figure", {}) for output in outputs]
    shown = {word["data"].partition(" ")[0] for word in words if word.get("data")}
    other = DRAWN if shown - {"simulated"} else REAL
    return [one for one in cells if other not in one["metadata"].get("tags", [])]


def _figure_alone(code: dict[str, Any]) -> list[dict[str, Any]]:
    """A cell, and after it what it shows beside its figure: MyST-NB gives all the same caption."""
    if "figure" not in code["metadata"].get("mystnb", {}):
        return [code]
    shown = code.get("outputs", [])
    rest = [
        o for o in shown if o.get("data") and not any(m.startswith("image/") for m in o["data"])
    ]
    if not rest or len(rest) == len(shown):
        return [code]
    code["outputs"] = [o for o in shown if not any(o is other for other in rest)]
    about = {"tags": ["remove-input"]}
    name = {"id": f"{code['id']}-more"} if "id" in code else {}
    return [code, {**code, **name, "source": "", "metadata": about, "outputs": rest}]


def _below_title(notebook: dict[str, Any], html: str) -> None:
    """Put a paragraph below the first heading."""
    for part in notebook["cells"]:
        text = "".join(part["source"])
        if part["cell_type"] == "markdown" and text.startswith("# "):
            title, _, rest = text.partition("\n")
            part["source"] = f"{title}\n\n{html}\n\n{rest.lstrip()}".rstrip()
            return


def _fold_warnings(code: dict[str, Any]) -> None:
    """Put what a cell warns of (kernel.py) into one fold that says how many there are."""
    outputs = code.get("outputs", [])
    told = [output for output in outputs if _html(output).startswith(WARNING)]
    if told:
        each = "".join(_html(o).removeprefix(WARNING).removesuffix("</div>") for o in told)
        summary = f"{len(told)} warnings" if len(told) > 1 else "A warning"
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
        shown = "".join(map(_html, code.get("outputs", [])))
        held = "how this table is made" if "<table" in shown else "the code"
    about["code_prompt_show"], about["code_prompt_hide"] = f"Show {held}", f"Hide {held}"


def _html(output: dict[str, Any]) -> str:
    return "".join(output.get("data", {}).get("text/html", ""))
