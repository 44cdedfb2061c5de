"""What methods should do on drawn data, where the truth is known: no verdicts on the paper.

``book/drawn.yml`` lists it, with rules and words of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.where import find_root

SHOULD, SHOULD_NOT, UNSEEN = "as it should", "not as it should", "not measured"
KEYS = {"id", "chapter", "of", "sentence", "truth", "above", "below"}


@dataclass(frozen=True)
class Expected:
    """One thing that a method should do because of how the data were drawn."""

    id: str
    chapter: str
    sentence: str
    truth: str  # what was drawn, from which this follows
    of: str = ""  # id of the claim under which the number is recorded [its own]
    above: float | None = None
    below: float | None = None


def load_expected(path: str | Path | None = None) -> dict[str, Expected]:
    """Everything that is expected on drawn data, by id.

    Raises
    ------
    InputError
        A key that is missing or unknown, a rule that is none.
    """
    path = Path(path) if path else find_root() / "book" / "drawn.yml"
    return dict(_load(path, path.stat().st_mtime_ns)) if path.is_file() else {}


@cache
def _load(path: Path, changed: int) -> dict[str, Expected]:
    found: dict[str, Expected] = {}
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    for number, entry in enumerate(entries, 1):
        where = f"{path.name}: entry {number}"
        if not isinstance(entry, Mapping) or not {"id", "chapter", "sentence", "truth"} <= set(
            entry
        ):
            raise InputError(f"{where}: needs id, chapter, sentence and truth, got {entry!r}")
        if odd := set(entry) - KEYS:
            raise InputError(f"{where} ({entry['id']}): unknown keys {sorted(odd)}")
        limits = [entry[key] for key in ("above", "below") if key in entry]
        if len(limits) != 1 or not isinstance(limits[0], int | float):
            raise InputError(f"{where} ({entry['id']}): needs a number under above or below")
        if entry["id"] in found:
            raise InputError(f"{where}: {entry['id']} is there twice")
        found[entry["id"]] = Expected(**entry)
    return found


def behaviour(expected: Expected, measured: Any) -> str:
    """`SHOULD`, `SHOULD_NOT` or, where nothing was measured on drawn data, `UNSEEN`.

    Examples
    --------
    >>> one = Expected("gain", "c", "Training helps.", "effects were drawn", above=0)
    >>> behaviour(one, None)
    'not measured'
    """
    if measured is None or not measured.data.startswith("simulated"):
        return UNSEEN
    if expected.above is not None:
        return SHOULD if measured.value > expected.above else SHOULD_NOT
    assert expected.below is not None
    return SHOULD if measured.value < expected.below else SHOULD_NOT


def drawn_table(
    expected: Mapping[str, Expected],
    measured: Mapping[str, Any],
    links: Mapping[str, str] | None = None,
) -> Html:
    """Table of what should be and what was, "" where nothing was measured on drawn data.

    Parameters
    ----------
    measured
        What was recorded on drawn data, by the id under which it was.
    links
        Address of the cell that recorded a number, by the same ids.
    """
    rows = []
    for one in expected.values():
        got = measured.get(one.of or one.id)
        status = behaviour(one, got)
        if got is None or status == UNSEEN:
            continue
        limit = f"above {one.above:g}" if one.above is not None else f"below {one.below:g}"
        value: object = f"{got.value:.3g}"
        if links and (one.of or one.id) in links:
            value = Html(f'<a href="{cell(links[one.of or one.id])}">{value}</a>')
        said = Html(f"{cell(one.sentence)} <small>{cell(one.truth)}</small>")
        mark = Html(f'<span class="cpssl-drawn">{status}</span>')
        rows.append((said, limit, value, mark))
    header = ("On drawn data", "Should be", "Is", "So")
    caption = "Does what it says where the truth is known (no verdict on the paper)"
    return table(header, rows, caption, "cpssl-expected") if rows else Html("")
