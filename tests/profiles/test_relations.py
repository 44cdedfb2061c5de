"""Relationships from a file, and labels, among the profiles of a table."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cpssl_lite.base.errors import InputError
from cpssl_lite.cli.profiles import evaluate
from cpssl_lite.profiles.relations import read_relations, relation_numbers


def screen():
    """30 genes by two guides each in two batches; genes of a ring of neighbours act alike."""
    rng = np.random.default_rng(0)
    step = rng.standard_normal((31, 16))
    effect = (step[:-1] + step[1:]).repeat(2, axis=0)
    parts = []
    for batch in "ab":
        head = pd.DataFrame(
            {"Metadata_Batch": batch, "Metadata_Well": [f"A{i:02d}" for i in range(60)]}
        )
        head["Metadata_Plate"] = batch
        head["Metadata_Perturbation"] = [f"guide{i}" for i in range(60)]
        head["Metadata_Gene"] = [f"gene{i // 2}" for i in range(60)]
        values = effect + 0.3 * rng.standard_normal(effect.shape)
        features = pd.DataFrame(values, columns=[f"emb_{i:04d}" for i in range(16)])
        parts.append(pd.concat([head, features], axis=1))
    return pd.concat(parts, ignore_index=True)


def test_neighbours_are_recalled(tmp_path):
    file = tmp_path / "ring.tsv"
    lines = ["gene_a\tgene_b\tscore", *(f"gene{i}\tgene{i + 1}\t0.9" for i in range(29))]
    file.write_text("\n".join(lines) + "\n")
    table = screen()
    numbers = relation_numbers(table, relations=read_relations(file))
    assert numbers["relation_pairs"] == 29 and numbers["relation_recall"] > 0.4
    assert numbers["relation_odds_ratio_low"] > 3
    assert numbers["label_odds_ratio_low"] > 20 and numbers["percent_labels_enriched"] == 1.0
    far = pd.DataFrame({"one": [f"gene{i}" for i in range(15)]})
    far["other"] = [f"gene{i + 15}" for i in range(15)]
    assert relation_numbers(table, relations=far)["relation_recall"] < 0.4


def test_perturbations_may_be_named_instead():
    table = screen()
    pairs = pd.DataFrame({"one": ["guide0", "guide4"], "other": ["guide1", "guide5"]})
    assert relation_numbers(table, relations=pairs)["relation_recall"] == 1.0


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="no such file of relationships"):
        read_relations(tmp_path / "no.csv")
    (tmp_path / "one.csv").write_text("a\nb\n")
    with pytest.raises(InputError, match="has 1 column; needs two names a line"):
        read_relations(tmp_path / "one.csv")
    other = pd.DataFrame({"one": ["TP53"], "other": ["MDM2"]})
    with pytest.raises(InputError, match=r"none of 1 relationship .*'guide0'"):
        relation_numbers(screen(), relations=other)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "is empty"),
        ("a.csv", b"a,b\nc,d,e,f\n", "not a readable table .*Expected 2 fields in line 2, saw 4"),
        ("a.csv", b'"a,b\nc,d\n', "not a readable table .*EOF inside string"),
        ("a.csv", "a,\xb5\n".encode("latin-1"), "its text is not UTF-8 .*0xb5"),
        ("a.csv", b"PAR1\x15\x04", "is a Parquet file, not a table in text"),
        ("a.TXT", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.csv.gz", b"a,b\n", "not a readable table .*gzip"),
    ],
)
def test_what_is_no_file_of_pairs(tmp_path, cpssl, name, data, message):
    """Each ended in a traceback, or named no file."""
    file, table = tmp_path / name, tmp_path / "t.parquet"
    file.write_bytes(data)
    screen().to_parquet(table)
    code, _, said = cpssl("evaluate", table, "-o", tmp_path / "m.json", "--relations", file)
    assert code == 2 and re.match(rf"cpssl: {file}: {message}", said) and said.count("\n") == 1


@pytest.mark.parametrize("name", ["a.TSV", "a.Txt"])
def test_pairs_between_tabs(tmp_path, name):
    (tmp_path / name).write_text("\ufeffgene0\tgene1\ngene1\n", encoding="utf-8")
    assert read_relations(tmp_path / name).values.tolist() == [["gene0", "gene1"], ["gene1", ""]]


def test_command(tmp_path):
    file, table, out = tmp_path / "pairs.csv", tmp_path / "t.parquet", tmp_path / "m.json"
    file.write_text("gene0,gene1\ngene1,gene2\n")
    screen().to_parquet(table)
    words = [str(table), "-o", str(out), "--relations", str(file), "--null", "50"]
    done = CliRunner().invoke(evaluate, words)
    assert done.exit_code == 0, done.output
    written = json.loads(out.read_text())["t"]
    assert written["relation_pairs"] == 2 and written["label_odds_ratio"] > 1
