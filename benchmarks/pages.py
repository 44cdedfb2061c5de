"""How the pages of a built book look: heights, first pictures, code that is seen, questions.

    python benchmarks/pages.py [HTML, by default html/lite]

Needs Chromium and playwright (extra: test). In a window of 1280 x 900 px, folds as they are when
the page opens. *Code seen* is the share of a page's lines of code outside of folds; *calls the
package* the share of those lines in cells that call, by name, a function or a class of the
package. Every question has an answer that the build computed: `ask` takes no other.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MEASURE = """
(() => {
  const pictures = [...document.querySelectorAll("article :is(figure img, .cpssl-explorer)")];
  const tops = pictures.filter((one) => one.checkVisibility())
    .map((one) => one.getBoundingClientRect().top + scrollY);
  const cells = [...document.querySelectorAll("article .cell_input")].map((cell) => ({
    lines: cell.textContent.split("\\n").filter((line) => line.trim()).length,
    seen: !cell.closest("details.hide"),
    calls: Boolean(cell.querySelector("a.cpssl-api")),
  }));
  const lines = (some) => some.reduce((sum, cell) => sum + cell.lines, 0);
  const seen = cells.filter((cell) => cell.seen);
  return {
    height: document.documentElement.scrollHeight,
    first: tops.length ? Math.round(Math.min(...tops)) : null,
    lines: lines(cells),
    seen: lines(seen),
    calls: lines(seen.filter((cell) => cell.calls)),
    questions: document.querySelectorAll("article .cpssl-ask").length,
  };
})()
"""


def chapters(html: Path) -> list[Path]:
    """The first page, the chapters and the scorecard of a book."""
    found = [html / "index.html", *sorted((html / "chapters").glob("*.html"))]
    return [path for path in (*found, html / "scorecard.html") if path.is_file()]


def main() -> None:
    """Print the table."""
    from playwright.sync_api import sync_playwright

    html = Path(sys.argv[1] if sys.argv[1:] else "html/lite").resolve()
    if not (html / "index.html").is_file():
        sys.exit(f"{html}: no rendered book; make book makes one")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    head = ("page", "height", "first picture", "code seen", "calls the package", "questions")
    print(f"{head[0]:<28}{head[1]:>8}{head[2]:>15}{head[3]:>11}{head[4]:>19}{head[5]:>11}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for path in chapters(html):
            page.goto(path.as_uri(), wait_until="load")
            one: dict[str, Any] = page.evaluate(MEASURE)
            seen = f"{one['seen'] / one['lines']:.0%}" if one["lines"] else "-"
            calls = f"{one['calls'] / one['seen']:.0%}" if one["seen"] else "-"
            first = "-" if one["first"] is None else one["first"]
            row = f"{path.stem:<28}{one['height']:>8}{first:>15}{seen:>11}{calls:>19}"
            print(f"{row}{one['questions']:>11}")


if __name__ == "__main__":
    main()
