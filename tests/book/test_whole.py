"""The whole book, built from nothing: it runs; built twice, both builds give the same numbers.

`make proof` runs this, with the browser tests over all pages.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpssl_lite.book.claims import MIME, load_claims
from cpssl_lite.book.provenance import MIME as PROVENANCE
from cpssl_lite.book.where import list_notebooks

Outputs = dict[tuple[str, int], list[dict[str, Any]]]


def outputs(root: Path) -> Outputs:
    """What each cell of each chapter shows, but for its provenance: it names dates and times."""
    found: Outputs = {}
    for path in sorted((root / "book" / "executed" / "lite").glob("*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text())["cells"]):
            data = [output.get("data", output) for output in cell.get("outputs", [])]
            found[path.stem, number] = [d for d in data if PROVENANCE not in d]
    return found


def recorded(shown: Outputs) -> dict[str, Any]:
    """Values that chapters recorded against the paper's claims, by claim."""
    return {d[MIME]["id"]: d[MIME] for cell in shown.values() for d in cell if MIME in d}


@pytest.mark.whole
def test_every_chapter_ran(whole_root: Path) -> None:
    names = {path.stem for path in list_notebooks(whole_root)}
    assert {
        path.stem for path in (whole_root / "book" / "executed" / "lite").glob("*.ipynb")
    } == names
    assert {
        path.stem for path in (whole_root / "html" / "lite" / "chapters").glob("*.html")
    } == names


@pytest.mark.twice
def test_both_builds_record_the_same_values(whole_root: Path, second_root: Path) -> None:
    first, second = recorded(outputs(whole_root)), recorded(outputs(second_root))
    claims = load_claims(whole_root / "book" / "claims.yml").values()
    timed = {claim.id for claim in claims if claim.chapter == "timing"}
    assert first.keys() == second.keys() and len(first.keys() - timed) >= 30
    # Measured times differ from run to run; nothing else may.
    differ = {name: (first[name], second[name]) for name in first if first[name] != second[name]}
    assert differ.keys() <= timed, {k: v for k, v in differ.items() if k not in timed}


@pytest.mark.twice
def test_both_builds_show_the_same(whole_root: Path, second_root: Path) -> None:
    first, second = outputs(whole_root), outputs(second_root)
    assert first.keys() == second.keys()
    differ = [where for where in first if first[where] != second[where]]
    assert [where for where in differ if "timing" not in where[0]] == []


@pytest.mark.whole
def test_what_did_not_change_does_not_run_again(
    whole_root: Path, cpssl_book: Callable[[Path], None]
) -> None:
    notebooks = sorted((whole_root / "book" / "executed" / "lite").glob("*.ipynb"))
    before = {path.stem: path.stat().st_mtime_ns for path in notebooks}
    cpssl_book(whole_root)
    assert {path.stem: path.stat().st_mtime_ns for path in notebooks} == before
    with (whole_root / "notebooks" / "12_primer.py").open("a") as source:
        source.write("\n# %% [markdown]\n# One sentence more.\n")
    cpssl_book(whole_root)
    again = {path.stem for path in notebooks if path.stat().st_mtime_ns != before[path.stem]}
    assert again == {"12_primer"}
