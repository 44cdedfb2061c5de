"""The first page's headlines: the paper's bars, and what this build may put beside them."""

from pathlib import Path

import pytest

from cpssl_lite.book.claims import Claim, Measured, load_claims
from cpssl_lite.book.findings import FINDINGS, relative, write_findings

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_is_a_number_of_the_paper() -> None:
    claims = load_claims(ROOT / "book" / "claims.yml")
    for _, _, ids, command in FINDINGS:
        value = relative([claims[i] for i in ids], [claims[i].paper_value for i in ids])
        assert value is not None and value > 1, ids
        assert command.split()[0] in ("cpssl", "make")


def test_percent_ratio_and_quotient() -> None:
    percent, plain = Claim("a", "", "", unit="%"), Claim("b", "", "")
    assert relative([percent], [-50]) == 0.5 and relative([plain], [7]) == 7
    rows = [{"AUCROC": 0.6, "F1": 0.1}, {"AUCROC": 0.8, "F1": 0.2}]
    assert relative([plain, plain], rows) == pytest.approx(0.75)
    assert relative([plain, plain], [1, None]) is None


def test_the_table_has_what_was_measured_and_nothing_else() -> None:
    claims = load_claims(ROOT / "book" / "claims.yml")
    nothing = write_findings(claims, {}, {})
    assert nothing.count('class="cpssl-untested"') == len(FINDINGS) and ">2.68×<" in nothing
    by_edition = write_findings(claims, {}, {"mine": FINDINGS[0].ids, "yours": FINDINGS[0].ids})
    assert by_edition.count("<code>cpssl book mine</code>") == 1
    measured = {"fifty-times-faster": Measured("fifty-times-faster", 6.5, "<simulated>")}
    text = write_findings(claims, measured, {})
    assert "6.5×" in text and "&lt;simulated&gt; (shown beside, judges nothing)" in text
    assert text.count('class="cpssl-untested"') == len(FINDINGS) - 1
    # What cannot be judged does not stand beside the paper.
    ratio = {i: Measured(i, 0.5, "simulated") for i in ("ami-dino", "ami-cellprofiler")}
    assert write_findings(claims, ratio, {}) == nothing
    known = {"DINO": "JUMP-CP ORF", "CellProfiler": "JUMP-CP ORF", "data": "JUMP-CP ORF"}
    fit = {
        "ami-dino": Measured("ami-dino", 0.5, "ORF", known=known),
        "ami-cellprofiler": Measured("ami-cellprofiler", 0.2, "ORF", known=known),
    }
    assert "2.5×" in write_findings(claims, fit, {})


def test_without_these_claims_there_is_no_table() -> None:
    assert write_findings({}, {}, {}) == ""
