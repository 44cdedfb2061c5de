"""Three things to try in the page itself, without a server; ``book/_static/live.js`` moves them.

Without JavaScript each is one sentence with this run's numbers; the figure above it shows the same.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpssl_lite.book.html import Html, script_data

SHOWN = 10  # neighbours in the list of the ladder, and those that a rung needs beyond


def strip(hits: Sequence[bool] | NDArray) -> Html:
    """A ranked strip of wells whose hits can be moved; average precision follows.

    Parameters
    ----------
    hits
        Which places of the ranking, nearest first, are right.

    Examples
    --------
    >>> "average precision is 0.833" in strip([True, False, True])
    True
    """
    right = np.asarray(hits, dtype=bool)
    share = np.cumsum(right) / np.arange(1, len(right) + 1)
    told = f"The average precision is {share[right].mean():.3f}."
    return _live("strip", "Move a hit", {"hits": right.tolist()}, told)


def spread(points: NDArray, controls: NDArray, values: NDArray, epsilon: float) -> Html:
    """Two standardised features to be sphered with any epsilon.

    Parameters
    ----------
    points
        (n, 2), the controls with mean 0 and variance 1 in both features.
    controls
        (n,) bool
    values
        The two eigenvalues of the controls' correlation matrix, ascending.
    epsilon
        Where the slider stands at first.
    """
    small, large = (float(value) for value in values)
    data = {
        "points": np.round(points, 3).tolist(),
        "controls": np.asarray(controls, bool).tolist(),
        "values": [small, large],
        "epsilon": epsilon,
    }
    factor = 1 / np.sqrt(max(small, epsilon))
    told = f"With an epsilon of {epsilon:g} the narrow direction is stretched {factor:.3g}-fold."
    return _live("spread", "Slide epsilon", data, told)


def rungs(
    query: int,
    similarity: NDArray,
    wells: pd.DataFrame,
    rules: Mapping[str, Sequence[NDArray]],
    recalls: Mapping[str, float],
) -> Html:
    """The nearest wells of one query, and who of them is admitted on each rung of the ladder.

    Parameters
    ----------
    query
        Row of the well that asks.
    similarity
        (n, n), to itself minus infinity.
    wells
        Metadata of the n wells.
    rules
        Rungs by name; whoever agrees with the query in any of a rung's columns (n,) is left out.
    recalls
        Share of all wells whose nearest admitted neighbour is right, by rung.
    """
    order = np.argsort(-similarity[query], kind="stable")
    order = order[order != query]
    columns = [c for c in ("Perturbation", "Batch", "Source", "Well") if f"Metadata_{c}" in wells]
    out = [
        np.any([column == column[query] for column in rule], axis=0)
        if rule
        else np.zeros(len(wells), bool)
        for rule in rules.values()
    ]
    shown = set(range(min(SHOWN, len(order))))
    shown |= {int(np.argmin(left[order])) for left in out if not left[order].all()}
    compound = wells["Metadata_Perturbation"].to_numpy()
    data = {
        "columns": columns,
        "query": [str(wells[f"Metadata_{c}"].iloc[query]) for c in columns],
        "rungs": [
            {"name": name, "recall": None if np.isnan(value) else float(value)}
            for name, value in recalls.items()
        ],
        "wells": [
            {
                "place": place + 1,
                "values": [str(wells[f"Metadata_{c}"].iloc[order[place]]) for c in columns],
                "right": bool(compound[order[place]] == compound[query]),
                "out": [bool(left[order[place]]) for left in out],
            }
            for place in sorted(shown)
        ],
    }
    told = "; ".join(f"{name}: {value:.0%}" for name, value in recalls.items())
    return _live("rungs", "Step up the ladder", data, f"Right nearest neighbours. {told}.")


def _live(kind: str, title: str, data: dict[str, Any], told: str) -> Html:
    name = escape(title, quote=True)
    return Html(
        f'<div class="cpssl-live" data-kind="{kind}" role="group" aria-label="{name}">'
        f'<p class="lv-title">{name}</p><p class="lv-told">{escape(told)}</p>'
        f"{script_data(data)}</div>"
    )
