"""Checkpoints and cards that cost nothing to write and would cost a machine to believe."""

import json
import resource
import subprocess
import sys
import time
import zipfile

import pytest
import torch
import yaml
from safetensors.torch import save_file

from cpssl_lite.base.errors import InputError
from cpssl_lite.models import checkpoints
from cpssl_lite.models.checkpoints import load_encoder
from cpssl_lite.models.vit import Shape, build_vit

SMALL = Shape(width=48, depth=2, heads=3, image_size=64)


def state(**change):
    torch.manual_seed(0)
    return {**build_vit(SMALL).state_dict(), **change}


def one(*shape):
    """One number that is shown as a whole tensor of this shape."""
    return torch.ones(1).expand(*shape)


def many_blocks(n):
    names = [name for name in state() if name.startswith("blocks.0.")]
    return {name.replace("blocks.0.", f"blocks.{i}."): torch.ones(1) for i in range(n)
            for name in names}  # fmt: skip


def one_block_again(n):
    block = {name: value for name, value in state().items() if name.startswith("blocks.0.")}
    return {name.replace("blocks.0.", f"blocks.{i}."): value for i in range(n)
            for name, value in block.items()}  # fmt: skip


HUGE = {
    "patches of stride 0": state(**{"patch_embed.proj.weight": one(200_000, 5, 200, 200)}),
    "positions of stride 0": state(pos_embed=one(1, 1 + 10_000**2, 48)),
    "a layer of stride 0": state(**{"blocks.0.mlp.fc1.weight": one(200_000, 200_000)}),
    "all of stride 0": {k: one(*[9_000] * max(v.ndim, 2)) for k, v in state().items()},
    "positions without numbers": state(pos_embed=torch.ones(1, 1 + 10_000**2, 0)),
    "registers without numbers": state(reg_token=torch.ones(1, 10**9, 0)),
    "very many blocks": state(**many_blocks(400)),
    "very many blocks that share their weights": state(**one_block_again(2_000)),
    "a meta tensor": state(pos_embed=torch.ones(1, 1 + 10_000**2, 48, device="meta")),
    "meta tensors only": {"model": {k: v.to("meta") for k, v in state().items()}},
}  # fmt: skip


@pytest.fixture
def little_memory():
    """Four GiB more than now: whoever believes such a file fails with MemoryError, soon."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("what", HUGE)
def test_sizes_are_checked_against_the_file(tmp_path, little_memory, what):
    torch.save(HUGE[what], tmp_path / "huge.pth")
    began = time.process_time()
    with pytest.raises(InputError, match=r"huge\.pth.*(numbers|tensors do not fit)") as caught:
        load_encoder(tmp_path / "huge.pth")
    assert time.process_time() - began < 10
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_empty_tensors_of_safetensors_are_checked_too(tmp_path, little_memory):
    save_file(state(pos_embed=torch.ones(1, 1 + 10_000**2, 0)), tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"x\.safetensors: its names and shapes stand for"):
        load_encoder(tmp_path / "x.safetensors")


@pytest.mark.parametrize("shape", [(), (0,), (1, 0, 48), (48, 5, 0, 0), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("under", ["", "encoder.vit_backbone.", "teacher.backbone."])
def test_shapes_that_no_vit_has(tmp_path, shape, under):
    for name in ("pos_embed", "patch_embed.proj.weight", "cls_token", "reg_token", "norm.bias"):
        tensors = state(**{name: torch.ones(shape)})
        torch.save({under + key: value for key, value in tensors.items()}, tmp_path / "odd.pth")
        with pytest.raises(InputError, match=r"odd\.pth: ") as caught:
            load_encoder(tmp_path / "odd.pth")
        assert "\n" not in str(caught.value)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path, little_memory):
    torch.save(state(**{"head.weight": torch.zeros(30_000_000)}), tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(
        tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED
    ) as packed:  # fmt: skip
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(InputError, match=r"bomb\.pth: unpacks to"):
        load_encoder(tmp_path / "bomb.pth")


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float16])
def test_small_numbers_are_enough_bytes(tmp_path, kind):
    """A network in 8 bits has a byte for every number, and is not refused."""
    save_file({k: v.to(kind) for k, v in state().items()}, tmp_path / "x.safetensors")
    assert load_encoder(tmp_path / "x.safetensors").n_features == 48


def bomb(levels=40):
    lines = ["input:", "  a0: &a0 [x, x]"]
    lines += [f"  a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels)]
    return "\n".join([*lines, f"  mean: *a{levels - 1}"])


FIVE = ["Mito", "AGP", "RNA", "ER", "DNA"]
NAMED = {
    "alias bomb": (bomb(), "alias"),
    "alias bomb of mappings": ("a: &a {x: 1}\nb: &b {<<: *a}\ninput: {<<: *b}", "alias"),
    "too large": ("input: {}\n#" + "x" * 100_000, "at most 65,536 bytes"),
    "deep": ("[" * 30_000, "cannot be read"),
    "binary": ("\x00\x01", "cannot be read"),
    "four channels": ({"channels": FIVE[:4]}, "takes 5 channels, 4 are named"),
    "unknown channels": ({"channels": ["Foo", *FIVE[1:]]}, "expected some of Mito, AGP, RNA, ER,"),
    "a channel twice by another name": ({"channels": ["Hoechst", *FIVE[1:]]}, "each once"),
    "mean without sd": ({"mean": [0.1] * 5}, "states mean without sd"),
    "sd without mean": ({"sd": [0.1] * 5}, "states sd without mean"),
    "mean beside an empty sd": ({"mean": [0.1] * 5, "sd": None}, "states mean without sd"),
    "booleans": ({"mean": [True] * 5, "sd": [True] * 5}, "input mean is"),
    "empty lists": ({"mean": [], "sd": []}, "input mean is"),
    "huge numbers": ("input: {mean: [0x" + "f" * 9_000 + "], sd: [1]}", "input mean is"),
    "huge crop": ({"crop_size": 10**9}, "input crop_size is 1000000000"),
    "odd crop": ({"crop_size": 65}, "no multiple of the patch"),
    "markup in a name": ({"channels": ["<script>alert(1)</script>"] * 5}, "input channels is"),
    "a tiny sd": ({"mean": [0] * 5, "sd": [1e-60] * 5}, "input sd is"),
}  # fmt: skip


@pytest.mark.parametrize("what", NAMED)
def test_cards_that_cannot_be(tmp_path, what):
    torch.save(state(), tmp_path / "x.pth")
    card, words = NAMED[what]
    text = card if isinstance(card, str) else yaml.safe_dump({"input": card})
    (tmp_path / "x.yaml").write_text(text)
    began = time.process_time()
    with pytest.raises(InputError, match=r"/x\.(yaml|pth)") as caught:
        load_encoder(tmp_path / "x.pth")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 and time.process_time() - began < 5


@pytest.mark.parametrize("what", ["alias bomb", "mean without sd", "markup in a name", "too large"])
def test_a_card_is_refused_before_the_weights_are_read(tmp_path, monkeypatch, what):
    def read(path):
        raise AssertionError("the weights were read")

    monkeypatch.setattr(checkpoints, "read_checkpoint", read)
    card, _ = NAMED[what]
    (tmp_path / "x.pth").write_bytes(b"any")
    (tmp_path / "x.yaml").write_text(card if isinstance(card, str) else json.dumps({"input": card}))
    with pytest.raises(InputError, match=r"x\.yaml"):
        load_encoder(tmp_path / "x.pth")


def test_a_card_inside_is_held_to_the_same_rules(tmp_path):
    inside = {"cpssl_card": json.dumps({"input": {"mean": [0.1] * 5}})}
    save_file(state(), tmp_path / "x.safetensors", inside)
    with pytest.raises(InputError, match=r"x\.safetensors: input states mean without sd"):
        load_encoder(tmp_path / "x.safetensors")


def test_a_card_inside_that_leaves_something_out_says_what_is_assumed(tmp_path):
    inside = {"cpssl_card": json.dumps({"input": {"channels": FIVE}})}
    save_file(state(), tmp_path / "x.safetensors", inside)
    notes = " ".join(load_encoder(tmp_path / "x.safetensors").card["notes"])
    assert "normalisation" in notes and "pooling" in notes and "order" not in notes


def test_names_of_another_spelling_are_the_five_stains(tmp_path):
    torch.save(state(), tmp_path / "x.pth")
    (tmp_path / "x.yaml").write_text("input: {channels: [mito, AGP, OrigRNA, ER, Hoechst]}")
    assert load_encoder(tmp_path / "x.pth").channels == tuple(FIVE)


def test_inspect_says_one_line_and_exits_with_two(tmp_path):
    torch.save(HUGE["a layer of stride 0"], tmp_path / "huge.pth")
    code = "import sys; from cpssl_lite.cli.main import main; sys.argv[0] = 'cpssl'; main()"
    words = [sys.executable, "-c", code, "inspect", str(tmp_path / "huge.pth")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
