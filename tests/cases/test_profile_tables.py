"""Profile tables as the field hands them over, by class."""

import gzip
import json
import logging
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.select import read_feature_list
from cpssl_lite.profiles.table import (
    assign_roles,
    feature_columns,
    read_profiles,
    to_anndata,
)
from tests.cases.tables import POINTERS, saved, wells


def numbers(table, **roles):
    """Metrics of a table, normalised per plate."""
    return evaluate(normalize(assign_roles(table, **roles), "mad_robustize"))


def nothing_in_it(word, plates=("0b1", "0b2"), n=12):
    """Wells that no perturbation was put into: all alike, and far from the rest."""
    table = wells(perturbations=1, replicates=n, seed=5)
    table = table[table["Metadata_Perturbation"] == "c0"].assign(Metadata_Perturbation=word)
    table["Metadata_Well"] = [f"H{i + 1:02d}" for i in range(n)] * len(plates)
    return table.assign(Metadata_Target="")


@pytest.mark.parametrize(
    "word",
    ["JCP2022_999999", "JCP2022_UNKNOWN", "EMPTY", "Untreated", "unknown", "no treatment",
     "non-treated", "blank", "Empty well", "not treated", "none"],
)  # fmt: skip
def test_placeholders_are_no_perturbations(tmp_path, caplog, word):
    plain = wells()
    expected = numbers(read_profiles(saved(plain, tmp_path / "plain.csv")))
    both = saved(pd.concat([plain, nothing_in_it(word)]), tmp_path / "both.csv")
    with caplog.at_level(logging.WARNING):
        got = numbers(read_profiles(both))
    assert got == expected and got["n_perturbations"] == 6
    assert f"24 wells without a perturbation name (empty, untreated or unknown: '{word}')" in (
        caplog.text
    )


@pytest.mark.parametrize("kind", ["empty", "Empty_Well", "blank", "untreated"])
@pytest.mark.parametrize("column", ["Metadata_pert_type", "Metadata_control_type"])
def test_wells_whose_type_is_empty_are_no_perturbations(tmp_path, kind, column):
    plain = wells()
    table = pd.concat(
        [plain.assign(**{column: "trt"}), nothing_in_it("x77").assign(**{column: kind})]
    )
    assert numbers(read_profiles(saved(table, tmp_path / "a.csv"))) == numbers(plain_read(tmp_path))


def plain_read(tmp_path):
    return read_profiles(saved(wells(), tmp_path / "plain.csv"))


def test_untreated_wells_that_are_the_controls_stay_controls(tmp_path):
    table = wells().replace({"Metadata_Perturbation": {"DMSO": "untreated"}})
    path = saved(table, tmp_path / "a.csv")
    controls = read_profiles(path)["Metadata_Perturbation"] == ""
    named = assign_roles(read_profiles(path), control="Metadata_Perturbation=untreated")
    assert (named["Metadata_Control"] == "negcon").tolist() == controls.tolist()
    said = table.assign(Metadata_Control=np.where(controls, "negcon", ""))
    kept = read_profiles(saved(said, tmp_path / "b.csv"))
    assert set(kept["Metadata_Perturbation"][controls]) == {"untreated"}


@pytest.mark.parametrize(
    ("column", "words", "value"),
    [
        ("Metadata_pert_type", ("trt_sh", "ctl_vector"), "ctl_vector"),
        ("Metadata_control_type", ("", "vehicle"), "vehicle"),
        ("Metadata_Control", ("sample", "neg"), "neg"),
        ("Metadata_control", (False, True), "TRUE"),
        ("control_type", ("n", "y"), "y"),
        ("Metadata_Control", (0, 1), "1"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_controls_in_other_words(tmp_path, column, words, value, name):
    table = wells().replace({"Metadata_Perturbation": {"DMSO": "water"}})
    control = (table["Metadata_Perturbation"] == "water").to_numpy()
    table[column] = [words[int(c)] for c in control]
    got = read_profiles(saved(table, tmp_path / name))
    named = assign_roles(got, control=f"{column}={value}")
    assert (named["Metadata_Control"] == "negcon").tolist() == control.tolist()
    assert not (normalize(named, "standardize").isna()).any(axis=None)
    with pytest.raises(InputError, match=rf"no well has it; {column} holds .*'{words[1]}'"):
        assign_roles(got, control=f"{column}=other")
    with pytest.raises(InputError, match=rf"Metadata_Control \(it was .*'{words[1]}'"):
        normalize(got, "standardize")


def test_a_perturbation_that_is_a_control_here_and_none_there_is_said(tmp_path, caplog):
    """In one plate's words only: the other plate's controls were treated wells, silently."""
    table = wells().replace({"Metadata_Perturbation": {"DMSO": "water"}})
    control, first = table["Metadata_Perturbation"] == "water", table["Metadata_Batch"] == "b1"
    table["Metadata_Control"] = np.where(control, np.where(first, "negcon", "vehicle"), "trt")
    numbers(read_profiles(saved(table, tmp_path / "a.csv")))
    assert (
        "'water': negative control in 8 wells, treated in 8 others (the column of controls says "
        "'vehicle'); --control says which" in caplog.text
    )
    caplog.clear()
    numbers(read_profiles(saved(table.replace("vehicle", "negcon"), tmp_path / "a.csv")))
    assert not caplog.text


@pytest.mark.parametrize("gone", ["all", "one plate", "two wells"])
def test_wells_without_a_position(tmp_path, gone):
    """They were "there more than once"."""
    table = wells()
    rows = {"all": table.index, "one plate": table.index[:32], "two wells": table.index[3:5]}[gone]
    table.loc[rows, "Metadata_Well"] = ""
    path = saved(table, tmp_path / "a.csv")
    if gone == "all":
        assert numbers(read_profiles(path))["n_wells"] == 48
        return
    with pytest.raises(InputError, match=rf"Metadata_Well is empty \({len(rows)} such wells\)"):
        read_profiles(path)


def test_words_of_a_control_column_survive_a_normalised_table(tmp_path, cpssl):
    table = wells().replace({"Metadata_Perturbation": {"DMSO": "water"}})
    table["Metadata_pert_type"] = np.where(table["Metadata_Perturbation"] == "water", "ctl", "trt")
    path, out = saved(table, tmp_path / "a.csv"), tmp_path / "n.parquet"
    assert cpssl("normalize", path, "-o", out, "--method", "mad_robustize")[0] == 0
    got = assign_roles(read_profiles(out), control="Metadata_pert_type=ctl")
    assert (got["Metadata_Control"] == "negcon").sum() == 16


OWN = ("Mitochondria_AreaShape_Area_{}", "ER_Texture_Contrast_{}", "Speckles_Intensity_Std_{}")


@pytest.mark.parametrize("prefix", OWN)
def test_compartments_that_a_pipeline_named_are_features(tmp_path, prefix):
    table = wells(prefix="Cells_AreaShape_F")
    more = {prefix.format(i): np.arange(len(table)) % (i + 7) for i in range(5)}
    path = saved(table.assign(**more), tmp_path / "a.csv")
    assert feature_columns(read_profiles(path)) == [f"Cells_AreaShape_F{i}" for i in range(8)] + [
        *more
    ]


@pytest.mark.parametrize(
    "name", ["emb_{}", "emb{:04d}", "X_{}", "PC_{}", "PC{}", "F_{}", "feature_{}", "f{}",
             "efficientnet_{}", "embedding_{}", "Nuclei_Granularity_{}_DNA"],
)  # fmt: skip
def test_known_families(tmp_path, name):
    table = wells().rename(columns={f"emb_{i}": name.format(i + 1) for i in range(8)})
    got = read_profiles(saved(table, tmp_path / "a.csv"))
    assert feature_columns(got) == [name.format(i + 1) for i in range(8)]
    assert numbers(got) == numbers(plain_read(tmp_path))


@pytest.mark.parametrize(
    ("one", "other"), [("emb_", "Cells_AreaShape_"), ("X_", "PC_"), ("f", "efficientnet_")]
)
@pytest.mark.parametrize("form", ["a.csv", "a.parquet"])
def test_two_families_in_one_table(tmp_path, cpssl, caplog, one, other, form):
    table = pd.concat([wells(prefix=one), wells(prefix=other, seed=1).filter(like=other)], axis=1)
    path, out = saved(table, tmp_path / form), tmp_path / "m.json"
    code, _, err = cpssl("evaluate", path, "-o", out)
    assert code == 2 and err.count("\n") == 1 and "--features REGEX" in err
    assert f"(8: {one}0, ...)" in err and f"(8: {other}0, ...)" in err
    for prefix, seed in ((one, 0), (other, 1)):
        pattern = rf"^{prefix}\d"
        assert cpssl("evaluate", path, "-o", out, "--features", pattern)[0] == 0
        alone = saved(wells(prefix=prefix, seed=seed), tmp_path / f"alone-{form}")
        assert cpssl("evaluate", alone, "-o", tmp_path / "alone.json")[0] == 0
        got, expected = (json.loads(p.read_text()) for p in (out, tmp_path / "alone.json"))
        assert list(got.values()) == list(expected.values())


@pytest.mark.parametrize("names", ["texture{}", "my feature {}", "v.{}", "HOG_{}x"])
def test_features_by_a_pattern_travel_with_the_table(tmp_path, cpssl, names):
    table = wells().rename(columns={f"emb_{i}": names.format(i) for i in range(8)})
    pattern = names.replace(".", r"\.").format(r"\d")
    path, out = saved(table, tmp_path / "a.csv"), tmp_path / "n.parquet"
    code, _, err = cpssl("evaluate", path, "-o", tmp_path / "m.json")
    assert code == 2 and "no features found" in err and names.format(0) in err
    words = ("--method", "mad_robustize", "--features", pattern)
    assert cpssl("normalize", path, "-o", out, *words)[0] == 0
    assert cpssl("select", out, "-o", tmp_path / "s.parquet", "--rules", "variance")[0] == 0
    assert evaluate(read_profiles(tmp_path / "s.parquet")) == numbers(plain_read(tmp_path))


@pytest.mark.parametrize("step", ["pca", "tvn", "mad_robustize"])
@pytest.mark.parametrize("form", ["n.parquet", "n.h5ad"])
def test_features_that_nothing_but_the_table_knows(tmp_path, cpssl, step, form):
    """Of a pattern that a step renames, and of a container: what was written could not be read."""
    table = wells().rename(columns={f"emb_{i}": f"tex.{i}" for i in range(8)})
    first, out = saved(table, tmp_path / "a.csv"), tmp_path / form
    words = ("--method", step, "--features", "^tex")
    assert cpssl("normalize", first, "-o", tmp_path / "b.h5ad", *words)[0] == 0
    assert cpssl("select", tmp_path / "b.h5ad", "-o", out, "--rules", "none")[0] == 0
    right = evaluate(normalize(read_profiles(first, "^tex"), step))
    assert evaluate(read_profiles(out)) == pytest.approx(right, nan_ok=True)
    pytest.importorskip("anndata")
    named = to_anndata(table.rename(columns={f"tex.{i}": f"{i} (a|b)" for i in range(8)}))
    named.write_h5ad(tmp_path / "c.h5ad")
    assert cpssl("normalize", tmp_path / "c.h5ad", "-o", out, "--method", step)[0] == 0
    assert evaluate(read_profiles(out)) == pytest.approx(right, nan_ok=True)


@pytest.mark.parametrize("pattern", ["nothing_", "Metadata_", "(", "Image_"])
def test_a_pattern_that_fits_nothing(tmp_path, pattern):
    path = saved(wells().assign(Image_Count=1), tmp_path / "a.csv")
    with pytest.raises(InputError, match="--features "):
        read_profiles(path, pattern)


@pytest.mark.parametrize("form", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("name", ["Count_Cells", "dose", "qc score"])
def test_numbers_that_are_no_features_are_named(tmp_path, caplog, form, name):
    table = wells().assign(**{name: np.arange(80 - 16)})
    with caplog.at_level(logging.WARNING):
        got = read_profiles(saved(table, tmp_path / form))
    assert f"1 column of numbers taken as text, not as features ('{name}')" in caplog.text
    assert len(feature_columns(got)) == 8 and got[name].tolist()[:3] == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.h5ad", "a.tsv", "a.gct"])
@pytest.mark.parametrize("read", [read_profiles, read_feature_list])
@pytest.mark.parametrize("pointer", POINTERS)
def test_a_pointer_in_the_place_of_a_table(tmp_path, name, read, pointer):
    (tmp_path / name).write_text(POINTERS[pointer])
    with pytest.raises(InputError, match=f"{name}: a {pointer} pointer; get the file itself with"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "emb_1\nemb_3\n"),
        ("a.CSV", "blocklist\nemb_1\nemb_3\n"),
        ("a.csv", ",feature\n0,emb_1\n1,emb_3\n"),
        ("a.tsv", "Features\nemb_1\nemb_3\n"),
        ("a.csv", '"my list"\n"emb_1"\n"emb_3"\n'),
        ("a.txt", "\ufeffname\nemb_1\nemb_3\n"),
    ],
)
def test_a_list_of_features_in_a_column(tmp_path, cpssl, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_feature_list(tmp_path / name) == ["emb_1", "emb_3"]
    path, out = saved(wells(), tmp_path / "profiles.csv"), tmp_path / "s.parquet"
    for option, left in (("--keep", ["1", "3"]), ("--blocklist", list("024567"))):
        words = ("select", path, "-o", out, "--rules", "none", option, tmp_path / name)
        code, _, err = cpssl(*words)
        assert code == 0 and not err
        assert feature_columns(read_profiles(out)) == [f"emb_{i}" for i in left]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_named(tmp_path, separator):
    path = tmp_path / "a.csv"
    wells().to_csv(path, index=False, sep=separator, decimal=",")
    name = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
    with pytest.raises(InputError, match=f"separated by {name}, got 'Metadata_Source.*put commas"):
        read_profiles(path)


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("level", ["Image", "x", ""])
def test_two_rows_of_header(tmp_path, index, level):
    table = wells()
    table.columns = pd.MultiIndex.from_tuples([(level, name) for name in table.columns])
    table.to_csv(tmp_path / "a.csv", index=index)
    with pytest.raises(InputError, match=r"a\.csv: (has two rows of header|its first line is no)"):
        read_profiles(tmp_path / "a.csv")


@pytest.mark.parametrize("line", ["# exported yesterday", "Plate 7", "sep=,"])
def test_a_line_above_the_header(tmp_path, line):
    path = tmp_path / "a.csv"
    path.write_text(f"{line}\n{wells().to_csv(index=False)}")
    with pytest.raises(InputError, match=r"no header|separated by|two rows of header"):
        read_profiles(path)


@pytest.mark.parametrize("name", ["a.CSV", "a.Csv.Gz", "a.TSV", "a.PARQUET", "a.PQ"])
def test_suffixes_in_any_case(tmp_path, name):
    table, path = wells(), tmp_path / name
    if name.lower().endswith(("parquet", "pq")):
        table.to_parquet(path)
    else:
        kind = "gzip" if name.lower().endswith("gz") else None
        table.to_csv(path, index=False, compression=kind, sep="\t" if "TSV" in name else ",")
    assert numbers(read_profiles(path)) == numbers(plain_read(tmp_path))


@pytest.mark.parametrize("digits", [3, 9, 20])
def test_decimals_are_numbers(tmp_path, digits):
    table = wells().round(2)
    stored = pa.Table.from_pandas(table, preserve_index=False)
    at = stored.column_names.index("emb_3")
    values = [Decimal(f"{value:.2f}") for value in table["emb_3"]]
    column = pa.array(values, pa.decimal128(digits + 5, 2))
    pq.write_table(stored.set_column(at, "emb_3", column), tmp_path / "a.parquet")
    got = read_profiles(tmp_path / "a.parquet")
    np.testing.assert_array_equal(got["emb_3"], table["emb_3"])


@pytest.mark.parametrize("column", ["Plate", "Well", "Batch"])
def test_metadata_of_images_keeps_its_zeros(tmp_path, column):
    table = wells().assign(Image_Metadata_Plate=lambda t: t["Metadata_Plate"])
    table = table.assign(Metadata_Batch=lambda t: "00" + t["Metadata_Batch"].str[1:])
    table = table.drop(columns="Metadata_Plate")
    table = table.rename(columns={f"Metadata_{column}": f"Image_Metadata_{column}"})
    got = read_profiles(saved(table, tmp_path / "a.csv"))
    assert set(got["Metadata_Plate"]) == {"0b1", "0b2"}
    assert set(got["Metadata_Batch"]) == {"001", "002"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Metadata_Note,emb_0\nµM,1\n".encode("latin-1"), "not UTF-8 .byte 0xb5.*save it as UTF-8"),
        ("Metadata_Note,emb_0\na,1\n".encode("utf-16"), "not UTF-8 .byte 0xff"),
        (b"PAR1\x15\x04\x15", "is a Parquet file, not a table in text"),
        (b"PK\x03\x04\x14\0\x06\0", "is a zip archive or an Excel workbook, not a table in text"),
        (b"<!DOCTYPE html><title>404</title>\n", "is a page of HTML or XML"),
        (gzip.compress(b"emb_0\n1\n", mtime=0), "is a gzip file, not a table in text"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.TXT", "a.tsv"])
def test_what_is_no_utf8_text_is_called_what_it_is(tmp_path, data, message, name):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: .*{message}"):
        read_profiles(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv"])
def test_a_row_with_too_few_values_is_said(tmp_path, caplog, name):
    """What its last columns hold would be missing without a word."""
    table = wells()[[*wells().columns[6:], *wells().columns[:6]]]
    tab = "\t" if "tsv" in name else ","
    lines = table.to_csv(index=False, sep=tab).splitlines()
    whole, lines[30] = lines[30], tab.join(lines[30].split(tab)[:-2])
    write = gzip.compress if "gz" in name else bytes
    (tmp_path / name).write_bytes(write("\n".join([*lines, ""]).encode()))
    got = read_profiles(tmp_path / name)
    assert whole.count(tab) == 13 and got["Metadata_Target"][29] == ""
    assert f"{name}: line 31 has 12 values, 14 are named; the last ones count as" in caplog.text
    caplog.clear()
    lines[30] = whole
    (tmp_path / name).write_bytes(write("\n".join([*lines, ""]).encode()))
    read_profiles(tmp_path / name)
    assert not caplog.text


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("columns", [0, 2])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_cells_that_a_spreadsheet_leaves_are_nothing(tmp_path, rows, columns, end):
    lines = wells().to_csv(index=False).splitlines()
    lines += ["," * lines[0].count(",")] * rows
    text = end.join(line + "," * columns for line in lines) + end
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8-sig"))
    pd.testing.assert_frame_equal(read_profiles(tmp_path / "a.csv"), plain_read(tmp_path))


@pytest.mark.parametrize("how", ["text", "true and false", "nothing", "lists"])
def test_features_of_other_types_in_parquet(tmp_path, how):
    table = wells()
    other = {
        "text": table["emb_1"].map(repr),
        "true and false": table["emb_1"] > 0,
        "nothing": None,
        "lists": [[1.0, 2.0]] * len(table),
    }[how]
    path = saved(table.assign(emb_1=other), tmp_path / "a.parquet")
    if how == "lists":
        path = saved(table[table.columns[:6]].assign(embedding=other), path)
        with pytest.raises(InputError, match=r"a\.parquet: embedding holds lists; give each"):
            read_profiles(path)
        return
    got = read_profiles(path)
    assert len(feature_columns(got)) == 8 and got["emb_1"].dtype == float
    expected = table["emb_1"] if how == "text" else other
    if how == "nothing":
        with pytest.raises(InputError, match="feature emb_1 is NaN in all wells"):
            numbers(got)
    else:
        np.testing.assert_array_equal(got["emb_1"], expected)


@pytest.mark.parametrize("spelling", ["{}{}", "{}00{}", "{}-0{}", "{}:{}", "{} - {}", "{} 0{}"])
def test_wells_are_the_same_however_they_are_written(tmp_path, spelling):
    other = wells()["Metadata_Well"].map(lambda w: spelling.format(w[0], int(w[1:])))
    path = saved(wells().assign(Metadata_Well=other.str.lower()), tmp_path / "a.csv")
    assert read_profiles(path)["Metadata_Well"].tolist() == wells()["Metadata_Well"].tolist()


@pytest.mark.parametrize(
    ("row", "column"),
    [("Metadata_Row", "Metadata_Col"), ("Metadata_WellRow", "Metadata_WellColumn"),
     ("Image_Metadata_row", "Image_Metadata_column")],
)  # fmt: skip
@pytest.mark.parametrize("letters", [True, False])
@pytest.mark.parametrize("form", ["a.csv", "a.parquet"])
def test_wells_by_row_and_column(tmp_path, row, column, letters, form):
    well = wells()["Metadata_Well"]
    rows = well.str[0] if letters else well.str[0].map(ord) - 64
    table = wells().drop(columns="Metadata_Well")
    table = table.assign(**{row: rows, column: well.str[1:].astype(float)})
    got = read_profiles(saved(table, tmp_path / form))
    assert got["Metadata_Well"].tolist() == well.tolist()


@pytest.mark.parametrize(
    "note", [b"not JSON", b"[1]", b'{"features": 3}', b"\xff\xfe", b"[" * 99_999]
)
def test_what_others_noted_in_a_parquet_file_is_theirs(tmp_path, note):
    stored = pa.Table.from_pandas(wells(), preserve_index=False)
    pq.write_table(stored.replace_schema_metadata({b"cpssl": note}), tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_profiles(tmp_path / "a.parquet"), plain_read(tmp_path))


@pytest.mark.parametrize("words", [("trt", "vehicle"), (False, True), ("sample", "neg")])
def test_controls_that_nobody_recognised_are_said(tmp_path, caplog, words):
    table = wells().replace({"Metadata_Perturbation": {"DMSO": "water"}})
    is_control = table["Metadata_Perturbation"] == "water"
    table["Metadata_Control"] = is_control.map(dict(zip((False, True), words, strict=True)))
    got = read_profiles(saved(table, tmp_path / "a.parquet"))
    with caplog.at_level(logging.WARNING):
        assert evaluate(got)["n_perturbations"] == 7
    assert f"no well counts as a negative control; the column of controls holds '{words[1]}'" in (
        caplog.text
    )
    caplog.clear()
    assert (
        evaluate(assign_roles(got, control=f"Metadata_Control={words[1]}"))["n_perturbations"] == 6
        and "negative control" not in caplog.text
    )


@pytest.mark.parametrize("column", ["Metadata_Plate", "Metadata_Perturbation", "Metadata_Batch"])
@pytest.mark.parametrize("hole", [True, False])
def test_whole_numbers_that_pandas_wrote_as_floats(tmp_path, column, hole):
    """The same from a CSV and from Parquet, so that both can stand in one table."""
    table = wells()
    table[column] = table[column].factorize()[0] + 24277.0
    if hole and column == "Metadata_Perturbation":
        table.loc[3, column] = np.nan
    for name in ("a.csv", "a.parquet"):
        got = read_profiles(saved(table, tmp_path / name))[column]
        assert got[0] == "24277" and not got.str.contains(".", regex=False).any()
