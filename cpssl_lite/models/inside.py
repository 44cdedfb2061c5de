"""Find the ViTs inside a training checkpoint, whatever its parts and prefixes are called.

A ViT is known by its patch embedding. What stands before that name (`backbone.`,
`teacher.backbone.`, `net.encoder.`) belongs to whoever wrapped it.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.formats import Tensors, shorten, tensors_of

PATCHES = "patch_embed.proj.weight"
THEIRS = "embeddings.patch_embeddings.projection.weight"  # in the Transformers library
DEEP = 3  # levels of dictionaries that are looked into
# Of several networks in one file the averaged one is taken, as DINO's and timm's own loaders do;
# the student last. In between stands what is called none of these.
FIRST, LAST = ("teacher", "ema"), "student"


class Inside(NamedTuple):
    """A ViT in a file: where, under which prefix, and all tensors that lie beside it."""

    place: tuple[str, ...]
    prefix: str
    tensors: Tensors

    @property
    def name(self) -> str:
        """What to call it in a message."""
        where = "/".join(self.place)
        return f"{where}: {self.prefix}*" if where and self.prefix else where or f"{self.prefix}*"

    @property
    def rank(self) -> int:
        """Order of preference; the smallest is taken."""
        words = re.split(r"[^a-z]+", f"{'.'.join(self.place)}.{self.prefix}".lower())
        found = [i for i, word in enumerate(FIRST) if word in words]
        return min(found) if found else len(FIRST) + (LAST in words)


def vits(content: dict[str, Any], place: tuple[str, ...] = ()) -> Iterator[Inside]:
    """Every ViT in nested dictionaries."""
    tensors = tensors_of(content)
    for name in tensors:
        for end in (PATCHES, THEIRS):
            if name == end or name.endswith(f".{end}"):
                yield Inside(place, name.removesuffix(end), tensors)
    if len(place) < DEEP:
        for key, value in content.items():
            if isinstance(key, str) and isinstance(value, dict):
                yield from vits(value, (*place, key))


def choose(content: dict[str, Any]) -> tuple[Inside, list[Inside]] | None:
    """The ViT to take and the others that are there; None where there is none.

    Raises
    ------
    InputError
        Two that could be meant equally well.
    """
    found = sorted(vits(content), key=lambda one: one.rank)
    if not found:
        return None
    first, *others = found
    if others and others[0].rank == first.rank:
        names = shorten([one.name for one in found if one.rank == first.rank])
        raise InputError(f"holds several networks ({names}); save one of them alone")
    return first, others


def holds_resnet(content: dict[str, Any]) -> bool:
    """Whether names in a file are those of torchvision's, timm's or CLIP's ResNets."""
    parts = [content, *(part for part in content.values() if isinstance(part, dict))]
    return any(str(name).endswith("layer1.0.conv1.weight") for part in parts for name in part)


def nested_names(content: dict[str, Any]) -> str:
    """The names in a file, one level down: what a message about an unknown layout lists.

    Examples
    --------
    >>> nested_names({"model": {"a.weight": 1, "b.weight": 2}, "epoch": 3})
    'model: {a.weight, b.weight}, epoch'
    """
    told = []
    for key, value in content.items():
        inside = [str(name)[:80] for name in value] if isinstance(value, dict) else []
        told.append(f"{str(key)[:80]}: {{{shorten(inside, 3)}}}" if inside else str(key)[:80])
    return shorten(told, 5) or "nothing"
