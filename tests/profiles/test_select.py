"""Feature selection."""

import logging
from functools import partial

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.select import (
    drop_constant,
    drop_correlated,
    drop_features,
    drop_missing,
    drop_outliers,
    drop_rare,
    keep_features,
    read_feature_list,
    select_features,
)
from cpssl_lite.profiles.table import feature_columns


def table(d=5, n=200):
    values = np.random.default_rng(0).standard_normal((n, d))
    names = [f"Cells_{i}" for i in range(d)]
    head = pd.DataFrame({"Metadata_Well": np.arange(n).astype(str)})
    return pd.concat([head, pd.DataFrame(values, columns=names)], axis=1)


def test_lists(caplog):
    with caplog.at_level(logging.WARNING):
        got = keep_features(table(), ["Cells_3", "Cells_1", "Nuclei_9"])
    assert feature_columns(got) == ["Cells_1", "Cells_3"] and "Metadata_Well" in got
    assert "1 of 3 listed features" in caplog.text
    assert feature_columns(drop_features(table(), ["Cells_0"])) == [
        f"Cells_{i}" for i in (1, 2, 3, 4)
    ]
    with pytest.raises(InputError, match="none of the 1 listed"):
        keep_features(table(), ["emb_0000"])
    with pytest.raises(InputError, match="leaves no feature"):
        drop_features(table(), [f"Cells_{i}" for i in range(5)])


def test_rare():
    data = table()
    data["Cells_1"] = 1.0
    data.loc[5:, "Cells_2"] = 0.0
    assert feature_columns(drop_rare(data)) == ["Cells_0", "Cells_3", "Cells_4"]


def test_no_correlated_pair_is_left_and_nothing_goes_without_need():
    data = table()
    noise = np.random.default_rng(1).standard_normal((200, 3))
    data["Cells_1"] = -data["Cells_0"] + 0.01 * noise[:, 0]
    data["Cells_2"] = data["Cells_0"] + 0.01 * noise[:, 1]
    got = feature_columns(drop_correlated(data, 0.9))
    assert len(got) == 3 and {"Cells_3", "Cells_4"} <= set(got)
    assert feature_columns(drop_correlated(table(), 0.9)) == feature_columns(table())


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.9])
def test_result_obeys_the_threshold(threshold):
    rng = np.random.default_rng(2)
    data = table(40, 100)
    data.iloc[:, 1:] = rng.standard_normal((100, 6)) @ rng.standard_normal((6, 40))
    got = drop_correlated(data, threshold)
    left = np.abs(np.corrcoef(got[feature_columns(got)].T, rowvar=True))
    left = np.atleast_2d(left)
    np.fill_diagonal(left, 0)
    assert left.max() <= threshold


def test_a_list_that_fits_nothing_is_shown():
    """Names in one line, say, of which it said only how many there are."""
    with pytest.raises(InputError, match="listed are 'Cells_0, Cells_1'; the table has 'Cells_0',"):
        keep_features(table(), ["Cells_0, Cells_1"])


def test_numbers_that_are_too_large_count_as_missing():
    """What `profile_matrix` refuses; it says that this rule leaves such features out."""
    table = pd.DataFrame({"emb_0": [1.0, 2.0], "emb_1": [1.0, -1e150], "emb_2": [np.inf, 1.0]})
    assert feature_columns(drop_missing(table)) == ["emb_0"]


def test_missing():
    data = table()
    data.loc[3, "Cells_1"] = np.nan
    data.loc[4, "Cells_2"] = np.inf
    data.loc[7, [f"Cells_{i}" for i in range(5)]] = np.nan  # a well without cells
    assert feature_columns(drop_missing(data)) == ["Cells_0", "Cells_3", "Cells_4"]
    with pytest.raises(InputError, match="leaves no feature"):
        drop_missing(data[["Metadata_Well", "Cells_1", "Cells_2"]])


@pytest.fixture
def odd():
    """Features with repeated values, little variance and strong positive correlations."""
    rng = np.random.default_rng(4)
    base = rng.standard_normal((150, 8))
    mixing = np.abs(rng.standard_normal((8, 40))) ** 3
    values = base @ mixing
    values[:, 3] *= 1e-5
    values[:, 5] = 2.0
    values[:, 7] = np.where(rng.random(150) < 0.97, 0.0, values[:, 7])
    values[:, 9] = np.round(values[:, 9] / 20)
    names = [f"Cells_{i}" for i in range(40)]
    head = pd.DataFrame({"Metadata_Well": np.arange(150).astype(str)})
    return pd.concat([head, pd.DataFrame(values, columns=names)], axis=1)


@pytest.mark.parametrize(
    ("operation", "ours", "options"),
    [
        ("variance_threshold", drop_constant, {}),
        ("frequency_threshold", drop_rare, {"unique_cut": 0.01}),
        ("correlation_threshold", drop_correlated, {"corr_threshold": 0.9}),
        ("drop_outliers", partial(drop_outliers, cutoff=40), {"outlier_cutoff": 40}),
    ],
)
def test_same_features_as_pycytominer(odd, operation, ours, options):
    pycytominer = pytest.importorskip("pycytominer")
    if operation == "correlation_threshold":  # it does not see negative correlations
        odd = odd.drop(columns=["Cells_5"])
        assert np.corrcoef(odd[feature_columns(odd)].T).min() > -0.9
    theirs = pycytominer.feature_select(
        odd, features=feature_columns(odd), operation=operation, freq_cut=0.05, **options
    )
    got = feature_columns(ours(odd))
    assert got == feature_columns(theirs)
    assert 0 < len(got) < len(feature_columns(odd))


def test_negative_correlations_count_too():
    data = table()
    data["Cells_1"] = -data["Cells_0"]
    assert len(feature_columns(drop_correlated(data))) == 4


def test_lists_then_rules(tmp_path):
    data = table()
    data["Cells_4"] = 1.0
    names = tmp_path / "names.txt"
    names.write_text("# the list\nCells_4\n\nCells_2\nCells_1\n")
    got = select_features(data, ["variance"], keep=read_feature_list(names), block=["Cells_1"])
    assert feature_columns(got) == ["Cells_2"]
    data.to_csv(tmp_path / "table.csv", index=False)
    assert read_feature_list(tmp_path / "table.csv") == feature_columns(data)
    with pytest.raises(InputError, match="rule 'variation' is not one of missing"):
        select_features(data, ["variation"])
    with pytest.raises(InputError, match=r"threshold 1\.5"):
        select_features(data, correlation=1.5)
    with pytest.raises(InputError, match=r"nothing\.txt: cannot be read"):
        read_feature_list(tmp_path / "nothing.txt")
