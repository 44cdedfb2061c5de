"""The book on paper: its pages follow each other, with their titles and their answers."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cpssl_lite.book.pdf import join_pages, write_pdf
from tests.book.test_browser import Visit, browser

__all__ = ["browser"]  # a fixture of this module as well
pytestmark = pytest.mark.browser

NAMES = ["index.html", "chapters/99_demo.html", "scorecard.html"]
PLACES = """[...document.querySelectorAll("article.bd-article")].map((article) => {
  const box = article.getBoundingClientRect(), title = article.querySelector("h1");
  return [box.left, box.width, box.top, box.bottom, title.getBoundingClientRect().height];
})"""


def test_pages_stand_below_each_other_with_their_titles(browser: Any, small_book: Path) -> None:
    joined = small_book / "joined_for_a_test.html"
    joined.write_text(join_pages(small_book, NAMES), encoding="utf-8")
    visit = Visit(browser, 794)  # A4 at 96 dpi
    page = visit.open(joined)
    page.emulate_media(media="print")
    places = page.evaluate(PLACES)
    joined.unlink()
    assert len(places) == len(NAMES)
    assert {round(left) for left, *_ in places} == {0}
    assert all(width > 700 and title > 20 for _, width, _, _, title in places)
    for above, below in pairwise(places):
        assert below[2] >= above[3] - 1, "one ends before the next begins"
    asked = page.locator(".cpssl-ask details p")
    assert asked.count() and asked.first.is_visible(), "nothing can be opened on paper"
    visit.context.close()


def test_readers_find_a_heading_in_the_outline(small_book: Path, tmp_path: Path) -> None:
    made = write_pdf(small_book, tmp_path / "one.pdf", "chapters/99_demo")
    text = made.read_bytes()
    assert b"/Outlines" in text and b"/Title" in text
