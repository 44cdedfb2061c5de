# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Time and cost
#
# **The paper's claim** (Supplementary Table 1). DINO makes features 50 times faster than
# CellProfiler, 1.3 minutes for a plate, and more than 50 times cheaper. Training the network
# first takes about 300 GPU hours. Merging five channels into one file makes training six times
# faster {cite:p}`kim2025`.
#
# **How it was tested there.** 12 cloud machines with a GPU ran DINO, 12 with many CPU cores ran
# CellProfiler. The text does not name the machines or their prices.
#
# **What is done here.** Every way to make features runs on the same fields on this machine, and
# the clock is split into its parts. The machine's own speed limits (matrix multiplication, reading)
# are measured in the same run, so that a number means something elsewhere. Fields are as large as
# real ones and are put together from simulated ones; a third of their crops hold no cells.
# Weights are random where that makes no difference to the time.

# %% tags=["parameters"]
fields = 4  # fields to time; more is steadier
size = 1080  # their side in pixels
networks = ["ViT-S/16", "ViT-B/16"]  # architectures to time
transfer = "stand-in"  # ImageNet network: stand-in, ViT-S/16, ViT-B/16, or ""
segmentation = True  # time the CellProfiler-style pipeline, too
batch_sizes = [8, 16, 32, 64]  # crops a batch, for the scaling figure
processes = [1, 2]  # processes for the scaling figure; [] leaves it out
gpu_price = 0.53  # USD an hour for a machine with one GPU: put in yours
cpu_price = 0.68  # USD an hour for a machine with 16 cores: put in yours
results = "benchmarks/results"  # tables of `make bench`

# %% tags=["hide-input", "alone"]
import os
import platform
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tifffile
import torch
from IPython.display import HTML

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.figures import WIDTH, color, style, tag
from cpssl_lite.book.html import table as html_table
from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.images.zarrs import write_zarr
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.roofline import forward_flops, matmul_ceiling
from cpssl_lite.models.transfer import load_transfer
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles.cellprofiler_style import cellprofiler_style
from cpssl_lite.profiles.embed import crops_with_cells
from cpssl_lite.profiles.extract import extract

style()
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
device = "cuda" if torch.cuda.is_available() else "cpu"
on_device = (
    torch.cuda.get_device_name(0)
    if device == "cuda"
    else f"{os.cpu_count()} CPU cores ({platform.machine()})"
)


def seconds(work):
    """Seconds that a piece of work takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


# %%
images = mosaics(folder, fields, size, empty=1 / 3)
names = {"ViT-S/16": "vit_small_patch16", "ViT-B/16": "vit_base_patch16"}
encoders = {
    f"DINO ({name})": Encoder(
        build_vit(names[name]).eval(), {"architecture": names[name]}
    ).to(device)
    for name in networks
}
if transfer:
    encoders["Transfer"] = load_transfer(transfer).to(device)

# %% [markdown]
# ## Seconds a field, and where they go
#
# Reading and cutting run in threads beside the network, so the total of an extraction is less than
# the sum of its parts. Each part is measured alone here.

# %%
rows = images.to_dict("records")
channels = ("Mito", "AGP", "RNA", "ER", "DNA")
read = [read_field(row, channels) for row in rows]
parts = {"read": seconds(lambda: [read_field(r, channels) for r in rows])}
parts["preprocess"] = seconds(
    lambda: [crops_with_cells(f, 224, 5) for f in read]
)
timed = {}
for name, encoder in encoders.items():
    for precision in ("fp32", "bf16"):
        out = folder / f"{name.replace('/', '')}_{precision}.parquet"
        extract(images[:1], encoder, out.with_suffix(".warm.parquet"))
        timed[name, precision] = seconds(
            lambda e=encoder, o=out, p=precision: extract(
                images, e, o, precision=p
            )
        )

# %%
if segmentation:
    timed["CellProfiler-style", "fp64"] = seconds(
        lambda: cellprofiler_style(
            images, folder / "segmented.parquet", workers=1
        )
    )

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-seconds", "caption": "Seconds for a field on this machine, from files to features, on a logarithmic scale. CellProfiler-style is segmentation and measurement of every cell in Python with cp_measure on one core, not CellProfiler itself."}, "image": {"alt": "Horizontal bars of seconds per field, one for each way to make features; segmentation takes longest."}}
totals = pd.Series({f"{n}, {p}": t / fields for (n, p), t in timed.items()})
figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.38 * len(totals)))
kind = [n.split(" (")[0].split(",")[0] for n in totals.index]
axis.barh(totals.index, totals, color=[color(k) for k in kind])
for i, value in enumerate(totals):
    axis.annotate(
        f"{value:.2g} s",
        (value, i),
        (4, 0),
        textcoords="offset points",
        va="center",
    )
axis.set(
    xlabel="seconds a field",
    xscale="log",
    xlim=(totals.min() / 2, totals.max() * 3),
)
axis.invert_yaxis()
axis.grid(axis="y", visible=False)
tag(figure, "simulated")

# %% tags=["hide-input"]
encoder = encoders[f"DINO ({networks[0]})"]
crops = np.concatenate([crops_with_cells(f, 224, 5) for f in read])
pixels = torch.from_numpy(crops.astype(np.float32) / 65535).to(device)


def forward(batch, precision="fp32"):
    """All crops through the first network, in batches."""
    with (
        torch.inference_mode(),
        torch.autocast(device, torch.bfloat16, precision == "bf16"),
    ):
        for start in range(0, len(pixels), batch):
            encoder(pixels[start : start + batch])
    if device == "cuda":
        torch.cuda.synchronize()


forward(64)
parts["network"] = seconds(lambda: forward(64))
whole = timed[f"DINO ({networks[0]})", "fp32"]
files = sum(os.path.getsize(row["FileName_Merged"]) for row in rows)
html_table(
    ("Part", "Seconds a field", "Beside the whole"),
    [
        *(
            (part, f"{s / fields:.3f}", f"{s / whole:.0%}")
            for part, s in parts.items()
        ),
        ("whole extraction", f"{whole / fields:.3f}", "100%"),
    ],
    caption=f"DINO ({networks[0]}), fp32, {on_device}; {len(crops)} of "
    f"{fields * (size // 224) ** 2} crops hold cells (simulated data)",
)

# %% [markdown]
# ## How near to what the machine can do?
#
# A network's matrix products cost a known number of operations. Divided by the measured time, and
# beside a large matrix product measured in the same minute, this says how much a faster program
# could still gain on this machine.

# %%
work = len(crops) * forward_flops(encoder.network.shape, 224)
reached = {
    kind: work / min(seconds(lambda k=kind: forward(64, k)) for _ in range(2))
    for kind in ("fp32", "bf16")
}
ceiling = {
    "fp32": matmul_ceiling(device),
    "bf16": matmul_ceiling(device, torch.bfloat16),
}

# %% tags=["hide-input"]
bytes_read = seconds(
    lambda: [Path(row["FileName_Merged"]).read_bytes() for row in rows]
)
html_table(
    ("", "Reached", "Ceiling", "Share"),
    [
        (
            f"network, {kind}",
            f"{reached[kind] / 1e9:.0f} GFLOP/s",
            f"{ceiling[kind] / 1e9:.0f} GFLOP/s",
            f"{reached[kind] / ceiling[kind]:.0%}",
        )
        for kind in reached
    ]
    + [
        (
            "reading, decoded",
            f"{files / parts['read'] / 1e6:.0f} MB/s",
            f"{files / bytes_read / 1e6:.0f} MB/s",
            f"{bytes_read / parts['read']:.0%}",
        )
    ],
    caption="Reached beside this machine's own ceilings; files come from memory, not from a disk",
)

# %% [markdown]
# ## Scaling

# %% tags=["hide-input"]
rates = [
    len(crops) / seconds(lambda b=batch: forward(b)) for batch in batch_sizes
]
numbers = sorted({max(1, fields // 4), max(1, fields // 2), fields})
by_number = [
    seconds(lambda n=n: extract(images[:n], encoder, folder / f"n{n}.parquet"))
    for n in numbers
]
threads = torch.get_num_threads()
shares = []
program = """
import sys, torch, time
import numpy as np
from cpssl_lite.models.vit import build_vit
torch.set_num_threads(int(sys.argv[1]))
network, x = build_vit(sys.argv[2]).eval(), torch.rand(8, 5, 224, 224)
with torch.inference_mode():
    network(x)
    print("ready", flush=True)
    sys.stdin.readline()
    network(x), network(x)
"""
for count in processes:
    words = [sys.executable, "-c", program, str(max(threads // count, 1))]
    words.append(names[networks[0]])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    team = [subprocess.Popen(words, **pipes) for _ in range(count)]
    for process in team:
        process.stdout.readline()  # all are ready
    start = perf_counter()
    for process in team:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in team:
        process.wait()
    shares.append(count * 16 / (perf_counter() - start))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-scaling", "caption": "Scaling of the first network in fp32: seconds against the number of fields, crops per second against the batch size, and against the number of processes that share this machine's cores."}, "image": {"alt": "Three small line plots: seconds rise with the number of fields; crops per second against batch size and against processes."}}
figure, axes = plt.subplots(1, 3 if processes else 2, figsize=(WIDTH, 2.6))
axes[0].plot(numbers, by_number, "o-", color=color("DINO"))
axes[0].set(xlabel="fields", ylabel="seconds", xticks=numbers)
axes[1].plot(range(len(rates)), rates, "o-", color=color("DINO"))
axes[1].set(xlabel="batch size", ylabel="crops per second")
axes[1].set_xticks(range(len(rates)), batch_sizes)
if processes:
    axes[2].plot(processes, shares, "o-", color=color("DINO"))
    axes[2].set(xlabel="processes", xticks=processes)
for axis in axes:
    axis.margins(0.1)
    axis.set_ylim(0, axis.get_ylim()[1])
tag(figure, "simulated")

# %% [markdown]
# ## One merged file or five?
#
# The same fields as five single-channel TIFFs (uncompressed, as the Gallery has them), as one merged
# TIFF, and as a Zarr array.

# %%
single = []
for i, field in enumerate(read):
    single.append([str(folder / f"single_{i}_{c}.tiff") for c in range(5)])
    for path, plane in zip(single[-1], field.pixels, strict=True):
        tifffile.imwrite(path, plane)
    write_zarr(folder / f"{i}.zarr", field.pixels, field.otsu)

# %% tags=["hide-input"]
raw_rows = [
    {f"FileName_{c}": p for c, p in zip(channels, paths, strict=True)}
    for paths in single
]
formats = {
    "five TIFFs, scaled and thresholded at every reading": min(
        seconds(lambda: [read_field(row, channels) for row in raw_rows])
        for _ in range(2)
    ),
    "five TIFFs, decoded only": min(
        seconds(lambda: [[tifffile.imread(p) for p in ps] for ps in single])
        for _ in range(3)
    ),
    "merged TIFF (zstd)": min(
        seconds(lambda: [read_merged(row["FileName_Merged"]) for row in rows])
        for _ in range(3)
    ),
    "Zarr (zstd)": min(
        seconds(
            lambda: [read_merged(folder / f"{i}.zarr") for i in range(fields)]
        )
        for _ in range(3)
    ),
}
merged = formats["merged TIFF (zstd)"]
html_table(
    ("Format", "Milliseconds a field", "Beside merged"),
    [
        (name, f"{1000 * s / fields:.1f}", f"{s / merged:.1f}x")
        for name, s in formats.items()
    ],
    caption="Reading a field from memory (simulated pixels)",
)

# %% [markdown]
# From memory the five files cost little to *open*; what costs time is scaling and thresholding
# them again at every reading, which `cpssl data prepare` does once. On a network disk or an
# object store each file also waits for its first byte, which is not measured here.
#
# ## A plate, the paper's training set, all of JUMP-CP
#
# Seconds a field times the number of fields: a 384-well plate of nine fields a well, the 564,272
# fields of the paper's training set, and some 11.7 million fields of JUMP-CP (58.27 million
# single-channel files).

# %% tags=["hide-input"]
plate, train_set, jump = 384 * 9, 564_272, 58_270_000 // 5
first = f"DINO ({networks[0]})"
best = min(timed[first, "fp32"], timed[first, "bf16"]) / fields
price = gpu_price if device == "cuda" else cpu_price


def span(value):
    """A time in words."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:.1f} {unit}"
    return f"{value:.1f} s"


html_table(
    ("Features", "A plate", "Training set", "All of JUMP-CP", "USD a plate"),
    [
        (
            name,
            span(plate * s),
            span(train_set * s),
            span(jump * s),
            f"{plate * s / 3600 * price:.2f}",
        )
        for name, s in totals.items()
    ],
    caption=f"Projected from this machine ({on_device}) at {price} USD an hour",
)

# %% [markdown]
# The prices are parameters (`gpu_price`, `cpu_price`): put in those of your provider. The paper's
# 1.3 minutes a plate come from GPUs; a laptop's cores take hours.
#
# ## Measured by `make bench`
#
# These tables are of the date and machine that each names.

# %% tags=["hide-input"]
kept = sorted(Path(results).glob("*.txt"))
HTML(
    "".join(
        f"<details><summary>{escape(path.stem)}</summary>"
        f"<pre>{escape(path.read_text())}</pre></details>"
        for path in kept
    )
    or "<p>No results here yet: run <code>make bench</code>.</p>"
)

# %% [markdown]
# ## The paper's numbers beside this run's

# %% tags=["hide-input"]
kind = "simulated" if device == "cpu" else "simulated, GPU"
if segmentation:
    ratio = timed["CellProfiler-style", "fp64"] / fields / best
    display(claims.record("faster-than-segmentation", ratio, kind))
    display(claims.record("fifty-times-faster", ratio, kind))
display(claims.record("minutes-a-plate", plate * best / 60, kind))
scaled = formats["five TIFFs, scaled and thresholded at every reading"]
display(claims.record("merged-loads-faster", scaled / merged, kind))
claims.show_claims(chapter="timing")

# %% [markdown]
# ## What this shows and what it does not
#
# It shows what each step costs on the machine that built this page, how the time divides, and how
# near the network runs to the machine's own limit. Ratios between rows carry over to other
# machines better than seconds do.
#
# It does not repeat the paper's comparison: that had GPUs on one side, CellProfiler itself on the
# other, and real plates. The pipeline called CellProfiler-style here measures fewer features
# than CellProfiler does, with other code.
#
# ## Re-run it on your machine
#
# ```bash
# cpssl run timing -p fields=32 -p gpu_price=1.01
# python benchmarks/extract.py --fields 64
# ```
#
# ## This run

# %% tags=["hide-input"]
scratch.cleanup()
provenance.show()
