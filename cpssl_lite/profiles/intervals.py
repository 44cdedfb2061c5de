"""The paper's four scores of a profile table, each with how sure it is."""

import numpy as np
import pandas as pd

from cpssl_lite.metrics.nearest import nearest_neighbours
from cpssl_lite.metrics.retrieval import convention_precision
from cpssl_lite.metrics.similarity import encode
from cpssl_lite.metrics.uncertainty import bootstrap_groups
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.evaluate import batches, label_column, treated_wells
from cpssl_lite.profiles.table import profile_matrix

SCORES = ("perturbation_map", "perturbation_acc_nsb", "label_map", "label_acc_nsbp")


def scores_with_intervals(
    table: pd.DataFrame, label: str | None = None, n: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """Both mAPs and both accuracies across batches, as `evaluate` has them, with intervals.

    Parameters
    ----------
    table, label
        As for `evaluate`; the paper's convention.
    n, seed
        Of the bootstrap: perturbations are drawn again, with all their wells.

    Returns
    -------
    dict
        Value, lower and upper end (95%) of each of `SCORES`; NaN where these data define none.
    """
    wells = treated_wells(table)
    column = label_column(wells, label)
    head, profiles = profile_matrix(wells)
    treated, batch = (encode(v) for v in (head["Metadata_Perturbation"].to_numpy(), batches(head)))
    (across,) = nearest_neighbours(profiles, [(batch,)])
    by_batch, x = profile_matrix(aggregate(wells, "batch"))
    names = by_batch["Metadata_Perturbation"].to_numpy()
    rows = {
        "perturbation_map": (convention_precision(x, names, "paper"), encode(names)),
        "perturbation_acc_nsb": (_hits(treated, across), treated),
    }
    labelled = head[column] != "" if column else np.zeros(len(head), bool)
    if labelled.any():
        group, part = (
            encode(head.loc[labelled, column].to_numpy()),
            [treated[labelled], batch[labelled]],
        )
        (other,) = nearest_neighbours(profiles[labelled], [part])
        whole = aggregate(wells[wells[column] != ""], "consensus")
        same, x = profile_matrix(whole)
        precision = convention_precision(x, same[column].to_numpy(), "paper")
        rows["label_map"] = precision, encode(same["Metadata_Perturbation"].to_numpy())
        rows["label_acc_nsbp"] = _hits(group, other), part[0]
    undefined = (np.full(1, np.nan), np.zeros(1, int))
    return {name: bootstrap_groups(*rows.get(name, undefined), n, seed) for name in SCORES}


def _hits(codes: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """1 where the neighbour has the same code, 0 where not, NaN where nobody was admissible."""
    return np.where(neighbours >= 0, codes == codes[neighbours], np.nan)
