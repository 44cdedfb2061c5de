"""Two-dimensional maps of profiles."""

import warnings
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors


def umap_map(profiles: np.ndarray, seed: int = 0) -> np.ndarray:
    """UMAP of profiles as in the paper's Methods ("UMAP embeddings"); the seed fixes it.

    The first 200 principal components (all where there are fewer), correlation distance, 50
    neighbours, minimum distance 0.7.

    Parameters
    ----------
    profiles : (n, d)

    Returns
    -------
    (n, 2) float32
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optional packages; "n_jobs overridden" by the seed
        from umap import UMAP, layouts, umap_

        # To compile them takes 15 s, which UMAP does anew in every process.
        for module, name in (
            (umap_, "smooth_knn_dist"),
            (umap_, "compute_membership_strengths"),
            (layouts, "_optimize_layout_euclidean_single_epoch"),
        ):
            slow: Any = getattr(module, name, None)  # names of this version of UMAP
            if hasattr(slow, "enable_caching"):
                slow.enable_caching()
        parts = PCA(min(200, *profiles.shape), random_state=seed).fit_transform(profiles)
        n = min(50, len(parts) - 1)
        # Exact, and without UMAP's own search, which is a Python call for each pair of rows.
        nearest = NearestNeighbors(n_neighbors=n, metric="correlation", algorithm="brute")
        distances, rows = nearest.fit(parts).kneighbors(parts)
        maker = UMAP(
            n_neighbors=n,
            min_dist=0.7,
            metric="correlation",
            random_state=seed,
            precomputed_knn=(rows.astype(np.int32), distances.astype(np.float32)),
            force_approximation_algorithm=True,  # else a small table's neighbours are not taken
        )
        return maker.fit_transform(parts)
