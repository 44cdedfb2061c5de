"""Figures of the chapter on bioactivity, and how its methods look."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cpssl_lite.bioactivity.presets import CNNS
from cpssl_lite.book.figures import WIDTH, color, in_legend, marker
from cpssl_lite.book.plots import INK, LINE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CNN_COLORS = ("#7B4EA3", "#A678C8", "#4B2E83", "#C08CBF", "#8C6D1F", "#B59A3B")
Curve = Sequence[tuple[float, float, float, float]]


def of_method(name: str) -> tuple[str, str]:
    """Colour and marker; image networks are purple or brown."""
    if name in CNNS:
        return CNN_COLORS[CNNS.index(name)], "s^vD<>"[CNNS.index(name)]
    return color(name), marker(name)


def means(
    rows: Mapping[str, tuple[float, float, float]], reachable: float | None = None
) -> "Figure":
    """Mean AUCROC with its interval, a row for each method; chance and the best reachable."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.33 * len(rows)))
    for place, (name, (mean, low, high)) in enumerate(rows.items()):
        paint, sign = of_method(name)
        axis.plot([low, high], [place] * 2, color=paint, linewidth=3, alpha=0.6)
        axis.plot(mean, place, sign, color=paint, markersize=8)
    for text, x, line in (("chance", 0.5, ":"), ("best reachable", reachable, "--")):
        if x is not None:
            axis.plot([x, x], [-0.5, len(rows)], line, color="#4B5763", linewidth=1.2)
            axis.text(x, -0.6, text, ha="center", fontsize=9)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set(ylim=(len(rows) - 0.5, -1.2), xlabel="mean AUCROC over assays")
    axis.margins(x=0.08)
    return figure


def by_labels(auc: "pd.DataFrame", bins: "pd.Series") -> "Figure":
    """AUCROC of every assay, a panel for each number of labels, a strip for each method."""
    import matplotlib.pyplot as plt

    filled = [name for name in bins.cat.categories if (bins == name).any()]
    size = (WIDTH, 0.9 + 1.9 * len(filled))
    figure, axes = plt.subplots(len(filled), 1, figsize=size, sharex=True, sharey=True)
    for axis, group in zip(np.atleast_1d(axes), filled, strict=True):
        inside = bins.index[bins == group]
        for place, name in enumerate(auc):
            values = auc[name].loc[inside].dropna().to_numpy()
            spread, (paint, sign) = np.linspace(-0.22, 0.22, len(values)), of_method(str(name))
            axis.plot(place + spread, values, sign, color=paint, alpha=0.55, markersize=4)
            if len(values):
                axis.plot(place + np.array([-0.32, 0.32]), [np.median(values)] * 2, color=INK)
        axis.axhline(0.5, color=LINE, linestyle=":", linewidth=1.2)
        axis.set(title=f"{group} labels ({len(inside)} assays)", ylabel="AUCROC")
        axis.set_xticks(range(auc.shape[1]), list(auc), rotation=35, ha="right")
    return figure


def learning(curves: Mapping[str, Curve], reachable: float | None = None) -> "Figure":
    """Mean AUCROC (labels, mean, low, high) against labels, a line for each method."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(WIDTH, 3.3))
    for shift, (name, points) in enumerate(curves.items()):
        labels, mean, low, high = np.array(points).T
        paint, sign = of_method(name)
        how: dict[str, Any] = {"color": paint, "marker": sign, "capsize": 3, "label": name}
        axis.errorbar(labels * (1 + 0.02 * shift), mean, [mean - low, high - mean], **how)
    axis.axhline(0.5, color=LINE, linestyle=":", linewidth=1.2)
    if reachable is not None:
        axis.axhline(reachable, color=INK, linestyle="--", linewidth=1.2)
        place: dict[str, Any] = {"va": "bottom", "transform": axis.get_yaxis_transform()}
        axis.text(0.01, reachable, "best reachable", fontsize=9, **place)
    axis.set(xlabel="training labels of an assay (mean)", ylabel="mean AUCROC")
    axis.legend(loc="lower right")
    return figure


def against(auc: "pd.Series", others: Mapping[str, "pd.Series"], name: str) -> "Figure":
    """AUCROC of each assay against others', a panel each."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(others), figsize=(WIDTH, 3.5), squeeze=False)
    for axis, (other, values) in zip(axes.flat, others.items(), strict=True):
        axis.plot(values, auc, "o", color=color(name), alpha=0.7)
        low = min(values.min(), auc.min()) - 0.03
        axis.plot([low, 1.02], [low, 1.02], color=LINE, linewidth=1)
        axis.set(xlabel=f"AUCROC, {other}", ylabel=f"AUCROC, {name}")
        axis.set(xlim=(low, 1.02), ylim=(low, 1.02), aspect="equal")
    return figure


def trust(
    calibrated: Mapping[str, tuple[np.ndarray, np.ndarray]],
    held: Mapping[str, Mapping[str, tuple[float, float]]],
    wanted: float,
) -> "Figure":
    """Calibration curves (predicted, active), beside coverage by number of labels.

    Parameters
    ----------
    calibrated
        Mean prediction and share of actives, by method.
    held
        By method and number of labels: share of sets that hold the truth, and of those with one
        label.
    wanted
        The coverage that was asked for.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    for name, (mean, share) in calibrated.items():
        paint, sign = of_method(name)
        left.plot(mean, share, marker=sign, color=paint, label=in_legend(name))
    limits = left.get_xlim(), left.get_ylim()
    ends = [min(a for a, _ in limits), max(b for _, b in limits)]
    left.plot(ends, ends, color=LINE, linewidth=1)
    left.set(xlabel="predicted probability", ylabel="share active", title="Calibration")
    for name, groups in held.items():
        paint, sign = of_method(name)
        for line, part in (("-", 0), (":", 1)):
            values = [100 * pair[part] for pair in groups.values()]
            fill = "full" if part == 0 else "none"
            right.plot(list(groups), values, line, marker=sign, color=paint, fillstyle=fill)
    right.axhline(100 * wanted, color=LINE, linewidth=1)
    right.set(ylim=(0, 104), xlabel="labels of an assay", ylabel="% of prediction sets")
    right.set_title("Sets: true (full), single (open)")
    right.margins(x=0.2)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
