"""Odds ratios and recall in the tails, against full matrices and SciPy."""

import numpy as np
import pytest
from scipy.stats import fisher_exact
from scipy.stats.contingency import odds_ratio

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics import replicates
from cpssl_lite.metrics.enrichment import enrichment, group_enrichment, related_pairs, tail_recall
from cpssl_lite.metrics.replicates import pair_order
from cpssl_lite.metrics.similarity import unit_rows


def labelled(strength, seed=0, n=60, d=10):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 15, n)
    effect = rng.standard_normal((15, d))[label]
    return rng.standard_normal((n, d)) + strength * effect, label


def by_hand(profiles, label, share):
    """(related, on top) of all pairs."""
    rows = unit_rows(profiles)
    i, j = np.triu_indices(len(rows), 1)
    similarity, same = (rows @ rows.T)[i, j], label[i] == label[j]
    top = round(share * len(i))
    return same, np.argsort(np.argsort(-similarity)) < top


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_odds_ratio_by_a_full_matrix(share):
    profiles, label = labelled(1.0)
    same, top = by_hand(profiles, label, share)
    table = np.array([[np.sum(same & top), np.sum(same & ~top)], [np.sum(~same & top), 0]])
    table[1, 1] = np.sum(~same & ~top)
    got = enrichment(profiles, related_pairs(label), share)
    half = table + 0.5
    assert got.odds_ratio == pytest.approx(half[0, 0] * half[1, 1] / half[0, 1] / half[1, 0])
    assert (got.related, got.on_top) == (same.sum(), table[0, 0])
    # Without the half pairs it is the sample odds ratio, whose interval is nearly the same.
    plain = odds_ratio(table, kind="sample")
    interval = plain.confidence_interval(0.95)
    assert got.odds_ratio == pytest.approx(plain.statistic, rel=0.1)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high), rel=0.15)


def test_groups_by_fishers_test():
    profiles, label = labelled(1.0)
    _, top = by_hand(profiles, label, 0.05)
    got = group_enrichment(profiles, label)
    i, j = np.triu_indices(len(label), 1)
    for one in range(15):
        same = (label[i] == one) & (label[j] == one)
        table = [
            [np.sum(same & top), np.sum(same & ~top)],
            [np.sum(~same & top), np.sum(~same & ~top)],
        ]
        if same.any():
            expected = fisher_exact(table, alternative="greater").pvalue
            assert got.p[one] == pytest.approx(expected)
        else:
            assert np.isnan(got.p[one])


def test_chance_is_one_and_effects_are_seen():
    ratios, recalls = [], []
    for seed in range(20):
        profiles, label = labelled(0.0, seed)
        ratios.append(np.log(enrichment(profiles, related_pairs(label)).odds_ratio))
        recalls.append(tail_recall(profiles, related_pairs(label)))
    assert abs(np.mean(ratios)) < 4 * np.std(ratios) / np.sqrt(20) + 0.05
    assert abs(np.mean(recalls) - 0.1) < 4 * np.std(recalls) / np.sqrt(20)
    profiles, label = labelled(3.0)
    found = enrichment(profiles, related_pairs(label))
    assert found.low > 20 and tail_recall(profiles, related_pairs(label)) > 0.5
    # Opposite effects are in the lower tail.
    opposite = np.vstack(
        [profiles[:2], -profiles[:2], np.random.default_rng(0).normal(size=(60, 10))]
    )
    pairs = np.array([[0, 2], [3, 1], [2, 0], [1, 1]])
    assert tail_recall(opposite, pairs) == 1.0 and enrichment(opposite, pairs).on_top == 0
    assert enrichment(opposite, pairs).related == 2


def test_places_in_the_order_of_all_pairs(monkeypatch):
    rows = unit_rows(np.random.default_rng(0).standard_normal((90, 5)))
    every = np.sort((rows @ rows.T)[np.triu_indices(90, 1)])
    monkeypatch.setattr(replicates, "MOST_AT_ONCE", 40)
    ranks = [0, 17, 17, 2000, 2001, 4004]
    np.testing.assert_allclose(pair_order(rows, ranks), every[ranks], atol=1e-12)


@pytest.mark.parametrize("copies", [2, 5, 12])
def test_pairs_that_are_equal_are_on_top_together(copies):
    """More of them than the share were counted as found, but not as on top."""
    profiles, label = labelled(0.0)
    profiles[:copies] = profiles[0]
    related = related_pairs(label)
    got = enrichment(profiles, related)
    rows = unit_rows(profiles)
    every = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    cutoff = np.sort(every)[-round(0.05 * len(every))]
    top = np.count_nonzero(every >= cutoff - 1e-12)
    found = np.count_nonzero((rows[related[:, 0]] * rows[related[:, 1]]).sum(1) >= cutoff - 1e-12)
    a, b, c, d = np.array([found, len(related) - found, top - found, 0]) + 0.5
    d += len(every) - len(related) - top + found
    assert got.on_top == found and got.odds_ratio == pytest.approx(a * d / (b * c))
    alike = np.ones((20, 3))
    assert np.isnan(enrichment(alike, related_pairs(label[:20]))[:3]).all()
    assert np.isnan(tail_recall(alike, related_pairs(label[:20])))
    assert np.isnan(group_enrichment(alike, label[:20]).odds_ratio).all()


def test_nothing_related_is_undefined():
    profiles, _ = labelled(0.0)
    nobody = related_pairs(np.full(60, ""))
    assert nobody.shape == (0, 2) and np.isnan(enrichment(profiles, nobody).odds_ratio)
    assert np.isnan(tail_recall(profiles, nobody))
    with pytest.raises(InputError, match=r"a share of 1\.5"):
        enrichment(profiles, np.array([[0, 1]]), 1.5)
