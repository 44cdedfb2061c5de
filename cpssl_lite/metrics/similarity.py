"""Similarities of profiles in blocks: float32 to look, float64 to decide.

No n x n matrix is ever held. A block of rows is multiplied in float32; wherever the order of
two similarities matters and they are too near to each other for float32, the pair is computed
again in float64. How near is too near is measured on the data (`nearness`).

What is done for every pair is compiled (numba; kept beside this file after the first call).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numba
import numpy as np

from cpssl_lite.base.errors import InputError

# Float64 similarities nearer than this are equal: products of the same two profiles in another
# order differ by some 1e-16.
TIE = 1e-12
TINY = 1e-100  # the squares of smaller values have no place in float64
BLOCK_BYTES = 64e6
BLOCK_ROWS = 512  # at least: products of fewer rows spend their time on copying the others
MOST_ROWS = 8192  # at most, however few the others are: each row's hits are held too
# With fewer profiles the products take less time than importing torch to look for a GPU.
GPU_FROM = 16_000


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function at its first call; what comes out is kept for the next process."""
    try:
        return numba.njit(function, nogil=True, cache=True, **options)
    except RuntimeError:  # nowhere to keep it: the package's folder is read-only, as is the home
        return numba.njit(function, nogil=True, **options)


def unit_rows(profiles: np.ndarray, distance: str = "cosine") -> np.ndarray:
    """Rows of length 1 whose dot products are 1 - distance, (n, d) float64.

    Parameters
    ----------
    profiles : (n, d)
    distance : {"cosine", "correlation"}
        Correlation is the cosine of profiles whose own mean was subtracted. A profile of
        length zero (constant, for correlation) has similarity 0 to everything.

    Raises
    ------
    InputError
        Another distance; so do all metrics that take one.
    """
    rows = np.array(profiles, dtype=np.float64, order="C")
    size = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    tiny = ((size > 0) & (size < TINY))[:, 0]
    rows[tiny] /= size[tiny]
    size[tiny] = 1.0
    if distance == "correlation":
        rows -= rows.mean(axis=1, keepdims=True)
    elif distance != "cosine":
        raise InputError(f"distance {distance!r} is not one of cosine, correlation")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    # What is left of a constant profile after subtracting its mean is rounding.
    length[length <= 1e-14 * size * np.sqrt(rows.shape[1])] = np.inf
    rows /= length
    return rows


def blocks(
    rows: np.ndarray, others: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows of the block, similarities (b, n) float32) to the `others`.

    Without `others` to the rows themselves, the diagonal at -inf. The array is used again for the
    next block: copy what must stay.
    """
    low = rows.astype(np.float32)
    there = low if others is None else others.astype(np.float32)
    count, n = len(low), len(there)
    multiply = _product(low, there, on_gpu=_on_gpu(n))
    height = min(max(int(BLOCK_BYTES / (4 * max(n, 1))), BLOCK_ROWS), max(count, 1), MOST_ROWS)
    out = np.empty((height, n), dtype=np.float32)
    for start in range(0, count, height):
        stop = min(start + height, count)
        block = out[: stop - start]
        multiply(slice(start, stop), block)
        if others is None:
            block[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        yield slice(start, stop), block


def _on_gpu(n: int) -> bool:
    """Whether `n` rows are multiplied on a GPU: there is one, and it is worth the way."""
    if n < GPU_FROM:
        return False
    import torch

    return torch.cuda.is_available()


def _product(
    low: np.ndarray, there: np.ndarray, on_gpu: bool
) -> Callable[[slice, np.ndarray], Any]:
    """What fills a block with low[here] @ there.T."""
    if on_gpu:
        import torch

        left = torch.from_numpy(low).cuda()
        right = left if there is low else torch.from_numpy(there).cuda()
        return lambda here, out: torch.from_numpy(out).copy_(left[here] @ right.T)
    return lambda here, out: np.matmul(low[here], there.T, out=out)


def nearness(rows: np.ndarray) -> float:
    """How near two float32 similarities may be before float64 has to decide.

    Measured on the device that multiplies: a GPU rounds otherwise than a processor.

    Four times the largest error among some 256 rows with one another, 1e-6 at least (a float32
    product of unit vectors of some hundred features is off by a few 1e-7).
    """
    sample = rows[:: max(len(rows) // 256, 1)]
    low = sample.astype(np.float32)
    products = np.empty((len(low), len(low)), np.float32)
    _product(low, low, on_gpu=_on_gpu(len(rows)))(slice(None), products)
    return max(1e-6, 4 * float(np.abs(products - sample @ sample.T).max(initial=0.0)))


def in_threads(kernel: Callable[..., None], count: int, *args: Any) -> None:
    """Call kernel(*args, first, last) on the parts of range(count), a thread each."""
    edges = np.linspace(0, count, numba.get_num_threads() + 1, dtype=int)
    if count < 64:
        kernel(*args, 0, count)
        return
    with ThreadPoolExecutor(len(edges) - 1) as pool:
        parts = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        for done in [pool.submit(kernel, *args, a, b) for a, b in parts]:
            done.result()


@partial(compiled, fastmath={"reassoc", "contract"})
def dot(one: np.ndarray, other: np.ndarray) -> float:
    """Dot product, the same whichever of the two comes first."""
    total = 0.0
    for i in range(len(one)):
        total += one[i] * other[i]
    return total


@compiled
def _cells(
    values: np.ndarray, low: np.float32, scale: np.float32, top: np.float32, out: np.ndarray
) -> None:
    """Which step from `low` upwards each value is on, 1 to `top`; never falls as values rise.

    Values that are lower by a step or more are all on 0.
    """
    for j in range(len(values)):
        step = (values[j] - low) * scale + np.float32(1.0)
        out[j] = np.int32(min(max(step, np.float32(0.0)), top))


@compiled
def rank(
    similarity: np.ndarray,
    rows: np.ndarray,
    others: np.ndarray,
    offset: int,
    near: float,
    start: np.ndarray,
    cutoff: np.ndarray,
    item: np.ndarray,
    found: np.ndarray,
    place: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Count who is near a query, exactly, for the rows first to last of a block.

    Query i has the cutoffs start[i] to start[i + 1], ascending. Into `found` goes how many others
    have a similarity of at least the cutoff (less `TIE`), into `place` how many are ahead of
    `item`, the one of `others` at the cutoff (-1: none there), and itself: equals stand in table
    order.

    A row is read once. A table tells from a similarity, cut to one of some thousand steps, how
    many cutoffs it is above; only on a step that the window around a cutoff touches are they
    compared, and only within the window in float64.
    """
    for i in range(first, last):
        row, cutoffs = similarity[i], cutoff[start[i] : start[i + 1]]
        m = len(cutoffs)
        if m == 0:
            continue
        lows, highs = np.empty(m, np.float32), np.empty(m, np.float32)
        for t in range(m):  # rounding them moves them by far less than `near`
            lows[t], highs[t] = cutoffs[t] - near, cutoffs[t] + near
        low, top = lows[0], np.float32(min(max(128 * m, 4096), 65536))
        scale = (top - np.float32(2.0)) / (highs[-1] - low)
        above = np.full(int(top) + 1, m, np.int32)
        begins, ends = np.empty((2, m), np.uint32)
        _cells(lows, low, scale, top, begins)
        _cells(highs, low, scale, top, ends)
        done = 0  # steps that are filled in
        for t in range(m):
            above[done : begins[t]] = t
            done = max(done, begins[t])
            above[done : ends[t] + 1] = -1 - t  # have a closer look, from cutoff t on
            done = max(done, ends[t] + 1)
        passed = np.zeros((4, m + 1), np.int64)  # how many are above that many cutoffs
        mine_found, mine_place = found[start[i] : start[i + 1]], place[start[i] : start[i + 1]]
        mine = item[start[i] : start[i + 1]]
        cell = np.empty(512, np.uint32)
        for begin in range(0, len(row), 512):
            part = row[begin : begin + 512]
            _cells(part, low, scale, top, cell)
            for j in range(len(part)):
                t = above[cell[j]]
                if t < 0:
                    t = -1 - t
                    while t < m and part[j] > highs[t]:
                        t += 1
                    for u in range(t, m):
                        if part[j] < lows[u]:
                            break
                        other = begin + j
                        exact = cutoffs[u]
                        if other != mine[u]:
                            exact = dot(rows[offset + i], others[other])
                            ahead = exact > cutoffs[u] + TIE
                            mine_place[u] += ahead or (
                                exact >= cutoffs[u] - TIE and other < mine[u]
                            )
                        mine_found[u] += exact >= cutoffs[u] - TIE
                passed[j & 3, t] += 1  # four counters: none waits for the one before
        more = 0
        for t in range(m - 1, -1, -1):
            for counter in passed:
                more += counter[t + 1]
            mine_found[t] += more
            mine_place[t] += more + 1


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
