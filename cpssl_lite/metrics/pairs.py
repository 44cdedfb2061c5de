"""Who is a positive of a query and who a negative, by codes; the kernels that find them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.similarity import compiled, dot, groups, in_threads


class Pairs(NamedTuple):
    """Who goes with a query: agrees with it in all of `same`, in none of `different`.

    Each is an (n,) array of integer codes (see `similarity.encode`); -1 agrees with nothing.
    `among`, (n,) bool, says who may be chosen at all. Nobody goes with itself.
    """

    same: Sequence[np.ndarray] = ()
    different: Sequence[np.ndarray] = ()
    among: np.ndarray | None = None


class Rule:
    """A question, its codes arranged for the kernels."""

    def __init__(
        self, positive: Pairs, negative: Pairs, asked: np.ndarray, others: np.ndarray, n: int
    ) -> None:
        if not positive.same:
            raise InputError("the rule of positives needs something that is the same")
        self.asked, self.others = asked, others
        # Positives: groups that agree in everything, then what must not agree.
        joint = np.asarray(positive.same[0])
        for code in positive.same[1:]:
            joint = both(joint, np.asarray(code))
        self.joint = joint
        chosen = joint if positive.among is None else np.where(positive.among, joint, -1)
        width = int(joint.max(initial=-1)) + 1
        self.order, bounds = groups(chosen)
        self.bounds = np.append(bounds, np.full(max(width + 1 - len(bounds), 0), bounds[-1]))
        self.unlike = _codes(positive.different, n)
        # Negatives.
        self.same, self.different = _codes(negative.same, n), _codes(negative.different, n)
        among = np.ones(n, dtype=bool) if negative.among is None else negative.among
        self.among = np.ascontiguousarray(among[others])
        self.columns = self.same[:, others], self.different[:, others]
        self.itself = np.full(n, -1)
        self.itself[others] = np.arange(len(others))

    def mask(self, similarity: np.ndarray, here: slice) -> np.ndarray:
        """Set the similarity of who is no negative to -inf; return how many are, per query."""
        who = self.asked[here]
        negatives = np.zeros(len(who), dtype=np.int64)
        args = (similarity, who, self.itself, self.among, self.same, self.different, *self.columns)
        in_threads(_mask, len(who), *args, negatives)
        return negatives

    def members(self, rows: np.ndarray, here: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positives of each query, farthest first: start (b + 1,), item and similarity."""
        who = self.asked[here]
        size = np.zeros(len(who), dtype=np.int64)
        of = (who, self.joint, self.order, self.bounds, self.unlike)
        in_threads(_count, len(who), *of, size)
        start = np.append(0, np.cumsum(size))
        item, exact = np.empty(start[-1], dtype=np.int64), np.empty(start[-1])
        in_threads(_fill, len(who), *of, rows, start, item, exact)
        for i in np.flatnonzero(size > 1):
            mine = slice(start[i], start[i + 1])
            ascending = np.argsort(exact[mine], kind="stable")
            item[mine], exact[mine] = item[mine][ascending], exact[mine][ascending]
        return start, item, exact


def _codes(arrays: Sequence[np.ndarray], n: int) -> np.ndarray:
    return np.array([np.asarray(a) for a in arrays], dtype=np.int32).reshape(len(arrays), n)


def both(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A code that agrees where both agree; -1 where either is missing."""
    joint = one.astype(np.int64) * (int(other.max(initial=0)) + 1) + other
    missing = (one < 0) | (other < 0)
    result = np.full(len(joint), -1)
    result[~missing] = np.unique(joint[~missing], return_inverse=True)[1]
    return result


@compiled
def _mask(
    similarity: np.ndarray,
    who: np.ndarray,
    itself: np.ndarray,
    among: np.ndarray,
    same: np.ndarray,
    different: np.ndarray,
    their_same: np.ndarray,
    their_different: np.ndarray,
    negatives: np.ndarray,
    first: int,
    last: int,
) -> None:
    keep = np.empty(similarity.shape[1], np.bool_)
    for i in range(first, last):
        query, row = who[i], similarity[i]
        for j in range(len(keep)):  # as one assignment it takes four seconds more to compile
            keep[j] = among[j]
        if itself[query] >= 0:
            keep[itself[query]] = False
        for c in range(len(same)):
            code = same[c, query]
            column = their_same[c]
            for j in range(len(keep)):
                keep[j] &= (column[j] == code) & (code >= 0)
        for c in range(len(different)):
            code = different[c, query]
            column = their_different[c]
            if code >= 0:
                for j in range(len(keep)):
                    keep[j] &= column[j] != code
        count = 0
        for j in range(len(keep)):
            count += keep[j]
            row[j] = row[j] if keep[j] else np.float32(-np.inf)
        negatives[i] = count


@compiled
def _positive(unlike: np.ndarray, query: int, other: int) -> bool:
    if query == other:
        return False
    for code in unlike:
        if code[query] >= 0 and code[query] == code[other]:
            return False
    return True


@compiled
def _count(
    who: np.ndarray,
    joint: np.ndarray,
    order: np.ndarray,
    bounds: np.ndarray,
    unlike: np.ndarray,
    size: np.ndarray,
    first: int,
    last: int,
) -> None:
    for i in range(first, last):
        code = joint[who[i]]
        if code >= 0:
            for j in order[bounds[code] : bounds[code + 1]]:
                size[i] += _positive(unlike, who[i], j)


@compiled
def _fill(
    who: np.ndarray,
    joint: np.ndarray,
    order: np.ndarray,
    bounds: np.ndarray,
    unlike: np.ndarray,
    rows: np.ndarray,
    start: np.ndarray,
    item: np.ndarray,
    exact: np.ndarray,
    first: int,
    last: int,
) -> None:
    for i in range(first, last):
        if start[i] == start[i + 1]:
            continue
        code, query, k = joint[who[i]], who[i], start[i]
        for j in order[bounds[code] : bounds[code + 1]]:
            if _positive(unlike, query, j):
                item[k], exact[k] = j, dot(rows[query], rows[j])
                k += 1
