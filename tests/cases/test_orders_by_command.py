"""Order, names and form of a table change nothing in METRICS.json, nor in normalised profiles.

What is compared is everything in METRICS.json. Paths, digests, dates and versions stand beside it,
in METRICS.provenance.json, and differ. In the convention ``released`` one group of numbers may
differ when rows are shuffled, see `BY_ROW`.
"""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.profiles.table import feature_columns, read_profiles
from tests.cases.tables import saved, wells
from tests.cases.test_containers import gct

PLACES = ["AreaShape_Area", "Intensity_MeanIntensity_DNA", "Texture_Entropy_ER_3_00"]
FAMILIES = {
    "emb_": [f"emb_{i:04d}" for i in range(9)],
    "authors": [f"emb{i}" for i in range(9)],
    "CellProfiler": [f"{part}_{p}" for part in ("Cells", "Nuclei", "Cytoplasm") for p in PLACES],
    "X_": [f"X_{i}" for i in range(1, 10)],
    "feature_": [f"feature_{i}" for i in range(9)],
    "DeepProfiler": [f"efficientnet_{i}" for i in range(9)],
}
CONVENTIONS = ("paper", "released")
EACH = [*((family, "paper") for family in FAMILIES), ("CellProfiler", "released")]
# The released code draws its groups of wells by row: other rows, other groups, another threshold.
BY_ROW = ("percent_replicating", "percent_replicating_chance", "percent_replicating_position")
NAMES = {
    "perturbation": "drug",
    "batch": "run",
    "plate": "Metadata_tray no",
    "well": "pos",
    "source": "Metadata_lab",
}


def screen(family="emb_", awkward=False, seed=0):
    """Wells that are found some of the time, by two laboratories, some unnamed or unlabelled.

    Awkward ones have what an order could decide: equal profiles, profiles of one direction,
    perturbations with two labels.
    """
    names, rng = FAMILIES[family], np.random.default_rng(seed)
    table = wells(perturbations=12, features=len(names), seed=seed, prefix="q")
    values = table.filter(regex="^q").to_numpy() + rng.normal(0, 12, (len(table), len(names)))
    table = table.filter(like="Metadata_")
    treated = np.flatnonzero(table["Metadata_Perturbation"] != "DMSO")
    table.loc[treated[20], "Metadata_Perturbation"] = "alone"
    table.loc[treated[21], "Metadata_Perturbation"] = "empty"
    table.loc[table["Metadata_Perturbation"].isin(["c4", "alone"]), "Metadata_Target"] = ""
    if awkward:
        values[treated[5:8]], values[treated[8]] = values[treated[40:43]], 2 * values[treated[9]]
        table.loc[treated[[3, 33]], "Metadata_Target"] = "t5"
    values[treated[30]] = np.nan
    table["Metadata_Source"] = np.where(np.arange(len(table)) % 2, "s1", "s2")
    known = {"DMSO": "negcon", "c2": "poscon"}
    table["Metadata_Control"] = table["Metadata_Perturbation"].map(known).fillna("trt")
    table["Metadata_note"] = [f"n {i}" for i in range(len(table))]
    if family == "CellProfiler":
        table["Image_Count_Cells"] = rng.integers(20, 90, len(table))
    return pd.concat([table, pd.DataFrame(values, columns=names)], axis=1)


def shuffled(table, what, seed):
    if what == "rows":
        return table.sample(frac=1, random_state=seed)
    return table[np.random.default_rng(seed).permutation(table.columns)]


@pytest.fixture
def metrics(cpssl, tmp_path):
    """METRICS.json of a table, as text, in the file's own words."""

    def run(path, convention="paper", *options):
        out = tmp_path / "metrics.json"
        words = ("--null", 500, "--convention", convention, *options)
        code, _, err = cpssl("evaluate", f"x={path}", "-o", out, *words)
        assert code == 0, err
        return out.read_text()

    return run


@pytest.fixture
def normalized(cpssl, tmp_path):
    def run(path, method, *options):
        out = tmp_path / f"normalized-{path.stem}.parquet"
        code, _, err = cpssl("normalize", path, "-o", out, "--method", method, *options)
        assert code == 0, err
        return out

    return run


def same(one, other, but=()):
    """The same numbers, undefined (null) ones too; to the last digits, which sums may change."""
    one, other = (json.loads(text.replace("null", "NaN"))["x"] for text in (one, other))
    assert list(one) == list(other) and len(one) > 60
    for metric in set(one) - set(but):
        assert one[metric] == pytest.approx(other[metric], abs=1e-12, nan_ok=True), metric


@pytest.mark.parametrize(
    ("family", "method"),
    [("emb_", method) for method in ("none", "standardize", "pca", "tvn")]
    + [(family, "sphere+mad_robustize") for family in FAMILIES],
)
def test_shuffled_tables(tmp_path, metrics, normalized, family, method):
    for convention in CONVENTIONS:
        table = screen(family, awkward=convention == "paper")
        expected = metrics(normalized(saved(table, tmp_path / "a.csv"), method), convention)
        hits = json.loads(expected)["x"]
        assert 0 < hits["perturbation_map"] < 1 and 0 < hits["label_recall5_nr"] < 1
        for what in ("rows", "columns"):
            mixed = saved(shuffled(table, what, seed=3), tmp_path / "b.csv")
            got = metrics(normalized(mixed, method), convention)
            by_row = convention == "released" and what == "rows"
            same(got, expected, BY_ROW if by_row else ())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_of_one_table_in_any_order_give_the_very_same_file(tmp_path, metrics, seed):
    table = screen(awkward=True)
    expected = metrics(saved(table, tmp_path / "a.parquet"))
    assert metrics(saved(shuffled(table, "rows", seed), tmp_path / "b.parquet")) == expected


def test_wells_that_no_plate_or_position_tells_apart(tmp_path, metrics):
    table = screen(awkward=True).drop(columns=["Metadata_Plate", "Metadata_Well", "Metadata_note"])
    table["Metadata_Target"] = table["Metadata_Target"].mask(table["Metadata_Target"] == "t5", "")
    options = ("paper", "--controls-of", "batch")
    expected = metrics(saved(table, tmp_path / "a.parquet"), *options)
    for seed in range(3):
        mixed = saved(shuffled(table, "rows", seed), tmp_path / "b.parquet")
        assert metrics(mixed, *options) == expected


@pytest.mark.parametrize(("family", "convention"), EACH)
def test_columns_under_other_names(tmp_path, metrics, normalized, family, convention):
    """In the raw table by options of normalize, in a normalised one by those of evaluate."""
    table = screen(family, awkward=True)
    expected = metrics(
        normalized(saved(table, tmp_path / "a.csv"), "mad_robustize"),
        *(convention, "--label", "Metadata_Target"),
    )
    renamed = table.rename(columns={f"Metadata_{role.title()}": n for role, n in NAMES.items()})
    renamed = renamed.rename(columns={"Metadata_Target": "moa"})
    renamed["Metadata_Control"] = renamed["Metadata_Control"].replace("negcon", "vehicle")
    renamed = renamed.rename(columns={"Metadata_Control": "kind"})
    options = [word for role, name in NAMES.items() for word in (f"--{role}", name)]
    options += ["--control", "kind=vehicle"]
    path = saved(renamed, tmp_path / "b.csv")
    known = normalized(path, "mad_robustize", *options)
    assert metrics(known, convention, "--label", "moa") == expected
    plain = metrics(saved(table, tmp_path / "c.csv"), convention, "--label", "Metadata_Target")
    assert metrics(path, convention, *options, "--label", "moa") == plain


@pytest.mark.parametrize(("family", "convention"), EACH)
def test_every_form_of_file(tmp_path, metrics, family, convention):
    anndata = pytest.importorskip("anndata")
    table = screen(family, awkward=True)
    table["Metadata_Plate"] = table["Metadata_Plate"].str.replace("b", "0")  # 001, 002
    forms = {name: tmp_path / name for name in ("a.csv", "b.csv.gz", "c.TSV", "d.gct.gz")}
    table.to_csv(forms["a.csv"], index=False)
    table.to_csv(forms["b.csv.gz"])
    table.to_csv(forms["c.TSV"], index=False, sep="\t")
    parquet = {name: tmp_path / f"{name}.parquet" for name in ("plain", "index", "keys")}
    table.to_parquet(parquet["plain"], index=False)
    table.set_index(np.arange(len(table)) * 3 + 1).to_parquet(parquet["index"])
    table.set_index(["Metadata_Plate", "Metadata_Well"]).to_parquet(parquet["keys"])
    head = table[[name for name in table if name not in FAMILIES[family]]]
    values = table[FAMILIES[family]]
    store = anndata.AnnData(
        X=values.to_numpy(),
        obs=head.set_axis(head.index.astype(str)),
        var=pd.DataFrame(index=values.columns),
    )
    store.write_h5ad(tmp_path / "e.h5ad")
    # GCT has no columns but metadata and features: what was counted in fields is not in it.
    fields = table.filter(regex="^Image_").columns
    forms["d.gct.gz"].write_bytes(gzip.compress(gct(table.drop(columns=fields)).encode()))
    if convention == "released" and len(fields):  # where it is counted
        del forms["d.gct.gz"]
    found = {p.name: metrics(p, convention) for p in (*forms.values(), *parquet.values())}
    found["e.h5ad"] = metrics(tmp_path / "e.h5ad", convention)
    assert {name for name, text in found.items() if text != found["a.csv"]} == set()
    assert json.loads(found["a.csv"])["x"]["n_wells"] == 94


@pytest.mark.parametrize(
    ("method", "exact"),
    [("mad_robustize", True), ("inverse_normal", True), ("sphere+mad_robustize", False),
     ("standardize", False), ("well_position", False), ("pca", False), ("tvn", False)],
)  # fmt: skip
@pytest.mark.parametrize("what", ["rows", "columns"])
def test_normalised_profiles_are_those_of_any_order(tmp_path, normalized, method, exact, what):
    table = screen("CellProfiler")
    expected, got = (
        read_profiles(normalized(saved(one, tmp_path / name), method))
        .sort_values(["Metadata_Plate", "Metadata_Well"])
        .reset_index(drop=True)
        for name, one in (("a.csv", table), ("b.csv", shuffled(table, what, seed=5)))
    )
    features = feature_columns(expected)
    assert set(got) == set(expected) and len(features) == 9
    head = [name for name in expected if name not in features]
    pd.testing.assert_frame_equal(got[head], expected[head])
    pd.testing.assert_frame_equal(
        got[features], expected[features], check_exact=exact, rtol=1e-9, atol=1e-9
    )
