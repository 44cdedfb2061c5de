"""What a card says about the input of a network: read and checked before any weights are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.yamls import read_mapping, shown
from cpssl_lite.images.channels import CHANNELS, canonical_channel
from cpssl_lite.models.formats import (
    ORDER_ASSUMED,
    POOLING_ASSUMED,
    SCALE_ASSUMED,
    TRAINED_ELSEWHERE,
    Found,
)
from cpssl_lite.models.reading import read_notes
from cpssl_lite.models.vit import Pooling, Shape

CARD_KEY = "cpssl_card"  # in this project's files
# The notes that a rule takes back.
STATED: dict[str, str | tuple[str, ...]] = {
    "channels": ORDER_ASSUMED,
    "mean": (SCALE_ASSUMED, TRAINED_ELSEWHERE),
    "pooling": POOLING_ASSUMED,
}


def read_card(path: Path) -> tuple[str, dict[str, Any]]:
    """Where the card of a checkpoint stands (the file itself, or a YAML beside it) and the card.

    Its input rules are checked as far as they can be without the weights.
    """
    inside = read_notes(path).get(CARD_KEY)
    beside = path.with_suffix(".yaml")
    if inside is not None:
        source = str(path)
        try:
            card = json.loads(inside)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: the card in it cannot be read ({error})") from error
        if not isinstance(card, dict):
            raise InputError(f"{path}: the card in it is a mapping, got {type(card).__name__}")
    elif beside.is_file() and beside != path:
        source, card = str(beside), read_mapping(beside, "card")
    else:
        return str(beside), {}
    if "input" not in card and (lost := sorted(set(INPUT_RULES).intersection(card))):
        raise InputError(f"{source}: {', '.join(lost)} must stand under `input:`, further in")
    check_rules(card.get("input", {}), source)
    return source, card


def apply_input(found: Found, given: Any, source: str) -> None:
    """Take over the input rules that a card states, each of the right kind.

    Raises
    ------
    InputError
        Names the key, what was got and what is expected.
    """
    check_rules(given, source)
    for key, value in given.items():
        if key == "channels":
            value = tuple(canonical_channel(name) for name in value)
        setattr(found, key, tuple(value) if isinstance(value, list) else value)
        found.notes = [note for note in found.notes if not note.startswith(STATED.get(key, ()))]


def check_rules(given: Any, source: str) -> None:
    """Refuse input rules that no network can have; nothing but the card is needed for it.

    Raises
    ------
    InputError
        Names the key, what was got and what is expected.
    """
    if not isinstance(given, dict):
        raise InputError(f"{source}: input is {shown(given)}, expected a mapping")
    for key, value in given.items():
        if key not in INPUT_RULES:
            raise InputError(
                f"{source}: unknown key {shown(key).strip(chr(39))} under input "
                f"(allowed: {', '.join(INPUT_RULES)})"
            )
        expected, fits = INPUT_RULES[key]
        if not fits(value):
            raise InputError(f"{source}: input {key} is {shown(value)}, expected {expected}")
    mean, sd = given.get("mean"), given.get("sd")
    if (mean is None) != (sd is None):
        there, lacking = ("mean", "sd") if sd is None else ("sd", "mean")
        raise InputError(
            f"{source}: input states {there} without {lacking}; give a number per channel for "
            "both, or null for both (each channel of each crop to mean 0 and variance 1)"
        )


def check_input(found: Found, shape: Shape, source: str) -> None:
    """Refuse input rules that do not go with the network.

    Raises
    ------
    InputError
        The number of channels, of means or of sds, or the size of the crops.
    """
    one_by_one = found.per_channel or found.network.any_channels
    if found.stains and not found.channels:
        raise InputError(
            f"{source}: was trained on {found.stains}; say which stains of Cell Painting stand for "
            f"them, in this order, in {Path(source).with_suffix('.yaml')} under input: channels"
        )
    if found.pooling not in found.network.poolings:
        raise InputError(
            f"{source}: input pooling is {found.pooling}; this network has "
            f"{', '.join(found.network.poolings)}"
        )
    if not one_by_one and shape.in_channels > len(CHANNELS):
        raise InputError(
            f"{source}: the network takes {shape.in_channels} channels; a field has "
            f"{len(CHANNELS)} ({', '.join(CHANNELS)}), so cpssl cannot feed it"
        )
    if not one_by_one and shape.in_channels != len(found.channels):
        raise InputError(
            f"{source}: the network takes {shape.in_channels} channels, "
            f"{len(found.channels)} are named ({', '.join(found.channels)}); "
            f"name them in {Path(source).with_suffix('.yaml')} under input: channels"
        )
    n = shape.in_channels if found.per_channel else len(found.channels)
    for name, values in (("mean", found.mean), ("sd", found.sd)):
        if values is not None and len(values) not in (1, n):
            raise InputError(
                f"{source}: input {name} has {len(values)} values; the network takes {n} channels"
            )
    if found.crop_size and found.crop_size % shape.patch:
        raise InputError(
            f"{source}: input crop_size {found.crop_size} is no multiple of the patch {shape.patch}"
        )


def _numbers(value: Any) -> bool:
    numbers = isinstance(value, list) and all(type(v) in (int, float) for v in value)
    return numbers and all(abs(v) <= 1e6 for v in value) and bool(value)  # not of NaN


def _positive(value: Any) -> bool:
    return type(value) is int and 0 < value <= 100_000


def _stains(value: Any) -> bool:
    if not (isinstance(value, list) and all(isinstance(v, str) for v in value) and value):
        return False
    names = [canonical_channel(name) for name in value]
    return None not in names and len(set(names)) == len(names)


# What a card may state under `input`: what it must be, and how to tell.
INPUT_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "channels": (f"some of {', '.join(CHANNELS)}, each once", _stains),
    "crop_size": ("a size in pixels", _positive),
    "heads": ("a number of heads", _positive),
    "mean": ("a number per channel, or null", lambda v: v is None or _numbers(v)),
    "sd": (
        "a number above 0 per channel, or null",
        lambda v: v is None or (_numbers(v) and all(x >= 1e-6 for x in v)),
    ),
    "pooling": (f"one of {', '.join(get_args(Pooling))}", lambda v: v in get_args(Pooling)),
}
