"""Tables in the containers of other communities, in and out."""

import gzip
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.table import feature_columns, read_profiles, read_provenance
from tests.cases.tables import close, saved, wells


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return saved(wells(), tmp_path_factory.mktemp("plain") / "x.csv")


def gct(table, version="#1.3", left=1, prefix=""):
    """A GCT file as pycytominer and cmapPy write it."""
    head = [name for name in table if name.startswith("Metadata_")]
    values = [name for name in table if name not in head]
    lines = [[version], [len(values), len(table), left, len(head)][: 4 if version == "#1.3" else 2]]
    blank = ["" if i else "cp_feature_name" for i in range(left)]
    lines.append(["id", *blank, *(f"SAMPLE_{i}" for i in range(len(table)))])
    if version == "#1.3":
        lines += [[n.removeprefix("Metadata_"), *[""] * left, *table[n]] for n in head]
    lines += [[prefix + n, *[n] * left, *table[n].map(repr)] for n in values]
    return "\n".join("\t".join(map(str, line)) for line in lines) + "\n"


@pytest.mark.parametrize("name", ["a.gct", "a.GCT", "a.gct.gz"])
@pytest.mark.parametrize("prefix", ["", "probe_"])
def test_gct(tmp_path, plain, name, prefix):
    text, path = gct(wells(), prefix=prefix, left=2 if prefix else 1), tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    got = read_profiles(path)
    assert feature_columns(got) == [f"{prefix}emb_{i}" for i in range(8)]
    close(evaluate(got), evaluate(read_profiles(plain)))


def test_gct_of_pycytominer(tmp_path, plain):
    write_gct = pytest.importorskip("pycytominer.cyto_utils").write_gct
    table = wells(prefix="Cells_AreaShape_")
    write_gct(table, str(tmp_path / "a.gct"))
    close(evaluate(read_profiles(tmp_path / "a.gct")), evaluate(read_profiles(plain)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("#1.3", "#1.4"), "begins with #1.2 or #1.3, got '#1.4'"),
        (lambda t: t.replace("8\t64", "8\tmany"), "second line of a GCT file is its sizes"),
        (lambda t: t.replace("8\t64", "9\t64"), "64 columns and 9 rows of values are announced"),
        (lambda t: t.rsplit("\n", 3)[0], "cut off or damaged"),
        (lambda t: t.rsplit("\t", 2)[0] + "\n", r"line 17 has 64 values, not 66"),
        (lambda t: t.replace("emb_3", "emb_4"), "column emb_4 is there more than once"),
        (lambda t: t.rsplit("\t", 1)[0] + "\twide\n", r"feature emb_7 is not numeric \('wide'"),
        (lambda t: "", "begins with #1.2 or #1.3, got ''"),
    ],
)
def test_damaged_gct(tmp_path, change, message):
    (tmp_path / "a.gct").write_text(change(gct(wells())))
    with pytest.raises(InputError, match=message) as caught:
        read_profiles(tmp_path / "a.gct")
    assert "a.gct" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["mad_robustize", "none"])
def test_anndata_out_says_what_parquet_says(tmp_path, cpssl, plain, method):
    pytest.importorskip("anndata")
    table = wells().assign(Image_Count=np.arange(64.0), note="x")
    path, found = saved(table, tmp_path / "a.csv"), []
    for name in ("n.parquet", "n.h5ad"):
        code, _, err = cpssl("normalize", path, "-o", tmp_path / name, "--method", method)
        assert code == 0, err
        out = tmp_path / f"{name}.json"
        assert cpssl("evaluate", f"x={tmp_path / name}", "-o", out, "--null", 50)[0] == 0
        found.append((out.read_text(), read_provenance(tmp_path / name)))
    (numbers, made), (other, again) = found
    assert numbers == other and made.keys() == again.keys() and again["method"] == method
    both = [read_profiles(tmp_path / name) for name in ("n.parquet", "n.h5ad")]
    assert set(both[0]) - {"note"} <= set(both[1]) and "Metadata_note" in both[1]


@pytest.mark.parametrize(
    ("name", "value"), [("_index", "x"), ("Metadata_note", "a\0b")], ids=["name", "text"]
)
def test_what_anndata_cannot_hold_is_one_line(tmp_path, cpssl, name, value):
    pytest.importorskip("anndata")
    path, out = tmp_path / "a.parquet", tmp_path / "n.h5ad"
    wells().assign(**{name: value}).to_parquet(path)
    code, _, said = cpssl("normalize", path, "-o", out, "--method", "none")
    assert code == 2 and said.startswith(f"cpssl: {out}: AnnData does not hold this table (")
    assert said.count("\n") == 1 and list(tmp_path.iterdir()) == [path]


def test_rows_of_an_earlier_run_do_not_hide_those_of_this_one(tmp_path, cpssl):
    """A column `activity_ap` of the table stayed in the place of what was asked for."""
    anndata = pytest.importorskip("anndata")
    found = []
    for more in ({}, {"activity_ap": "old", "active": 7}):
        path = saved(wells().assign(**more), tmp_path / "a.csv")
        words = ("evaluate", path, "-o", tmp_path / "r.h5ad", "--null", 50, "--per", "perturbation")
        assert cpssl(*words)[0] == 0
        found.append(anndata.read_h5ad(tmp_path / "r.h5ad").obs)
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"", "empty"), (b"Metadata_Well,emb_0\n", "no HDF5 file"), (b"PAR1\x15", "a Parquet file")],
)
def test_what_is_no_anndata_is_called_what_it_is(tmp_path, data, what):
    pytest.importorskip("anndata")
    (tmp_path / "a.h5ad").write_bytes(data)
    with pytest.raises(InputError, match=rf"a\.h5ad: is {what}, not AnnData"):
        read_profiles(tmp_path / "a.h5ad")


@pytest.mark.parametrize("kept", ["obsm", "layers"])
def test_features_that_are_not_in_x(tmp_path, kept):
    anndata = pytest.importorskip("anndata")
    table = wells()
    values = table[feature_columns(table)].to_numpy(float)
    head = table.filter(like="Metadata_").set_axis(table.index.astype(str))
    shape = {"shape": values.shape} if kept == "layers" else {}
    data = anndata.AnnData(obs=head, **shape)
    getattr(data, kept)["dino"] = values
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=r"a\.h5ad: has no X.*dino"):
        read_profiles(tmp_path / "a.h5ad")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_stores_of_anndata_and_spatialdata(tmp_path, cpssl, plain, version):
    anndata = pytest.importorskip("anndata")
    zarr = pytest.importorskip("zarr", minversion="3")
    table = wells()
    head = table.filter(like="Metadata_").set_axis(table.index.astype(str))
    values = table.drop(columns=head.columns)
    data = anndata.AnnData(values.to_numpy(), head, pd.DataFrame(index=values.columns))
    for place in ("a.zarr", "s.zarr/tables/wells"):
        with zarr.config.set(default_zarr_format=version):
            data.write_zarr(tmp_path / place)
    found = []
    for name in ("a.zarr", "s.zarr", "s.zarr/tables/wells"):
        out = tmp_path / "m.json"
        code, _, err = cpssl("evaluate", f"x={tmp_path / name}", "-o", out, "--null", 50)
        assert code == 0, err
        found.append(out.read_text())
    assert cpssl("evaluate", f"x={plain}", "-o", out, "--null", 50)[0] == 0
    assert set(found) == {out.read_text()}
    assert json.loads(found[0])["x"]["n_wells"] == 48
    data.obs_names = ["same"] * len(table)
    data.write_h5ad(tmp_path / "h.h5ad")
    with warnings.catch_warnings():  # that these names repeat is nobody's business
        warnings.simplefilter("error")
        read_profiles(tmp_path / "h.h5ad")
    data.write_zarr(tmp_path / "s.zarr/tables/cells")
    with pytest.raises(InputError, match=r"several tables \(cells, wells\); name one"):
        read_profiles(tmp_path / "s.zarr")


@pytest.mark.parametrize("name", ["a.zarr", "b.zarr/tables"])
def test_a_store_that_is_none(tmp_path, name):
    pytest.importorskip("anndata")
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"zarr.*: not a readable table"):
        read_profiles(tmp_path / name)
