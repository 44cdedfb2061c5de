"""Sphinx extension: MathJax from this machine, dark figures, folds, repairs for screen readers."""

import importlib.util
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from docutils import nodes

from cpssl_lite.book import api

MATHJAX = "tex-svg.js"
IMAGE = re.compile(r'<img\b[^>]*?\bsrc="((?:\.\./)*)_images/([^"/]+)"[^>]*>')
TAG = re.compile(r"<[^>]+>")
FOLD = "cpssl-more"
CARD = "_static/social-card.png"
EMPTY_HEADING = re.compile(r"<th[^>]*>\s*</th>")
REPAIRS = {
    # The theme's side bar holds the book's title outside of any landmark.
    '<div id="pst-primary-sidebar" class="': (
        '<div id="pst-primary-sidebar" role="navigation" aria-label="Book" class="'
    ),
    # A deprecated role, and no child that a list may have.
    'role="doc-biblioentry"': 'role="listitem"',
}


def mathjax_file() -> Path:
    """Find the one MathJax file that pages need, in the sphinx-mathjax-offline package."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ImportError("sphinx-mathjax-offline is not installed (pip install -e .[book])")
    return Path(spec.origin).parent / "static" / "mathjax" / MATHJAX


def name_table_corners(app: Any, doctree: nodes.document, docname: str) -> None:
    """Turn empty heading cells (the corner of a pandas table) into plain cells."""
    for raw in doctree.findall(nodes.raw):
        if "<th" in raw.rawsource or "<th" in raw.astext():
            text = EMPTY_HEADING.sub("<td></td>", raw.astext())
            raw.children = [nodes.Text(text)]


def fold_sections(app: Any, doctree: nodes.document, docname: str) -> None:
    """Fold marked sections (arrange.py) but for their headings and first paragraphs."""
    for section in doctree.findall(nodes.section):
        if FOLD not in section["classes"]:
            continue
        shown = 1 + isinstance(section[1], nodes.paragraph) if len(section) > 1 else 1
        if rest := section[shown:]:
            start = f'<details class="{FOLD}"><summary>{_inside(rest)}</summary>'
            fold = nodes.raw("", start, format="html"), nodes.raw("", "</details>", format="html")
            section[shown:] = [fold[0], *rest, fold[1]]
        section["classes"].remove(FOLD)


def _inside(parts: list[nodes.Node]) -> str:
    """What a fold says that it holds."""
    html = "".join(raw.astext() for part in parts for raw in part.findall(nodes.raw))
    counts = {
        "figure": sum(len(list(part.findall(nodes.figure))) for part in parts),
        "table": html.count("<table") + sum(len(list(p.findall(nodes.table))) for p in parts),
        "question": html.count('class="cpssl-ask"'),
    }
    held = [f"{n} {name}{'s' if n > 1 else ''}" for name, n in counts.items() if n]
    return f"Read on: {', '.join(held)}" if held else "Read on"


def with_dark(found: re.Match[str], out: Path) -> str:
    """Put a figure's dark picture (front.py) behind the light one; the theme shows one of them."""
    image, up, name = found[0], found[1], found[2]
    if not (out / "_static" / "dark" / name).is_file():
        return image
    other = image.replace(f'"{up}_images/{name}"', f'"{up}_static/dark/{name}"')
    pair = (image, "cpssl-light"), (other, "cpssl-dark")
    return "".join(_add_class(tag, word) for tag, word in pair)


def _add_class(tag: str, word: str) -> str:
    if 'class="' in tag:
        return tag.replace('class="', f'class="{word} ', 1)
    return tag.replace("<img", f'<img class="{word}"', 1)


def add_card(app: Any, name: str, _: str, context: dict[str, Any], __: object) -> None:
    """Tell whoever links to a page its title and its picture."""
    base = (app.config.html_baseurl or "").rstrip("/")
    picture = f"{base}/{CARD}" if base else context["pathto"](CARD, resource=True)
    title = TAG.sub("", context.get("title", "") or "")
    facts = {
        "og:title": title,
        "og:type": "article",
        "og:site_name": app.config.project,
        "og:image": picture,
        "og:image:alt": f"{app.config.project}: cells, profiles and what they find",
    }
    if not (Path(app.srcdir) / CARD).is_file():
        facts = {key: value for key, value in facts.items() if "image" not in key}
    tags = [f'<meta property="{k}" content="{escape(v, quote=True)}">' for k, v in facts.items()]
    tags.append('<meta name="twitter:card" content="summary_large_image">')
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def add_links(app: Any, name: str, _: str, context: dict[str, Any], __: object) -> None:
    """Say on a page how to cite it and where to report a problem, if the repository is public."""
    if repository := context.get("cpssl_repository"):
        about = urlencode({"title": f"Page {name}: "})
        context["theme_extra_footer"] = (
            f'<a href="{escape(repository)}/blob/HEAD/CITATION.cff">Cite this</a> &middot; '
            f'<a href="{escape(repository)}/issues/new?{escape(about)}">Report a problem</a>'
        )


def finish(app: Any, error: Exception | None) -> None:
    """Copy MathJax and mend every page once all are written."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    shutil.copy(mathjax_file(), out / "_static" / MATHJAX)
    functions = out / f"{api.PAGE}.html"
    known = api.anchors(functions.read_text(encoding="utf-8")) if functions.is_file() else {}
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = api.link_code(text, known, "../" * len(page.relative_to(out).parts[1:]))
        for wrong, right in REPAIRS.items():
            text = text.replace(wrong, right)
        text = IMAGE.sub(lambda found: with_dark(found, out), text)
        page.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    # Relative to _static, so it works from file:// at any depth.
    app.config.mathjax_path = MATHJAX
    app.connect("doctree-resolved", name_table_corners)
    app.connect("doctree-resolved", fold_sections)
    app.connect("html-page-context", add_card)
    app.connect("html-page-context", add_links)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
