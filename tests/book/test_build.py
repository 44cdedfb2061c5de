"""What must fail the build, and what a built book holds."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.book import build as building
from cpssl_lite.book import make as making
from cpssl_lite.book.build import BookError, build, build_chapter, check_html
from cpssl_lite.book.claims import load_claims
from cpssl_lite.book.percent import read_parameters, read_percent
from cpssl_lite.book.where import list_notebooks

GOOD = {"mystnb": {"figure": {"name": "fig-x", "caption": "A."}, "image": {"alt": "Points"}}}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def executed(root: Path, name: str = "01_x", output: Any = None, **metadata: Any) -> Path:
    """Write a source and an executed notebook with one image, the way the runner leaves them."""
    image = nbformat.v4.new_output("display_data", data={"image/png": PIXEL})
    cell = nbformat.v4.new_code_cell("plot()", outputs=[output or image], metadata=metadata)
    text = nbformat.v4.new_markdown_cell("# Title\n\n" + "Some words to read. " * 10)
    about = {"cpssl": {}, "language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[text, cell], metadata=about)
    (root / "notebooks" / f"{name}.py").write_text("# %%\n")
    path = root / "book" / "executed" / "lite" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def contents(root: Path, *files: str) -> None:
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": f} for f in files]}
    (root / "book" / "_toc.yml").write_text(yaml.safe_dump(toc))
    (root / "book" / "index.md").write_text("# First page\n\n" + "Some words to read. " * 10)


def refused(root: Path) -> str:
    with pytest.raises(BookError) as caught:
        build(root / "html", root)
    assert not (root / "html").exists()
    return str(caught.value)


def test_an_empty_book(root: Path) -> None:
    assert "cannot be read" in refused(root)
    contents(root)
    assert "_toc.yml: cannot be read ('chapters' not a non-empty list" in refused(root)
    (root / "book" / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    assert "the book is empty" in refused(root)
    contents(root, "glossary")
    assert "no notebooks, the book would be empty" in refused(root)


def test_a_notebook_missing_from_the_contents_or_not_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed(root, **GOOD)
    contents(root, "chapters/02_gone", "nothing")
    told = refused(root)
    assert "notebooks/01_x.py is not in book/_toc.yml" in told
    assert "no notebook chapters/02_gone" in told and "no page nothing.md" in told
    monkeypatch.chdir(root)
    monkeypatch.setattr(making, "simulate", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(BookError, match=r"01_x\.py is not in book/_toc\.yml"):
        making.make_book(root / "html")


def test_a_notebook_not_executed_or_failed(root: Path) -> None:
    contents(root, "chapters/01_x")
    executed(root, output=nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]))
    assert "01_x: cell 1 failed" in refused(root)
    (root / "book" / "executed" / "lite" / "01_x.ipynb").unlink()
    assert "01_x: not executed yet" in refused(root)


@pytest.mark.parametrize(
    ("text", "words"),
    [("hi", "is not a notebook"), ("[]", "is not a notebook"), (None, "not executed yet"),
     ('{"metadata": {}, "cells": []}', "was not executed by cpssl run")],
)  # fmt: skip
def test_a_run_that_is_none_is_refused_before_anything_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, words: str
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr(making, "simulate", lambda *_, **__: pytest.fail("too late"))
    run = root / "run.ipynb"
    if text:
        run.write_text(text)
    with pytest.raises(InputError, match=words):
        making.make_book(root / "html", runs=[run])


@pytest.mark.parametrize(
    ("part", "words"), [("figure", "has no caption"), ("image", "has no alternative text")]
)
def test_a_figure_without_its_words(root: Path, part: str, words: str) -> None:
    contents(root, "chapters/01_x")
    executed(root, mystnb={k: v for k, v in GOOD["mystnb"].items() if k != part})
    assert words in refused(root)


def test_a_warning_fails_and_the_old_book_stays(small_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    leave = shutil.ignore_patterns("executed", "notebooks", "editions")
    shutil.copytree(small_root, root, ignore=leave)
    (root / "notebooks").mkdir()
    executed(root, **GOOD)
    contents(root, "chapters/01_x")
    index = root / "html" / "index.html"
    (root / "html" / "_static").mkdir(parents=True)
    index.write_text("the old book")
    (root / "book" / "index.md").write_text("# First page\n\nSee {doc}`nowhere`. {term}`Nobody`.")
    with pytest.raises(BookError, match=r"book/index\.md.*nowhere") as caught:
        build(root / "html", root)
    assert "Nobody" in str(caught.value) and str(tmp_path) not in str(caught.value)
    assert index.read_text() == "the old book"
    assert [p.name for p in root.iterdir() if p.name.startswith(".book")] == []


def test_a_folder_that_is_no_book_is_not_replaced(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "_config.yml").write_text("")
    mine = root / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("years")
    new = root / "new"
    new.mkdir()
    monkeypatch.setattr(building, "_jupyter_book", lambda *_, **__: new)
    monkeypatch.setattr(building, "check_html", lambda _: [])
    monkeypatch.setattr(building, "write_crate", lambda *_: None)
    executed(root, **GOOD)
    contents(root, "chapters/01_x")
    with pytest.raises(BookError, match="is not a book"):
        build(mine, root)
    assert (mine / "chapter.txt").read_text() == "years"


def test_pages_are_checked(tmp_path: Path) -> None:
    words = "word " * 30
    (tmp_path / "index.html").write_text(
        f'<article id="a">{words}<img src="_images/x.png" alt="_images/x.png">'
        '<img src="y.png" alt="Cells"><a href="b.html#there">1</a><a href="b.html#gone">2</a>'
        '<a href="c.html">3</a><a href="#a">4</a><a href="https://example.org/x">5</a></article>'
    )
    (tmp_path / "b.html").write_text('<article><p id="there">short</p></article>')
    assert check_html(tmp_path) == [
        "b.html: has no text",
        "index.html: image _images/x.png has no alternative text",
        "index.html: link to b.html#gone, which has no such anchor",
        "index.html: link to c.html, which is not there",
    ]
    assert "the book is empty" in check_html(tmp_path / "nowhere")[0]


def test_real_images_reach_the_notebook_that_asks(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "notebooks" / "00_data.py").write_text(
        '# %% tags=["parameters"]\nreal_images = "x"  # folder\n'
    )
    (root / "notebooks" / "01_x.py").write_text("# %%\n")
    monkeypatch.delenv("CPSSL_REAL", raising=False)
    assert making._real_images(root) == {}
    (root / "real" / "images").mkdir(parents=True)
    monkeypatch.setenv("CPSSL_REAL", "real")
    assert making._real_images(root) == {"00_data": {"real_images": "real/images"}}


def test_one_run_becomes_a_small_book(small_root: Path, small_book: Path, tmp_path: Path) -> None:
    page = build_chapter(
        small_root / "book" / "executed" / "lite" / "99_demo.ipynb", tmp_path / "html"
    )
    text = page.read_text()
    assert "A small chapter" in text and "claim-gain" in text
    assert "before the data page." in text and check_html(tmp_path / "html") == []
    assert (tmp_path / "html" / "glossary.html").is_file()


def test_runs_in_one_folder_keep_their_pages(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run beside a first one: two pages, each of its own notebook, and a way to both."""

    def render(stage: Path, *_: object) -> Path:
        html = stage.parent / "_build" / "html"
        (html / "_static").mkdir(parents=True)
        (html / "chapters").mkdir()
        (page,) = (stage / "chapters").glob("*.ipynb")
        (html / "chapters" / f"{page.stem}.html").write_text(page.read_text())
        (html / "index.html").write_text("to the chapter")
        return html

    monkeypatch.setattr(building, "_jupyter_book", render)
    made, pages = executed(root, **GOOD), {}
    (root / "runs").mkdir()
    for name, seed in (("a", 0), ("b #1", 1), ("a", 2)):
        notebook = nbformat.read(made, 4)
        notebook.cells[0].source += f" Seed {seed}."
        notebook.metadata["cpssl"]["overrides"] = {"seed": seed} if seed else {}
        nbformat.write(notebook, root / "runs" / f"{name}.ipynb")
        pages[name] = build_chapter(root / "runs" / f"{name}.ipynb")
    shelf = root / "runs" / "html"
    assert pages == {n: shelf / n / "chapters" / f"{n}.html" for n in pages}
    assert "Seed 2." in pages["a"].read_text() and "Seed 1." in pages["b #1"].read_text()
    index = (shelf / "index.html").read_text()
    assert '<a href="a/index.html">a</a>: Title, seed=2' in index
    assert '<a href="b%20%231/index.html">b #1</a>: Title, seed=1' in index
    (shelf / "index.html").write_text("my thesis")
    assert build_chapter(root / "runs" / "a.ipynb") == pages["a"]
    assert (shelf / "index.html").read_text() == "my thesis"


def test_a_page_says_how_it_was_made(small_book: Path) -> None:
    text = (small_book / "chapters" / "99_demo.html").read_text()
    for words in ("cpssl run 99_demo", "Parameters of this run", "Versions", "simulated", "27%"):
        assert words in text
    assert str(small_book) not in text and "/tmp/" not in text
    assert (small_book / "_sources" / "chapters" / "99_demo.ipynb").is_file()
    assert (small_book / "_static" / "tex-svg.js").stat().st_size > 1_000_000


def test_the_repository_itself() -> None:
    root = Path(__file__).resolve().parents[2]
    listed = building._contents(root / "book" / "_toc.yml")
    for source in list_notebooks(root):
        assert f"chapters/{source.stem}" in listed
        for parameter in read_parameters(read_percent(source), source.name).values():
            assert parameter.help, f"{source.name}: {parameter.name} has no comment"
    assert load_claims(root / "book" / "claims.yml")


def test_conda_and_binder_get_what_pip_gets() -> None:
    root = Path(__file__).resolve().parents[2]
    environment = yaml.safe_load((root / "environment.yml").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    [python] = [d for d in environment["dependencies"] if str(d).startswith("python=")]
    [pip] = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-e .[book]"] and "book" in project["optional-dependencies"]
    least = project["requires-python"].removeprefix(">=")
    assert [int(n) for n in python.split("=")[1].split(".")] >= [int(n) for n in least.split(".")]


def test_chapters_have_one_rhythm() -> None:
    """Goals at the start; two to four exercises at the end, each with a folded solution."""
    for source in list_notebooks(Path(__file__).resolve().parents[2]):
        cells = read_percent(source).cells
        # Where the chapter opens with its main figure, the goals stand below that.
        for_all = [c for c in cells if not {"drawn", "real"} & set(c.metadata.get("tags", []))]
        first = [c.source for c in for_all if c.cell_type == "markdown"][:3]
        assert "After this chapter you can" in "".join(first), f"{source.name}: no learning goals"
        start = next((i for i, c in enumerate(cells) if "## Exercises" in c.source), None)
        assert start is not None, f"{source.name}: no exercises"
        end = cells[start:]
        text = "\n".join(c.source for c in end if c.cell_type == "markdown")
        text = text.split("## Exercises", 1)[1]
        numbers = re.findall(r"^(\d)\. ", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
        assert [int(n) for n in numbers] == list(range(1, len(numbers) + 1)), source.name
        folded = [c for c in end if {"hide-cell", "solution"} & set(c.metadata.get("tags", []))]
        asked = [c for c in end if "ask(" in c.source]
        solved = len(folded) + len(asked) + text.count(":class: dropdown")
        many = len(numbers) or len(asked)  # a question with its answer is an exercise
        assert 2 <= many <= 4, f"{source.name}: {many} exercises"
        assert solved >= many, f"{source.name}: {solved} solutions"
