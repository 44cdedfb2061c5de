"""Sphinx extension: MathJax from this machine, and repairs for screen readers."""

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes

MATHJAX = "tex-svg.js"
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


def finish(app: Any, error: Exception | None) -> None:
    """Copy MathJax and mend every page once all are written."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    shutil.copy(mathjax_file(), out / "_static" / MATHJAX)
    for page in out.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for wrong, right in REPAIRS.items():
            text = text.replace(wrong, right)
        page.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    # Relative to _static, so it works from file:// at any depth.
    app.config.mathjax_path = MATHJAX
    app.connect("doctree-resolved", name_table_corners)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
