"""Numbers and columns at the edge of what a table can hold: the right value or one line."""

import datetime

import numba
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.similarity import compiled
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.evidence import evidence
from cpssl_lite.profiles.relations import relation_numbers
from cpssl_lite.profiles.table import read_profiles
from tests.cases.tables import close, saved, wells


def numbers(table):
    control = table["Metadata_Perturbation"].map(lambda name: "negcon" if name == "DMSO" else "")
    table = table.assign(Metadata_Control=control)
    more, _ = evidence(table, None, null=200)
    return evaluate(table) | more | relation_numbers(table, None, None)


def with_column(path, name, values, kind=None):
    """A Parquet table of wells in which one column holds something else."""
    table = pa.Table.from_pandas(wells(), preserve_index=False)
    column, at = pa.array(values, kind), table.schema.get_field_index(name)
    table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-120, 1e90])
def test_the_size_of_numbers_does_not_matter(scale):
    """Profiles of 1e-200 had no length, and were like all others."""
    table = wells()
    features = table.filter(like="emb_").columns
    close(numbers(table.assign(**(table[features] * scale))), numbers(table))


@pytest.mark.parametrize("value", [5.0, -0.0, 1e-250])
def test_profiles_that_are_all_alike_say_nothing(value):
    """The odds ratio was -68."""
    table = wells()
    found = numbers(table.assign(**dict.fromkeys(table.filter(like="emb_").columns, value)))
    assert np.isnan([found[f"label_odds_ratio{end}"] for end in ("", "_low", "_high")]).all()
    assert found["percent_labels_enriched"] == 0 and found["percent_active"] == 0


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("name", ["Metadata_Plate", "Metadata_Well", "emb_3"])
def test_text_that_is_stored_as_bytes(tmp_path, kind, name):
    """As Spark and Impala write it."""
    texts = [str(value).encode() for value in wells()[name]]
    got = read_profiles(with_column(tmp_path / "a.parquet", name, texts, kind))
    saved(wells(), tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(got, read_profiles(tmp_path / "b.parquet"))


@pytest.mark.parametrize("name", ["thumbnail", "Metadata_Picture", "Image_Outline"])
def test_a_column_of_pictures_is_left_out_and_said(tmp_path, caplog, name):
    path = with_column(tmp_path / "a.parquet", name, [b"\x89PNG\xff\xfe"] * len(wells()))
    assert name not in read_profiles(path)
    assert f"{path}: column {name} holds bytes that are no text; left out" in caplog.messages


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime.datetime(2024, 1, 2), r"Timestamp\('2024-01-02"),
        (datetime.timedelta(1), r"Timedelta\('1 days"),
        (datetime.date(2024, 1, 2), r"datetime\.date\(2024, 1, 2\)"),
        (datetime.time(1), r"datetime\.time\(1, 0\)"),
        ({"a": 1.5}, r"\{'a': 1\.5\}"),
    ],
)
def test_what_is_no_number_in_a_feature_is_named(tmp_path, value, shown):
    path = with_column(tmp_path / "a.parquet", "emb_3", [None, *[value] * (len(wells()) - 1)])
    with pytest.raises(InputError, match=rf"a\.parquet: feature emb_3 is not .*\({shown}.* row 2"):
        read_profiles(path)


@pytest.mark.parametrize("role", ["label", "perturbation", "batch", "dose", "control"])
def test_a_feature_plays_no_part(tmp_path, role):
    path = saved(wells(), tmp_path / "a.csv")
    with pytest.raises(InputError, match="'emb_3' is a feature; the table has Metadata_Source, "):
        read_profiles(path, **{role: "emb_3"})


@pytest.mark.parametrize("option", ["label", "plate", "control", "features", "batch"])
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_name_is_not_the_default(tmp_path, cpssl, option, text):
    """That of a variable of the shell that is not set."""
    path = saved(wells(), tmp_path / "a.csv")
    code, _, said = cpssl("evaluate", path, "-o", tmp_path / "m.json", f"--{option}", text)
    assert code == 2
    assert said == f"cpssl: --{option} {text!r}: is empty; give a name, or leave it out\n"


@pytest.mark.parametrize("option", ["-o", "--relations", "--platemap", "profiles"])
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_path_is_not_this_folder(tmp_path, cpssl, monkeypatch, option, text):
    monkeypatch.chdir(tmp_path)  # where it would write if it were taken
    path = saved(wells(), tmp_path / "a.csv")
    more = [text] if option == "profiles" else [option, text]
    code, _, said = cpssl("evaluate", path, "-o", tmp_path / "m.json", *more)
    assert code == 2 and said.count("\n") == 1
    assert f"{text!r} is empty" in said or f"{text!r}: names no table" in said


def test_code_that_cannot_be_kept_is_compiled_all_the_same(monkeypatch):
    """The package and the home are read-only: numba finds no place and raises."""
    njit = numba.njit

    def nowhere(*function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'f': no locator available")
        return njit(*function, **options)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled(lambda x: x + 1)(2) == 3
