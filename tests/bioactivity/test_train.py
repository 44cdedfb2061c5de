from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator

from cpssl_lite.bioactivity.presets import PRESETS, build
from cpssl_lite.bioactivity.train import ActivityModel, fit, masked_loss, predict, to_tensor

rng = np.random.default_rng(0)
SMALL = PRESETS["small"]["FNN"]


def batch(n=40, assays=6):
    logits = torch.tensor(rng.normal(size=(n, assays)), requires_grad=True)
    return logits, torch.tensor(rng.integers(-1, 2, (n, assays)))


def test_loss_and_gradient_equal_a_direct_computation_on_measured_entries():
    logits, labels = batch()
    loss = masked_loss(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    z, y = logits.detach().numpy(), labels.numpy()
    total, count, expected = 0.0, int((y != 0).sum()), np.zeros_like(z)
    for i, j in np.argwhere(y != 0):
        p, active = 1 / (1 + np.exp(-z[i, j])), y[i, j] > 0
        total -= np.log(p if active else 1 - p)
        expected[i, j] = (p - active) / count
    assert float(loss.detach()) == pytest.approx(total / count)
    assert gradient.numpy() == pytest.approx(expected)


def test_what_is_missing_changes_nothing():
    logits, labels = batch()
    other = torch.where(labels == 0, torch.randn_like(logits) * 100, logits)
    other = other.detach().requires_grad_()
    a, b = masked_loss(logits, labels), masked_loss(other, labels)
    assert float(a.detach()) == float(b.detach())
    for g, h in zip(torch.autograd.grad(a, logits), torch.autograd.grad(b, other), strict=True):
        assert torch.equal(g, h)
        assert (g[labels == 0] == 0).all()


def test_without_any_label_there_is_no_gradient_and_no_nan():
    logits, labels = batch()
    loss = masked_loss(logits, torch.zeros_like(labels))
    assert float(loss.detach()) == 0.0
    assert (torch.autograd.grad(loss, logits)[0] == 0).all()


def test_the_optimiser_and_the_two_losses_of_mil_net():
    shape = torch.Size([5, 128, 128])
    preset = PRESETS["small"]["MIL-Net"]
    model = ActivityModel(build("MIL-Net", preset, shape, 3, 0), preset, lambda p: 0.0)
    group = model.configure_optimizers().param_groups[0]
    settings = (group["lr"], group["momentum"], group["weight_decay"])
    assert settings == (0.01, 0.9, 1e-4)
    model.eval()
    x, y = torch.randn(2, *shape), torch.tensor([[1, -1, 0], [0, 1, 1]])
    logits, pooled = model.network(x)
    expected = masked_loss(logits, y) + masked_loss(pooled, y)
    assert float(model.training_step((x, y)).detach()) == pytest.approx(float(expected.detach()))


def problem(n=120):
    x = rng.normal(size=(n, 10)).astype(np.float32)
    labels = np.where(x[:, :2] > 0, 1, -1).astype(np.int8)
    labels[rng.random(labels.shape) < 0.3] = 0
    return x, labels


def test_fit_keeps_the_epoch_with_the_best_validation():
    x, labels = problem()
    scores, states = iter([0.2, 0.9, 0.9, 0.1]), []
    network = build("FNN", SMALL, torch.Size([10]), 2, 0)

    def validate(probability):
        assert probability.shape == (20, 2)
        states.append(network.layers[1].weight.detach().clone())
        return next(scores)

    rows = np.arange(120)
    model = fit(network, replace(SMALL, epochs=4), x, labels, rows[:100], rows[100:], validate)
    assert (model.best_epoch, model.best_score) == (2, 0.9)
    assert torch.equal(network.layers[1].weight, states[1])
    assert not torch.equal(states[1], states[3])


def test_several_devices_do_not_share_a_training(monkeypatch):
    class Trainer(lightning.Trainer):
        def fit(self, *given):
            assert self.num_devices == 1, "DDP would split the batches"
            super().fit(*given)

    monkeypatch.setattr(CPUAccelerator, "auto_device_count", staticmethod(lambda: 2))
    monkeypatch.setattr(lightning, "Trainer", Trainer)
    x, labels = problem()
    network, rows = build("FNN", SMALL, torch.Size([10]), 2, 0), np.arange(120)
    model = fit(network, replace(SMALL, epochs=1), x, labels, rows[:100], rows[100:], np.mean)
    assert model.steps > 0


def test_the_same_seed_gives_the_same_network():
    x, labels = problem()
    rows = np.arange(120)
    found = []
    for seed in (0, 0, 1):
        network = build("FNN", SMALL, torch.Size([10]), 2, 0)
        fit(
            *(network, replace(SMALL, epochs=2), x, labels, rows[:100], rows[100:]),
            lambda p: 0.0 if (p >= 0).all() else 1.0,
            seed=seed,
        )
        found.append(predict(network, x))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_images_are_standardised_channel_by_channel():
    x = to_tensor(rng.integers(0, 255, (3, 5, 8, 8)).astype(np.uint8) // [[[[4]]]])
    assert x.mean(dim=(2, 3)).abs().max() < 1e-5
    assert (x.std(dim=(2, 3)) - 1).abs().max() < 1e-4
    blank = to_tensor(np.full((1, 5, 8, 8), 7, np.uint8))
    assert (blank == 0).all()
