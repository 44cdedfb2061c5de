"""What a network asks of the machine, what the machine can give, and measuring within a bound."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch

from cpssl_lite.models.vit import Shape


def forward_flops(shape: Shape, size: int, whole: bool = False) -> float:
    """Floating-point operations of a ViT's matrix products for one crop of `size` px.

    Two for every multiply-add; norms, activations and softmax are left out. The last block counts
    as `vit.class_token_block` computes it, unless `whole`: for every token.

    Examples
    --------
    >>> small = Shape(width=384, depth=12, heads=6)
    >>> [round(forward_flops(small, 224, whole) / 1e9, 1) for whole in (False, True)]
    [8.6, 9.3]
    """
    d, tokens = shape.width, (size // shape.patch) ** 2 + 1 + shape.registers
    block = 24 * tokens * d**2 + 4 * tokens**2 * d
    last = block if whole else (4 * tokens + 20) * d**2 + 4 * tokens * d
    return (shape.depth - 1) * block + last + 2 * tokens * shape.patch**2 * shape.in_channels * d


@dataclass(frozen=True)
class Timing:
    """The fastest of several runs, and whether the bound cut their number short."""

    seconds: float
    repeats: int
    bounded: bool


def fastest(work: Callable[[], object], repeats: int = 3, limit: float = 10.0) -> Timing:
    """Time `work` up to so many times, and no more once `limit` seconds are spent.

    One run always happens, so that there is a number; how long it takes is for the caller to
    choose (see `affordable`).

    Examples
    --------
    >>> fastest(lambda: None, repeats=3).repeats
    3
    """
    times: list[float] = []
    begun = perf_counter()
    while len(times) < repeats:
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
        # The next run would take about as long as the shortest so far.
        if perf_counter() - begun + min(times) > limit:
            break
    return Timing(min(times), len(times), len(times) < repeats)


def affordable(wanted: int, one: float, limit: float) -> int:
    """How many of `wanted` pieces fit into `limit` seconds, if a first one took `one`; at least 1.

    Examples
    --------
    >>> affordable(8, one=2.0, limit=9.0), affordable(8, one=60.0, limit=9.0)
    (4, 1)
    """
    return max(1, min(wanted, int(limit / max(one, 1e-9))))


def matmul_ceiling(
    device: str = "cpu", kind: torch.dtype = torch.float32, limit: float = 4.0
) -> float:
    """FLOP/s of a large square matrix product on this machine: the best of several.

    The side is halved until one product takes at most an eighth of `limit` seconds: on a slow
    machine the answer comes from smaller matrices, not after minutes.
    """
    side = 8192 if device.startswith("cuda") else 2048

    def product(a: torch.Tensor) -> None:
        a @ a
        if a.is_cuda:
            torch.cuda.synchronize()

    probe = torch.randn(256, 256, device=device).to(kind)
    one = fastest(lambda: product(probe), limit=limit / 8).seconds
    while side > 256 and one * (side / 256) ** 3 > limit / 8:
        side //= 2
    a = torch.randn(side, side, device=device).to(kind)
    return 2 * side**3 / fastest(lambda: product(a), 8, limit).seconds


def operations(work: Callable[[], object], device: str = "cpu") -> dict[str, float]:
    """Seconds that `work` spends in each of torch's operations, most first.

    An operation's own time, without that of others which it calls; those of equal name are added.
    """
    with _silent(), torch.profiler.profile() as profile:
        work()
    clock = "self_device_time_total" if device.startswith("cuda") else "self_cpu_time_total"
    spent: dict[str, float] = {}
    for event in profile.key_averages():
        if "::" in event.key:
            name = event.key.split("::")[-1]
            spent[name] = spent.get(name, 0.0) + getattr(event, clock) / 1e6
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


@contextmanager
def _silent() -> Iterator[None]:
    """What torch's profiler writes past Python to standard error, at every start, goes nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
