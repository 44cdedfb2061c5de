"""The paper's Table 1: its rows, and what a run has to say of the claims that rest on it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cpssl_lite.bioactivity.scores import LEVELS, Summary
from cpssl_lite.book.claims import load_claims
from cpssl_lite.metrics.uncertainty import bootstrap_mean

TOP = ("ResNet", "DenseNet", "GapNet")  # ahead of DINO in the paper
PAPER = (*TOP, "DINO", "MIL-Net", "M-CNN", "SC-CNN", "CellProfiler")


def row_of(a: float, a_sd: float, f: float, f_sd: float, *above: float) -> dict[str, Any]:
    """A row of Table 1: AUCROC and F1 with their SD, assays at or above each level."""
    both = {"AUCROC": f"{a:.3f} ± {a_sd:.2f}", "F1-score": f"{f:.3f} ± {f_sd:.2f}"}
    return both | dict(zip([f"≥ {level:g}" for level in LEVELS], map(int, above), strict=True))


def quoted() -> pd.DataFrame:
    """The paper's own Table 1."""
    known = load_claims()
    rows = {name: known[f"bioactivity-{name.lower()}"].paper_value for name in PAPER}
    return pd.DataFrame({f"{name} (quoted)": row_of(*r.values()) for name, r in rows.items()}).T


def table_claims(
    told: Mapping[str, Summary], auc: pd.DataFrame, bins: pd.Series, seed: int
) -> dict[str, Any]:
    """What was measured, by the id of the claim.

    Parameters
    ----------
    told
        Means over assays, by the paper's names of the rows.
    auc
        AUCROC of each assay (rows), by the same names.
    bins
        Range of the number of labels of each assay.
    """
    names = ("AUCROC", "SD", "F1", "F1 SD", *(f"AUC>{level}" for level in LEVELS))
    got: dict[str, Any] = {
        f"bioactivity-{n.lower()}": dict(zip(names, (*told[n][:4], *told[n].at_least), strict=True))
        for n in PAPER
        if n in told
    }
    trio = ("ResNet", "DINO", "CellProfiler")
    if set(trio) <= set(told):
        got["bioactivity-order"] = {n: told[n].auc for n in trio}
    if "DINO" not in auc:
        return got
    low = bootstrap_mean(auc["DINO"].to_numpy(), seed=seed)[1]
    got["bioactivity-above-chance"] = low
    if set(TOP) <= set(auc):
        got |= _beside_the_top(told, auc, bins)
    behind = [name for name in PAPER if name not in TOP]
    if set(behind) <= set(told):
        best = max(told[name].auc for name in behind if name != "DINO")
        got["bioactivity-other-three"] = told["DINO"].auc - best
    if set(PAPER) <= set(told):
        for level, claim in ((0.8, "rank-08"), (0.7, "rank-07")):
            place = LEVELS.index(level)
            mine = told["DINO"].at_least[place]
            ahead = sum(told[name].at_least[place] > mine for name in PAPER)
            got[f"bioactivity-{claim}"] = 1 + ahead
    return got


def _beside_the_top(
    told: Mapping[str, Summary], auc: pd.DataFrame, bins: pd.Series
) -> dict[str, Any]:
    """DINO beside the three networks that are ahead of it in the paper."""
    top, mine = list(TOP), told["DINO"]
    got: dict[str, Any] = {
        "bioactivity-top-three": min(told[name].auc for name in top) - mine.auc,
        "bioactivity-gapnet-gap": told["GapNet"].auc - mine.auc,
        "bioactivity-above-09": min(told[n].at_least[0] for n in top) - mine.at_least[0],
    }
    few, more = bins.isin(["<50", "50-100"]), bins == "100-500"
    if few.any():
        medians, good = auc.loc[few].median(), (auc.loc[few] >= 0.7).sum()
        got["bioactivity-few-labels"] = medians["DINO"] - medians[top].max()
        got["bioactivity-few-labels-accurate"] = good["DINO"] - good[top].max()
    if more.any():
        good = (auc.loc[more] >= 0.7).sum()
        got["bioactivity-more-labels"] = good[top].min() - good["DINO"]
    return got
