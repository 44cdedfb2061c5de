"""A rendered book is kept only while nothing that it is made from changes."""

import shutil
from pathlib import Path

import nbformat
import pytest

from cpssl_lite.base.sources import PACKAGE
from cpssl_lite.book import build as building
from cpssl_lite.book import make as making
from cpssl_lite.book import rendered
from cpssl_lite.book.build import build
from tests.book.test_build import GOOD, contents, executed


def rewrite(path: Path) -> None:
    path.write_text(path.read_text() + "\n# Another line\n")


def test_nothing_changed_renders_nothing_and_anything_changed_renders(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rendered_books = []

    def render(stage: Path, *_: object) -> Path:
        html = stage.parent / "_build" / "html"
        (html / "_static").mkdir(parents=True)
        (html / "index.html").write_text("a page")
        rendered_books.append(stage)
        return html

    package = tmp_path / "copy" / "cpssl_lite"
    shutil.copytree(PACKAGE, package, ignore=lambda _, names: {n for n in names if "." in n[-12:]
                    and not n.endswith((".py", ".css", ".js"))})  # fmt: skip
    monkeypatch.setattr(rendered, "PACKAGE", package)
    monkeypatch.setattr(building, "_jupyter_book", render)
    monkeypatch.setattr(building, "check_html", lambda _: [])
    monkeypatch.setattr(building, "write_crate", lambda *_: None)
    (root / "_config.yml").write_text("title: x\n")
    notebook = executed(root, **GOOD)
    contents(root, "chapters/01_x")
    html = root / "html"

    def renders(**how: object) -> bool:
        before = len(rendered_books)
        build(html, root, keep=True, **how)
        return len(rendered_books) > before

    assert renders() and not renders() and not renders()
    build(html, root)
    assert len(rendered_books) == 2, "kept only where that is asked for"
    assert renders(answers=False) and not renders(answers=False) and renders()

    for changed in (
        root / "book" / "index.md",
        root / "book" / "claims.yml",
        root / "_config.yml",
        package / "book" / "front.py",
        package / "book" / "sphinx_offline.py",
        package / "base" / "files.py",
    ):
        rewrite(changed)
        assert renders(), changed
        assert not renders(), changed
    again = nbformat.read(notebook, 4)
    again.cells[0].source += " One more word."
    nbformat.write(again, notebook)
    assert renders() and not renders()

    (root / "book" / "_static").mkdir()
    (root / "book" / "_static" / "new.css").write_text("p {}")
    assert renders() and not renders()
    monkeypatch.setattr(rendered, "distributions", lambda: [])
    assert renders() and not renders()
    (html / "index.html").unlink()
    assert renders() and not renders(), "a page was missing"
    (html / rendered.NOTE).write_text("{")
    assert renders() and not renders()
    assert renders(failed={"01_x": "01_x: cell 1 failed"}) and renders()


def test_a_copy_for_students_has_a_folder_of_its_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed(root, **GOOD)
    contents(root, "chapters/01_x")
    monkeypatch.chdir(root)
    for name in ("simulate", "put_on_shelf", "_tell_untested"):
        monkeypatch.setattr(making, name, lambda *_, **__: None)
    monkeypatch.setattr(making, "run_all", lambda **_: [])
    made = []
    monkeypatch.setattr(making, "build", lambda out, *_, answers: made.append((out, answers)))
    for student in (False, True):
        making.make_book(root / "html", student=student)
    html = root / "html"
    assert made == [(html / "lite", True), (html / "lite-student", False)]
