import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.augment import Resize
from cpssl_lite.images.tiff import write_merged
from cpssl_lite.models import crops_data
from cpssl_lite.models import train as training
from cpssl_lite.models.checkpoints import load_encoder
from cpssl_lite.models.crops_data import (
    CropBatches,
    CropSpec,
    EpochBatches,
    Fields,
    crop_specs,
    random_crop,
)
from cpssl_lite.models.objective import Objective
from cpssl_lite.models.precision import native_precisions
from cpssl_lite.models.recipes import FOLDER, load_recipe, recipe_names

SMALL = {
    "epochs": 3,
    "batch_size": 4,
    "warmup_epochs": 1,
    "checkpoint_every": 1,
}
CROPS = {
    "dino": [{"count": 2, "size": 32}, {"count": 2, "size": 16}],
    "simclr": [{"count": 2, "size": 32}],
    "mae": [{"count": 2, "size": 128}],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(9):
        pixels = rng.integers(0, 9000, (5, 144, 144)).astype(np.uint16)
        pixels[:, 20:60, 20:60] += np.uint16(6000 * (1 + i % 3))
        write_merged(folder / f"{i}.tif", pixels, otsu=0.15)
        rows.append(
            {"Metadata_Plate": "P1", "Metadata_Well": f"A{i + 1:02}", "FileName_Merged": f"{i}.tif"}
        )
    path = folder / "images.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def config(folder, method, /, **changes):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "crops": CROPS[method], **changes}))
    return path


def weights(path):
    return load_encoder(path).network.state_dict()


@pytest.mark.parametrize("method", ["dino", "mae", "simclr"])
def test_a_run_leaves_a_checkpoint_its_card_and_curves(table, tmp_path, method, monkeypatch):
    out = tmp_path / "out"
    recipe = config(tmp_path, method, keep_every=2)
    path = training.train(method, table, out, recipe, seed=1, accelerator="cpu")
    assert path == out / f"{method}_lite.safetensors"
    early = out / f"{method}_lite.epoch0002.safetensors"  # kept on the way
    assert sorted(out.glob("*.safetensors")) == [early, path]
    assert load_encoder(early).card["epochs"] == 2
    now = weights(path)
    assert any(not values.equal(now[name]) for name, values in weights(early).items())
    encoder = load_encoder(path)
    card = yaml.safe_load(path.with_suffix(".yaml").read_text())
    assert card["sha256"] == encoder.card["sha256"] and card["seed"] == 1
    assert card["recipe"]["epochs"] == 3 and card["data"]["fields"] == 9
    for key in ("command", "machine", "wall_minutes", "cpu_minutes", "licence", "provenance"):
        assert card[key] is not None
    pixels = np.stack([Fields(training.read_image_table(table))[i][0] for i in range(9)]) / 65535
    assert np.allclose(encoder.mean.flatten(), pixels.mean((0, 2, 3)), atol=0.02)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    curves = pd.read_csv(out / "metrics.csv")
    assert curves["step"].tolist() == list(range(6)) and np.isfinite(curves["loss"]).all()
    assert curves["lr"].iloc[0] < curves["lr"].max()
    assert card["metrics"]["loss"] == pytest.approx(curves["loss"].tail(2).mean(), abs=1e-3)
    expected = "patch_mean_before_norm" if method == "mae" else "cls"
    assert encoder.pooling == expected
    before = path.stat().st_mtime_ns
    callbacks = torch.load(out / "last.ckpt", weights_only=True)["callbacks"]
    assert callbacks["Keeper"]["written"] == 6, "rows lie in metrics.csv, not in every checkpoint"
    monkeypatch.setattr(crops_data, "_in_memory", lambda *_: pytest.fail("reads fields"))
    training.train(method, table, out, recipe, seed=1)  # complete: nothing to do
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("method", ["dino", "mae"])
def test_a_stopped_run_resumes_to_the_same_weights(table, tmp_path, method, monkeypatch):
    changes = {"drop_path": 0.2} if method == "dino" else {}
    recipe = config(tmp_path, method, **changes)
    whole = training.train(method, table, tmp_path / "whole", recipe, accelerator="cpu")
    start = Objective.on_train_batch_start

    def killed(self, batch, batch_idx):
        if self.global_step == 3:  # in the middle of the second epoch
            raise RuntimeError("killed")
        return start(self, batch, batch_idx)

    monkeypatch.setattr(Objective, "on_train_batch_start", killed)
    with pytest.raises(RuntimeError, match="killed"):
        training.train(method, table, tmp_path / "parts", recipe, accelerator="cpu")
    assert not list((tmp_path / "parts").glob("*.safetensors"))
    monkeypatch.setattr(Objective, "on_train_batch_start", start)
    parts = training.train(method, table, tmp_path / "parts", recipe, accelerator="cpu")
    first, second = weights(whole), weights(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)
    curves = [pd.read_csv(tmp_path / run / "metrics.csv") for run in ("whole", "parts")]
    pd.testing.assert_frame_equal(*curves)


def cut(path):
    path.write_bytes(path.read_bytes()[:-2000])


def nothing(path):
    path.write_bytes(b"")


def other(path):
    torch.save({"state_dict": {"weight": torch.ones(1)}, "epoch": 1}, path)


@pytest.mark.parametrize("damage", [cut, nothing, other])
def test_a_damaged_last_checkpoint_is_made_again(table, tmp_path, damage, monkeypatch, caplog):
    recipe = config(tmp_path, "dino", epochs=1, warmup_epochs=0)
    whole = weights(training.train("dino", table, tmp_path / "run", recipe, accelerator="cpu"))
    (tmp_path / "run" / "dino_lite.safetensors").unlink()
    damage(tmp_path / "run" / "last.ckpt")
    again = weights(training.train("dino", table, tmp_path / "run", recipe, accelerator="cpu"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert "last.ckpt: damaged (" in caplog.text and "begins anew" in caplog.text


@pytest.mark.parametrize("text", ["", "a: [", "a: &a [1]\nb: *a", "\0"])
def test_a_damaged_recipe_in_the_folder_is_one_line(table, tmp_path, text):
    recipe = config(tmp_path, "dino", epochs=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(text)
    with pytest.raises(InputError, match=r"recipe\.yaml: .*recipe"):
        training.train("dino", table, tmp_path / "run", recipe, accelerator="cpu")


def test_ctrl_c_is_passed_on(table, tmp_path, monkeypatch):
    """Lightning takes it for itself and exits with status 1, without a word."""

    def pressed(self, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "training_step", pressed)
    answer = signal.getsignal(signal.SIGINT)  # Lightning turns it off
    try:
        with pytest.raises(KeyboardInterrupt):
            training.train("mae", table, tmp_path / "run", config=config(tmp_path, "mae"))
    finally:
        signal.signal(signal.SIGINT, answer)


@pytest.mark.skipif("bf16" not in native_precisions(), reason="this processor has no bf16")
def test_bf16_keeps_the_weights_in_fp32(table, tmp_path):
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        recipe = config(tmp_path, "dino", epochs=1, precision=precision)
        path = training.train("dino", table, tmp_path / precision, recipe, accelerator="cpu")
        assert all(value.dtype == torch.float32 for value in weights(path).values())
        losses[precision] = pd.read_csv(path.parent / "metrics.csv")["loss"].to_numpy()
    gap = np.abs(losses["bf16-mixed"] - losses["32-true"])
    assert 0 < gap.max() < 0.1


def test_bf16_is_refused_where_it_would_be_imitated(table, tmp_path, monkeypatch):
    monkeypatch.setattr("cpssl_lite.models.precision._has_bf16", lambda kind: False)
    recipe = config(tmp_path, "dino", epochs=1, precision="bf16-mixed")
    with pytest.raises(InputError, match=r"this processor has no bf16 .* `precision: 32-true`"):
        training.train("dino", table, tmp_path / "run", recipe, accelerator="cpu")


def test_another_seed_gives_other_weights(table, tmp_path):
    recipe = config(tmp_path, "simclr", epochs=1)
    a, b = (training.train("simclr", table, tmp_path / str(s), recipe, seed=s) for s in (0, 1))
    assert not torch.equal(weights(a)["cls_token"], weights(b)["cls_token"])


def test_a_folder_holds_one_run(table, tmp_path):
    training.train("simclr", table, tmp_path, config(tmp_path, "simclr", epochs=1))
    with pytest.raises(InputError, match=r"another run \(parameter epochs: 1, now 2\)"):
        training.train("simclr", table, tmp_path, config(tmp_path, "simclr", epochs=2))


@pytest.mark.parametrize("file", ["recipe.yaml", "simclr_lite.yaml"])
def test_a_run_is_the_recipe_of_another(table, tmp_path, file):
    recipe = config(tmp_path, "simclr", epochs=1, lr=0.002, augment={"flip": {"p": 0.25}})
    training.train("simclr", table, tmp_path / "a", recipe, seed=3)
    given = tmp_path / "a" / file
    assert load_recipe("simclr", given) == load_recipe("simclr", recipe)
    with pytest.raises(InputError, match=f"{file}: method is 'simclr', expected mae"):
        load_recipe("mae", given)


@pytest.mark.parametrize("inputs", [True, False], ids=["as now", "as before there were inputs"])
def test_a_run_of_other_code_is_put_aside(table, tmp_path, inputs, caplog):
    recipe = config(tmp_path, "simclr", epochs=1)
    final = training.train("simclr", table, tmp_path / "run", recipe)
    first, record = final.read_bytes(), tmp_path / "run" / "recipe.yaml"
    there = yaml.safe_load(record.read_text()) | {"code": "older", "digest": "older"}
    if not inputs:
        there = {k: v for k, v in there.items() if k not in ("inputs", "digest")}
    record.write_text(yaml.safe_dump(there))
    assert training.train("simclr", table, tmp_path / "run", recipe) == final
    assert "made by other code and begins anew" in caplog.text
    assert final.with_stem(f"{final.stem}.before").read_bytes() == first and final.is_file()
    assert yaml.safe_load(record.read_text())["code"] == training._code()


def test_a_loss_that_is_not_a_number_stops_the_run(table, tmp_path, monkeypatch):
    monkeypatch.setattr("cpssl_lite.models.simclr.nt_xent", lambda *a: torch.tensor(float("nan")))
    with pytest.raises(InputError, match="the loss is nan in epoch 1, step 1"):
        training.train("simclr", table, tmp_path, config(tmp_path, "simclr"))


def test_collapsed_features_stop_the_run(table, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "cpssl_lite.models.vit.ViT.pooled",
        lambda self, x, pooling="cls": self.norm(self.pos_embed[:, 0].expand(len(x), -1)),
    )
    monkeypatch.setattr(
        "cpssl_lite.models.vit.ViT.forward",
        lambda self, x: self.norm(self.pos_embed[:, 0].expand(len(x), -1)),
    )
    with pytest.raises(InputError, match="features of all crops are the same in epoch 1"):
        training.train("dino", table, tmp_path, config(tmp_path, "dino"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 64}, "9 fields do not fill one batch of 64"),
        ({"crops": [{"count": 2, "size": 160}]}, "smaller than a crop of 160"),
        ({"epoch": 3}, "unknown epoch"),
        ({"lr": "fast"}, "lr is 'fast', expected float"),
        ({"augment": {"flips": {}}}, "augment names some of"),
        ({"augment": {"flip": {"q": 1}}}, "augment.flip is {'q': 1}, expected some of: p"),
        ({"augment": {"resize": {"size": 32}}}, "augment.resize .* some of: p, ratio, scale"),
        ({"augment": {"resize": {"scale": [12, 47]}}}, "scale is 12 to 47"),
        ({"projection": 4}, "projection has parts: hidden, out"),
        ({"recipe": "dino_lite"}, "is for dino"),
        ({"method": "dino"}, "method is 'dino', expected simclr"),
        ({"recipe": "none"}, "no recipe none"),
    ],
)
def test_recipes_that_cannot_be_used(table, tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        training.train("simclr", table, tmp_path, config(tmp_path, "simclr", **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_value_names_its_source(name):
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    values = [x for x in lines if ":" in x and not x.startswith(("#", "name", "method"))]
    parents = ("crops:", "augment:", "head:", "projection:", "  color:", "  mean:", "  sd:")
    bare = [x for x in values if "#" not in x and not x.startswith(parents)]
    assert not bare
    recipe = load_recipe(name.split("_")[0], name)
    assert recipe["name"] == name
    training.METHODS[recipe["method"]]  # a method that exists


def test_paper_recipe_numbers():
    dino, mae, simclr = (load_recipe(m, f"{m}_vit_small") for m in ("dino", "mae", "simclr"))
    assert (dino["batch_size"], dino["epochs"], dino["head"]["out"]) == (128, 200, 20000)
    assert [(c["count"], c["size"]) for c in dino["crops"]] == [(2, 224), (8, 96)]
    assert dino["lr"] * dino["batch_size"] / dino["lr_per_images"] == pytest.approx(0.002)
    assert (mae["mask_ratio"], mae["crops"][0]["count"] * mae["batch_size"]) == (0.5, 1024)
    assert (simclr["temperature"], simclr["batch_size"]) == (0.2, 256)


def test_random_crops_hold_cells_where_they_can():
    rng = np.random.default_rng(0)
    pixels = np.zeros((5, 200, 200), np.uint16)
    pixels[4, 60:140, 60:140] = 1000
    for _ in range(50):
        crop = random_crop(pixels, 500.0, 64, rng)
        assert crop.shape == (5, 64, 64) and (crop[4] > 500).mean() >= 0.01
    assert random_crop(pixels, 5000.0, 64, rng).shape == (5, 64, 64)  # none anywhere: any place
    with pytest.raises(InputError, match="200 x 200 px is smaller"):
        random_crop(pixels, 500.0, 201, rng)


def test_draws_depend_on_field_and_epoch_only(table):
    fields = Fields(training.read_image_table(table))
    data = CropBatches(fields, [CropSpec(2, 32), CropSpec(3, 16)], seed=0)
    large, small = data[(1, [3, 5, 7])], data[(1, [5])]
    assert [tuple(g.shape) for g in large] == [(2, 3, 5, 32, 32), (3, 3, 5, 16, 16)]
    for a, b in zip(large, small, strict=True):
        assert torch.equal(a[:, 1], b[:, 0])
    assert not torch.equal(data[(2, [5])][0], small[0])


@pytest.mark.parametrize("method", ["dino", "mae", "simclr"])
def test_every_method_trains_with_resize(table, tmp_path, method):
    resize = {"resize": {"scale": [0.12, 0.47]}, "flip": {"p": 0.5}}
    files = {}
    for name, augment in {"resized": resize, "plain": {"flip": {"p": 0.5}}}.items():
        recipe = config(tmp_path, method, epochs=1, augment=augment)
        files[name] = training.train(method, table, tmp_path / name, recipe, accelerator="cpu")
    curves = [pd.read_csv(tmp_path / name / "metrics.csv") for name in files]
    assert all(np.isfinite(c["loss"]).all() for c in curves)
    assert not np.allclose(curves[0]["loss"], curves[1]["loss"])


def test_resized_crops_are_parts_of_the_share_asked_for(table):
    # Two ramps tell how much of the field a crop shows, whatever its size in pixels.
    ramp = np.arange(200, dtype=np.uint16) * 300
    pixels = np.full((5, 200, 200), 9000, np.uint16)
    pixels[0], pixels[1] = ramp[:, None], ramp[None]
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        crop = random_crop(pixels, 500.0, 64, rng, Resize(scale=(0.12, 0.47), size=64))
        assert crop.shape == (5, 64, 64) and crop.dtype == np.uint16 and (crop[4] == 9000).all()
        spans = [int(np.ptp(crop[c])) / 300 * 64 / 63 / 200 for c in (0, 1)]
        shares.append(spans[0] * spans[1])
    assert 0.11 < min(shares) < 0.16 and 0.42 < max(shares) < 0.49
    field = random_crop(pixels, 500.0, 64, rng, Resize(p=0, size=64))
    assert np.shares_memory(field, pixels)


def test_local_crops_are_rescaled_as_global_ones_are(table):
    specs = crop_specs({"crops": CROPS["dino"], "augment": {"resize": {"scale": [0.2, 0.4]}}})
    assert [spec.resize.size for spec in specs] == [32, 16]
    assert specs[0].resize.scale == (0.2, 0.4)
    assert specs[1].resize.scale == pytest.approx((0.05, 0.1))
    data = CropBatches(Fields(training.read_image_table(table)), specs, seed=0)
    batch, alone = data[(1, [3, 5])], data[(1, [5])]
    assert [tuple(group.shape) for group in batch] == [(2, 2, 5, 32, 32), (2, 2, 5, 16, 16)]
    assert torch.equal(batch[0][:, 1], alone[0][:, 0])
    assert [s.resize for s in crop_specs({"crops": CROPS["dino"], "augment": {}})] == [None] * 2


def test_fields_are_read_again_when_they_do_not_fit(table):
    images = training.read_image_table(table)
    held, read = Fields(images), Fields(images, memory=0)
    assert not read.fit and np.array_equal(held[4][0], read[4][0])
    assert held.digest() == read.digest()


def test_a_bad_field_is_one_line_from_a_process_that_reads_it_too(table, tmp_path, cpssl):
    """With the recipes of the paper, which have such processes, its traceback was the message."""
    images = training.read_image_table(table)
    write_merged(tmp_path / "small.tif", np.zeros((5, 30, 30), np.uint16), otsu=0.15)
    images.loc[8, "FileName_Merged"] = str(tmp_path / "small.tif")
    images.to_csv(tmp_path / "images.csv", index=False)
    given = {"mean": [0.1] * 5, "sd": [0.1] * 5}
    recipe = config(tmp_path, "simclr", batch_size=9, workers=1, normalisation=given)
    code, _, err = cpssl(
        "train", "simclr", tmp_path / "images.csv", "-o", tmp_path / "run", "--config", recipe
    )
    assert code == 2 and err.splitlines()[-1:] == [
        "cpssl: a field of 30 x 30 px is smaller than a crop of 32 px"
    ]


def test_the_same_fields_are_read_once_and_changed_ones_again(table, tmp_path):
    images = training.read_image_table(table).head(2).copy()
    for place in images.index:
        copy = tmp_path / Path(images.loc[place, "FileName_Merged"]).name
        copy.write_bytes(Path(images.loc[place, "FileName_Merged"]).read_bytes())
        images.loc[place, "FileName_Merged"] = str(copy)
    first = Fields(images)
    assert Fields(images)[1][0] is first[1][0]
    changed = first[1][0] // 2
    write_merged(images["FileName_Merged"].iloc[1], changed, 0.5)
    assert np.array_equal(Fields(images)[1][0], changed)
    with pytest.raises(ValueError, match="read-only"):
        first[0][0][:] = 0


def test_processes_share_every_batch():
    ranks = [EpochBatches(11, 4, seed=0, rank=r, world=2) for r in (0, 1)]
    for sampler in ranks:
        sampler.set_epoch(5)
    whole = EpochBatches(11, 4, seed=0)
    whole.set_epoch(5)
    batches = [batch for _, batch in whole]
    assert len(batches) == 2 and len({i for b in batches for i in b}) == 8
    joined = [a + b for (_, a), (_, b) in zip(*ranks, strict=True)]
    assert joined == batches
    with pytest.raises(InputError, match="cannot be shared by 3"):
        EpochBatches(11, 4, seed=0, world=3)


def test_a_batch_that_the_processes_cannot_share(table, tmp_path):
    recipe = config(tmp_path, "simclr", batch_size=3)
    with pytest.raises(InputError, match="batch_size 3 cannot be shared by 2 processes"):
        training.train("simclr", table, tmp_path, recipe, devices=2, accelerator="cpu")


@pytest.mark.slow
def test_two_processes_take_the_same_steps_as_one(table, tmp_path):
    recipe = config(tmp_path, "dino", augment={}, epochs=1)
    training.train("dino", table, tmp_path / "1", recipe, accelerator="cpu")
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, torch\n"
        "from cpssl_lite.models.train import train\n"
        "torch.set_num_threads(1)\n"
        "train('dino', *sys.argv[1:], devices=2, accelerator='cpu')\n"
    )
    command = [sys.executable, str(script), str(table), str(tmp_path / "2"), str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (weights(tmp_path / n / "dino_lite.safetensors") for n in ("1", "2"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)
