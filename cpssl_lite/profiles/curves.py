"""Precision and recall of a table's profiles over the size of the neighbourhood."""

import pandas as pd

from cpssl_lite.metrics.retrieval import (
    RELEASED_K,
    RELEASED_THRESHOLDS,
    Curve,
    precision_recall_at_distance,
    precision_recall_at_k,
)
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.evaluate import treated_wells
from cpssl_lite.profiles.table import profile_matrix


def f1_curves(
    wells: pd.DataFrame, level: str, column: str, convention: str = "paper"
) -> tuple[Curve, Curve]:
    """F1 of finding those that share a column's value (the paper's Supplementary Fig. 4).

    Parameters
    ----------
    wells
        Normalised well profiles.
    level
        To average over, as `aggregate` names it.
    column
        What should be found; profiles without a value take no part.
    convention
        Cosine distance (``paper``) or correlation distance (``released``).

    Returns
    -------
    Among the k nearest, and among all within a distance.
    """
    head, values = profile_matrix(aggregate(treated_wells(wells), level))
    named = (head[column] != "").to_numpy()
    values, names = values[named], head.loc[named, column].to_numpy()
    ks = [k for k in RELEASED_K if k < len(values)]
    distance = "cosine" if convention == "paper" else "correlation"
    return (
        precision_recall_at_k(values, names, ks, distance),
        precision_recall_at_distance(values, names, RELEASED_THRESHOLDS, distance, convention),
    )
