"""Text from data as HTML and Markdown show it, and the small escaped pieces that notebooks show."""

import json
import re
from collections.abc import Sequence
from html import escape

WIDE = 5  # columns from which on a table needs more room than the text


class Html(str):
    """HTML text that Jupyter shows as HTML. Whoever makes one has escaped its parts."""

    def _repr_html_(self) -> str:
        return str(self)


def cell(value: object) -> str:
    """One value for a table: HTML pieces stay, everything else is escaped.

    Examples
    --------
    >>> cell("a < b"), cell(0.123456), cell(Html("<b>x</b>"))
    ('a &lt; b', '0.123', '<b>x</b>')
    """
    if isinstance(value, Html):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return escape(str(value))


def markdown(text: object) -> str:
    r"""Text from data for a line of Markdown: shown as it is, never read as markup.

    Examples
    --------
    >>> print(markdown("<b> & *x*"))
    \<b\> \& \*x\*
    """
    line = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(line.split()))


def script_data(data: object) -> Html:
    """Data for a script of the page; nothing in them can end the element.

    Examples
    --------
    >>> print(script_data({"a": "</script>"}))
    <script type="application/json">{"a":"\\u003c/script>"}</script>
    """
    # Inside a script element nothing is escaped, and nothing but "<" can end it.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json">{text}</script>')


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    caption: str = "",
    kind: str = "",
    fold: bool = False,
) -> Html:
    """Build a table with a heading cell for every column and row, in a box that scrolls.

    Parameters
    ----------
    header
        Column names; none may be empty, or a screen reader has nothing to say.
    rows
        Cells by row; the first cell of a row is its heading.
    caption
        Shown above the table.
    kind
        Extra CSS class.
    fold
        Closed until opened; the caption stands on the fold.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{cell(first)}</th>'
        + "".join(f"<td>{cell(value)}</td>" for value in rest)
        + "</tr>"
        for first, *rest in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption and not fold else ""
    # The theme lets "full-width" reach into the right margin.
    wide = " full-width" if len(header) >= WIDE else ""
    # tabindex: a box that scrolls must be reachable with the keyboard.
    label = escape(caption or "table", quote=True)
    html = (
        f'<div class="cpssl-scroll{wide}" role="region" aria-label="{label}" tabindex="0">'
        f'<table class="cpssl-table {escape(kind, quote=True)}">{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    if fold:
        summary = f"Table: {escape(caption)}" if caption else "Table"
        html = f'<details class="cpssl-fold"><summary>{summary}</summary>{html}</details>'
    return Html(html)
