"""What the chapters that compare feature types have to say of the paper's claims."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cpssl_lite.book.features import Features
from cpssl_lite.book.panels import NSB, NSBP, P, T

Numbers = dict[str, Any]  # by the id of a claim, as `chapter.note_all` takes them


def paper_numbers(features: Features, results: pd.DataFrame, chance: pd.Series) -> Numbers:
    """DINO against chance and against the other methods, large networks against small ones.

    Parameters
    ----------
    results
        What `evaluate` found, a row for each feature type.
    chance
        The best of the baselines that know nothing.
    """

    def of(role: str) -> pd.Series:
        """Scores of the features that fill a role; without any, numbers that are none."""
        name = features.find(role)
        return results.T[name] if name else pd.Series(np.nan, results.columns)

    dino = of("DINO")
    got: Numbers = {
        "above-chance-perturbation": dino[P] - chance[P],
        "above-chance-label": dino[T] - chance[T],
    }
    for claim, metric in {"": P, "-label": T, "-nsb": NSB, "-nsbp": NSBP}.items():
        best = np.max([of("MAE")[metric], of("SimCLR")[metric]])
        got[f"dino-best{claim}"] = dino[metric] - best
    for claim, role in {"": "DINO", "-transfer": "Transfer"}.items():
        large = of(f"{role} ViT-B")
        if features.find(role) != large.name:
            got[f"vit-b-marginal{claim}"] = 100 * (large[P] / of(role)[P] - 1)
    return got


def one_beside_other(results: pd.DataFrame, pair: Sequence[str], test: pd.Series) -> Numbers:
    """Both mAPs of DINO in percent of CellProfiler's, and whether that is sure."""
    one, other = (results.loc[name] for name in pair)
    got: Numbers = {}
    for name, metric in (("perturbation", P), ("target", T)):
        gain = f"dino-cellprofiler-{name}"
        got[gain] = 100 * (one[metric] / other[metric] - 1)
        got[f"{gain}-p"] = {k: test[f"{metric}_{k}"] for k in ("p", "difference")}
    return got


def peaks(
    curves: Mapping[str, Mapping[str, Any]], pair: Sequence[str], names: Mapping[str, str]
) -> Numbers:
    """Best F1 of DINO minus CellProfiler's, of perturbations and of labels."""
    got: Numbers = {}
    for kind, name in names.items():
        if kind in curves:
            one, other = (curves[kind][n][0].f1.max() for n in pair)
            got[f"dino-f1-{name}"] = one - other
    return got


def by_source(sources: Mapping[str, pd.DataFrame], pair: Sequence[str]) -> Numbers:
    """DINO's scores in CellProfiler's, in how many sources and across them."""
    ratio = {place: s.loc[pair[0]] / s.loc[pair[1]] for place, s in sources.items()}
    across = ratio.pop("across sources")
    return {
        "dino-cellprofiler-sources": sum(r[P] >= 0.95 for r in ratio.values()),
        "cross-source-map": 100 * (across[P] - 1),
        "cross-source-nsb": 100 * (across[NSB] - 1),
    }


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


def size_of(
    features: Features, results: pd.DataFrame, wells: pd.DataFrame, label: str | None
) -> Numbers:
    """How large real data are: batches, features, compounds of a target."""
    name = features.find("CellProfiler")
    got: Numbers = {
        "target2-batches": results.loc[features.find("DINO") or results.index[0], "n_batches"],
        "cellprofiler-features": results.loc[name, "n_features"] if name else np.nan,
    }
    if label:
        named = wells[wells[label] != ""]
        each = named.groupby(label)["Metadata_Perturbation"].nunique()
        got["target2-per-target"] = each.median()
    return got
