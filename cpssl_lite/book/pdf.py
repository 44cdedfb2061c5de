"""The whole book, or one page of it, as PDF: printed by Chromium from the rendered pages.

``make pdf`` prints the whole book, ``make pdf PAGE=chapters/02_ssl_comparison`` one chapter.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.base.files import atomic_path
from cpssl_lite.base.words import counted

log = logging.getLogger(__name__)

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARTICLE = re.compile(r"<article[^>]*>(.*)</article>", re.DOTALL)
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)  # paper asks nothing back
ENTRY = re.compile(r'class="toctree-l1[^"]*"><a[^>]*href="([^"#]+)"')
ADDRESS = re.compile(r'\b(href|src|id)="([^"]*)"')
# The theme lays parts of a page side by side, and hides titles from paper.
LAID_OUT = """
@page { size: A4; margin: 16mm 15mm; }
html, body, .bd-main, .bd-main .bd-content {
  display: block !important; height: auto !important; margin: 0 !important;
}
article { display: block !important; max-width: none !important; padding: 0 !important; }
.bd-main .bd-content article h1 { display: block !important; margin-top: 0; }
article + article { break-before: page; }
"""
SECONDS = 300  # that Chromium may take


def write_pdf(html: str | Path, out: str | Path, page: str = "") -> Path:
    """Print a rendered book, or one of its pages.

    Parameters
    ----------
    html
        Folder of the rendered book.
    out
        The PDF.
    page
        One page by its name in the contents (``chapters/02_ssl_comparison``) [default: all].

    Raises
    ------
    InputError
        No book there, or no such page.
    StepFailed
        No Chromium, or it did not print.
    """
    html, out = Path(html).resolve(), Path(out)
    first = html / "index.html"
    if not first.is_file():
        raise InputError(f"{html}: no rendered book; make book makes one")
    names = ["index.html", *dict.fromkeys(ENTRY.findall(first.read_text(encoding="utf-8")))]
    names = [name for name in names if (html / name).is_file()]
    if page:
        wanted = f"{page.removesuffix('.html')}.html"
        if wanted not in names:
            there = ", ".join(name.removesuffix(".html") for name in names)
            raise InputError(f"{page}: no such page. There are: {there}")
        names = [wanted]
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=html, encoding="utf-8") as joined:
        joined.write(join_pages(html, names))
        joined.flush()
        with atomic_path(out) as scratch:
            _print(Path(joined.name), scratch)
    log.info("%s: %s of the book", out, counted(len(names), "page"))
    return out


def join_pages(html: Path, names: list[str]) -> str:
    """One HTML file, to lie in the book's folder, with the articles of several pages.

    Anchors are named by their page, as two pages may have the same; links between pages that are
    there become links within the file.
    """
    marks = {name: re.sub(r"\W", "-", name.removesuffix(".html")) for name in names}
    parts = []
    for name in names:
        article = ARTICLE.search((html / name).read_text(encoding="utf-8"))
        text = SCRIPT.sub("", article[1]) if article else ""
        text = ADDRESS.sub(partial(_address, name=name, marks=marks), text)
        parts.append(f'<article class="bd-article" id="{marks[name]}">{text}</article>')
    styles = "".join(
        f'<link rel="stylesheet" href="_static/{path.relative_to(html / "_static").as_posix()}">'
        for path in sorted((html / "_static").rglob("*.css"))
        if "vendor" not in path.parts
    )
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>CP-SSL lite</title>{styles}"
        f"<style>{LAID_OUT}</style>"
        '<script defer src="_static/tex-svg.js"></script></head>'
        f'<body><main class="bd-main"><div class="bd-content">{body}</div></main></body></html>'
    )


def _address(found: re.Match[str], name: str, marks: dict[str, str]) -> str:
    """An attribute of a page as it reads in the joined file."""
    kind, value = found[1], found[2]
    if kind == "id":
        return f'id="{marks[name]}--{value}"'
    if re.match(r"[a-z]+:", value):  # http, data, mailto
        return found[0]
    path, _, anchor = value.partition("#")
    target = os.path.normpath(Path(name).parent / path) if path else name
    if kind == "href" and unquote(target) in marks:
        mark = marks[unquote(target)]
        return f'href="#{mark}--{anchor}"' if anchor else f'href="#{mark}"'
    return f'{kind}="{target}{f"#{anchor}" if anchor else ""}"'


def _print(page: Path, out: Path) -> None:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise StepFailed(
            "no Chromium; install it (apt-get install chromium) or name it: CHROMIUM=..."
        )
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
        options += ["--generate-pdf-document-outline", "--virtual-time-budget=20000"]
        options += [f"--user-data-dir={profile}"]
        command = [program, *options, f"--print-to-pdf={out.resolve()}", page.as_uri()]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"{program}: did not print within {SECONDS} s") from error
    if done.returncode != 0 or not out.is_file() or not out.stat().st_size:
        told = done.stderr.strip().splitlines() or ["no PDF came out"]
        raise StepFailed(f"{program}: {told[-1]}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        write_pdf(*sys.argv[1:4])
    except (InputError, StepFailed) as error:
        sys.exit(str(error))
