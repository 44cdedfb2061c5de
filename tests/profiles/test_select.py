"""Feature selection."""

import logging

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.errors import InputError
from cpssl_lite.profiles.select import drop_correlated, drop_features, drop_rare, keep_features
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
