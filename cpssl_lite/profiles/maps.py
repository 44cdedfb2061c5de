"""Two-dimensional maps of profiles."""

import warnings

import numpy as np
from sklearn.decomposition import PCA


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
        from umap import UMAP

        parts = PCA(min(200, *profiles.shape), random_state=seed).fit_transform(profiles)
        maker = UMAP(
            n_neighbors=min(50, len(parts) - 1),
            min_dist=0.7,
            metric="correlation",
            random_state=seed,
        )
        return maker.fit_transform(parts)
