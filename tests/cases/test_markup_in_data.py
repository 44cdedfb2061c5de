"""Text from data on a page: shown as it is, never read as markup."""

import json
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("markdown_it")
from markdown_it import MarkdownIt

from cpssl_lite.book import build, scorecard
from cpssl_lite.book.claims import Claim, Measured
from cpssl_lite.book.html import markdown
from cpssl_lite.book.notices import write_notice
from cpssl_lite.book.scorecard import Page

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "![a](https://example.org/pixel.png)",
    "`code` *bold* _under_ ~~gone~~",
    "two\n\n<b>lines</b>",
    "x\n# heading",
    "&lt;b&gt; & {{ name }} $x^2$ {raw}`html`",
    "| a | b |",
    "plain name, 2 (of 3)",
]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def rendered(text):
    """Tags and text of Markdown, with HTML let through as the book's parser does."""
    page = Tags()
    page.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    return page


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("around", ["{}", "# {}", "before {} after"])
def test_markdown_shows_what_was_given(name, around):
    page = rendered(around.format(markdown(name)))
    assert [tag for tag, _ in page.tags] == ["h1" if around.startswith("#") else "p"]
    assert " ".join(name.split()) in page.text.strip()


def notebook(folder, title="A chapter", stem="02_x"):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": [f"# {title}\n", "\nProse."]}]
    folder.mkdir(parents=True)
    path = folder / f"{stem}.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {"cpssl": {}}}))
    return path


def staged(tmp_path, run):
    stage = tmp_path / "stage"
    (stage / "chapters").mkdir(parents=True)
    (stage / "_toc.yml").write_text(json.dumps({"root": "index", "parts": []}))
    (page,) = build.stage_runs(stage, [run])
    (file,) = (stage / "chapters").glob("*.ipynb")
    (source,) = (cell["source"] for cell in json.loads(file.read_text())["cells"])
    return page, file, "".join(source)


@pytest.mark.parametrize("name", [name for name in HOSTILE if "/" not in name])
def test_the_folder_of_a_run_is_text_in_its_heading(tmp_path, name):
    page, _, source = staged(tmp_path, notebook(tmp_path / name))
    shown = rendered(source)
    assert [tag for tag, _ in shown.tags] == ["h1", "p"]
    assert f"A chapter: {' '.join(name.split())}" in shown.text
    assert page.title == f"A chapter: {name}"


@pytest.mark.parametrize("name", HOSTILE)
def test_the_name_of_the_data_is_text_in_heading_and_scorecard(tmp_path, monkeypatch, name):
    run = notebook(tmp_path / "run")
    measured = {"gain": Measured("gain", 12.0, name)}
    monkeypatch.setattr(build, "read_page", lambda path: Page("02_x", "A chapter", measured))
    page, _, source = staged(tmp_path, run)
    assert [tag for tag, _ in rendered(source).tags] == ["h1", "p"]
    rule = {"kind": "value", "absolute": 5}
    claim = Claim("gain", "Fig. 2", "Gain.", "gain", 29, rule, ("real",), "%", chapter="x")
    html = scorecard.scorecard({"gain": claim}, [page])
    table = Tags()
    table.feed(html)
    assert {tag for tag, _ in table.tags} <= {
        "p", "span", "table", "thead", "tbody", "tr", "th", "td", "small", "a", "details", "summary"
    }  # fmt: skip
    assert unescape(name) in unescape(unescape(html))
    assert not any(key.startswith("on") for _, attrs in table.tags for key in attrs)


def test_the_name_of_a_file_becomes_no_markup(tmp_path):
    run = notebook(tmp_path / "run", stem="02_<img src=x onerror=alert(1)>")
    page, file, _ = staged(tmp_path, run)
    assert file.stem == page.name and not set(page.name) & set("<>=() ")


@pytest.mark.parametrize("error", ["`" * 3, "`" * 7, "`" * 8, "`" * 20, "~~~", ":::", "</p><b>"])
def test_an_error_stays_inside_its_fence(tmp_path, error):
    (tmp_path / "chapters").mkdir()
    source = tmp_path / "03_x.py"
    source.write_text("# %% [markdown]\n# # Title\n")
    page = write_notice(tmp_path, source, f"x\n{error}\n")
    tokens = MarkdownIt("commonmark").parse(Path(page).read_text())
    (outer,) = [token for token in tokens if token.type == "fence"]
    assert outer.info == "{warning}"
    (inner,) = [t for t in MarkdownIt("commonmark").parse(outer.content) if t.type == "fence"]
    assert inner.content == f"{error}\n"
