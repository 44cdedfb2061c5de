"""The same pixels twice: copies of one file under two names, in two channels or two fields."""

import hashlib
import logging
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cpssl_lite.base.words import counted

log = logging.getLogger(__name__)


def twin_channels(pixels: NDArray, names: Sequence[str]) -> tuple[str, str] | None:
    """Names of the first two channels of a field that hold the same; None if there are none.

    Planes of one value are not compared: they are told apart by that.

    Examples
    --------
    >>> plane = np.arange(6).reshape(2, 3)
    >>> twin_channels(np.stack([plane, plane + 1, plane]), ["Mito", "AGP", "RNA"])
    ('Mito', 'RNA')
    """
    for (a, one), (b, other) in combinations(zip(names, pixels, strict=False), 2):
        few = np.array_equal(one[::31], other[::31])  # nearly always enough to know
        if few and np.array_equal(one, other) and np.ptp(one):
            return a, b
    return None


def mark(pixels: NDArray) -> str:
    """Mark by which a field is known again, from every eighth row; "" if it has one value."""
    rows = np.ascontiguousarray(pixels[:, ::8])
    if not np.ptp(rows):
        return ""
    return hashlib.blake2b(rows.tobytes(), digest_size=12).hexdigest()


class Twins:
    """Looks at fields as they are read, by any number of threads, and says what was there twice."""

    def __init__(self) -> None:
        self.first: dict[str, str] = {}  # file by mark
        self.fields: list[tuple[str, str]] = []
        self.channels: list[tuple[str, str, str]] = []

    def look(self, pixels: NDArray, names: Sequence[str], file: str) -> None:
        """Take note of one field."""
        if same := twin_channels(pixels, names):
            self.channels.append((file, *same))
        if key := mark(pixels):
            other = self.first.setdefault(key, file)
            if other != file:
                self.fields.append((min(file, other), max(file, other)))

    def say(self) -> None:
        """One line for each of the two faults; nothing where all is well."""
        if self.channels:
            file, a, b = min(self.channels)
            log.warning(
                "%s with the same pixels in two channels (first: %s, %s and %s); cpssl data qc "
                "lists all such, --qc leaves them out",
                *(counted(len(self.channels), "field"), file, a, b),
            )
        if self.fields:
            log.warning(
                "%s with the pixels of another field (first: %s and %s); cpssl data qc lists all "
                "such, --qc leaves them out",
                *(counted(len(self.fields), "field"), *min(self.fields)),
            )
