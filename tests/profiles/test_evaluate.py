"""All metrics of a table, and two tables compared."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles import aggregate as aggregated
from cpssl_lite.profiles import evaluate as evaluated
from cpssl_lite.profiles.evaluate import average_precisions, compare, evaluate
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.table import assign_roles, feature_columns, profile_matrix, read_profiles

SETS = ["compound/CellProfiler", "compound/DINO", "compound/MAE", "edge/DINO"]
SETS += ["orf/CellProfiler", "orf/DINO"]


@pytest.mark.parametrize("name", SETS)
def test_released_convention_gives_the_reference_numbers(parity, name):
    got = evaluate(
        read_profiles(parity / "eval" / name / "well_features.csv"), convention="released"
    )
    expected = json.loads((parity / "eval/expected_summary.json").read_text())[name]
    group = "gene_group" if "orf" in name else "target"
    for metric, reference in {
        "perturbation_acc_nn": "pert_acc",
        "perturbation_acc_nsb": "pert_acc_NSB",
        "label_acc_nsp": f"{group}_acc_NSP",
        "label_acc_nsbp": f"{group}_acc_NSBP",
        "perturbation_map": "pert_batchagg_mAP",
        "label_map": "target_consensus_mAP",
        "replicate_correlation": "repl_corr",
        "percent_replicating": "percent_95_seed507_fresh",
    }.items():
        assert got[metric] == pytest.approx(expected[reference], abs=1e-9), metric


@pytest.mark.parametrize("name", ["none", "sphere", "sphere+mad_robustize", "standardize+sphere"])
def test_normalise_then_evaluate_gives_the_reference_numbers(parity, name):
    folder = parity / "postproc/chain"
    table = normalize(read_profiles(folder / "input_raw_f32.parquet"), name)
    got = evaluate(table, convention="released")
    key = "no_post_proc" if name == "none" else name.replace("sphere", "spherize").replace("+", "_")
    expected = pd.read_csv(folder / "well_metrics.csv", index_col="label").loc[key]
    for metric, reference in {
        "perturbation_acc_nn": "pert_acc",
        "perturbation_acc_nsb": "pert_acc_NSB",
        "label_acc_nsp": "target_acc_NSP",
        "label_acc_nsbp": "target_acc_NSBP",
    }.items():
        assert got[metric] == pytest.approx(expected[reference], abs=1e-9), metric
    # The reference normalises in float32. (Its percent replicating depends on the order of runs.)
    assert got["replicate_correlation"] == pytest.approx(expected["repl_corr"], abs=1e-6)
    for metric, file in {"perturbation_map": "pert", "label_map": "target"}.items():
        curves = pd.read_csv(folder / f"{file}_prec_recall_cor.csv", index_col="label")
        assert got[metric] == pytest.approx(curves.loc[key, "mAP"].iloc[0], abs=1e-6), metric


@pytest.mark.parametrize("name", ["compound/DINO", "edge/DINO"])
def test_paper_convention_follows_the_text(parity, name):
    got = evaluate(read_profiles(parity / "eval" / name / "well_features.csv"))
    expected = json.loads((parity / "eval/variants_not_authors.json").read_text())[name]
    for metric, variant in {
        "perturbation_acc_nsb": "pert NSB raw-cosine exclude whole batch",
        "label_acc_nsp": "tgt NSP raw-cosine true not-same-perturbation",
        "label_acc_nsbp": "tgt NSBP raw-cosine exclude whole batch or perturbation",
        "perturbation_map": "pert mAP batch-agg cosine 100 thresholds in [0,1]",
        "label_map": "target mAP consensus cosine 100 thresholds in [0,1]",
    }.items():
        assert got[metric] == pytest.approx(expected[variant], abs=1e-9), metric


def screen(noise, seed=0, batches=3):
    """32 compounds of 16 targets and 8 controls on a plate in each batch; two sources."""
    rng = np.random.default_rng(seed)
    target = np.random.default_rng(99).standard_normal((16, 20))
    parts = []
    for batch in range(batches):
        names = [f"c{i:02d}" for i in range(32)] + ["DMSO"] * 8
        values = np.vstack([np.repeat(target, 2, axis=0), np.zeros((8, 20))])
        values = values + noise * rng.standard_normal(values.shape)
        head = pd.DataFrame(
            {
                "Metadata_Source": f"s{batch % 2}",
                "Metadata_Batch": f"b{batch}",
                "Metadata_Plate": f"P{batch}",
                "Metadata_Well": [f"{'ABCDE'[i // 8]}{i % 8 + 1:02d}" for i in range(40)],
                "Metadata_Perturbation": names,
                "Metadata_Control": ["" if n != "DMSO" else "negcon" for n in names],
                "Metadata_Target": [f"t{i // 2}" if i < 32 else "" for i in range(40)],
            }
        )
        features = pd.DataFrame(values, columns=[f"emb_{i:04d}" for i in range(20)])
        parts.append(pd.concat([head, features], axis=1))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_noise_free_screen(convention):
    got = evaluate(screen(0.0), convention=convention)
    # Both compounds of a target look the same, so one of 6 profiles is the compound's own.
    assert got["label_map"] == 1.0 and got["label_acc_nsp"] == 1.0
    assert got["replicate_correlation"] == pytest.approx(1.0)
    assert got["percent_replicating"] == 1.0
    facts = ("n_wells", "n_features", "n_perturbations", "n_labels", "n_batches", "n_sources")
    assert [got[fact] for fact in facts] == [96, 20, 32, 16, 3, 2]


def test_little_noise_is_perfect_and_much_is_chance():
    table = screen(0.0)
    values = np.random.default_rng(5).standard_normal((33, 20))
    codes = np.unique(table["Metadata_Perturbation"], return_inverse=True)[1]
    distinct = table.assign(**dict(zip(feature_columns(table), values[codes].T, strict=True)))
    got = evaluate(distinct)
    assert got["perturbation_map"] == 1.0 and got["perturbation_acc_nsb"] == 1.0
    assert got["cross_source_map"] == 1.0
    noise = evaluate(screen(1e3))
    assert noise["perturbation_map"] < 0.15 and noise["label_map"] < 0.3


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_row_order_does_not_matter(convention):
    table = screen(1.0)
    one = evaluate(table, convention=convention)
    other = evaluate(table.sample(frac=1, random_state=3), convention=convention)
    for metric in one:
        # The released code draws its nulls by row.
        if convention == "paper" or not metric.startswith("percent_replicating"):
            assert one[metric] == pytest.approx(other[metric], abs=1e-12, nan_ok=True), metric


def test_one_batch_is_undefined_not_a_crash(caplog):
    with caplog.at_level(logging.WARNING):
        got = evaluate(screen(0.5, batches=1))
    assert "one batch only" in caplog.text
    assert np.isnan(got["perturbation_acc_nsb"]) and np.isnan(got["perturbation_map"])
    assert got["label_acc_nsp"] > 0 and "cross_source_map" not in got
    assert np.isnan(got["replicate_correlation"])


def test_labels_are_chosen_and_logged(caplog):
    table = screen(0.5)
    caplog.set_level(logging.INFO)
    assert evaluate(table)["n_labels"] == 16 and "labels: Metadata_Target" in caplog.text
    table["Metadata_GeneGroup"] = np.where(table["Metadata_Target"] < "t2", "g1", "g2")
    assert evaluate(table, "gene_group")["n_labels"] == 2
    bare = table.drop(columns=["Metadata_Target", "Metadata_GeneGroup"])
    got = evaluate(bare)
    assert np.isnan(got["label_map"]) and np.isnan(got["label_acc_nsbp"]) and got["n_labels"] == 0
    assert got["perturbation_map"] > 0


def test_a_label_that_no_well_has():
    """It advised an option --moa."""
    table = screen(1.0).assign(Metadata_moa="")
    with pytest.raises(InputError, match=r"^label moa: nothing in column Metadata_moa of the trea"):
        evaluate(table, "moa")


def test_wells_without_labels_or_names_or_values(caplog):
    table = screen(0.5)
    half = table.assign(Metadata_Target=table["Metadata_Target"].where(table.index % 40 < 20, ""))
    assert evaluate(half)["n_labels"] == 10
    part = table[table["Metadata_Control"].eq("negcon") | (table.index % 40 < 20)]
    assert evaluate(half)["label_map"] == pytest.approx(evaluate(part)["label_map"])
    table.loc[0, "Metadata_Perturbation"] = ""
    table.loc[1, feature_columns(table)] = np.nan
    with caplog.at_level(logging.WARNING):
        assert evaluate(table)["n_wells"] == 94
    assert (
        "1 well without a perturbation name" in caplog.text
        and "1 well without values" in caplog.text
    )


def test_positive_controls_stay():
    table = screen(0.5)
    table.loc[table["Metadata_Perturbation"] == "c00", "Metadata_Control"] = "poscon"
    assert evaluate(table)["n_perturbations"] == 32


def test_errors():
    table = screen(0.5)
    for bad, kwargs, message in [
        (table.drop(columns="Metadata_Batch"), {}, "no column Metadata_Batch.*--batch"),
        (table, {"label": "moa"}, "no column 'moa'"),
        (table, {"convention": "theirs"}, "'theirs' is not one of paper, released"),
        (table[table["Metadata_Control"] == "negcon"], {}, "0 wells without the negative controls"),
    ]:
        with pytest.raises(InputError, match=message):
            evaluate(bad, **kwargs)


def test_average_precisions_are_what_the_means_are_made_of():
    table = screen(1.0)
    each, whole = average_precisions(table), evaluate(table)
    assert each["perturbation_ap"].mean() == pytest.approx(whole["perturbation_map"])
    assert each["label_ap"].mean() == pytest.approx(whole["label_map"])
    assert each.index.tolist() == sorted(f"c{i:02d}" for i in range(32))


def test_compare_two_tables(caplog):
    good, bad = screen(0.5), screen(3.0, seed=1)
    got = compare(good, bad)
    assert got["label_map_low"] > 0 and got["label_map_p"] < 1e-3 and got["label_map_n"] == 32
    assert got["perturbation_map_difference"] == pytest.approx(
        evaluate(good)["perturbation_map"] - evaluate(bad)["perturbation_map"]
    )
    with caplog.at_level(logging.WARNING):
        fewer = compare(good, bad[bad["Metadata_Perturbation"] != "c00"])
    assert fewer["perturbation_map_n"] == 31 and "one of the two tables only" in caplog.text
    renamed = bad.assign(Metadata_Perturbation="other")
    with pytest.raises(InputError, match="no perturbation in common"):
        compare(good, renamed)


def test_real_profiles(real):
    files = sorted((real / "profiles/cpjump1").glob("BR0011701*.csv.gz"))
    table = assign_roles(read_profiles(files), batch="Metadata_Plate", label="gene")
    got = evaluate(table, label="gene")
    assert got["n_wells"] == 960 and got["n_labels"] == 160 and got["n_batches"] == 3
    # Replicates on other plates are found far more often than one time in 306.
    assert got["perturbation_acc_nsb"] > 0.2


def test_the_wells_become_an_array_once(monkeypatch):
    table, calls = screen(1.0), []

    def counted(wells):
        calls.append(len(wells))
        return profile_matrix(wells)

    for module in (aggregated, evaluated):
        monkeypatch.setattr(module, "profile_matrix", counted)
    assert evaluate(table)["n_sources"] == 2
    assert calls == [96]
