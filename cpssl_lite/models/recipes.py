"""Recipes: every hyperparameter of a training run, as one YAML file each."""

from inspect import signature
from pathlib import Path
from typing import Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.yamls import read_mapping
from cpssl_lite.images.augment import AUGMENTATIONS
from cpssl_lite.models.vit import ARCHITECTURES

FOLDER = Path(__file__).parent / "recipes"
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


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
        that differ from the recipe it names under `recipe` (default: `<method>_lite`).

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
        changes = _read(Path(config))
        name = str(changes.pop("recipe", name))
    if name not in recipe_names():
        raise InputError(f"{config}: no recipe {name} (there are: {', '.join(recipe_names())})")
    recipe = _read(FOLDER / f"{name}.yaml")
    if recipe["method"] != method:
        raise InputError(f"{config or name}: the recipe {name} is for {recipe['method']}")
    _change(recipe, changes, str(config))
    _check(recipe, str(config or name))
    return recipe


def _check(recipe: dict[str, Any], source: str) -> None:
    """Refuse values of the right type that cannot work, before anything is read."""

    def need(fits: bool, key: str, what: str) -> None:
        if not fits:
            raise InputError(f"{source}: {key} is {recipe[key]!r}, expected {what}")

    architecture = recipe["architecture"]
    need(architecture in ARCHITECTURES, "architecture", f"one of {', '.join(ARCHITECTURES)}")
    for key in ("epochs", "batch_size", "checkpoint_every"):
        fits = type(recipe[key]) is int and 0 < recipe[key] <= 10_000_000
        need(fits, key, "a whole number above 0 (10,000,000 at most)")
    fits = type(recipe["keep_every"]) is int and 0 <= recipe["keep_every"] <= 10_000_000
    need(fits, "keep_every", "a whole number from 0 (keep none but the last)")
    fits = type(recipe["workers"]) is int and 0 <= recipe["workers"] <= 1024
    need(fits, "workers", "a whole number from 0 to 1024")
    need(recipe["precision"] in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}")
    patch = ARCHITECTURES[architecture].patch
    fits = recipe["crops"] and all(
        isinstance(crop, dict)
        and set(crop) == {"count", "size"}
        and all(isinstance(value, int) and value > 0 for value in crop.values())
        and crop["size"] % patch == 0
        for crop in recipe["crops"]
    )
    need(bool(fits), "crops", f"{{count, size}} each, with sizes that are multiples of {patch}")
    for name, values in recipe["augment"].items():
        # A crop's size is said under crops.
        known = set(signature(AUGMENTATIONS[name]).parameters) - {"size"}
        if not isinstance(values, dict) or not set(values) <= known:
            raise InputError(
                f"{source}: augment.{name} is {values!r}, expected some of: "
                f"{', '.join(sorted(known))}"
            )
        AUGMENTATIONS[name](**values)  # says which value cannot be
    channels = ARCHITECTURES[architecture].in_channels
    given = list(recipe["normalisation"].values())
    fits = given == [None, None] or all(isinstance(v, list) and len(v) == channels for v in given)
    need(fits, "normalisation", f"mean and sd of {channels} channels each, or null for both")


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
        number = isinstance(old, int | float) and isinstance(value, int | float)
        if old is not None and value is not None and type(old) is not type(value) and not number:
            raise InputError(
                f"{source}: {inside}{key} is {value!r}, expected {type(old).__name__} as {old!r}"
            )
        recipe[key] = value
