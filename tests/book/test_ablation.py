"""The augmentation chapter on a small screen: what is trained, what is kept."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from cpssl_lite.book import ablation
from cpssl_lite.book.runner import run_notebook
from cpssl_lite.data.simulate.screen import simulate


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "dino"])
def test_one_condition_more_costs_one_training_more(tmp_path, method):
    table = simulate("tiny", tmp_path / "tiny", workers=1)
    config = tmp_path / "config.yaml"
    crops = [{"count": 2, "size": 64}, {"count": 2, "size": 32}][: 2 if method == "dino" else 1]
    config.write_text(
        yaml.safe_dump(
            {"architecture": "vit_mini_patch16", "epochs": 2, "batch_size": 8, "crops": crops}
        )
    )
    results = tmp_path / "results"

    def run(*conditions):
        executed = run_notebook(
            "augmentation_ablation",
            {
                "method": method,
                "data": str(table),
                "train_data": str(table),
                "config": str(config),
                "conditions": list(conditions),
                "seeds": [3],
                "normalisation": "mad_robustize",
                "results": str(results),
                "workers": 1,
            },
            out=tmp_path / "out.ipynb",
        )
        cells = json.loads(executed.read_text())["cells"]
        outputs = [o.get("data", {}) for cell in cells for o in cell.get("outputs", [])]
        times = {p.parent.name: p.stat().st_mtime_ns for p in results.rglob("*.safetensors")}
        return "".join("".join(o.get("text/html", "")) for o in outputs), times

    before = {}
    if method == "simclr":  # what is kept is found by the same lines for both
        page, before = run("none")
        assert '<th scope="row">none</th>' in page and "(simulated data)" in page
        assert len(before) == 1
    page, after = run("none", "Color + Resize")
    assert all(f'<th scope="row">{name}</th>' in page for name in ("none", "Color + Resize"))
    assert "(simulated data)" in page
    assert len(after) == 2 and before.items() <= after.items()
    (folder,) = (results / name for name in after if "color+resize" in name)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert set(recipe["augment"]) == {"color", "resize"} and recipe["seed"] == 3
    assert len(pd.read_csv(folder / "metrics.csv")) == recipe["epochs"] * (24 // 8)


@pytest.mark.parametrize(("method", "guess"), [("simclr", np.log(15)), ("dino", np.log(64))])
def test_a_training_that_ends_at_guessing_has_collapsed(tmp_path, method, guess):
    recipe = {"method": method, "batch_size": 8, "head": {"out": 64}}
    assert ablation.guessing(recipe) == pytest.approx(guess)
    run = ablation.Run("Color", 0, tmp_path, recipe)
    for last, collapsed in ((guess, True), (0.9 * guess, False)):
        curve = pd.DataFrame({"epoch": [0, 1, 1], "loss": [guess, last + 0.01, last - 0.01]})
        curve.to_csv(tmp_path / "metrics.csv", index=False)
        assert run.last_loss == pytest.approx(last) and run.collapsed == collapsed
    untrained = ablation.Run(ablation.RANDOM, 0, tmp_path, recipe)
    assert not untrained.collapsed and untrained.profiles != run.profiles
