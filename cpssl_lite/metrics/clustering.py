"""Do families of genes cluster: within-family correlation, trees, adjusted mutual information.

Paper, "Hierarchical clustering of genetic perturbations" (Fig. 3d, e).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist
from sklearn.metrics.cluster import expected_mutual_information

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.metrics.similarity import encode, groups, unit_rows


class Group(NamedTuple):
    """A branch of a tree that belongs to a family: leaves `start` to `stop` of the leaf order."""

    start: int
    stop: int
    family: int
    share: float


def within_family_correlation(profiles: np.ndarray, families: np.ndarray) -> np.ndarray:
    """Mean Pearson correlation over all pairs of genes of each family.

    Parameters
    ----------
    profiles : (n, d)
        One profile per gene.
    families : (n,)
        "" and NaN are missing: such genes are left out.

    Returns
    -------
    (g,) float64
        One per family in sorted order; NaN for a family of one gene.

    Examples
    --------
    >>> profiles = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]])
    >>> within_family_correlation(profiles, np.array(["a", "a", "b"])).round(3)
    array([ 1., nan])
    """
    rows = unit_rows(profiles, "correlation")
    order, start = groups(encode(families))
    result = np.full(len(start) - 1, np.nan)
    for family, (a, b) in enumerate(pairwise(start)):
        if b - a > 1:
            members = rows[order[a:b]]
            # The squared length of the sum is the sum over all pairs, with the own ones.
            total = (members.sum(axis=0) ** 2).sum() - (members**2).sum()
            result[family] = total / ((b - a) * (b - a - 1))
    return result


def choose_families(
    profiles: np.ndarray,
    families: np.ndarray,
    n_families: int = 20,
    sizes: tuple[int, int] = (4, 10),
) -> np.ndarray:
    """Names of the families with the highest within-family correlation, best first.

    Only families with `sizes` genes (both ends included) are considered; there may be fewer than
    `n_families` of them.
    """
    codes = encode(families)
    names = np.unique(np.asarray(families)[codes >= 0].astype(str))
    size = np.bincount(codes[codes >= 0], minlength=len(names))
    fits = np.flatnonzero((size >= sizes[0]) & (size <= sizes[1]))
    best = np.argsort(-within_family_correlation(profiles, families)[fits], kind="stable")
    return names[fits[best[:n_families]]]


def correlation_tree(profiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation matrix of genes (n, n), and the tree of its rows as scipy's linkage (n - 1, 4).

    Complete linkage on the Euclidean distance between *rows of the correlation matrix*, as in
    the paper: two genes are near if they correlate alike with all genes.

    Raises
    ------
    InputError
        Fewer than two genes.
    """
    if len(profiles) < 2:
        raise InputError(f"a tree needs two genes or more, got {len(profiles)}")
    rows = unit_rows(profiles, "correlation")
    correlation = np.clip(rows @ rows.T, -1, 1)
    return correlation, linkage(pdist(correlation), "complete")


def ami_curve(tree: np.ndarray, families: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Adjusted mutual information of families and clusters, for each number of clusters (K,).

    Parameters
    ----------
    tree : (n - 1, 4)
        Linkage of `correlation_tree`.
    families : (n,)
    ks : numbers of clusters, from 1 to n

    Notes
    -----
    Equals scikit-learn's ``adjusted_mutual_info_score`` (arithmetic mean of the entropies).
    """
    return _amis(tree, _codes(families)[None], ks)[0]


def permuted_ami(
    tree: np.ndarray, families: np.ndarray, ks: Sequence[int], n: int = 200, seed: int = 0
) -> np.ndarray:
    """AMI when the family labels of the tree's genes are permuted, (n, K): a null of mean 0."""
    rng = np.random.default_rng(seed)
    codes = _codes(families)
    return _amis(tree, np.stack([rng.permutation(codes) for _ in range(n)]), ks)


def family_groups(
    tree: np.ndarray, families: np.ndarray, least: int = 3, purity: float = 0.75
) -> list[Group]:
    """Groups of one family in a tree, by rule rather than by eye.

    A group is a branch in which one family has at least `least` genes and at least the share
    `purity`; of branches within one another the largest counts. `Group.family` is the place of the
    family's name among the sorted names. Groups come in the order of scipy's leaves, in which a
    branch's genes stand side by side.
    """
    codes, n = _codes(families), len(families)
    members = [np.array([leaf]) for leaf in range(n)]
    for left, right in tree[:, :2].astype(int):
        members.append(np.concatenate([members[left], members[right]]))
    found = []
    branches = [(len(members) - 1, 0)]  # the root; left branches before right ones
    while branches:
        branch, start = branches.pop()
        leaves = members[branch]
        count = np.bincount(codes[leaves])
        family = int(count.argmax())
        share = float(count[family] / len(leaves))
        if count[family] >= least and share >= purity:
            found.append(Group(start, start + len(leaves), family, share))
        elif branch >= n:
            left, right = tree[branch - n, :2].astype(int)
            branches += [(right, start + len(members[left])), (left, start)]
    return found


def ami_after_choosing(
    profiles: np.ndarray,
    families: np.ndarray,
    ks: Sequence[int],
    n_families: int = 20,
    sizes: tuple[int, int] = (4, 10),
    purity: float = 0.75,
    n: int = 40,
    seed: int = 0,
) -> np.ndarray:
    """AMI and number of groups by chance, if families are chosen as in the real analysis.

    Labels are permuted before `choose_families`, so that every shuffle chooses the families that
    happen to correlate in it.

    Returns
    -------
    (n, K + 1)
        AMI for each of `ks` (at most as many as genes are chosen), then how many `family_groups`.
    """
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        dealt = rng.permutation(families)
        here = np.isin(dealt, choose_families(profiles, dealt, n_families, sizes))
        tree = correlation_tree(profiles[here])[1]
        amis = ami_curve(tree, dealt[here], np.minimum(ks, here.sum()))
        made.append([*amis, len(family_groups(tree, dealt[here], 3, purity))])
    return np.array(made)


def _amis(tree: np.ndarray, labels: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """AMI of every row of `labels` (p, n), codes with the same counts, for each k: (p, K)."""
    n = labels.shape[1]
    if len(tree) != n - 1:
        raise InputError(f"a tree of {len(tree) + 1} genes, but {n} family labels")
    size = np.bincount(labels[0])
    cuts = cut_tree(tree, n_clusters=list(ks))
    result = np.empty((len(labels), len(ks)))
    for column, clusters in enumerate(cuts.T):
        pairs = labels + len(size) * clusters
        n_cells = len(size) * (int(clusters.max()) + 1)
        shifted = pairs + n_cells * np.arange(len(labels))[:, None]
        table = np.bincount(shifted.ravel(), minlength=n_cells * len(labels))
        joint = _entropy(table.reshape(len(labels), n_cells) / n)
        count = np.bincount(clusters)
        own = _entropy(size[None] / n)[0] + _entropy(count[None] / n)[0]
        # Expected information depends on the counts alone: once for all permutations.
        chance = expected_mutual_information(table[:n_cells].reshape(-1, len(size)), n)
        most = own / 2 - chance
        information = own - joint - chance
        # Without anything to tell apart (one cluster and one family), they agree.
        result[:, column] = information / most if abs(most) > 1e-12 else float(own < 1e-12)
    return result


def _entropy(share: np.ndarray) -> np.ndarray:
    """Entropy in nats along the last axis."""
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1)


def _codes(families: np.ndarray) -> np.ndarray:
    """Codes of families, every gene having one."""
    codes = encode(families)
    if (codes < 0).any():
        raise InputError(
            f"{np.count_nonzero(codes < 0)} of {counted(len(codes), 'gene')} without a family"
        )
    return codes
