"""Check executed notebooks, and rendered pages without a browser: images, links, anchors, marks."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cpssl_lite.book.arrange import read_executed

IMAGES = {"image/png", "image/jpeg", "image/svg+xml"}
TEMPLATE = re.compile(r"\{\{ \w+ \}\}")
# Pages that the theme makes and that have no prose.
MADE = {"search.html", "genindex.html", "py-modindex.html"}


def check_executed(path: Path) -> list[str]:
    """Errors among a notebook's outputs, and images without a caption or alternative text."""
    name = path.stem
    try:
        notebook = read_executed(path)
        executed = "cpssl" in notebook["metadata"]
    except (ValueError, KeyError, TypeError):
        return [f"{path}: is not a notebook"]
    problems = [] if executed else [f"{name}: was not executed by cpssl run"]
    for number, cell in enumerate(notebook["cells"]):
        outputs = cell.get("outputs", [])
        if any(output["output_type"] == "error" for output in outputs):
            problems.append(f"{name}: cell {number} failed")
        images = [output for output in outputs if IMAGES & set(output.get("data", {}))]
        about = cell["metadata"].get("mystnb", {})
        if len(images) > 1:
            problems.append(f"{name}: cell {number} has {len(images)} images, one figure a cell")
        if images and not about.get("figure", {}).get("caption", "").strip():
            problems.append(f"{name}: the figure of cell {number} has no caption")
        if images and not about.get("image", {}).get("alt", "").strip():
            problems.append(f"{name}: the figure of cell {number} has no alternative text")
    return problems


def check_html(html: Path) -> list[str]:
    """Problems of a rendered book: no pages, thin pages, images without text, dead links."""
    pages = [page for page in sorted(html.rglob("*.html")) if "_static" not in page.parts]
    if not (html / "index.html").is_file() or len(pages) < 2:
        return [f"{html}: the book is empty"]
    return [problem for page in pages for problem in check_page(page, html)]


class _Page(HTMLParser):
    """Collect what the checks look at: anchors, links, images, the length of the article."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words = 0
        self.marks: list[str] = []
        self.forwards = False
        self._article = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(str(values["id"]))
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        if tag == "meta" and values.get("http-equiv") == "Refresh":
            self.forwards = True
        if tag == "article":
            self._article += 1
        if tag == "img" and self._article:
            self.images.append(values)

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._article -= 1

    def handle_data(self, data: str) -> None:
        if self._article:
            self.words += len(data.split())
            self.marks += TEMPLATE.findall(data)


@cache
def _read(page: Path, modified: int) -> _Page:
    parsed = _Page()
    parsed.feed(page.read_text(encoding="utf-8"))
    return parsed


def read_page(page: Path) -> _Page:
    """Parse a page, once for every version of its file."""
    return _read(page, page.stat().st_mtime_ns)


def check_page(page: Path, html: Path) -> list[str]:
    """Say what is wrong with one page of the book under `html`, a line for each problem."""
    name = page.relative_to(html).as_posix()
    parsed = read_page(page)
    problems = []
    if name not in MADE and parsed.words < 20 and not parsed.forwards:
        problems.append(f"{name}: has no text")
    problems += [f"{name}: {mark} was not filled in" for mark in parsed.marks]
    for image in parsed.images:
        source, alt = image.get("src") or "", image.get("alt")
        # Sphinx puts the file's name where an author gave no text.
        if not alt or alt in (source, Path(source).name) or source.endswith(alt):
            problems.append(f"{name}: image {source} has no alternative text")
    for link in parsed.links:
        target = urlsplit(link)
        if target.scheme or target.netloc:
            continue
        file = (page.parent / unquote(target.path)).resolve() if target.path else page
        if not file.is_file():
            problems.append(f"{name}: link to {link}, which is not there")
        elif target.fragment and file.suffix == ".html":
            if unquote(target.fragment) not in read_page(file).anchors:
                problems.append(f"{name}: link to {link}, which has no such anchor")
    return problems
