"""Normalisation: the reference's numbers, the formulas' properties, and bad input."""

import logging

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.normalize import (
    mad_robustize,
    normalize,
    parse_method,
    sphere,
    standardize,
    variance_filter,
)
from cpssl_lite.profiles.table import feature_columns, read_profiles

METHODS = {
    "spherize": "sphere",
    "mad_robustize": "mad_robustize",
    "standardize": "standardize",
    "spherize_mad_robustize": "sphere+mad_robustize",
    "mad_robustize_spherize": "mad_robustize+sphere",
    "spherize_standardize": "sphere+standardize",
    "standardize_spherize": "standardize+sphere",
}


def both(parity, case, name, bits):
    """Features of the reference and ours, which must be the same columns."""
    folder = parity / "postproc" / case
    expected = pd.read_parquet(folder / f"expected_{name}_{bits}_well.parquet")
    method = METHODS.get(name, "none")
    got = normalize(read_profiles(folder / "input_raw_f32.parquet"), method)
    features = [column for column in expected if column.startswith("emb")]
    assert feature_columns(got) == features
    assert got["Metadata_Well"].tolist() == expected["well"].tolist()
    return got[features].to_numpy(), expected[features].to_numpy(dtype=float)


def distance(got, expected):
    """Largest difference relative to the largest value."""
    return np.abs(got - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("case", ["fullrank", "rankdef"])
@pytest.mark.parametrize("name", METHODS)
def test_equals_the_reference_in_float64(parity, case, name):
    got, expected = both(parity, case, name, "f64")
    assert distance(got, expected) < 1e-10
    small = np.maximum(np.abs(expected), 1e-3)
    assert (np.abs(got - expected) / small).max() < 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_near_the_float32_reference(parity, name):
    # Its covariances are float32; ours never are.
    got, expected = both(parity, "fullrank", name, "f32")
    assert distance(got, expected) < 1e-6


@pytest.mark.parametrize("name", ["spherize", "mad_robustize", "spherize_mad_robustize"])
def test_wells_without_a_perturbation_and_plates_without_controls(parity, name):
    got, expected = both(parity, "nulls", name, "f32")
    assert distance(got, expected) < 1e-6


def test_none_changes_nothing(parity):
    got, expected = both(parity, "fullrank", "no_post_proc", "f32")
    np.testing.assert_array_equal(got, expected)


def test_a_plate_without_controls_cannot_be_standardized(parity):
    table = read_profiles(parity / "postproc/nulls/input_raw_f32.parquet")
    with pytest.raises(InputError, match=r"plate Batch01/P010 has no reference wells \(neg"):
        normalize(table, "standardize")


def test_sphered_controls_have_identity_correlation():
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12)) + 5
    controls = np.arange(400) < 200
    got = sphere(profiles, controls)
    np.testing.assert_allclose(got[controls].mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(got[controls].T, bias=True), np.eye(12), atol=1e-8)
    # Units of the features do not matter.
    scaled = sphere(profiles * np.arange(1, 13), controls)
    np.testing.assert_allclose(scaled, got, atol=1e-8)


def test_too_few_controls_warn_and_epsilon_bounds_the_result(caplog):
    rng = np.random.default_rng(1)
    profiles = rng.standard_normal((100, 30))
    controls = np.arange(100) < 10
    with caplog.at_level(logging.WARNING):
        wild = sphere(profiles, controls)
    assert "10 negative controls for 30 features leave 21 directions without spread" in caplog.text
    assert "1000-fold" in caplog.text and caplog.text.count("\n") == 1
    tame = sphere(profiles, controls, epsilon=0.1)
    assert np.abs(wild).max() > 500 and np.abs(tame).max() < 50
    assert np.isfinite(wild).all()


def test_sphere_needs_controls_that_vary():
    profiles = np.random.default_rng(2).standard_normal((10, 3))
    with pytest.raises(InputError, match="at least 2 negative controls, got 1"):
        sphere(profiles, np.arange(10) < 1)
    profiles[:5, 1] = 2.0
    with pytest.raises(InputError, match="1 feature constant among 5"):
        sphere(profiles, np.arange(10) < 5)


def test_mad_robustize_by_hand():
    profiles = np.array([[1.0], [2.0], [4.0], [10.0], [20.0], [40.0]])
    plates = np.array(list("aaabbb"))
    got = mad_robustize(profiles, plates)
    np.testing.assert_allclose(got[:3, 0], np.array([-1, 0, 2]) / 1.4826)
    np.testing.assert_allclose(got[3:, 0], np.array([-10, 0, 20]) / 14.826)
    # Reference wells decide, all are transformed.
    got = mad_robustize(profiles[:4], np.array(list("aaaa")), np.array([True, True, True, False]))
    assert got[3, 0] == pytest.approx(8 / 1.4826)


def test_standardize_by_hand():
    profiles = np.array([[1.0, 5.0], [3.0, 5.0], [6.0, 7.0]])
    got = standardize(profiles, np.array(list("aaa")), np.array([True, True, False]))
    np.testing.assert_allclose(got, [[-1, 0], [1, 0], [4, 2]])


def test_variance_filter_wants_both_groups():
    rng = np.random.default_rng(3)
    profiles = rng.standard_normal((20, 3))
    controls = np.arange(20) < 10
    profiles[controls, 0] = 1.0
    profiles[~controls, 1] *= 1e-3
    assert variance_filter(profiles, controls).tolist() == [False, False, True]


def screen(n=24, d=4):
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "Metadata_Plate": np.repeat(["P1", "P2"], n // 2),
            "Metadata_Well": [f"A{i:02d}" for i in range(n)],
            "Metadata_Perturbation": np.where(np.arange(n) % 3 == 0, "DMSO", "c"),
            "Metadata_Control": np.where(np.arange(n) % 3 == 0, "negcon", ""),
            **{f"emb_{i:04d}": rng.standard_normal(n) for i in range(d)},
        }
    )


def test_constant_features_go_and_the_rest_stays_in_order():
    table = screen()
    table["emb_0001"] = 3.0
    got = normalize(table, "sphere+mad_robustize")
    assert feature_columns(got) == ["emb_0000", "emb_0002", "emb_0003"]
    assert got["Metadata_Well"].tolist() == table["Metadata_Well"].tolist()


def test_feature_without_spread_on_one_plate_is_dropped(caplog):
    table = screen()
    table.loc[2:11, "emb_0002"] = 0.5  # more than half of plate P1
    with caplog.at_level(logging.WARNING):
        got = normalize(table, "mad_robustize")
    assert feature_columns(got) == ["emb_0000", "emb_0001", "emb_0003"]
    assert "1 of 4 features dropped, with MAD 0 on a plate ('emb_0002')" in caplog.text


def test_errors_are_one_clear_line():
    table = screen()
    flat = table.assign(**{name: 1.0 for name in feature_columns(table)})
    single = table.iloc[[0, 1, 2, 3, 4, 13]]  # plate P2 has one well
    for bad, method, message in [
        (table, "whiten", "unknown step 'whiten'.*sphere, mad_robustize, standardize"),
        (table, "sphere+", "unknown step ''"),
        (flat, "sphere", r"no feature \(of 4\) has variance above 1e-5"),
        (
            table.assign(Metadata_Control=["negcon", *[""] * (len(table) - 1)]),
            "mad_robustize",
            r"no feature \(of 4\) has variance above 1e-5 .* treated and 1 control well;",
        ),
        (table.drop(columns="Metadata_Plate"), "mad_robustize", "no column Metadata_Plate"),
        (table.assign(Metadata_Control=""), "sphere", "nothing in column Metadata_Control"),
        (single, "mad_robustize", "plate P2: no feature has any spread"),
        (table.assign(emb_0000=np.nan), "none", "emb_0000 is NaN in all wells"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            normalize(bad, method)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("sphere", "spherize"), ("mad_robustize", "mad_robustize")]
)
def test_agrees_with_pycytominer_up_to_its_factor(ours, theirs):
    pycytominer = pytest.importorskip("pycytominer")
    table = screen(n=240, d=12).assign(Metadata_Plate="P1")
    names = feature_columns(table)
    meta = [name for name in table if name not in names]
    samples = "Metadata_Control == 'negcon'" if ours == "sphere" else "all"
    got = pycytominer.normalize(
        table,
        features=names,
        meta_features=meta,
        samples=samples,
        method=theirs,
        mad_robustize_epsilon=1e-18,
    )
    # Its covariance is divided by n - 1.
    n = int((table["Metadata_Control"] == "negcon").sum())
    factor = np.sqrt((n - 1) / n) if ours == "sphere" else 1.0
    mine = normalize(table, ours)[names].to_numpy()
    # Its regularisation of the eigenvalues is 1e-6.
    np.testing.assert_allclose(factor * mine, got[names].to_numpy(), rtol=1e-4, atol=1e-5)


def test_steps_per_plate_can_be_told_their_wells():
    table = screen()
    values = table[feature_columns(table)].to_numpy()
    plates = table["Metadata_Plate"].to_numpy()
    controls = (table["Metadata_Control"] == "negcon").to_numpy()
    for method, step, reference in [
        ("mad_robustize@negcon", mad_robustize, controls),
        ("mad_robustize@all", mad_robustize, None),
        ("mad_robustize", mad_robustize, None),
        ("standardize@all", standardize, None),
        ("standardize", standardize, controls),
    ]:
        got = normalize(table, method)
        np.testing.assert_array_equal(
            got[feature_columns(got)], step(values, plates, reference), err_msg=method
        )
    with pytest.raises(InputError, match=r"unknown step 'sphere@all'.*@all or @negcon"):
        normalize(table, "sphere@all")


def test_parse_method():
    assert parse_method(" sphere + standardize ") == ["sphere", "standardize"]
    assert parse_method("none") == parse_method("no_post_proc") == []
    assert parse_method("mad_robustize_spherize") == ["mad_robustize", "sphere"]


@pytest.mark.parametrize("epsilon", [0, -1, np.nan, np.inf])
def test_epsilon_is_above_zero(epsilon):
    with pytest.raises(InputError, match=r"epsilon .* is not above 0"):
        normalize(screen(), epsilon=epsilon)
