"""Recipes with values that cannot work: one line that names the file, the key and what may be."""

import pytest
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.recipes import FOLDER, load_recipe, recipe_names

NAN, INF = float("nan"), float("inf")
# What an amount, a share, a count, ... cannot be; keys with a point are parts.
WRONG = {
    **dict.fromkeys(("lr", "lr_start", "lr_final", "weight_decay"), (-0.1, NAN, INF)),
    **dict.fromkeys(("weight_decay_final", "clip_norm", "warmup_epochs"), (-1, NAN, INF)),
    **dict.fromkeys(("lr_per_images", "student_temperature"), (0, -1, NAN, INF)),
    **dict.fromkeys(("teacher_temperature", "teacher_temperature_start"), (0.0, -1.0, NAN, INF)),
    **dict.fromkeys(("teacher_momentum", "center_momentum"), (-0.1, 1.1, NAN)),
    **dict.fromkeys(("head.hidden", "head.bottleneck", "head.out"), (0, -1, 0.5, NAN, 10**12)),
    **dict.fromkeys(("sinkhorn_rounds", "freeze_last_layer_epochs"), (-1, 0.5, INF)),
    "teacher_temperature_warmup_epochs": (-1, 0.5, NAN),
    "drop_path": (-0.1, 1.0, NAN),
    "betas": ([0.9], [0.9, 1.0], [0.9, NAN], ["a", "b"], [0, 0.9], [0, 0]),
    "schedule_by": ("batch", "Step", ""),
    "clip_by": ("all", "Tensor", ""),
    "name": ("", "../x", "a/b", ".", "a\nb", "x" * 101),
    "normalisation.sd": ([1, 1, 1, 1, 0], [1, 1, 1], ["a"] * 5, [NAN] * 5, [1.0] * 5),
    "normalisation.mean": ([0, 0, 0, 0], ["a"] * 5, [INF] * 5),
    "crops": (
        [{"count": 1, "size": 96}],
        [{"count": 3, "size": 96}],
        [{"count": 2, "size": 0}],
        [{"count": True, "size": 96}],
    ),
    "augment.flip.p": (-0.1, 1.1, NAN, "a", None),
    "augment.color.gamma": ([1.5, 0.5], [1], "a", [NAN, 1], [-1, 1]),
    "augment.color.shift": (-1, NAN, "a", [1]),
    "augment.blur.kernel": (0, 1.5, "a"),
}
OTHERS = {  # of MAE and SimCLR
    "mae": {
        "mask_ratio": (0, 1, -0.5, NAN, 0.999),
        "decoder.heads": (0, -1, 0.5),
        "decoder.width": (0, 6, 62, NAN),
        "decoder.depth": (0, 1.5),
        "crops": (
            [{"count": 2, "size": 96}, {"count": 2, "size": 48}],
            [{"count": 1, "size": 96}],  # positions are those of 128 px
        ),
        "batch_size": (1,),
    },
    "simclr": {
        "temperature": (0, -1, NAN),
        "batch_size": (1,),
        "projection.hidden": (0, 1.5),
        "projection.out": (-1, INF),
        "crops": ([{"count": 1, "size": 96}], [{"count": 2, "size": 96}, {"count": 2, "size": 48}]),
    },
}
EVERY = [
    (method, key, value)
    for method, wrong in {"dino": WRONG, **OTHERS}.items()
    for key, values in wrong.items()
    for value in values
]


def written(path, key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    path.write_text(yaml.safe_dump(value))
    return path


@pytest.mark.parametrize(("method", "key", "value"), EVERY)
def test_values_that_cannot_work(tmp_path, method, key, value):
    """Thirty of them ended in a traceback or trained with nonsense."""
    path = written(tmp_path / "mine.yaml", key, value)
    with pytest.raises(InputError) as error:
        load_recipe(method, path)
    said = str(error.value)
    assert said.startswith(f"{path}: {key} is ") and ", expected " in said and "\n" not in said


@pytest.mark.parametrize("name", recipe_names())
def test_a_key_without_a_value(tmp_path, name):
    """`lr:` with nothing behind it went through."""
    for key, value in yaml.safe_load((FOLDER / f"{name}.yaml").read_text()).items():
        if key in ("method", "normalisation"):
            continue
        path = tmp_path / "mine.yaml"
        path.write_text(f"recipe: {name}\n{key}:\n")
        with pytest.raises(InputError, match=rf"mine\.yaml: (augment names|{key} (is|has))"):
            load_recipe(name.split("_")[0], path)
        assert value is not None


@pytest.mark.parametrize("text", ["1e-3", "8e-3", "1E-4", "-1e3"])
def test_numbers_that_are_text_to_yaml(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(f"lr: {text}\n")
    with pytest.raises(InputError, match=rf"lr is '{text}', expected float .* has a point"):
        load_recipe("dino", path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", True), ("head.batch_norm", 1), ("warmup_reaches_peak", "yes"), ("epochs", "2")],
)
def test_values_of_another_type(tmp_path, key, value):
    path = written(tmp_path / "mine.yaml", key, value)
    with pytest.raises(InputError, match=rf"mine\.yaml: {key} is {value!r}, expected "):
        load_recipe("dino", path)


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("dino", "clip_norm", 0.0),
        ("dino", "warmup_epochs", 0.5),
        ("dino", "lr_start", 0),
        ("dino", "crops", [{"count": 2, "size": 96}]),
        ("mae", "mask_ratio", 0.75),
        ("mae", "crops", [{"count": 4, "size": 128}]),
        ("dino", "normalisation", {"mean": [0] * 5, "sd": [1] * 5}),
        ("dino", "augment", {"blur": {"p": 0.5, "kernel": 9, "sigma": [0.1, 2]}}),
    ],
)
def test_values_that_work(tmp_path, method, key, value):
    assert load_recipe(method, written(tmp_path / "mine.yaml", key, value))[key] == value


def test_what_only_goes_with_other_values(tmp_path):
    """A smaller network has another size of crops; one prototype says the same of everything."""
    path = written(tmp_path / "mine.yaml", "architecture", "vit_mini_patch16")
    with pytest.raises(InputError, match=r"mine\.yaml: crops is .*128.*expected the size 64, that"):
        load_recipe("mae", path)
    path.write_text("architecture: vit_mini_patch16\ncrops: [{count: 2, size: 64}]\nbatch_size: 1")
    assert load_recipe("mae", path)["batch_size"] == 1  # two crops of the one image
    with pytest.raises(InputError, match=r"head\.out is 1, expected a whole number from 2"):
        load_recipe("dino", written(path, "head.out", 1))
