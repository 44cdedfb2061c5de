"""All the paper's metrics of a table of normalised well profiles, and two tables compared."""

import logging

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.metrics.nearest import nearest_accuracies
from cpssl_lite.metrics.replicates import percent_replicating, replicating_by_chance
from cpssl_lite.metrics.retrieval import convention_precision, mean_average_precision
from cpssl_lite.metrics.similarity import encode
from cpssl_lite.metrics.uncertainty import bootstrap_difference, mean_by, wilcoxon_paired
from cpssl_lite.profiles.aggregate import groups_with
from cpssl_lite.profiles.roles import LABELS, first_few, joined, say_mixed, say_nameless, well_name
from cpssl_lite.profiles.table import (
    FIELD_LEVEL,
    feature_columns,
    find_column,
    in_order,
    profile_matrix,
    require,
)

log = logging.getLogger(__name__)

CONVENTIONS = ("paper", "released")
DOSES = r"(?i)dose|conc(entration)?($|_)|mmoles|micromolar|(^|_)(time|hours|timepoint)($|_)"


def evaluate(
    table: pd.DataFrame, label: str | None = None, convention: str = "paper"
) -> dict[str, float]:
    """Measure reproducibility (perturbations) and biological relevance (labels) of profiles.

    Parameters
    ----------
    table : DataFrame
        Normalised well profiles as `read_profiles` or `normalize` return them. Negative
        controls are left out, positive controls stay, wells without a perturbation name are
        left out with a log line.
    label : str, optional
        Column that says which perturbations do the same [default: the first of
        Metadata_Target, Metadata_GeneGroup, Metadata_Gene that is there and filled]. A value is
        taken whole: "A|B" is another label than "A". Perturbations without a label take no part
        in the label metrics, neither as query nor as candidate.
    convention : {"paper", "released"}
        ``paper`` follows the text: cosine distance of the profiles as they are, NSB leaves out
        the whole batch, NSP and NSBP the perturbation itself, average precision over 100
        distances. ``released`` gives what the authors' code gives on the same table: features
        standardised before the nearest-neighbour accuracies, its own masks
        (`nearest_accuracies`), correlation distance and complete rankings in the mAPs, and
        ``Image_*`` columns counted as features in the replicate metrics only,
        and perturbations with a single well counted as not replicating. It also takes wells in
        the order of the table, which its chance groups and what it does with ties depend on.

    Returns
    -------
    dict
        ``n_wells, n_features, n_perturbations, n_labels, n_batches, n_sources``;
        ``perturbation_acc_nn``, ``perturbation_acc_nsb``, ``label_acc_nsp``,
        ``label_acc_nsbp`` on wells; ``perturbation_map`` on batch-aggregated, ``label_map`` on
        consensus and, with two sources or more, ``cross_source_map`` (perturbations) on
        source-aggregated profiles; ``replicate_correlation`` (mean over perturbations of the
        median), ``percent_replicating`` (a fraction), ``percent_replicating_chance`` (the same
        if names were shuffled: far above 0 with few replicates), ``percent_replicating_position``
        (against chance groups from one well position; NaN where positions do not hold at least
        four different perturbations). NaN where these data define no value: NSB
        and perturbation mAP with one batch, label metrics without labels.

    Raises
    ------
    InputError
        No column of batches or perturbations, no wells but controls, the rules of
        `profile_matrix`.
    """
    wells = treated_wells(table, convention)
    _say_doses(wells)
    column = label_column(wells, label)
    head, profiles = profile_matrix(wells)
    _say_copies(head, profiles)
    treatment = head["Metadata_Perturbation"].to_numpy()
    labels = head[column].to_numpy() if column else np.full(len(head), "")
    batch = batches(head)
    if len(set(batch)) == 1:
        log.warning("one batch only: nothing can be matched across batches")
    well = head["Metadata_Well"].to_numpy() if "Metadata_Well" in head else None
    if convention == "released":
        require(wells, "Metadata_Well")
    accuracies = nearest_accuracies(profiles, treatment, labels, batch, well, convention)
    sources = set(head.get("Metadata_Source", ())) - {""}
    result: dict[str, float] = {
        "n_wells": len(head),
        "n_features": profiles.shape[1],
        "n_perturbations": len(set(treatment)),
        "n_labels": len(set(labels) - {""}),
        "n_batches": len(set(batch)),
        "n_sources": len(sources),
        "perturbation_acc_nn": accuracies["perturbation_nn"],
        "perturbation_acc_nsb": accuracies["perturbation_nsb"],
        "label_acc_nsp": accuracies["label_nsp"],
        "label_acc_nsbp": accuracies["label_nsbp"],
        "perturbation_map": _map(head, profiles, "batch", "Metadata_Perturbation", convention),
        "label_map": _map(head, profiles, "consensus", column, convention),
    }
    if len(sources) > 1:
        key = "Metadata_Perturbation"
        result["cross_source_map"] = _map(head, profiles, "source", key, convention)
    if convention == "released":
        profiles = np.hstack([profiles, _field_level(head)])
    alone = convention == "released"  # perturbations with one well count as not replicating
    replication = percent_replicating(profiles, treatment, count_single=alone)
    known = replication.correlation[~np.isnan(replication.correlation)]
    result["replicate_correlation"] = float(known.mean()) if len(known) else float("nan")
    result["percent_replicating"] = replication.share
    result["percent_replicating_chance"] = replicating_by_chance(
        profiles, treatment, replication.threshold, count_single=alone
    )
    if well is not None:
        matched = percent_replicating(profiles, treatment, position=well, count_single=alone)
        result["percent_replicating_position"] = matched.share
    return result


def average_precisions(
    table: pd.DataFrame, label: str | None = None, convention: str = "paper"
) -> pd.DataFrame:
    """Average precision of every perturbation: what the two mAPs of `evaluate` are made of.

    Returns
    -------
    DataFrame
        Indexed by perturbation; ``perturbation_ap`` (mean over its batch-aggregated profiles)
        and ``label_ap`` (of its consensus profile), NaN where nothing could be matched.
    """
    wells = treated_wells(table, convention)
    column = label_column(wells, label)
    names = sorted(set(wells["Metadata_Perturbation"]))
    profiles = profile_matrix(wells)
    columns = {}
    for by, what, ap in (
        ("batch", "Metadata_Perturbation", "perturbation_ap"),
        ("consensus", column, "label_ap"),
    ):
        if what is None:
            columns[ap] = pd.Series(np.nan, index=names)
            continue
        head, means = groups_with(what, *profiles, by)
        values = convention_precision(means, head[what].to_numpy(), convention)
        treatment = head["Metadata_Perturbation"].to_numpy()
        of_each = mean_by(values, encode(treatment))
        columns[ap] = pd.Series(of_each, index=np.unique(treatment.astype(str)))
    return pd.DataFrame(columns).reindex(names)


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    label: str | None = None,
    convention: str = "paper",
    n: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Compare two profile tables of the same screen, perturbation by perturbation.

    Returns
    -------
    dict
        For ``perturbation_map`` and ``label_map``: ``_difference`` (a - b, mean over the
        perturbations that both have), ``_low``, ``_high`` (95% bootstrap interval over
        perturbations), ``_p`` (Wilcoxon signed-rank) and ``_n``.

    Raises
    ------
    InputError
        The tables have no perturbation in common.
    """
    left, right = (average_precisions(table, label, convention) for table in (a, b))
    return compare_precisions(left, right, n, seed)


def compare_precisions(
    left: pd.DataFrame, right: pd.DataFrame, n: int = 2000, seed: int = 0
) -> dict[str, float]:
    """`compare` of two tables whose `average_precisions` are known."""
    shared = left.index.intersection(right.index)
    if shared.empty:
        raise InputError("the two profile tables have no perturbation in common")
    lost = len(left) + len(right) - 2 * len(shared)
    if lost:
        log.warning("%s in one of the two tables only: left out", counted(lost, "perturbation"))
    result: dict[str, float] = {}
    for column, name in (("perturbation_ap", "perturbation_map"), ("label_ap", "label_map")):
        x, y = (side.loc[shared, column].to_numpy() for side in (left, right))
        mean, low, high = bootstrap_difference(x, y, n, seed)
        result |= {
            f"{name}_difference": mean,
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_p": wilcoxon_paired(x, y),
            f"{name}_n": int(np.count_nonzero(~np.isnan(x - y))),
        }
    return result


def _say_doses(wells: pd.DataFrame) -> None:
    """One line if wells of a perturbation differ in dose or time: they count as one."""
    for column in map(str, wells.filter(regex=DOSES)):
        given = wells[wells[column].astype(str) != ""]
        several = given.groupby("Metadata_Perturbation")[column].nunique()
        if (several > 1).any():
            log.warning(
                "%s: %s with several values (%s: %d), which count as one; --dose or --time %s "
                "makes each its own",
                *(column, counted((several > 1).sum(), "perturbation")),
                *(several.idxmax(), several.max(), column),
            )


def _say_copies(head: pd.DataFrame, profiles: np.ndarray) -> None:
    """One line if wells have the very numbers of another: copies, or nothing was measured."""
    same = pd.Series([hash(row.tobytes()) for row in profiles]).duplicated(keep=False).to_numpy()
    if same.any():
        log.warning(
            "%s with exactly the profile of another well (first: %s)",
            *(counted(same.sum(), "well"), well_name(head, int(same.argmax()))),
        )


def treated_wells(table: pd.DataFrame, convention: str = "paper") -> pd.DataFrame:
    """Wells that are evaluated: no negative controls, with a perturbation name and a profile.

    The convention ``paper`` has them in one order (`in_order`), the released code as they come.
    """
    if convention not in CONVENTIONS:
        raise InputError(f"convention {convention!r} is not one of {', '.join(CONVENTIONS)}")
    require(table, "Metadata_Perturbation", "Metadata_Batch")
    wells = table
    if "Metadata_Control" in wells:
        treated = wells["Metadata_Control"] != "negcon"
        given = wells.get("Metadata_Control_Given")
        if given is not None and treated.all():
            log.warning(
                "no well counts as a negative control; the column of controls holds %s, and "
                "--control Metadata_Control=VALUE says which of these is one",
                first_few(given[given != ""]),
            )
        say_mixed(wells, ~treated)
        wells = wells[treated]
    nameless = wells["Metadata_Perturbation"] == ""
    if nameless.any():
        say_nameless(wells, nameless.to_numpy(), "left out")
        wells = wells[~nameless]
    features = feature_columns(wells)
    empty = wells[features].isna().all(axis=1)
    if empty.any() and not empty.all():
        log.warning("%s without values left out", counted(empty.sum(), "well"))
        wells = wells[~empty]
    if len(wells) < 2:
        left = counted(len(wells), "well")
        raise InputError(f"{left} without the negative controls; need 2")
    return in_order(wells) if convention == "paper" else wells


def label_column(table: pd.DataFrame, label: str | None) -> str | None:
    """The column that holds the labels; None (and a log line) if the table has no labels."""
    if label:
        column = find_column(table, label)
        if (table[column] == "").all():
            raise InputError(f"label {label}: nothing in column {column} of the treated wells")
        return column
    for column in LABELS:
        if column in table and (table[column] != "").any():
            log.info("labels: %s", column)
            return column
    log.warning("no labels (none of %s is filled): label metrics are undefined", ", ".join(LABELS))
    return None


def _map(
    head: pd.DataFrame, profiles: np.ndarray, by: str, column: str | None, convention: str
) -> float:
    """Mean average precision of matching `column` on profiles aggregated at a level."""
    if column is None:
        return float("nan")
    head, profiles = groups_with(column, head, profiles, by)
    return mean_average_precision(profiles, head[column].to_numpy(), convention)


def batches(head: pd.DataFrame) -> np.ndarray:
    """Batch of each well; two sources may both have a "Batch1"."""
    return joined(head, [n for n in ("Metadata_Source", "Metadata_Batch") if n in head])


def _field_level(head: pd.DataFrame) -> np.ndarray:
    """The ``Image_*`` columns without missing values, as (n, m) float64."""
    fields = head.filter(regex=f"^{FIELD_LEVEL}").select_dtypes("number")
    values = fields.to_numpy(dtype=np.float64)
    return values[:, np.isfinite(values).all(axis=0)]
