"""Claims: rules, verdicts, records."""

import json
from pathlib import Path

import nbformat
import pytest
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.book import claims
from cpssl_lite.book.claims import Measured, load_claims, record, show_claims, verdict
from cpssl_lite.book.evidence import Evidence

# What a page rests on whose wells were known by content.
PLATES = Evidence("plates", {"data": "Target2"}, convention="released")
FILE = Path(__file__).parent / "data" / "claims.yml"


@pytest.fixture
def known() -> dict[str, claims.Claim]:
    return load_claims(FILE)


def measured(id: str, value: object, data: str) -> Measured:
    """Measured on data that were known by content; what pages call them does not matter."""
    return Measured(id, value, "mine", known={"data": data})


@pytest.mark.parametrize(
    ("id", "value", "data", "expected"),
    [
        ("gain", 29.0, "Target2", "reproduced"),
        ("gain", 31.8, "Target2", "reproduced"),
        ("gain", 32.0, "Target2", "direction holds"),
        ("gain", 0.1, "Target2", "direction holds"),
        ("gain", 0.0, "Target2", "differs"),
        ("gain", -29.0, "Target2", "differs"),
        ("gain", 29.0, "elsewhere", "not testable on this data"),
        ("genes", 1.2, "ORF", "direction holds"),
        ("genes", 0.9, "ORF", "differs"),
        ("genes", 2.7, "Target2", "not testable on this data"),
        ("methods", {"DINO": 0.5, "MAE": 0.4, "SimCLR": 0.3}, "Target2", "reproduced"),
        ("methods", {"DINO": 0.5, "MAE": 0.3, "SimCLR": 0.4}, "Target1", "direction holds"),
        ("methods", {"DINO": 0.405, "MAE": 0.4, "SimCLR": 0.3}, "Target1", "differs"),
        ("methods", {"DINO": 0.2, "MAE": 0.4, "SimCLR": 0.3}, "Target2", "differs"),
        ("methods", {"DINO": 0.5, "MAE": 0.4}, "Target2", "not testable on this data"),
    ],
)
def test_verdict(known, id, value, data, expected) -> None:
    assert verdict(known[id], measured(id, value, data)) == expected


def test_a_direction_without_a_number(known) -> None:
    rule = {"kind": "direction", "neutral": 1}
    below = claims.Claim("x", "", "", "", "below", rule, ("Target2",))
    assert verdict(below, measured("x", 0.5, "Target2")) == "direction holds"
    assert verdict(below, measured("x", 1.5, "Target2")) == "differs"
    shown = show_claims(claims={"x": below}, measured={"x": measured("x", 0.5, "Target2")})
    assert "<td>below 1</td>" in shown and "<td>0.5 <small>mine</small></td>" in shown


ROW = {"kind": "values", "absolute": {"AUC": 0.02, "F1": 0.1}, "neutral": {"AUC": 0.5}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"AUC": 0.71, "F1": 0.55}, "reproduced"),
        ({"AUC": 0.71, "F1": 0.61}, "direction holds"),
        ({"AUC": 0.6, "F1": 0.5}, "direction holds"),
        ({"AUC": 0.49, "F1": 0.5}, "differs"),
        ({"AUC": 0.71}, "not testable on this data"),
        (0.71, "not testable on this data"),
    ],
)
def test_a_row_of_numbers(value, expected) -> None:
    row = claims.Claim("x", "", "", "", {"AUC": 0.72, "F1": 0.5}, ROW, ("Target2",))
    assert verdict(row, measured("x", value, "Target2")) == expected


def test_a_count_has_no_direction() -> None:
    rule = {"kind": "value", "relative": 0.02, "neutral": "none"}
    count = claims.Claim("x", "", "", "", 10057, rule, ("Target2",))
    assert verdict(count, measured("x", 10000, "Target2")) == "reproduced"
    assert verdict(count, measured("x", 9802, "Target2")) == "differs"


TEST = {"kind": "test", "threshold": 0.05, "difference": "above"}


@pytest.mark.parametrize(
    ("paper", "p", "difference", "expected"),
    [
        ("below", 0.001, 0.1, "direction holds"),
        ("below", 0.001, -0.59, "differs"),  # significant, and the wrong way round
        ("below", 0.2, 0.1, "differs"),
        ("above", 0.2, 0.1, "direction holds"),
        ("above", 0.2, -0.1, "differs"),
        ("above", 0.001, 0.1, "differs"),
    ],
)
def test_a_test_carries_its_direction(paper, p, difference, expected) -> None:
    claim = claims.Claim("x", "", "", "", paper, TEST, ("Target2",))
    got = measured("x", {"p": p, "difference": difference}, "Target2")
    assert verdict(claim, got) == expected
    shown = show_claims(claims={"x": claim}, measured={"x": got})
    assert f"p {paper} 0.05, difference above 0" in shown
    with pytest.raises(InputError, match="a test needs p and difference"):
        verdict(claim, measured("x", {"p": p}, "Target2"))


def test_a_number_belongs_to_the_convention_that_made_it(known) -> None:
    rule = {"kind": "value", "absolute": 5}
    claim = claims.Claim("x", "", "", "", 29, rule, ("Target2",), convention="released")
    for convention, expected in (
        ("released", "reproduced"),
        ("paper", "not testable on this data"),
        ("", "reproduced"),
    ):
        got = Measured("x", 29, "mine", known={"data": "Target2"}, convention=convention)
        assert verdict(claim, got) == expected
    side = claims.Claim("x", "", "", "", "above", {"kind": "direction"}, ("Target2",))
    assert verdict(side, Measured("x", 1, "m", known={"data": "Target2"}, convention="paper")) == (
        "direction holds"
    )


def test_features_that_are_not_the_papers_give_no_verdict() -> None:
    rule = {"kind": "direction"}
    claim = claims.Claim("x", "", "", "", "above", rule, ("Target2",), ("DINO", "CellProfiler"))
    both = {"DINO": "Target2", "CellProfiler": "Target2"}
    assert verdict(claim, Measured("x", 1, "m", known=both)) == "direction holds"
    elsewhere = both | {"CellProfiler": "elsewhere"}
    for wrong in ({}, {"DINO": "Target2"}, elsewhere, {"data": "Target2"}):
        got = Measured("x", 1, "Target2", known=wrong, unfit={"CellProfiler": "a toy"})
        assert verdict(claim, got) == "not testable on this data"
        assert claims.missing(claim, got)


def test_a_number_without_a_verdict_is_shown_with_the_reason(known) -> None:
    claim = claims.Claim("x", "", "", "", 24, no_verdict="chosen to fit")
    assert verdict(claim, measured("x", 24, "Target2")) == "no verdict"
    assert claims.needs(claim) == "nobody can: chosen to fit"
    shown = show_claims(claims={"x": claim}, measured={"x": measured("x", 24, "Target2")})
    assert "no verdict" in shown and "reproduced" not in shown


def test_nothing_measured_is_not_testable(known) -> None:
    assert verdict(known["gain"], None) == "not testable on this data"


def test_breaking_a_recorded_value_changes_the_table(known, monkeypatch) -> None:
    monkeypatch.setattr(claims, "_recorded", {})
    record("gain", 29.0, PLATES, claims=known)
    assert "reproduced" in show_claims(claims=known)
    record("gain", -1.0, PLATES, claims=known)
    shown = show_claims(claims=known)
    assert "differs" in shown and "reproduced" not in shown
    assert "29%" in shown and "-1%" in shown and "plates" in shown


def test_a_record_travels_in_the_notebook(known, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(claims, "_recorded", {})
    bundle = record("gain", 27, PLATES, known, wells=96, interval=(1, 2))._repr_mimebundle_()
    assert 'id="claim-gain"' in bundle["text/html"]
    output = nbformat.v4.new_output("execute_result", data=bundle, execution_count=1)
    cell = nbformat.v4.new_code_cell("record()", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    kept = json.loads((tmp_path / "a.ipynb").read_text())["cells"]
    got = claims.read_recorded(kept)["gain"]
    assert (got.value, got.data, got.detail["wells"]) == (27.0, "plates", 96)
    assert verdict(known["gain"], got) == "reproduced"


def test_what_cannot_be_recorded(known) -> None:
    with pytest.raises(InputError, match=r"no claim gian\. There are: gain"):
        record("gian", 1.0, claims=known)
    with pytest.raises(InputError, match="must be finite"):
        record("gain", float("nan"), claims=known)
    with pytest.raises(InputError, match="needs one number"):
        verdict(known["gain"], measured("gain", {"DINO": 1.0}, "Target2"))


def test_sentences_are_escaped(known) -> None:
    bad = claims.Claim("x", "<i>", "<script>alert(1)</script>", "m", 1, {}, (), chapter="c")
    shown = show_claims("c", {"x": bad}, {})
    assert "not measured" in shown
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "<i>" not in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judge": {"kind": "feeling"}}, "judge.kind must be one of"),
        ({"judge": {"kind": "value"}}, "needs relative or absolute"),
        ({"judge": {"kind": "value", "relative": 0.1, "slack": 1}}, "unknown keys"),
        ({"judge": {"kind": "order"}}, "a list of names"),
        ({"paper_value": "much"}, "paper_value must be a number"),
        ({"judge": {"kind": "direction", "neutral": "none"}}, "neutral must be a number"),
        ({"judge": ROW}, "numbers by name, with a tolerance"),
        ({"judge": TEST}, "above or below, with the threshold"),
        ({"judge": TEST | {"difference": "up"}, "paper_value": "below"}, "above or below"),
        ({"convention": "text"}, "convention must be one of paper, released, either"),
        ({"no_verdict": "fitted"}, "unknown keys \\['judge', 'testable_on'\\]"),
        ({"judge": ROW, "paper_value": {"AUC": 0.7}}, "numbers by name, with a tolerance"),
        ({"reason": "nobody knows"}, "unknown keys \\['judge', 'metric'"),
        ({"status": "reproduced"}, "unknown keys \\['status'\\]"),
        ({"id": "methods"}, "is there twice"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(tmp_path: Path, change, message) -> None:
    entries = yaml.safe_load(FILE.read_text())
    entries[0] |= change
    (tmp_path / "claims.yml").write_text(yaml.safe_dump(entries))
    with pytest.raises(InputError, match=message):
        load_claims(tmp_path / "claims.yml")
