"""Provenance: the table that says how a page was made."""

import json
import re
import shlex
from html import unescape
from pathlib import Path

import pytest

from cpssl_lite.base.files import sha256
from cpssl_lite.book import provenance
from cpssl_lite.book.html import Html, table

RUN = {
    "notebook": "02_ssl_comparison",
    "parameters": {"seed": 9, "note": "<script>alert(1)</script>", "share": 0.5},
    "overrides": {"seed": 9, "note": "<script>alert(1)</script>"},
    "started": "2026-01-02T03:04:05+00:00",
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPSSL_RUN", json.dumps(RUN))


def test_everything_is_escaped(run) -> None:
    shown = provenance.show(remark='"><img src=x onerror=alert(1)>', **{"<b>": 1})
    assert "<script>" not in shown and "<img" not in shown and "<b>" not in shown
    assert "&lt;script&gt;" in shown


def test_the_line_makes_the_same_run(run) -> None:
    shown = unescape(re.sub("<[^>]+>", "\n", provenance.show()))
    line = next(part for part in shown.splitlines() if part.startswith("cpssl run"))
    words = shlex.split(line)
    assert words[:3] == ["cpssl", "run", "02_ssl_comparison"]
    assert dict(w.split("=", 1) for w in words[4::2]) == {
        "seed": "9",
        "note": "<script>alert(1)</script>",
    }


def test_files_are_named_with_their_digest(run, tmp_path: Path) -> None:
    file = tmp_path / "dino.safetensors"
    file.write_bytes(b"weights")
    shown = provenance.show(
        data={"mine": tmp_path / "gone"}, checkpoint=file, seed=3, **{"Wells": 96}
    )
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', shown))
    assert rows["Checkpoint"] == f"dino.safetensors, sha256 {sha256(file)}"
    assert rows["Data: mine"].endswith("not there")
    assert rows["Seed"] == "3" and rows["Wells"] == "96" and "python" in rows["Versions"]
    assert rows["Run"].startswith("2026-01-02 03:04 UTC")
    [item] = shown.record["inputs"]
    assert (item["file"], item["digest"]) == ("dino.safetensors", sha256(file))


def test_outside_of_a_run_there_are_still_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CPSSL_RUN", raising=False)
    shown = provenance.show()
    assert "Versions" in shown and "Parameters of this run" not in shown


def test_tables_have_headings_for_rows_and_columns() -> None:
    shown = table(("a", "b"), [("x", Html("<i>y</i>")), ("z", "<")], caption="A & B")
    assert shown.count('scope="col"') == 2 and shown.count('scope="row"') == 2
    assert "<i>y</i>" in shown and "<td>&lt;</td>" in shown and "A &amp; B" in shown
