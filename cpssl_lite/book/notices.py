"""The page that stands in for a chapter that could not be run: what failed, and what to do."""

import re
from pathlib import Path


def write_notice(stage: Path, source: Path, message: str) -> Path:
    """Write ``chapters/<name>.md`` of a staged book in the place of an executed notebook.

    Parameters
    ----------
    stage
        The book's sources, about to be rendered.
    source
        The notebook's py:percent file; its title is the page's.
    message
        What the runner said; the last line is the error itself.
    """
    heading = re.search(r"^# # (.+)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    title = heading[1] if heading else source.stem
    error = last_line(message)
    fence = "`" * (max(map(len, re.findall("`+", error)), default=2) + 1)
    outer = "`" * (len(fence) + 4)
    short = re.sub(r"^\d+_", "", source.stem)
    page = stage / "chapters" / f"{source.stem}.md"
    page.write_text(
        f"# {title}\n\n"
        f"{outer}{{warning}}\n"
        "**This chapter could not be run in this build.** The others are not affected by it. "
        "The last line of the error was\n\n"
        f"{fence}text\n{error}\n{fence}\n\n"
        f"`cpssl run {short}` runs the chapter by itself and shows where it stops; `cpssl book` "
        "then puts it in this place.\n"
        f"{outer}\n",
        encoding="utf-8",
    )
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
