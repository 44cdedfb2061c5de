"""Intervals are about the values that `evaluate` gives."""

import numpy as np
import pytest

from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.intervals import SCORES, scores_with_intervals
from tests.cases.tables import wells


def noisy(**options):
    table = wells(perturbations=12, **options)
    features = [name for name in table if name.startswith("emb_")]
    noise = np.random.default_rng(1).normal(0, 14, (len(table), len(features)))
    table[features] += noise
    return table


@pytest.mark.parametrize("uneven", [False, True])
def test_values_are_those_of_evaluate(uneven):
    table = noisy()
    table["Metadata_Control"] = np.where(table["Metadata_Perturbation"] == "DMSO", "negcon", "")
    if uneven:  # replicates lost, labels missing
        table = table.drop(index=[9, 10, 11, 30]).reset_index(drop=True)
        table.loc[table["Metadata_Perturbation"].isin(["c0", "c5"]), "Metadata_Target"] = ""
    expected, found = evaluate(table), scores_with_intervals(table)
    for score in SCORES:
        value, low, high = found[score]
        assert value == pytest.approx(expected[score], abs=1e-12)
        assert 0 <= low < value < high < 1


def test_what_is_undefined_is_nan():
    table = noisy().assign(Metadata_Batch="b", Metadata_Target="")
    assert all(np.isnan(found).all() for found in scores_with_intervals(table).values())
