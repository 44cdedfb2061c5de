"""What could explain a result without seeing a cell: counts, intensities, position, neighbours.

Each becomes a profile table of the same wells, so that every question that features are asked can
be asked of it; `regressed` takes such numbers out of features.
"""

import re

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.normalize import normalize, plate_names
from cpssl_lite.profiles.table import feature_columns, profile_matrix

_INTENSITIES = re.compile(r"Cells_Intensity_IntegratedIntensity_\w+")


def on_arcs(head: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    """Numbers of each well as a profile whose cosine similarity falls with their difference.

    The cosine of plain numbers would only see their direction: of a single one its sign. Here
    each number is an angle, from -45 to 45 degrees at the largest of all numbers, and its sine
    and cosine are two features.

    Parameters
    ----------
    head : DataFrame
        Metadata columns, (n, ...).
    numbers : (n,) or (n, k)
        Centred, and of one scale.

    Returns
    -------
    DataFrame with 2 k features

    Examples
    --------
    >>> wells = on_arcs(pd.DataFrame({"Metadata_Well": ["A01", "A02"]}), np.array([-2.0, 1.0]))
    >>> wells.filter(like="emb_").round(3).to_numpy().tolist()[0]
    [-0.707, 0.707]
    """
    values = np.asarray(numbers, dtype=np.float64).reshape(len(head), -1)
    angle = values * (np.pi / 4 / max(np.abs(values).max(), 1e-12))
    return _with(head, np.hstack([np.sin(angle), np.cos(angle)]))


def from_numbers(head: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    """A profile table of some numbers per well, normalised like features first (`on_arcs`)."""
    values = np.asarray(numbers, dtype=np.float64).reshape(len(head), -1)
    table = normalize(_with(head, values), "mad_robustize")
    kept, values = profile_matrix(table)
    return on_arcs(kept, values)


def intensities(wells: pd.DataFrame) -> np.ndarray | None:
    """Integrated intensity of a mean cell in each stain, (n, stains); None where none was measured.

    On a scale of doublings where no value is negative. With the number of cells it says how bright
    a well is in total.
    """
    names = [name for name in feature_columns(wells) if _INTENSITIES.fullmatch(name)]
    values = wells[names].to_numpy(np.float64)
    return (np.log2(values) if (values > 0).all() else values) if names else None


def grid_position(wells: np.ndarray) -> np.ndarray:
    """Row and column of wells by name, (n, 2) int: A01 is 1, 1, AA03 is 27, 3.

    Raises
    ------
    InputError
        A name that says no row and column.
    """
    found = pd.Series(np.asarray(wells, dtype=str)).str.extract(r"^([A-Za-z]{1,2})0*(\d+)$")
    if found.isna().to_numpy().any():
        odd = np.asarray(wells)[found.isna().any(axis=1)][0]
        raise InputError(f"well {str(odd)!r} is not a letter or two and a number, such as A01")
    letters = found[0].str.upper().map(lambda name: [ord(letter) - 64 for letter in name])
    row = letters.map(lambda places: 26 * sum(places[:-1]) + places[-1])
    return np.column_stack([row, found[1].astype(int)])


def position(head: pd.DataFrame) -> pd.DataFrame:
    """Where on its plate a well lies (row, column, distance from the edge), as profiles."""
    at = grid_position(head["Metadata_Well"].to_numpy()).astype(np.float64)
    low, high = at.min(axis=0), at.max(axis=0)
    edge = np.minimum(at - low, high - at).min(axis=1)
    return on_arcs(head, np.column_stack([at - (low + high) / 2, edge - edge.mean()]))


def neighbours(table: pd.DataFrame) -> pd.DataFrame:
    """Profiles of the wells beside each well (up, down, left, right), averaged; its own left out.

    What these find knows the plate and not the treatment. Wells without a neighbour are left out.
    """
    head, values = profile_matrix(table)
    plate, at = plate_names(head), grid_position(head["Metadata_Well"].to_numpy())
    where = {(p, r, c): i for i, (p, (r, c)) in enumerate(zip(plate, at.tolist(), strict=True))}
    around = np.full(values.shape, np.nan)
    for (p, r, c), i in where.items():
        steps = ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
        beside = [where[p, *step] for step in steps if (p, *step) in where]
        if beside:
            around[i] = values[beside].mean(axis=0)
    there = ~np.isnan(around[:, 0])
    return _with(head[there], around[there])


def regressed(table: pd.DataFrame, numbers: np.ndarray, degree: int = 2) -> pd.DataFrame:
    """Features without what polynomials of some numbers say of them (least squares, all wells).

    Whatever goes along with the numbers goes, the effect of a treatment too: what is left is there
    whatever the numbers are, what is gone need not be an artefact.

    Parameters
    ----------
    table : DataFrame
        Normalised profiles.
    numbers : (n,) or (n, k)
        Of its wells. A well with a NaN is left out.
    degree : int
        Powers of each number.
    """
    head, values = profile_matrix(table)
    given = np.asarray(numbers, dtype=np.float64).reshape(len(table), -1)
    given = given[table.index.get_indexer(head.index)]
    known = np.asarray(~np.isnan(given).any(axis=1))
    x, values = given[known], values[known]
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    terms = np.column_stack([np.ones(len(x)), *(x**power for power in range(1, degree + 1))])
    left = values - terms @ np.linalg.lstsq(terms, values)[0]
    head = head.loc[known]
    return pd.concat([head, pd.DataFrame(left, head.index, feature_columns(table))], axis=1)


def _with(head: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    names = [f"emb_{i:04d}" for i in range(values.shape[1])]
    return pd.concat([head, pd.DataFrame(values, head.index, names)], axis=1)
