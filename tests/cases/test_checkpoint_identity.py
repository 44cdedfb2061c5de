"""Somebody else's network in a container that the authors use as well: never taken for theirs."""

import argparse

import pytest
import torch
from click.testing import CliRunner

from cpssl_lite.cli.main import cli
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.models.checkpoints import inspect_checkpoint, load_encoder, random_like
from cpssl_lite.models.vit import Shape, build_vit
from cpssl_lite.profiles.table import read_provenance

SHAPE = Shape(width=48, depth=2, heads=3, image_size=224)
# As the training code that the authors' grew from stores them.
ARGS = argparse.Namespace(arch="vit_small", patch_size=16, out_dim=65536, use_bn_in_head=False)


def vit(seed=0, **change):
    torch.manual_seed(seed)
    return build_vit(SHAPE, **change)


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def dino_head():
    ends = [f"mlp.{i}.{kind}" for i in (0, 2, 4) for kind in ("weight", "bias")]
    return under("head.", dict.fromkeys([*ends, "last_layer.weight_g", "last_layer.weight_v"],
                                        torch.ones(2, 2)))  # fmt: skip


def decoder():
    ends = [f"{part}.{kind}" for part in ("embed", "norm", "pred") for kind in ("weight", "bias")]
    return under("decoder_", dict.fromkeys([*ends, "pos_embed"], torch.ones(2, 2)))


def dinov2_beside_a_mask_token():
    state = vit(layer_scale=True).state_dict()
    return {"model": {**state, "mask_token": torch.zeros(1, 48)}, "epoch": 3}


def dinov2_with_optimizer_and_arguments():
    return {**dinov2_beside_a_mask_token(), "optimizer": {}, "scaler": {}, "args": ARGS}


def mae_of_other_code():
    state = {**vit().state_dict(), **decoder(), "mask_token": torch.zeros(1, 1, 32)}
    return {"model": state, "optimizer": {}, "epoch": 1, "scaler": {}, "args": ARGS}


def lightning_backbone():
    return {"state_dict": under("backbone.", vit().state_dict()), "epoch": 1}


def lightning_of_another_method():
    state = {**under("backbone.", vit().state_dict()), "mlp.0.weight": torch.ones(2, 2)}
    hyper = {"lr": 1e-3, "temperature": 0.2, "hidden_dim": 8}
    return {"state_dict": state, "hyper_parameters": hyper, "pytorch-lightning_version": "2"}


def five_channel_teacher():
    return {"teacher": under("backbone.", vit().state_dict())}


def facebook_dino_of_five_channels():
    teacher = {**under("backbone.", vit().state_dict()), **dino_head()}
    student = under("module.", teacher)
    return {"student": student, "teacher": teacher, "optimizer": {}, "epoch": 9, "args": ARGS,
            "dino_loss": {"center": torch.zeros(1, 2)}}  # fmt: skip


FOREIGN = [
    dinov2_beside_a_mask_token, dinov2_with_optimizer_and_arguments, mae_of_other_code,
    lightning_backbone, lightning_of_another_method, five_channel_teacher,
    facebook_dino_of_five_channels,
]  # fmt: skip


@pytest.mark.parametrize("make", FOREIGN)
@torch.no_grad()
def test_a_foreign_network_is_not_the_authors(tmp_path, make):
    torch.save(make(), tmp_path / "theirs.pth")
    layered = make in (dinov2_beside_a_mask_token, dinov2_with_optimizer_and_arguments)
    network = vit(layer_scale=layered)
    encoder = load_encoder(tmp_path / "theirs.pth")
    assert "authors" not in encoder.card["format"]
    crops = torch.rand(2, 5, 224, 224)
    mean, sd = crops.mean((2, 3), keepdim=True), crops.std((2, 3), keepdim=True, correction=0)
    assert torch.allclose(encoder(crops), network((crops - mean) / sd), atol=1e-4)
    notes = " ".join(encoder.card["notes"])
    for assumed in ("order of the channels", "Mito, AGP, RNA, ER, DNA", "normalisation", "pooling"):
        assert assumed in notes


@pytest.mark.parametrize("make", FOREIGN)
def test_what_is_assumed_is_printed(tmp_path, make):
    torch.save(make(), tmp_path / "theirs.pth")
    done = CliRunner().invoke(cli, ["inspect", str(tmp_path / "theirs.pth")])
    assert done.exit_code == 0 and "the pooling is not in the file; assumed" in done.output


def test_what_is_assumed_travels_with_the_table(tmp_path):
    images = simulate("tiny", tmp_path / "tiny", workers=1)
    small = build_vit(Shape(width=48, depth=1, heads=3, image_size=64)).state_dict()
    torch.save({"teacher": under("backbone.", small)}, tmp_path / "theirs.pth")
    out = tmp_path / "raw.parquet"
    words = ["extract", images, "--checkpoint", tmp_path / "theirs.pth", "-o", out]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    card = read_provenance(out)["checkpoint"]
    for note in card["notes"]:
        assert note in done.output
    assert any("order of the channels" in note for note in card["notes"])
    rules = {"channels": ["Mito", "AGP", "RNA", "ER", "DNA"], "pooling": "cls", "mean": None}
    assert card["input"].items() >= rules.items()


@pytest.mark.parametrize("name", ["dino_micro.pth", "mae_micro.pth", "simclr_micro.ckpt"])
def test_the_authors_own_files_are_known(parity, name):
    card = load_encoder(parity / "inference/checkpoints" / name).card
    assert card["format"].startswith("authors'")
    assert not any("assumed: this project's" in note for note in card["notes"])


@pytest.mark.parametrize("name", ["dino_micro.pth", "mae_micro.pth", "simclr_micro.ckpt"])
@pytest.mark.parametrize("what", ["arguments", "a tensor more"])
def test_a_file_that_differs_in_anything_is_not_the_authors(parity, tmp_path, name, what):
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(parity / "inference/checkpoints" / name, weights_only=True)
    state = next(content[key] for key in ("teacher", "model", "state_dict") if key in content)
    if what == "arguments":
        content.pop("hyper_parameters", None)
        content["args"] = ARGS
    else:
        state["head.extra.bias" if "teacher" in content else "mask_token.extra"] = torch.ones(2)
    torch.save(content, tmp_path / "other.pth")
    facts = inspect_checkpoint(tmp_path / "other.pth")
    assert "authors" not in facts["format"] and "normalisation" in " ".join(facts["notes"])


def test_random_weights_keep_the_rules_that_were_assumed(tmp_path):
    torch.save(five_channel_teacher(), tmp_path / "theirs.pth")
    encoder = load_encoder(tmp_path / "theirs.pth")
    assert random_like(encoder).card["input"] == encoder.card["input"]
