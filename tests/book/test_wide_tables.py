"""Tables and code that need more room than the text: nothing hides unannounced beside an edge."""

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
