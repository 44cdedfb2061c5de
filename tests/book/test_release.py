"""The authors' layout through the chapters: their metrics come out, missing genes are joined."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.claims import load_claims
from cpssl_lite.book.features import load_features
from cpssl_lite.book.runner import run_notebook
from cpssl_lite.book.scorecard import read_page, scorecard
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.find import name_genes, read_gene_groups

SETS = {"compound": "multisource", "edge": "singlesource", "orf": "ORF"}


@pytest.fixture
def expected(parity: Path) -> dict[str, dict[str, float]]:
    """What the authors' code gives, under this project's names of metrics."""
    names = {
        "pert_acc_NSB": "perturbation_acc_nsb",
        "pert_batchagg_mAP": "perturbation_map",
        "target_acc_NSBP": "label_acc_nsbp",
        "gene_group_acc_NSBP": "label_acc_nsbp",
        "target_consensus_mAP": "label_map",
    }
    told = json.loads((parity / "eval" / "expected_summary.json").read_text())
    return {
        key: {names[name]: value for name, value in metrics.items() if name in names}
        for key, metrics in told.items()
    }


def unpack(parity: Path, release: Path, kind: str, methods: str = "*") -> Path:
    """Lay out reference tables as the authors' archive unpacks."""
    for table in (parity / "eval" / kind).glob(f"{methods}/well_features.csv"):
        folder = release / "SSL_data" / "embeddings" / SETS[kind] / table.parent.name
        folder.mkdir(parents=True)
        shutil.copy(table, folder)
    return release


def numbers(executed: Path, caption: str) -> dict[str, list[str]]:
    """Rows of a table that the chapter shows, by their heading."""
    cells = json.loads(executed.read_text())["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    html = ["".join(data.get("text/html", "")) for data in outputs]
    (table,) = [text for text in html if f"Table: {caption}" in text]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', table)
    return {name: re.findall("<td>(.*?)</td>", rest) for name, rest in rows}


@pytest.mark.parametrize("kind", SETS)
def test_every_method_of_a_release_has_the_authors_metrics(
    parity, expected, tmp_path, kind
) -> None:
    release = unpack(parity, tmp_path, kind)
    features = load_features(release=release, release_set=SETS[kind])
    assert {f"{kind}/{method}" for method in features.raw} == {
        key for key in expected if key.startswith(kind)
    }
    for method, wells in features.normalized().items():
        got = evaluate(wells, convention="released")
        wanted = expected[f"{kind}/{method}"]
        assert {name: got[name] for name in wanted} == pytest.approx(wanted, abs=1e-9)


@pytest.mark.slow
def test_the_chapter_and_the_scorecard_show_them(parity, expected, tmp_path) -> None:
    release = unpack(parity, tmp_path / "release", "compound", "[CD]*")
    given = {"release": str(release), "convention": "released"}
    executed = run_notebook("ssl_comparison", given, out=tmp_path / "out.ipynb")
    shown = numbers(executed, "The same numbers as a table")
    order = ("perturbation_acc_nsb", "perturbation_map", "label_acc_nsbp", "label_map")
    dino, cellprofiler = (expected[f"compound/{m}"] for m in ("DINO", "CellProfiler"))
    for method, wanted in (("DINO", dino), ("CellProfiler", cellprofiler)):
        assert shown[method] == [*(f"{wanted[name]:.3f}" for name in order), "none"]

    page = read_page(executed)
    gain = page.measured["dino-cellprofiler-perturbation"]
    percent = 100 * (dino["perturbation_map"] / cellprofiler["perturbation_map"] - 1)
    assert gain.value == pytest.approx(percent, abs=1e-9)
    assert gain.data == "JUMP-CP multisource"
    html = scorecard(load_claims(), [page])
    (row,) = re.findall(r'<tr[^>]* id="dino-cellprofiler-perturbation".*?</tr>', html)
    # Within the tolerance, under the right names, and from another screen all the same.
    assert f"{percent:.3g}%</a>" in row and 'data-verdict="not testable on this data"' in row
    assert "no plate of JUMP-CP Target2 or JUMP-CP ORF is in it" in row


@pytest.fixture
def bare(parity: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Gene tables as released: no genes, families or control types. And what names them."""
    release = unpack(parity, tmp_path / "release", "orf")
    for path in release.rglob("well_features.csv"):
        table = pd.read_csv(path, index_col=0)
        head = table[["perturbation_id", "gene", "gene_group", "control_type"]]
        table.drop(columns=["gene", "gene_group", "control_type"]).to_csv(path)
    head = head.drop_duplicates("perturbation_id").fillna("")
    genes = pd.DataFrame(
        {
            "Metadata_JCP2022": head["perturbation_id"],
            "Metadata_Symbol": head["gene"],
            "Metadata_pert_type": head["control_type"],
        }
    )
    genes.to_csv(tmp_path / "orf.csv.gz", index=False)
    families = head[["gene", "gene_group"]].rename(columns={"gene": "symbol"})
    families[families["gene_group"] != ""].to_csv(tmp_path / "hgnc.csv", index=False)
    return release, tmp_path / "orf.csv.gz", tmp_path / "hgnc.csv"


def test_genes_and_controls_are_joined_by_the_perturbation(parity, bare, tmp_path) -> None:
    release, genes, _ = bare
    joined = load_features(release=release, release_set="ORF", genes=genes).raw["DINO"]
    unpack(parity, tmp_path / "whole", "orf")
    whole = load_features(release=tmp_path / "whole", release_set="ORF").raw["DINO"]
    for column in ("Metadata_Gene", "Metadata_Control"):
        assert joined[column].tolist() == whole[column].tolist(), column


def test_jump_controls_are_known_by_their_ids_without_any_table() -> None:
    from cpssl_lite.images.metadata import canonical_metadata

    ids = ["JCP2022_915128", "JCP2022_915131", "JCP2022_915132", "JCP2022_900002"]
    wells = canonical_metadata(pd.DataFrame({"perturbation_id": ids}))
    assert wells["Metadata_Control"].tolist() == ["negcon", "negcon", "", ""]


def test_the_consortiums_own_table_is_read(real: Path) -> None:
    ids = ["JCP2022_900002", "JCP2022_915128", "JCP2022_915132", "JCP2022_999999"]
    wells = pd.DataFrame({"Metadata_Perturbation": ids, "Metadata_Control": ""})
    named = name_genes(wells, real / "jump_metadata" / "orf.csv.gz")
    assert named["Metadata_Gene"].tolist() == ["NAT1", "BFP", "eGFP", ""]
    assert named["Metadata_Control"].tolist() == ["", "negcon", "poscon", ""]
    by_symbol = wells.assign(Metadata_Perturbation=["NAT1", "AANAT", "BFP", "x"])
    named = name_genes(by_symbol, real / "jump_metadata" / "orf.csv.gz")
    assert named["Metadata_Gene"].tolist() == ["NAT1", "AANAT", "BFP", ""]


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    wells = pd.DataFrame({"Metadata_Perturbation": ["a"], "Metadata_Control": ""})
    for text, message in (
        ("x,y\n1,2\n", "no column Metadata_Symbol; it has x, y"),
        ("Metadata_JCP2022,Metadata_Symbol\nJCP1,G\n", "knows none .* it has JCP1, .* have a, "),
        ("", "is empty"),
    ):
        (tmp_path / "genes.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            name_genes(wells, tmp_path / "genes.csv")


@pytest.mark.slow
def test_gene_clustering_says_what_it_lacks_and_takes_it(bare, tmp_path) -> None:
    release, genes, families = bare
    given = {"release": str(release), "families": str(families)}
    with pytest.raises(InputError, match=r"no column 'Metadata_Gene'.*genes=TABLE"):
        run_notebook("gene_clustering", given, out=tmp_path / "out.ipynb")
    executed = run_notebook(
        "gene_clustering", given | {"genes": str(genes)}, out=tmp_path / "out.ipynb"
    )
    measured = read_page(executed).measured
    assert measured["ami-dino"].data == "JUMP-CP ORF"
    gap = measured["ami-dino"].value - measured["ami-cellprofiler"].value
    assert measured["ami-higher"].value == pytest.approx(gap)


def test_gene_groups_of_hgnc_as_they_are_published(tmp_path: Path) -> None:
    text = (
        "hgnc_id\tsymbol\tname\tlocus_group\tgene_group\tgene_group_id\n"
        'HGNC:1\tMAPK1\tkinase, one\tprotein\t"MAP kinases|Ser/Thr; other, kinases"\t"1|2"\n'
        "HGNC:2\tSRC\tproto-oncogene\tprotein\tSrc family\t3\n"
        "HGNC:3\tNONE\twithout\tprotein\t\t\n"
    )
    (tmp_path / "hgnc_complete_set_2022-10-01.txt").write_text(text)
    groups = read_gene_groups(tmp_path / "hgnc_complete_set_2022-10-01.txt")
    assert groups.to_numpy().tolist() == [
        ["MAPK1", "MAP kinases"],
        ["MAPK1", "Ser/Thr; other, kinases"],
        ["SRC", "Src family"],
    ]
    (tmp_path / "pairs.csv").write_text("Symbol,gene_group,x\nA,g one,1\nA,g one,2\n")
    assert read_gene_groups(tmp_path / "pairs.csv").to_numpy().tolist() == [["A", "g one"]]
    for text, message in (
        ("symbol\tgroup\nA\tb\n", "has no column gene_group; needs symbol, gene_group"),
        ("symbol\tgene_group\nA\t\n", "no gene is in a group"),
    ):
        (tmp_path / "bad.tsv").write_text(text)
        with pytest.raises(InputError, match=message):
            read_gene_groups(tmp_path / "bad.tsv")
    with pytest.raises(InputError, match="no such table of gene groups"):
        read_gene_groups(tmp_path / "nowhere.txt")


def test_gene_groups_of_the_derived_table(real: Path) -> None:
    groups = read_gene_groups(real / "hgnc" / "hgnc_symbol_gene_group.csv.gz")
    assert len(groups) > 29_000 and not groups.duplicated().any()
