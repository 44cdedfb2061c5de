"""A chapter that raises and one whose kernel is killed: both pages say so, the others are there."""

import re
from pathlib import Path

import pytest

from cpssl_lite.book.notices import write_notice
from tests.book.conftest import make_tiny_root

CELLS = {
    "raises": 'raise ValueError("the <b>sky</b> fell `` in")',
    "killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "fine": "print(1)",
}


@pytest.fixture(scope="module")
def failing(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of three chapters, of which one is fine."""
    chapters = {f"{n:02d}_{name}": code for n, (name, code) in enumerate(CELLS.items(), 1)}
    root = make_tiny_root(tmp_path_factory.mktemp("failing"), small_root, chapters)
    with open(root / "book" / "index.md", "a") as page:
        page.write("\n[there](chapters/01_raises)\n")
    return root


@pytest.mark.slow
def test_failed_chapters_are_pages_that_say_so(
    failing: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from cpssl_lite.book import make as making

    monkeypatch.chdir(failing)
    monkeypatch.setattr(making, "simulate", lambda *_, **__: None)
    with pytest.raises(making.BookError, match="not built") as caught:
        making.make_book(failing / "html", strict=True)
    assert "01_raises, 02_killed" in str(caught.value) and not (failing / "html").exists()
    with pytest.raises(making.BookError, match="without chapters that failed: 01_raises, 02_"):
        making.make_book(failing / "html")
    found = (failing / "html" / "lite" / "chapters").glob("*.html")
    # Each word of a command is an element of its own.
    pages = {p.stem: re.sub("</?span[^>]*>", "", p.read_text()) for p in found}
    assert pages.keys() == {"01_raises", "02_killed", "03_fine"}
    assert "ValueError: the &lt;b&gt;sky&lt;/b&gt; fell `` in" in pages["01_raises"]
    assert "ended by the system" in pages["02_killed"]
    for name in ("raises", "killed"):
        number = list(CELLS).index(name) + 1
        assert f"A chapter: {number:02d}_{name}" in pages[f"{number:02d}_{name}"]
        assert f"cpssl run {name}" in pages[f"{number:02d}_{name}"]
    assert "could not be run" not in pages["03_fine"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_notice_keeps_its_fence(tmp_path: Path) -> None:
    (tmp_path / "chapters").mkdir()
    source = tmp_path / "03_x.py"
    source.write_text("# %% [markdown]\n# # Title\n")
    text = write_notice(tmp_path, source, "x\nError: ```{raw} html\n").read_text()
    assert text.startswith("# Title\n") and "````text\nError: ```{raw} html\n````" in text
