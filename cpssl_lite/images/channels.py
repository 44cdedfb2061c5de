"""The five stains of Cell Painting, always selected by name.

Projects store them in different orders (this paper: Mito, AGP, RNA, ER, DNA; others begin with
AGP or DNA), so a position says nothing.
"""

import re
from collections.abc import Sequence
from typing import Any

from cpssl_lite.base.errors import InputError

CHANNELS: tuple[str, ...] = ("Mito", "AGP", "RNA", "ER", "DNA")
"""Canonical order: that of the authors' merged images."""

# What other screens call the same stains, lower case and without an "Orig" in front.
_ALIASES = {name.lower(): name for name in CHANNELS} | {
    "hoechst": "DNA",
    "ersyto": "ER",
    "ersytobleed": "RNA",
    "ph_golgi": "AGP",
}

# Labels that programs give to planes that nobody named: "Slice 3", "Channel:0:1", "c:1/5", "ch2".
_NUMBERED = re.compile(r"\W*(slice|channel|ch|c|z|t|w|plane|image|frame|page)?[\s\d:/=#_.-]*")


def canonical_channel(name: str) -> str | None:
    """Canonical name of a channel, or None if it is none of the five (brightfield, say).

    Case and a leading ``Orig`` (JUMP's load_data columns) do not matter.

    Examples
    --------
    >>> canonical_channel("OrigDNA"), canonical_channel("mito"), canonical_channel("Brightfield")
    ('DNA', 'Mito', None)
    """
    key = name.strip().lower()
    return _ALIASES.get(key, _ALIASES.get(key.removeprefix("orig")))


def channel_indices(available: Sequence[str], wanted: Sequence[str] = CHANNELS) -> list[int]:
    """Positions in `available` of the channels in `wanted`, by name.

    Raises
    ------
    InputError
        A wanted channel is missing, or there twice. The message lists both sides.

    Examples
    --------
    >>> channel_indices(["DNA", "ER", "RNA", "AGP", "Mito"], ["Mito", "DNA"])
    [4, 0]
    """
    names = [canonical_channel(name) or name for name in available]
    indices = []
    for name in wanted:
        found = [i for i, other in enumerate(names) if other == (canonical_channel(name) or name)]
        if len(found) != 1:
            raise InputError(
                f"channel {name} is needed once, found {len(found)} times;"
                f" wanted: {', '.join(wanted)}; available: {', '.join(available) or 'none'}"
            )
        indices += found
    return indices


def named_channels(labels: Any) -> list[str] | None:
    """What a file's labels call its channels; None where they are no names, or only count.

    A label that is a file's name stands for the one channel that is named in it.

    Examples
    --------
    >>> named_channels(["c:1/2 - A01_s1_ERSyto.tif", "DNA"]), named_channels(["ch1", "ch2"])
    (['ER', 'DNA'], None)
    """
    if not isinstance(labels, list) or not labels:
        return None
    if not all(isinstance(label, str) for label in labels):
        return None
    if all(_NUMBERED.fullmatch(label.lower()) for label in labels):
        return None
    return [_channel_in(label) or label for label in labels]


def _channel_in(label: str) -> str | None:
    """The channel that a label such as ``c:2/5 - A01_s1_ERSyto.tif`` names, if it names one."""
    if name := canonical_channel(label):
        return name
    found = {canonical_channel(word) for word in re.split(r"[\W_]+", label)} - {None}
    return found.pop() if len(found) == 1 else None
