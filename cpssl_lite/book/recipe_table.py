"""The paper's recipes side by side: what its Supplementary Table 2 lists, as this code trains."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cpssl_lite.book.html import Html, table
from cpssl_lite.models.recipes import FOLDER, load_recipe

METHODS = {"dino": "DINO", "mae": "MAE", "simclr": "SimCLR"}
_KEY = re.compile(r"^( *)(\w+):")
_SAID = re.compile(r"#.*?\b(paper|released)\b")


def recipe_table(size: str = "small") -> Html:
    """Table of the hyperparameters of the three methods, with ViT-S (small) or ViT-B (base).

    What the text does not say is marked "code": it is the authors' command or its default.
    """
    rows: dict[str, dict[str, str]] = {}
    for method in METHODS:
        name = f"{method}_vit_{size}"
        recipe = load_recipe(method, name)
        origins = _origins((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        for key in ("name", "method", "licence", "workers", "checkpoint_every"):
            recipe.pop(key)
        for key, value in _flat(recipe):
            text = "yes" if value is True else "no" if value is False else _shown(value)
            if _origin(key, origins) != "paper":
                text += " (code)"
            rows.setdefault(key, {})[method] = text
    words = [
        (key.replace("_", " ").replace(".", ", "), *(told.get(m, "-") for m in METHODS))
        for key, told in rows.items()
    ]
    return table(("Hyperparameter", *METHODS.values()), words, "The recipes", fold=True)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _shown(value: Any) -> str:
    """A value as a table writes it.

    Examples
    --------
    >>> _shown([{"count": 2, "size": 224}, {"count": 8, "size": 96}]), _shown([0.9, 0.95])
    ('2 of 224, 8 of 96', '0.9, 0.95')
    """
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, Mapping):
        return " of ".join(map(_shown, value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _origins(text: str) -> dict[str, str]:
    """Whether each value is the paper's or the code's, as the comments of a recipe say."""
    found: dict[str, str] = {}
    path: dict[int, str] = {}  # names of the groups around a line, by their indent
    for line in text.splitlines():
        if key := _KEY.match(line):
            path = {indent: name for indent, name in path.items() if indent < len(key[1])}
            path[len(key[1])] = key[2]
        if said := _SAID.search(line):  # a list speaks for its group
            found.setdefault(".".join(path.values()), said[1])
    return found


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Of a value, or of the nearest group that it is in and that says so."""
    while key not in origins and "." in key:
        key = key.rpartition(".")[0]
    return origins.get(key, "")
