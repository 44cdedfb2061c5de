"""What drawn data should show: rules and words of its own, no verdicts on the paper."""

import re
from pathlib import Path

import pytest
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.claims import Measured, load_claims, record, show_claims, verdict
from cpssl_lite.book.drawn import SHOULD, SHOULD_NOT, UNSEEN, behaviour, drawn_table, load_expected
from cpssl_lite.book.rules import UNTESTABLE, VERDICTS

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = load_expected(ROOT / "book" / "drawn.yml")
CLAIMS = load_claims(ROOT / "book" / "claims.yml")


@pytest.mark.parametrize("id", EXPECTED)
def test_each_is_as_it_should_or_not(id: str) -> None:
    one = EXPECTED[id]
    limit = one.above if one.above is not None else one.below
    above, below = (Measured("x", limit + step, "simulated") for step in (0.01, -0.01))
    up = one.above is not None
    assert behaviour(one, above) == (SHOULD if up else SHOULD_NOT)
    assert behaviour(one, below) == (SHOULD_NOT if up else SHOULD)
    real = Measured("x", limit + 0.01, "real", known={"data": "JUMP-CP Target2"})
    assert behaviour(one, real) == behaviour(one, None) == UNSEEN
    (chapter,) = (ROOT / "notebooks").glob(f"[0-9]*_{one.chapter}.py")
    assert (one.of or one.id) in {*CLAIMS, *EXPECTED}
    source = chapter.read_text()  # and of what it imports to count with
    for helper in ("compared", "table_one"):
        if re.search(rf"import .*\b{helper}\b|\b{helper} import", source):
            source += (ROOT / "cpssl_lite" / "book" / f"{helper}.py").read_text()
    assert f'"{one.of or one.id}"' in source, "the chapter records it"


def test_drawn_numbers_are_no_verdicts_on_the_paper() -> None:
    assert {SHOULD, SHOULD_NOT, UNSEEN}.isdisjoint(VERDICTS)
    for claim in CLAIMS.values():
        if claim.judge:
            got = Measured(claim.id, 1.0, "simulated")
            assert verdict(claim, got) == UNTESTABLE, claim.id


def test_the_chapter_shows_them_below_its_claims() -> None:
    got = {"above-chance-label": record("above-chance-label", 0.1, claims=CLAIMS)}
    shown = show_claims("ssl_comparison", CLAIMS, got)
    claims, drawn = shown.split("no verdict on the paper", 1)
    assert "not testable on this data" in claims and "as it should" in drawn
    got["above-chance-label"] = record("above-chance-label", -0.1, claims=CLAIMS)
    assert "not as it should" in show_claims("ssl_comparison", CLAIMS, got)
    assert drawn_table(EXPECTED, {}) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "good"}, "unknown keys"),
        ({"below": 1}, "needs a number under above or below"),
        ({"above": "much"}, "needs a number under above or below"),
    ],
)
def test_an_entry_without_a_rule_is_refused(tmp_path: Path, change, message) -> None:
    entry = {"id": "x", "chapter": "c", "sentence": "s", "truth": "t", "above": 0}
    (tmp_path / "drawn.yml").write_text(yaml.safe_dump([entry]))
    assert load_expected(tmp_path / "drawn.yml")["x"].above == 0
    (tmp_path / "drawn.yml").write_text(yaml.safe_dump([entry | change, entry]))
    with pytest.raises(InputError, match=message):
        load_expected(tmp_path / "drawn.yml")
