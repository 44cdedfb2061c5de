"""What the chapters that compare feature types have to say of the paper's claims."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpssl_lite.book.panels import NSB, NSBP, P, T

Numbers = dict[str, Any]  # by the id of a claim, as `chapter.note_all` takes them


def genes(results: pd.DataFrame, pair: Sequence[str], test: pd.Series) -> Numbers:
    """Scores of genes and of their families, DINO's minus CellProfiler's."""
    gain = results.loc[pair[0]] - results.loc[pair[1]]
    return {
        "genes-map": gain[P],
        "genes-nsb": gain[NSB],
        "gene-family-map": gain[T],
        "gene-family-nsbp": gain[NSBP],
        "gene-family-map-p": {k: test[f"{T}_{k}"] for k in ("p", "difference")},
    }
