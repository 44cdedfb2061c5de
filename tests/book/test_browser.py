"""Every page of a built book in headless Chromium, with the network off."""

import base64
import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cpssl_lite.book import dark
from cpssl_lite.book.arrange import KEY
from tests.book.conftest import ROOT

pytestmark = pytest.mark.browser

STATES = [(w, theme) for w in (1280, 390) for theme in ("light", "dark")]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

# Preloading would read style sheets by XMLHttpRequest, which file:// forbids.
QUIET = {"preload": False, "resultTypes": ["violations"]}

# px on screen that letters have at least.
LEAST = 9
OPEN = "document.querySelectorAll('article details').forEach((fold) => { fold.open = true; })"
# What opens fades in; half-way its letters have too little contrast.
STILL = "* { animation: none !important; transition: none !important; }"
# Axe looks longest at colours of code, a word at a time: one of each kind stays.
FEWER = """{
  const seen = new Set();
  for (const word of document.querySelectorAll("article .highlight pre span:not(:has(*), a *)")) {
    const kind = `${word.className} in ${word.parentElement.className}`;
    seen.has(kind) ? word.remove() : seen.add(kind);
  }
}"""
# What pages have in common, around their own words; a page keeps its title.
AROUND = """{
  const words = document.querySelector("article");
  words?.replaceChildren(...words.querySelectorAll("h1"));
}"""
# Texts of a page that are smaller, with their sizes. (Formulas are drawings of MathJax's own.)
SMALL = """(least) => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim(), box = walk.currentNode.parentElement;
    if (!text || box.closest("script, style, mjx-container") || !box.checkVisibility()) continue;
    const drawn = box.getScreenCTM ? box.getScreenCTM().a : 1;  // an SVG may be scaled
    const size = parseFloat(getComputedStyle(box).fontSize) * drawn;
    if (size && size < least) found.push(`${size.toFixed(1)} px: ${text.slice(0, 40)}`);
  }
  return found;
}"""
# Figures that are seen: file, width on screen, pixels across.
SHOWN = """[...document.querySelectorAll("article figure img")].filter((i) => i.clientWidth)
  .map((i) => [i.src.split("/").pop(), i.clientWidth, i.naturalWidth])"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra: test)")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with api.sync_playwright() as playwright:
        if not found and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("needs Chromium (apt-get install chromium, or playwright install chromium)")
        yield playwright.chromium.launch(executable_path=found, args=ARGUMENTS)


class Visit:
    """A page, with what it asked the network for and what it complained about."""

    def __init__(self, browser: Any, width: int = 1280, theme: str = "light") -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, offline=True
        )
        self.context.route("**/*", self._route)
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def _route(self, route: Any) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.said.append(message.text)

    def open(self, path: Path, query: str = "") -> Any:
        self.page.goto(path.as_uri() + query, wait_until="load")
        return self.page


@cache
def letters(book: Path) -> dict[str, dict[str, Any]]:
    """What was measured of the letters of a book's figures when they were drawn, by file."""
    found = {}
    for path in (book / "_sources" / "chapters").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                if dark.MIME in output.get("data", {}):
                    light = base64.b64decode("".join(output["data"]["image/png"]))
                    name = f"{hashlib.sha256(light).hexdigest()}.png"
                    found[name] = {
                        "figure": output["metadata"].get(KEY, {}).get("figure", {}).get("name"),
                        **output["data"][dark.MIME]["letters"],
                    }
    return found


def too_small(page: Any, book: Path) -> list[str]:
    """Texts of a page, and figures on it, with letters that are too small on screen."""
    found = list(page.evaluate(SMALL, LEAST))
    for file, width, across in page.evaluate(SHOWN):
        measured = letters(book).get(file, {})
        if least := measured.get("smallest"):
            # A figure is 2 x 110 px an inch; a point is 1/72 of it.
            size = least * 110 / 72 * width / (across / 2)
            if size < LEAST:
                found.append(f"{size:.1f} px: figure {measured['figure']}")
    return found


def pages(book: Path) -> list[Path]:
    return [p for p in sorted(book.rglob("*.html")) if "_static" not in p.parts]


@pytest.mark.parametrize(("width", "theme"), STATES)
def test_every_page(browser: Any, book: Path, width: int, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    visit, wrong = Visit(browser, width, theme), []
    found = pages(book)
    assert len(found) >= 6
    for path in found:
        name = path.relative_to(book).as_posix()
        page = visit.open(path)
        page.add_style_tag(content=STILL)
        page.evaluate(OPEN)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        for size in (768, width) if width > 768 else (width,):
            page.set_viewport_size({"width": size, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > size:
                wrong.append(f"{name}: {wide} px wide at {size}")
            wrong += [f"{name} at {size}: {text}" for text in too_small(page, book)]
        for image in page.evaluate(
            "[...document.querySelectorAll('article img')]"
            ".map(i => [i.getAttribute('src'), i.alt, i.complete && i.naturalWidth])"
        ):
            source, alt, drawn = image
            if not alt or Path(source).name in alt or not drawn:
                wrong.append(f"{name}: image {image}")
        # Colours depend on the theme, what overflows on the width: each is looked at once with a
        # page's own words, and in all four states around them.
        page.evaluate(FEWER if (width, theme) in (STATES[0], STATES[3]) else AROUND)
        for violation in Axe().run(page, options=QUIET).response["violations"]:
            where = violation["nodes"][0]["html"][:120]
            wrong.append(f"{name}: axe {violation['id']} at {where}")
    visit.context.close()
    assert (wrong, visit.asked, visit.said) == ([], [], [])


@pytest.mark.parametrize("fault", ["overlaps", "cut"])
def test_no_texts_of_a_figure_overlap_or_leave_it(book: Path, fault: str) -> None:
    found = letters(book).values()
    assert found, "measured where figures are drawn"
    assert {one["figure"]: one[fault] for one in found if one[fault]} == {}


@pytest.mark.whole
def test_chapters_are_short_open_with_a_picture_and_ask(browser: Any, whole_root: Path) -> None:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "benchmarks" / "pages.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    visit, wrong = Visit(browser), []
    for path in script.chapters(whole_root / "html" / "lite"):
        seen = visit.open(path).evaluate(script.MEASURE)
        chapter = path.parent.name == "chapters"
        if seen["height"] > 7500:
            wrong.append(f"{path.stem}: {seen['height']} px high")
        shows = chapter or path.stem == "index"
        if shows and (seen["first"] is None or seen["first"] > 800):
            wrong.append(f"{path.stem}: the first picture stands at {seen['first']} px")
        if chapter and seen["questions"] < 2:
            wrong.append(f"{path.stem}: {seen['questions']} questions")
    visit.context.close()
    assert wrong == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_figure_shows_one_picture_and_its_caption(
    browser: Any, small_book: Path, theme: str
) -> None:
    visit = Visit(browser, theme=theme)
    page = visit.open(small_book / "chapters" / "99_demo.html")
    shown = page.evaluate(
        "[...document.querySelectorAll('figure img, figure figcaption')]"
        ".filter(e => e.offsetHeight > 0).map(e => e.className || e.tagName)"
    )
    assert [name.split()[0] for name in shown] == [f"cpssl-{theme}", "FIGCAPTION"]
    visit.context.close()


def test_a_link_into_a_folded_section_opens_it(browser: Any, small_book: Path) -> None:
    visit = Visit(browser)
    chapter = small_book / "chapters" / "02_ssl_comparison.html"
    page = visit.open(chapter)
    figure = page.locator("#fig-replicating")
    assert figure.count() == 1 and not figure.is_visible()
    visit.open(chapter, "#fig-replicating")
    assert page.locator("#fig-replicating").is_visible()
    assert not page.locator("#fig-sources").is_visible()
    visit.context.close()


def test_search_finds_a_glossary_word(browser: Any, book: Path) -> None:
    visit = Visit(browser)
    page = visit.open(book / "search.html", "?q=whitening")
    page.wait_for_selector("#search-results li a", timeout=10_000)
    assert "Glossary" in page.inner_text("#search-results")
    assert (visit.asked, visit.said) == ([], [])
    visit.context.close()


def test_formulas_are_drawn_without_the_network(browser: Any, small_book: Path) -> None:
    visit = Visit(browser)
    page = visit.open(small_book / "chapters" / "99_demo.html")
    page.wait_for_selector("mjx-container svg", state="attached", timeout=10_000)
    assert visit.asked == []
    visit.context.close()


def test_the_network_guard_sees_a_remote_request(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<img src="https://example.org/x.png"><p>x</p>')
    visit = Visit(browser)
    visit.open(tmp_path / "a.html")
    assert visit.asked == ["https://example.org/x.png"]
    visit.context.close()


def test_wide_tables_scroll_inside_their_box(browser: Any, small_book: Path) -> None:
    visit = Visit(browser, 390)
    page = visit.open(small_book / "chapters" / "99_demo.html")
    wide, shown = page.evaluate(
        "(() => { const table = document.querySelector('table.dataframe'); let box = table;"
        " while (getComputedStyle(box).overflowX !== 'auto') box = box.parentElement;"
        " return [table.offsetWidth, box.clientWidth]; })()"
    )
    assert wide > 1000 and shown < 390
    visit.context.close()


def test_the_scorecard_is_filtered_by_keyboard(browser: Any, small_book: Path) -> None:
    visit = Visit(browser, 390)
    page = visit.open(small_book / "scorecard.html")
    rows = page.locator("table#scorecard tr[data-verdict]:visible")
    count = page.locator(".cpssl-filter output")
    # The other two need other data: folded.
    assert (rows.count(), count.inner_text()) == (1, "3 of 3 claims")
    page.focus(".cpssl-filter input")
    page.keyboard.type("gene clusters")
    assert (rows.count(), count.inner_text()) == (1, "1 of 3 claims")
    page.fill(".cpssl-filter input", "")
    page.keyboard.press("Tab")
    page.keyboard.type("rep")  # picks "reproduced" in the menu of verdicts
    assert rows.get_attribute("id") == "gain" and count.inner_text() == "1 of 3 claims"
    page.click("#gain td a")
    mark = page.locator("#claim-gain")
    shown = mark.evaluate("e => getComputedStyle(e, '::after').content")
    assert "claim gain: 27.0 (plates)" in shown
    assert (visit.asked, visit.said) == ([], [])
    visit.context.close()


def test_the_scorecard_without_a_script_is_whole(browser: Any, small_book: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto((small_book / "scorecard.html").as_uri())
    page.click(".cpssl-lacking summary")
    assert page.locator("table#scorecard tr[data-verdict]:visible").count() == 3
    assert not page.locator(".cpssl-filter").is_visible()
    context.close()


def test_the_book_is_printed(small_book: Path, tmp_path: Path) -> None:
    from cpssl_lite.base.errors import InputError
    from cpssl_lite.book.pdf import join_pages, write_pdf

    with pytest.raises(InputError, match=r"no such page\. There are: index, chapters.00_data"):
        write_pdf(small_book, tmp_path / "no.pdf", "chapters/98_none")
    made = write_pdf(small_book, tmp_path / "one.pdf", "chapters/99_demo")
    text = made.read_bytes()
    assert text.startswith(b"%PDF") and text.count(b"/Type /Page\n") >= 1
    assert [p.name for p in small_book.glob("tmp*")] == []
    joined = join_pages(small_book, ["index.html", "chapters/99_demo.html"])
    assert 'id="chapters-99_demo--fig-demo"' in joined and 'href="#chapters-99_demo"' in joined
    assert 'src="_images/' in joined and 'href="chapters/02_ssl_comparison.html"' in joined
