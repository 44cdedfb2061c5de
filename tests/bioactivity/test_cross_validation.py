import ast
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.made import code_digest
from cpssl_lite.bioactivity import kept, presets
from cpssl_lite.bioactivity.cross_validation import cross_validate
from cpssl_lite.bioactivity.kept import keep, recipe_of_run
from cpssl_lite.bioactivity.labels import COMPOUND, draw_splits
from cpssl_lite.bioactivity.scores import score_assays
from cpssl_lite.book.screens import ACTIVITY
from cpssl_lite.data.simulate.layout import as_parameters, choose
from cpssl_lite.data.simulate.screen import REVISION
from cpssl_lite.metrics.uncertainty import known_mean
from cpssl_lite.profiles.table import read_provenance


def screen(n=90, assays=3, wells=2, seed=0, shuffled=False):
    """Profiles of which the first few say what is active, without noise in the labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 16))
    values = np.where(x[:, :assays] > 0, 1, -1)
    if shuffled:
        values = rng.permuted(values, axis=0)
    values[rng.random(values.shape) < 0.2] = 0
    names = pd.Index([f"c{i}" for i in range(n)], name=COMPOUND)
    labels = pd.DataFrame(values.astype(np.int8), names, [f"a{j}" for j in range(assays)])
    compounds = np.repeat(names, wells)
    profiles = np.repeat(x, wells, axis=0) + 0.1 * rng.normal(size=(n * wells, 16))
    return profiles, compounds.to_numpy(), labels, draw_splits(labels)


def aucs(predictions, labels, splits):
    """AUC of each assay, averaged over splits."""
    found = []
    for name in splits:
        part = predictions[predictions["split"] == name].set_index(COMPOUND)[labels.columns]
        found.append(score_assays(part.to_numpy(), labels.loc[part.index].to_numpy())[0])
    return known_mean(np.array(found))


@pytest.fixture
def short(monkeypatch):
    """Train FNN for a quarter of its epochs."""
    settings = presets.Preset(**{**vars(presets.SMALL["FNN"]), "epochs": 25})
    monkeypatch.setitem(presets.SMALL, "FNN", settings)


def test_a_noise_free_assay_is_learned(short):
    profiles, compounds, labels, splits = screen(n=400)
    predictions = cross_validate("FNN", profiles, compounds, labels, splits)
    assert aucs(predictions, labels, splits).min() > 0.95
    assert predictions.attrs["steps"] == [350] * 3  # 25 epochs of 427 wells in batches of 32
    tested = predictions.groupby(COMPOUND).size()
    assert tested.to_dict() == dict.fromkeys(labels.index, 1)  # once each, wells averaged


def test_labels_that_are_missing_or_of_other_compounds_change_nothing(short):
    profiles, compounds, labels, splits = screen(n=60)
    first = cross_validate("FNN", profiles, compounds, labels, splits)
    rng = np.random.default_rng(1)
    more = np.concatenate([profiles, rng.normal(size=(10, 16))])
    names = np.concatenate([compounds, ["unlabelled"] * 10])
    assert cross_validate("FNN", more, names, labels, splits).equals(first)
    # Labels of test compounds are never seen.
    name = "split_1"
    hidden = labels.copy()
    test = (splits[name] == "test").to_numpy()
    hidden.iloc[test] = -hidden.iloc[test]
    second = cross_validate("FNN", profiles, compounds, hidden, splits[[name]])
    assert second.equals(first[first["split"] == name])


@pytest.mark.slow
@pytest.mark.parametrize("method", presets.FULL)
def test_shuffled_labels_give_chance(method, monkeypatch):
    profiles, compounds, labels, splits = screen(n=150, assays=16, wells=1, shuffled=True)
    inputs = profiles
    if method != "FNN":
        size = {"SC-CNN": 32, "M-CNN": 128, "MIL-Net": 96}.get(method, 64)
        rng = np.random.default_rng(0)
        inputs = rng.integers(0, 255, (150, 5, size, size)).astype(np.uint8)
        inputs[:, 0, : size // 2] //= np.where(profiles[:, :1, None] > 0, 4, 1).astype(np.uint8)
        settings = presets.SMALL[method]
        short = presets.Preset(**{**vars(settings), "epochs": 2})
        monkeypatch.setitem(presets.SMALL, method, short)
    auc = aucs(cross_validate(method, inputs, compounds, labels, splits), labels, splits)
    assert abs(auc.mean() - 0.5) < 3 * auc.std(ddof=1) / np.sqrt(len(auc))


def test_a_share_of_the_training_compounds(short):
    profiles, compounds, labels, splits = screen(n=60)
    few = cross_validate("FNN", profiles, compounds, labels, splits, share=0.1)
    whole = cross_validate("FNN", profiles, compounds, labels, splits)
    assert few[COMPOUND].equals(whole[COMPOUND]) and not few.equals(whole)


def test_bad_input():
    profiles, compounds, labels, splits = screen(n=60)
    with pytest.raises(InputError, match="methods are FNN, ResNet"):
        cross_validate("VGG", profiles, compounds, labels, splits)
    with pytest.raises(InputError, match=r"preset 'huge'.* presets full, small"):
        recipe_of_run("FNN", "d", labels, splits, preset="huge")
    with pytest.raises(InputError, match=r"1 labelled compounds have no input \(c0"):
        cross_validate("FNN", profiles[2:], compounds[2:], labels, splits)


def test_kept_runs_are_those_of_the_same_recipe(tmp_path):
    _, _, labels, splits = screen(n=60)
    path, recipe = tmp_path / "kept.parquet", recipe_of_run("FNN", "d", labels, splits)
    assert keep(path, "one", recipe, None) is None
    made = pd.DataFrame({"split": ["split_1"], COMPOUND: ["c0"], "a0": [0.5]})
    made.attrs = {"steps": [8]}
    assert keep(path, "one", recipe, lambda: made).equals(made)
    assert read_provenance(path)["runs"]["one"]["steps"] == [8]
    assert keep(path, "two", recipe, lambda: made.assign(a0=0.7)) is not None
    assert keep(path, "one", recipe, None).equals(made)
    for other in (
        recipe_of_run("FNN", "other", labels, splits),
        recipe_of_run("FNN", "d", -labels, splits),
        recipe_of_run("FNN", "d", labels, splits, share=0.5),
        recipe_of_run("FNN", "d", labels, splits, size=64),
        recipe_of_run("GapNet", "d", labels, splits),
    ):
        assert keep(path, "one", other, None) is None
    again, other = made.assign(a0=0.9), recipe_of_run("FNN", "e", labels, splits)
    assert keep(path, "one", other, lambda: again).equals(again)
    assert len(pd.read_parquet(path)) == 2


def test_the_kept_run_is_of_the_current_code():
    """The page's slow methods were run with today's presets on today's simulated screen."""
    root = Path(__file__).parents[2]
    source = (root / "notebooks" / "04_bioactivity.py").read_text()
    assigned = [n for n in ast.parse(source).body if isinstance(n, ast.Assign)]
    values = {n.targets[0].id: n.value for n in assigned if isinstance(n.targets[0], ast.Name)}
    identity = {
        "name": "lite",
        "seed": ast.literal_eval(values["seed"]),
        "revision": REVISION,
        "parameters": as_parameters(choose("lite", 0, 1, ACTIVITY)),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    path = root / ast.literal_eval(values["kept"])
    code = code_digest(*map(Path(kept.__file__).with_name, kept.CODE))
    runs, table = read_provenance(path)["runs"], pd.read_parquet(path)
    slow = {name: name for name in presets.CNNS} | {"CellProfiler-style": "FNN"}
    assert {f"{name} 1" for name in slow} <= set(runs)
    for name, run in runs.items():
        settings = presets.SMALL[slow[name.rpartition(" ")[0]]]
        assert run["inputs"]["data"] == digest and run["code"] == code
        assert run["settings"] == repr({**vars(settings), "build": settings.build.__name__})
        rows = table[table["run"] == name]
        assert (rows.groupby(COMPOUND).size() == 1).all() and rows["split"].nunique() == 3
        assert rows.filter(like="assay_").stack().between(0, 1).all()
