"""Genes that were clustered, drawn: correlation in the order of the tree, AMI beside chance."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cpssl_lite.book.figures import WIDTH, color, in_legend
from cpssl_lite.book.plots import LINE
from cpssl_lite.metrics.clustering import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 30  # letters of a family's name beside its box


class Clustered(NamedTuple):
    """Genes of chosen families: family of each (n,), correlation (n, n), tree, groups found."""

    family: np.ndarray
    correlation: np.ndarray
    tree: np.ndarray
    groups: Sequence[Group]


def heatmaps(found: Mapping[str, Clustered]) -> "Figure":
    """Correlation of genes in the order of their tree, families as colours, groups as boxes."""
    import matplotlib.pyplot as plt

    union = sorted({str(family) for one in found.values() for family in one.family})
    palette = plt.get_cmap("tab20")(np.arange(len(union)) % 20)
    paint = dict(zip(union, palette, strict=True))
    size = (WIDTH, 0.4 + 4.0 * len(found))
    ratios = (0.18, 0.04, 1)
    figure, axes = plt.subplots(len(found), 3, figsize=size, width_ratios=ratios, squeeze=False)
    for (left, strip, axis), (name, one) in zip(axes, found.items(), strict=True):
        order = _tree(left, one.tree)
        strip.imshow([[paint[str(family)]] for family in one.family[order]], aspect="auto")
        shown = one.correlation[np.ix_(order, order)]
        picture = axis.imshow(shown, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        for part in (left, strip, axis):
            part.grid(False)
            part.set(xticks=[], yticks=[])
            part.spines[:].set_visible(False)
        _boxes(axis, one)
        axis.set_title(f"{name}: {len(one.family)} genes, groups: {len(one.groups)}")
    figure.colorbar(
        picture,
        ax=axes[:, 2],
        orientation="horizontal",
        shrink=0.5,
        aspect=30,
        label="correlation",
    )
    return figure


def _tree(axis: "Axes", tree: np.ndarray) -> np.ndarray:
    """Draw a tree with its root at the left; return its leaves from top to bottom."""
    import matplotlib.pyplot as plt
    from scipy.cluster.hierarchy import dendrogram

    with plt.rc_context({"lines.linewidth": 0.7}):
        drawn = dendrogram(
            tree,
            orientation="left",
            ax=axis,
            no_labels=True,
            color_threshold=0,
            above_threshold_color=LINE,
        )
    axis.invert_yaxis()
    return np.array(drawn["leaves"])


def _boxes(axis: "Axes", one: Clustered) -> None:
    """Frame the groups and name them at the right."""
    from matplotlib.patches import Rectangle

    n, names = len(one.family), np.unique(one.family)
    middles = [(group.start + group.stop) / 2 / n for group in one.groups]
    for group, middle, place in zip(one.groups, middles, _apart(middles, 0.045), strict=True):
        size = group.stop - group.start
        corner = (group.start - 0.5, group.start - 0.5)
        axis.add_patch(Rectangle(corner, size, size, fill=False, ec="black", lw=1.2))
        text = str(names[group.family])
        if len(text) > LONGEST:  # between words
            text = text[: LONGEST - 2].rsplit(" ", 1)[0] + " ..."
        axis.annotate(
            f"{text} ({size})",
            xy=(group.stop / n, 1 - middle),
            xytext=(1.03, 1 - place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": "#9AA5B0", "lw": 0.6},
        )


def _apart(places: Sequence[float], least: float) -> np.ndarray:
    """Places moved apart to a least distance, in their order.

    Examples
    --------
    >>> _apart([0.1, 0.12, 0.5], 0.1).round(2).tolist()
    [0.1, 0.2, 0.5]
    """
    moved = np.array(places, dtype=float)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + least)
    return moved - max(0, (moved[-1] if len(moved) else 0) - 1)


def ami(
    ks: np.ndarray,
    curves: Mapping[str, np.ndarray],
    bands: Mapping[str, np.ndarray],
    at: int,
) -> "Figure":
    """Adjusted mutual information over the number of clusters, with bands of chance.

    Parameters
    ----------
    ks
        Numbers of clusters.
    curves
        AMI by method.
    bands
        Draws (n, k) by what was shuffled, the widest first; their central 95% are filled.
    at
        Where a line marks as many clusters as families.
    """
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(WIDTH, 3.8))
    for (name, draws), shade in zip(bands.items(), ("#DDE2E7", "#AEB8C2"), strict=False):
        low, high = np.percentile(draws, (2.5, 97.5), axis=0)
        axis.fill_between(ks, low, high, color=shade, lw=0, zorder=1, label=name)
    for name, curve in curves.items():
        axis.plot(ks, curve, color=color(name), label=in_legend(name), zorder=2)
    axis.axvline(at, color=LINE, lw=0.8)
    axis.set(xlabel="number of clusters", ylabel="AMI")
    figure.legend(loc="outside upper center", ncols=3)
    return figure
