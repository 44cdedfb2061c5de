"""p, q and normalised average precision: counted, drawn, and beside copairs and statsmodels."""

import logging
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from copairs import compute as copairs_compute
from copairs.map import average_precision as copairs_precision
from copairs.map import mean_average_precision as copairs_mean
from copairs.map.normalization import normalize_ap
from scipy.stats import binom, kstest
from statsmodels.stats.multitest import multipletests

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics import significance
from cpssl_lite.metrics.pairs import Pairs
from cpssl_lite.metrics.ranking import ranking
from cpssl_lite.metrics.significance import (
    expected_precision,
    group_evidence,
    normalised_precision,
    null_precisions,
    p_values,
    q_values,
    share_below,
)
from cpssl_lite.metrics.similarity import encode
from cpssl_lite.profiles.table import assign_roles, profile_matrix, read_profiles

logging.getLogger("copairs").setLevel(logging.WARNING)


def enumerated(positives, total):
    return np.array(
        [
            np.mean([(k + 1) / (place + 1) for k, place in enumerate(places)])
            for places in combinations(range(total), positives)
        ]
    )


@pytest.mark.parametrize("total", range(1, 13))
def test_exact_p_is_full_enumeration(total):
    for positives in range(1, total + 1):
        every = enumerated(positives, total)
        got = p_values(every, np.full(len(every), positives), np.full(len(every), total))
        expected = np.mean(every[None, :] >= every[:, None] - 1e-9, axis=1)
        np.testing.assert_allclose(got, expected, atol=1e-15)
        assert expected_precision(positives, total) == pytest.approx(every.mean(), abs=1e-12)


def test_counting_stops_at_a_million_and_draws_agree_with_it(monkeypatch):
    assert comb(26, 6) <= 1_000_000 < comb(28, 8)
    assert null_precisions(6, 26)[1] and not null_precisions(8, 28, 100)[1]
    exact = null_precisions(6, 26)[0]
    monkeypatch.setattr(significance, "MOST_COUNTED", 1)
    drawn, counted = null_precisions(6, 26, 100_000)
    assert not counted and len(drawn) == 100_000
    assert kstest(drawn, lambda x: np.searchsorted(exact, x, "right") / len(exact)).pvalue > 0.001
    again = null_precisions(6, 26, 100_000)[0]
    np.testing.assert_array_equal(drawn, again)
    assert not np.array_equal(drawn, null_precisions(6, 26, 100_000, seed=1)[0])


@pytest.mark.parametrize(("positives", "total"), [(1, 3), (3, 400), (30, 40), (200, 5000)])
def test_draws_have_the_expected_mean(monkeypatch, positives, total):
    monkeypatch.setattr(significance, "MOST_COUNTED", 0)
    drawn = null_precisions(positives, total, 20_000)[0]
    error = drawn.std() / np.sqrt(len(drawn))
    assert abs(drawn.mean() - expected_precision(positives, total)) < 4 * error


def test_normalised_precision_equals_copairs():
    rng = np.random.default_rng(0)
    positives = rng.integers(1, 20, 200)
    total = positives + rng.integers(0, 50, 200)
    precision = rng.uniform(expected_precision(positives, total) / 2, 1)
    expected = normalize_ap(precision, positives, total - positives)
    expected[positives == total] = 0  # copairs divides by 1e-10 there, and clips
    np.testing.assert_allclose(normalised_precision(precision, positives, total), expected)


@pytest.mark.parametrize("effects", [0, 5, 60, 100])
def test_q_equals_statsmodels(effects):
    rng = np.random.default_rng(effects)
    p = np.append(rng.uniform(0, 1e-4, effects), rng.uniform(0, 1, 100 - effects))
    for ours, theirs in (("bh", "fdr_bh"), ("two-stage", "fdr_tsbky")):
        expected = multipletests(p, alpha=0.05, method=theirs)[1]
        np.testing.assert_allclose(q_values(p, ours), expected, rtol=1e-12)
        with_gap = q_values(np.append(p, np.nan), ours)
        np.testing.assert_allclose(with_gap[:-1], expected, rtol=1e-12)
        assert np.isnan(with_gap[-1])


def test_odd_inputs():
    with pytest.raises(InputError, match="'holm' is not one of bh, two-stage"):
        q_values(np.ones(2), "holm")
    assert np.isnan(q_values(np.full(2, np.nan))).all() and np.isnan(
        share_below(np.full(2, np.nan))
    )
    assert share_below(np.array([0.01, 0.2, np.nan, 0.05])) == pytest.approx(1 / 3)
    nobody = group_evidence(
        np.full(3, np.nan), np.zeros(3, int), np.zeros(3, int), np.zeros(3, int)
    )
    assert len(nobody.p) == 0


def screen(seed, groups=40, replicates=6, controls=32, plates=2, d=24, strength=0.0):
    """Treated wells and controls over plates; effects grow with the number of the group."""
    rng = np.random.default_rng(seed)
    group = np.append(np.repeat(np.arange(groups), replicates), np.full(controls, groups))
    target = np.repeat(rng.standard_normal((groups // 2 + 1, d)), 2, axis=0)[: groups + 1]
    effect = target + rng.standard_normal((groups + 1, d))
    effect *= (np.arange(groups + 1) * strength)[:, None]
    effect[groups] = 0
    profiles = rng.standard_normal((len(group), d)) + effect[group]
    return profiles, group, group == groups, rng.permutation(len(group)) % plates


def three_questions(profiles, group, control, plate):
    """Ours and copairs' average precisions: activity, distinctiveness, consistency of pairs."""
    n = len(group)
    treated, target = np.where(control, -1, group), np.where(control, -1, group // 2)
    ours = ranking(
        profiles,
        [
            (Pairs(same=[treated]), Pairs(same=[plate], among=control)),
            (Pairs(same=[treated]), Pairs(different=[treated], among=~control)),
            (
                Pairs(same=[target], different=[treated]),
                Pairs(different=[target], among=~control),
            ),
        ],
        queries=~control,
    )
    meta = pd.DataFrame({"group": group, "target": group // 2, "plate": plate})
    meta["reference"] = np.where(control, np.arange(n), -1)
    real = meta[~control].reset_index(drop=True)
    theirs = [
        copairs_precision(
            meta,
            profiles,
            pos_sameby=["group", "reference"],
            pos_diffby=[],
            neg_sameby=["plate"],
            neg_diffby=["group", "reference"],
            progress_bar=False,
        )[~control],
        copairs_precision(
            real,
            profiles[~control],
            pos_sameby=["group"],
            pos_diffby=[],
            neg_sameby=[],
            neg_diffby=["group"],
            progress_bar=False,
        ),
        copairs_precision(
            real,
            profiles[~control],
            pos_sameby=["target"],
            pos_diffby=["group"],
            neg_sameby=[],
            neg_diffby=["target"],
            progress_bar=False,
        ),
    ]
    return ours, [part.reset_index(drop=True) for part in theirs]


def test_three_questions_equal_copairs(tmp_path):
    profiles, group, control, plate = screen(1, strength=0.03)
    size = 100_000
    ours, theirs = three_questions(profiles, group, control, plate)
    for by, got, reference in zip(("group", "group", "target"), ours, theirs, strict=True):
        part = [a[~control] for a in got[:3]]
        np.testing.assert_allclose(part[0], reference["average_precision"], atol=1e-6)
        np.testing.assert_array_equal(part[1], reference["n_pos_pairs"])
        np.testing.assert_array_equal(part[2], reference["n_total_pairs"])
        means = copairs_mean(
            reference, [by], size, 0.05, seed=3, progress_bar=False, cache_dir=tmp_path
        )
        codes = reference[by].to_numpy()
        evidence = group_evidence(*part, codes, size=size, seed=5)
        np.testing.assert_allclose(evidence.precision, means["mean_average_precision"], atol=1e-6)
        np.testing.assert_allclose(
            evidence.normalised, means["mean_normalized_average_precision"], atol=1e-6
        )
        p = means["p_value"].to_numpy()
        error = np.sqrt(np.maximum(p * (1 - p), 1 / size) / size)
        assert (np.abs(evidence.p - p) < 7 * error).all()  # both are drawn
        q = q_values(evidence.p)
        sure = np.abs(means["corrected_p_value"] - 0.05) > 0.01
        np.testing.assert_array_equal((q < 0.05)[sure], means["below_corrected_p"][sure])
        assert 0.1 < share_below(q) < 0.9


def some_wells(name, parity, real):
    """A quarter of the perturbations and a third of the controls: copairs takes its time."""
    if name == "cpjump1":
        files = sorted((real / "profiles/cpjump1").glob("BR0011701*.csv.gz"))[:1]
        table = assign_roles(read_profiles(files), batch="Metadata_Plate")
    else:
        table = read_profiles(parity / "eval" / name / "DINO/well_features.csv")
    head, profiles = profile_matrix(table)
    few = encode(head["Metadata_Perturbation"].to_numpy()) % 4 == 0
    few |= (head["Metadata_Control"] == "negcon") & (np.arange(len(head)) % 3 == 0)
    head, profiles = head[few], profiles[few]
    control = (head["Metadata_Control"] == "negcon").to_numpy()
    group, plate = (encode(head[f"Metadata_{c}"].to_numpy()) for c in ("Perturbation", "Plate"))
    return profiles, group, control, plate


def in_float64(similarity, progress_bar=True):
    """copairs' batches of pairs, without rounding their similarities to float32."""

    def of_pairs(values, pairs, size):
        parts = [pairs[i : i + size] for i in range(0, len(pairs), size)]
        return np.concatenate([similarity(values[p[:, 0]], values[p[:, 1]]) for p in parts])

    return of_pairs


@pytest.mark.parametrize("name", ["compound", "orf", "cpjump1"])
def test_real_and_parity_tables_equal_copairs(parity, real, name, monkeypatch, tmp_path):
    screen = some_wells(name, parity, real)
    control = screen[2]
    # copairs ranks similarities that are rounded to float32, the positives first of equals.
    for got, reference in zip(*three_questions(*screen), strict=True):
        gap = np.abs(got.precision[~control] - reference["average_precision"])
        assert np.mean(gap > 1e-6) < 0.005 and np.nanmax(gap) < 1e-4
        np.testing.assert_array_equal(got.total[~control], reference["n_total_pairs"])
    monkeypatch.setattr(copairs_compute, "batch_processing", in_float64)
    ours, theirs = three_questions(*screen)
    for by, got, reference in zip(("group", "group", "target"), ours, theirs, strict=True):
        part = [a[~control] for a in got[:3]]
        np.testing.assert_allclose(part[0], reference["average_precision"], atol=1e-6)
        p_equals_copairs(part, reference, by, 100_000, tmp_path)


def p_equals_copairs(part, reference, by, size, folder):
    """p, q and the fraction called beside copairs', both drawn with `size` rankings."""
    known = reference[~reference["average_precision"].isna() & (reference["n_pos_pairs"] > 0)]
    how = {"seed": 3, "progress_bar": False, "cache_dir": folder}
    means = copairs_mean(reference, [by], size, 0.05, **how)
    got = group_evidence(*part, encode(reference[by].to_numpy()), size=size, seed=5)
    have = got.queries > 0
    np.testing.assert_allclose(got.precision[have], means["mean_average_precision"], atol=1e-6)
    # copairs counts only rankings that are strictly better (which of equals are is rounding); with
    # few places many are equal. Its p and ours are those of its null without and with them.
    pairs, which = np.unique(known[["n_pos_pairs", "n_total_pairs"]], axis=0, return_inverse=True)
    null = copairs_compute.get_null_dists(pairs, size, **how)
    drawn = [null[which.ravel()[known[by] == one]].mean(axis=0) for one in means[by]]
    value = means["mean_average_precision"]
    below, with_equals = (
        np.array([np.mean(n > v + near) for n, v in zip(drawn, value, strict=True)])
        for near in (1e-6, -1e-6)
    )
    error = 7 * np.sqrt(np.maximum(with_equals * (1 - with_equals), 1 / size) / size)
    assert (np.abs(got.p[have] - with_equals) < error).all()
    p = means["p_value"]
    assert (p > below - error).all() and (p < with_equals + error).all()
    q = q_values(got.p[have])
    sure = np.abs(means["corrected_p_value"] - 0.05) > 0.01
    np.testing.assert_array_equal((q < 0.05)[sure], means["below_corrected_p"][sure])


def test_groups_whose_queries_differ_take_the_mean_of_their_nulls(tmp_path):
    rng = np.random.default_rng(2)
    positives, total = np.tile([2, 4, 4, 9], 10), np.tile([60, 300, 301, 90], 10)
    precision = rng.uniform(0.02, 0.3, 40)
    codes = np.arange(40) // 4
    got = group_evidence(precision, positives, total, codes, size=50_000)
    scores = pd.DataFrame({"group": codes, "average_precision": precision})
    scores["normalized_average_precision"] = 0.0
    scores["n_pos_pairs"], scores["n_total_pairs"] = positives, total
    p = copairs_mean(scores, ["group"], 50_000, 0.05, 0, progress_bar=False, cache_dir=tmp_path)
    p = p["p_value"].to_numpy()
    assert (np.abs(got.p - p) < 7 * np.sqrt(p * (1 - p) / 50_000) + 1e-4).all()
    np.testing.assert_array_equal(got.queries, 4)
    np.testing.assert_allclose(got.positives, 4.75)
    # A group alone has the same p: nulls do not depend on who else is asked.
    alone = group_evidence(precision[:4], positives[:4], total[:4], codes[:4], size=50_000)
    assert alone.p[0] == got.p[0]


def null_screen(seed, groups=1000, replicates=4):
    profiles, group, control, _ = screen(seed, groups, replicates, controls=60)
    treated = np.where(control, -1, group)
    questions = [
        (Pairs(same=[treated]), Pairs(among=control)),
        (Pairs(same=[treated]), Pairs(different=[treated], among=~control)),
    ]
    return group, control, ranking(profiles, questions, queries=~control)


def test_without_effects_p_is_uniform_and_nothing_is_called():
    called = 0
    for seed in range(3):
        group, control, found = null_screen(seed)
        one_each = np.flatnonzero(~control)[::4]  # queries of one group depend on each other
        for got in found:
            part = [a[one_each] for a in got[:3]]
            assert kstest(p_values(*part, size=20_000), "uniform").pvalue > 0.001
            codes = np.where(control, -1, group)
            whole = group_evidence(*got[:3], codes, size=20_000)
            # The null of a mean is that of one query: small p are rarer than they might be.
            for alpha in (0.01, 0.05, 0.1):
                assert np.mean(whole.p <= alpha) < alpha + 3 * np.sqrt(alpha / 1000)
            for method in ("bh", "two-stage"):
                called += np.any(q_values(p_values(*part, size=20_000), method) < 0.05)
                called += np.any(q_values(whole.p, method) < 0.05)
    # Of 24 such families a false call is made in 5% at most.
    assert called <= binom.ppf(0.9999, 24, 0.05)


def test_fdr_holds_and_power_rises_with_the_effect():
    share, false = [], []
    for strength in (0.3, 0.6, 1.0, 2.0):
        rng = np.random.default_rng(7)
        group = np.append(np.repeat(np.arange(200), 5), np.full(100, 200))
        active = np.arange(201) < 80
        effect = rng.standard_normal((201, 24)) * active[:, None] * strength
        profiles = rng.standard_normal((len(group), 24)) + effect[group]
        control = group == 200
        treated = np.where(control, -1, group)
        got = ranking(profiles, [(Pairs(same=[treated]), Pairs(among=control))], queries=~control)[
            0
        ]
        q = q_values(group_evidence(*got[:3], treated, size=50_000).p)
        share.append(np.mean(q[:80] < 0.05))
        false.append(np.sum(q[80:] < 0.05) / max(np.sum(q < 0.05), 1))
    assert share == sorted(share) and share[0] < 0.3 and share[-1] > 0.95
    assert np.mean(false) < 0.05
