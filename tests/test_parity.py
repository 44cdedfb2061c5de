"""Numbers of other libraries on one small table, made by parity/make.py and committed."""

import json
from pathlib import Path

import numpy as np
import pytest

from cpssl_lite.metrics.batch import silhouette
from cpssl_lite.metrics.clustering import ami_curve, correlation_tree
from cpssl_lite.metrics.graph import nearest_graph
from cpssl_lite.metrics.mixing import bras, cilisi, kbet, pc_regression
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.evaluate import evaluate, treated_wells
from cpssl_lite.profiles.evidence import evidence
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.table import feature_columns, profile_matrix, read_profiles

FOLDER = Path(__file__).parent / "parity"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
SCIB = json.loads((FOLDER / "scib.json").read_text())
CONTROLS = 32


@pytest.fixture(scope="module")
def wells():
    return read_profiles(FOLDER / "wells.csv")


@pytest.mark.parametrize("method", ["standardize", "mad_robustize", "sphere"])
def test_normalised_as_by_pycytominer(wells, method):
    theirs = np.array(EXPECTED["normalised"][{"sphere": "spherize"}.get(method, method)])
    mine = normalize(wells, method)[feature_columns(wells)].to_numpy()
    if method == "sphere":  # its covariance is divided by n - 1
        mine = mine * np.sqrt((CONTROLS - 1) / CONTROLS)
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXPECTED["nearest"])
def test_nearest_neighbours_as_by_scikit_learn(wells, name):
    assert evaluate(wells)[name] == pytest.approx(EXPECTED["nearest"][name], abs=1e-12)


@pytest.mark.parametrize("name", EXPECTED["ranked"])
def test_average_precision_as_by_scikit_learn(wells, name):
    released = evaluate(wells, convention="released")
    assert released[name] == pytest.approx(EXPECTED["ranked"][name], abs=1e-12)


def test_activity_as_by_copairs(wells):
    _, rows = evidence(wells, null=1000)
    got = rows.set_index("Metadata_Perturbation")["activity_ap"]
    theirs = EXPECTED["activity"]
    assert set(got.index) == set(theirs)
    np.testing.assert_allclose([got[name] for name in theirs], list(theirs.values()), atol=1e-6)


def test_silhouette_and_clusters_as_by_scikit_learn(wells):
    head, profiles = profile_matrix(treated_wells(wells))
    mine = silhouette(profiles, head["Metadata_Batch"].to_numpy())
    assert mine.mean() == pytest.approx(EXPECTED["silhouette_batch"], abs=1e-9)
    head, profiles = profile_matrix(aggregate(treated_wells(wells), "consensus"))
    _, tree = correlation_tree(profiles)
    curve = ami_curve(tree, head["Metadata_Target"].to_numpy(), [5])
    assert curve[0] == pytest.approx(EXPECTED["ami_complete_linkage"], abs=1e-9)


def test_batch_metrics_as_by_scib_metrics(wells):
    head, profiles = profile_matrix(treated_wells(wells))
    target, plate = (head[f"Metadata_{name}"].to_numpy() for name in ("Target", "Plate"))
    assert bras(profiles, target, plate) == pytest.approx(SCIB["bras"], abs=1e-5)
    got = kbet(nearest_graph(profiles, 29), plate, 29)
    assert got.accepted == pytest.approx(SCIB["kbet_accepted"], abs=1e-5)
    np.testing.assert_allclose(got.statistic, SCIB["kbet_statistic"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got.p, SCIB["kbet_p"], atol=1e-5)
    assert cilisi(profiles, target, plate).mean() == pytest.approx(SCIB["cilisi"], abs=1e-5)
    assert pc_regression(profiles, plate) == pytest.approx(SCIB["pc_regression"], abs=1e-5)
