"""Attention maps against timm's own attention and the definition of rollout."""

import numpy as np
import pytest
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.models import attention
from cpssl_lite.models.attention import attention_maps
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.formats_public import ChannelAgnosticViT, ParallelViT
from cpssl_lite.models.vit import Shape, build_vit

SHAPE = Shape(width=48, depth=3, heads=3, patch=16, image_size=64)
CROPS = np.random.default_rng(0).random((2, 5, 64, 64), np.float32)


def weights_of_every_layer(encoder, crops):
    """Softmax matrices as timm computes them, seen by its dropout: (n, heads, L, L) each."""
    seen = []
    for block in encoder.network.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    encoder.train()  # no dropout here, but no short cut in the last block either
    with torch.inference_mode():
        encoder(torch.from_numpy(crops))
    encoder.eval()
    return [w.numpy() for w in seen]


@pytest.fixture(params=["DINO", "MAE", "registers"])
def encoder(request):
    if request.param == "registers":
        torch.manual_seed(0)
        return Encoder(build_vit(SHAPE, registers=4), {}, crop_size=64).eval()
    return load_encoder(SHIPPED[request.param])


def test_last_layer_is_timms_own(encoder):
    maps = attention_maps(encoder, CROPS, batch_size=1)
    last = weights_of_every_layer(encoder, CROPS)[-1]
    skip = encoder.network.num_prefix_tokens
    rows = last[:, :, 0] if encoder.pooling == "cls" else last[:, :, skip:].mean(axis=2)
    assert maps.shape == (2, last.shape[1], 4, 4)
    np.testing.assert_allclose(maps.reshape(*maps.shape[:2], -1), rows[..., skip:], atol=1e-6)
    np.testing.assert_allclose(maps.sum((2, 3)) + rows[..., :skip].sum(-1), 1, atol=1e-5)


def test_rollout_is_the_product_of_layers(encoder):
    maps = attention_maps(encoder, CROPS, rollout=True)
    layers = weights_of_every_layer(encoder, CROPS)
    skip = encoder.network.num_prefix_tokens
    for crop in range(2):
        product = np.eye(layers[0].shape[-1])
        for layer in layers:
            mixed = layer[crop].mean(axis=0) + np.eye(len(product))
            product = mixed / mixed.sum(axis=1, keepdims=True) @ product
        asking = product[:1] if encoder.pooling == "cls" else product[skip:]
        expected = asking.mean(axis=0)[skip:].reshape(4, 4)
        np.testing.assert_allclose(maps[crop, 0], expected, atol=1e-6)


def test_uint16_counts_as_zero_to_one():
    encoder = load_encoder()
    levels = (CROPS * 65535).astype(np.uint16)
    np.testing.assert_allclose(
        attention_maps(encoder, levels), attention_maps(encoder, CROPS), atol=1e-4
    )


def test_one_stain_at_a_time():
    torch.manual_seed(0)
    vit = build_vit(SHAPE, in_channels=1)
    alone = Encoder(vit, {}, crop_size=64, mean=(0.2,), sd=(0.2,), per_channel=True).eval()
    one = Encoder(vit, {}, channels=("DNA",), crop_size=64, mean=(0.2,), sd=(0.2,)).eval()
    maps = attention_maps(alone, CROPS)
    assert maps.shape == (2, 5, 3, 4, 4)
    for channel in range(5):
        expected = attention_maps(one, CROPS[:, channel : channel + 1])
        np.testing.assert_allclose(maps[:, channel], expected, atol=1e-6)


def test_patches_of_all_stains_share_the_attention():
    torch.manual_seed(0)
    vit = ChannelAgnosticViT(SHAPE._replace(in_channels=1))
    encoder = Encoder(vit, {}, crop_size=64, pooling="cls", mean=None).eval()
    maps = attention_maps(encoder, CROPS)
    last = weights_of_every_layer(encoder, CROPS)[-1][:, :, 0]  # (n, heads, 1 + C * 16)
    assert maps.shape == (2, 5, 3, 4, 4)
    expected = last[..., 1:].reshape(2, 3, 5, 4, 4)[:, :, 4]  # DNA is the fifth
    np.testing.assert_allclose(maps[:, 4], expected, atol=1e-6)


def test_networks_and_crops_that_have_no_maps():
    with pytest.raises(InputError, match="multiples of 16"):
        attention_maps(load_encoder(), CROPS[..., :60, :60])
    network = torch.nn.Identity()
    network.embed_dim = 5
    with pytest.raises(InputError, match="vision transformer, got Identity"):
        attention_maps(Encoder(network, {}), CROPS)


def test_parallel_blocks_as_openphenom_has_them():
    torch.manual_seed(0)
    network = ParallelViT(Shape(width=48, depth=3, heads=3, patch=16, image_size=64, in_channels=1))
    encoder = Encoder(network, {}, crop_size=64, pooling="patch_mean").eval()
    seen = []
    for block in network.blocks:
        block.fused_attn = False
        block.attn_drop.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    maps = attention_maps(encoder, CROPS)
    with torch.inference_mode():
        encoder(torch.from_numpy(CROPS))
    last = seen[-1][:, :, 1:].mean(2)[..., 1:].numpy()  # of the patches, to the patches
    expected = last.reshape(2, 3, 5, 4, 4).transpose(0, 2, 1, 3, 4)
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    assert attention_maps(encoder, CROPS, rollout=True).shape == (2, 5, 1, 4, 4)


def test_a_copy_of_a_channel_follows_it_and_its_negative_does_not(monkeypatch):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 65535, (3, 2, 32, 32), dtype=np.uint16)
    patches = crops.reshape(3, 2, 4, 8, 4, 8).mean(axis=(3, 5))

    def maps(encoder, crops):  # the first channel, seen by two heads
        return np.stack([patches[:, 0], patches[:, 0]], axis=1)

    monkeypatch.setattr(attention, "attention_maps", maps)
    found = attention.attention_follows(None, crops)
    assert found.shape == (3, 2) and np.allclose(found[:, 0], 1)
    assert np.abs(found[:, 1]).max() < 0.9
    monkeypatch.setattr(attention, "attention_maps", lambda *_: -maps(*_))
    assert np.allclose(attention.attention_follows(None, crops)[:, 0], -1)
