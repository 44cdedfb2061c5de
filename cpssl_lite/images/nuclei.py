"""How many nuclei a field holds, counted fast enough to do it for every field."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def count_nuclei(dna: NDArray[np.uint16], otsu: float) -> int:
    """Bright pieces of the DNA channel; nuclei that touch count as one.

    Every second pixel is looked at. Pieces under a tenth of the typical one are debris.

    Parameters
    ----------
    dna
        (H, W), 65535 is 1.
    otsu
        Threshold on the 0..1 scale.

    Examples
    --------
    >>> dna = np.zeros((60, 60), np.uint16)
    >>> dna[5:20, 5:20] = dna[30:50, 30:50] = 40000
    >>> count_nuclei(dna, 0.3)
    2
    """
    small = ndimage.gaussian_filter(dna[::2, ::2].astype(np.float32) / 65535, 1)
    pieces, n = ndimage.label(small > otsu)
    area = np.bincount(pieces.ravel(), minlength=n + 1)[1:]
    whole = area[area >= 8]  # 30 px of a field: less is noise
    return int((whole >= 0.1 * np.median(whole)).sum()) if len(whole) else 0
