"""Are batches mixed where the biology is the same: BRAS, CiLISI, kBET, principal components.

Silhouette compares a batch with the nearest other one: as soon as two of many batches overlap it
looks mixed (Rautenstrauch and Ohler, Nature Biotechnology 2025). What each of these sees, and
what not:

- BRAS asks within a label how much nearer the own batch is than all others. Global; blind to
  batches that are mixed at large but not locally.
- CiLISI counts batches in neighbourhoods within a label. Local; blind to how far apart they are.
- kBET tests whether neighbourhoods have the batches in the proportions of the whole. Strict: with
  many profiles small differences are found, and labels that batches share unevenly count as
  batch effects.
- Principal-component regression is the share of variance that a batch, or a number, explains
  linearly; blind to anything that a mean does not show.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.batch import (
    batch_codes,
    cosine_to_batches,
    first_neighbours,
    lisi,
    silhouette_of,
)
from cpssl_lite.metrics.graph import Graph, nearest_graph
from cpssl_lite.metrics.similarity import encode, groups, unit_rows
from cpssl_lite.metrics.variance import variance_explained

LEAST = 10  # profiles of a label, for neighbourhoods within it


class Acceptance(NamedTuple):
    """kBET: the share of profiles whose test does not reject, the statistic and p of each."""

    accepted: float
    statistic: np.ndarray
    p: np.ndarray


def bras(profiles: np.ndarray, labels: np.ndarray, batch: np.ndarray) -> float:
    """Batch removal adapted silhouette: 1 where batches of a label are mixed, 0 where apart.

    Parameters
    ----------
    profiles : (n, d)
    labels : (n,)
        What the biology says is the same (a perturbation, a target). "" and NaN take no part.
    batch : (n,)

    Returns
    -------
    float
        Mean over labels of the mean of 1 - |s|, s the cosine silhouette of a profile in its
        batch against all profiles of the label's other batches. Labels of one batch, or with
        a batch for each profile, are left out; NaN if no label is left.

    Notes
    -----
    As ``scib_metrics.bras`` (mean_other), which computes all pairs of a label; here none.
    """
    rows = unit_rows(profiles)
    batches, _ = batch_codes(batch)
    means = []
    for members in _members(labels):
        codes, size = batch_codes(batches[members])
        if 1 < len(size) < len(members):
            total, within = cosine_to_batches(rows[members], codes, size)
            own = total[np.arange(len(codes)), codes]
            between = (total.sum(axis=1) - own) / (len(members) - size[codes])
            means.append(np.mean(1 - np.abs(silhouette_of(within, between))))
    return float(np.mean(means)) if means else float("nan")


def cilisi(profiles: np.ndarray, labels: np.ndarray, batch: np.ndarray, k: int = 90) -> np.ndarray:
    """How many batches are mixed around each profile within its label, 0 (one) to 1 (all).

    Parameters
    ----------
    profiles : (n, d)
    labels, batch : (n,)
    k : int
        Size of a neighbourhood as in `lisi`; smaller labels take all their profiles.

    Returns
    -------
    (n,) float64
        (LISI - 1) / (batches of the label - 1), with neighbours and batches of the label alone.
        NaN for labels with fewer than 10 profiles or one batch. Its mean is CiLISI.

    Notes
    -----
    Andreatta et al., Nature Communications 2024 (R package scIntegrationMetrics).
    """
    batches, _ = batch_codes(batch)
    result = np.full(len(batches), np.nan)
    for members in _members(labels):
        size = len(np.unique(batches[members]))
        if len(members) >= LEAST and size > 1:
            near = min(k, len(members))
            graph = nearest_graph(profiles[members], near - 1)
            result[members] = (lisi(graph, batches[members], near) - 1) / (size - 1)
    return result


def kbet(graph: Graph, batch: np.ndarray, k: int | None = None, alpha: float = 0.05) -> Acceptance:
    """Share of profiles whose neighbourhood has the batches in the proportions of the whole.

    Parameters
    ----------
    graph : Graph
    batch : (n,)
    k : int, optional
        Neighbours that are looked at [default: a quarter of the mean batch, 10 to 70].
    alpha : float

    Returns
    -------
    Acceptance
        `accepted` is 1 - alpha on average where batches are mixed at random, 0 where they are
        apart.

    Notes
    -----
    Büttner et al., Nature Methods 2019: Pearson's chi-squared test around every profile, as in
    ``scib_metrics.kbet`` on the same neighbours.
    """
    codes, size = batch_codes(batch)
    if len(size) < 2:
        return Acceptance(np.nan, *np.full((2, len(codes)), np.nan))
    k = k or int(np.clip(np.mean(size) // 4, 10, 70))
    near = first_neighbours(graph, k, "kBET")[0]
    expected = size / len(codes) * k
    seen = np.zeros((len(codes), len(size)))
    for column in near.T:
        seen[np.arange(len(codes)), codes[column]] += 1
    statistic = ((seen - expected) ** 2 / expected).sum(axis=1)
    p = chi2.sf(statistic, len(size) - 1)
    return Acceptance(float(np.mean(p >= alpha)), statistic, p)


def pc_regression(profiles: np.ndarray, factor: np.ndarray, components: int | None = None) -> float:
    """Share of the variance of the first principal components that goes along with a factor.

    Parameters
    ----------
    profiles : (n, d)
    factor : (n,)
        As in `variance_explained`: numbers of kind float are a straight line, anything else groups.
    components : int, optional
        [default: all of them]
    """
    if components is None:
        return variance_explained(profiles, factor).share
    limit = min(np.shape(profiles))
    if not 1 <= components <= limit:
        raise InputError(f"{components} components of {limit} that there are; take 1 to {limit}")
    values = np.asarray(profiles, dtype=np.float64)
    left, size, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    return variance_explained(left[:, :components] * size[:components], factor).share


def _members(labels: np.ndarray) -> list[np.ndarray]:
    order, start = groups(encode(labels))
    return np.split(order, start[1:-1])
