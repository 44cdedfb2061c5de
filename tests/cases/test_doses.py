"""Doses and times: said where they count as one, told apart where asked for."""

import logging

import numpy as np
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.table import assign_roles, read_profiles
from tests.cases.tables import saved, wells


@pytest.mark.parametrize(
    ("column", "role"),
    [
        ("Metadata_Dose", "dose"),
        ("Metadata_mmoles_per_liter", "dose"),
        ("Metadata_concentration", "dose"),
        ("Metadata_Time", "time"),
    ],
)
@pytest.mark.parametrize("form", ["a.csv", "a.parquet"])
def test_doses_are_said_and_can_be_told_apart(tmp_path, caplog, column, role, form):
    table = wells(perturbations=4, replicates=6)
    table[column] = np.tile([0.5, 1.0, 10.0], len(table))[: len(table)]
    got = read_profiles(saved(table, tmp_path / form))
    with caplog.at_level(logging.WARNING):
        assert evaluate(got)["n_perturbations"] == 4
    assert (
        f"{column}: 4 perturbations with several values (c0: 3), which count as one" in caplog.text
    )
    caplog.clear()
    apart = assign_roles(got, **{role: column})
    with caplog.at_level(logging.WARNING):
        assert evaluate(apart)["n_perturbations"] == 12
    assert "several values" not in caplog.text
    assert (apart["Metadata_Control"] == "negcon").sum() == 16
    assert set(apart["Metadata_Perturbation"][apart["Metadata_Control"] == "negcon"]) == {"DMSO"}
    with pytest.raises(InputError, match="no column 'Dosis'"):
        assign_roles(got, **{role: "Dosis"})
