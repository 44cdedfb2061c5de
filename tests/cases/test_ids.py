"""What a well is called: the same in every file and type, and never the same for two things."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpssl_lite.profiles.evaluate import batches, evaluate
from cpssl_lite.profiles.evidence import evidence
from cpssl_lite.profiles.normalize import plate_names
from cpssl_lite.profiles.table import read_profiles
from tests.cases.tables import close, saved, wells

B1 = "Metadata_Batch == 'b1'"


def numbers(*files, **roles):
    table = read_profiles(files, **roles)
    return evaluate(table) | evidence(table, null=100)[0]


def numbered():
    """Wells whose compounds have numbers, near enough to be taken for one another now and then."""
    table = wells()
    table["Metadata_Perturbation"] = table["Metadata_Perturbation"].str.replace("c", "10")
    features = table.filter(like="emb_").columns
    table[features] += np.random.default_rng(3).normal(0, 12, table[features].shape)
    return table


def parts(table, tmp_path, name):
    return [
        saved(part, tmp_path / f"{i}-{name}")
        for i, (_, part) in enumerate(table.groupby(table.Metadata_Batch))
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.parquet"])
@pytest.mark.parametrize("kind", [float, np.float32])
def test_doses_of_a_table_in_several_files(tmp_path, name, kind):
    """1.0 was "1" in a file of whole numbers and "1.0" beside 0.5: two doses."""
    table = numbered()
    place = table["Metadata_Well"].str[1:].astype(int)
    dose = np.where(table["Metadata_Batch"] == "b1", 1.0, np.where(place % 2, 0.1, 1.0))
    table["Metadata_Dose"] = dose.astype(kind)
    whole = numbers(saved(table, tmp_path / name), dose="Metadata_Dose")
    assert whole["n_perturbations"] == 12
    close(numbers(*parts(table, tmp_path, name), dose="Metadata_Dose"), whole)
    close(numbers(saved(table, tmp_path / "b.csv"), dose="Metadata_Dose"), whole)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_numbers_of_compounds_beside_words(tmp_path, name):
    """A file without controls has numbers only, of which "101.0" became "101"."""
    table = numbered().query(f"not ({B1} and Metadata_Perturbation == 'DMSO')")
    expected = numbers(saved(table, tmp_path / name))
    number = table["Metadata_Perturbation"] != "DMSO"
    table["Metadata_Perturbation"] = table["Metadata_Perturbation"].mask(
        number, table["Metadata_Perturbation"] + ".0"
    )
    close(numbers(*parts(table, tmp_path, name)), expected)


def test_numbers_that_differ_in_text_stay_apart(tmp_path):
    table = wells()
    names = dict(
        zip([f"c{i}" for i in range(6)], ["1", "1.0", "01", "1e0", "1.00", "١"], strict=True)
    )
    table["Metadata_Perturbation"] = table["Metadata_Perturbation"].replace(names)
    for name in ("a.csv", "a.parquet"):
        got = read_profiles(saved(table, tmp_path / name))["Metadata_Perturbation"]
        assert got.tolist() == table["Metadata_Perturbation"].tolist()


def test_long_numbers_beside_nothing(tmp_path):
    """Whole numbers with a gap come as floats, which hold 16 digits: all compounds were one."""
    table = numbered()
    expected = numbers(saved(table, tmp_path / "a.csv"))
    control = table["Metadata_Perturbation"] == "DMSO"
    ids = [
        None if c else 2**60 + int(n)
        for n, c in zip(table["Metadata_Perturbation"], control, strict=True)
    ]
    table["Metadata_Control"] = np.where(control, "negcon", "")
    stored = pa.Table.from_pandas(table, preserve_index=False)
    at = stored.schema.get_field_index("Metadata_Perturbation")
    stored = stored.set_column(at, "Metadata_Perturbation", pa.array(ids, pa.int64()))
    pq.write_table(stored, tmp_path / "a.parquet")
    close(numbers(tmp_path / "a.parquet"), expected)


@pytest.mark.parametrize("mark", ["/", "\\", "\\/", "//"])
def test_sources_and_batches_that_read_as_one_together(tmp_path, mark):
    """Source a and batch b/x were source a/b and batch x."""
    table = pd.concat([numbered(), numbered().assign(Metadata_Source="s2")], ignore_index=True)
    other = table.copy()
    key = table["Metadata_Source"] + table["Metadata_Batch"]
    names = {
        "s1b1": ("a", f"b{mark}x"),
        "s1b2": ("a", "y"),
        "s2b1": (f"a{mark}b", "x"),
        "s2b2": (f"a{mark}b", "z"),
    }
    other["Metadata_Source"], other["Metadata_Batch"] = zip(*key.map(names), strict=True)
    close(numbers(saved(other, tmp_path / "b.csv")), numbers(saved(table, tmp_path / "a.csv")))
    assert len(set(batches(other))) == len(set(plate_names(other))) == 4
