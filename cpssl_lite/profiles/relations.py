"""Known relationships (two names a line, from the user's own file) and labels among profiles."""

from pathlib import Path

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import reading_errors, refuse_other_kinds, separator_of
from cpssl_lite.base.words import counted
from cpssl_lite.metrics.enrichment import (
    enrichment,
    group_enrichment,
    related_pairs,
    tail_recall,
)
from cpssl_lite.metrics.significance import q_values, share_below
from cpssl_lite.profiles.aggregate import aggregate, group_means
from cpssl_lite.profiles.evaluate import label_column, treated_wells
from cpssl_lite.profiles.table import profile_matrix

SHARE = 0.05  # of all pairs: the most similar


def read_relations(path: str | Path) -> pd.DataFrame:
    """Read pairs of names: the first two columns of a CSV or TSV, with or without a header.

    CORUM, SIGNOR, StringDB and the like are licensed by others and never shipped; bring the
    pairs of yours.

    Raises
    ------
    InputError
        Not there, no table in text, or without two columns.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of relationships (two names a line)")
    with reading_errors(path):
        refuse_other_kinds(path)
        table = pd.read_csv(
            path, sep=separator_of(path), header=None, dtype=str, keep_default_na=False
        ).fillna("")
    if table.shape[1] < 2:
        raise InputError(f"{path}: has {table.shape[1]} column; needs two names a line")
    pairs = table.iloc[:, :2].set_axis(["one", "other"], axis=1)
    return pairs.apply(lambda column: column.str.strip())


def relation_numbers(
    table: pd.DataFrame,
    label: str | None = None,
    relations: pd.DataFrame | None = None,
) -> dict[str, float]:
    """Enrichment of labels, and of known relationships, among the most similar profiles.

    Parameters
    ----------
    table, label
        As for `evaluate`.
    relations : DataFrame, optional
        Pairs of labels or of perturbations, as `read_relations` reads them.

    Returns
    -------
    dict
        ``label_odds_ratio`` with ``_low`` and ``_high``: odds of perturbations with one label to
        be among the 5% most similar pairs of consensus profiles, against all other pairs;
        ``percent_labels_enriched``: fraction of the labels whose own pairs are, q below 0.05.
        With relations ``relation_recall`` (share in the upper or lower 5%; 0.1 is chance),
        ``relation_odds_ratio`` with ``_low`` and ``_high``, and ``relation_pairs`` that both
        have a profile: of labels, or of perturbations where no label is in the file.

    Raises
    ------
    InputError
        No relationship is between two profiles of the table.
    """
    wells = treated_wells(table)
    column = label_column(wells, label)
    head, profiles = profile_matrix(aggregate(wells))
    labels = head[column].to_numpy() if column else np.full(len(head), "")
    found = enrichment(profiles, related_pairs(labels), SHARE)
    p = group_enrichment(profiles, labels, SHARE).p
    numbers: dict[str, float] = {
        "label_odds_ratio": found.odds_ratio,
        "label_odds_ratio_low": found.low,
        "label_odds_ratio_high": found.high,
        "percent_labels_enriched": share_below(q_values(p)),
    }
    if relations is None:
        return numbers
    names = head["Metadata_Perturbation"].to_numpy(dtype=str)
    known = set(relations["one"]) | set(relations["other"])
    if known & (set(labels) - {""}):  # a profile for each label
        named = labels != ""
        names, codes = np.unique(labels[named].astype(str), return_inverse=True)
        profiles = group_means(profiles[named], codes)
    place = {name: i for i, name in enumerate(names.tolist())}
    pairs = [
        (place[a], place[b])
        for a, b in zip(relations["one"], relations["other"], strict=True)
        if a in place and b in place and a != b
    ]
    if not pairs:
        given = counted(len(relations), "relationship")
        raise InputError(
            f"none of {given} is between two of these {len(names)} profiles; the file "
            f"names {next(iter(known), 'nothing')!r}, the table {str(names[0])!r}"
        )
    among = enrichment(profiles, np.array(pairs), SHARE)
    return numbers | {
        "relation_recall": tail_recall(profiles, np.array(pairs), SHARE),
        "relation_odds_ratio": among.odds_ratio,
        "relation_odds_ratio_low": among.low,
        "relation_odds_ratio_high": among.high,
        "relation_pairs": among.related,
    }
