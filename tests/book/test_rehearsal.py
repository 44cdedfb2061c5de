"""The rehearsal at a small width: every planted effect gets its verdict, and turned its other one.

The whole one is a command: python tests/book/rehearsal.py FOLDER [--reverse] [--wrong-plates].
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.book.claims import load_claims, record, verdict
from cpssl_lite.book.evidence import Evidence
from cpssl_lite.book.features import Features, load_features
from cpssl_lite.book.rules import UNTESTABLE
from cpssl_lite.book.wells import replicates_filtered
from cpssl_lite.metrics import clustering
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.evaluate import compare, treated_wells
from cpssl_lite.profiles.gene_groups import gene_families
from cpssl_lite.profiles.table import profile_matrix, read_profiles, write_profiles
from tests.book.rehearsal import list_members, write_release, wrong_verdicts

ROOT = Path(__file__).parents[2]
CLAIMS = load_claims(ROOT / "book" / "claims.yml")
TWO = ("DINO-ViT-S", "CellProfiler")
WIDTH = 0.03


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


def of_families(genes: Features, groups: Path) -> dict[str, object]:
    """What chapter 03 would record of clusters and families."""
    values: dict[str, object] = {}
    for name, role in (("dino", "DINO"), ("cellprofiler", "CellProfiler")):
        wells = aggregate(treated_wells(genes.normalized()[str(genes.find(role))]), "consensus")
        head, profiles = profile_matrix(wells)
        family = head["Metadata_Perturbation"].map(
            gene_families(head, set(head["Metadata_Perturbation"]), 4, groups)
        )
        known = family.notna().to_numpy()
        names, profiles = family[known].to_numpy(dtype=str), profiles[known]
        here = np.isin(names, clustering.choose_families(profiles, names))
        tree = clustering.correlation_tree(profiles[here])[1]
        values[f"ami-{name}"] = clustering.ami_curve(tree, names[here], [20])[0]
        values[f"gene-groups-{name}"] = len(clustering.family_groups(tree, names[here]))
    return values


def judged(values: dict[str, object], evidence: Evidence) -> dict[str, str]:
    records = {id: record(id, value, evidence, CLAIMS) for id, value in values.items()}
    return {id: verdict(CLAIMS[id], one) for id, one in records.items()}


def wrong_of(chapter: str, found: dict[str, str], reverse: bool) -> list[str]:
    lines = wrong_verdicts(chapter, found, reverse, False, WIDTH)
    return [line for line in lines if "not measured" not in line]


def wrong_releases(release: Path) -> Iterator[tuple[str, Features]]:
    """The right names, and under them other things. The last ones change the release itself."""
    multisource = release / "embeddings" / "multisource"
    dino, program = (multisource / name / "well_features.csv" for name in TWO)
    made = read_profiles([dino])
    tables = {TWO[1]: str(program)}
    write_profiles(
        made, release / "toy.parquet", {"checkpoint": load_encoder(SHIPPED["DINO"]).card}
    )
    tables[TWO[0]] = str(release / "toy.parquet")
    yield "a toy checkpoint", load_features(profiles=tables, method="none")
    yield "no digest says that these are the authors'", load_features(release=release)
    swapped = dino.read_text(), program.read_text()
    program.write_text(swapped[0])
    dino.write_text(swapped[1])
    list_members(release.parent)
    yield "CellProfiler's features in DINO's folder", load_features(release=release)
    for file, text in zip((dino, program), swapped, strict=True):
        file.write_text(text)
        wells = pd.read_csv(file, index_col=0, dtype=str)
        wells.assign(plate="x" + wells["plate"]).to_csv(file)
    list_members(release.parent)
    yield "other plates", load_features(release=release)


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
def test_planted_effects_are_found_and_turned_ones_are_turned(
    tmp_path: Path, reverse: bool
) -> None:
    release = write_release(tmp_path, reverse, width=WIDTH, methods=TWO)
    list_members(tmp_path)
    features = load_features(release=release)
    values = numbers(features)
    found = judged(values, features.evidence("released"))
    assert UNTESTABLE not in found.values() and not wrong_of("ssl_comparison", found, reverse)

    groups = tmp_path / "hgnc_complete_set_2022-10-01.txt"
    genes = load_features(release=release, release_set="ORF", genes=tmp_path / "orf.csv.gz")
    assert all(replicates_filtered(wells) for wells in genes.raw.values())
    found = judged(of_families(genes, groups), genes.evidence("released", families=groups))
    assert UNTESTABLE not in found.values() and not wrong_of("gene_clustering", found, reverse)

    (tmp_path / "SSL_data.zip.contents.csv").unlink()
    for name, others in wrong_releases(release):
        found = judged(values, others.evidence("released"))
        assert set(found.values()) == {UNTESTABLE}, name
