"""One look for every figure: method colours, a plain style, five channels as one picture."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.dark import show_both

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colour and marker of each method. Okabe and Ito's colours, which stay apart in all common forms
# of colour blindness, for methods that learn; two greys and a pale brown for those that cannot know
# anything; violet for what drawn wells were drawn with. Markers are the second cue, for print
# and for those who cannot tell the colours.
METHODS = {
    "DINO": ("#0072B2", "o"),
    "MAE": ("#E69F00", "s"),
    "SimCLR": ("#009E73", "^"),
    "Transfer": ("#CC79A7", "D"),
    "CellProfiler": ("#D55E00", "P"),
    "Random weights": ("#39424B", "v"),
    "Random features": ("#75808A", "X"),
    "Shuffled labels": ("#C2A36B", "*"),
    "True phenotype": ("#6A2C91", "d"),
}
COLORS = {name: color for name, (color, _) in METHODS.items()}
MARKERS = {name: marker for name, (_, marker) in METHODS.items()}
# Other names of a method's family, which share its colour.
FAMILIES = {"ImageNet": "Transfer"}
# What the features come from, by shape (as in the paper's Fig. 2); first match wins.
ARCHITECTURES = {
    "ViT-S": (r"vit[-_]?s", "^"),
    "ViT-B": (r"vit[-_]?b", "s"),
    "ViT lite": (r"vit[-_]?lite", "o"),
    "CNN": (r"resnet|efficientnet|convnext", "D"),
    "segmentation": (r"cellprofiler|cp_measure", "P"),
    "chance": (r"random features|^random$|shuffle", "X"),
    "truth": (r"true phenotype", "d"),
    "other": (r"", "h"),
}
# For methods that only the reader has (their own checkpoints).
SPARE_COLORS = ("#56B4E9", "#7B4EA3", "#8C6D1F", "#A3293D")
SPARE_MARKERS = ("h", "<", ">", "p")

# How each stain is coloured in a composite (red, green, blue shares). The shares of a colour
# add up to little more than 1 over the stains, so that five of them do not end in white.
CHANNEL_COLORS = {
    "Mito": (1.0, 0.0, 0.3),
    "AGP": (0.55, 0.3, 0.0),
    "RNA": (0.05, 0.5, 0.0),
    "ER": (0.0, 0.4, 0.25),
    "DNA": (0.1, 0.15, 1.0),
}

# Inches. Every figure is as wide as a page's text, so letters have one size throughout.
WIDTH = 6.4


def style() -> None:
    """Set the book's style for all figures of this session; a chapter's first call.

    In Jupyter images are sharp, and each comes with a second one for the dark theme. A notebook
    opened there starts in its own folder: from here on it names files from the repository's.
    """
    import matplotlib as mpl
    from cycler import cycler

    here = Path.cwd()
    if "ipykernel" in sys.modules and here.name == "notebooks" and (here.parent / "book").is_dir():
        os.chdir(here.parent)

    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.4),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "axes.prop_cycle": cycler(color=[*COLORS.values(), *SPARE_COLORS]),
            "axes.facecolor": "none",
            "axes.edgecolor": "#6B7785",
            "axes.labelcolor": "#26303A",
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": "#DDE2E7",
            "grid.linewidth": 0.6,
            "text.color": "#26303A",
            "xtick.color": "#4B5763",
            "ytick.color": "#4B5763",
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "lines.markersize": 6,
            "image.cmap": "cividis",
            "image.interpolation": "nearest",
            "font.family": "DejaVu Sans",
            "font.size": 10,
            # Names come from data: "$" in one is no formula. (Ticks of a log axis are written as
            # formulas by default: give it a formatter, such as "{x:g}".)
            "text.parse_math": False,
        }
    )
    try:
        from IPython.core.getipython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    # The exact canvas rather than a tight box: all figures keep one width.
    set_matplotlib_formats("retina", bbox_inches=None)
    if (shell := get_ipython()) is not None:
        show_both(shell)  # after it: it takes figures out of all formatters


def color(method: str) -> str:
    """Colour of a method; a name that nobody knows always gets the same spare colour.

    Architecture and data in the name do not change the colour ("DINO ViT-S" is DINO's).

    Examples
    --------
    >>> color("DINO"), color("DINO ViT-S") == color("DINO")
    ('#0072B2', True)
    """
    return _pick(method, COLORS, SPARE_COLORS)


def marker(method: str) -> str:
    """Marker of a method, the second cue beside its colour."""
    return _pick(method, MARKERS, SPARE_MARKERS)


def in_legend(name: object) -> str:
    """A name as a label that a legend shows: matplotlib leaves out what begins with "_".

    Examples
    --------
    >>> in_legend("DINO"), in_legend("_mine") == "_mine", in_legend("_mine").strip("\u200b")
    ('DINO', False, '_mine')
    """
    text = str(name)
    return f"\u200b{text}" if text.startswith("_") else text  # a space of no width


def architecture(*texts: object) -> str:
    """Which of `ARCHITECTURES` made the features, from a checkpoint's card or a row's name.

    Examples
    --------
    >>> architecture("vit_lite_patch16"), architecture("DINO ViT-S"), architecture("Mine")
    ('ViT lite', 'ViT-S', 'other')
    """
    text = " ".join(map(str, texts)).lower()
    return next(name for name, (words, _) in ARCHITECTURES.items() if re.search(words, text))


def _pick(method: str, known: dict[str, str], spare: Sequence[str]) -> str:
    plain = method.lower().replace("_", " ")
    for name in (*known, *FAMILIES):
        if plain.startswith(name.lower()):
            return known[FAMILIES.get(name, name)]
    # Not hash(): it differs from run to run.
    return spare[sum(method.encode()) % len(spare)]


def tag(figure: "Figure", data: str = "simulated") -> None:
    """Write on the figure what its data are: "simulated", or "real data: NAME".

    Parameters
    ----------
    figure
        A figure whose common x label is free: the tag takes that place, below the axes,
        so that it never covers a point.
    data
        ``simulated``, or a text that begins with it, or the name of the real data set.
    """
    simulated = data.startswith("simulated")
    text = data if simulated else f"real data: {data}"
    figure.supxlabel(
        "simulated data" if data == "simulated" else text,
        x=0.995,
        ha="right",
        fontsize=8,
        color="#7A3E00" if simulated else "#0B4F2E",
        bbox={
            "boxstyle": "round,pad=0.35",
            "facecolor": "#FDF1E3" if simulated else "#E6F4EC",
            "edgecolor": "none",
        },
    )


def composite(field: Any, channels: Sequence[str] = ()) -> np.ndarray:
    """Draw five channels as one RGB picture, in the colours of `CHANNEL_COLORS`.

    Each channel is black at its 1st and full at its 99.7th percentile.

    Parameters
    ----------
    field
        Pixels (C, H, W), or a `Field`, which knows its channels.
    channels
        Names of the channels, needed with plain pixels.

    Returns
    -------
    uint8 (H, W, 3)

    Raises
    ------
    InputError
        Channels without a colour, or names that do not fit the pixels.
    """
    pixels = field if isinstance(field, np.ndarray) else field.pixels
    channels = channels or getattr(field, "channels", ())
    if pixels.ndim != 3 or len(channels) != len(pixels):
        raise InputError(f"composite: {pixels.shape} pixels with channels {tuple(channels)}")
    unknown = [name for name in channels if name not in CHANNEL_COLORS]
    if unknown:
        raise InputError(f"composite: no colour for {unknown}, there are {list(CHANNEL_COLORS)}")
    picture = np.zeros((*pixels.shape[1:], 3), np.float32)
    for plane, name in zip(pixels, channels, strict=True):
        bottom, top = np.percentile(plane, (1.0, 99.7))
        scaled = np.clip((plane - bottom) / max(float(top - bottom), 1e-9), 0, 1)
        picture += scaled[..., None] * np.asarray(CHANNEL_COLORS[name], np.float32)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def show_image(axes: Any, image: np.ndarray, title: str = "", **words: Any) -> None:
    """Show an image without axes, ticks or grid; `words` say how its title looks."""
    axes.imshow(image, cmap="gray" if image.ndim == 2 else None)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, **words)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
