"""PCA, TVN, inverse normal transform and well position, against the references."""

import logging

import numpy as np
import pandas as pd
import pycytominer
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.decomposition import PCA
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.steps import inverse_normal, pca, tvn, well_position
from cpssl_lite.profiles.table import feature_columns


def table(seed=0, plates=4, d=8):
    """Plates of 32 wells, 12 of them controls, in two batches, each plate shifted and scaled."""
    rng = np.random.default_rng(seed)
    parts = []
    for plate in range(plates):
        control = np.arange(32) < 12
        head = pd.DataFrame({"Metadata_Well": [f"{'ABCD'[i % 4]}{i // 4:02d}" for i in range(32)]})
        head["Metadata_Plate"], head["Metadata_Batch"] = f"P{plate}", f"b{plate // 2}"
        moved = [f"c{(i + 5 * plate) % 20}" for i in range(20)]
        head["Metadata_Perturbation"] = ["DMSO"] * 12 + moved
        head["Metadata_Control"] = np.where(control, "negcon", "")
        values = rng.standard_normal((32, d)) @ rng.standard_normal((d, d)) + plate
        names = [f"emb_{i:04d}" for i in range(d)]
        parts.append(pd.concat([head, pd.DataFrame(values, columns=names)], axis=1))
    return pd.concat(parts, ignore_index=True)


def features(wells):
    return wells[feature_columns(wells)].to_numpy()


def test_inverse_normal_equals_pycytominer():
    wells = table()
    names = feature_columns(wells)
    for samples, method in (
        ("all", "inverse_normal"),
        ("Metadata_Control == 'negcon'", "inverse_normal@negcon"),
    ):
        parts = [
            pycytominer.normalize(
                part,
                features=names,
                meta_features=["Metadata_Control"],
                samples=samples,
                method="inverse_normal",
            )[names]
            for _, part in wells.groupby("Metadata_Plate")
        ]
        got = normalize(wells, method)
        np.testing.assert_allclose(features(got), pd.concat(parts).to_numpy(), atol=1e-12)
    assert np.abs(features(normalize(wells, "inverse_normal"))).max() < 5.3


@pytest.mark.parametrize(("wells", "fitted"), [(1, 1), (40, 40), (40, 13), (1100, 1050)])
def test_inverse_normal_is_scikit_learns_to_the_bit(wells, fitted):
    rng = np.random.default_rng(wells)
    values = np.column_stack(
        [
            rng.standard_normal((wells, 3)),
            rng.integers(0, 4, wells),  # equal values
            np.round(rng.standard_normal(wells), 1),
            np.full(wells, 2.5),
            1e-9 * rng.standard_normal(wells),
            1e6 * rng.standard_cauchy(wells),
        ]
    )
    fit = np.arange(wells) < fitted
    n = min(fitted, 1000)
    ranks = QuantileTransformer(n_quantiles=n, output_distribution="normal", subsample=None)
    expected = ranks.fit(values[fit]).transform(values)
    got = inverse_normal(values, np.repeat("P", wells), fit)
    np.testing.assert_array_equal(got, expected)


def test_pca_equals_scikit_learn():
    wells = table()
    values = features(wells)
    scaled = np.vstack([StandardScaler().fit_transform(part) for part in np.split(values, 4)])
    expected = PCA(0.98, svd_solver="full").fit_transform(scaled)
    got = normalize(wells, "pca")
    np.testing.assert_allclose(features(got), expected, atol=1e-10)
    assert feature_columns(got)[0] == "emb_0000" and len(feature_columns(got)) <= 8
    fewer = pca(values, wells["Metadata_Plate"].to_numpy(), explained=0.5)
    assert fewer.shape[1] < expected.shape[1]


def test_tvn_as_it_is_written_in_efaar():
    wells = table()
    values, control = features(wells), (wells["Metadata_Control"] == "negcon").to_numpy()
    batch = wells["Metadata_Batch"].to_numpy()
    x = StandardScaler().fit(values[control]).transform(values)
    x = PCA().fit(x[control]).transform(x)
    for one in ("b0", "b1"):
        mine = batch == one
        x[mine] = StandardScaler().fit(x[mine & control]).transform(x[mine])
    target = np.cov(x[control], rowvar=False, ddof=1) + 0.5 * np.eye(8)
    for one in ("b0", "b1"):
        mine = batch == one
        source = np.cov(x[mine & control], rowvar=False, ddof=1) + 0.5 * np.eye(8)
        x[mine] = x[mine] @ fractional_matrix_power(source, -0.5)
        x[mine] = x[mine] @ fractional_matrix_power(target, 0.5)
    np.testing.assert_allclose(tvn(values, control, batch), x, atol=1e-9)
    got = normalize(wells, "tvn")
    np.testing.assert_allclose(np.abs(features(got)), np.abs(x), atol=1e-9)


def test_tvn_makes_batches_alike():
    wells = table(plates=8)
    got = normalize(wells, "tvn")
    control = got["Metadata_Control"] == "negcon"
    spread = []
    for part in (wells, got):
        means = part[control].groupby("Metadata_Batch")[feature_columns(part)].mean()
        spread.append((means.std() / part[control][feature_columns(part)].std()).mean())
    assert spread[1] < 1e-6 < 0.3 < spread[0]


def test_fewer_controls_than_features_stay_finite():
    got = normalize(table(d=40, plates=2), "tvn")
    assert len(feature_columns(got)) == 24 and np.isfinite(features(got)).all()


def test_well_position_removes_what_the_place_does(caplog):
    wells = table()
    values, place = features(wells), wells["Metadata_Well"].to_numpy()
    effect = dict(zip(np.unique(place), 10 * np.random.default_rng(1).normal(size=32), strict=True))
    moved = values + np.array([effect[name] for name in place])[:, None]
    np.testing.assert_allclose(well_position(moved, place), well_position(values, place), atol=1e-9)
    for name in np.unique(place):
        np.testing.assert_allclose(
            well_position(moved, place)[place == name].mean(axis=0), 0, atol=1e-9
        )
    with caplog.at_level(logging.WARNING):
        normalize(wells, "well_position")
    assert "at one position" not in caplog.text
    fixed = wells.assign(Metadata_Perturbation=wells["Metadata_Well"])
    with caplog.at_level(logging.WARNING):
        normalize(fixed, "well_position")
    assert "20 of 20 perturbations at one position on all plates" in caplog.text


def test_steps_combine():
    wells = table()
    both = normalize(normalize(wells, "well_position"), "mad_robustize")
    np.testing.assert_allclose(
        features(normalize(wells, "well_position+mad_robustize")), features(both)
    )
    got = normalize(wells, "standardize@all+pca+sphere+mad_robustize+inverse_normal")
    assert np.isfinite(features(got)).all() and len(got) == len(wells)


def test_what_a_step_lacks_is_said():
    wells = table()
    for bad, method, message in (
        (wells.drop(columns="Metadata_Batch"), "tvn", "no column Metadata_Batch"),
        (wells.drop(columns="Metadata_Well"), "well_position", "no column Metadata_Well"),
        (wells.drop(columns="Metadata_Plate"), "pca", "no column Metadata_Plate"),
        (wells, "pca@negcon", "unknown step 'pca@negcon'"),
    ):
        with pytest.raises(InputError, match=message):
            normalize(bad, method)
    few = wells.assign(Metadata_Control=wells["Metadata_Control"].where(wells.index < 32, ""))
    with pytest.raises(InputError, match="batch b1: TVN needs at least 2 negative controls"):
        normalize(few, "tvn")
    names, plates = np.array(["P", "P"]), np.array([False, False])
    with pytest.raises(InputError, match="plate P has no reference wells"):
        inverse_normal(np.eye(2), names, plates)
