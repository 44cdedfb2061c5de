"""The rehearsal at a small width: every planted effect gets its verdict, and turned its other one.

The whole one is a command: python tests/book/rehearsal.py FOLDER [--reverse] [--wrong-plates].
"""

from pathlib import Path

import pytest

from cpssl_lite.book.claims import load_claims, record, verdict
from cpssl_lite.book.evidence import Evidence
from cpssl_lite.book.features import Features, load_features
from cpssl_lite.book.rules import UNTESTABLE
from cpssl_lite.book.wells import replicates_filtered
from cpssl_lite.profiles.evaluate import compare
from tests.book.rehearsal import list_members, write_release, wrong_verdicts

ROOT = Path(__file__).parents[2]
CLAIMS = load_claims(ROOT / "book" / "claims.yml")
TWO = ("DINO-ViT-S", "CellProfiler")


def numbers(features: Features) -> dict[str, object]:
    """What a chapter would record of both mAPs."""
    tables = features.normalized()
    dino, program = (tables[str(features.find(role))] for role in ("DINO", "CellProfiler"))
    found = compare(dino, program, None, "released", n=10)
    values: dict[str, object] = {}
    for name, metric in (("perturbation", "perturbation_map"), ("target", "label_map")):
        test = {k: found[f"{metric}_{k}"] for k in ("p", "difference")}
        values[f"dino-cellprofiler-{name}"] = 1000 * test["difference"]
        values[f"dino-cellprofiler-{name}-p"] = test
    return values


def judged(values: dict[str, object], evidence: Evidence) -> dict[str, str]:
    records = {id: record(id, value, evidence, CLAIMS) for id, value in values.items()}
    return {id: verdict(CLAIMS[id], one) for id, one in records.items()}


@pytest.mark.slow
def test_planted_effects_are_found_and_turned_ones_are_turned(tmp_path: Path) -> None:
    for reverse in (False, True):
        folder = tmp_path / str(reverse)
        release = write_release(folder, reverse, width=0.03, methods=TWO)
        toy = load_features(release=release)
        values = numbers(toy)
        assert set(judged(values, toy.evidence("released")).values()) == {UNTESTABLE}, (
            "no digest says that these are the authors'"
        )
        list_members(folder)
        found = judged(values, load_features(release=release).evidence("released"))
        turned = [line for line in wrong_verdicts("ssl_comparison", found, reverse, False, 0.03)
                  if "not measured" not in line]  # fmt: skip
        assert not turned, turned
    others = write_release(tmp_path / "others", width=0.03, methods=TWO, mark="x")
    list_members(tmp_path / "others")
    evidence = load_features(release=others).evidence("released")
    assert set(judged(values, evidence).values()) == {UNTESTABLE}, "no plate is the paper's"
    genes = load_features(release=release, release_set="ORF", genes=folder / "orf.csv.gz")
    groups = folder / "hgnc_complete_set_2022-10-01.txt"
    evidence = genes.evidence("released", families=groups)
    assert evidence.known["DINO"] == "JUMP-CP ORF"
    assert all(replicates_filtered(wells) for wells in genes.raw.values())
