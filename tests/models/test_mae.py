import numpy as np
import pytest
import torch

from cpssl_lite.models.mae import MAE, patchify, random_masking, sincos_positions
from cpssl_lite.models.reading import read_checkpoint
from cpssl_lite.models.recipes import load_recipe
from cpssl_lite.models.vit import Shape

RENAMED = {
    "decoder_embed": "decoder.embed",
    "decoder_blocks": "decoder.blocks",
    "decoder_norm": "decoder.norm",
    "decoder_pred": "decoder.predict",
    "mask_token": "decoder.mask_token",
}


def authors_micro_network(parity, ratio, per_patch):
    state = read_checkpoint(parity / "inference/checkpoints/mae_micro.pth")[0]["model"]
    recipe = {
        **load_recipe("mae"),
        "seed": 0,
        "architecture": Shape(width=48, depth=3, heads=3),
        "decoder": {"width": 32, "depth": 2, "heads": 4},
        "mask_ratio": ratio,
        "standardise_patches": per_patch,
    }
    model = MAE(recipe, steps_per_epoch=1)
    model.decoder.positions = state.pop("decoder_pos_embed")
    renamed = {}
    for name, value in state.items():
        stem = next((s for s in RENAMED if name.startswith(s)), None)
        renamed[name.replace(stem, RENAMED[stem], 1) if stem else f"backbone.{name}"] = value
    model.load_state_dict(renamed)
    return model


@pytest.mark.parametrize("ratio", [0.5, 0.75])
@pytest.mark.parametrize("per_patch", [True, False])
def test_loss_and_prediction_are_the_released_ones(parity, ratio, per_patch):
    images = torch.from_numpy(np.load(parity / "inference/forward/inputs.npz")["x224"][:2]) * 0.5
    file = np.load(parity / "train/mae_loss.npz")
    prefix = f"norm{int(per_patch)}_mr{ratio}_"
    model = authors_micro_network(parity, ratio, per_patch)
    noise = torch.from_numpy(file[prefix + "noise"])
    loss, predicted, mask = model.reconstruct(images, noise)
    loss.backward()
    assert loss.item() == pytest.approx(float(file[prefix + "loss"]), rel=1e-5)
    np.testing.assert_array_equal(mask.numpy(), file[prefix + "mask"])
    first = file[prefix + "pred_patch0_9"]
    np.testing.assert_allclose(predicted[:, :10].detach().numpy(), first, rtol=1e-4, atol=1e-5)
    gradient = model.decoder.predict.weight.grad[:8].numpy()
    expected = file[prefix + "grad_decpred"]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(patchify(images, 16)[0, :3].numpy(), file["patchify_first"])


def test_fixed_positions_are_the_released_ones(parity):
    file = np.load(parity / "train/mae_loss.npz")
    got = sincos_positions(48, 14)[0].numpy()
    np.testing.assert_allclose(got, file["pos_embed_48_14"], atol=1e-6)
    got = sincos_positions(384, 14)[0, :3].numpy()
    np.testing.assert_allclose(got, file["pos_embed_384_14_first3"], atol=1e-6)


def test_masking_hides_the_asked_share_and_can_be_undone():
    noise = torch.rand(3, 64, generator=torch.Generator().manual_seed(0))
    keep, restore, mask = random_masking(noise, 0.5)
    assert keep.shape == (3, 32) and mask.sum(1).tolist() == [32, 32, 32]
    assert (mask.gather(1, keep) == 0).all()
    shuffled = torch.cat([torch.zeros(3, 32), torch.ones(3, 32)], dim=1)
    assert torch.equal(shuffled.gather(1, restore), mask)


def test_hidden_patches_do_not_reach_the_encoder():
    model = MAE({**load_recipe("mae"), "seed": 0}, steps_per_epoch=1)
    images = torch.randn(2, 5, 128, 128)
    noise = torch.rand(2, 64)
    keep, _, mask = random_masking(noise, 0.5)
    hidden = mask.reshape(2, 1, 8, 8).repeat_interleave(16, 2).repeat_interleave(16, 3)
    changed = torch.where(hidden.bool(), torch.randn_like(images), images)
    assert torch.equal(model.encode_visible(images, keep), model.encode_visible(changed, keep))
    assert model.pooling == "patch_mean_before_norm"
