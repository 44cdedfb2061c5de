"""A ViT behind what compilers, launchers, averages and other projects wrap around it."""

import pytest
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.checkpoints import load_encoder
from cpssl_lite.models.vit import Shape, build_vit

SMALL = Shape(width=48, depth=2, heads=3, image_size=64)
ONE = torch.ones(1)
CROPS = torch.rand(2, 5, 64, 64, generator=torch.Generator().manual_seed(0))


def state(seed=0, **change):
    torch.manual_seed(seed)
    return dict(build_vit(SMALL, **change).state_dict())


def under(prefix, tensors):
    return {prefix + name: value for name, value in tensors.items()}


@torch.no_grad()
def same(tmp_path, content, plain):
    """Load `content`; its features must be those of the bare state `plain`."""
    torch.save(content, tmp_path / "wrapped.pth")
    torch.save(plain, tmp_path / "bare.pth")
    got, expected = (load_encoder(tmp_path / name) for name in ("wrapped.pth", "bare.pth"))
    assert torch.equal(got(CROPS), expected(CROPS))
    return got.card


def inside_blocks(word):
    """As FSDP and checkpointing do it: a part in the middle of the names of every block."""
    return {
        ".".join([*n.split(".")[:2], word, *n.split(".")[2:]]) if n.startswith("blocks.") else n: v
        for n, v in state().items()
    }


WRAPPED = {
    "torch.compile": under("_orig_mod.", state()),
    "compile of data parallel": under("_orig_mod.module.", state()),
    "data parallel of compile": {"state_dict": under("module._orig_mod.", state())},
    "FSDP": {"model": under("_fsdp_wrapped_module.", inside_blocks("_fsdp_wrapped_module"))},
    "activation checkpointing": inside_blocks("_checkpoint_wrapped_module"),
    "model_state_dict": {"model_state_dict": state(), "epoch": 3, "loss": 0.1},
    "a dictionary deeper": {"checkpoint": {"net": under("module.", state())}},
    "Lightning around a trainer": {"state_dict": under("model.encoder.vit.", state())},
    "teacher.backbone under model": {"model": under("teacher.backbone.", state())},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_wrappers_are_taken_off(tmp_path, how):
    card = same(tmp_path, WRAPPED[how], state())
    assert card["dropped"] == []


HEADS = {
    "linear head": (under("backbone.", state()), {"head.weight": torch.ones(2, 48)}),
    "projector": (under("backbone.", state()), {"projector.0.weight": torch.ones(2, 48)}),
    "DINOv2 heads": (
        under("teacher.backbone.", state()),
        {"teacher.dino_head.mlp.0.weight": torch.ones(1), "teacher.ibot_head.a": torch.ones(1)},
    ),
    "torch's AveragedModel": (under("module.", state()), {"n_averaged": torch.tensor(3)}),
    "head of a bare state": (state(), {"head.weight": ONE, "fc_norm.bias": ONE}),
    "decoder of an MAE": (
        state(),
        {"mask_token": torch.ones(1, 1, 8), "decoder_embed.weight": torch.ones(8, 48),
         "decoder_blocks.0.norm1.weight": torch.ones(8), "decoder_pos_embed": torch.ones(1, 17, 8)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADS)
@pytest.mark.parametrize("part", ["state_dict", "model"])
def test_heads_are_left_out_and_named(tmp_path, what, part):
    backbone, head = HEADS[what]
    card = same(tmp_path, {part: {**backbone, **head}}, state())
    assert sorted(card["dropped"]) == sorted(head)
    assert any("left out" in note and next(iter(head)) in note for note in card["notes"])


def test_three_channels_are_photographs_whatever_is_around_them(tmp_path):
    photo = state(in_channels=3)
    decoder = {"mask_token": torch.ones(1, 1, 8), "decoder_pred.weight": torch.ones(8, 8)}
    for content in (
        {"model": {**photo, **decoder}},
        {"state_dict": {**under("backbone.", photo), "head.bias": torch.ones(3)}},
        {"state_dict": under("backbone.", photo), "hyper_parameters": {"lr": 1.0}},
    ):
        card = same(tmp_path, content, photo)
        assert "photograph" in card["format"] and "authors" not in card["format"]


AVERAGED = {
    "timm": ({"state_dict": state(1), "state_dict_ema": state(0)}, "state_dict_ema"),
    "DeiT": ({"model": state(1), "model_ema": state(0), "epoch": 2}, "model_ema"),
    "teacher and student in one part": (
        {"model": {**under("student.backbone.", state(1)), **under("teacher.backbone.", state(0))}},
        "teacher.backbone.*",
    ),
    "parts": ({"student": under("module.", state(1)), "teacher": state(0)}, "teacher"),
}


@pytest.mark.parametrize("how", AVERAGED)
def test_the_average_is_taken_and_the_raw_weights_are_named(tmp_path, how):
    content, taken = AVERAGED[how]
    card = same(tmp_path, content, state(0))
    (note,) = [note for note in card["notes"] if note.startswith("taken is")]
    assert taken in note.partition(";")[0] and "not used: " in note


@pytest.mark.parametrize(
    "content",
    [
        {"model": state(0), "other": state(1)},
        {"state_dict": {**under("online.", state(0)), **under("momentum.", state(1))}},
        {**under("a.", state(0)), **under("b.", state(1))},
    ],
)  # fmt: skip
def test_two_that_could_be_meant_are_refused_by_name(tmp_path, content):
    torch.save(content, tmp_path / "two.pth")
    with pytest.raises(InputError, match=r"two\.pth: holds several networks \(.*, .*\)") as caught:
        load_encoder(tmp_path / "two.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"model": {"conv1.weight": ONE, "fc.bias": ONE}}, "model: {conv1.weight, fc.bias}"),
        ({"net": {"a": {"b": ONE}}, "epoch": 1}, "net: {a}, epoch"),
        ({"state_dict": {f"layer{i}.w": ONE for i in range(9)}}, "layer2.w and 6 more"),
    ],
)  # fmt: skip
def test_what_is_no_vit_has_its_nested_names_listed(tmp_path, content, names):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match="format not recognised") as caught:
        load_encoder(tmp_path / "x.pth")
    assert names in str(caught.value) and "\n" not in str(caught.value)


def test_the_same_name_twice_after_unwrapping_is_not_merged(tmp_path):
    mixed = {**state(0), **under("module.", state(1))}
    torch.save(mixed, tmp_path / "x.pth")
    with pytest.raises(InputError, match="several networks"):
        load_encoder(tmp_path / "x.pth")


@pytest.mark.parametrize("prefix", ["", "module.encoder.", "backbone."])
@pytest.mark.parametrize("part", [None, "state_dict"])
def test_a_resnet_is_called_one(tmp_path, prefix, part):
    names = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer4.2.bn3.bias")
    state = under(prefix, dict.fromkeys(names, ONE))
    torch.save({part: state} if part else state, tmp_path / "r.pt")
    with pytest.raises(InputError, match=r"r\.pt: holds a ResNet .*cpssl reads CLOOME"):
        load_encoder(tmp_path / "r.pt")


def torch_script(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def traced(path):
    torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)).save(path)


def torch_export(path):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("export", [torch_script, traced, torch_export])
def test_exported_programs_are_called_so(tmp_path, export):
    export(tmp_path / "p.pt2")
    with pytest.raises(InputError, match=r"p\.pt2: an exported program .*save the network's state"):
        load_encoder(tmp_path / "p.pt2")
