"""What a verdict rests on: data known by content, features known by where they came from."""

import csv
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.book.claims import load_claims, record, verdict
from cpssl_lite.book.evidence import DATA, Evidence, find, gather, misfit, of_training
from cpssl_lite.book.features import load_features
from cpssl_lite.book.kinds import GALLERY, MULTISOURCE, RELEASE, FeatureType, type_of_card
from cpssl_lite.book.known import CPG0012, ORF, TARGET2, recognise, recognise_labels
from cpssl_lite.book.rules import UNTESTABLE
from cpssl_lite.data.manifests import FOLDER
from cpssl_lite.images.metadata import NEGATIVE_CONTROLS
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.profiles.table import write_profiles

PAPERS = FeatureType("learned", "DINO", "ViT-S", MULTISOURCE, RELEASE)
PROGRAM = FeatureType("measured", "CellProfiler", origin=RELEASE)


def wells_of(name: str) -> pd.DataFrame:
    """Wells as the index of a set has them, with a feature."""
    index = pd.read_parquet(FOLDER / f"{name}.parquet")
    control = np.where(index["Metadata_JCP2022"].isin(NEGATIVE_CONTROLS), "negcon", "")
    wells = index.rename(columns={"Metadata_JCP2022": "Metadata_Perturbation"})
    return wells.assign(Metadata_Control=control, emb_0000=0.0)


@pytest.fixture(scope="module")
def target2() -> pd.DataFrame:
    return wells_of("jump_target2")


@pytest.fixture(scope="module")
def orf() -> pd.DataFrame:
    """1,970 reagents, as the paper kept."""
    wells = wells_of("jump_orf")
    kept = wells["Metadata_Perturbation"].drop_duplicates().sample(1970, random_state=0)
    return wells[wells["Metadata_Perturbation"].isin(kept)]


def test_sets_are_known_by_what_they_hold(target2, orf) -> None:
    assert recognise(target2) == (TARGET2, "")
    assert recognise(orf) == (ORF, "")
    bare = target2.drop(columns=["Metadata_Source", "Metadata_Compound"])
    assert recognise(bare) == (TARGET2, ""), "the release has no sources"
    other = {name: f"CPD{i}" for i, name in enumerate(target2["Metadata_Perturbation"].unique())}
    named = target2.assign(
        Metadata_Perturbation=target2["Metadata_Perturbation"].map(other),
        Metadata_Batch="Batch " + target2["Metadata_Source"] + target2["Metadata_Batch"],
    )
    assert recognise(named) == (TARGET2, ""), "names of compounds and batches may be others"
    assert recognise(target2.sample(frac=0.95, random_state=0))[0] == TARGET2
    codes = {name: f"T{i}" for i, name in enumerate(target2["Metadata_Target"].unique()) if name}
    coded = target2.assign(Metadata_Target=target2["Metadata_Target"].replace(codes))
    assert recognise(coded)[0] == TARGET2, "names of targets may be others, too"
    guessed = target2["chosen_by"] == "filled up"
    assert recognise(target2[~guessed])[0] == TARGET2


def of_others(wells: pd.DataFrame) -> pd.Series:
    """Targets dealt anew to compounds."""
    target_of = wells.drop_duplicates("Metadata_Perturbation").set_index("Metadata_Perturbation")
    dealt = np.random.default_rng(1).permutation(target_of["Metadata_Target"])
    return wells["Metadata_Perturbation"].map(dict(zip(target_of.index, dealt, strict=True)))


def wrong(target2: pd.DataFrame) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    names = target2["Metadata_Perturbation"]
    swapped = dict(zip(names.unique(), rng.permutation(names.unique()), strict=True))
    of_one = target2["Metadata_Source"] == "source_3"
    return {
        "no plate of JUMP-CP Target2 or JUMP-CP ORF is in it": target2.assign(
            Metadata_Plate="X" + target2["Metadata_Plate"]
        ),
        "do not hold what those of": target2.assign(Metadata_Perturbation=rng.permutation(names)),
        "hold what those": target2.assign(Metadata_Perturbation=names.map(swapped)),
        "batches are not those of": target2.assign(Metadata_Batch=target2["Metadata_Plate"]),
        "are not those of": target2.assign(Metadata_Batch="one"),
        "of 21 plates of": target2[of_one],
        "its negative controls are not those of": target2.assign(Metadata_Control=""),
        "negative controls are not": target2.assign(
            Metadata_Control=np.where(target2["Metadata_Well"] < "E", "negcon", "")
        ),
        "its targets are not those of": target2.assign(
            Metadata_Target=names.map(dict(zip(names, of_others(target2), strict=True)))
        ),
        "wells of its plates of": target2[target2["Metadata_Well"] < "H"],
        "no column Metadata_Well": target2.drop(columns="Metadata_Well"),
    }


def test_other_plates_batches_and_compounds_are_not_the_papers(target2, orf) -> None:
    for reason, wells in wrong(target2).items():
        name, why = recognise(wells)
        assert name == "" and reason in why, (reason, why)
    genes = np.random.default_rng(0).permutation(orf["Metadata_Gene"])
    assert "genes are not those of" in recognise(orf.assign(Metadata_Gene=genes))[1]
    few = orf[orf["Metadata_Perturbation"].isin(orf["Metadata_Perturbation"].unique()[:900])]
    assert "only 900 reagents" in recognise(few)[1]


CLAIMS = load_claims(Path(__file__).parents[2] / "book" / "claims.yml")


def judged(id: str, value: object, evidence: Evidence) -> str:
    return verdict(CLAIMS[id], record(id, value, evidence, CLAIMS))


BOTH = {"A": PAPERS, "B": PROGRAM}


PLANTED = {
    "dino-cellprofiler-perturbation": (29, -59),
    "dino-cellprofiler-perturbation-p": (
        {"p": 0.001, "difference": 0.1},
        {"p": 0.001, "difference": -0.59},
    ),
    "dino-cellprofiler-target-p": (
        {"p": 0.3, "difference": 0.1},
        {"p": 0.3, "difference": -0.1},
    ),
    "above-chance-perturbation": (0.1, -0.1),
    "batch-controls": (0.1, -0.1),
    "batch-cell-count": (0.6, 0.4),
    "batch-targets-group": (0.1, -0.1),
    "batch-harmony": (0.1, -0.1),
}


def test_planted_effects_get_their_verdicts_on_the_papers_data_only(target2) -> None:
    def of(wells=target2, types=BOTH, simulated=False, shown="anything"):
        made = gather(dict.fromkeys(types, wells), types, shown, simulated, convention="released")
        return {id: [judged(id, value, made) for value in both] for id, both in PLANTED.items()}

    for id, (right, reversed_) in of().items():
        assert right in ("reproduced", "direction holds") and reversed_ == "differs", id
    none = {id: [UNTESTABLE, UNTESTABLE] for id in PLANTED}
    # The right names do not help.
    named = "JUMP-CP Target2"
    for toy in (
        type_of_card(load_encoder(SHIPPED["DINO"]).card),
        replace(PAPERS, trained_on=""),
        replace(PAPERS, architecture="ViT-B"),
        FeatureType("learned", "DINO", "ViT-S", MULTISOURCE),  # given, not made or fetched
    ):
        assert of(types={"DINO": toy, "CellProfiler": PROGRAM}, shown=named) == none
    for wells in wrong(target2).values():
        assert of(wells, shown=named) == none
    assert of(simulated=True, shown="simulated") == none


def test_measurements_in_cellprofilers_style_are_not_cellprofilers(target2) -> None:
    for table in (
        FeatureType("measured", "CellProfiler-style", origin="here"),
        FeatureType("measured", "CellProfiler"),
    ):
        types = {"DINO": PAPERS, "CellProfiler": table}
        made = gather(dict.fromkeys(types, target2), types, "JUMP-CP Target2", False)
        assert judged("dino-cellprofiler-perturbation", 29, made) == UNTESTABLE
        assert judged("above-chance-label", 1, made) == "direction holds", "DINO's own claim"
    types = {"DINO": PAPERS, "CellProfiler": replace(PROGRAM, origin=GALLERY)}
    every = pd.DataFrame(0.0, target2.index, [f"Cells_{i}" for i in range(600)])
    tables = {"DINO": target2, "CellProfiler": target2.drop(columns="emb_0000").join(every)}
    made = gather(tables, types, "mine", False)
    assert "600 features, not the selected 560" in made.unfit["CellProfiler"]


def test_another_normalisation_is_another_number(target2) -> None:
    """Released tables come normalised; features made here are treated as the paper did."""
    made_here = {"A": replace(PAPERS, origin="here"), "B": replace(PROGRAM, origin=GALLERY)}
    tables = dict.fromkeys(BOTH, target2)
    for types, right, other in (
        (BOTH, {"A": "none", "B": "none"}, {"A": "mad_robustize", "B": "none"}),
        (
            made_here,
            {"A": "sphere+mad_robustize", "B": "mad_robustize"},
            {"A": "sphere", "B": "mad_robustize"},
        ),
    ):
        told = [gather(tables, types, "mine", False, methods=one) for one in (right, other)]
        assert [judged("above-chance-label", 1, one) for one in told] == [
            "direction holds",
            UNTESTABLE,
        ]
        assert f"normalised by {other['A']}, not by {right['A']}" == told[1].unfit["DINO"]
        every_way = gather(tables, types, "mine", False, methods=other, raw=True)
        assert ("DINO" in every_way.known) == (types is made_here)


def test_other_labels_are_another_question(target2) -> None:
    for label, expected in (
        ("", "direction holds"),
        ("Metadata_Target", "direction holds"),
        ("Metadata_Compound", UNTESTABLE),
    ):
        made = gather(dict.fromkeys(BOTH, target2), BOTH, "mine", False, label=label)
        assert judged("above-chance-label", 1, made) == expected


def test_toy_gene_families_are_not_hgncs(orf, real: Path, tmp_path: Path) -> None:
    whole = real / "hgnc" / "hgnc_symbol_gene_group.csv.gz"
    shuffled = pd.read_csv(whole, dtype=str)
    shuffled["symbol"] = np.random.default_rng(0).permutation(shuffled["symbol"])
    shuffled.to_csv(tmp_path / "shuffled.csv", index=False)
    shuffled.head(500).to_csv(tmp_path / "few.csv", index=False)
    for path, reason in (
        (whole, ""),
        (tmp_path / "shuffled.csv", "are not HGNC's"),
        (tmp_path / "few.csv", "500 memberships of genes in groups"),
    ):
        made = gather(dict.fromkeys(BOTH, orf), BOTH, "mine", False, families=path)
        expected = UNTESTABLE if reason else "reproduced"
        assert judged("ami-dino", 0.5, made) == expected
        assert reason in made.unfit.get("DINO", "")


def test_a_role_is_filled_by_what_features_are() -> None:
    small, large = PAPERS, replace(PAPERS, architecture="ViT-B")
    types = {"DINO ViT-B": large, "Mine": small, "DINO": FeatureType("learned")}
    assert find(types, "DINO") == "Mine" and find(types, "DINO ViT-B") == "DINO ViT-B"
    assert find({"x": large}, "DINO") == "x" and misfit(large, "DINO")
    assert find({"x": small}, "DINO ViT-B") is None and find(types, "MAE") is None


def listed(release: Path) -> None:
    """The list that `cpssl data fetch` writes when it unpacks the authors' archive."""
    with open(release / "SSL_data.zip.contents.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "bytes", "sha256"])
        for path in sorted(release.rglob("well_features.csv")):
            digest = sha256(path.read_bytes()).hexdigest()
            rows.writerow([path.relative_to(release).as_posix(), path.stat().st_size, digest])


def test_released_tables_are_known_by_their_digests(target2, tmp_path: Path) -> None:
    names = {"Plate": "plate", "Well": "well", "Batch": "batch", "Perturbation": "perturbation_id"}
    head = target2.rename(columns={f"Metadata_{k}": v for k, v in names.items()})
    head = head[list(names.values())].replace("JCP2022_033924", "DMSO")
    rng = np.random.default_rng(0)
    values = pd.DataFrame({"emb0": rng.normal(size=len(head)), "emb383": 0.0})
    top = tmp_path / "SSL_data" / "embeddings" / "multisource"
    for folder in ("DINO-ViT-B", "DINO-ViT-S", "transferlearning-ViT-S"):
        (top / folder).mkdir(parents=True)
        head.join(values).to_csv(top / folder / "well_features.csv")

    def given() -> tuple[str, Evidence]:
        features = load_features(release=tmp_path / "SSL_data")
        return str(features.find("DINO")), features.evidence()

    name, without_list = given()
    assert name == "DINO-ViT-S" and without_list.known == {DATA: TARGET2}
    listed(tmp_path)
    assert given()[1].known == {
        **dict.fromkeys(("DINO", "DINO ViT-B", "Transfer", DATA, "released tables"), TARGET2)
    }
    another_way = load_features(release=tmp_path / "SSL_data", method="mad_robustize")
    assert "DINO" not in another_way.evidence().known
    assert list(another_way.raw) == ["DINO-ViT-S", "DINO-ViT-B", "transferlearning-ViT-S"]
    source = target2.set_index("Metadata_Plate")["Metadata_Source"].to_dict()
    for wells in another_way.raw.values():
        assert wells["Metadata_Source"].equals(wells["Metadata_Plate"].map(source))
    changed = top / "DINO-ViT-S" / "well_features.csv"
    changed.write_text(changed.read_text().replace("0.0\n", "1.0\n"))
    assert "DINO" not in given()[1].known, "one digit, and it is not the authors' table"
    wide = head.assign(emb0=values["emb0"], emb700=0.0)
    wide.to_csv(changed)
    listed(tmp_path)
    assert "unknown network in the place of ViT-S" in given()[1].unfit["DINO"]
    one_source = tmp_path / "SSL_data" / "embeddings" / "singlesource" / "DINO-ViT-S"
    one_source.parent.mkdir()
    (top / "DINO-ViT-B").rename(one_source)
    listed(tmp_path)
    alone = load_features(release=tmp_path / "SSL_data", release_set="singlesource").evidence()
    assert "not on jump_multisource" in alone.unfit["DINO"]


def test_a_card_says_what_a_network_was_trained_on() -> None:
    plates = pd.read_parquet(FOLDER / f"{MULTISOURCE}.parquet")["Metadata_Plate"].unique().tolist()
    card = {"method": "DINO", "architecture": "vit_small_patch16"}
    whole = card | {"data": {"plates": plates, "fields": 564_272}}
    assert not misfit(type_of_card(whole), "DINO")
    assert not misfit(type_of_card(card | {"trained_on": MULTISOURCE}), "DINO")
    for less in (
        card,
        card | {"data": {"plates": plates, "fields": 5_000}},
        card | {"data": {"plates": plates[:50], "fields": 564_272}},
        card | {"data": {"plates": plates + [f"P{i}" for i in range(100)], "fields": 564_272}},
        whole | {"architecture": "vit_lite_patch16"},
    ):
        assert misfit(type_of_card(less), "DINO"), less
    assert misfit(type_of_card(whole | {"method": "MAE"}), "DINO")
    photographs = type_of_card({"method": "transfer", "architecture": "vit_small_patch16"})
    assert not misfit(photographs, "Transfer")
    stand_in = type_of_card({"method": "transfer", "architecture": "tf_efficientnet_lite0"})
    assert "CNN in the place of ViT-S" in misfit(stand_in, "Transfer")


def test_what_is_made_of_a_table_keeps_what_its_features_are(target2, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from cpssl_lite.cli.main import cli
    from cpssl_lite.profiles.table import read_provenance

    first = target2[target2["Metadata_Plate"] == "JCPQC051"]
    wells = first[["Metadata_Plate", "Metadata_Batch", "Metadata_Well", "Metadata_Perturbation"]]
    wells = wells.assign(Metadata_Control=first["Metadata_Control"])
    rng = np.random.default_rng(0)
    wells = wells.assign(Cells_a=rng.normal(size=len(wells)), Cells_b=rng.normal(size=len(wells)))
    said = {"feature_type": {"kind": "measured", "method": "CellProfiler", "origin": "gallery"}}
    write_profiles(wells, tmp_path / "a.parquet", said)
    for command in (["normalize", "--method", "mad_robustize"], ["select"]):
        out = tmp_path / f"{command[0]}.parquet"
        done = CliRunner().invoke(cli, [*command, str(tmp_path / "a.parquet"), "-o", str(out)])
        assert done.exit_code == 0, done.output
        assert read_provenance(out)["feature_type"] == said["feature_type"]


def test_a_training_counts_on_the_papers_images_only(target2) -> None:
    training = wells_of(MULTISOURCE)
    training = pd.concat([training] * 9, ignore_index=True)  # fields
    good = of_training(target2, training, "vit_small_patch16", "mine")
    assert judged("augment-color", 0.1, good) == "direction holds"
    assert judged("augment-resize", 0.1, good) == "differs"
    for scored, learned, network, shown in (
        (target2.assign(Metadata_Origin="simulated"), training, "vit_small_patch16", "mine"),
        (target2, training, "vit_mini_patch16", "mine"),
        (target2, target2, "vit_small_patch16", "mine"),
        (wrong(target2)["do not hold what those of"], training, "vit_small_patch16", "mine"),
        (target2, training, "vit_small_patch16", "simulated"),
    ):
        made = of_training(scored, learned, network, shown)
        assert judged("augment-color", 0.1, made) == UNTESTABLE


def test_the_published_labels_are_known_by_their_digest(real: Path, tmp_path: Path) -> None:
    labels = real / "bioactivity" / "hti_cnn"
    found = pd.DataFrame(0, range(10_000), range(209))
    assert recognise_labels(labels, found) == (CPG0012, "")
    assert recognise_labels(labels / "label-matrix.mtx", found[:78])[1].startswith("78 compounds")
    (tmp_path / "label-matrix.mtx").write_text("toy")
    assert recognise_labels(tmp_path, found)[0] == ""
    types = {"DINO": PAPERS}
    made = gather({"DINO": found}, types, "cpg0012", False, data=recognise_labels(labels, found))
    row = CLAIMS["bioactivity-dino"].paper_value
    assert judged("bioactivity-dino", row, made) == "reproduced"
    assert judged("bioactivity-resnet", row, made) == UNTESTABLE, "quoted, not trained here"
    toys = gather({"DINO": found}, types, "cpg0012", False, data=recognise_labels(tmp_path, found))
    assert judged("bioactivity-dino", row, toys) == UNTESTABLE


def test_a_table_cannot_say_of_itself_that_the_authors_released_it(target2, tmp_path) -> None:
    wells = target2[["Metadata_Plate", "Metadata_Batch", "Metadata_Well", "Metadata_Perturbation"]]
    said = {"kind": "learned", "method": "DINO", "architecture": "ViT-S"}
    said |= {"trained_on": MULTISOURCE, "origin": RELEASE}
    table = wells.assign(emb_0000=1.0, emb_0001=2.0)
    write_profiles(table, tmp_path / "toy.parquet", {"feature_type": said})
    features = load_features(profiles={"DINO": str(tmp_path / "toy.parquet")})
    assert features.evidence().unfit["DINO"] == "nothing says where these features come from"


def test_evidence_travels_with_the_number(target2) -> None:
    made = gather({"A": target2, "B": target2}, BOTH, "mine", False, convention="released")
    bundle = record("dino-cellprofiler-target", 61, made, CLAIMS)._repr_mimebundle_()
    kept = json.loads(json.dumps(bundle))["application/vnd.cpssl.claim+json"]
    assert kept["known"] == {"DINO": TARGET2, "CellProfiler": TARGET2}
    assert kept["convention"] == "released" and kept["data"] == "mine"
