from time import perf_counter, sleep

import torch

from cpssl_lite.models.roofline import affordable, fastest, matmul_ceiling, operations


def test_a_slow_work_is_not_repeated_past_the_bound():
    start = perf_counter()
    timing = fastest(lambda: sleep(0.1), repeats=50, limit=0.35)
    assert timing.bounded and timing.repeats in (2, 3)
    assert perf_counter() - start < 1
    assert timing.seconds >= 0.1


def test_a_quick_work_is_repeated_as_often_as_asked():
    timing = fastest(lambda: None, repeats=7)
    assert timing.repeats == 7 and not timing.bounded


def test_affordable_never_gives_none_nor_more_than_wanted():
    assert affordable(4, 0.0, 1.0) == 4
    assert affordable(4, 100.0, 1.0) == 1


def test_the_ceiling_of_a_slow_format_comes_within_its_bound(monkeypatch):
    calls = []
    product = torch.Tensor.__matmul__

    def slow(a, b):
        calls.append(len(a))
        sleep(0.2 * (len(a) / 256) ** 3)
        return product(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", slow)
    start = perf_counter()
    assert matmul_ceiling(limit=1.0) > 0
    assert perf_counter() - start < 5 and max(calls) == 256


def test_the_largest_operation_comes_first(capfd):
    a = torch.randn(400, 400)
    spent = operations(lambda: torch.relu(a @ a @ a @ a))
    assert next(iter(spent)) == "mm" and "relu" in spent
    assert list(spent.values()) == sorted(spent.values(), reverse=True)
    assert capfd.readouterr().err == ""
