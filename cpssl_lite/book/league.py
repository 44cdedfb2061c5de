"""Feature types side by side, and every public checkpoint with what was tried of it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.figures import WIDTH, color
from cpssl_lite.book.html import Html, table
from cpssl_lite.book.plots import log_axis, wrap
from cpssl_lite.book.standins import LAYOUTS, write_standin
from cpssl_lite.data.manifests import list_manifests
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.timm_parts import timm
from cpssl_lite.models.transfer import load_transfer
from cpssl_lite.profiles.intervals import SCORES, scores_with_intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = "seconds"
BY_NAME = ("vit_small_patch14_dinov2", "vit_small_patch16_dinov3")  # timm's


def league(
    tables: Mapping[str, pd.DataFrame],
    label: str | None = None,
    seconds: Mapping[str, float] | None = None,
    by: str = SCORES[0],
    seed: int = 0,
) -> pd.DataFrame:
    """Scores of normalised tables with their intervals, best first.

    Parameters
    ----------
    tables
        Normalised wells by feature type.
    label, seed
        As for `scores_with_intervals`.
    seconds
        Of a field, where it was measured.
    by
        One of its scores, or ``seconds``.

    Returns
    -------
    DataFrame
        A row for each table: of every score its value, ``<score>_low`` and ``<score>_high``;
        ``seconds``.

    Raises
    ------
    InputError
        Nothing to sort by is called `by`.
    """
    if by not in (*SCORES, SECONDS):
        raise InputError(f"sort {by!r} is not one of {', '.join((*SCORES, SECONDS))}")
    rows = {}
    for name, wells in tables.items():
        found = scores_with_intervals(wells, label, seed=seed)
        rows[name] = {
            f"{score}{end}": value
            for score, values in found.items()
            for end, value in zip(("", "_low", "_high"), values, strict=True)
        } | {SECONDS: (seconds or {}).get(name, np.nan)}
    frame = pd.DataFrame(rows).T
    return frame.sort_values(by, ascending=by == SECONDS, kind="stable")


def level_with(frame: pd.DataFrame, score: str) -> list[str]:
    """Rows whose interval reaches the value of the best one."""
    best = frame[score].max()
    return [str(name) for name in frame.index[frame[f"{score}_high"] >= best]]


def over_untrained(trained: pd.Series, untrained: pd.Series) -> tuple[str, list[str]]:
    """The network with random weights that scores best, and the trained ones above it.

    Examples
    --------
    >>> over_untrained(pd.Series({"A": 0.3, "B": 0.2}), pd.Series({"none": 0.25, "other": 0.1}))
    ('none', ['A'])
    """
    untrained = untrained.dropna()
    if not len(untrained):
        return "", []
    return str(untrained.idxmax()), [str(n) for n in trained.index[trained > untrained.max()]]


def headline_of(frame: pd.DataFrame) -> str:
    """Who finds replicates best, and whose interval reaches it."""
    best = str(frame[SCORES[0]].idxmax())
    ends = (frame[f"{SCORES[0]}{end}"].astype(float) for end in ("", "_low", "_high"))
    value, low, high = (column[best] for column in ends)
    level = [name for name in level_with(frame, SCORES[0]) if name != best]
    said = f", and the interval of {', '.join(level)} reaches it" if level else ""
    return (
        f"Of {len(frame)} feature types {best} finds replicates best: perturbation mAP "
        f"{value:.2f} ({low:.2f} to {high:.2f}){said}."
    )


def caption_of(frame: pd.DataFrame, by: str, untrained: Sequence[str], device: str) -> str:
    """What `league_figure` shows of this league."""
    named = by.replace("_", " ").replace("map", "mAP").replace("acc nsb", "NSB")
    text = (
        f"{len(frame)} feature types, sorted by {named}, with 95% bootstrap intervals over "
        "perturbations."
    )
    if empty := ", ".join(str(name) for name in frame.index if name in untrained):
        text += f" Open circles: networks with random weights ({empty})."
    took = frame[SECONDS].astype(float).dropna()
    if len(took):
        times, slow, fast = took.max() / took.min(), str(took.idxmax()), str(took.idxmin())
        text += (
            f" Right: from file to features on this machine ({device}), {times:.0f} times as "
            f"long in {slow} as in {fast}."
        )
    return text


def league_figure(
    frame: pd.DataFrame, whats: Sequence[str], untrained: Sequence[str] = ()
) -> "Figure":
    """Both mAPs with their intervals, and the seconds of a field: a row for each feature type.

    Parameters
    ----------
    frame
        As `league` returns it.
    whats
        What a perturbation and a label are called.
    untrained
        Rows with random weights: open circles.
    """
    import matplotlib.pyplot as plt

    timed = int(frame[SECONDS].notna().any())
    size = (WIDTH, 1.0 + 0.36 * len(frame))
    figure, axes = plt.subplots(1, 2 + timed, figsize=size, sharey=True, squeeze=False)
    for axis, score, what in zip(axes.flat, ("perturbation_map", "label_map"), whats, strict=False):
        for place, (name, row) in enumerate(frame.iterrows()):
            paint, ends = color(str(name)), [row[f"{score}_low"], row[f"{score}_high"]]
            axis.plot(ends, [place, place], color=paint, linewidth=3)
            face = "white" if name in untrained else paint
            axis.plot(row[score], place, "o", mec=paint, mfc=face)
        axis.set(title=f"{what} mAP")
        axis.set_xlim(left=0)
        axis.locator_params(axis="x", nbins=3)  # the ticks of small values are long
    if timed:
        paints = [color(str(name)) for name in frame.index]
        axes[0, 2].scatter(frame[SECONDS], range(len(frame)), c=paints, marker="s", s=28)
        axes[0, 2].set(title="Seconds a field")
        log_axis(axes[0, 2], frame[SECONDS].astype(float))
    axes[0, 0].set_ylim(len(frame) - 0.5, -0.5)
    axes[0, 0].set_yticks(range(len(frame)), [wrap(str(name)) for name in frame.index])
    return figure


def league_table(frame: pd.DataFrame, whats: Sequence[str], caption: str) -> Html:
    """The same numbers, and both accuracies: value and interval in a cell; folded."""
    names = [f"{what} {kind}" for what, kinds in zip(whats, (("mAP", "NSB"), ("mAP", "NSBP")),
                                                     strict=True) for kind in kinds]  # fmt: skip
    rows = []
    for name, row in frame.iterrows():
        cells: list[object] = [name]
        for score in SCORES:
            value, low, high = (row[f"{score}{end}"] for end in ("", "_low", "_high"))
            known = np.isfinite(value)
            cells.append(f"{value:.3f} ({low:.3f} to {high:.3f})" if known else "undefined")
        cells.append(f"{row[SECONDS]:.2g}" if np.isfinite(row[SECONDS]) else "not measured")
        rows.append(cells)
    return table(("Features", *names, "Seconds a field"), rows, caption, fold=True)


def tried(encoder: Encoder) -> str:
    """What a loaded file gives, in words."""
    shape = encoder.card.get("format", "").replace("`", "")
    return f"{shape}: {encoder.n_features} features of {encoder.crop_size} px crops"


def checkpoint_table() -> Html:
    """Every checkpoint of ``data_manifests/``, of this package and two of timm's, on a page.

    Model, input, pooling, licence are what its manifest, card or timm says. How it was tested is
    found out here: a small file of its layout (`standins`), or one with random weights, is written
    and loaded.
    """
    rows: list[tuple[str, ...]] = []

    def add(model: str, licence: str, given: str, feature: str, how: str) -> None:
        rows.append((model, licence, given, feature, how))

    for path in SHIPPED.values():
        encoder = load_encoder(path)
        card, stains = encoder.card, ", ".join(encoder.channels)
        model = f"{card['method']}, {card['architecture']} (shipped)"
        given = f"{stains}, crops of {encoder.crop_size} px"
        feature = f"{encoder.pooling.replace('_', ' ')}, {encoder.n_features}"
        add(model, card["licence"], given, feature, f"the file itself loads ({tried(encoder)})")
    with tempfile.TemporaryDirectory() as folder:
        for known in list_manifests():
            if known["kind"] != "checkpoint":
                continue
            said = "no small file of its layout is made here"
            if known["name"] in LAYOUTS:
                encoder = load_encoder(write_standin(known["name"], folder))
                said = f"a small file of its layout loads ({tried(encoder)})"
            if left := known.get("unverified"):
                said += f"; not verified: {', '.join(left)}"
            add(known["title"], known["licence"], known["input"], known["feature"], said)
        for name in BY_NAME:
            file = Path(folder) / "timm.pth"
            torch.save(timm.create_model(name, num_classes=0).state_dict(), file)
            encoder, cfg = load_transfer(name, file), timm.get_pretrained_cfg(name)
            assert cfg is not None  # timm is asked about its own
            given = f"each stain three times, crops of {encoder.crop_size} px"
            feature = f"as timm pools it, {encoder.n_features}"
            said = "a file of its size with random weights loads; not verified: the file itself"
            add(f"{name} (timm {timm.__version__})", str(cfg.license), given, feature, said)
    columns = ("Model", "Licence", "Input", "Pooling, features", "Tested how")
    return table(columns, rows, "Checkpoints and what was tried of them")
