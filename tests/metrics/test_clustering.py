"""Families in trees of genes, beside scikit-learn, scipy and a known truth."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, fcluster, leaves_list, linkage
from sklearn.metrics import adjusted_mutual_info_score

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.clustering import (
    ami_after_choosing,
    ami_curve,
    choose_families,
    correlation_tree,
    family_groups,
    permuted_ami,
    within_family_correlation,
)

SIZES = (3, 4, 5, 5, 6, 12)
FAMILIES = np.repeat([f"family {i}" for i in range(len(SIZES))], SIZES)


def screen(noise, seed=0):
    """Genes that are their family's direction and noise."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((len(SIZES), 60))
    profiles = np.repeat(directions, SIZES, axis=0)
    return profiles + noise * rng.standard_normal(profiles.shape)


def test_within_family_correlation_equals_numpy():
    profiles = screen(1.0)
    got = within_family_correlation(profiles, FAMILIES)
    for name, value in zip(np.unique(FAMILIES), got, strict=True):
        matrix = np.corrcoef(profiles[FAMILIES == name])
        assert value == pytest.approx(matrix[np.triu_indices_from(matrix, 1)].mean())


def test_choose_families():
    profiles = screen(0.5)
    rng = np.random.default_rng(1)
    loose = FAMILIES == "family 3"
    profiles[loose] = rng.standard_normal((loose.sum(), 60))
    got = choose_families(profiles, FAMILIES, 20, (4, 10))
    assert set(got) == {"family 1", "family 2", "family 3", "family 4"}  # not those of 3 and 12
    assert got[-1] == "family 3"
    assert list(choose_families(profiles, FAMILIES, 2, (4, 10))) == list(got[:2])
    nameless = np.where(FAMILIES == "family 1", "", FAMILIES)
    assert "" not in choose_families(profiles, nameless)
    assert len(choose_families(profiles, FAMILIES, 20, (20, 30))) == 0


def test_tree_is_complete_linkage_of_rows_of_the_correlation_matrix():
    profiles = screen(1.0)
    correlation, tree = correlation_tree(profiles)
    np.testing.assert_allclose(correlation, np.corrcoef(profiles), atol=1e-12)
    expected = linkage(np.corrcoef(profiles), "complete", metric="euclidean")
    np.testing.assert_allclose(tree, expected, atol=1e-9)


@pytest.mark.parametrize("noise", [0.3, 2.0, 8.0])
def test_ami_equals_scikit_learn(noise):
    _, tree = correlation_tree(screen(noise))
    ks = range(1, len(FAMILIES) + 1)
    got = ami_curve(tree, FAMILIES, ks)
    for k, value in zip(ks, got, strict=True):
        clusters = cut_tree(tree, k).ravel()
        assert value == pytest.approx(adjusted_mutual_info_score(FAMILIES, clusters), abs=1e-9)
        by_height = fcluster(tree, k, "maxclust")
        assert value == pytest.approx(adjusted_mutual_info_score(FAMILIES, by_height), abs=1e-9)


def test_ami_of_noise_free_families_is_one_at_their_number():
    _, tree = correlation_tree(screen(1e-6))
    curve = ami_curve(tree, FAMILIES, range(1, len(FAMILIES) + 1))
    assert curve[len(SIZES) - 1] == pytest.approx(1)
    assert curve.argmax() == len(SIZES) - 1 and curve[0] == pytest.approx(0, abs=1e-9)


def test_ami_of_shuffled_families_is_zero_within_its_interval():
    _, tree = correlation_tree(screen(0.3))
    ks = (4, 6, 12, 20)
    null = permuted_ami(tree, FAMILIES, ks, n=1000)
    error = null.std(axis=0) / np.sqrt(len(null))
    assert (np.abs(null.mean(axis=0)) < 4 * error).all() and (error < 0.01).all()
    low, high = np.percentile(null, (2.5, 97.5), axis=0)
    assert (low < 0).all() and (high > 0).all()
    assert (ami_curve(tree, FAMILIES, ks) > high).all()
    np.testing.assert_array_equal(null[:9], permuted_ami(tree, FAMILIES, ks, n=9))


def test_groups_are_the_families_of_three_or_more():
    _, tree = correlation_tree(screen(0.1))
    found = family_groups(tree, FAMILIES)
    assert sorted(group.family for group in found) == list(range(len(SIZES)))
    assert all(group.share == 1 for group in found)
    ordered = FAMILIES[leaves_list(tree)]
    for group in found:  # the boxes lie where scipy's leaves lie
        assert set(ordered[group.start : group.stop]) == {f"family {group.family}"}
        assert group.stop - group.start == SIZES[group.family]
    assert len(family_groups(tree, FAMILIES, least=4)) == len(SIZES) - 1


def test_groups_are_the_largest_branches_of_enough_purity():
    # 0, 1, 2 of family a and 3 of family b join one after the other; 4 of b comes last.
    tree = np.array([[0, 1, 1, 2], [2, 5, 2, 3], [3, 6, 3, 4], [4, 7, 4, 5]], dtype=float)
    families = np.array(list("aaabb"))
    assert [(g.stop - g.start, g.share) for g in family_groups(tree, families)] == [(4, 0.75)]
    assert [g.stop - g.start for g in family_groups(tree, families, purity=0.8)] == [3]
    assert [g.stop - g.start for g in family_groups(tree, families, purity=0.6)] == [5]
    assert family_groups(tree, families, least=4) == []


def test_wrong_input_says_what_is_wrong():
    _, tree = correlation_tree(screen(1.0))
    with pytest.raises(InputError, match="35 genes, but 3 family labels"):
        ami_curve(tree, np.array(list("abc")), [2])
    with pytest.raises(InputError, match="1 of 35 genes without a family"):
        family_groups(tree, np.r_[FAMILIES[:-1], [""]])
    with pytest.raises(InputError, match="two genes or more, got 1"):
        correlation_tree(np.ones((1, 3)))


def test_choosing_after_shuffling_raises_the_bar() -> None:
    draw = np.random.default_rng(0)
    profiles, families = draw.normal(size=(60, 8)), np.repeat(np.arange(15).astype(str), 4)
    few = ami_after_choosing(profiles, families, [4], 4, (4, 4), n=30)
    every = ami_after_choosing(profiles, families, [15], 15, (4, 4), n=30)
    assert few.shape == every.shape == (30, 2)
    assert few[:, 0].mean() > every[:, 0].mean() + 0.1 and abs(every[:, 0].mean()) < 0.1
    again = ami_after_choosing(profiles, families, [4], 4, (4, 4), n=30)
    assert (few == again).all()
