"""What a profile table is evidence for: activity, distinctiveness, consistency, and the ladder.

Each asks whether retrieval is better than chance, for how many, at which false discovery rate;
the ladder asks what is left of it when batch, source and plate position cannot help.
"""

import logging

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.metrics.ladder import RECALL_AT, ladder
from cpssl_lite.metrics.pairs import Pairs
from cpssl_lite.metrics.ranking import Ranking, ranking
from cpssl_lite.metrics.significance import (
    FDR,
    NULL_SIZE,
    group_evidence,
    normalised_precision,
    p_values,
    q_values,
    share_below,
)
from cpssl_lite.metrics.similarity import encode
from cpssl_lite.profiles.aggregate import groups_with
from cpssl_lite.profiles.evaluate import batches, label_column, treated_wells
from cpssl_lite.profiles.normalize import plate_names
from cpssl_lite.profiles.table import profile_matrix

log = logging.getLogger(__name__)

ALPHA = 0.05
CONTROLS_OF = ("plate", "batch", "all")


def evidence(
    table: pd.DataFrame,
    label: str | None = None,
    *,
    null: int = NULL_SIZE,
    seed: int = 0,
    fdr: str = "bh",
    controls_of: str = "plate",
    active_only: bool = True,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Significance and stringency of retrieval from normalised well profiles.

    Parameters
    ----------
    table : DataFrame
        As for `evaluate`, with its negative controls.
    label : str, optional
        As for `evaluate`.
    null : int
        Random rankings that a p is taken from where placements are too many to count.
    seed : int
    fdr : {"bh", "two-stage"}
        See `q_values`. What has q below 0.05 is counted as found.
    controls_of : {"plate", "batch", "all"}
        Which negative controls a well's replicates are ranked against: those of its own plate, of
        its own batch, or all.
    active_only : bool
        Whether consistency is asked of active perturbations only, as copairs recommends (of all,
        where there are no controls).

    Returns
    -------
    numbers : dict
        ``activity_map`` (replicates of a perturbation against the controls),
        ``distinctiveness_map`` (against all other treated wells), ``consistency_map`` (consensus
        profiles of one label against those of others), each with ``_normalised_map`` (0 at
        chance), means over perturbations or labels; ``percent_active``, ``percent_distinct``,
        ``percent_consistent``: fractions of these with q below 0.05; ``n_active``. Then, for
        perturbations and for labels (never from the perturbation itself),
        ``perturbation_recall1_nr`` and so on: recall at 1, 5 and 10 and ``_well_map`` (average
        precision of wells, complete rankings) with no restriction (``nr``), not from the same
        batch (``nsb``), source (``nss``), location on the plate (``nsl``), or any of them
        (``all``). NaN where these data define no value.
    rows : DataFrame
        A row per perturbation: ``Metadata_Perturbation``, the label, and ``_ap``,
        ``_normalised_ap``, ``_p``, ``_q``, ``_positives`` of ``activity`` and
        ``distinctiveness`` (means over its wells) and of ``consistency`` (its consensus profile),
        and ``active``.

    Notes
    -----
    Cosine similarity of the profiles as they are. A well without anyone to be taken for (no
    control on its plate) has no value; copairs gives it a precision of 1.
    """
    for what, value, allowed in (("fdr", fdr, FDR), ("controls_of", controls_of, CONTROLS_OF)):
        if value not in allowed:
            raise InputError(f"{what} {value!r} is not one of {', '.join(allowed)}")
    if null < 1:
        raise InputError(f"a null of {null} rankings; it needs at least 1")
    wells = treated_wells(table)
    column = label_column(wells, label)
    head, profiles, control = _with_controls(table, wells)
    if active_only and not control.any():
        log.warning("no negative controls: activity is undefined")
    treatment = np.where(control, "", head["Metadata_Perturbation"])
    codes = encode(treatment)
    names = np.unique(treatment[codes >= 0].astype(str))
    rows = pd.DataFrame({"Metadata_Perturbation": names})
    if column:
        first = wells.groupby("Metadata_Perturbation")[column].agg(_first)
        rows[column] = first.reindex(names).to_numpy()
    numbers: dict[str, float] = {}

    def note(question: str, found: Ranking, of: np.ndarray) -> np.ndarray:
        groups = group_evidence(*found[:3], of, null, seed)
        q, at = q_values(groups.p, fdr, ALPHA), np.arange(len(groups.p))
        _into(rows, question, at, *groups[:3], q, groups.positives)
        numbers[f"{question}_map"] = _mean(groups.precision)
        numbers[f"{question}_normalised_map"] = _mean(groups.normalised)
        return rows[f"{question}_q"].to_numpy()

    activity = Pairs(same=[codes]), _controls(head, control, controls_of)
    q = note("activity", _rank(profiles, activity, ~control), codes)
    numbers["percent_active"] = share_below(q, ALPHA)
    rows["active"] = q < ALPHA
    numbers["n_active"] = int(rows["active"].sum())
    codes, profiles, head = codes[~control], profiles[~control], head[~control]
    rungs = _rungs(head)
    distinct = Pairs(same=[codes]), Pairs(different=[codes])
    q = note("distinctiveness", _rank(profiles, distinct), codes)
    numbers["percent_distinct"] = share_below(q, ALPHA)
    chosen = rows["active"].to_numpy() if active_only and control.any() else np.ones(len(q), bool)
    numbers |= _consistency(wells, column, names[chosen], rows, null, seed, fdr)
    numbers |= _climb("perturbation", profiles, codes, rungs)
    labels = encode(head[column].to_numpy()) if column else np.full(len(head), -1)
    numbers |= _climb("label", profiles, labels, {k: [*v, codes] for k, v in rungs.items()})
    return numbers, rows


def _rank(
    profiles: np.ndarray, question: tuple[Pairs, Pairs], queries: np.ndarray | None = None
) -> Ranking:
    """`ranking` of one question, of the queries that have someone to be taken for."""
    found = ranking(profiles, [question], queries=queries)[0]
    alone = found.total == found.positives
    return found._replace(precision=np.where(alone, np.nan, found.precision))


def _first(values: pd.Series) -> str:
    filled = values[values != ""]
    return str(filled.iloc[0]) if len(filled) else ""


def _with_controls(
    table: pd.DataFrame, wells: pd.DataFrame
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Metadata, profiles (n, d) and who is a negative control, of treated wells and controls."""
    controls = table.iloc[:0]
    if "Metadata_Control" in table:
        controls = table[table["Metadata_Control"] == "negcon"]
    both = pd.concat([wells, controls], ignore_index=True)
    is_control = np.arange(len(both)) >= len(wells)
    head, profiles = profile_matrix(both)
    is_control = is_control[head.index]
    return head.reset_index(drop=True), profiles, is_control


def _controls(head: pd.DataFrame, control: np.ndarray, of: str) -> Pairs:
    """Who is a negative in activity."""
    if of == "plate" and "Metadata_Plate" in head:
        return Pairs(same=[encode(plate_names(head))], among=control)
    return Pairs(same=[] if of == "all" else [encode(batches(head))], among=control)


def _rungs(head: pd.DataFrame) -> dict[str, list[np.ndarray]]:
    """What must differ on each rung of the ladder; a column that is not there differs always."""
    batch = encode(batches(head))
    source, well = (
        encode(head.get(f"Metadata_{name}", pd.Series("", head.index)).to_numpy())
        for name in ("Source", "Well")
    )
    return {
        "nr": [],
        "nsb": [batch],
        "nss": [source],
        "nsl": [well],
        "all": [batch, source, well],
    }


def _climb(
    what: str, profiles: np.ndarray, truth: np.ndarray, rungs: dict[str, list[np.ndarray]]
) -> dict[str, float]:
    """The ladder's numbers; a restriction that no well has is undefined."""
    numbers: dict[str, float] = {}
    for name, rung in ladder(profiles, truth, rungs).items():
        own = {"nss": 0, "nsl": 0}.get(name)
        known = own is None or (rungs[name][own] >= 0).any()
        for k, recall in zip(RECALL_AT, rung.recall, strict=True):
            numbers[f"{what}_recall{k}_{name}"] = recall if known else float("nan")
        numbers[f"{what}_well_map_{name}"] = rung.precision if known else float("nan")
    return numbers


def _consistency(
    wells: pd.DataFrame,
    column: str | None,
    chosen: np.ndarray,
    rows: pd.DataFrame,
    null: int,
    seed: int,
    fdr: str,
) -> dict[str, float]:
    """Labels among the consensus profiles of the chosen perturbations; fills in their rows."""
    _into(rows, "consistency", np.arange(0), *[np.empty(0)] * 5)
    keys = ("consistency_map", "consistency_normalised_map", "percent_consistent")
    numbers = dict.fromkeys(keys, float("nan"))
    if column is None or len(chosen) == 0:
        return numbers
    part = wells[wells["Metadata_Perturbation"].isin(chosen)]
    head, profiles = groups_with(column, *profile_matrix(part), "consensus")
    if len(head) == 0:
        return numbers
    labels = encode(head[column].to_numpy())
    found = _rank(profiles, (Pairs(same=[labels]), Pairs(different=[labels])))
    groups = group_evidence(*found[:3], labels, null, seed)
    numbers["consistency_map"] = _mean(groups.precision)
    numbers["consistency_normalised_map"] = _mean(groups.normalised)
    numbers["percent_consistent"] = share_below(q_values(groups.p, fdr, ALPHA), ALPHA)
    p = p_values(*found[:3], null, seed)
    at = rows["Metadata_Perturbation"].searchsorted(head["Metadata_Perturbation"].astype(str))
    normalised = normalised_precision(*found[:3])
    q, positives = q_values(p, fdr, ALPHA), found.positives
    _into(rows, "consistency", at, found.precision, normalised, p, q, positives)
    return numbers


def _into(rows: pd.DataFrame, question: str, at: np.ndarray, *columns: np.ndarray) -> None:
    """Put numbers beside the perturbations `at` these rows; NaN beside the others."""
    for name, values in zip(("ap", "normalised_ap", "p", "q", "positives"), columns, strict=True):
        whole = np.full(len(rows), np.nan)
        whole[at] = values
        rows[f"{question}_{name}"] = whole


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
