"""Which family a gene counts for."""

from pathlib import Path

import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.gene_groups import gene_families

GENES = list("abcdefg")


@pytest.fixture
def head() -> pd.DataFrame:
    return pd.DataFrame({"Metadata_Perturbation": GENES * 2, "Metadata_Gene": GENES * 2})


def test_a_gene_in_several_groups_counts_for_the_smallest(
    head: pd.DataFrame, tmp_path: Path
) -> None:
    groups = {"large": "abcde", "small": "efg", "lonely": "g"}
    lists = [(gene, group) for group, genes in groups.items() for gene in genes]
    pd.DataFrame(lists, columns=["Symbol", "gene_group"]).to_csv(tmp_path / "a.csv", index=False)
    found = gene_families(head, GENES, 3, tmp_path / "a.csv")
    assert found.to_dict() == {**dict.fromkeys("abcd", "large"), **dict.fromkeys("efg", "small")}
    with pytest.raises(InputError, match=r"leaves 6 of 7 genes, and 1 family with 3"):
        gene_families(head, GENES[:6], 3, tmp_path / "a.csv")


def test_families_may_be_a_column(head: pd.DataFrame) -> None:
    head["Metadata_GeneGroup"] = ["x", "x", "y", "y", "y", "", "z"] * 2
    found = gene_families(head, GENES, 2)
    assert found.to_dict() == {"a": "x", "b": "x", "c": "y", "d": "y", "e": "y"}
    with pytest.raises(InputError, match=r"no column 'nothing'.*families=TABLE"):
        gene_families(head, GENES, 2, label="nothing")


def test_a_table_of_families_without_symbols_is_refused(head: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("gene,family\na,x\n")
    with pytest.raises(InputError, match=r"has no column gene_group; needs symbol, gene_group"):
        gene_families(head, GENES, 2, tmp_path / "a.csv")


def test_hgncs_own_file_with_several_groups_in_a_cell(tmp_path):
    rows = ["hgnc_id\tsymbol\tgene_group", *(f"H\t{g}\tone|two" for g in GENES[:3])]
    (tmp_path / "h.txt").write_text("\n".join([*rows, *(f"H\t{g}\tother" for g in GENES[3:])]))
    head = pd.DataFrame({"Metadata_Perturbation": GENES, "Metadata_Gene": GENES})
    found = gene_families(head, GENES, 3, tmp_path / "h.txt")
    assert set(found[list(GENES[:3])]) == {"one"} and set(found[list(GENES[3:])]) == {"other"}
