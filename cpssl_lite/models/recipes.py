"""Recipes: every hyperparameter of a training run, as one YAML file each."""

import re
from inspect import signature
from pathlib import Path
from typing import Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.yamls import read_mapping, shown
from cpssl_lite.images.augment import AUGMENTATIONS
from cpssl_lite.models.recipe_values import check_augmentation, check_values

FOLDER = Path(__file__).parent / "recipes"
# What `recipe.yaml` of a run says beside the values (base/made.py).
RECORD = ("step", "inputs", "code", "digest", "versions", "commit")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package.

    >>> "dino_vit_small" in recipe_names()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(method: str, config: str | Path | None = None) -> dict[str, Any]:
    """The recipe of a method: the lite one, another by name, or one with values changed.

    Parameters
    ----------
    method
        "dino", "mae" or "simclr".
    config
        Name of a recipe (such as "dino_vit_small"), or a YAML file. A file holds the values
        that differ from the recipe it names under `recipe` (default: `<method>_lite`), or all
        values of a training: its `recipe.yaml`, or the card beside a checkpoint. A seed that
        stands there is not taken.

    Raises
    ------
    InputError
        No such recipe or file, a value that the recipe does not know or of another type, or a
        recipe of another method.

    Examples
    --------
    >>> load_recipe("dino", "dino_vit_small")["head"]["out"]
    20000
    """
    changes: dict[str, Any] = {}
    name = f"{method}_lite"
    if config is not None and str(config) in recipe_names():
        name = str(config)
    elif config is not None:
        changes = _given(_read(Path(config)))
        name = str(changes.pop("recipe", name))
    if name not in recipe_names():
        raise InputError(f"{config}: no recipe {name} (there are: {', '.join(recipe_names())})")
    recipe = _read(FOLDER / f"{name}.yaml")
    if recipe["method"] != method:
        raise InputError(f"{config or name}: the recipe {name} is for {recipe['method']}")
    if changes.get("method", method) != method:
        raise InputError(f"{config}: method is {shown(changes['method'])}, expected {method}")
    _change(recipe, changes, str(config))
    _check(recipe, str(config or name))
    return recipe


def _check(recipe: dict[str, Any], source: str) -> None:
    """Refuse values of the right type that cannot work, before anything is read."""
    check_values(recipe, source)
    for name, values in recipe["augment"].items():
        # A crop's size is said under crops.
        known = set(signature(AUGMENTATIONS[name]).parameters) - {"size"}
        if not isinstance(values, dict) or not set(values) <= known:
            raise InputError(
                f"{source}: augment.{name} is {values!r}, expected some of: "
                f"{', '.join(sorted(known))}"
            )
        check_augmentation(AUGMENTATIONS[name], name, values, source)
        AUGMENTATIONS[name](**values)  # says which value cannot be


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The values to change that a file holds: as they are, or within a record or a card."""
    if isinstance(card := values.get("recipe"), dict):
        values = card
    elif "code" in values:
        values = {key: value for key, value in values.items() if key not in RECORD}
    else:
        return values
    return {key: value for key, value in values.items() if key != "seed"}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, and no recipe of that name ({', '.join(recipe_names())})"
        )
    return read_mapping(path, "recipe")


def _change(recipe: dict[str, Any], changes: dict[str, Any], source: str, inside: str = "") -> None:
    """Replace values in place; nested mappings value by value."""
    for key, value in changes.items():
        if key not in recipe:
            raise InputError(f"{source}: unknown {inside}{key} (known: {', '.join(recipe)})")
        old = recipe[key]
        if key == "augment":  # replaced whole: a list of what is applied, in order
            if not isinstance(value, dict) or not set(value) <= set(AUGMENTATIONS):
                raise InputError(f"{source}: augment names some of: {', '.join(AUGMENTATIONS)}")
        elif isinstance(old, dict):
            if not isinstance(value, dict):
                raise InputError(f"{source}: {inside}{key} has parts: {', '.join(old)}")
            _change(old, value, source, f"{inside}{key}.")
            continue
        number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (old, value))
        if old is not None and type(old) is not type(value) and not number:
            power = isinstance(value, str) and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value)
            hint = "; to YAML a number with an exponent has a point (1.0e-3)" if power else ""
            raise InputError(
                f"{source}: {inside}{key} is {shown(value)}, expected {type(old).__name__} as "
                f"{old!r}{hint}"
            )
        recipe[key] = value
