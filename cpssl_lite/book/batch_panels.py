"""Figures of the chapters on batch effects: maps, effects by batch, plates, before and after."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cpssl_lite.book.figures import COLORS, SPARE_COLORS, WIDTH, color, in_legend, marker
from cpssl_lite.book.plots import wrap

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#A4AEB8"
PALETTE = (*list(COLORS.values())[:5], *SPARE_COLORS)
SHAPES = "osD^v"


def dots(axis: "Axes", at: np.ndarray, groups: np.ndarray, names: Sequence[Any], size: int) -> None:
    """Points of a map (n, 2), a colour and a marker for each group."""
    for number, name in enumerate(names):
        x, y = at[groups == name].T
        axis.scatter(
            x,
            y,
            s=size,
            color=PALETTE[number % len(PALETTE)],
            marker=SHAPES[(number // len(PALETTE) + number) % len(SHAPES)],
            linewidths=0,
            label=in_legend(name),
            rasterized=True,
        )


def target_map(
    maps: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    controls: Mapping[str, np.ndarray],
    shown: Sequence[str],
) -> "Figure":
    """Maps side by side: the labels `shown` in colour, all others grey, controls small."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(maps), figsize=(WIDTH, 4.1), squeeze=False)
    for axis, (name, at) in zip(axes[0], maps.items(), strict=True):
        rest = ~controls[name] & ~np.isin(labels[name], shown)
        axis.scatter(*at[controls[name]].T, s=2, color=GREY, linewidths=0)
        hollow = {"facecolors": "none", "edgecolors": GREY, "linewidths": 0.5}
        axis.scatter(*at[rest].T, s=8, **hollow)
        dots(axis, at, labels[name], shown, 18)
        _bare(axis, name)
        axis.set(xlabel="UMAP 1", ylabel="UMAP 2")
    if shown:
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=3, markerscale=1.6)
    return figure


def technical_maps(
    maps: Mapping[str, tuple[np.ndarray, "pd.DataFrame"]], rows: Mapping[str, str]
) -> "Figure":
    """A row of maps for each factor (`rows`: column of `facts.facts` and its words)."""
    import matplotlib.pyplot as plt

    size = (WIDTH, 0.6 + 1.8 * len(rows))
    figure, axes = plt.subplots(len(rows), len(maps), figsize=size, squeeze=False)
    for row, (factor, words) in zip(axes, rows.items(), strict=True):
        for axis, (name, (at, known)) in zip(row, maps.items(), strict=True):
            _bare(axis, name if axis in axes[0] else "")
            if factor == "cells":
                low, high = np.nanpercentile(known["cells"], (1, 99))
                shade: dict[str, Any] = {"c": known["cells"], "vmin": low, "vmax": high}
                picture = axis.scatter(*at.T, s=5, linewidths=0, **shade)
            else:
                groups = known[factor].to_numpy()
                dots(axis, at, groups, np.unique(groups).tolist(), 5)
        row[0].set_ylabel(words)
        if factor == "cells":
            figure.colorbar(picture, ax=row[-1], aspect=12)
        elif len(np.unique(groups)) <= 12:
            place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
            row[-1].legend(markerscale=2, handletextpad=0, fontsize=9, **place)
    return figure


def batch_effects(found: Mapping[tuple[str, str], Mapping[str, Any]], plain: str) -> "Figure":
    """Connectivity, LISI and silhouettes by factor and name; `plain` is the line without effect."""
    import matplotlib.pyplot as plt

    looks = {
        plain: (GREY, "", ":"),
        "Gaussian clusters": ("#75808A", "X", "--"),
        "Shuffled clusters": (GREY, "*", ":"),
    }
    factors = list(dict.fromkeys(factor for factor, _ in found))
    figure, axes = plt.subplots(3, len(factors), figsize=(WIDTH, 8.2), squeeze=False)
    for column, factor in zip(axes.T, factors, strict=True):
        names = [name for what, name in found if what == factor]
        looked = {n: looks.get(n, (color(n), marker(n), "-")) for n in names}
        for name, (tint, shape, line) in looked.items():
            for axis, kind in zip(column[:2], ("connectivity", "lisi"), strict=True):
                by_k = found[factor, name][kind]
                how: dict[str, Any] = {"color": tint, "marker": shape, "markersize": 5}
                axis.plot(list(by_k), list(by_k.values()), line, label=in_legend(name), **how)
        boxes = column[2].boxplot(
            [found[factor, name]["silhouette"] for name in names],
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            widths=0.6,
            patch_artist=True,
            medianprops={"color": "#26303A"},
        )
        for box, name in zip(boxes["boxes"], names, strict=True):
            box.set(facecolor=looked[name][0], alpha=0.75, linewidth=0.6)
        column[2].set_yticks(range(1, len(names) + 1), names)
        column[2].invert_yaxis()
        column[0].set(title=f"By {factor}", xlabel="k", ylabel="graph connectivity")
        column[0].set_ylim(-0.03, 1.05)
        column[1].set(xlabel="k", ylabel="mean LISI")
        column[1].set_ylim(bottom=0.9)
        column[2].set(xlabel="silhouette")
    for axis in axes[2, 1:]:
        axis.set_yticklabels([])
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3)
    return figure


def correlations(grid: "pd.DataFrame") -> "Figure":
    """Correlations, -1 to 1, written on a red and blue grid."""
    import matplotlib.pyplot as plt

    values = grid.to_numpy(float)
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.36 * len(grid)))
    axis.imshow(values, cmap="RdBu_r", vmin=-1.6, vmax=1.6, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = "-" if np.isnan(value) else f"{value:.2f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=9)
    axis.set_xticks(range(grid.shape[1]), list(grid.columns))
    axis.set_yticks(range(len(grid)), [wrap(str(name)) for name in grid.index])
    axis.grid(False)
    return figure


def plates(values: Mapping[str, np.ndarray], plate: np.ndarray, at: np.ndarray) -> "Figure":
    """Plates as they lie, a block of them for each kind of value.

    Parameters
    ----------
    values
        Numbers of all wells, by name.
    plate : (n,)
    at : (n, 2) int
        Row and column, from 1 (`profiles.shortcuts.grid_position`).
    """
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(plate))[:8]
    across = min(4, len(names))
    down = -(-len(names) // across)
    size = (WIDTH, 0.5 + 1.35 * down * len(values))
    figure, axes = plt.subplots(down * len(values), across, figsize=size, squeeze=False)
    for block, (what, number) in enumerate(values.items()):
        low, high = np.nanpercentile(number, (2, 98))
        part = axes[block * down : (block + 1) * down]
        for axis in part.flat[len(names) :]:
            axis.set_axis_off()
        for axis, name in zip(part.flat, names, strict=False):
            here = plate == name
            grid = np.full(at.max(axis=0), np.nan)
            grid[tuple(at[here].T - 1)] = np.asarray(number)[here]
            picture = axis.imshow(grid, vmin=low, vmax=high, aspect="auto")
            _bare(axis)
            axis.set_title(name, fontsize=9, fontweight="normal")
        figure.colorbar(picture, ax=part, label=what, shrink=0.85)
    return figure


def before_and_after(
    pairs: Mapping[tuple[str, str], Sequence[Mapping[str, float]]], metrics: Mapping[str, str]
) -> "Figure":
    """Arrows from before to after a correction: mixing against what is found.

    Parameters
    ----------
    pairs
        Numbers before and after, by method and stage (``raw`` is drawn hollow).
    metrics
        Key and title of each panel; the horizontal axis is ``lisi``.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(metrics), figsize=(WIDTH, 4.4), squeeze=False)
    for axis, (metric, title) in zip(axes[0], metrics.items(), strict=True):
        for (name, stage), both in pairs.items():
            ends = [(x["lisi"], x[metric]) for x in both]
            arrow = {"arrowstyle": "-|>", "color": color(name), "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", ends[1], ends[0], arrowprops=arrow)
            axis.plot(*ends[1], ",", color=color(name))
            how: dict[str, Any] = {"fillstyle": "none" if stage == "raw" else "full"}
            how |= {"color": color(name), "markersize": 8, "label": in_legend(f"{name}, {stage}")}
            axis.plot(*ends[0], marker(name), **how)
        axis.set(title=title, xlabel="LISI by batch, k = 15")
        axis.margins(0.15)
        axis.locator_params(nbins=5)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2)
    return figure


def _bare(axis: "Axes", title: str = "") -> None:
    axis.set(xticks=[], yticks=[], title=title)
    axis.grid(False)
