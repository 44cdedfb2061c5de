"""Replicate correlation, percent replicating, and intervals."""

import json

import numpy as np
import pytest
from scipy.stats import wilcoxon

from cpssl_lite.metrics import replicates
from cpssl_lite.metrics.replicates import percent_replicating, replicate_correlation
from cpssl_lite.metrics.uncertainty import (
    bootstrap_difference,
    bootstrap_groups,
    bootstrap_mean,
    mean_by,
    wilcoxon_paired,
)
from cpssl_lite.profiles.table import feature_columns, read_profiles


@pytest.mark.parametrize(
    "name", ["compound/DINO", "compound/CellProfiler", "edge/DINO", "orf/DINO"]
)
def test_released_replicates(parity, name):
    table = read_profiles(parity / "eval" / name / "well_features.csv")
    table = table[table["Metadata_Control"] != "negcon"]
    fields = [column for column in table if column.startswith("Image_")]
    profiles = table[[*feature_columns(table), *fields]].to_numpy(float)
    got = percent_replicating(profiles, table["Metadata_Perturbation"].to_numpy())
    expected = json.loads((parity / "eval/expected_summary.json").read_text())[name]
    each = np.load(parity / "eval" / name / "expected_intermediates.npz", allow_pickle=True)
    np.testing.assert_allclose(got.null, each["null_corr_seed507"], atol=1e-9)
    assert got.share == pytest.approx(expected["percent_95_seed507_fresh"], abs=1e-9)
    assert got.threshold == pytest.approx(expected["thresh_95_seed507_fresh"], abs=1e-9)
    assert np.nanmean(got.correlation) == pytest.approx(expected["repl_corr"], abs=1e-9)


def test_correlation_equals_numpy():
    rng = np.random.default_rng(0)
    profiles, names = rng.standard_normal((9, 20)), np.array(list("aaaabbbbb"))
    got = replicate_correlation(profiles, names)
    for name, value in zip("ab", got, strict=True):
        matrix = np.corrcoef(profiles[names == name])
        assert value == pytest.approx(np.median(matrix[np.triu_indices_from(matrix, 1)]))


def test_one_well_and_no_name():
    profiles = np.random.default_rng(1).standard_normal((5, 8))
    got = replicate_correlation(profiles, np.array(["a", "a", "b", "", ""]))
    assert len(got) == 2 and np.isnan(got[1]) and not np.isnan(got[0])


def test_singles_count_or_not():
    rng = np.random.default_rng(2)
    names = np.array([*np.repeat(np.arange(30), 2), *range(30, 40)]).astype(str)
    profiles = rng.standard_normal((70, 16))
    profiles[:60] = np.repeat(rng.standard_normal((30, 16)), 2, axis=0)
    assert percent_replicating(profiles, names).share == 30 / 40
    assert percent_replicating(profiles, names, count_single=False).share == 1.0


def test_random_profiles_replicate_at_about_five_percent():
    rng = np.random.default_rng(3)
    names = np.repeat(np.arange(300), 12).astype(str)  # groups as large as those of the null
    share = percent_replicating(rng.standard_normal((3600, 10)), names).share
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 300) + 0.01


def test_position_null_sees_position_effects():
    rng = np.random.default_rng(4)
    positions = np.tile(np.arange(30), 30)
    names = np.array([f"{p}-{i % 3}" for i, p in enumerate(positions)])
    names = np.array([f"c{rng.integers(100)}" if i % 2 else n for i, n in enumerate(names)])
    effect = rng.standard_normal((30, 20))
    profiles = effect[positions] + 0.5 * rng.standard_normal((900, 20))
    plain = percent_replicating(profiles, names)
    matched = percent_replicating(profiles, names, position=positions.astype(str))
    assert matched.threshold > plain.threshold + 0.3  # wells of one position look alike anyway


def test_small_screens_have_a_rule():
    rng = np.random.default_rng(5)
    six = percent_replicating(rng.standard_normal((12, 9)), np.repeat(list("abcdef"), 2))
    assert 0 <= six.share <= 1 and len(six.null) == 1000
    three = percent_replicating(rng.standard_normal((6, 9)), np.repeat(list("abc"), 2))
    assert np.isnan(three.share) and np.isnan(three.threshold)


def test_bootstrap_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(6)
    inside = 0
    for seed in range(200):
        _, low, high = bootstrap_mean(rng.standard_normal(40), n=300, seed=seed)
        inside += low <= 0 <= high
    assert 175 <= inside <= 199


def test_difference_is_paired_and_repeatable():
    rng = np.random.default_rng(7)
    base = rng.standard_normal(60)
    a, b = base + 0.1 + 0.01 * rng.standard_normal(60), base
    mean, low, high = bootstrap_difference(a, b)
    assert mean == pytest.approx((a - b).mean()) and 0 < low < mean < high
    assert bootstrap_difference(a, b) == (mean, low, high)
    assert bootstrap_difference(np.append(a, np.nan), np.append(b, 0.0))[0] == mean
    assert all(np.isnan(bootstrap_mean(np.array([np.nan]))))


def test_wilcoxon():
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((2, 30))
    assert wilcoxon_paired(a, b) == pytest.approx(wilcoxon(a, b).pvalue)
    assert wilcoxon_paired(a, a) == 1.0
    assert np.isnan(wilcoxon_paired(np.array([np.nan]), np.array([1.0])))


def test_mean_by():
    got = mean_by(np.array([1.0, np.nan, 3.0, np.nan]), np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(got, [2.0, np.nan])


def test_rounding_does_not_make_a_replicate():
    """Two features only: correlations are 1 or -1, and 1 is not above 1."""
    profiles = np.random.default_rng(0).normal(size=(96, 2))
    assert percent_replicating(profiles, np.repeat(np.arange(24), 4)).share == 0


@pytest.mark.parametrize("n", [50, 51, 52])
def test_many_replicates_are_never_all_held_at_once(monkeypatch, n):
    profiles = np.random.default_rng(n).normal(size=(n, 6))
    profiles[1::3] = profiles[0]  # ties
    names = np.full(n, "a")
    whole = replicate_correlation(profiles, names)
    monkeypatch.setattr(replicates, "MOST_AT_ONCE", 7)
    np.testing.assert_allclose(replicate_correlation(profiles, names), whole, atol=1e-12)


def test_a_perturbation_with_nearly_all_wells_leaves_no_chance_groups():
    names = np.array(["a"] * 5000 + [f"c{i}" for i in range(30)])
    profiles = np.random.default_rng(0).normal(size=(len(names), 4))
    assert np.isnan(percent_replicating(profiles, names).share)


def test_groups_are_drawn_whole():
    """The interval of a mean of groups alike within is that of the groups' own values."""
    each = np.random.default_rng(0).random(40)
    values, codes = np.repeat(each, 6), np.repeat(np.arange(40), 6)
    for known in (values, np.where(np.arange(240) % 6 == 5, np.nan, values)):
        np.testing.assert_allclose(bootstrap_groups(known, codes), bootstrap_mean(each))
    alone = bootstrap_groups(values, np.arange(240))
    assert alone[2] - alone[1] < 0.6 * np.ptp(bootstrap_mean(each)[1:])
    assert bootstrap_groups(np.r_[np.ones(9), 0.0], np.r_[np.zeros(9, int), 1])[0] == 0.9
    assert np.isnan(bootstrap_groups(np.full(3, np.nan), np.arange(3))).all()
