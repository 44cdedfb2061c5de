"""Editions beside each other: the page that leads to them, and links from each to the others."""

import re
from pathlib import Path
from urllib.parse import quote

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path
from cpssl_lite.book.html import cell
from cpssl_lite.book.rendered import noted, write_note

MADE = '<meta name="generator" content="cpssl book">'
# On each edition's first page; `front` leaves it empty, as which others are built changes.
PLACE = '<span class="cpssl-editions"></span>'
_PLACE = re.compile(r'(<span class="cpssl-editions">).*?(</span>)', re.DOTALL)


def is_shelf(out: Path) -> bool:
    """Whether a folder's first page is ours to write: there is none, or we wrote it."""
    page = out / "index.html"
    return not page.is_file() or bool(noted(out)) or MADE in page.read_text(errors="replace")


def check_shelf(out: Path) -> None:
    """Refuse a folder whose first page is somebody else's (`InputError`)."""
    if not is_shelf(out):
        page = out / "index.html"
        raise InputError(f"{page}: is there and is not made by cpssl book; name another folder")


def put_on_shelf(out: Path, heading: str = "Editions of the book") -> Path:
    """Write ``index.html`` of a folder of editions, and each edition's links to the others."""
    titles = {
        folder.name: noted(folder)["title"]
        for folder in sorted(out.iterdir())
        if not folder.name.startswith(".") and noted(folder).get("title")
    }
    for name in titles:
        others = [f'<a href="../{quote(n)}/index.html">{cell(n)}</a>' for n in titles if n != name]
        said = f" Also built here: {', '.join(others)}." if others else ""
        _link(out / name, said)
    page = out / "index.html"
    with atomic_path(page) as scratch:
        scratch.write_text(_page(titles, heading), encoding="utf-8")
    return page


def _link(html: Path, said: str) -> None:
    page = html / "index.html"
    old = page.read_text(encoding="utf-8")
    new = _PLACE.sub(lambda found: f"{found[1]}{said}{found[2]}", old)
    if new != old:
        known = noted(html)
        with atomic_path(page) as scratch:
            scratch.write_text(new, encoding="utf-8")
        write_note(html, known["digest"], known["title"])


def _page(titles: dict[str, str], heading: str) -> str:
    """A list of the editions; where there is one only, it opens by itself."""
    items = "".join(
        f'<li><a href="{quote(name)}/index.html">{cell(name)}</a>: {cell(title)}</li>'
        for name, title in titles.items()
    )
    first = next(iter(titles), "")
    forward = f'<meta http-equiv="refresh" content="0; url={quote(first)}/index.html">'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{MADE}'
        f"{forward if len(titles) == 1 else ''}"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>CP-SSL lite: {heading.lower()}</title><style>"
        ":root{color-scheme:light dark}body{font:1.1rem/1.6 sans-serif;max-width:40rem;"
        "margin:3rem auto;padding:0 1rem}a{color:LinkText}</style></head><body>"
        f"<main><h1>{heading}</h1><ul>{items}</ul></main></body></html>\n"
    )
