import argparse
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import save_file

from cpssl_lite.base.errors import InputError
from cpssl_lite.cli.main import cli
from cpssl_lite.models.checkpoints import (
    SHIPPED,
    input_rules,
    inspect_checkpoint,
    load_encoder,
    random_like,
    save_encoder,
)
from cpssl_lite.models.encoder import RELEASED_MEAN, RELEASED_SD
from cpssl_lite.models.inspected import checkpoint_facts
from cpssl_lite.models.vit import Shape, ViT, build_vit

AUTHORS = {
    "dino_micro.pth": "feat224",
    "dino_vit_tiny16.pth": "feat224",
    "simclr_micro.ckpt": "feat224",
    "mae_micro.pth": "feat_with_qkv_bias",
}


def write_untrained(path, seed=0):
    """A checkpoint of this project with random weights."""
    torch.manual_seed(seed)
    network = build_vit("vit_lite_patch16")
    rules = input_rules(network.shape, RELEASED_MEAN, RELEASED_SD, "cls")
    return save_encoder(path, network, {"method": "untrained", "input": rules})


def forward(parity, name):
    stem = name.split(".")[0]
    return (
        np.load(parity / "inference/forward/inputs.npz"),
        np.load(parity / f"inference/forward/{stem}.npz"),
    )


@pytest.mark.parametrize("name", AUTHORS)
@torch.no_grad()
def test_authors_files_give_the_authors_features(parity, name):
    encoder = load_encoder(parity / "inference/checkpoints" / name)
    given, expected = forward(parity, name)
    got = encoder.embed(torch.from_numpy(given["x224"])).numpy()
    assert np.abs(got - expected[AUTHORS[name]]).max() < 1e-5
    if "feat96" in expected:  # small crops, so resampled position embeddings
        got = encoder.embed(torch.from_numpy(given["x96"])).numpy()
        assert np.abs(got - expected["feat96"]).max() < 1e-5
    assert encoder.crop_size == 224 and encoder.channels[4] == "DNA"
    assert encoder.n_features == got.shape[1]


@torch.no_grad()
def test_released_mae_leaves_its_qkv_biases_out(parity):
    encoder = load_encoder(parity / "inference/checkpoints/mae_micro.pth", convention="released")
    given, expected = forward(parity, "mae_micro.pth")
    got = encoder.embed(torch.from_numpy(given["x224"])).numpy()
    assert np.abs(got - expected["feat_authors_no_qkv_bias"]).max() < 1e-5
    assert np.abs(got - expected["feat_with_qkv_bias"]).max() > 0.1
    assert "blocks.0.attn.qkv.bias" in encoder.card["dropped"]


@pytest.mark.parametrize("method", ["dino", "mae", "simclr"])
@torch.no_grad()
def test_whole_crops_of_the_authors_images(parity, method):
    """From uint16 pixels to crop features: includes the normalisation constants."""
    tifffile = pytest.importorskip("tifffile")
    folder = parity / "inference"
    name = {"simclr": "simclr_micro.ckpt"}.get(method, f"{method}_micro.pth")
    expected = np.load(folder / f"expected/{method}_micro/expected_crops.npz")
    encoder = load_encoder(folder / "checkpoints" / name, convention="released")
    rows = (folder / "dataset.csv").read_text().splitlines()[1:]
    pixels = tifffile.imread(folder / rows[0].split(",")[6]).astype(np.float32) / 65535
    crops = np.stack([pixels[:, y : y + 224, x : x + 224] for y in (0, 224) for x in (0, 224)])
    crops = torch.from_numpy(crops)
    first = expected["first_normalised_crop"]
    assert np.abs(encoder.normalise(crops)[0].numpy() - first).max() < 1e-5
    valid = expected["labels"][0]
    assert np.abs(encoder(crops).numpy() - expected["embeddings"][0])[valid].max() < 2e-5


def tamper(path, out, change):
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, weights_only=True)
    key = next(k for k in ("teacher", "model", "state_dict") if k in content)
    change(content[key])
    torch.save(content, out)
    return out


def remove(state):
    del state[next(k for k in state if k.endswith("blocks.1.norm1.weight"))]


def rename(state):
    name = next(k for k in state if k.endswith("blocks.1.norm1.weight"))
    state[name.replace("norm1", "norm7")] = state.pop(name)


def reshape(state):
    name = next(k for k in state if k.endswith("blocks.0.mlp.fc1.weight") and "decoder" not in k)
    state[name] = state[name].T.contiguous()


@pytest.mark.parametrize("name", ["dino_micro.pth", "mae_micro.pth", "simclr_micro.ckpt"])
@pytest.mark.parametrize(
    ("change", "message"),
    [(remove, "missing"), (rename, "unexpected: .*norm7"), (reshape, "wrong shape: .*fc1")],
)
def test_a_changed_file_is_refused(parity, tmp_path, name, change, message):
    path = tamper(parity / "inference/checkpoints" / name, tmp_path / name, change)
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(path)
    assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(parity, tmp_path, value):
    def spoil(state):
        state[next(k for k in state if k.endswith("blocks.1.norm1.weight"))][0] = value

    path = tamper(parity / "inference/checkpoints/mae_micro.pth", tmp_path / "x.pth", spoil)
    with pytest.raises(InputError, match=r"x\.pth.*not finite numbers: blocks.1.norm1.weight"):
        load_encoder(path)


@pytest.mark.parametrize(
    "rule",
    [
        {"heads": "x"}, {"heads": 0}, {"heads": 3}, {"channels": 5}, {"channels": ["DNA"] * 5},
        {"channels": ["DNA"]}, {"mean": [0.1, 0.2]}, {"mean": "abc"}, {"sd": [0, 1, 1, 1, 1]},
        {"pooling": "max"}, {"crop_size": 37}, {"crop_size": 0}, {"crop_size": "big"}, {"foo": 1},
        {"heads": True},
    ],
)  # fmt: skip
def test_input_rules_that_cannot_be(tmp_path, rule):
    whole = load_encoder(write_untrained(tmp_path / "whole.safetensors"))
    torch.save(whole.network.state_dict(), tmp_path / "x.pth")
    load_encoder(tmp_path / "x.pth")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"input": rule}))
    with pytest.raises(InputError, match=r"/x\.") as caught:
        load_encoder(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


def small_state(**change):
    torch.manual_seed(0)
    return {**ViT(Shape(width=64, depth=2, heads=1, image_size=64)).state_dict(), **change}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # A block of that number must not become a network of that depth.
        (small_state(**{"blocks.1000000.norm1.weight": torch.ones(64)}), "missing: blocks.2"),
        (small_state(**{"patch_embed.proj.weight": torch.ones(0, 5, 16, 16)}), "ViT's shapes"),
        (small_state(reg_token=torch.ones(3)), "unexpected: reg_token"),
        (small_state(pos_embed=torch.ones(1, 17, 64).to_sparse()), "missing pos_embed"),
        ({"state_dict": None, "weights": torch.ones(1)}, "not recognised"),
        ({"state_dict": ["encoder.vit_backbone.norm.weight"]}, "not recognised"),
    ],
)
def test_odd_contents_are_refused_in_one_line(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int8]
)
def test_weights_of_other_precisions(tmp_path, kind):
    state = {name: value.to(kind) for name, value in small_state().items()}
    save_file(state, tmp_path / "x.safetensors")
    if kind == torch.int8:
        with pytest.raises(InputError, match=r"no floating-point .*: blocks.0.*weight \(int8\)"):
            load_encoder(tmp_path / "x.safetensors")
    else:
        assert next(load_encoder(tmp_path / "x.safetensors").parameters()).dtype == torch.float32


@pytest.mark.parametrize("card", ["{", "[]", '{"input": null}', "[" * 100_000])
def test_a_card_inside_that_cannot_be_read(tmp_path, card):
    save_file(small_state(), tmp_path / "x.safetensors", {"cpssl_card": card})
    with pytest.raises(InputError, match=r"x\.safetensors: .*(card|input)") as caught:
        load_encoder(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("card", ["{[", "- 1", "input: 3", "", "channels: [DNA]"])
def test_a_card_that_cannot_be_read(tmp_path, card):
    whole = load_encoder(write_untrained(tmp_path / "whole.safetensors"))
    torch.save(whole.network.state_dict(), tmp_path / "x.pth")
    (tmp_path / "x.yaml").write_text(card)
    with pytest.raises(InputError, match=r"x\.yaml") as caught:
        load_encoder(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, zipped):
    target = tmp_path / "made_by_the_payload"
    path = tmp_path / "evil.safetensors"  # the name must not matter
    torch.save({"teacher": Payload(target)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"refused.*mkdir") as caught:
        load_encoder(path)
    assert not target.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut", b"\x40\0\0\0\0\0\0\0{bad"])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pth") as caught:
        load_encoder(path)
    assert "\n" not in str(caught.value)


def test_a_git_lfs_pointer_says_so(tmp_path):
    (tmp_path / "x.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(InputError, match="git lfs pull"):
        load_encoder(tmp_path / "x.pth")


def test_a_cut_off_file_and_a_missing_one(tmp_path):
    path = write_untrained(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="broken safetensors"):
        load_encoder(path)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_encoder(tmp_path / "b.safetensors")


def test_an_unknown_layout_is_named(tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"not recognised.*weights"):
        load_encoder(tmp_path / "x.pth")


@torch.no_grad()
def test_own_format_round_trip(tmp_path):
    path = write_untrained(tmp_path / "a.safetensors", seed=3)
    encoder = load_encoder(path)
    assert (encoder.crop_size, encoder.n_features) == (128, 128)
    assert encoder.card["architecture"] == "vit_lite_patch16"
    card = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert card["sha256"] == encoder.card["sha256"]
    crops = torch.rand(2, 5, 128, 128)
    mean, sd = (torch.tensor(v).reshape(1, 5, 1, 1) for v in (RELEASED_MEAN, RELEASED_SD))
    expected = encoder.network((crops - mean) / sd)
    assert torch.allclose(encoder(crops), expected, atol=1e-6)
    with pytest.raises(InputError, match="Mito"):
        encoder(crops[:, :4])


@torch.no_grad()
def test_random_like_keeps_the_rules_and_not_the_weights(tmp_path):
    encoder = load_encoder(write_untrained(tmp_path / "a.safetensors"))
    one, same, other = (random_like(encoder, seed) for seed in (1, 1, 2))
    crops = torch.rand(2, 5, 128, 128)
    assert torch.equal(one(crops), same(crops))
    assert not torch.allclose(one(crops), other(crops), atol=1e-2)
    assert torch.equal(one.normalise(crops), encoder.normalise(crops))
    assert one.card["method"] == "random" and one.card["like_sha256"] == encoder.card["sha256"]


def test_random_like_leaves_the_global_generator_alone(tmp_path):
    encoder = load_encoder(write_untrained(tmp_path / "a.safetensors"))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    random_like(encoder, 5)
    assert torch.equal(torch.rand(1), expected)


def test_inspect_says_what_was_recognised(parity):
    report = inspect_checkpoint(parity / "inference/checkpoints/dino_vit_tiny16.pth")
    assert report["format"] == "authors' DINO" and report["shape"]["depth"] == 12
    assert report["channels"] == ["Mito", "AGP", "RNA", "ER", "DNA"]
    assert report["mean"] == pytest.approx(RELEASED_MEAN)
    assert any(name.startswith("head.") for name in report["dropped"])


@pytest.mark.parametrize("method", SHIPPED)
def test_a_training_is_inspected_without_torch(method, tmp_path, monkeypatch):
    facts = inspect_checkpoint(SHIPPED[method])
    code = "import sys; from cpssl_lite.models.inspected import checkpoint_facts as facts\n"
    code += f"print(list(facts({str(SHIPPED[method])!r}).items()), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{list(facts.items())} False\n"

    # Of a file that is no longer what was written, the loader says what it thinks.
    for part in (SHIPPED[method], SHIPPED[method].with_suffix(".yaml")):
        shutil.copy(part, tmp_path)
    changed = tmp_path / SHIPPED[method].name
    with open(changed, "r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\xc0\x7f")  # NaN
    with pytest.raises(InputError, match="not finite numbers"):
        checkpoint_facts(changed)
    shutil.copy(SHIPPED[method], changed)
    changed.with_suffix(".yaml").unlink()
    assert checkpoint_facts(changed) == facts


def test_inspect_prints_text_or_json(parity):
    path = str(parity / "inference/checkpoints/mae_micro.pth")
    text, plain = (CliRunner().invoke(cli, ["inspect", path, *o]) for o in ([], ["--json"]))
    assert text.exit_code == plain.exit_code == 0
    assert "authors' MAE" in text.output and "'Mito', 'AGP'" in text.output
    report = json.loads(plain.output)
    assert report["pooling"] == "patch_mean_before_norm" and report["shape"]["in_channels"] == 5
