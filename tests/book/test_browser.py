"""Every page of a built book in headless Chromium, with the network off."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

STATES = [(w, theme) for w in (1280, 390) for theme in ("light", "dark")]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

# Preloading would read style sheets by XMLHttpRequest, which file:// forbids.
QUIET = {"preload": False, "resultTypes": ["violations"]}


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
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            wrong.append(f"{name}: {wide} px wide")
        for image in page.evaluate(
            "[...document.querySelectorAll('article img')]"
            ".map(i => [i.getAttribute('src'), i.alt, i.complete && i.naturalWidth])"
        ):
            source, alt, drawn = image
            if not alt or Path(source).name in alt or not drawn:
                wrong.append(f"{name}: image {image}")
        for violation in Axe().run(page, options=QUIET).response["violations"]:
            where = violation["nodes"][0]["html"][:120]
            wrong.append(f"{name}: axe {violation['id']} at {where}")
    visit.context.close()
    assert (wrong, visit.asked, visit.said) == ([], [], [])


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
    rows = page.locator("table#scorecard tbody tr:visible")
    count = page.locator(".cpssl-filter output")
    assert (rows.count(), count.inner_text()) == (3, "3 of 3 claims")
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
    assert page.locator("table#scorecard tbody tr:visible").count() == 3
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
