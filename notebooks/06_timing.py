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

# %% tags=["parameters", "hide-input"]
fields = 4  # fields to time; more is steadier
limit = 14  # seconds for all measurements, about; slow machines measure less
size = 1080  # their side in pixels
networks = ["ViT-S/16", "ViT-B/16"]  # architectures to time
transfer = "stand-in"  # ImageNet network: stand-in, ViT-S/16, ViT-B/16, or ""
segmentation = True  # time the CellProfiler-style pipeline, too
pipeline = ""  # .cppipe file: CellProfiler itself is timed, if installed
batch_sizes = [2, 4, 8, 16]  # crops a batch, for the scaling figure
processes = [1, 2]  # processes for the scaling figure; [] leaves it out
gpu_price = 0.53  # USD an hour for a machine with one GPU: put in yours
core_price = 0.0425  # USD an hour for a CPU core: put in yours
results = "benchmarks/results"  # tables of `make bench`

# %% tags=["hide-input", "alone"]
import os
import platform
import tempfile
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tifffile
import torch

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.chapter import ask, frame_table, headline, note, say
from cpssl_lite.book.chapter import show
from cpssl_lite.book.evidence import Evidence
from cpssl_lite.book.figures import WIDTH, color, style
from cpssl_lite.book.html import Html
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import native_precisions
from cpssl_lite.models.transfer import load_transfer
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles.timing import Cost, crops_a_second, seconds
from cpssl_lite.profiles.timing import time_cellprofiler, time_extraction
from cpssl_lite.profiles.timing import time_style

style()
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
device = "cuda" if torch.cuda.is_available() else "cpu"
cores = torch.get_num_threads()
plural = "s" * (cores > 1)
on_device = f"{cores} CPU core{plural} ({platform.machine()})"
on_device = torch.cuda.get_device_name(0) if device == "cuda" else on_device
share = limit / 8  # seconds for one of the measurements
cut_short = []  # what was left out for want of time, in words
images = mosaics(folder, fields, size, empty=1 / 3)
names = {"ViT-S/16": "vit_small_patch16", "ViT-B/16": "vit_base_patch16"}
encoders = {
    f"DINO ({name})": Encoder(
        build_vit(names[name]).eval(), {"architecture": names[name]}
    )
    for name in networks
}
if transfer:
    encoders["Transfer"] = load_transfer(transfer)

# %% tags=["hide-input"]
first, costs = f"DINO ({networks[0]})", {}
for name, encoder in encoders.items():
    # The other figures build on the first network: it gets more time.
    within = share if costs else 2 * share
    made = time_extraction(images, encoder, folder, within, device)
    costs |= {f"{name}, {precision}": cost for precision, cost in made.items()}
measured = {}  # on segmented cells; one core's time, as if all cores shared the fields
if segmentation:
    measured["CellProfiler-style"] = time_style(images, share)
if pipeline and (took := time_cellprofiler(images, pipeline, folder)):
    measured["CellProfiler"] = took
measured = {
    n: cost._replace(total=cost.total / cores) for n, cost in measured.items()
}
costs = pd.DataFrame(costs | measured, index=Cost._fields).T
totals = costs["total"]
best = totals[totals.index.str.startswith(first)].min()
beside = next(reversed(measured), "")


def span(value):
    """A time in words."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if value >= length:
            return f"{value / length:.1f} {unit}"
    return f"{value:.2f} s"


ratio = (
    f": {beside} takes {totals[beside] / best:.1f} times as long"
    if beside
    else ""
)
headline(
    f"On {on_device} {first} needs {span(best)} for a field of five channels and {span(3456 * best)} for a plate{ratio}."
)

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.38 * len(totals)))
kinds = [name.split(" (")[0].split(",")[0] for name in totals.index]
bars = axis.barh(totals.index, totals, color=[color(kind) for kind in kinds])
axis.bar_label(bars, [f"{value:.2g} s" for value in totals], padding=4)
axis.set(
    xlabel="seconds a field",
    xscale="log",
    xlim=(totals.min() / 2, totals.max() * 3),
)
axis.invert_yaxis()
axis.grid(axis="y", visible=False)
few = costs["fields"] < fields
caption = f"Seconds for a field of {size} px on {on_device}, from files to features, on a logarithmic scale (simulated pixels)."
caption += (
    f" To stay within about {limit} s in all, of {fields} fields only {int(costs['fields'].min())} to {int(costs['fields'].max())} were timed."
    * bool(few.any())
)
caption += (
    " CellProfiler-style is segmentation and measurement of every cell in Python, not CellProfiler itself."
    * segmentation
)
if "bf16" not in native_precisions(device):
    caption += " This processor has no bf16."
show(
    figure,
    "fig-seconds",
    "simulated",
    caption=caption,
    alt="Horizontal bars of seconds per field, one for each way to make features.",
)

# %% tags=["hide-input"]
said = {
    "fields": "Fields timed",
    "read": "Read",
    "cut": "Cut",
    "network": "Network",
    "total": "A field",
    "write": "Write, a plate",
    "plate": "A plate",
}
shown = costs[["read", "cut", "network", "write"]].map(
    lambda s: f"{1000 * s:.1f} ms" if s == s else "-"
)
shown = shown.assign(
    fields=costs["fields"].astype(int),
    total=totals.map(span),
    plate=(3456 * totals).map(span),
)
frame_table(
    shown,
    said,
    "Where the seconds of a field go; 0 fields: an estimate from a few crops. A plate has 3,456 fields",
    first="Method",
)

# %% [markdown]
# **The paper's claim** (Supplementary Table 1). DINO makes features 50 times faster than
# CellProfiler, and more than 50 times cheaper. A plate takes 1.3 minutes; the text has twelve machines
# and does not say whether that is the time of each or of all together. Training the network first
# takes about 300 GPU hours. Merging five channels into one file makes training six times faster
# {cite:p}`kim2025`.
#
# **How it was tested there.** 12 cloud machines with a GPU ran DINO, 12 with many CPU cores ran
# CellProfiler. The text does not name the machines or their prices.
#
# **What is done here.** Every way to make features runs on the same fields on this machine, each
# within a part of `limit` seconds: repeats and sizes follow from a first short look, and what was
# left out is said. The machine's own limits (matrix multiplication, reading) are measured in the same
# run, so that a number means something elsewhere. Fields are as large as real ones, put together from
# simulated ones; a third of their crops hold no cells. Weights are random: that takes as long.
#
# CellProfiler itself needs an installation of its own. For those who do not have it, a run on real fields
# is kept with its command, machine and date:

# %%
from cpssl_lite.book.timings import kept_timing

say(kept_timing().sentence())

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - split the time of an extraction into reading, cutting and computing
# - compare a speed with what the machine could do at best
# - put a price on a screen
# ```

# %% tags=["hide-input"]
parts = costs.loc[f"{first}, fp32", ["read", "cut", "network"]].astype(float)
words = {
    "read": "reading the file",
    "cut": "finding and cutting crops",
    "network": "the network",
}
why = ", ".join(
    f"{words[part]} {1000 * took:.0f} ms" for part, took in parts.items()
)
ask(
    f"Where does the time of a field in {networks[0]} go on this machine?",
    list(words.values()),
    words[parts.idxmax()],
    f"A field: {why}. They run side by side.",
)

# %% [markdown]
# ## How near to what the machine can do?
#
# A network's matrix products cost a known number of operations. Divided by the measured time, and
# beside a large matrix product measured in the same minute, this says how much a faster program
# could still gain on this machine.

# %%
from cpssl_lite.images.rows import read_field
from cpssl_lite.models.roofline import affordable, fastest
from cpssl_lite.models.roofline import forward_flops, matmul_ceiling
from cpssl_lite.profiles.embed import crops_with_cells

rows, encoder = images.to_dict("records"), encoders[first]
read = [read_field(row, CHANNELS) for row in rows]
crops = np.concatenate([crops_with_cells(field, 224, 5) for field in read])
one = costs.loc[f"{first}, fp32", "crop"]
crops = crops[: affordable(len(crops), one, share / 2)]
pixels = torch.from_numpy(crops).to(device)


@torch.inference_mode()
def forward(batch, precision="fp32"):
    """The crops through the first network, in batches."""
    with torch.autocast(device, torch.bfloat16, precision == "bf16"):
        for start in range(0, len(pixels), batch):
            encoder(pixels[start : start + batch])


def quickest(work, repeats, limit):
    """Seconds of the fastest of several runs, a GPU's share included."""
    return fastest(lambda: seconds(work, device), repeats, limit).seconds


work = len(crops) * forward_flops(encoder.network.shape, 224)
kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
reached, ceiling = {}, {}
for kind in native_precisions(device):
    took = quickest(lambda k=kind: forward(16, k), 2, share)
    reached[f"network, {kind}, GFLOP/s"] = work / took / 1e9
    most = matmul_ceiling(device, kinds[kind], share / 2)
    ceiling[f"network, {kind}, GFLOP/s"] = most / 1e9

# %%
files = [Path(row["FileName_Merged"]) for row in rows]
megabytes = sum(file.stat().st_size for file in files) / 1e6
from_memory = seconds(lambda: [file.read_bytes() for file in files])
reached["reading, decoded, MB/s"] = megabytes / seconds(
    lambda: [read_field(row, CHANNELS) for row in rows]
)
ceiling["reading, decoded, MB/s"] = megabytes / from_memory
roof = pd.DataFrame({"Reached": reached, "Ceiling": ceiling})
roof["Share"] = [f"{part:.0%}" for part in roof["Reached"] / roof["Ceiling"]]
frame_table(
    roof,
    caption=f"{first} beside this machine's own ceilings; files come from memory",
    first="What",
    form=",.0f",
    fold=False,
)

# %% [markdown]
# Decoding bounds the reading of a file in memory; it happens while the network computes. What the
# network leaves of its ceiling goes into attention, activations and, in bf16, changes of type:
# `extract` under *Measured by make bench* lists the shares.
#
# ## Scaling

# %%
rates = {}  # crops a second, by crops in a batch
for batch in sorted(batch_sizes):
    if batch * one > share and rates:
        cut_short.append(f"batches of {batch}")
        continue
    pixels = torch.zeros(batch, 5, 224, 224).to(device)
    rates[batch] = batch / quickest(lambda b=batch: forward(b), 2, share / 4)
if processes and 4 * one * max(processes) > share:
    cut_short.append("several processes")
    processes = []
shared = crops_a_second(names[networks[0]], processes)

# %% tags=["hide-input"]
figure, axes = plt.subplots(
    1, 2 if shared else 1, figsize=(WIDTH, 2.4), squeeze=False, sharey=True
)
panels = (rates, "crops in a batch"), (shared, "processes")
top = 1.1 * max([*rates.values(), *shared.values()])
for axis, (values, label) in zip(axes.flat, panels, strict=False):
    axis.plot(range(len(values)), values.values(), "o-", color=color("DINO"))
    axis.set_xticks(range(len(values)), values)
    axis.set(xlabel=label, ylim=(0, top))
    axis.margins(0.1)
axes[0, 0].set_ylabel("crops per second")
gain = max(rates.values()) / rates[min(rates)] - 1
left_out = (
    f" Left out, to stay within about {limit} s in all: {', '.join(cut_short)}."
    * bool(cut_short)
)
caption = f"Crops per second of {first} in fp32 on {on_device}, against the size of a batch (the best is {gain:.0%} above the smallest) and against the number of processes that share the cores.{left_out}"
show(
    figure,
    "fig-scaling",
    "simulated",
    caption=caption,
    alt="Small line plots: crops per second against batch size and against processes.",
)

# %% [markdown]
# ## One merged file or five?
#
# The paper compares *training time*: from five TIFFs that are scaled at every reading, and from merged
# ones that were scaled and thresholded once. Here only loading is timed, on one thread: five
# LZW-compressed TIFFs (as the CPJUMP1 examples of the Gallery are), one merged TIFF, a Zarr array.

# %%
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.images.zarrs import write_zarr

singles = []
for i, field in enumerate(read):
    write_zarr(folder / f"{i}.zarr", field.pixels, field.otsu)
    paths = {f"FileName_{c}": str(folder / f"{i}_{c}.tiff") for c in CHANNELS}
    for path, plane in zip(paths.values(), field.pixels, strict=True):
        tifffile.imwrite(path, plane, compression="lzw")
    singles.append(paths)
five = [path for paths in singles for path in paths.values()]
zarrs = [folder / f"{i}.zarr" for i in range(fields)]
inside = [file for zarr in zarrs for file in zarr.rglob("*") if file.is_file()]
scaled, merged = "five TIFFs, scaled and thresholded", "merged TIFF (zstd)"
formats = {
    scaled: (five, lambda: [read_field(row, CHANNELS) for row in singles]),
    "five TIFFs, decoded only": (
        five,
        lambda: list(map(tifffile.imread, five)),
    ),
    merged: (files, lambda: list(map(read_merged, files))),
    "Zarr (zstd)": (inside, lambda: list(map(read_merged, zarrs))),
}
warm = {n: fastest(load, 3, share / 4) for n, (_, load) in formats.items()}


# %%
def forget(paths):
    """Ask the operating system to drop files from its memory."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


loading = pd.DataFrame(index=list(formats))
loading["MB"] = [
    sum(map(os.path.getsize, paths)) / fields / 1e6
    for paths, _ in formats.values()
]
loading["Warm, ms"] = [
    1000 * timing.seconds / fields for timing in warm.values()
]
if hasattr(os, "posix_fadvise"):
    cold = []
    for name, (paths, load) in formats.items():
        again = range(affordable(2, warm[name].seconds, share / 4))
        cold.append(min((forget(paths), seconds(load))[1] for _ in again))
    loading["Cold, ms"] = 1000 * np.array(cold) / fields
for column in list(loading)[1:]:
    loading[f"{column.split(',')[0]}, times merged"] = (
        loading[column] / loading.loc[merged, column]
    )
once = [name for name, timing in warm.items() if timing.bounded]
caption = "Loading a field (simulated pixels). Cold: the system was told to forget the files; a virtual machine's host may still know them"
caption += f". Not the best of 3, for want of time: {', '.join(once)}" * bool(
    once
)
frame_table(loading, caption=caption, first="Format", form=".1f", fold=False)

# %% tags=["hide-input"]
times = warm[scaled].seconds / warm[merged].seconds
options = ("up to twice", "two to four times", "more than four times")
ask(
    "How many times as long does it take to load a field from five raw TIFFs as from one merged one?",
    options,
    options[(times > 2) + (times > 4)],
    f"{times:.1f} times, from memory; the paper's whole training became 6 times faster.",
)

# %% [markdown]
# ## A plate, the paper's training set, all of JUMP-CP: time and cost
#
# Seconds a field times the number of fields; for JUMP-CP that is plates times wells times sites.
# The paper's rows follow from its text (1.3 minutes a plate, 50 times faster), once for each way to
# read it. It gives no price but says that a plate cost over 50 times less: then its GPU machines cost
# no more an hour than its CPU machines. Prices are parameters; put in those of your provider.

# %%
plate, train_set, jump = 384 * 9, 564_272, load_manifest("jump_all")["n_fields"]


def price(name):
    """USD an hour: what measures cells does not use a GPU."""
    on_gpu = device == "cuda" and name not in measured
    return gpu_price if on_gpu else core_price * cores


paper = {}
for reading, machines in (("each of 12", 1), ("12 together", 12)):
    paper[f"DINO, the paper ({reading})"] = machines * 1.3 * 60 / plate
    paper[f"CellProfiler, the paper ({reading})"] = machines * 65 * 60 / plate
sets = {"A plate": plate, "Training set": train_set, "JUMP-CP": jump}
a_field = pd.Series({**paper, **totals})
projected = pd.DataFrame(
    {what: (n * a_field).map(span) for what, n in sets.items()}
)
for what in ("A plate", "JUMP-CP"):
    hours = sets[what] * totals / 3600
    projected[f"{what}, USD"] = pd.Series(
        {n: f"{h * price(n):,.2f}" for n, h in hours.items()}
    )

# %% tags=["hide-input"]
caption = (
    f"Time of one machine, projected from {on_device}, at {core_price} USD an hour for a core"
    + f" and {gpu_price} for a GPU" * (device == "cuda")
)
frame_table(
    projected.fillna("-"),
    caption=f"{caption}; {plate:,}, {train_set:,} and {jump:,} fields",
    first="Features",
    fold=False,
)

# %% [markdown]
# ## Measured by `make bench`
#
# Each table names its date, machine and versions.

# %% tags=["hide-input"]
tables = {
    file.stem: file.read_text() for file in sorted(Path(results).glob("*.txt"))
}
folds = [
    f"<details><summary>{escape(name)}, {escape(text[:10])}</summary><pre>{escape(text)}</pre></details>"
    for name, text in tables.items()
]
Html(
    "".join(folds) or "<p>No results here yet: run <code>make bench</code>.</p>"
)

# %% [markdown]
# ## The paper's numbers beside this run's

# %% tags=["hide-input"]
kind = f"simulated fields, {'CPU' if device == 'cpu' else 'GPU'}"
alone, both = (
    Evidence(kind),
    Evidence(f"{kind}; beside {beside}, on this machine"),
)
if beside:
    note("faster-than-segmentation", totals[beside] / best, both)
    note("fifty-times-faster", totals[beside] / best, both)
    cheaper = totals[beside] * price(beside) / (best * price(first))
    note("fifty-times-cheaper", cheaper, both)
note("minutes-a-plate", plate * best / 60, alone)
note("merged-loads-faster", times, alone)
claims.show_claims(chapter="timing")

# %% [markdown]
# ## What this shows and what it does not
#
# It shows what each step costs on the machine that built this page, and how near the network runs
# to the machine's own limit. Ratios between rows carry over to other machines better than seconds.
#
# It does not repeat the paper's comparison: that had GPUs on one side, CellProfiler itself on the
# other, and real plates. The pipeline called CellProfiler-style here measures fewer features
# than CellProfiler does, with other code.
#
# **To take along.** Measure both sides on one machine, say what the machine could do at best, and give
# a ratio: seconds from two machines differ for reasons that have nothing to do with the method.
#
# ## Re-run it on your machine
#
# ```bash
# cpssl run timing -p fields=32 -p limit=120 -p core_price=0.05 -p pipeline=mine.cppipe
# python benchmarks/extract.py --fields 64
# ```
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run timing` with
#
# - `-p gpu_price=2 -p core_price=0.1`: your prices
# - `-p batch_sizes='[1, 64]'`: how much a batch brings

# %% tags=["hide-input"]
a_day = 24 * 3600 / (plate * totals.min())
ask(
    "How many plates a day would this machine do with the fastest of these features?",
    right=f"{a_day:.1f}, with {totals.idxmin()}.",
)

# %% tags=["hide-input"]
low, high = (n * 1.3 for n in (1, 12))
ask(
    "The paper's 1.3 minutes a plate may be the time of each of twelve machines or of all together. How many times as long does this machine take, for either reading?",
    right=f"{plate * best / 60 / low:,.0f} or {plate * best / 60 / high:,.0f} times.",
    why=f"{plate * best / 60:.0f} minutes here beside {low:.1f} or {high:.1f} minutes of one GPU machine.",
)

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
scratch.cleanup()
provenance.show()
