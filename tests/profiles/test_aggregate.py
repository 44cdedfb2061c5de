"""Batch, source and consensus profiles."""

import logging

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.aggregate import aggregate, group_means, groups_with
from cpssl_lite.profiles.table import feature_columns, profile_matrix, read_profiles


@pytest.mark.parametrize("name", ["compound/DINO", "edge/DINO", "orf/CellProfiler"])
@pytest.mark.parametrize(
    ("by", "file"), [("batch", "batch_aggregated"), ("consensus", "consensus")]
)
def test_equals_the_reference(parity, name, by, file):
    folder = parity / "eval" / name
    table = read_profiles(folder / "well_features.csv")
    got = aggregate(table[table["Metadata_Control"] != "negcon"], by)
    expected = pd.read_csv(folder / f"expected_{file}.csv")
    features = feature_columns(got)
    np.testing.assert_allclose(got[features], expected[features], rtol=0, atol=1e-12)
    for ours, theirs in {
        "Metadata_Batch": "batch",
        "Metadata_Plate": "plate",
        "Metadata_Well": "well",
        "Metadata_Perturbation": "perturbation_id",
    }.items():
        assert got[ours].tolist() == expected[theirs].tolist()


def table():
    return pd.DataFrame(
        {
            "Metadata_Source": ["s1", "s1", "s2", "s2", "s2"],
            "Metadata_Batch": ["b1", "b1", "b1", "b1", "b2"],
            "Metadata_Perturbation": ["x", "x", "x", "y", "x"],
            "Metadata_Well": ["A01", "A02", "A03", "A04", "A05"],
            "emb_0000": [1.0, 3.0, 5.0, 7.0, 9.0],
        }
    )


def test_levels():
    batch = aggregate(table(), "batch")  # b1 of s1 and b1 of s2 are two batches
    assert batch["emb_0000"].tolist() == [2.0, 5.0, 7.0, 9.0]
    assert batch["Metadata_Well"].tolist() == ["A01", "A03", "A04", "A05"]
    assert aggregate(table(), "source")["emb_0000"].tolist() == [2.0, 7.0, 7.0]
    assert aggregate(table())["emb_0000"].tolist() == [4.5, 7.0]
    shuffled = table().iloc[[4, 2, 0, 3, 1]]
    assert aggregate(shuffled, "batch")["emb_0000"].tolist() == batch["emb_0000"].tolist()


def test_wells_without_a_perturbation_are_left_out(caplog):
    odd = table()
    odd.loc[3, "Metadata_Perturbation"] = ""
    with caplog.at_level(logging.WARNING):
        assert aggregate(odd)["Metadata_Perturbation"].tolist() == ["x"]
    assert "1 well without a perturbation name" in caplog.text


def test_errors():
    with pytest.raises(InputError, match="by='plate' is not one of batch, source, consensus"):
        aggregate(table(), "plate")
    with pytest.raises(InputError, match="no column Metadata_Source"):
        aggregate(table().drop(columns="Metadata_Source"), "source")
    assert len(aggregate(table().drop(columns="Metadata_Source"), "batch")) == 3


def test_group_means_equal_pandas():
    rng = np.random.default_rng(0)
    values, codes = rng.standard_normal((50, 3)), rng.permutation(np.arange(50) % 7)
    expected = pd.DataFrame(values).groupby(codes).mean()
    np.testing.assert_allclose(group_means(values, codes), expected)


def test_an_empty_label_in_the_first_well_does_not_hide_the_others():
    wells = table().assign(Metadata_Target=["", "t", "t", "u", "t"], Image_Count=[1, 2, 3, 4, 5])
    got = aggregate(wells, "consensus").set_index("Metadata_Perturbation")
    assert got["Metadata_Target"].to_dict() == {"x": "t", "y": "u"}
    assert got["Metadata_Well"].to_dict() == {"x": "A01", "y": "A04"}


def test_a_perturbation_with_two_targets_is_told(caplog):
    odd = table().assign(Metadata_Target=["t1", "t2", "", "t3", "t1"])
    with caplog.at_level(logging.WARNING):
        got = aggregate(odd)
    assert got["Metadata_Target"].tolist() == ["t1", "t3"]
    assert "Metadata_Target: 1 perturbation with several (x: t1, t2)" in caplog.text
    caplog.clear()
    own = odd.rename(columns={"Metadata_Target": "Metadata_moa"})
    with caplog.at_level(logging.WARNING):
        groups_with("Metadata_moa", *profile_matrix(own), "consensus")
    assert "Metadata_moa: 1 perturbation with several (x: t1, t2)" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        aggregate(table().assign(Metadata_Target=["t1", "t1", "", "t3", "t1"]))
    assert not caplog.text
