"""As an effect of batch or source grows every metric moves one way; without it, it is null."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.metrics.batch import graph_connectivity, lisi, silhouette
from cpssl_lite.metrics.graph import nearest_graph
from cpssl_lite.metrics.variance import variance_explained


def measure(profiles, batch):
    """All metrics, turned so that more is a stronger effect."""
    graph = nearest_graph(profiles, 59)
    return {
        "silhouette": silhouette(profiles, batch).mean(),
        "connectivity 2": graph_connectivity(graph, batch, 2),
        "connectivity 5": graph_connectivity(graph, batch, 5),
        "minus LISI 30": -lisi(graph, batch, 30).mean(),
        "minus LISI 60": -lisi(graph, batch, 60).mean(),
        "variance": variance_explained(profiles, batch).adjusted,
    }


def null_interval(profiles, batch, treatment, n=60, seed=1):
    """Where each metric lies if batches are named at random among wells of one treatment.

    Screens are balanced: every treatment is in every batch, and so it stays.
    """
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(n):
        random = batch.copy()
        for name in np.unique(treatment):
            random[treatment == name] = rng.permutation(batch[treatment == name])
        draws.append(measure(profiles, random))
    table = pd.DataFrame(draws)
    return table.mean() - 3 * table.std(), table.mean() + 3 * table.std()


def moves_the_right_way(found, low, high):
    for name, values in found.items():
        assert np.all(np.diff(values) >= 0) and values.iloc[-1] > high[name], (name, values)
        assert low[name] <= values[0] <= high[name], (name, low[name], values[0], high[name])


def test_profiles_with_a_growing_batch_offset():
    rng = np.random.default_rng(5)
    batch, treatment = np.arange(320) % 4, np.arange(320) // 8
    noise = rng.standard_normal((320, 30)) + rng.standard_normal((40, 30))[treatment]
    offset = rng.standard_normal((4, 30))
    found = [measure(noise + s * offset[batch], batch) for s in (0, 0.25, 0.5, 1, 2)]
    moves_the_right_way(pd.DataFrame(found), *null_interval(noise, batch, treatment))


def handcrafted(folder, factor, **screen):
    """Moments and correlations of the channels of every well of a drawn screen."""
    layout = {"rows": 4, "n_targets": 8, "size": 96}
    table = pd.read_parquet(simulate("tiny", folder, workers=1, **layout, **screen))
    rows = []
    for file in table["FileName_Merged"]:
        planes = tifffile.imread(folder / file).astype(float).reshape(5, -1)
        moments = [planes.mean(axis=1), planes.std(axis=1), np.median(planes, axis=1)]
        rows.append(np.concatenate([*moments, np.corrcoef(planes)[np.triu_indices(5, 1)]]))
    profiles = (np.array(rows) - np.mean(rows, axis=0)) / np.std(rows, axis=0)
    return profiles, table[factor].to_numpy(), table["Metadata_Perturbation"].to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "layout"),
    [
        ("batch", {"n_batches": 4}),
        ("source", {"n_sources": 4, "n_batches": 1, "batch_strength": 0.0}),
    ],
)
def test_drawn_screens_of_growing_strength(tmp_path, factor, layout):
    screens = {}
    for strength in (0.0, 2.0, 8.0):
        layout = layout | {f"{factor}_strength": strength}
        folder = tmp_path / str(strength)
        screens[strength] = handcrafted(folder, f"Metadata_{factor.title()}", **layout)
    found = pd.DataFrame([measure(*screen[:2]) for screen in screens.values()])
    moves_the_right_way(found, *null_interval(*screens[0.0]))
