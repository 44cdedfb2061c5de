"""Reading profile tables of all kinds, their roles, and what is wrong with bad ones."""

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.table import (
    assign_roles,
    feature_columns,
    find_column,
    profile_matrix,
    read_profiles,
    read_provenance,
    require,
    to_anndata,
    write_profiles,
)


def small(n=6):
    """A table as the package writes it."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "Metadata_Source": "s1",
            "Metadata_Batch": "b1",
            "Metadata_Plate": "P1",
            "Metadata_Well": [f"A{i + 1:02d}" for i in range(n)],
            "Metadata_Perturbation": ["DMSO", "DMSO", *(f"c{i}" for i in range(n - 2))],
            "Metadata_Control": ["negcon", "negcon", *[""] * (n - 2)],
            "Metadata_Target": ["", "", *(f"t{i // 2}" for i in range(n - 2))],
            "emb_0000": rng.standard_normal(n),
            "emb_0001": rng.standard_normal(n),
        }
    )


def saved(tmp_path, table, name="profiles.parquet"):
    path = tmp_path / name
    table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)
    return path


def test_round_trip_with_provenance(tmp_path):
    table, path = small(), tmp_path / "new" / "out.parquet"
    write_profiles(table, path, {"step": "extract", "seed": 3})
    pd.testing.assert_frame_equal(read_profiles(path), table)
    assert read_provenance(path) == {"step": "extract", "seed": 3}
    assert read_provenance(saved(tmp_path, table, "plain.csv")) == {}
    assert read_provenance(saved(tmp_path, table, "plain.parquet")) == {}


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.parquet"])
def test_formats_keep_text_as_text(tmp_path, name):
    table = small().assign(Metadata_Plate="0012", Metadata_Perturbation="NA")
    path = tmp_path / name
    if name.endswith("tsv"):
        table.to_csv(path, index=False, sep="\t")
    else:
        path = tmp_path / name
        table.to_parquet(path) if "parquet" in name else table.to_csv(path, index=False)
    got = read_profiles(path)
    assert set(got["Metadata_Plate"]) == {"0012"}
    np.testing.assert_allclose(got[feature_columns(got)], table[["emb_0000", "emb_0001"]])


def test_authors_table(parity):
    got = read_profiles(parity / "eval/compound/DINO/well_features.csv")
    assert feature_columns(got) == [f"emb{i}" for i in range(64)]
    assert "Unnamed: 0" not in got and got.shape == (2304, 71)
    assert (got["Metadata_Control"] == "negcon").sum() == 384
    assert got["Metadata_Target"][got["Metadata_Control"] == "negcon"].eq("").all()


def test_cellprofiler_table_counts_neither_image_nor_metadata_columns(parity):
    got = read_profiles(parity / "eval/orf/CellProfiler/well_features.csv")
    features = feature_columns(got)
    assert len(features) == 36 and {f.split("_")[0] for f in features} == {
        "Cells",
        "Nuclei",
        "Cytoplasm",
    }
    assert "Image_F0" in got and "Image_F0" not in features
    assert "Cells_Metadata_Site" not in features
    assert got["Metadata_Control"].value_counts().to_dict() == {
        "": 490,
        "negcon": 280,
        "poscon": 40,
    }


def test_real_cellprofiler_tables(real):
    files = sorted((real / "profiles/cpjump1").glob("BR*.csv.gz"))
    got = read_profiles(files)
    assert got.shape[0] == 5 * 384 and len(feature_columns(got)) == 904
    controls = got[got["Metadata_Control"] == "negcon"]
    assert len(controls) == 5 * 64 and set(controls["Metadata_Perturbation"]) == {"DMSO"}
    assert find_column(got, "gene") == "Metadata_Gene"
    assert find_column(got, "Metadata_broad_sample") == "Metadata_Perturbation"
    assert set(assign_roles(got, batch="Metadata_Plate")["Metadata_Batch"]) == set(
        got["Metadata_Plate"]
    )


def test_real_learned_tables(real):
    got = read_profiles(sorted((real / "profiles/cytosummarynet_cpjump1").glob("*.csv")))
    assert feature_columns(got) == [f"f{i}" for i in range(128)] and len(got) == 960


def test_nameless_controls_get_a_name(tmp_path):
    table = small()
    table.loc[:1, "Metadata_Perturbation"] = ""
    assert set(read_profiles(saved(tmp_path, table))["Metadata_Perturbation"][:2]) == {"negcon"}


def test_several_tables_are_one(tmp_path):
    one, two = small(), small().assign(Metadata_Plate="P2").drop(columns="Metadata_Target")
    got = read_profiles([saved(tmp_path, one, "1.parquet"), saved(tmp_path, two, "2.csv")])
    assert len(got) == 12 and got["Metadata_Target"].tolist()[6:] == [""] * 6
    three = two.rename(columns={"emb_0001": "emb_0002"})
    with pytest.raises(InputError, match=r"3\.csv.*2 features in one of them only.*emb_0001"):
        read_profiles([tmp_path / "1.parquet", saved(tmp_path, three, "3.csv")])
    with pytest.raises(InputError, match="P1/A01 is there more than once"):
        read_profiles([tmp_path / "1.parquet", tmp_path / "1.parquet"])
    with pytest.raises(InputError, match="no profile table was given"):
        read_profiles([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["emb_0000", "emb_0001"]), "no features found"),
        (lambda t: t.iloc[:0], "has no rows"),
        (
            lambda t: t.assign(emb_0001=["1", "2", "x", "4", "5", "6"]),
            "emb_0001 is not numeric.*'x'",
        ),
        (lambda t: t.assign(Metadata_Well="A01"), "P1/A01 is there more than once"),
    ],
)
@pytest.mark.parametrize("name", ["bad.csv", "bad.parquet"])
def test_bad_tables_say_what_is_wrong(tmp_path, change, message, name):
    with pytest.raises(InputError, match=message) as error:
        read_profiles(saved(tmp_path, change(small()), name))
    assert "bad." in str(error.value) and "\n" not in str(error.value)


def test_features_with_other_names_and_other_separators_are_shown(tmp_path):
    table = small().rename(columns={"emb_0000": "feat_a", "emb_0001": "feat_b"})
    with pytest.raises(InputError, match=r"got 'feat_a', 'feat_b'; rename yours"):
        read_profiles(saved(tmp_path, table, "own.csv"))
    small().to_csv(tmp_path / "semicolons.csv", sep=";", index=False)
    with pytest.raises(InputError, match=r"'Metadata_Source;.*put commas between") as error:
        read_profiles(tmp_path / "semicolons.csv")
    assert len(str(error.value)) < len(str(tmp_path)) + 300


def test_columns_without_prefix_are_known_or_named(tmp_path):
    bare = small().rename(columns=lambda name: name.removeprefix("Metadata_"))
    table = read_profiles(saved(tmp_path, bare.rename(columns={"Batch": "Run"}), "bare.csv"))
    assert table["Metadata_Plate"].tolist() == small()["Metadata_Plate"].tolist()
    with pytest.raises(InputError, match=r"no column Metadata_Batch.*the table has .*\bRun\b"):
        require(table, "Metadata_Batch")


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="no such profile table"):
        read_profiles(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_profiles(tmp_path)
    with pytest.raises(InputError, match="no such profile table"):
        read_provenance(tmp_path / "none.parquet")
    for name, content in {
        "cut.parquet": b"PAR1 and no more",
        "zero.csv": b"",
        "not.csv.gz": b"plain text",
        "image.tiff": b"II*",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_profiles(tmp_path / name)


def test_writing_where_or_what_is_impossible(tmp_path):
    with pytest.raises(InputError, match=r"written as \.parquet"):
        write_profiles(small(), tmp_path / "out.csv", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_profiles(small(), tmp_path / "file" / "out.parquet", {})


def test_roles_accept_original_and_canonical_names():
    table = small().rename(columns={"Metadata_Batch": "Metadata_Run"})
    table["Metadata_GeneGroup"] = "g"
    got = assign_roles(table, batch="Metadata_Run", label="gene_group", control="target=t0")
    assert got["Metadata_Batch"].tolist() == ["b1"] * 6
    assert got["Metadata_Control"].tolist() == ["", "", "negcon", "negcon", "", ""]
    assert feature_columns(got) == feature_columns(table)
    kinds = table.assign(Metadata_Kind=["negcon"] * 3 + [""] * 3)
    assert (assign_roles(kinds, control="Metadata_Kind")["Metadata_Control"] == "negcon").sum() == 3


def test_roles_that_do_not_fit():
    with pytest.raises(InputError, match=r"no column 'moa'; the table has Metadata_Source, "):
        assign_roles(small(), label="moa")
    with pytest.raises(InputError, match=r"no well has it.*'DMSO', 'c0'"):
        assign_roles(small(), control="Metadata_Perturbation=water")
    with pytest.raises(InputError, match=r"no well is negcon \(use COLUMN=VALUE\).*'DMSO'"):
        assign_roles(small(), control="Metadata_Perturbation")
    with pytest.raises(InputError, match=r"DMSO: no column 'DMSO'.*a value is COLUMN=VALUE"):
        assign_roles(small(), control="DMSO")
    with pytest.raises(InputError, match="b1/A01"):  # all wells on one plate of that name
        both = pd.concat([small(), small().assign(Metadata_Plate="P2")])
        assign_roles(both, plate="Metadata_Batch")


def test_missing_values(caplog):
    table = small()
    table.loc[2, ["emb_0000", "emb_0001"]] = np.nan
    with caplog.at_level(logging.WARNING):
        head, values = profile_matrix(table)
    assert "1 of 6 wells left out, without values (first: P1/A03)" in caplog.text
    assert values.shape == (5, 2) and "A03" not in set(head["Metadata_Well"])
    cases = {
        "P1/A04: feature emb_0001 is NaN": lambda t: t.loc.__setitem__((3, "emb_0001"), np.nan),
        "P1/A02: feature emb_0000 is inf": lambda t: t.loc.__setitem__((1, "emb_0000"), np.inf),
        "emb_0001 is NaN in all wells": lambda t: t.__setitem__("emb_0001", np.nan),
        "all features of all wells are NaN": lambda t: t.__setitem__(feature_columns(t), np.nan),
    }
    for message, spoil in cases.items():
        table = small()
        spoil(table)
        with pytest.raises(InputError, match=message):
            profile_matrix(table)


def test_anndata(tmp_path):
    anndata = pytest.importorskip("anndata")
    data = to_anndata(small(), {"seed": 1})
    data.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert back.shape == (6, 2) and back.uns["provenance"] == '{"seed": 1}'
    assert back.obs["Metadata_Well"].tolist() == small()["Metadata_Well"].tolist()
    np.testing.assert_allclose(back.X, small()[["emb_0000", "emb_0001"]], rtol=1e-6)
    again = read_profiles(tmp_path / "a.h5ad")
    features = feature_columns(small())
    pd.testing.assert_frame_equal(again.drop(columns=features), small().drop(columns=features))
    np.testing.assert_allclose(again[features], small()[features], rtol=1e-6)
    (tmp_path / "a.h5ad").write_text("no")
    with pytest.raises(InputError, match=r"a\.h5ad: is no HDF5 file, not AnnData"):
        read_profiles(tmp_path / "a.h5ad")


def test_importing_stays_light():
    code = "import sys, cpssl_lite.profiles.table; "
    code += "print(*(name in sys.modules for name in ('torch', 'anndata')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_stored_index_is_metadata(tmp_path):
    path = tmp_path / "indexed.parquet"
    small().set_index(["Metadata_Plate", "Metadata_Well"]).to_parquet(path)
    assert read_profiles(path)["Metadata_Well"].tolist() == small()["Metadata_Well"].tolist()
    pd.testing.assert_frame_equal(
        read_profiles(saved(tmp_path, small().sample(frac=1, random_state=0).sort_index())), small()
    )


def test_shifted_and_doubled_columns_are_refused(tmp_path):
    lines = saved(tmp_path, small(), "a.csv").read_text().splitlines()
    path = tmp_path / "b.csv"
    path.write_text("\n".join([lines[0], *(f"{line},7" for line in lines[1:])]))
    with pytest.raises(InputError, match=r"b\.csv: rows have more values than the header"):
        read_profiles(path)
    path.write_text("\n".join([lines[0].replace("emb_0001", "emb_0000"), *lines[1:]]))
    with pytest.raises(InputError, match=r"b\.csv: column emb_0000 is there more than once"):
        read_profiles(path)


def test_controls_are_known_under_a_new_perturbation_column(tmp_path):
    table = small().drop(columns="Metadata_Control")
    table = table.rename(columns={"Metadata_Perturbation": "drug", "Metadata_Batch": "run"})
    table["moa"] = [None, None, "x", "x", "y", "y"]
    for name in ("a.csv", "a.parquet"):
        wells = read_profiles(saved(tmp_path, table.assign(run=7), name))
        got = assign_roles(wells, perturbation="drug", batch="run", label="moa")
        assert got["Metadata_Control"].tolist() == ["negcon"] * 2 + [""] * 4
        assert got["Metadata_Batch"].tolist() == ["7"] * 6
        assert got["moa"].tolist() == ["", "", "x", "x", "y", "y"]


def test_a_well_without_a_batch_is_named():
    table = small().assign(Metadata_Batch=["b1", "", "b1", "b2", "b2", "b2"])
    with pytest.raises(InputError, match=r"P1/A02: Metadata_Batch is empty \(1 such well\)"):
        require(table, "Metadata_Batch")


def test_values_whose_squares_overflow_are_refused():
    with pytest.raises(InputError, match="A03: feature emb_0001 is infinite or beyond 1e"):
        table = small()
        table.loc[2, "emb_0001"] = 1e200
        profile_matrix(table)
