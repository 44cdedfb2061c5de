"""The map of the paper's Methods."""

import numpy as np

from cpssl_lite.profiles.maps import umap_map


def test_map_is_reproducible_and_keeps_groups_together():
    rng = np.random.default_rng(0)
    group = np.arange(120) % 3
    profiles = rng.standard_normal((120, 20)) + 6 * rng.standard_normal((3, 20))[group]
    placed = umap_map(profiles, seed=4)
    assert placed.shape == (120, 2) and np.isfinite(placed).all()
    np.testing.assert_array_equal(placed, umap_map(profiles, seed=4))
    assert not np.array_equal(placed, umap_map(profiles, seed=5))
    far = np.linalg.norm(placed[:, None] - placed, axis=2) + 1e9 * np.eye(120)
    assert (group[far.argmin(axis=1)] == group).all()


def test_fewer_wells_than_neighbours_and_components():
    assert umap_map(np.random.default_rng(0).standard_normal((12, 300))).shape == (12, 2)
