"""Which values of a recipe can work: looked at before anything is read."""

import re
from collections.abc import Callable
from inspect import signature
from math import isfinite
from typing import Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.yamls import shown
from cpssl_lite.models.vit import ARCHITECTURES

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
MOST = 10_000_000
Rule = tuple[Callable[[Any], bool], str]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _whole(value: Any, least: int, most: int = MOST) -> bool:
    return type(value) is int and least <= value <= most


def _range(value: Any) -> bool:
    two = isinstance(value, list | tuple) and len(value) == 2 and all(map(_number, value))
    return two and 0 <= value[0] <= value[1]


def _one_of(*names: str) -> Rule:
    return lambda value: value in names, f"one of {', '.join(names)}"


COUNT: Rule = (lambda v: _whole(v, 1), f"a whole number above 0 ({MOST:,} at most)")
COUNT_OR_0: Rule = (lambda v: _whole(v, 0), "a whole number from 0")
AMOUNT: Rule = (lambda v: _number(v) and v >= 0, "a number from 0")
ABOVE_0: Rule = (lambda v: _number(v) and v > 0, "a number above 0")
SHARE: Rule = (lambda v: _number(v) and 0 <= v <= 1, "a number within 0..1")
BELOW_1: Rule = (lambda v: _number(v) and 0 <= v < 1, "a number from 0, below 1")
YES: Rule = (lambda v: isinstance(v, bool), "true or false")

# By key; parts of a mapping behind a point. Keys that a recipe lacks are passed over.
RULES: dict[str, Rule] = {
    "name": (
        lambda v: isinstance(v, str) and bool(re.fullmatch(r"\w[\w.+ -]{0,99}", v)),
        "the name of a file: letters, numbers, _ . + -, 100 at most",
    ),
    "licence": (lambda v: isinstance(v, str), "text"),
    "architecture": _one_of(*ARCHITECTURES),
    "precision": _one_of(*PRECISIONS),
    "schedule_by": _one_of("step", "epoch"),
    "clip_by": _one_of("tensor", "global"),
    "workers": (lambda v: _whole(v, 0, 1024), "a whole number from 0 to 1024"),
    "keep_every": (COUNT_OR_0[0], "a whole number from 0 (keep none but the last)"),
    "betas": (
        # PyTorch refuses a whole number among them.
        lambda v: (
            isinstance(v, list)
            and len(v) == 2
            and all(type(b) is float for b in v)
            and all(map(BELOW_1[0], v))
        ),
        "two numbers from 0.0, below 1, each with a point",
    ),
    "mask_ratio": (lambda v: _number(v) and 0 < v < 1, "a number between 0 and 1"),
    "drop_path": BELOW_1,
    **dict.fromkeys(("epochs", "batch_size", "checkpoint_every"), COUNT),
    **dict.fromkeys(("head.hidden", "head.bottleneck"), COUNT),
    "head.out": (lambda v: _whole(v, 2, MOST), f"a whole number from 2 ({MOST:,} at most)"),
    **dict.fromkeys(("projection.hidden", "projection.out"), COUNT),
    **dict.fromkeys(("decoder.width", "decoder.depth", "decoder.heads"), COUNT),
    **dict.fromkeys(("sinkhorn_rounds", "freeze_last_layer_epochs"), COUNT_OR_0),
    "teacher_temperature_warmup_epochs": COUNT_OR_0,
    **dict.fromkeys(("lr", "lr_start", "lr_final", "warmup_epochs", "clip_norm"), AMOUNT),
    **dict.fromkeys(("weight_decay", "weight_decay_final"), AMOUNT),
    **dict.fromkeys(("lr_per_images", "temperature", "student_temperature"), ABOVE_0),
    **dict.fromkeys(("teacher_temperature", "teacher_temperature_start"), ABOVE_0),
    **dict.fromkeys(("teacher_momentum", "center_momentum"), SHARE),
    **dict.fromkeys(("warmup_reaches_peak", "head.batch_norm", "standardise_patches"), YES),
}
# What the losses take: DINO's teacher and SimCLR see two views, MAE one group.
GROUPS = {
    "dino": (lambda counts: counts[0] == 2, "the first group twice (count: 2), for the teacher"),
    "simclr": (lambda counts: counts == [2], "one group with count: 2"),
    "mae": (lambda counts: len(counts) == 1, "one group"),
}


def check_values(recipe: dict[str, Any], source: str) -> None:
    """Refuse values that cannot work, alone or together.

    Raises
    ------
    InputError
        Names the key, what it is and what it may be.
    """
    for key, (fits, what) in RULES.items():
        name, _, part = key.partition(".")
        if name in recipe:
            value = recipe[name][part] if part else recipe[name]
            _need(fits(value), source, key, value, what)
    shape = ARCHITECTURES[recipe["architecture"]]
    patch, channels = shape.patch, shape.in_channels
    _check_crops(recipe, source, patch)
    for key, (fits, what) in {
        "mean": (_number, "numbers"),
        "sd": (ABOVE_0[0], "numbers above 0"),
    }.items():
        values = recipe["normalisation"][key]
        several = isinstance(values, list) and len(values) == channels and all(map(fits, values))
        what = f"{channels} {what}, one a channel, or null for both"
        both = (values is None) == (recipe["normalisation"]["mean"] is None)
        _need((several or values is None) and both, source, f"normalisation.{key}", values, what)
    if "decoder" in recipe:
        width, heads = recipe["decoder"]["width"], recipe["decoder"]["heads"]
        what = f"a multiple of 4 and of its {heads} heads"
        _need(width % heads == 0 and width % 4 == 0, source, "decoder.width", width, what)
    if recipe["method"] == "mae":  # its positions are fixed, and the decoder has as many
        size = recipe["crops"][0]["size"]
        what = f"the size {shape.image_size}, that of the positions of {recipe['architecture']}"
        _need(size == shape.image_size, source, "crops", recipe["crops"], what)
    # SimCLR sets images apart from each other; where there is one crop, nothing differs.
    crops, size = recipe["crops"][0]["count"], recipe["batch_size"]
    few = size < 2 and (recipe["method"] == "simclr" or crops < 2)
    _need(not few, source, "batch_size", size, "2 or more")
    if "mask_ratio" in recipe:
        patches, ratio = (recipe["crops"][0]["size"] // patch) ** 2, recipe["mask_ratio"]
        some = 0 < int(patches * (1 - ratio)) < patches
        _need(some, source, "mask_ratio", ratio, f"to hide some of {patches} patches, not all")


def check_augmentation(
    kind: Callable[..., Any], name: str, values: dict[str, Any], source: str
) -> None:
    """Refuse values that are not of the kind of an augmentation's defaults.

    Probabilities (`p`) are within 0..1, ranges two numbers in order, all others from 0.

    Raises
    ------
    InputError
        Names the key, what it is and what it may be.
    """
    for key, known in signature(kind).parameters.items():
        if key not in values:
            continue
        value = values[key]
        fits, what = SHARE if key == "p" else COUNT if type(known.default) is int else AMOUNT
        if isinstance(known.default, tuple):
            fits, what = _range, "two numbers from 0, in order"
        _need(fits(value), source, f"augment.{name}.{key}", value, what)


def _check_crops(recipe: dict[str, Any], source: str, patch: int) -> None:
    crops = recipe["crops"]
    fits = bool(crops) and all(
        isinstance(crop, dict)
        and set(crop) == {"count", "size"}
        and all(_whole(value, 1) for value in crop.values())
        and crop["size"] % patch == 0
        for crop in crops
    )
    what = f"{{count, size}} each, with sizes that are multiples of {patch}"
    _need(fits, source, "crops", crops, what)
    enough, how = GROUPS[recipe["method"]]
    _need(enough([crop["count"] for crop in crops]), source, "crops", crops, how)


def _need(fits: bool, source: str, key: str, value: Any, what: str) -> None:
    if not fits:
        raise InputError(f"{source}: {key} is {shown(value)}, expected {what}")
