import numpy as np
import pytest
from sklearn import metrics

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.scores import (
    calibration,
    f1_score,
    roc_auc,
    score_assays,
    summarise,
)
from cpssl_lite.metrics.conformal import conformal_p
from cpssl_lite.metrics.uncertainty import known_mean

rng = np.random.default_rng(0)


def entries(n=60):
    labels = rng.integers(-1, 2, n).astype(np.int8)
    return rng.random(n).round(1), labels  # rounded: ties


@pytest.mark.parametrize("case", range(20))
def test_auc_and_f1_equal_scikit_learn_on_measured_entries(case):
    score, label = entries()
    known = label != 0
    truth = label[known] > 0
    assert roc_auc(score, label) == pytest.approx(metrics.roc_auc_score(truth, score[known]))
    expected = metrics.f1_score(truth, score[known] > 0.5, zero_division=0)
    assert f1_score(score, label) == pytest.approx(expected)


def test_missing_entries_do_not_count():
    score, label = entries()
    other = score.copy()
    other[label == 0] = rng.random(int((label == 0).sum()))
    assert roc_auc(score, label) == roc_auc(other, label)
    assert f1_score(score, label) == f1_score(other, label)


def test_one_class_by_both_conventions():
    labels = np.array([[1, 1], [1, -1], [0, 1]], np.int8)
    score = np.array([[0.9, 0.9], [0.8, 0.1], [0.1, 0.7]])
    auc, f1 = score_assays(score, labels)
    assert np.isnan(auc[0]) and np.isnan(f1[0])
    assert (auc[1], f1[1]) == (1.0, 1.0)
    auc, f1 = score_assays(score, labels, "released")
    assert auc.tolist() == [0.5, 1.0] and f1.tolist() == [0.0, 1.0]
    with pytest.raises(InputError, match="neither"):
        score_assays(score, labels, "neither")
    with pytest.raises(InputError, match="predictions for"):
        score_assays(score[:2], labels)


def test_splits_are_averaged_before_assays():
    auc = known_mean(np.array([[0.9, np.nan, np.nan], [0.7, 0.9, np.nan]]))
    assert auc[:2].tolist() == pytest.approx([0.8, 0.9]) and np.isnan(auc[2])
    row = summarise(auc, auc)
    assert row.auc == pytest.approx(0.85) and row.auc_sd == pytest.approx(0.05)
    assert row.n_assays == 2


def test_levels_include_their_bound():
    assert summarise(np.array([0.9, 0.8, 0.7, 0.6]), np.zeros(4)).at_least == (1, 2, 3)
    assert summarise(np.array([np.nan]), np.array([np.nan])).n_assays == 0


def test_calibration_of_a_calibrated_predictor():
    p = rng.random(20_000)
    labels = np.where(rng.random(20_000) < p, 1, -1)
    labels[:100] = 0
    mean, share, count = calibration(p, labels, 10)
    assert count.sum() == 19_900
    assert np.abs(mean - share).max() < 0.04


def test_conformal_p_as_crepes_has_it():
    """By crepes 0.9.1: per class fit(1 - probability of the class), predict_p(smoothing=False)."""
    active = [0.72, 0.51, 0.47, 0.79, 0.67, 0.99, 0.99, 0.77, 0.62]
    inactive = [0.53, 0.19, 0.36, 0.05, 0.25, 0.26, 0.44, 0.35, 0.14, 0.5, 0.01, 0.68, 0.5, 0.66]
    known, label = np.array(active + inactive + [0.79]), np.array([1] * 9 + [-1] * 15)
    p = conformal_p(np.array([0.05, 0.3, 0.5, 0.62, 0.9]), known, label)
    inactive_p, active_p = [0.9375, 0.625, 0.4375, 0.25, 0.0625], [0.1, 0.1, 0.2, 0.4, 0.8]
    np.testing.assert_allclose(p, np.transpose([inactive_p, active_p]))


def test_prediction_sets_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = np.zeros((400, 2))
    for i in range(400):
        label = rng.permutation(np.repeat([-1, 1], [40, 20]))
        probability = 1 / (1 + np.exp(-label + 0.5 + rng.standard_normal(60)))
        known = rng.permutation(60) < 45
        p = conformal_p(probability[~known], probability[known], label[known])
        held[i] = [np.mean(p[label[~known] == one, k] > 0.2) for k, one in enumerate((-1, 1))]
    assert np.all(np.abs(np.nanmean(held, axis=0) - 0.8) < 0.06), "and a little more: p is discrete"
    none = conformal_p(np.array([0.5]), np.array([0.5]), np.array([1]))
    assert none[0, 0] == 1, "nothing is known of inactive ones: they stay possible"
