"""The page that stands in for a chapter that was not run: why, and what to do."""

import re
from pathlib import Path

FAILED = (
    "**This chapter could not be run in this build.** The others are not affected by it. "
    "The last line of the error was"
)
AGAIN = "`cpssl book` then puts it in this place."
LEFT_OUT = "**This edition of the book leaves this chapter out**, because"


def write_notice(
    stage: Path, source: Path, message: str, left_out: bool = False, quoted: str = ""
) -> Path:
    """Write ``chapters/<name>.md`` of a staged book in the place of an executed notebook.

    Parameters
    ----------
    stage
        The book's sources, about to be rendered.
    source
        The notebook's py:percent file; its title is the page's.
    message
        What the runner said, with the error itself in the last line; or why it is left out.
    left_out
        The edition does without it.
    quoted
        HTML below that: what the paper says there (`coverage.quoted_table`).
    """
    heading = re.search(r"^# # (.+)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    title = heading[1] if heading else source.stem
    error = last_line(message)
    fence = "`" * (max(map(len, re.findall("`+", error)), default=2) + 1)
    outer = "`" * (len(fence) + 4)
    short = re.sub(r"^\d+_", "", source.stem)
    page = stage / "chapters" / f"{source.stem}.md"
    kind, said, then = "warning", FAILED, f"runs it by itself and shows where it stops; {AGAIN}"
    if left_out:
        kind, said, then = "note", LEFT_OUT, "runs it all the same, with its defaults."
    text = (
        f"# {title}\n\n{outer}{{{kind}}}\n{said}\n\n{fence}text\n{error}\n{fence}\n\n"
        f"`cpssl run {short}` {then}\n{outer}\n" + (f"\n{quoted}\n" if quoted else "")
    )
    page.write_text(text, encoding="utf-8")
    return page


def last_line(message: str) -> str:
    """Last line of a message that says something.

    Examples
    --------
    >>> last_line("01_x: cell [2] failed\\n  File a.py\\nValueError: no\\n")
    'ValueError: no'
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
