"""Build the book: check, stage, render with Jupyter Book, check what came out, put in place."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.book.claims import load_claims
from cpssl_lite.book.crate import write_crate
from cpssl_lite.book.front import add_front
from cpssl_lite.book.pages import check_page
from cpssl_lite.book.percent import read_parameters, read_percent
from cpssl_lite.book.runner import ANSI, run_all
from cpssl_lite.book.scorecard import fill_scorecard, stage_runs
from cpssl_lite.book.where import find_root, list_notebooks
from cpssl_lite.errors import InputError, StepFailed

logger = logging.getLogger(__name__)

IMAGES = ("image/png", "image/jpeg", "image/svg+xml")


class BookError(StepFailed):
    """The book cannot be shown as it is; the message has one line for each reason."""


def make_book(
    out: str | Path | None = None,
    force: bool = False,
    workers: int | None = None,
    root: str | Path | None = None,
    runs: Sequence[str | Path] = (),
) -> Path:
    """Simulate the default screen where it is missing, run what changed, render the book.

    Parameters
    ----------
    out
        Folder of the rendered book, ``html/`` of the repository by default.
    force
        Run every notebook, changed or not.
    workers
        Notebooks at a time; by default two, or one on a single core.
    root
        Repository root, found from the current folder by default.
    runs
        Notebooks executed with other data, to be shown after the chapters and on the scorecard.

    Returns
    -------
    The file to open.

    Raises
    ------
    BookError
        A notebook failed, or the book did not pass its checks.
    """
    root = find_root(root)
    load_claims(root / "book" / "claims.yml")  # not after minutes, in a chapter's last cell
    _simulate(root)
    results = run_all(
        workers=workers or min(2, os.cpu_count() or 1),
        force=force,
        root=root,
        parameters=_real_images(root),
    )
    failed = [result.name for result in results if result.status == "failed"]
    if failed:
        raise BookError(f"not built, these notebooks failed: {', '.join(failed)}")
    return build(out or root / "html", root, runs)


def _simulate(root: Path) -> None:
    """Draw the default screen; a finished one is left as it is."""
    from cpssl_lite.data.simulate.screen import simulate

    simulate("lite", root / "data" / "lite", workers=min(2, os.cpu_count() or 1))


def _real_images(root: Path) -> dict[str, dict[str, str]]:
    """Notebooks with a parameter `real_images` get ``$CPSSL_REAL/images``, where it is there."""
    folder = Path(os.environ.get("CPSSL_REAL") or "nowhere") / "images"
    if not (root / folder).is_dir():
        return {}
    return {
        path.stem: {"real_images": str(folder)}
        for path in list_notebooks(root)
        if "real_images" in read_parameters(read_percent(path), path.name)
    }


def build(out: str | Path, root: str | Path | None = None, runs: Sequence[str | Path] = ()) -> Path:
    """Render the executed notebooks and the prose to `out`; return its ``index.html``.

    Always a clean build: a cached page would keep its warnings to itself.

    Raises
    ------
    BookError
        An empty book, a warning of any kind, a notebook that failed or that is not in the
        table of contents, a figure without caption or alternative text, a page without
        content. What stood in `out` before stays.
    """
    root = find_root(root)
    chapters = _contents(root / "book" / "_toc.yml")
    notebooks = {
        path.stem: root / "book" / "executed" / f"{path.stem}.ipynb"
        for path in list_notebooks(root)
    }
    problems = _check_contents(chapters, notebooks, root)
    more = [Path(run) for run in runs]
    for name, path in [*notebooks.items(), *((str(run), run) for run in more)]:
        problems += _check_executed(path) if path.is_file() else [f"{name}: not executed yet"]
    _raise(problems)
    in_order = [Path(file).stem for file in chapters if file.startswith("chapters/")]
    return _render(root, [notebooks[name] for name in in_order], None, Path(out), more)


def build_chapter(executed: str | Path, out: str | Path | None = None) -> Path:
    """Render one executed notebook (say, a run with other data) as a small book of its own.

    A link to a chapter that is not in it is shown as plain text.

    Parameters
    ----------
    executed
        An executed notebook, as `run_notebook` returns it.
    out
        Folder; by default ``html`` beside the notebook.

    Returns
    -------
    The chapter's page.
    """
    executed = Path(executed)
    if not executed.is_file():
        raise InputError(f"{executed}: no such notebook")
    root = find_root(executed.parent)
    _raise(_check_executed(executed))
    toc = {
        "format": "jb-book",
        "root": f"chapters/{executed.stem}",
        "chapters": [{"file": page} for page in ("rerun", "glossary", "references")],
    }
    _render(root, [executed], toc, Path(out or executed.parent / "html"))
    return Path(out or executed.parent / "html") / "chapters" / f"{executed.stem}.html"


def _contents(toc: Path) -> list[str]:
    """Files that a table of contents names, in order.

    Raises
    ------
    BookError
        No table of contents, or one that names nothing.
    """
    try:
        tree = yaml.safe_load(toc.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BookError(f"{toc}: cannot be read ({error})") from error
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(str(node[key]) for key in ("root", "file") if key in node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    walk(tree)
    if len(found) < 2:
        raise BookError(f"{toc}: the book is empty, its contents name {found}")
    return found


def _check_contents(chapters: list[str], notebooks: dict[str, Path], root: Path) -> list[str]:
    """Notebooks missing from the contents, and entries of the contents without a file."""
    if not notebooks:
        return [f"{root / 'notebooks'}: no notebooks, the book would be empty"]
    listed = {Path(file).stem for file in chapters if file.startswith("chapters/")}
    problems = [f"notebooks/{n}.py is not in book/_toc.yml" for n in notebooks if n not in listed]
    problems += [
        f"book/_toc.yml: no notebook chapters/{n}" for n in sorted(listed - set(notebooks))
    ]
    pages = [file for file in chapters if not file.startswith("chapters/")]
    return problems + [
        f"book/_toc.yml: no page {page}.md"
        for page in pages
        if not (root / "book" / page).with_suffix(".md").is_file()
    ]


def _check_executed(path: Path) -> list[str]:
    """Errors among the outputs, and images without a caption or alternative text."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    name = path.stem
    problems = []
    if "cpssl" not in notebook["metadata"]:
        problems.append(f"{name}: was not executed by cpssl run")
    for number, cell in enumerate(notebook["cells"]):
        outputs = cell.get("outputs", [])
        if any(output["output_type"] == "error" for output in outputs):
            problems.append(f"{name}: cell {number} failed")
        images = [o for o in outputs if set(o.get("data", {})) & set(IMAGES)]
        about = cell["metadata"].get("mystnb", {})
        if len(images) > 1:
            problems.append(f"{name}: cell {number} has {len(images)} images, one figure a cell")
        if images and not about.get("figure", {}).get("caption", "").strip():
            problems.append(f"{name}: the figure of cell {number} has no caption")
        if images and not about.get("image", {}).get("alt", "").strip():
            problems.append(f"{name}: the figure of cell {number} has no alternative text")
    return problems


def _render(
    root: Path,
    executed: Sequence[Path],
    toc: dict[str, Any] | None,
    out: Path,
    runs: Sequence[Path] = (),
) -> Path:
    """Stage sources in a scratch folder, run Jupyter Book there, check, move into place."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that moving into place is one rename on one disk.
    with tempfile.TemporaryDirectory(prefix=".book-", dir=out.parent) as scratch:
        stage, rendered = Path(scratch) / "source", Path(scratch) / "out"
        shutil.copytree(
            root / "book", stage, ignore=shutil.ignore_patterns("executed", "_build", "claims.yml")
        )
        (stage / "chapters").mkdir(exist_ok=True)
        for path in executed:
            shutil.copy(path, stage / "chapters" / path.name)
        if toc is None:
            add_front(stage, executed, root / "book" / "claims.yml", _repository(root))
        else:
            (stage / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
            _unlink(stage, {path.stem for path in list_notebooks(root)} - {executed[0].stem})
        whole = toc is None
        if whole:
            stage_runs(stage, runs)
            fill_scorecard(stage, load_claims(root / "book" / "claims.yml"))
        _jupyter_book(stage, root / "_config.yml", rendered, scratch, strict=whole)
        html = rendered / "_build" / "html"
        if whole:
            write_crate(html, executed)
        _raise(check_html(html) if whole else [])
        if out.exists():
            if not (out / "_static").is_dir() and any(out.iterdir()):
                raise BookError(f"{out}: is there and is not a book; name another folder")
            # Two renames: at every moment the old book or the new one is whole somewhere.
            os.replace(out, Path(scratch) / "old")
        os.replace(html, out)
    return out / "index.html"


def _repository(root: Path) -> str:
    """Public address of the repository, from the book's configuration; "" when none is known."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8")) or {}
    context = config.get("sphinx", {}).get("config", {}).get("html_context", {})
    return str(context.get("cpssl_repository") or "")


def _unlink(stage: Path, absent: set[str]) -> None:
    """Leave only the text of Markdown links to notebooks that are not in this book."""
    names = "|".join(map(re.escape, sorted(absent))) or "(?!)"
    link = re.compile(rf"\[([^\[\]]+)\]\((?:[\w./]*/)?(?:{names})(?:\.\w+)?(?:#[^)]*)?\)")
    for path in [*stage.glob("*.md"), *stage.glob("chapters/*.ipynb")]:
        path.write_text(link.sub(r"\1", path.read_text(encoding="utf-8")), encoding="utf-8")


def _jupyter_book(stage: Path, config: Path, rendered: Path, scratch: str, strict: bool) -> None:
    """Run Jupyter Book; if `strict`, every warning is an error."""
    program = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    words = ["build", str(stage), "--config", str(config), "--path-output", str(rendered)]
    words += ["-W", "--keep-going", "-n"] if strict else []
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    if done.returncode == 0:
        return
    printed = ANSI.sub("", done.stdout + done.stderr)
    lines = printed.replace(f"{scratch}/", "").replace("source/", "book/").splitlines()
    told = [line for line in lines if "WARNING" in line or "ERROR" in line]
    raise BookError("\n".join(["Jupyter Book did not pass:", *(told or lines[-20:])]))


def check_html(html: Path) -> list[str]:
    """Problems of a rendered book: no pages, thin pages, images without text, dead links."""
    pages = [page for page in sorted(html.rglob("*.html")) if "_static" not in page.parts]
    if not (html / "index.html").is_file() or len(pages) < 2:
        return [f"{html}: the book is empty"]
    return [problem for page in pages for problem in check_page(page, html)]


def _raise(problems: list[str]) -> None:
    if problems:
        raise BookError("\n".join(problems))
