"""Activity, distinctiveness, consistency and the ladder of a table."""

import logging

import numpy as np
import pandas as pd
import pytest
from copairs.map import average_precision, mean_average_precision

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.evidence import evidence
from cpssl_lite.profiles.table import feature_columns, to_anndata

logging.getLogger("copairs").setLevel(logging.WARNING)


def screen(active=12, strength=2.0, seed=0, plates=4):
    """24 compounds of 12 targets on 4 plates in 2 batches of 2 sources; the first ones do act."""
    rng = np.random.default_rng(seed)
    target = np.repeat(rng.standard_normal((12, 24)), 2, axis=0)
    effect = (target + 0.5 * rng.standard_normal((24, 24))) * (np.arange(24) < active)[:, None]
    parts = []
    for plate in range(plates):
        values = np.vstack([strength * effect, np.zeros((16, 24))])
        head = pd.DataFrame(
            {
                "Metadata_Source": f"s{plate // 2}",
                "Metadata_Batch": f"b{plate // 2}",
                "Metadata_Plate": f"P{plate}",
                "Metadata_Well": [f"{'ABCDE'[i // 8]}{i % 8 + 1:02d}" for i in range(40)],
                "Metadata_Perturbation": [f"c{i:02d}" for i in range(24)] + ["DMSO"] * 16,
                "Metadata_Control": [""] * 24 + ["negcon"] * 16,
                "Metadata_Target": [f"t{i // 2:02d}" for i in range(24)] + [""] * 16,
            }
        )
        names = [f"emb_{i:04d}" for i in range(24)]
        features = pd.DataFrame(values + rng.standard_normal(values.shape), columns=names)
        parts.append(pd.concat([head, features], axis=1))
    return pd.concat(parts, ignore_index=True)


def test_numbers_and_rows_are_those_of_copairs(tmp_path):
    table = screen()
    numbers, rows = evidence(table)
    meta = table.filter(regex="^Metadata_").copy()
    control = meta["Metadata_Control"] == "negcon"
    meta["reference"] = np.where(control, meta.index, -1)
    values = table[feature_columns(table)].to_numpy()

    def theirs(meta, values, same, by, negative_same=(), negative_different=()):
        found = average_precision(
            meta,
            values,
            pos_sameby=same,
            pos_diffby=[],
            neg_sameby=list(negative_same),
            neg_diffby=list(negative_different) or same,
            progress_bar=False,
        )
        found = found[found["Metadata_Control"] != "negcon"]
        how = {"seed": 1, "progress_bar": False, "cache_dir": tmp_path}
        return mean_average_precision(found, [by], 100_000, 0.05, **how)

    key = "Metadata_Perturbation"
    pair = [key, "reference"]
    active = theirs(meta, values, pair, key, ["Metadata_Plate"], pair)
    treated = meta[~control].reset_index(drop=True)
    distinct = theirs(treated, values[~control], [key], key)
    for question, other, share in (
        ("activity", active, "percent_active"),
        ("distinctiveness", distinct, "percent_distinct"),
    ):
        for ours, name, within in (
            ("ap", "mean_average_precision", 1e-6),
            ("normalised_ap", "mean_normalized_average_precision", 1e-6),
            ("p", "p_value", 0.01),
        ):
            np.testing.assert_allclose(rows[f"{question}_{ours}"], other[name], atol=within)
        assert numbers[share] == other["below_corrected_p"].mean()
    assert 0.4 <= numbers["percent_active"] <= 0.6 and rows["active"][:12].sum() >= 10
    consensus = table[
        table["Metadata_Perturbation"].isin(rows["Metadata_Perturbation"][rows.active])
    ]
    means = consensus.groupby(key).agg(
        {"Metadata_Target": "first", "Metadata_Control": "first"}
        | dict.fromkeys(feature_columns(table), "mean")
    )
    means = means.reset_index()
    target = "Metadata_Target"
    consistent = theirs(
        means[[key, target, "Metadata_Control"]],
        means[feature_columns(table)].to_numpy(),
        [target],
        target,
    )
    assert numbers["consistency_map"] == pytest.approx(
        consistent["mean_average_precision"].mean(), abs=1e-6
    )
    assert numbers["consistency_map"] > 0.8


def test_consensus_is_of_all_wells_wherever_the_label_stands():
    """Wells without it were left out of the average, though not in `label_map`."""
    table = screen(active=24, strength=0.4)
    expected, _ = evidence(table, null=200, active_only=False)
    first = table["Metadata_Plate"] == "P0"
    gaps = table.assign(Metadata_Target=table["Metadata_Target"].where(first, ""))
    got, _ = evidence(gaps, null=200, active_only=False)
    for name in ("consistency_map", "consistency_normalised_map"):
        assert got[name] == pytest.approx(expected[name]) and 0 < expected[name] < 1, name


def test_rows_say_how_many_positives_and_what_has_no_value():
    table = screen()
    table = table[~((table["Metadata_Perturbation"] == "c23") & (table.index >= 40))]
    _, rows = evidence(table, null=200)
    assert rows["activity_positives"].tolist()[:23] == [3.0] * 23
    alone = rows.iloc[23]
    assert alone["Metadata_Perturbation"] == "c23" and np.isnan(alone["activity_p"])
    assert not alone["active"] and alone["Metadata_Target"] == "t11"
    assert rows.loc[~rows["active"], "consistency_ap"].isna().all()
    _, everyone = evidence(table, null=200, active_only=False)
    assert everyone["consistency_ap"].notna().sum() == 24


def test_the_ladder_equals_the_present_accuracies():
    table = screen(strength=0.5)
    numbers, _ = evidence(table, null=100)
    present = evaluate(table)
    for ours, theirs in {
        "perturbation_recall1_nr": "perturbation_acc_nn",
        "perturbation_recall1_nsb": "perturbation_acc_nsb",
        "label_recall1_nr": "label_acc_nsp",
        "label_recall1_nsb": "label_acc_nsbp",
    }.items():
        assert numbers[ours] == present[theirs], ours
    assert numbers["perturbation_recall1_nr"] <= numbers["perturbation_recall10_nr"]
    # Every compound stands at one position: nothing is left to find.
    assert numbers["perturbation_recall10_nsl"] == 0.0
    assert np.isnan(numbers["perturbation_well_map_nsl"])


def test_what_is_not_there_is_undefined(caplog):
    table = screen().drop(columns=["Metadata_Source", "Metadata_Target"])
    numbers, rows = evidence(table, null=100)
    assert np.isnan(numbers["perturbation_recall1_nss"]) and np.isnan(numbers["consistency_map"])
    assert np.isnan(numbers["label_recall1_nr"]) and "consistency_q" in rows
    with caplog.at_level(logging.WARNING):
        numbers, _ = evidence(table[table["Metadata_Control"] != "negcon"], null=100)
    assert "no negative controls" in caplog.text and np.isnan(numbers["percent_active"])
    assert np.isnan(numbers["activity_map"]) and numbers["percent_distinct"] > 0


def test_controls_of_a_batch_or_all_and_two_stage():
    table = screen(strength=1.0)
    shares = {of: evidence(table, controls_of=of)[0] for of in ("plate", "batch", "all")}
    assert len({numbers["activity_map"] for numbers in shares.values()}) == 3
    assert len({numbers["distinctiveness_map"] for numbers in shares.values()}) == 1
    for seed in range(3):
        table = screen(seed=seed, strength=0.8)
        one, other = (evidence(table, fdr=fdr)[0] for fdr in ("bh", "two-stage"))
        assert other["percent_active"] >= one["percent_active"]


def test_wrong_words():
    for bad, message in (
        ({"fdr": "holm"}, "'holm' is not one of bh, two-stage"),
        ({"controls_of": "well"}, "'well' is not one of plate, batch, all"),
        ({"null": 0}, "a null of 0"),
    ):
        with pytest.raises(InputError, match=message):
            evidence(screen(), **bad)


def test_rows_go_into_anndata():
    table = screen()
    _, rows = evidence(table, null=100)
    obs = to_anndata(table, evidence=rows).obs
    assert obs["activity_q"].notna().sum() == 96
    assert obs["activity_ap"].iloc[40] == rows["activity_ap"].iloc[0]
    assert obs["Metadata_Target"].tolist() == table["Metadata_Target"].tolist()
