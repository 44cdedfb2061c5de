"""The first page's picture of what the paper found."""

from pathlib import Path

import pytest

from cpssl_lite.book.claims import Claim, Measured, load_claims
from cpssl_lite.book.findings import FINDINGS, relative, write_findings

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_is_a_number_of_the_paper() -> None:
    claims = load_claims(ROOT / "book" / "claims.yml")
    for ids in FINDINGS.values():
        value = relative([claims[i] for i in ids], [claims[i].paper_value for i in ids])
        assert value is not None and value > 1, ids


def test_percent_ratio_and_quotient() -> None:
    percent, plain = Claim("a", "", "", unit="%"), Claim("b", "", "")
    assert relative([percent], [-50]) == 0.5 and relative([plain], [7]) == 7
    rows = [{"AUCROC": 0.6, "F1": 0.1}, {"AUCROC": 0.8, "F1": 0.2}]
    assert relative([plain, plain], rows) == pytest.approx(0.75)
    assert relative([plain, plain], [1, None]) is None


def test_the_picture_has_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    claims = load_claims(ROOT / "book" / "claims.yml")
    measured = {"fifty-times-faster": Measured("fifty-times-faster", 6.5, "simulated")}
    text = write_findings(tmp_path, tmp_path / "dark", claims, measured)
    assert "speed on a plate 6.5 (no verdict on the paper's number, simulated)" in text
    assert "AMI) 2.68" in text
    ratio = {i: Measured(i, 0.5, "simulated") for i in ("ami-dino", "ami-cellprofiler")}
    toys = write_findings(tmp_path, tmp_path / "dark", claims, ratio)
    assert "none here" in toys, "what cannot be judged is not drawn beside the paper"
    assert "none here" in write_findings(tmp_path, tmp_path / "dark", claims, {})
    for picture in (tmp_path / "findings.png", tmp_path / "dark" / "findings.png"):
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_without_these_claims_there_is_no_picture(tmp_path: Path) -> None:
    assert write_findings(tmp_path, tmp_path / "dark", {}, {}) == ""
    assert list(tmp_path.iterdir()) == []
