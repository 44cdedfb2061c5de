from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import mmwrite
from scipy.sparse import coo_matrix

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.labels import (
    COMPOUND,
    draw_splits,
    label_bins,
    match_labels,
    read_labels,
    read_splits,
    write_splits,
)

CHEMBL = Path(__file__).parents[3] / "shared" / "real" / "bioactivity" / "jump_chembl"
REAL = CHEMBL.with_name("hti_cnn")


def write(tmp_path, text, name="labels.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def many(n=30, assays=4, seed=0):
    values = np.random.default_rng(seed).integers(-1, 2, (n, assays)).astype(np.int8)
    index = pd.Index([f"c{i}" for i in range(n)], name=COMPOUND)
    return pd.DataFrame(values, index, [f"a{j}" for j in range(assays)])


@pytest.mark.parametrize(
    "cells", ["1,-1\nb,0,1", "1,0\nb,,1", "active,inactive\nb,,active"], ids=["-1", "01", "words"]
)
def test_three_codings_of_one_matrix(tmp_path, cells):
    labels = read_labels(write(tmp_path, f"{COMPOUND},x,y\na,{cells}\n"))
    assert labels.to_numpy().tolist() == [[1, -1], [0, 1]]
    assert labels.index.tolist() == ["a", "b"]
    assert (labels.dtypes == np.int8).all()


def test_parquet_and_another_compound_column(tmp_path):
    many().reset_index(names="key").assign(Metadata_Other="x").to_parquet(tmp_path / "l.parquet")
    assert read_labels(tmp_path / "l.parquet", "key").equals(many().rename_axis("key"))


def test_matrix_market_with_an_assay_twice(tmp_path):
    mmwrite(tmp_path / "label-matrix.mtx", coo_matrix([[1, 0, -1], [0, 0, 1]]))
    write(tmp_path, "INDEX,INCHIKEY\n0,A\n1,B\n", "row-compound-index.csv")
    write(tmp_path, "ASSAY_ID\n7\n8\n7\n", "column-assay-index.csv")
    labels = read_labels(tmp_path)
    assert labels.columns.tolist() == ["7", "8", "7.2"]
    assert labels.loc["A"].tolist() == [1, 0, -1]


def test_chembl_measurements(tmp_path):
    head = "standard_inchi_key,target_chembl_id,pchembl_value\n"
    path = write(tmp_path, head + "A,T1,5\nA,T1,6\nA,T1,8\nB,T1,5.9\nB,T2,7\nC,T2,\n")
    labels = read_labels(path)
    assert labels.index.tolist() == ["A", "B", "C"] and labels.columns.tolist() == ["T1", "T2"]
    assert labels.to_numpy().tolist() == [[1, 0], [-1, 1], [0, 0]]
    assert read_labels(path, active_at=6.5).to_numpy().tolist() == [[-1, 0], [-1, 1], [0, 0]]
    with pytest.raises(InputError, match="pchembl_value 'x' is no number"):
        read_labels(write(tmp_path, head + "A,T1,x\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{COMPOUND},x\na,1\na,-1\n", "compound a is there 2 times"),
        (f"{COMPOUND},x,x\na,1,-1\n", "column x is there more than once"),
        (f"{COMPOUND},x\na,1\nb,7\n", "compound b, assay x: '7' is none of"),
        (f"{COMPOUND},x\na,maybe\n", "'maybe' is none of"),
        (f"{COMPOUND},x\na,1\nb,0\n", "0 could mean inactive or not measured"),
        (f"{COMPOUND},x\na,1\n,-1\n", "1 row without a compound name"),
        ("name,x\na,1\n", f"no column {COMPOUND}"),
        (f"{COMPOUND}\na\n", "no assay columns"),
        ("", "is empty"),
        (f"{COMPOUND},x\na,1,2\n", "more values than the header"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_labels(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(InputError, match="no such label matrix"):
        read_labels(tmp_path / "no.csv")
    with pytest.raises(InputError, match=r"0 \.mtx files"):
        read_labels(tmp_path)


def test_unknown_compounds_and_assays_of_one_class():
    labels = many()
    labels["flat"] = np.int8(1)
    compounds = np.array(labels.index[:20])
    with pytest.raises(InputError, match=r"10 compounds with labels are not in the screen \(c20"):
        match_labels(labels, compounds)
    with pytest.raises(InputError, match=r"1 assays have fewer than 1 active or inactive \(flat"):
        match_labels(labels, np.array(labels.index))
    left = match_labels(labels, compounds, strict=False)
    assert "flat" not in left and set(left.index) <= set(compounds)
    with pytest.raises(InputError, match="none of 30 labelled compounds"):
        match_labels(labels, np.array(["z"]), strict=False)
    with pytest.raises(InputError, match="no assay has 50 active"):
        match_labels(labels, compounds, strict=False, least=50)


def test_splits_share_no_test_compound_and_come_back_as_written(tmp_path):
    labels = many()
    splits = draw_splits(labels, seed=1)
    tested = [set(splits.index[splits[s] == "test"]) for s in splits]
    assert sum(map(len, tested)) == len(set().union(*tested)) == len(labels)
    for name in splits:
        assert set(splits[name]) == {"train", "validation", "test"}
    write_splits(splits, tmp_path / "splits.csv")
    assert read_splits(tmp_path / "splits.csv", labels).equals(splits)
    assert draw_splits(labels, seed=1).equals(splits)
    assert not draw_splits(labels, seed=2).equals(splits)
    with pytest.raises(InputError, match="too few for 3 splits"):
        draw_splits(labels[:8])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.iloc[1:], "1 labelled compounds are missing"),
        (lambda s: pd.concat([s, s[:1]]), "is there twice"),
        (lambda s: s.replace("test", "tests"), "split_1 has"),
    ],
)
def test_bad_splits(tmp_path, change, message):
    labels = many()
    write_splits(change(draw_splits(labels)), tmp_path / "s.csv")
    with pytest.raises(InputError, match=message):
        read_splits(tmp_path / "s.csv", labels)


def published(folder, split=1, **parts):
    """Tables of the published form: a row an image, other columns that do not matter."""
    for part, names in parts.items():
        rows = pd.DataFrame({"SAMPLE_KEY": range(2 * len(names)), "INCHIKEY": [*names, *names]})
        rows.to_csv(folder / f"datasplit{split}-{part}.csv")


def test_published_splits_are_read_from_their_folder(tmp_path):
    labels = many()
    names = labels.index.tolist()
    published(tmp_path, 1, train=names[4:], val=names[2:4], test=names[:2])
    published(tmp_path, 2, train=names[:-4], val=names[-4:-2], test=names[-2:])
    made = read_splits(tmp_path, labels[1:])
    assert made.columns.tolist() == ["split_1", "split_2"]
    assert made.loc[names[1]].tolist() == ["test", "train"]
    assert (made["split_1"] == "validation").sum() == 2
    published(tmp_path, 2, val=names[-5:-2])
    with pytest.raises(InputError, match=r"is in two parts of datasplit2 \(1 such\)"):
        read_splits(tmp_path, labels)
    (tmp_path / "datasplit2-val.csv").unlink()
    with pytest.raises(InputError, match=r"datasplit2-val\.csv: no such table"):
        read_splits(tmp_path, labels)
    published(tmp_path, 2, val=names[-4:-3])
    with pytest.raises(InputError, match="split_2 has"):
        read_splits(tmp_path, labels)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no datasplit1-train\.csv"):
        read_splits(tmp_path / "empty", labels)


def test_bins_hold_their_lower_edge():
    counts = [10, 49, 50, 99, 100, 499, 500, 1000, 4000]
    labels = pd.DataFrame({i: np.arange(4000) < n for i, n in enumerate(counts)}).astype(np.int8)
    low, mid, high = "<50", "50-100", "100-500"
    assert label_bins(labels).tolist() == [
        *(low, low, mid, mid, high, high, "500-1000", "1000-3000", "1000-3000")
    ]


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real label matrix")
def test_the_published_label_matrix():
    labels = read_labels(REAL)
    assert labels.shape == (10574, 209)
    assert ((labels > 0).sum().sum(), (labels < 0).sum().sum()) == (19274, 36268)
    assert label_bins(labels).value_counts(sort=False).sum() == 209


@pytest.mark.skipif(not CHEMBL.is_dir(), reason="needs the real ChEMBL table")
def test_the_real_chembl_table():
    labels = read_labels(CHEMBL / "chembl_annotation_filtered.csv.gz")
    assert labels.shape == (4718, 1744)
    assert (labels > 0).any(axis=1).sum() > 1000 and (labels < 0).any(axis=1).sum() > 1000
