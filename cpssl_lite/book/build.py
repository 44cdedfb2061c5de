"""Build the book: check, stage, render with Jupyter Book, check what came out, put in place."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.book.arrange import read_executed, write_arranged
from cpssl_lite.book.claims import load_claims
from cpssl_lite.book.coverage import coverage, quoted_table
from cpssl_lite.book.crate import write_crate
from cpssl_lite.book.drawn import load_expected
from cpssl_lite.book.editions import Edition
from cpssl_lite.book.front import add_dark_figures, add_front
from cpssl_lite.book.html import markdown
from cpssl_lite.book.notices import write_notice
from cpssl_lite.book.pages import check_executed, check_html
from cpssl_lite.book.rendered import is_rendered, rendering_digest, write_note
from cpssl_lite.book.runner import ANSI
from cpssl_lite.book.scorecard import Page, fill_scorecard, read_page
from cpssl_lite.book.shelf import is_shelf, put_on_shelf
from cpssl_lite.book.where import DEFAULT, executed_folder, find_notebook, find_root, list_notebooks

log = logging.getLogger(__name__)

CHAPTERS = "chapters/"  # where the executed notebooks lie among the book's pages


class BookError(StepFailed):
    """The book cannot be shown as it is; the message has one line for each reason."""


def build(
    out: str | Path,
    root: str | Path | None = None,
    runs: Sequence[str | Path] = (),
    failed: Mapping[str, str] | None = None,
    keep: bool = False,
    edition: Edition | None = None,
    answers: bool = True,
) -> Path:
    """Render the executed notebooks and the prose to `out`; return its ``index.html``.

    A clean build, as a cached page would keep its warnings to itself; or none: with `keep` a
    book that passed is left as it is where nothing that it is made from has changed. Chapters that
    `failed` (names and messages), or that the edition leaves out, are pages that say so; what
    refers into them is then no problem. Without `answers` it is a copy to hand out to students.

    Raises
    ------
    BookError
        An empty book, a warning of any kind, a notebook that failed or that is not in the
        table of contents, a figure without caption or alternative text, a page without
        content. What stood in `out` before stays.
    """
    root = find_root(root)
    contents, sources = check_contents(root)
    failed, left_out = failed or {}, edition.left_out if edition else {}
    absent = {**left_out, **failed}
    folder = executed_folder(root, edition.name if edition else DEFAULT)
    executed = {name: folder / f"{name}.ipynb" for name in sources if name not in absent}
    _raise(unfit(executed | {str(run): Path(run) for run in runs}))
    chapters = [Path(page).name for page in contents if page.startswith(CHAPTERS)]
    in_order = [executed[name] for name in chapters if name in executed]
    out = Path(out).resolve()
    shown = [Path(run) for run in runs]
    lacking = absent if answers else {**absent, "answers": "left out"}
    digest = rendering_digest(root, in_order, shown, lacking, edition.path if edition else None)
    if keep and is_rendered(out, digest):
        log.info("%s: nothing to render", out)
        return out / "index.html"
    claims = load_claims(root / "book" / "claims.yml")
    expected = load_expected(root / "book" / "drawn.yml")
    pages = [read_page(path) for path in in_order]
    with _staged(root, in_order, out, answers) as stage:
        others = stage_runs(stage, shown)
        covered = coverage(claims, root, edition)
        add_front(stage, pages, claims, expected, covered, _repository(root), edition)
        add_dark_figures(stage, [*pages, *others])
        fill_scorecard(stage, claims, expected, [*pages, *others], covered)
        for name, message in absent.items():
            quoted = quoted_table(claims, name, covered) if name in left_out else ""
            write_notice(stage, find_notebook(name, root), message, name in left_out, quoted)
        # Every warning is an error, but references into a chapter that is not there.
        strict = () if absent else ("-W", "--keep-going", "-n")
        html = _jupyter_book(stage, root / "_config.yml", *strict)
        write_crate(html, pages)
        missing = tuple(f"{name}.html#" for name in absent)
        problems = check_html(html)
        _raise([p for p in problems if not (missing and any(m in p for m in missing))])
        title = edition.title if edition else ""
        write_note(html, digest, title if answers else f"{title}, without answers")
        _put(html, out)
    return out / "index.html"


def build_chapter(executed: str | Path, out: str | Path | None = None) -> Path:
    """Render one executed notebook (say, a run with other data) as a small book of its own.

    A link to a chapter that is not in it is shown as plain text. Pages of several notebooks in one
    folder stay beside each other, and ``html/index.html`` there leads to each.

    Parameters
    ----------
    executed
        An executed notebook, as `run_notebook` returns it.
    out
        Folder; by default ``html/NAME`` beside the notebook ``NAME.ipynb``.

    Returns
    -------
    The chapter's page.
    """
    executed = Path(executed).resolve()
    if not executed.is_file():
        raise InputError(f"{executed}: no such notebook")
    root, shelf = find_root(executed.parent), executed.parent / "html"
    place = Path(out).resolve() if out else shelf / executed.stem
    _raise(check_executed(executed))
    toc = {
        "format": "jb-book",
        "root": f"{CHAPTERS}{executed.stem}",
        "chapters": [{"file": page} for page in ("rerun", "glossary", "references")],
    }
    with _staged(root, [executed], place) as stage:
        (stage / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
        _unlink(stage, {path.stem for path in list_notebooks(root)} - {executed.stem})
        html = _jupyter_book(stage, root / "_config.yml")
        write_note(html, "", _run_title(executed))
        _put(html, place)
    if not out and is_shelf(shelf):  # another's index.html stays as it is
        put_on_shelf(shelf, "Runs of chapters")
    return place / CHAPTERS / f"{executed.stem}.html"


def _run_title(executed: Path) -> str:
    """A chapter's title, and what tells this run from others of it."""
    page = read_page(executed)
    given = (f"{name}={value}" for name, value in page.run.get("overrides", {}).items())
    return ", ".join([page.title, *given])


def _contents(toc: Path) -> list[str]:
    """Pages that a table of contents names, in order.

    Raises
    ------
    BookError
        No table of contents, or one that names nothing.
    """
    from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml

    try:
        found = list(parse_toc_yaml(toc))
    except (OSError, MalformedError, yaml.YAMLError) as error:
        raise BookError(f"{toc}: cannot be read ({error})") from error
    if len(found) < 2:
        raise BookError(f"{toc}: the book is empty, its contents name {found}")
    return found


def check_contents(root: Path) -> tuple[list[str], list[str]]:
    """Pages of the table of contents and names of notebooks; they must fit (`BookError`)."""
    pages = _contents(root / "book" / "_toc.yml")
    notebooks = [path.stem for path in list_notebooks(root)]
    _raise(_misfits(pages, notebooks, root))
    return pages, notebooks


def _misfits(pages: list[str], notebooks: list[str], root: Path) -> list[str]:
    """Notebooks missing from the contents, and entries of the contents without a file."""
    if not notebooks:
        return [f"{root / 'notebooks'}: no notebooks, the book would be empty"]
    problems = [
        f"notebooks/{name}.py is not in book/_toc.yml; add {CHAPTERS}{name} there"
        for name in notebooks
        if f"{CHAPTERS}{name}" not in pages
    ]
    for page in pages:
        if page.startswith(CHAPTERS):
            if page.removeprefix(CHAPTERS) not in notebooks:
                problems.append(f"book/_toc.yml: no notebook {page}")
        elif not (root / "book" / f"{page}.md").is_file():
            problems.append(f"book/_toc.yml: no page {page}.md")
    return problems


def unfit(notebooks: dict[str, Path]) -> list[str]:
    """What keeps executed notebooks from being shown."""
    problems = []
    for name, path in notebooks.items():
        problems += check_executed(path) if path.is_file() else [f"{name}: not executed yet"]
    return problems


@contextmanager
def _staged(
    root: Path, executed: Sequence[Path], out: Path, answers: bool = True
) -> Iterator[Path]:
    """A scratch copy of the book's sources with these notebooks as its chapters.

    It lies beside `out`, so that moving into place is one rename on one disk.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".book-", dir=out.parent) as scratch:
        stage = Path(scratch) / "book"
        leave = shutil.ignore_patterns("executed", "_build", "editions", "claims.yml", "drawn.yml")
        shutil.copytree(root / "book", stage, ignore=leave)
        (stage / CHAPTERS).mkdir(exist_ok=True)
        for path in executed:
            write_arranged(path, stage / CHAPTERS, answers)
        yield stage


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
        file = stage / CHAPTERS / f"{page.name}.ipynb"
        file.write_text(json.dumps(notebook), encoding="utf-8")
        added.append(page)
    if added:
        toc = yaml.safe_load((stage / "_toc.yml").read_text(encoding="utf-8"))
        files = [{"file": f"{CHAPTERS}{page.name}"} for page in added]
        toc["parts"].append({"caption": "Runs on other data", "chapters": files})
        (stage / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    return added


def _put(html: Path, out: Path) -> None:
    """Move a rendered book into place."""
    if out.exists():
        if not (out / "_static").is_dir() and any(out.iterdir()):
            raise BookError(f"{out}: is there and is not a book; name another folder")
        # Two renames: at every moment the old book or the new one is whole somewhere.
        os.replace(out, html.with_name("old"))
    os.replace(html, out)


def _repository(root: Path) -> str:
    """Public address of the repository, from the book's configuration; "" when none is known."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8")) or {}
    context = config.get("sphinx", {}).get("config", {}).get("html_context", {})
    return str(context.get("cpssl_repository") or "")


def _unlink(stage: Path, absent: set[str]) -> None:
    """Leave only the text of Markdown links to notebooks that are not in this book."""
    names = "|".join(map(re.escape, sorted(absent))) or "(?!)"
    link = re.compile(rf"\[([^\[\]]+)\]\((?:[\w./]*/)?(?:{names})(?:\.\w+)?(?:#[^)]*)?\)")
    for path in [*stage.glob("*.md"), *stage.glob(f"{CHAPTERS}*.ipynb")]:
        path.write_text(link.sub(r"\1", path.read_text(encoding="utf-8")), encoding="utf-8")


def _jupyter_book(stage: Path, config: Path, *options: str) -> Path:
    """Run Jupyter Book on a staged book; return the folder of the rendered pages."""
    program = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    scratch = stage.parent
    words = ["build", str(stage), "--config", str(config), "--path-output", str(scratch)]
    done = subprocess.run(
        [sys.executable, "-c", program, *words, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    if done.returncode != 0:
        lines = ANSI.sub("", done.stdout + done.stderr).replace(f"{scratch}/", "").splitlines()
        told = [line for line in lines if "WARNING" in line or "ERROR" in line]
        raise BookError("\n".join(["Jupyter Book did not pass:", *(told or lines[-20:])]))
    return scratch / "_build" / "html"


def _raise(problems: list[str]) -> None:
    if problems:
        raise BookError("\n".join(problems))
