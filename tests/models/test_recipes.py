"""Recipes: all that ship can be read, and values that cannot work are refused by name."""

import pytest
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.recipes import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads(name):
    assert load_recipe(name.split("_")[0], name)["name"] == name


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 0},
        {"epochs": -1},
        {"checkpoint_every": 0},
        {"keep_every": -1},
        {"workers": -1},
        {"precision": "fp8"},
        {"architecture": "vit_huge"},
        {"crops": [1]},
        {"crops": [{"count": 2, "size": 100}]},
        {"normalisation": {"mean": [1], "sd": None}},
        {"batch_size": "many"},
        {"learning_rate": 1},
    ],
)
def test_values_that_cannot_work_are_refused(tmp_path, change):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(change))
    with pytest.raises(InputError, match=next(iter(change))) as refusal:
        load_recipe("dino", file)
    assert "mine.yaml" in str(refusal.value)
