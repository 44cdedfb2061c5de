"""The scorecard page: what it says follows from what was recorded, and leads back to it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cpssl_lite.bioactivity.presets import CNNS
from cpssl_lite.book import known
from cpssl_lite.book.build import build
from cpssl_lite.book.claims import Claim, Measured, load_claims
from cpssl_lite.book.coverage import needs_table
from cpssl_lite.book.evidence import ABLATION, DATA, RELEASED, ROLES
from cpssl_lite.book.scorecard import Page, scorecard
from cpssl_lite.book.where import find_root

RULE = {"kind": "value", "absolute": 5}
GAIN = Claim("gain", "Fig. 2", "Gain & more.", "gain", 29, RULE, ("real",), unit="%", chapter="x")


def page(name: str, value: float, data: str) -> Page:
    known = {} if data == "simulated" else {"data": data}
    return Page(name, "A chapter", {"gain": Measured("gain", value, data, known=known)})


def row(html: str, id: str) -> str:
    found = re.search(rf'<tr[^>]* id="{id}".*?</tr>', html, re.DOTALL)
    assert found, f"no row {id}"
    return found[0]


def test_a_number_leads_to_its_cell_and_real_data_go_first() -> None:
    drawn, real = page("02_x", 29, "simulated"), page("02_x-run1", 12, "real")
    other = page("03_y", 29, "other cells")
    assert "not measured" in row(scorecard({"gain": GAIN}, []), "gain")
    whole = scorecard({"gain": GAIN}, [drawn])
    assert '<a href="chapters/02_x.html">A chapter</a>' in whole
    one = row(whole, "gain")
    assert 'href="chapters/02_x.html#claim-gain">29%</a>' in one
    assert "not testable on this data" in one and "needs real" in one
    assert "Gain &amp; more." in one
    html = scorecard({"gain": GAIN}, [drawn, real, other])
    best = row(html, "gain")
    assert 'href="chapters/02_x-run1.html#claim-gain">12%</a>' in best
    assert 'data-verdict="direction holds"' in best and 'data-data="real"' in best
    assert "This build can test 1 of the paper's 1 claims (with real): 1 <span" in html
    nothing = scorecard({"gain": GAIN}, [drawn])
    assert "can test 0 of the paper's 1 claims: " in nothing
    assert "measured on other cells" in row(scorecard({"gain": GAIN}, [other]), "gain")


def test_what_needs_other_data_is_one_row_a_chapter_and_a_table_is_one_row() -> None:
    rule = {"kind": "values", "absolute": {"AUCROC": 0.02}, "neutral": {"AUCROC": 0.5}}
    rows = {
        name: Claim(
            name, "Table 1", f"{name} does.", "AUC", {"AUCROC": 0.7}, rule, ("real",), (name,)
        )
        for name in ("ResNet", "DINO", "MAE")
    }
    rows = {name: replace(claim, chapter="x") for name, claim in rows.items()}
    html = scorecard({"gain": GAIN, **rows}, [page("02_x", 29, "real")])
    assert html.index('id="gain"') < html.index("3 claims for other data</summary>")
    merged = html[html.index("</summary>") :]
    assert merged.count("data-verdict=") == 1 and 'data-claims="3"' in merged
    assert "Table 1: 3 rows" in merged and "AUCROC 0.7" in row(merged, "DINO")
    found = Measured("DINO", {"AUCROC": 0.71}, "real", known={"DINO": "real"})
    both = {"gain": Measured("gain", 29, "simulated"), "DINO": found}
    html = scorecard({"gain": GAIN, **rows}, [Page("02_x", "A chapter", both)])
    assert "reproduced" in row(html, "DINO") and "3 claims for other data" in html


def test_what_nobody_can_check_has_its_reason_and_no_verdict() -> None:
    eye = Claim("eye", "Fig. 3", "Groups look alike.", reason="judged by eye")
    assert 'id="eye"' not in scorecard({"eye": eye, "gain": GAIN}, [])
    told = needs_table({"eye": eye, "gain": GAIN}, {"mine": ["gain"]})
    assert (
        "nobody can: judged by eye" in told
        and "Gain" in told
        and "<td>mine</td><td>real</td>" in told
    )
    assert "one of your own" in needs_table({"gain": GAIN}, {"mine": []})


def test_every_claim_of_the_paper_has_a_rule_or_a_reason() -> None:
    """And a chapter that shows it."""
    root = find_root(Path(__file__))
    claims = load_claims(root / "book" / "claims.yml")
    assert len(claims) > 60
    sets = {*known.INDEXES, known.CPG0012, known.METADATA}
    roles = {DATA, RELEASED, ABLATION, *ROLES, *CNNS}
    for claim in claims.values():
        given = [claim.judge, claim.reason, claim.no_verdict]
        assert sum(map(bool, given)) == 1, claim.id
        if claim.judge:  # there is a way to test it
            assert claim.testable_on and set(claim.testable_on) <= sets, claim.id
            assert claim.features and set(claim.features) <= roles, claim.id
            named = set(claim.features) - {DATA, RELEASED}
            count = claim.judge.get("neutral") == "none" and claim.id == "cellprofiler-features"
            assert bool(claim.convention) == (bool(named) and not count), claim.id
        if not claim.reason:
            (source,) = (root / "notebooks").glob(f"[0-9]*_{claim.chapter}.py")
            assert f'chapter="{claim.chapter}"' in source.read_text(), claim.id


@pytest.fixture
def mini(small_root: Path, small_book: Path, tmp_path: Path) -> Path:
    """The chapter that records a claim, the scorecard, and nothing else; executed before."""
    for folder in ("notebooks", "book/executed/lite"):
        (tmp_path / folder).mkdir(parents=True)
        for path in (small_root / folder).glob("99_demo.*"):
            text = path.read_text().replace("](00_data)", "](https://example.org)")
            (tmp_path / folder / path.name).write_text(text)
    shutil.copy(small_root / "_config.yml", tmp_path)
    shutil.copytree(small_root / "book" / "_static", tmp_path / "book" / "_static")
    for name in (
        "claims.yml",
        "drawn.yml",
        "scorecard.md",
        "references.bib",
        "references.md",
        "glossary.md",
    ):
        text = (small_root / "book" / name).read_text()
        text = re.sub(r"\[([^\]]+)\]\((?!https)[\w/]+\)", r"\1", text)  # to other pages
        (tmp_path / "book" / name).write_text(text)
    (tmp_path / "book" / "index.md").write_text("# First page\n\n" + "Some words to read. " * 10)
    files = ("chapters/99_demo", "scorecard", "glossary", "references")
    part = {"chapters": [{"file": f} for f in files]}
    toc = {"format": "jb-book", "root": "index", "parts": [part]}
    (tmp_path / "book" / "_toc.yml").write_text(json.dumps(toc))
    return tmp_path


def test_a_broken_result_changes_the_rendered_verdict(small_book: Path, mini: Path) -> None:
    before = row((small_book / "scorecard.html").read_text(), "gain")
    assert "reproduced" in before and "27%" in before
    link = re.search(r'href="(chapters/99_demo.html)#(claim-gain)"', before)
    assert link and f'id="{link[2]}"' in (small_book / link[1]).read_text()

    executed = mini / "book" / "executed" / "lite" / "99_demo.ipynb"
    run = mini / "run" / "99_demo.ipynb"
    run.parent.mkdir()
    shutil.copy(executed, run)
    text = executed.read_text()
    assert '"value": 27.0' in text
    executed.write_text(text.replace('"value": 27.0', '"value": -27.0'))
    after = row((build(mini / "html", mini).parent / "scorecard.html").read_text(), "gain")
    assert "differs" in after and "-27%" in after and "reproduced" not in after

    # A run on other data that can test it goes before, with a page of its own.
    html = build(mini / "html", mini, runs=[run]).parent
    with_run = row((html / "scorecard.html").read_text(), "gain")
    assert "-27%" in with_run, "both can test it: the chapter's own goes first"
    assert "A small chapter" in (html / "chapters" / "99_demo-run1.html").read_text()
