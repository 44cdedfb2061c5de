"""Otsu's threshold, which separates nuclei from background in the DNA channel."""

import numpy as np
from numpy.typing import NDArray

BINS = 256


def otsu_threshold(dna: NDArray, step: int = 10) -> float:
    """Otsu's threshold of a DNA image: the grey value that best splits it into two classes.

    Follows the released code: 256 bins between the smallest and largest value, every `step`-th
    pixel in both directions, and the centre of the bin whose split has the largest variance
    between the classes (the first of equals). Agrees with scikit-image's ``threshold_otsu`` on
    the same pixels.

    Parameters
    ----------
    dna
        (H, W); uint16 counts as 65535 = 1, anything else is taken as it is.
    step
        Distance between the pixels looked at; 1 looks at all.

    Returns
    -------
    float
        Threshold on the scale of the image (0..1 for uint16). A constant image returns its value.
    """
    pixels = np.asarray(dna)[::step, ::step].astype(np.float64).ravel()
    if dna.dtype == np.uint16:
        pixels /= 65535
    low, high = pixels.min(), pixels.max()
    if low == high:
        return float(low)
    counts, edges = np.histogram(pixels, bins=BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]  # (255,) pixels up to and including bin i
    above = pixels.size - below
    sums = np.cumsum(counts * centres)
    # Both classes always hold a pixel: the smallest is in the first bin, the largest in the last.
    gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    return float(centres[np.argmax(below * above.astype(np.float64) * gap**2)])
