import pytest
import torch

from cpssl_lite.models import roofline
from cpssl_lite.models.roofline import affordable, fastest, matmul_ceiling, operations


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only where a test says so: no busy machine makes it late."""
    now = [0.0]
    monkeypatch.setattr(roofline, "perf_counter", lambda: now[0])
    return now


def test_a_slow_work_is_not_repeated_past_the_bound(clock):
    def work():
        clock[0] += 0.1

    timing = fastest(work, repeats=50, limit=0.35)
    assert timing.bounded and timing.repeats == 3
    assert timing.seconds == pytest.approx(0.1)
    assert fastest(work, repeats=50, limit=0.05).repeats == 1


def test_a_quick_work_is_repeated_as_often_as_asked():
    timing = fastest(lambda: None, repeats=7)
    assert timing.repeats == 7 and not timing.bounded


def test_affordable_never_gives_none_nor_more_than_wanted():
    assert affordable(4, 0.0, 1.0) == 4
    assert affordable(4, 100.0, 1.0) == 1


def test_the_ceiling_of_a_slow_format_comes_within_its_bound(monkeypatch, clock):
    calls = []
    product = torch.Tensor.__matmul__

    def slow(a, b):
        calls.append(len(a))
        clock[0] += 0.2 * (len(a) / 256) ** 3
        return product(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", slow)
    assert matmul_ceiling(limit=1.0) == pytest.approx(2 * 256**3 / 0.2)
    assert clock[0] < 1.5 and set(calls) == {256}
    calls.clear()
    assert matmul_ceiling(limit=20.0) == pytest.approx(2 * 256**3 / 0.2)
    assert max(calls) == 512


def test_the_largest_operation_comes_first(capfd):
    a = torch.randn(400, 400)
    spent = operations(lambda: torch.relu(a @ a @ a @ a))
    assert next(iter(spent)) == "mm" and "relu" in spent
    assert list(spent.values()) == sorted(spent.values(), reverse=True)
    assert capfd.readouterr().err == ""
