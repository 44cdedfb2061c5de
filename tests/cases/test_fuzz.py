"""Random small tables and TIFFs: the right result or one line, never a traceback.

Five dozen examples by default; ``pytest tests/cases/test_fuzz.py --hypothesis-profile many`` tries
2,000, in under two minutes.
"""

import contextlib
import gzip
import io
import json
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import tifffile

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

from cpssl_lite.base.errors import InputError
from cpssl_lite.cli.main import main
from cpssl_lite.images.tiff import read_header, read_merged, read_plane
from cpssl_lite.profiles import evaluate as evaluation
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.table import read_profiles, to_anndata
from tests.cases.tables import wells

FEATURES = ["emb_0", "emb_1", "emb_2"]
SEEDS = st.integers(0, 9999)
# No NUL, and no bare carriage return, which Python's csv does not quote.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


def base():
    """Thirteen wells on each of two plates whose metrics are neither 0 nor 1."""
    table = wells(perturbations=5, replicates=2, features=3)
    table = table[~table["Metadata_Well"].between("A04", "A08")].reset_index(drop=True)
    table[FEATURES] += np.random.default_rng(1).normal(0, 8, (len(table), 3))
    return table


@cache
def expected(folder):
    base().to_csv(folder / "base.csv", index=False)
    return evaluate(read_profiles(folder / "base.csv"))


@pytest.fixture(scope="module", autouse=True)
def _no_draws():  # of chance, 200 a table, over half of the time; it has tests of its own
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "replicating_by_chance", lambda *_, **__: 0.0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def cpssl(*words):
    """Exit status of a command and what it said of an error: no line, or one."""
    said, argv = io.StringIO(), sys.argv
    sys.argv = ["cpssl", *map(str, words)]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = argv
    lines = said.getvalue().splitlines()
    assert (code, len(lines)) in ((0, 0), (2, 1)), (code, lines)
    assert all(line.startswith("cpssl: ") for line in lines)
    return code, "".join(lines)


# What says the same in other words: table and a seed in, table out.


def shuffled(table, seed):
    return table.sample(frac=1, random_state=seed)


def columns_shuffled(table, seed):
    return table[np.random.default_rng(seed).permutation(table.columns)]


def renamed(table, seed):
    names = {
        "Metadata_Batch": ["batch", "Metadata_batch", "Batch", "Metadata_Experiment"],
        "Metadata_Plate": ["plate", "Metadata_plate", " Metadata_Plate", "Image_Metadata_Plate"],
        "Metadata_Well": ["Well", "Metadata_well", "Metadata Well"],
        "Metadata_Perturbation": ["perturbation_id", "Metadata_broad_sample", "perturbation"],
        "Metadata_Target": ["target", "Metadata_target", "Target "],
    }
    rng = np.random.default_rng(seed)
    return table.rename(columns={name: str(rng.choice(new)) for name, new in names.items()})


def respelled(table, seed):
    how = [str.lower, lambda w: f"{w[0]}{int(w[1:])}", lambda w: f"r{ord(w[0]) - 64:02d}c{w[1:]}"]
    how += [lambda w: f"{w[0]}-{w[1:]}", lambda w: f"{w[0]}0{w[1:]}"]
    column = next(c for c in table if "well" in c.lower())
    return table.assign(**{column: table[column].map(how[seed % 5])})


def missing_word(table, seed):
    word = ["NA", "nan", "", "None", "#N/A", " "][seed % 6]
    column = next(c for c in table if "target" in c.lower())
    return table.assign(**{column: table[column].replace("", word)})


def more_columns(table, seed):
    rng = np.random.default_rng(seed)
    return table.assign(Image_Count=rng.normal(size=len(table)), flag=rng.random(len(table)) < 0.5)


SAME = [shuffled, columns_shuffled, renamed, respelled, missing_word, more_columns]


def written(table, folder, form):
    """Write a table in one of the forms that are read."""
    path = folder / f"t{form}"
    plain = form.removesuffix(".gz").lower()
    if form == ".h5ad":
        pytest.importorskip("anndata")
        to_anndata(table.reset_index(drop=True)).write_h5ad(path)
    elif form == ".parquet":
        table.to_parquet(path, index=False)
    elif form == ".PQ":
        table.to_parquet(path)
    else:
        text = table.to_csv(index="gz" in form, sep="\t" if plain in (".tsv", ".txt") else ",")
        text = text.replace("\n", "\r\n") if form == ".CSV" else text
        data = text.encode("utf-8-sig" if form == ".tsv" else "utf-8")
        path.write_bytes(gzip.compress(data, 1) if "gz" in form else data)
    return path


FORMS = [".csv", ".CSV", ".csv.gz", ".tsv", ".txt", ".parquet", ".PQ", ".h5ad"]


MANY = settings.default.max_examples  # of the profile; what costs little gets more of them


@settings(max_examples=MANY // 2)
@given(st.lists(st.tuples(st.sampled_from(SAME), SEEDS), max_size=4), st.sampled_from(FORMS), TEXT)
def test_other_words_change_no_number(folder, changes, form, note):
    table = base()
    for change, seed in dict(changes).items():
        table = change(table, seed)
    notes = {"note": note} if form == ".CSV" else {"note": f'{note}\n"{note}'}  # CRLF is its own
    got = evaluate(read_profiles(written(table.assign(**notes), folder, form)))
    for metric, value in expected(folder).items():
        assert got[metric] == pytest.approx(value, abs=1e-9, nan_ok=True), metric


# What cannot be read right: table, seed and some text in, table out.


def _spoilt(table, seed, column, value):
    table = table.astype({column: object})
    table.iloc[seed % len(table), table.columns.get_loc(column)] = value
    return table


def a_word(table, seed, text):
    return _spoilt(table, seed, FEATURES[seed % 3], f"{text}x")


def a_number_that_is_none(table, seed, text):
    value = [np.nan, np.inf, -np.inf, 1e300, "", "1,5", "1e999", "--1", "0x10"][seed % 9]
    return _spoilt(table, seed // 9, FEATURES[seed % 3], value)


def a_key_that_is_empty(table, seed, text):
    return _spoilt(table, seed // 2, ["Metadata_Batch", "Metadata_Plate"][seed % 2], "")


def a_row_twice(table, seed, text):
    row = table.iloc[[seed % len(table)]]
    return pd.concat([table, row.assign(emb_0=0.5)], ignore_index=True)


def a_column_gone(table, seed, text):
    return table.drop(columns=["Metadata_Batch", "Metadata_Perturbation"][seed % 2])


def a_column_twice(table, seed, text):
    return pd.concat([table, table.iloc[:, [seed % table.shape[1]]]], axis=1)


def two_families(table, seed, text):
    return table.assign(**{["Cells_A_x", "X_1", "PC_3", "f1"][seed % 4]: 1.5})


def nothing_left(table, seed, text):
    return [table.iloc[:0], table.drop(columns=FEATURES)][seed % 2]


WRONG = [
    *(a_word, a_number_that_is_none, a_key_that_is_empty, a_row_twice, a_column_gone),
    *(a_column_twice, two_families, nothing_left),
]


@given(st.sampled_from(WRONG), SEEDS, TEXT, st.sampled_from(FORMS[:6]))
def test_what_cannot_be_right_is_one_line(folder, wrong, seed, text, form):
    if form == ".parquet" and wrong in (a_word, a_number_that_is_none, a_column_twice):
        form = ".csv"  # Parquet has types, and no name twice
    path, out = written(wrong(base(), seed, text), folder, form), folder / "m.json"
    code, line = cpssl("normalize", path, "-o", folder / "n.parquet", "--method", "standardize")
    if wrong is not a_column_gone:
        assert code == 2 and str(path) in line, line
    code, line = cpssl("evaluate", path, "-o", out, "--null", 20)
    assert code == 2 and str(path) in line, line


@given(st.sampled_from(FORMS[:7]), st.lists(st.tuples(SEEDS, st.binary(max_size=6)), max_size=4),
       st.integers(0, 9000))  # fmt: skip
def test_damage_is_one_line_or_none(folder, form, edits, cut):
    path = written(base(), folder, form)
    data = bytearray(path.read_bytes())
    for at, new in edits:
        data[at % len(data) : at % len(data) + len(new)] = new
    whole = cut >= len(data)
    path.write_bytes(data[:cut])
    code, line = cpssl("evaluate", path, "-o", folder / "m.json", "--null", 20)
    if code:
        assert str(path) in line
    else:
        assert json.loads((folder / "m.json").read_text())["t"]["n_wells"] <= 30
    if not whole and form in (".csv.gz", ".parquet", ".PQ"):
        assert code == 2


@given(st.sampled_from(["label", "control", "batch", "perturbation", "features", "method"]), TEXT)
def test_options_are_one_line_or_none(folder, option, text):
    path = written(base(), folder, ".csv")
    words = ["normalize", path, "-o", folder / "n.parquet", "--method", "standardize"]
    if option == "label":
        words = ["evaluate", path, "-o", folder / "m.json", "--null", 20]
    cpssl(*words, f"--{option}={text}")


KINDS = st.sampled_from(["u1", "u2", "u4", "i2", "f4", "f8", "?"])
FIELD = st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20))
HOW = st.fixed_dictionaries(
    {},
    optional={
        "compression": st.sampled_from(["zlib", "lzw", "zstd", "packbits"]),
        "bigtiff": st.booleans(),
        "byteorder": st.sampled_from(["<", ">"]),
        "photometric": st.sampled_from(["minisblack", "miniswhite"]),
        "planarconfig": st.sampled_from(["separate", "contig"]),
        "rowsperstrip": st.integers(1, 30),
        "tile": st.just((16, 16)),
        "predictor": st.booleans(),
        "ome": st.booleans(),
        "imagej": st.booleans(),
        "metadata": st.dictionaries(
            st.sampled_from(["otsuth", "channels", "axes", "shape"]), TEXT | st.lists(TEXT)
        ),
        "description": TEXT.map(lambda text: text.encode("ascii", "replace").decode()),
    },
)


EDITS = st.lists(st.tuples(st.integers(0, 700), st.binary(max_size=4)), max_size=3)


@settings(max_examples=MANY * 3 // 2)
@given(FIELD, KINDS, HOW, EDITS, st.integers(0, 4000))
def test_tiffs_are_right_or_one_line(folder, shape, kind, how, edits, cut):
    path = folder / "a.tif"
    pixels = np.random.default_rng(sum(shape)).integers(0, 2, shape).astype(kind)
    try:
        tifffile.imwrite(path, pixels, **how)
    except Exception:
        return  # tifffile does not write this
    data = bytearray(path.read_bytes())
    whole = cut >= len(data) and not any(new for _, new in edits)
    for at, new in edits:
        at %= len(data)
        data[at : at + len(new)] = new[: len(data) - at]
    path.write_bytes(data[:cut])
    one = 65535 if kind[0] == "f" else 1
    for read in (read_plane, read_merged, read_header):
        try:
            got = read(path)
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        if not whole or how.get("photometric") == "miniswhite":
            continue
        if read is read_plane:
            np.testing.assert_array_equal(got, np.squeeze(pixels) * one)
        elif read is read_merged and "channels" not in how.get("metadata", {}):
            np.testing.assert_array_equal(got.pixels, pixels * one)
