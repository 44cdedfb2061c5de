"""Numbers of the chapter on batch effects: with and without an effect, on the map and off it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cpssl_lite.metrics.batch import (
    CONNECTIVITY_K,
    LISI_K,
    gaussian_clusters,
    graph_connectivity,
    lisi,
    silhouette,
)
from cpssl_lite.metrics.graph import Graph, nearest_graph

Effects = dict[str, Any]  # silhouettes (n,), connectivity by k, mean LISI by k
ON_MAP, ON_FEATURES = "On the map", "On the features"
SIX = ["KRAS", "AKT1", "DNMT3A", "TGFBR1", "CDK2", "CDK7"]  # that the paper names
THREE = ["NAMPT", "PAK1", "RET"]


def effects(matrix: NDArray, graph: Graph, groups: NDArray) -> Effects:
    """Silhouettes of all wells, connectivity by k, mean LISI by k."""
    have, connected = graph.neighbours.shape[1], {}
    for k in (k for k in CONNECTIVITY_K if k <= have):
        connected[k] = graph_connectivity(graph, groups, k)
    mixed = {k: lisi(graph, groups, k).mean() for k in LISI_K if k <= have}
    return {"silhouette": silhouette(matrix, groups), "connectivity": connected, "lisi": mixed}


def renamed(groups: ArrayLike, treatments: ArrayLike, seed: int) -> NDArray:
    """Groups shuffled among wells of one treatment: no effect, same design."""
    rng, groups, treatments = np.random.default_rng(seed), np.array(groups), np.array(treatments)
    for name in np.unique(treatments):
        here = np.flatnonzero(treatments == name)
        groups[here] = rng.permutation(groups[here])
    return groups


def gaussian_baselines(groups: NDArray, width: int, seed: int) -> dict[str, Effects]:
    """Clusters that do not overlap, one for each group, and the same points shuffled."""
    points, mixed = gaussian_clusters(groups, width, seed)
    graph = nearest_graph(points, max(LISI_K))
    return {
        f"{name} clusters": effects(points, graph, given)
        for name, given in (("Gaussian", groups), ("Shuffled", mixed))
    }


def effects_beside_chance(
    found: Mapping[tuple[str, str], Effects], chance: Mapping[tuple[str, str], Effects]
) -> pd.DataFrame:
    """Means of what was found and, behind a slash, of what no effect gives."""
    columns = {"Connectivity, k = 3": ("connectivity", 3)}
    columns |= {f"LISI, k = {k}": ("lisi", k) for k in (30, 90)}
    rows = {}
    for (factor, name), seen in found.items():
        both = [one for one in (seen, chance.get((factor, name))) if one]
        row = {"Silhouette": [one["silhouette"].mean() for one in both]}
        row |= {title: [one[kind].get(k) for one in both] for title, (kind, k) in columns.items()}
        rows[f"{name}, by {factor}"] = {
            title: " / ".join("-" if v is None else f"{v:.3f}" for v in pair)
            for title, pair in row.items()
        }
    return pd.DataFrame(rows).T


def by_status(
    maps: Mapping[str, NDArray], values: Mapping[str, NDArray], heads: Mapping[str, pd.DataFrame]
) -> dict[tuple[str, str], dict[str, float]]:
    """Mean silhouette by batch of controls and of treated wells, on the map and on the features."""
    apart = {}
    for name, known in heads.items():
        negative = known["negcon"].to_numpy()
        for status, part in (("controls", negative), ("treated", ~negative)):
            groups = known["batch"].to_numpy()[part]
            if known["batch"].nunique() > 1 and part.sum() >= 3:
                on_map = silhouette(maps[name][part], groups, "euclidean").mean()
                on_features = silhouette(values[name][part], groups).mean()
                apart[name, status] = {ON_MAP: on_map, ON_FEATURES: on_features}
    return apart


def targets_above_chance(at: NDArray, known: pd.DataFrame, seed: int) -> float:
    """Mean silhouette by target on the map, minus the best of 20 with targets dealt anew.

    Parameters
    ----------
    at : (n, 2)
    known
        ``compound`` and ``target`` of each well: wells of one compound stay together.
    """
    seen = silhouette(at, known["target"].to_numpy(), "euclidean").mean()
    target_of = known.drop_duplicates().set_index("compound")["target"]
    rng, by_chance = np.random.default_rng(seed), []
    for _ in range(20):
        dealt = pd.Series(rng.permutation(target_of), target_of.index)
        names = known["compound"].map(dealt)
        by_chance.append(silhouette(at, names.to_numpy(), "euclidean").mean())
    return float(seen - max(by_chance))  # p < 0.05


def one_minus_other(
    pair: Sequence[str],
    factor: str,
    maps: Mapping[str, NDArray],
    heads: Mapping[str, pd.DataFrame],
    found: Mapping[tuple[str, str], Effects],
) -> dict[str, float]:
    """Difference in mean silhouette of two feature types, on the map and on the features."""
    on_map = [silhouette(maps[n], heads[n][factor].to_numpy(), "euclidean").mean() for n in pair]
    felt = [found[factor, n]["silhouette"].mean() for n in pair]
    end = "-source" if factor == "source" else "-dino-cellprofiler"
    return {
        f"batch-map{end}": on_map[0] - on_map[1],
        f"batch-features{end}": felt[0] - felt[1],
    }


def named_targets(pair: Sequence[tuple[NDArray, pd.DataFrame]]) -> dict[str, float]:
    """Of the paper's six and three targets, how many are as it says; none where one is missing."""
    means = []  # of each target's wells, on either map
    for at, known in pair:
        score = pd.Series(silhouette(at, known["target"].to_numpy(), "euclidean"))
        means.append(score.groupby(known["target"].to_numpy()).mean())
    one, other = means
    if not {*SIX, *THREE} <= set(one.index):
        return {}
    return {
        "batch-six-targets": (one > other)[SIX].sum(),
        "batch-three-targets": ((one > 0) & (other > 0))[THREE].sum(),
    }
