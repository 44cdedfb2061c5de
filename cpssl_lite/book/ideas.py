"""The drawings of the primer: one for each idea, from what its few lines of code made."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cpssl_lite.book.figures import CHANNEL_COLORS, WIDTH, color, composite, marker, show_image
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models.mae import patchify, random_masking
from cpssl_lite.profiles.table import feature_columns

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#75808A"
CENTRE: dict[str, Any] = {"ha": "center", "va": "center"}


def overview(field: Any, corners: NDArray, side: int, block: NDArray, scores: Any) -> "Figure":
    """From cells to numbers: a field with its crops, profiles, and what they find.

    Parameters
    ----------
    field
        A `Field`.
    corners, side
        (n, 2) top and left of the crops, and their side in px.
    block
        (compounds, replicates, features)
    scores
        What `evaluate` found, a row for each method.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.1), width_ratios=(1.05, 0.95, 1.3))
    show_image(axes[0], composite(field), "a  Cells")
    for top, left in corners:
        place = (left - 0.5, top - 0.5)
        axes[0].add_patch(plt.Rectangle(place, side, side, fill=False, edgecolor="white"))
    n, each, width = block.shape
    rows = block.reshape(n * each, width)
    axes[1].imshow(rows, aspect="auto", cmap="RdBu_r", vmin=-6, vmax=6)
    axes[1].set_yticks(np.arange(n) * each + (each - 1) / 2, range(1, n + 1))
    for edge in range(each, n * each, each):
        axes[1].axhline(edge - 0.5, color="white", linewidth=1.5)
    axes[1].set(title="b  Profiles", xticks=[], xlabel="features", ylabel="compound")
    axes[1].grid(False)
    for name, row in scores.iterrows():
        at = row["perturbation_map"], row["label_map"]
        axes[2].plot(*at, marker(name), color=color(name), ms=8, label=name)
    axes[2].set(title="c  What they find", xlabel="perturbation mAP", ylabel="target mAP")
    axes[2].set(xlim=(0, 1.12 * axes[2].get_xlim()[1]), ylim=(0, 1.12 * axes[2].get_ylim()[1]))
    above: dict[str, Any] = {"loc": "outside upper center", "columnspacing": 0.9}
    figure.legend(ncols=5, handletextpad=0.2, fontsize=8.5, **above)
    return figure


def replicates(means: "pd.DataFrame", names: Sequence[str], most: int = 32) -> NDArray:
    """Profiles of some perturbations in every batch, (compounds, replicates, features).

    Parameters
    ----------
    means
        A profile for each perturbation and batch.
    names
        Perturbations, each in as many batches.
    most
        How many features: those that differ most between the perturbations.
    """
    rows = means.set_index("Metadata_Perturbation")[feature_columns(means)]
    block = np.stack([rows.loc[name].to_numpy() for name in names])
    vary = np.argsort(-block.mean(axis=1).var(axis=0))[:most]
    return block[..., vary]


def coloring(field: Any) -> Callable[[Any], NDArray]:
    """What makes an RGB picture of a view (C, H, W), 0 to 1, on the scale of its whole field."""
    low, high = np.percentile(field.pixels / 65535, (1, 99.7), axis=(1, 2))
    tint = np.array([CHANNEL_COLORS[name] for name in CHANNELS])

    def colored(x: Any) -> NDArray:
        scaled = (np.moveaxis(np.asarray(x), 0, -1) - low) / (high - low)
        return np.clip(np.clip(scaled, 0, 1) @ tint, 0, 1)

    return colored


def masked(x: Any, patch: int, ratio: float, generator: Any) -> tuple[NDArray, NDArray]:
    """Which pixels MAE hides of a crop (C, H, H), and what it wants there of the RNA channel."""
    import torch

    side = x.shape[-1]
    n = side // patch
    noise = torch.rand(1, n * n, generator=generator)
    away = random_masking(noise, ratio)[2].reshape(n, n).numpy()
    away = np.kron(away, np.ones((patch, patch))) > 0
    parts = patchify(x[[CHANNELS.index("RNA")]][None], patch)[0]
    parts = parts - parts.mean(1, keepdim=True)
    parts = parts / (parts.std(1, keepdim=True) + 1e-6)
    laid = parts.reshape(n, n, patch, patch).permute(0, 2, 1, 3).reshape(side, side)
    wanted = np.clip(laid.numpy() / 6 + 0.5, 0, 1)
    return away, np.where(away, wanted, np.nan)


def ranked(hit: NDArray, similarity: NDArray) -> "Figure":
    """A ranked strip of wells; over each right one, right so far / seen so far."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(WIDTH, 1.5))
    for place, (right, value) in enumerate(zip(hit, similarity, strict=True)):
        face = BLUE if right else "none"
        box = plt.Rectangle((place + 0.06, 0), 0.88, 1, ec=BLUE, fc=face, lw=1.5)
        axis.add_patch(box)
        axis.text(place + 0.5, -0.3, f"{value:.2f}", fontsize=9, **CENTRE)
        if right:
            share = f"{hit[: place + 1].sum()}/{place + 1}"
            axis.text(place + 0.5, 1.3, share, fontsize=11, **CENTRE)
    axis.set(xlim=(-0.1, len(hit) + 0.1), ylim=(-0.6, 1.6))
    axis.axis("off")
    return figure


def allowed(similarity: NDArray, batch: NDArray) -> "Figure":
    """Who may be the neighbour: similarities (n, n) with the own batch grey, and both choices."""
    import matplotlib.pyplot as plt

    own = batch[:, None] == batch
    rest = np.where(own, -np.inf, similarity)
    figure, axis = plt.subplots(figsize=(4.4, 3.2))
    shown = np.where(own, np.nan, similarity)
    drawn = axis.imshow(shown, vmin=-1, vmax=1, cmap="PuOr_r")
    axis.set_facecolor("#9AA3AC")
    lines = np.arange(len(batch))
    axis.plot(similarity.argmax(1), lines, "o", mfc="none", color="black", ms=6)
    axis.plot(rest.argmax(1), lines, "x", color="black", ms=5)
    axis.set(xticks=[], yticks=[], xlabel="wells, by batch", ylabel="queries")
    axis.grid(False)
    figure.colorbar(drawn, label="cosine similarity")
    return figure


def clouds(before: NDArray, after: NDArray, controls: NDArray) -> "Figure":
    """Two features (n, 2) of controls and treated wells, before and after sphering."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    titles = "before: standardised", "after: sphered"
    for axis, cloud, title in zip(axes, (before, after), titles, strict=True):
        axis.plot(*cloud[controls].T, "o", color=GREY, ms=3.5, alpha=0.7)
        axis.plot(*cloud[~controls].T, "s", color=BLUE, ms=5)
        axis.set(title=title, xlabel="feature 1", ylabel="feature 2")
        axis.set_aspect("equal", adjustable="datalim")
    return figure


def views(pictures: Mapping[str, Sequence[NDArray]], says: Mapping[str, str]) -> "Figure":
    """A row of pictures for each method, small views at their size, and what is asked of them."""
    import matplotlib.pyplot as plt

    side = max(len(picture) for row in pictures.values() for picture in row)
    figure, axes = plt.subplots(len(pictures), 6, figsize=(WIDTH, 3.5))
    for line, (name, seen) in zip(axes, pictures.items(), strict=True):
        for axis, picture in zip(line, seen, strict=False):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            edge = (side - len(picture)) // 2
            axis.set(xlim=(-edge, len(picture) + edge), ylim=(len(picture) + edge, -edge))
        for axis in line:
            axis.axis("off")
        line[0].set_title(name)
        if name in says:
            told = line[len(seen)].text(0.05, 0.5, says[name], fontsize=9, va="center")
            told.set_in_layout(False)
    return figure


def losses(choice: NDArray, goal: NDArray, said: NDArray) -> "Figure":
    """What SimCLR and DINO compare.

    Parameters
    ----------
    choice
        (2n, 2n): how likely each view picks each other one; the partner is n places on.
    goal, said
        (n, K): shares of K prototypes, of the teacher and of the student.
    """
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(WIDTH, 2.9))
    halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    left, right = halves
    axis = left.subplots()
    drawn = axis.imshow(choice, vmin=0, vmax=1, cmap="Blues")
    n = len(choice) // 2
    for row in range(2 * n):
        at = ((row + n) % (2 * n) - 0.5, row - 0.5)
        axis.add_patch(plt.Rectangle(at, 1, 1, fill=False, edgecolor=ORANGE, lw=1.6))
    axis.set(title="a  SimCLR", xlabel="is of my field?", ylabel="view", xticks=[], yticks=[])
    axis.grid(False)
    left.colorbar(drawn, shrink=0.8)
    panels = right.subplots(2, n // 2, sharex=True, sharey=True)
    for axis, bars, line in zip(panels.flat, goal, said, strict=True):
        axis.bar(range(len(bars)), bars, color=BLUE, alpha=0.5)
        axis.plot(line, "o-", color=ORANGE, ms=3, lw=1.2)
        axis.set(xticks=[], ylim=(0, 1))
    panels[0, 0].set_title("b  DINO")
    right.supylabel("share", fontsize=9)
    return figure


def teacher(local: NDArray, whole: NDArray) -> "Figure":
    """DINO's two networks, what each sees (RGB pictures) and what goes from one to the other."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(WIDTH, 2.1))
    frame = {"boxstyle": "round,pad=0.5", "fc": "#E6EEF5", "ec": BLUE}
    for y, picture, half, boxes in (
        (2.45, local, 0.35, ("student", "softmax(s / 0.1)")),
        (0.7, whole, 0.6, ("teacher", "softmax((t - centre) / 0.04)")),
    ):
        inset = axis.inset_axes(
            (0.7 - half, y - half, 2 * half, 2 * half), transform=axis.transData
        )
        show_image(inset, picture)
        for text, at in zip(boxes, (2.7, 5.6), strict=True):
            axis.text(at, y, text, fontsize=9.5, bbox=frame, **CENTRE)
        for start, stop, end in (
            (1.4, 1.95, y),
            (3.45, 3.95, y),
            (7.2, 8.2, 1.57 + (y - 1.57) / 3),
        ):
            axis.annotate("", (stop, end), (start, y), arrowprops={"arrowstyle": "->"})
    axis.text(8.95, 1.57, "cross-\nentropy", fontsize=10, **CENTRE)
    slow = {"arrowstyle": "->", "linestyle": "--", "color": GREY}
    axis.annotate("", (2.7, 1.1), (2.7, 2.05), arrowprops=slow)
    axis.text(2.85, 1.57, "slow average", va="center", fontsize=9)
    axis.set(xlim=(0, 10), ylim=(0, 3.2))
    axis.axis("off")
    return figure


def splits(parts: Mapping[str, NDArray], compound: NDArray, most: int = 24) -> "Figure":
    """Which wells are tested on: a column for each of the first compounds, a panel for each way."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(parts), figsize=(WIDTH, 2.3))
    names = np.unique(compound)[:most]
    for axis, (title, part) in zip(axes, parts.items(), strict=True):
        for x, name in enumerate(names):
            column = part[compound == name]
            colors = [BLUE if one else "#B9C2CA" for one in column]
            axis.scatter([x] * len(column), range(len(column)), s=36, c=colors, marker="s")
        axis.set(title=title, xticks=[], yticks=[], xlabel="compounds")
        axis.grid(False)
    axes[0].set_ylabel("wells")
    return figure


def climb(recalls: "pd.DataFrame") -> "Figure":
    """Share of right neighbours (0 to 1) on each rung, a column for each method."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(WIDTH, 2.5))
    for name, values in recalls.items():
        method = str(name)
        axis.plot(100 * values.to_numpy(), f"{marker(method)}-", color=color(method), label=method)
    axis.set_xticks(range(len(recalls)), map(str, recalls.index))
    axis.set(ylabel="right neighbour (%)", ylim=(0, 108 * np.nanmax(recalls.to_numpy())))
    axis.legend(loc="lower left")
    return figure
