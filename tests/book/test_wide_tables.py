"""What needs more room than the text: nothing hides unannounced, and no page is wider than seen."""

from pathlib import Path
from typing import Any

import pytest

from tests.book.test_browser import OPEN, Visit, browser, pages

__all__ = ["browser"]  # a fixture of this module as well
pytestmark = pytest.mark.browser

# Tables, and code that is seen, of which a part is hidden.
CUT = """(what) => [...document.querySelectorAll(what)].flatMap((one) => {
  if (!one.checkVisibility()) return [];
  const name = (one.caption?.textContent || one.textContent).trim().slice(0, 40);
  for (let box = one; box && box.tagName !== "MAIN"; box = box.parentElement) {
    if (box === one && box.tagName === "TABLE") continue;
    if (getComputedStyle(box).overflowX !== "visible" && box.scrollWidth > box.clientWidth + 1)
      return [`${name}: cut off`];
  }
  return one.getBoundingClientRect().right > innerWidth ? [`${name}: beyond the window`] : [];
})"""
WIDE = (
    '<div class="cpssl-scroll full-width"><table class="cpssl-table"><caption>Wide</caption>'
    f"<tr>{'<td><div style=width:5.5rem>1</div></td>' * 7}</tr></table></div>"
)
# Put into a page before its own scripts look for tables.
PUT = """addEventListener("DOMContentLoaded", () => {
  document.querySelector("table.dataframe").closest(".output.text_html").innerHTML = `MADE`;
});"""


@pytest.mark.whole
def test_nothing_hides_beside_the_margin(browser: Any, whole_root: Path) -> None:
    visit, wrong = Visit(browser), []
    for path in pages(whole_root / "html" / "lite"):
        page = visit.open(path)
        seen = page.evaluate(CUT, "article :is(table, pre)")
        wrong += [f"{path.stem} as it opens: {text}" for text in seen]
        page.evaluate(OPEN)
        for width in (1280, 1100, 768):
            page.set_viewport_size({"width": width, "height": 900})
            seen = page.evaluate(CUT, "article table")
            wrong += [f"{path.stem} at {width}: {text}" for text in seen]
        page.set_viewport_size({"width": 1280, "height": 900})
    visit.context.close()
    assert wrong == []


@pytest.mark.parametrize(("width", "shown"), [(1280, True), (1100, True), (390, False)])
def test_a_wide_table_is_seen_or_says_that_it_scrolls(
    browser: Any, small_book: Path, width: int, shown: bool
) -> None:
    visit = Visit(browser, width)
    visit.page.add_init_script(PUT.replace("MADE", WIDE))
    page = visit.open(small_book / "chapters" / "99_demo.html")
    page.wait_for_selector(".cpssl-scroll.full-width")
    page.wait_for_timeout(200)  # the observer of sizes
    text = page.locator(".cpssl-scroll.full-width")
    cue = text.evaluate("(box) => getComputedStyle(box, '::before').content")
    assert page.evaluate(CUT, ".full-width table") == ([] if shown else ["Wide: cut off"])
    assert ("Scroll sideways" in cue) is not shown
    if width == 1280:
        assert text.bounding_box()["width"] > 900, "it reaches into the margin"
    visit.context.close()


# A caption grows by a letter at a time: its last word ends once at each point of a line. Gives the
# greatest width that the page took.
GROW = """() => {
  const caption = document.querySelector("figcaption .caption-text"), old = caption.textContent;
  let widest = 0;
  for (let n = 0; n < 480; n++) {
    caption.textContent = `${old} ${"i".repeat(n % 12)}${" iiiiii".repeat(n / 12)}`;
    widest = Math.max(widest, document.documentElement.scrollWidth);
  }
  return widest;
}"""


@pytest.mark.parametrize("width", [768, 390])
def test_no_last_word_of_a_caption_widens_the_page(
    browser: Any, small_book: Path, width: int
) -> None:
    visit = Visit(browser, width)
    page = visit.open(small_book / "chapters" / "99_demo.html")
    assert page.locator("figcaption a.headerlink").count() >= 1
    assert page.evaluate(GROW) == width
    visit.context.close()


# Every number of a page, in the form of another.
OTHER = """(number) => {
  const walk = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode())
    walk.currentNode.data = walk.currentNode.data.replace(/[\\d.,]*\\d/g, number);
}"""


@pytest.mark.whole
def test_no_number_of_another_machine_widens_a_page(browser: Any, whole_root: Path) -> None:
    visit, wrong = Visit(browser), []
    for path in pages(whole_root / "html" / "lite" / "chapters"):
        page = visit.open(path)
        page.evaluate(OPEN)
        for number in ("7", "12.5", "1,234.5", "12345.678"):
            page.evaluate(OTHER, number)
            for width in (768, 390, 320):
                page.set_viewport_size({"width": width, "height": 900})
                wide = page.evaluate("document.documentElement.scrollWidth")
                wrong += [f"{path.stem}: {wide} px at {width}, {number}"] * (wide > width)
    visit.context.close()
    assert wrong == []
