"""Whole figures that compare methods: the chapters on perturbations and on genes draw the same."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cpssl_lite.book.figures import WIDTH, color, marker
from cpssl_lite.book.plots import LINE, intervals, legend, scatter, wrap
from cpssl_lite.metrics.retrieval import Curve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

P, T = "perturbation_map", "label_map"
NSB, NSBP = "perturbation_acc_nsb", "label_acc_nsbp"
# What the nearest neighbour may not share, from `evidence`.
LADDER = {
    "nr": "no restriction",
    "nsb": "not the same batch",
    "nss": "not the same source",
    "nsl": "not the same position",
    "all": "none of the three",
}


def columns(whats: tuple[str, str]) -> dict[str, str]:
    """Headings of a table of what `comparison` shows."""
    one, other = whats
    return {NSB: f"{one} NSB", P: f"{one} mAP", NSBP: f"{other} NSBP", T: f"{other} mAP"}


def comparison(
    results: "pd.DataFrame",
    whats: tuple[str, str],
    shapes: Mapping[str, str] | None = None,
    dotted: str | None = None,
) -> "Figure":
    """Reproducibility and biological relevance of every method, as in the paper's Figs. 2 and 3.

    Parameters
    ----------
    results
        What `evaluate` found, a row for each method.
    whats
        What a perturbation and a label are called.
    shapes, dotted
        As for `plots.scatter`.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.0))
    for axis, what, short, title, x, y in (
        (axes[0], whats[0], "NSB", "a  Reproducibility", NSB, P),
        (axes[1], whats[1], "NSBP", "b  Biological relevance", NSBP, T),
    ):
        scatter(axis, results, x, y, shapes, dotted)
        axis.set(xlabel=f"{what} {short} accuracy", ylabel=f"{what} mAP", title=title)
    legend(figure, results.index, shapes)
    return figure


def sources(
    results: Mapping[str, "pd.DataFrame"], shapes: Mapping[str, str], dotted: str | None
) -> "Figure":
    """Reproducibility of every method in several places, three panels a row."""
    import matplotlib.pyplot as plt

    rows = -(-len(results) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(WIDTH, 1.5 + 2.1 * rows), squeeze=False)
    for axis in axes.flat[len(results) :]:
        axis.set_axis_off()
    for axis, (place, scores) in zip(axes.flat, results.items(), strict=False):
        scatter(axis, scores, NSB, P, shapes, dotted)
        axis.set(title=place, xlabel="NSB accuracy")
        axis.locator_params(nbins=4)
    for axis in axes[:, 0]:
        axis.set_ylabel("Perturbation mAP")
    legend(figure, next(iter(results.values())).index, shapes)
    return figure


def f1(curves: Mapping[str, Mapping[str, Sequence[Curve]]]) -> "Figure":
    """F1 over the k nearest and over distance: a row for each question, a line for each method.

    Parameters
    ----------
    curves
        By question and method, as `f1_curves` returns them (or the first of the two).
    """
    import matplotlib.pyplot as plt

    across = len(next(iter(next(iter(curves.values())).values())))
    size = (WIDTH, 1.1 + 2.0 * len(curves))
    figure, axes = plt.subplots(len(curves), across, figsize=size, sharey="row", squeeze=False)
    for row, (what, by_name) in zip(axes, curves.items(), strict=True):
        for name, pair in by_name.items():
            for axis, curve in zip(row, pair, strict=True):
                axis.plot(curve.at, curve.f1, color=color(name), linewidth=1.5)
        row[0].set_ylabel(f"{what} F1")
        row[0].set_ylim(bottom=0)
    for axis, title in zip(axes[-1], ("k nearest profiles", "distance"), strict=False):
        axis.set_xlabel(title)
    legend(figure, next(iter(curves.values())), lines=True)
    return figure


def differences(frame: "pd.DataFrame", whats: tuple[str, str], minus: str) -> "Figure":
    """Differences in both mAPs with their intervals; open circles where q is 0.05 or more.

    Parameters
    ----------
    frame
        As `profiles.differences.differences` returns it.
    whats
        What a perturbation and a label are called.
    minus
        Of what to what, for the axis.
    """
    import matplotlib.pyplot as plt

    size = (WIDTH, 1.0 + 0.42 * len(frame))
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True)
    for axis, metric, what in zip(axes, (P, T), whats, strict=True):
        parts = frame[[f"{metric}_{part}" for part in ("difference", "low", "high")]]
        unsure = frame.index[~(frame[f"{metric}_q"] < 0.05)]
        rows = {
            str(name): tuple(row) for name, row in zip(parts.index, parts.to_numpy(), strict=True)
        }
        intervals(axis, rows, hollow=list(unsure))
        axis.set(title=f"{what} mAP", xlabel=minus)
    return figure


def replicating(results: "pd.DataFrame") -> "Figure":
    """Percent replicating of every method, against chance from anywhere and from one position.

    An upright bar marks what shuffled names give: 5% only where replicates are many.
    """
    import matplotlib.pyplot as plt

    kinds = ["percent_replicating", "percent_replicating_position", "percent_replicating_chance"]
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.32 * len(results)))
    for place, (name, found) in enumerate(results.reindex(columns=kinds).T.items()):
        anywhere, position, chance = found
        axis.plot(chance, place, "|", color=LINE, ms=17, mew=2)
        paint = color(str(name))
        axis.plot([anywhere, position], [place, place], color=paint, linewidth=1)
        axis.plot(anywhere, place, "o", color=paint, ms=8)
        axis.plot(position, place, "o", color=paint, ms=8, mfc="none")
    axis.set(xlabel="share of perturbations replicating", xlim=(-0.03, 1.03))
    axis.set_ylim(len(results) - 0.5, -0.5)
    axis.set_yticks(range(len(results)), [wrap(str(name)) for name in results.index])
    return figure


def misses(
    precision: Mapping[str, "pd.Series"],
    active: Mapping[str, "pd.Series"],
    strength: "pd.Series | None" = None,
) -> "Figure":
    """Average precision of every perturbation, a panel for each method; open: not active.

    Parameters
    ----------
    precision, active
        By method, both indexed by perturbation.
    strength
        Of the effects, where it is known [rank by precision]. The strongest that is missed is
        named.
    """
    import matplotlib.pyplot as plt

    size = (WIDTH, 3.2)
    figure, axes = plt.subplots(1, len(precision), figsize=size, sharey=True, squeeze=False)
    for axis, (name, values) in zip(axes.flat, precision.items(), strict=True):
        values = values.dropna().sort_values(ascending=False)
        at = values.rank(ascending=False, method="first")
        if strength is not None:
            at = strength[values.index]
        found = active[name].reindex(values.index, fill_value=False).to_numpy(bool)
        axis.plot(at[found], values[found], "o", color=color(name), alpha=0.8)
        axis.plot(at[~found], values[~found], "o", mec=color(name), mfc="none")
        missed = at[~found & (at > 0)].nlargest(1 if strength is not None else 0)
        for perturbation, place in zip(map(str, missed.index), missed, strict=True):
            where = (place, values[perturbation])
            axis.annotate(perturbation, where, (4, 5), textcoords="offset points", fontsize=8)
        axis.set(title=name, ylim=(0, 1.03))
        axis.set_xlabel("rank" if strength is None else "strength of the drawn effect")
    axes[0, 0].set_ylabel("average precision")
    return figure


def found_and_ladder(
    numbers_of: Mapping[str, Mapping[str, float]], what: str, share: str, title: str
) -> "Figure":
    """How many are found at a false discovery rate of 5%, beside the ladder of restrictions.

    Parameters
    ----------
    numbers_of
        What `evidence` found in each method's features.
    what
        Whose ladder: ``perturbation`` or ``label``.
    share
        Which fraction: ``percent_active``, say.
    title
        Of the left panel.

    Returns
    -------
    Figure
    """
    import matplotlib.pyplot as plt

    names = list(numbers_of)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 1.6 + 0.3 * len(names)), width_ratios=(1, 1.15)
    )
    for place, name in enumerate(names):
        value = 100 * numbers_of[name][share]
        left.barh(place, value, color=color(name), height=0.66)
        text = f"{value:.0f}%" if np.isfinite(value) else "undefined"
        left.text(np.nan_to_num(value) + 1, place, text, va="center", fontsize=8.5)
    left.set_yticks(range(len(names)), [wrap(name) for name in names])
    left.set(ylim=(len(names) - 0.5, -0.6), xlim=(0, 118), title=title)
    left.set_xticks([0, 50, 100])
    left.set_xlabel("% with q < 0.05")
    left.grid(axis="y", visible=False)
    # A restriction that these data do not know (one source, no positions) is no rung.
    rungs = [
        rung
        for rung in LADDER
        if any(np.isfinite(found[f"{what}_recall1_{rung}"]) for found in numbers_of.values())
    ]
    for name in names:
        recall = [100 * numbers_of[name][f"{what}_recall1_{rung}"] for rung in rungs]
        right.plot(recall, range(len(rungs)), marker=marker(name), color=color(name), lw=1.2)
    right.set_yticks(range(len(rungs)), ["\n".join(LADDER[r].rsplit(" ", 1)) for r in rungs])
    right.set(ylim=(len(rungs) - 0.5, -0.6), xlabel="% of wells with a match")
    right.set_xlim(left=0)
    right.set_title("Nearest neighbour")
    return figure
