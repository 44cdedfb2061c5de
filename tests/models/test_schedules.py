import numpy as np
import pytest

from cpssl_lite.models.schedules import warmup_cosine


@pytest.fixture
def expected(parity):
    return np.load(parity / "train/schedules.npz")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cos_lr", {"steps": 140, "peak": 0.002, "final": 1e-6, "warmup": 14}),
        ("cos_wd", {"steps": 140, "peak": 0.04, "final": 0.4}),
        ("cos_mom", {"steps": 140, "peak": 0.9995, "final": 1.0}),
        ("mae_lr", {"steps": 80, "peak": 6e-4, "final": 0.0, "warmup": 12, "reach_peak": False}),
        ("simclr_lr", {"steps": 40, "peak": 1e-3, "final": 1e-6, "warmup": 6, "start": 1e-6}),
    ],
)
def test_schedules_are_the_released_ones(expected, name, arguments):
    np.testing.assert_allclose(warmup_cosine(**arguments), expected[name], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("prototypes", [16, 256, 32])
def test_teacher_temperature(parity, prototypes):
    reference = np.load(parity / "train/dino_loss_ws1_r0.npz")[f"sched_K{prototypes}"]
    np.testing.assert_allclose(warmup_cosine(200, 0.04, 0.04, 20, 0.01), reference, rtol=1e-12)


def test_a_run_shorter_than_its_warm_up():
    assert warmup_cosine(3, 1.0, 0.0, warmup=10).tolist() == [0.0, 0.5, 1.0]
