"""1-nearest-neighbour accuracies, with rules about who may be the neighbour.

Paper, "Evaluation of reproducibility and biological relevance": NN, not-same-batch (NSB),
not-same-perturbation (NSP) and not-same-batch-or-perturbation (NSBP) accuracy.
"""

from collections.abc import Sequence

import numpy as np

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.similarity import (
    TIE,
    blocks,
    compiled,
    dot,
    encode,
    in_threads,
    nearness,
    unit_rows,
)

Rule = Sequence[np.ndarray]


def nearest_neighbours(profiles: np.ndarray, rules: Sequence[Rule]) -> list[np.ndarray]:
    """Nearest admissible neighbour by cosine distance of every profile, for several rules.

    Parameters
    ----------
    profiles : (n, d)
    rules : sequence of rules
        A rule is a sequence of (n,) integer arrays; two profiles that agree in any of them
        may not be neighbours. -1 agrees with nothing. The profile itself never counts, so the
        empty rule ``()`` is plain 1-NN.

    Returns
    -------
    list of (n,) int arrays
        Per rule the index of the neighbour, -1 where nobody is admissible. Of equally near
        ones (float64 similarities within 1e-12) the first is taken.
    """
    rows = unit_rows(profiles)
    width = max((len(rule) for rule in rules), default=0)
    codes = np.full((len(rules), width, len(rows)), -1, dtype=np.int64)
    for padded, rule in zip(codes, rules, strict=True):
        padded[: len(rule)] = np.reshape(rule, (len(rule), len(rows)))
    found = np.full((len(rules), len(rows)), -1)
    near = 2 * nearness(rows)
    for here, similarity in blocks(rows):
        in_threads(_nearest, len(similarity), similarity, rows, here.start, near, codes, found)
    return list(found)


@compiled
def _nearest(
    similarity: np.ndarray,
    rows: np.ndarray,
    offset: int,
    near: float,
    codes: np.ndarray,
    found: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Into found[rule, offset + row] for the rows first to last of a block.

    codes (rules, arrays of a rule, n).
    """
    for i in range(first, last):
        query, row = offset + i, similarity[i]
        for rule in range(len(codes)):  # the row stays in the cache
            best, top, second = -1, np.float32(-np.inf), np.float32(-np.inf)
            for begin in range(0, len(row), 64):
                part = row[begin : begin + 64]
                if not _any_above(part, second):
                    continue
                for j in range(begin, begin + len(part)):
                    if row[j] > second and _allowed(codes[rule], query, j):
                        if row[j] > top:
                            best, top, second = j, row[j], top
                        else:
                            second = row[j]
            if second >= top - near and best >= 0:  # float64 decides
                largest = -np.inf
                for j in range(len(row)):
                    if row[j] >= top - near and _allowed(codes[rule], query, j):
                        value = dot(rows[query], rows[j])
                        if value > largest + TIE:
                            best, largest = j, value
            found[rule, query] = best


@compiled
def _any_above(values: np.ndarray, limit: np.float32) -> bool:
    """Whether any value is above the limit; counting them all is faster than an early exit."""
    count = 0
    for j in range(len(values)):
        count += values[j] > limit
    return count > 0


@compiled
def _allowed(codes: np.ndarray, one: int, other: int) -> bool:
    for code in codes:
        if code[one] >= 0 and code[one] == code[other]:
            return False
    return True


def nearest_accuracies(
    profiles: np.ndarray,
    perturbation: np.ndarray,
    label: np.ndarray,
    batch: np.ndarray,
    well: np.ndarray | None = None,
    convention: str = "paper",
) -> dict[str, float]:
    """NN and NSB accuracy of perturbations, NSP and NSBP accuracy of labels.

    Parameters
    ----------
    profiles : (n, d)
        Well profiles without negative controls.
    perturbation, label, batch, well : (n,)
        `well` is the well position, used by the released convention only. "" and NaN are
        missing: a well without a label is left out of the label accuracies, as query and as
        neighbour.
    convention : {"paper", "released"}
        ``paper`` takes cosine distance of the profiles as they are. NSB leaves out the whole
        batch of the query, NSP its perturbation, NSBP both. A well with no admissible
        neighbour (a single batch, say) is left out of the mean; if that is every well, the
        accuracy is NaN. A well whose label nobody admissible has counts as wrong.

        ``released`` first standardises every feature over all wells. NSB leaves out wells of
        the same batch only when they also have the same perturbation; NSP those at the same
        well position, whatever they are and on any plate; NSBP those at the same well position
        or of the same batch and label. Masked wells are given the largest distance, so a well
        with nobody admissible is matched to the first row. Every well counts.

    Returns
    -------
    dict
        ``perturbation_nn``, ``perturbation_nsb``, ``label_nsp``, ``label_nsbp`` (fractions).

    Raises
    ------
    InputError
        Another convention, or no well positions for ``released``.
    """
    values = standardise(profiles) if convention == "released" else profiles
    treated, group, plate_batch = encode(perturbation), encode(label), encode(batch)
    labelled = np.flatnonzero(group >= 0)
    whole = len(labelled) == len(values)
    if convention == "released":
        if well is None:
            raise InputError("the released convention needs the well positions")
        position = encode(well)
        first: list[Rule] = [(), (_both(plate_batch, treated),)]
        second: list[Rule] = [(position,), (position, _both(plate_batch, group))]
    elif convention == "paper":
        first = [(), (plate_batch,)]
        second = [(treated,), (plate_batch, treated)]
    else:
        raise InputError(f"convention {convention!r} is not one of paper, released")
    # One pass over the similarities serves all four where every well has a label.
    found = nearest_neighbours(values, first + (second if whole else []))
    if not whole:
        # The released standardisation is over the wells that are compared.
        part = profiles[labelled]
        part = standardise(part) if convention == "released" else part
        found += nearest_neighbours(part, [[c[labelled] for c in rule] for rule in second])
    names = ("perturbation_nn", "perturbation_nsb", "label_nsp", "label_nsbp")
    truths = (treated, treated, group[labelled], group[labelled])
    return {
        name: accuracy(truth, neighbour, convention)
        for name, truth, neighbour in zip(names, truths, found, strict=True)
    }


def accuracy(codes: np.ndarray, neighbour: np.ndarray, convention: str = "paper") -> float:
    """Share of profiles whose neighbour has their code; see `nearest_accuracies` for -1."""
    if convention == "released":
        neighbour = np.maximum(neighbour, 0)
    known = neighbour >= 0
    if not known.any():
        return float("nan")
    return float(np.mean(codes[known] == codes[neighbour[known]]))


def standardise(profiles: np.ndarray) -> np.ndarray:
    """Every feature to mean 0 and sd 1 (over n) over all rows; constant ones become 0."""
    values = np.asarray(profiles, dtype=np.float64)
    if not len(values):
        return values
    values = values - values.mean(axis=0)
    scale = values.std(axis=0)
    scale[scale <= 1e-14 * np.abs(profiles).max(axis=0, initial=0.0)] = np.inf
    return values / scale


def _both(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A code that agrees where both agree; -1 where either is missing."""
    joint = one * (other.max(initial=0) + 1) + other
    return np.where((one < 0) | (other < 0), -1, joint - joint.min(initial=0))
