"""The same table in another order, under other names, in another form: the same metrics."""

import json

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.metrics.replicates import percent_replicating, replicating_by_chance
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.table import assign_roles, read_profiles
from tests.cases.tables import close, saved, wells

METHOD = "sphere+mad_robustize"


def hard_wells(**options):
    """Wells whose metrics are neither 0 nor 1, and a column that counts nothing."""
    table = wells(perturbations=12, **options)
    features = [name for name in table if not name.startswith("Metadata_")]
    noise = np.random.default_rng(1).normal(0, 12, (len(table), len(features)))
    return table.assign(**dict(zip(features, (table[features] + noise).to_numpy().T, strict=True)))


def numbers(path, features=None, **roles):
    table = assign_roles(read_profiles(path, features), **roles)
    return evaluate(normalize(table, METHOD), label="Metadata_Target")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("prefix", ["emb_", "Cells_AreaShape_", "X_", "own"])
def test_shuffled_rows_and_columns(tmp_path, seed, prefix):
    table = hard_wells(prefix=prefix)
    features = "own" if prefix == "own" else None
    expected = numbers(saved(table, tmp_path / "a.csv"), features)
    rng = np.random.default_rng(seed)
    mixed = table.sample(frac=1, random_state=seed)[rng.permutation(table.columns)]
    close(numbers(saved(mixed, tmp_path / "b.parquet"), features), expected)
    assert 0 < expected["perturbation_map"] < 1 and 0 < expected["percent_replicating"] < 1


@pytest.mark.parametrize(
    "names",
    [
        {"Perturbation": "drug", "Batch": "run", "Plate": "Barcode", "Well": "pos"},
        {"Perturbation": "Metadata_cpd name", "Plate": "Metadata_Assay_Plate_Barcode"},
        {"Batch": "Metadata_Experiment", "Source": "Metadata_lab", "Well": "Metadata_well_id"},
    ],
)
@pytest.mark.parametrize("form", ["a.csv", "a.parquet"])
def test_metadata_under_other_names(tmp_path, names, form):
    table = hard_wells()
    expected = numbers(saved(table, tmp_path / "plain.csv"))
    table = table.rename(columns={f"Metadata_{role}": name for role, name in names.items()})
    roles = {role.lower(): name for role, name in names.items()}
    close(numbers(saved(table, tmp_path / form), **roles), expected)


def test_every_form_of_file_gives_the_same_numbers(tmp_path, cpssl):
    anndata = pytest.importorskip("anndata")
    table = hard_wells()
    table["Metadata_Plate"] = table["Metadata_Plate"].str.replace("b", "0")  # 001, 002
    table.loc[:3, "Metadata_Target"] = "NA"
    path = {name: tmp_path / f"{name}.x" for name in ("csv", "gz", "tsv", "plain", "index", "keys")}
    path = {name: p.with_suffix(".parquet") for name, p in path.items()}
    path |= {"csv": tmp_path / "a.csv", "gz": tmp_path / "b.csv.gz", "tsv": tmp_path / "c.TSV"}
    table.to_csv(path["csv"], index=False)
    table.to_csv(path["gz"])
    table.to_csv(path["tsv"], index=False, sep="\t")
    table.to_parquet(path["plain"], index=False)
    table.sample(frac=1, random_state=0).sort_index().to_parquet(path["index"])
    table.set_index(["Metadata_Plate", "Metadata_Well"]).to_parquet(path["keys"])
    path["h5ad"] = tmp_path / "d.h5ad"
    head = table.filter(like="Metadata_")
    values = table.drop(columns=head.columns)
    anndata.AnnData(
        X=values.to_numpy(),
        obs=head.set_axis(head.index.astype(str)),
        var=pd.DataFrame(index=values.columns),
    ).write_h5ad(path["h5ad"])
    found = {}
    for name, file in path.items():
        out = tmp_path / f"{name}.json"
        code, _, err = cpssl("evaluate", f"x={file}", "-o", out, "--label", "Metadata_Target")
        assert code == 0, err
        found[name] = out.read_bytes()
    assert len(set(found.values())) == 1
    assert json.loads(found["csv"])["x"]["n_wells"] == 96


@pytest.mark.parametrize("replicates", [3, 5, 9])
def test_chance_level_of_percent_replicating(replicates):
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(400), replicates)
    noise = rng.normal(size=(len(names), 30))
    found = percent_replicating(noise, names)
    chance = replicating_by_chance(noise, names, found.threshold)
    assert chance == pytest.approx(found.share, abs=0.08)
    assert {3: 0.3, 5: 0.2, 9: 0.03}[replicates] < chance < {3: 0.5, 5: 0.3, 9: 0.2}[replicates]
    alike = rng.normal(size=(400, 30))[names] + 0.1 * noise
    found = percent_replicating(alike, names)
    assert found.share == 1
    assert replicating_by_chance(alike, names, found.threshold) < 0.5
    assert np.isnan(replicating_by_chance(noise, names, np.nan))
