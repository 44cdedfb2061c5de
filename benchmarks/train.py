"""Images per second of a DINO step: this package beside a loop over single images.

    python benchmarks/train.py [--recipe dino_lite] [--fields 32] [--size 1024] [--steps 8]

The loop does what the released code does for every image and view: read the field from disk,
convert it to float, find a crop with cells, flip, shift, gamma and normalise, one image at a
time. This package holds fields in memory where they fit and treats a batch at once. Both train
the same network on the same recipe in this one run, turn about. Fields are as large as real
ones, each put together from simulated fields of 256 px. On a GPU the step is also set against
the card's own matrix multiplication, in bf16 where it has that.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.models.crops_data import CropBatches, CropSpec, EpochBatches, Fields
from cpssl_lite.models.dino import DINO
from cpssl_lite.models.precision import native_precisions
from cpssl_lite.models.recipes import load_recipe
from cpssl_lite.models.roofline import affordable, forward_flops, matmul_ceiling

Views = list[torch.Tensor]
PAPER_IMAGES = 564_272 * 200  # images in its training set times epochs, ViT-S
PAPER_GPU_HOURS = 300


def one_view(field: torch.Tensor, level: float, size: int) -> torch.Tensor:
    """Crop and augment one view of one image on the CPU."""
    _, height, width = field.shape
    for _ in range(20):
        row = int(torch.randint(height - size + 1, (1,)))
        column = int(torch.randint(width - size + 1, (1,)))
        crop = field[:, row : row + size, column : column + size]
        if (crop[4] > level).float().mean() >= 0.01:
            break
    if torch.rand(1) < 0.5:
        crop = crop.flip(-1)
    if torch.rand(1) < 0.5:
        crop = crop.flip(-2)
    crop = crop.clone()
    for channel in range(5):
        crop[channel] = (crop[channel] + torch.rand(1) * 0.6 - 0.3).clamp(0, 1)
    for channel in range(5):
        crop[channel] = (crop[channel] ** (0.5 + torch.rand(1))).clamp(0, 1)
    return crop


def loop_batch(
    paths: list[Path], specs: list[CropSpec], mean: torch.Tensor, sd: torch.Tensor
) -> Views:
    """Views of a batch, one image at a time: a list of (number, n, C, s, s)."""
    groups = [[[] for _ in range(spec.number)] for spec in specs]
    for path in paths:
        merged = read_merged(path)
        field = torch.from_numpy(merged.pixels.astype(np.float32) / 65535)
        for group, spec in zip(groups, specs, strict=True):
            for views in group:
                views.append((one_view(field, 0.7 * merged.otsu, spec.size) - mean) / sd)
    return [torch.stack([torch.stack(views) for views in group]) for group in groups]


def take_step(model: DINO, optimiser: torch.optim.Optimizer, views: Views) -> None:
    """One optimiser step, as the trainer takes it."""
    optimiser.zero_grad()
    kind = model.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=in_bf16(kind)):
        loss = model.loss(views)
    loss.backward()
    model.on_after_backward()
    model.configure_gradient_clipping(optimiser)
    optimiser.step()
    model.after_step(0)
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def in_bf16(device: str) -> bool:
    """Whether steps run in bf16: on GPUs that have it."""
    return device.startswith("cuda") and "bf16" in native_precisions(device)


def clock(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def flops_per_image(model: DINO, specs: list[CropSpec]) -> float:
    """Floating-point operations of a step for one image: matrix products of blocks and patches."""
    shape = model.backbone.shape
    student = sum(spec.number * forward_flops(shape, spec.size, whole=True) for spec in specs)
    return 3 * student + specs[0].number * forward_flops(shape, specs[0].size, whole=True)


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default="dino_lite")
    parser.add_argument("--fields", type=int, default=32)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--limit", type=float, default=60, help="seconds for all steps, about")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = {**load_recipe("dino", args.recipe), "seed": 0}
    specs = [CropSpec(c["count"], c["size"]) for c in recipe["crops"]]
    n = min(recipe["batch_size"], args.fields)
    with tempfile.TemporaryDirectory() as folder:
        table = mosaics(folder, args.fields, args.size)
        fields = Fields(table)
        mean, sd = fields.statistics(specs[0].size, 0)
        model = DINO(recipe, steps_per_epoch=100)
        model.set_input(mean, sd)
        model.to(device)
        optimiser = model.configure_optimizers()
        data = CropBatches(fields, specs, seed=0)
        batches = [b for _, b in EpochBatches(len(fields), n, seed=0)]
        mean, sd = (torch.tensor(v)[:, None, None] for v in (mean, sd))

        def ours_data(i: int) -> Views:
            crops = [g.to(device) for g in data[(i, batches[i % len(batches)])]]
            return model.on_after_batch_transfer(crops, 0)

        def loop_data(i: int) -> Views:
            paths = [fields.paths[j] for j in batches[i % len(batches)]]
            return [g.to(device) for g in loop_batch(paths, specs, mean, sd)]

        times = {}

        def both(i: int) -> None:
            """A step of each, timed."""
            for name, make in (("this package", ours_data), ("loop", loop_data)):
                views = []
                seconds = clock(lambda make=make, views=views, i=i: views.extend(make(max(i, 0))))
                step = clock(lambda views=views: take_step(model, optimiser, views))
                if i >= 0:
                    times.setdefault(name, []).append((seconds, step))

        # The first round warms up, and says how many can be afforded.
        steps = affordable(args.steps, clock(lambda: both(-1)), args.limit)
        for i in range(steps):
            both(i)
    where = f"{device}, {torch.get_num_threads()} threads"
    print(f"recipe {args.recipe}, {n} images a step, fields of {args.size} px, {where}")
    if steps < args.steps:
        print(f"{steps} of {args.steps} steps, to stay within about {args.limit:g} s")
    print(f"{'':14} {'views ms/img':>13} {'step ms/img':>12} {'images/s':>9}")
    rates = {}
    for name, pairs in times.items():
        views, step = (statistics.median(p) for p in zip(*pairs, strict=True))
        rates[name] = n / statistics.median([a + b for a, b in pairs])
        print(f"{name:14} {views / n * 1e3:13.2f} {step / n * 1e3:12.2f} {rates[name]:9.1f}")
    print(f"faster by {rates['this package'] / rates['loop']:.2f}")
    if device == "cuda":
        done = (
            flops_per_image(model, specs)
            * n
            / statistics.median(b for _, b in times["this package"])
        )
        name, kind = ("bf16", torch.bfloat16) if in_bf16(device) else ("fp32", torch.float32)
        share = done / matmul_ceiling(device, kind)
        print(f"step: {done / 1e12:.1f} TFLOP/s, {share:.0%} of {name} matmul")
    if args.recipe == "dino_vit_small":
        hours = PAPER_IMAGES / rates["this package"] / 3600
        print(f"the paper's run at this rate: {hours:.0f} h (its own: {PAPER_GPU_HOURS} GPU hours)")


if __name__ == "__main__":
    main()
