"""What a network asks of the machine, and what the machine can give."""

from time import perf_counter

import torch

from cpssl_lite.models.vit import Shape


def forward_flops(shape: Shape, size: int) -> float:
    """Floating-point operations of a ViT's matrix products for one crop of `size` px.

    Two for every multiply-add; norms, activations and softmax are left out.
    """
    tokens = (size // shape.patch) ** 2 + 1 + shape.registers
    block = 24 * tokens * shape.width**2 + 4 * tokens**2 * shape.width
    return shape.depth * block + 2 * tokens * shape.patch**2 * shape.in_channels * shape.width


def matmul_ceiling(device: str = "cpu", kind: torch.dtype = torch.float32) -> float:
    """FLOP/s of a large square matrix product on this machine: the best of several."""
    size = 8192 if device.startswith("cuda") else 2048
    a = torch.randn(size, size, device=device).to(kind)
    times = []
    for _ in range(8):
        start = perf_counter()
        a @ a
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return 2 * size**3 / min(times)
