"""Similarities of profiles in blocks: float32 to look, float64 to decide.

No n x n matrix is ever held. A block of rows is multiplied in float32; wherever the order of
two similarities matters and they are too near to each other for float32, the pair is computed
again in float64. How near is too near is measured on the data (`window`).
"""

from collections.abc import Iterator

import numpy as np

# Float64 similarities nearer than this are equal: products of the same two profiles in another
# order differ by some 1e-16.
TIE = 1e-12
BLOCK_BYTES = 64e6


def unit_rows(profiles: np.ndarray, distance: str = "cosine") -> np.ndarray:
    """Rows of length 1 whose dot products are 1 - distance, (n, d) float64.

    Parameters
    ----------
    profiles : (n, d)
    distance : {"cosine", "correlation"}
        Correlation is the cosine of profiles whose own mean was subtracted. A profile of
        length zero (constant, for correlation) has similarity 0 to everything.
    """
    rows = np.array(profiles, dtype=np.float64)
    if distance == "correlation":
        rows -= rows.mean(axis=1, keepdims=True)
    elif distance != "cosine":
        raise ValueError(f"distance {distance!r} is not one of cosine, correlation")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    # What is left of a constant profile after subtracting its mean is rounding.
    size = np.abs(profiles).max(axis=1, keepdims=True, initial=0.0)
    length[length <= 1e-14 * size * np.sqrt(rows.shape[1])] = np.inf
    return rows / length


def blocks(rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows of the block, similarities (b, n) float32) with the diagonal at -inf.

    The array is used again for the next block: copy what must stay.
    """
    n = len(rows)
    low = rows.astype(np.float32)
    height = int(np.clip(BLOCK_BYTES / (4 * max(n, 1)), 1, max(n, 1)))
    out = np.empty((height, n), dtype=np.float32)
    for start in range(0, n, height):
        stop = min(start + height, n)
        block = np.matmul(low[start:stop], low.T, out=out[: stop - start])
        block[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        yield slice(start, stop), block


def window(approximate: np.ndarray, exact: np.ndarray) -> float:
    """How near two float32 similarities may be before float64 has to decide.

    Four times the largest error seen among the pairs known in both precisions, 1e-6 at least (a
    float32 product of unit vectors of some hundred features is off by a few 1e-7).
    """
    if len(exact) == 0:
        return 1e-6
    return max(1e-6, 4 * float(np.abs(approximate - exact).max()))


class Query:
    """One profile among the others: how many are near it, exactly.

    Counts come from the float32 similarities; only the profiles in a window around a cutoff
    are looked at in float64.
    """

    def __init__(self, rows: np.ndarray, index: int, similarity: np.ndarray, near: float) -> None:
        self.rows = rows  # (n, d) float64, unit length
        self.index = index
        self.similarity = similarity  # (n,) float32, to itself -inf
        self.near = near
        self._order: np.ndarray | None = None
        self._looks = 0

    def at_least(self, cutoffs: np.ndarray, known: int = 0) -> np.ndarray:
        """How many others have a similarity of at least each cutoff (less `TIE`).

        `known` of them are known to lie at each cutoff, so that these need no second look.
        """
        low, high = self._windows(cutoffs)
        # Some passes over the row cost less than sorting it.
        if len(cutoffs) <= 2 * np.log2(len(self.similarity)):
            row = self.similarity
            counts = np.array([np.count_nonzero(row >= bound) for bound in low.tolist()])
            above = np.array([np.count_nonzero(row > bound) for bound in high.tolist()])
        else:
            counts, above = _counts(self.ranked(), low, high)
        for i in np.flatnonzero(counts - above > known):
            values = self._exact(self._inside(low[i], high[i]))
            counts[i] = above[i] + np.count_nonzero(values >= cutoffs[i] - TIE)
        return counts

    def places(self, items: np.ndarray, exact: np.ndarray, most: int) -> np.ndarray:
        """Place of each item, 1 for the nearest; equals stand in table order.

        `exact` are the items' float64 similarities. Places above `most` are only known to be
        above it.
        """
        row, n = self.similarity, len(self.similarity)
        if n > 4 * most:  # the far ones need no order
            last = np.partition(row, n - most)[n - most]
            row = row[row >= last - 2 * self.near]
        low, high = self._windows(exact)
        counts, above = _counts(np.sort(row), low, high)
        for i in np.flatnonzero((counts - above > 1) & (above < most)):
            inside = self._inside(low[i], high[i])
            values = self._exact(inside)
            ahead = (values > exact[i] + TIE) | ((values >= exact[i] - TIE) & (inside < items[i]))
            counts[i] = above[i] + np.count_nonzero(ahead) + 1
        return np.where(above >= most, most + 1, counts)

    def ranked(self) -> np.ndarray:
        """The float32 similarities, ascending; the first is the profile itself."""
        return np.sort(self.similarity)

    def _exact(self, items: np.ndarray) -> np.ndarray:
        return self.rows[items] @ self.rows[self.index]

    def _windows(self, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds, float32 (rounding moves them by far less than `near`)."""
        return (centres - self.near).astype(np.float32), (centres + self.near).astype(np.float32)

    def _inside(self, low: np.float32, high: np.float32) -> np.ndarray:
        """Items in a window."""
        row = self.similarity
        self._looks += 1
        if self._looks <= 40:
            return np.flatnonzero((row >= low) & (row <= high))
        if self._order is None:  # from here on sorting once is cheaper than searching again
            self._order = np.argsort(row)
        start = np.searchsorted(row, low, side="left", sorter=self._order)
        stop = np.searchsorted(row, high, side="right", sorter=self._order)
        return self._order[start:stop]


def _counts(ranked: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of `ranked` (ascending) are at least `low`, and how many above `high`."""
    n = len(ranked)
    return n - np.searchsorted(ranked, low, "left"), n - np.searchsorted(ranked, high, "right")


def groups(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Members of every group: `order`, `start` so that group g is order[start[g]:start[g + 1]].

    Negative codes belong to no group.
    """
    order = np.argsort(codes, kind="stable")
    order = order[np.count_nonzero(codes < 0) :]
    start = np.searchsorted(codes[order], np.arange(codes.max(initial=-1) + 2))
    return order, start


def encode(labels: np.ndarray) -> np.ndarray:
    """Integer codes of labels; missing ones ("" or NaN) are -1 and equal nothing."""
    names = np.asarray(labels)
    if names.dtype.kind in "iub":
        return np.unique(names, return_inverse=True)[1]
    text = names.astype(str)
    missing = (text == "") | (text == "nan") | (text == "None") | (text == "<NA>")
    codes = np.full(len(text), -1)
    if not missing.all():
        codes[~missing] = np.unique(text[~missing], return_inverse=True)[1]
    return codes
