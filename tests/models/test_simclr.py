import numpy as np
import pytest
import torch

from cpssl_lite.models.recipes import load_recipe
from cpssl_lite.models.simclr import SimCLR, nt_xent


@pytest.mark.parametrize("case", ["B4_D8_t0.2", "B16_D32_t0.2", "B5_D8_t0.07"])
def test_loss_and_gradient_are_the_released_ones(parity, case):
    file = np.load(parity / "train/simclr_loss.npz")
    first, second = (torch.from_numpy(file[f"{case}_f{i}"]).requires_grad_() for i in (1, 2))
    loss = nt_xent(first, second, float(case.split("_t")[1]))
    loss.backward()
    assert loss.item() == pytest.approx(float(file[f"{case}_loss"]), rel=1e-5)
    expected = file[f"{case}_grad_f1"]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(first.grad.numpy(), expected, rtol=1e-4, atol=1e-5 * scale)


def test_loss_is_small_only_when_partners_agree():
    z = torch.eye(8)
    assert nt_xent(z, z) < 0.2 < 2 < nt_xent(z, z.roll(1, 0))


def test_views_are_paired_field_by_field():
    model = SimCLR({**load_recipe("simclr"), "seed": 0}, steps_per_epoch=1)
    views = torch.randn(2, 3, 5, 32, 32)
    features = model.mlp(model.backbone(views.flatten(0, 1)))
    expected = nt_xent(features[:3], features[3:], 0.2)
    assert torch.allclose(model.loss([views]), expected, atol=1e-5)
    assert model.spread > 0
