"""Which family each gene counts for: from a column, or from a table of symbols and groups."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.profiles.find import read_gene_groups
from cpssl_lite.profiles.roles import find_column

GROUP = "gene_group"


def gene_families(
    head: pd.DataFrame,
    kept: Collection[str],
    least: int,
    families: str | Path = "",
    gene: str = "",
    label: str = "",
) -> pd.Series:
    """Family of every kept perturbation that has one; one in several counts for the smallest.

    Parameters
    ----------
    head
        Metadata of wells.
    kept
        Perturbations that take part.
    least
        Fewest of these that a family must have.
    families
        Table of memberships, columns ``symbol`` and ``gene_group`` (HGNC's), a row each; by
        default the families are a column of `head`.
    gene, label
        Column of symbols for `families` [Metadata_Gene]; column of families [Metadata_GeneGroup].

    Returns
    -------
    Family by perturbation.

    Raises
    ------
    InputError
        A column that is not there, or fewer than two families that are large enough.
    """
    first = head.drop_duplicates("Metadata_Perturbation").set_index("Metadata_Perturbation")
    wanted = (gene or "Metadata_Gene") if families else (label or "Metadata_GeneGroup")
    try:
        names = first[find_column(first, wanted)]
    except InputError as error:
        raise InputError(
            f"{error}. Families of genes come from label=COLUMN, or from families=TABLE (symbol, "
            "gene_group: HGNC's) with gene=COLUMN or genes=TABLE (JUMP's orf.csv.gz)"
        ) from None
    names = names[names.index.isin(kept)]
    if families:
        lists = read_gene_groups(families)
        pairs = names.rename("symbol").reset_index().merge(lists, on="symbol")
    else:
        pairs = names[names != ""].rename(GROUP).reset_index()
    pairs = pairs.drop_duplicates().sort_values(GROUP)
    # Twice: one that counts for a smaller family leaves the larger one smaller.
    pairs = _large_enough(pairs, least).drop_duplicates("Metadata_Perturbation")
    found = _large_enough(pairs, least).set_index("Metadata_Perturbation")[GROUP]
    if found.nunique() < 2:
        raise InputError(
            f"the replicate filter leaves {len(kept)} of {counted(len(first), 'gene')}, and "
            f"{counted(found.nunique(), 'family')} with {least} of them: two are needed"
        )
    return found


def _large_enough(pairs: pd.DataFrame, least: int) -> pd.DataFrame:
    """Memberships of families with enough members, those of the smallest families first."""
    size = pairs.groupby(GROUP)["Metadata_Perturbation"].transform("size")
    return pairs[size >= least].iloc[np.argsort(size[size >= least])]
