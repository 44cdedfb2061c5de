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
# CellProfiler, 1.3 minutes for a plate (twelve machines; of each or of all is not said), and more
# than 50 times cheaper. Training the network
# first takes about 300 GPU hours. Merging five channels into one file makes training six times
# faster {cite:p}`kim2025`.
#
# **How it was tested there.** 12 cloud machines with a GPU ran DINO, 12 with many CPU cores ran
# CellProfiler. The text does not name the machines or their prices.
#
# **What is done here.** Every way to make features runs on the same fields on this machine. The
# machine's own limits (matrix multiplication, reading) are measured in the same run, so that a
# number means something elsewhere. Fields are as large as real ones, put together from
# simulated ones; a third of their crops hold no cells. Weights are random: that takes as long.
#
# ```{admonition} After this chapter you can
# :class: tip
# - split the time of an extraction into reading, cutting and computing
# - compare a speed with what the machine could do at best
# - put a price on a screen
# ```

# %% tags=["parameters"]
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
import shutil
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
from cpssl_lite.book.evidence import Evidence
from cpssl_lite.book.figures import WIDTH, color, style, tag
from cpssl_lite.book.html import table as html_table
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.cells import measure_cells, measure_row, segment
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.images.zarrs import write_zarr
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import name_of, native_precisions
from cpssl_lite.models.roofline import (
    affordable,
    fastest,
    forward_flops,
    matmul_ceiling,
)
from cpssl_lite.models.transfer import load_transfer
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles.embed import crops_with_cells
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import write_profiles

style()
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
device = "cuda" if torch.cuda.is_available() else "cpu"
cores = torch.get_num_threads()
on_device = (
    torch.cuda.get_device_name(0)
    if device == "cuda"
    else f"{cores} CPU cores ({platform.machine()})"
)
channels = ("Mito", "AGP", "RNA", "ER", "DNA")
share = limit / 8  # seconds for one of the measurements
cut_short = []  # what was left out for want of time, in words


def finish():
    """Wait for a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work):
    """Seconds that a piece of work takes."""
    start = perf_counter()
    work()
    finish()
    return perf_counter() - start


# %% [markdown]
# ## What is timed

# %%
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

# %% [markdown]
# ## Seconds a field, and where they go
#
# Reading and cutting run in threads beside the network, so a field takes less than the sum of
# its parts. A table is written once a plate, which is left out of the time of a field.

# %%
rows = images.to_dict("records")
read = [read_field(row, channels) for row in rows]
reading = seconds(lambda: [read_field(row, channels) for row in rows])
totals, parts, timed, wholes, looks = {}, {}, {}, {}, {}


def crops_a_field(encoder):
    """Crops with cells in a field, on average."""
    found = [len(crops_with_cells(f, encoder.crop_size, 5)) for f in read]
    return np.mean(found)


def first_look(encoder):
    """Seconds a crop: the fastest of up to five batches of two."""
    two = torch.zeros(2, 5, encoder.crop_size, encoder.crop_size).to(device)
    with torch.inference_mode():
        look = fastest(lambda: (encoder(two), finish()), 5, share / 2)
    return look.seconds / 2


for name, encoder in encoders.items():
    clock = []  # the moments when the network begins (negative) and ends
    encoder.to(device).register_forward_pre_hook(
        lambda *_, c=clock: c.append(-perf_counter())
    )
    encoder.register_forward_hook(
        lambda *_, c=clock: (finish(), c.append(perf_counter()))[1]
    )
    cutting = seconds(
        lambda n=encoder.crop_size: [crops_with_cells(f, n, 5) for f in read]
    )
    looks[name] = first_look(encoder)
    one = looks[name] * crops_a_field(encoder)
    for precision in native_precisions(device):
        key, out = f"{name}, {precision}", folder / f"{len(totals)}.parquet"
        if one > limit:  # a single field is too much: the first look must do
            timed[key] = 0
            parts[key] = (reading / fields, cutting / fields, one, 0)
            totals[key] = sum(parts[key])
            continue
        # The other figures build on the first network: it gets more time.
        n = affordable(fields, one, share if timed else 2 * share)
        timed[key] = n
        clock.clear()
        whole = wholes[key] = seconds(
            lambda e=encoder, o=out, p=precision, n=n: extract(
                images[:n], e, o, precision=p
            )
        )
        wells = pd.read_parquet(out)
        writing = seconds(
            lambda w=wells: write_profiles(w, folder / "x.parquet", {})
        )
        parts[key] = (
            reading / fields,
            cutting / fields,
            sum(clock) / n,
            writing,
        )
        # A table is written for the plate, then for all plates
        totals[key] = max(whole - 2 * writing, sum(clock)) / n

# %% [markdown]
# The CellProfiler-style pipeline segments and measures every cell, a field on one core. Its time
# is divided by the number of cores here, as if they shared the fields perfectly.


# %%
def measure_crop():
    """A crop segmented and measured: code is compiled at its first call."""
    crop = crops_with_cells(read[0], 224, 5)[0].astype(np.float32) / 65535
    stains = dict(zip(channels, crop, strict=True))
    measure_cells(stains, *segment(stains))


if segmentation:
    measure_crop()
    one = seconds(measure_crop) * len(crops_with_cells(read[0], 224, 5))
    n = 0
    if one <= limit:
        one, n = seconds(lambda: measure_row(rows[0])), 1
        more = rows[1 : affordable(fields, one, share)]
        one += seconds(lambda: [measure_row(row) for row in more])
        n += len(more)
    timed["CellProfiler-style"] = n
    totals["CellProfiler-style"] = one / max(n, 1) / cores

# %% tags=["hide-input"]
single = []
for i, field in enumerate(read):
    single.append([str(folder / f"single_{i}_{c}.tiff") for c in channels])
    for path, plane in zip(single[-1], field.pixels, strict=True):
        tifffile.imwrite(path, plane, compression="lzw")
program = shutil.which("cellprofiler")
if program and pipeline:
    load_data = images[
        ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    ].copy()
    for i, c in enumerate(channels):
        load_data[f"PathName_Orig{c}"] = str(folder)
        load_data[f"FileName_Orig{c}"] = [
            Path(paths[i]).name for paths in single
        ]
    load_data.to_csv(folder / "load_data.csv", index=False)
    words = [
        program,
        "-c",
        "-r",
        "-p",
        pipeline,
        "-o",
        str(folder / "cellprofiler"),
    ]
    words += ["--data-file", str(folder / "load_data.csv")]
    took = seconds(
        lambda: subprocess.run(words, check=True, capture_output=True)
    )
    totals["CellProfiler"] = took / fields / cores


def span(value):
    """A time in words."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if value >= length:
            return f"{value / length:.1f} {unit}"
    return f"{value:.2f} s"


fewer = [n for n in timed.values() if n < fields]
fewer = (
    f"; of {fields} fields only those in column Fields were timed"
    + ", 0 is an estimate from a few crops" * (0 in fewer)
    + f", to stay within about {limit} s in all"
    if fewer
    else ""
)
no_bf16 = (
    ""
    if "bf16" in native_precisions(device)
    else f"; {name_of(device)} has no bf16"
)
missing = (
    "not installed" if not program else "give its pipeline: -p pipeline=FILE"
)
html_table(
    (
        "Method",
        "Fields",
        "Read",
        "Cut",
        "Network",
        "Write, a plate",
        "A field",
        "A plate",
    ),
    [
        (
            name,
            timed.get(name, fields),
            *(f"{1000 * part:.1f} ms" for part in parts.get(name, ())),
            *(["-"] * 4 if name not in parts else []),
            f"{total:.2f} s",
            span(3456 * total),
        )
        for name, total in totals.items()
    ]
    + (
        []
        if "CellProfiler" in totals
        else [("CellProfiler", *["-"] * 5, missing, "-")]
    ),
    caption=f"{on_device} (simulated pixels); a plate has 3,456 fields{no_bf16}{fewer}",
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-seconds", "caption": "Seconds for a field on this machine, from files to features, on a logarithmic scale (simulated pixels). CellProfiler-style is segmentation and measurement of every cell in Python with cp_measure, not CellProfiler itself."}, "image": {"alt": "Horizontal bars of seconds per field, one for each way to make features."}}
shown = pd.Series(totals)
figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.38 * len(shown)))
kind = [n.split(" (")[0].split(",")[0] for n in shown.index]
axis.barh(shown.index, shown, color=[color(k) for k in kind])
for i, value in enumerate(shown):
    text = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
    axis.annotate(f"{value:.2g} s", (value, i), **text)
limits = (shown.min() / 2, shown.max() * 3)
axis.set(xlabel="seconds a field", xscale="log", xlim=limits)
axis.invert_yaxis()
axis.grid(axis="y", visible=False)
tag(figure, "simulated")

# %% [markdown]
# ## How near to what the machine can do?
#
# A network's matrix products cost a known number of operations. Divided by the measured time, and
# beside a large matrix product measured in the same minute, this says how much a faster program
# could still gain on this machine.

# %%
first = f"DINO ({networks[0]})"
encoder = encoders[first]
crops = np.concatenate([crops_with_cells(f, 224, 5) for f in read])
one = looks[first]
crops = crops[: affordable(len(crops), one, share / 2)]
pixels = torch.from_numpy(crops).to(device)


def forward(batch, precision="fp32"):
    """The crops through the first network, in batches."""
    bf16 = torch.autocast(device, torch.bfloat16, precision == "bf16")
    with torch.inference_mode(), bf16:
        for start in range(0, len(pixels), batch):
            encoder(pixels[start : start + batch])
    finish()


work = len(crops) * forward_flops(encoder.network.shape, 224)
reached = {
    kind: work / fastest(lambda k=kind: forward(16, k), 2, share).seconds
    for kind in native_precisions(device)
}
kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
ceiling = {k: matmul_ceiling(device, kinds[k], share / 2) for k in reached}

# %% tags=["hide-input"]
files = [Path(row["FileName_Merged"]) for row in rows]
bytes_read = seconds(lambda: [file.read_bytes() for file in files])
megabytes = sum(file.stat().st_size for file in files) / 1e6
html_table(
    ("What", "Reached", "Ceiling", "Share"),
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
            f"{megabytes / reading:.0f} MB/s",
            f"{megabytes / bytes_read:.0f} MB/s",
            f"{bytes_read / reading:.0%}",
        )
    ],
    caption=f"{first} beside this machine's own ceilings; files come from memory",
)

# %% [markdown]
# Decoding bounds the reading of a file in memory; it happens while the network computes. What the
# network leaves of its ceiling goes into attention, activations and, in bf16, changes of type:
# `extract` under *Measured by make bench* lists the shares.

# %% [markdown]
# ## Scaling

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-scaling", "caption": "Scaling of the first network in fp32: seconds against the number of fields, crops per second against the batch size, and against the number of processes that share this machine's cores (simulated pixels)."}, "image": {"alt": "Three small line plots: seconds rise with the number of fields; crops per second against batch size and against processes."}}
rates = {}
for batch in sorted(batch_sizes):
    if batch * one > share and rates:
        cut_short.append(f"batches of {batch}")
        continue
    pixels = torch.zeros(batch, 5, 224, 224).to(device)
    rates[batch] = (
        batch / fastest(lambda b=batch: forward(b), 2, share / 4).seconds
    )
n = timed[f"{first}, fp32"]
by_number = {}
for number in sorted({1, n // 2} - {0, n}) if n else ():
    out = folder / f"n{number}.parquet"
    by_number[number] = seconds(
        lambda k=number, o=out: extract(images[:k], encoder, o)
    )
if n < 3:  # fewer points than there could be
    cut_short.append(f"fields beyond {n}")
if n:
    by_number[n] = wholes[f"{first}, fp32"]
program = """
import sys, torch
from cpssl_lite.models.vit import build_vit
network, x = build_vit(sys.argv[1]).eval(), torch.rand(4, 5, 224, 224)
print("ready", flush=True)
with torch.inference_mode():
    for threads in sys.stdin:
        torch.set_num_threads(int(threads))
        network(x)
        print("done", flush=True)
"""
words = [sys.executable, "-c", program, names[networks[0]]]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
if processes and 4 * one * max(processes) > share:
    cut_short.append("several processes")
    processes = []
team = [
    subprocess.Popen(words, **pipes) for _ in range(max(processes, default=0))
]
for process in team:
    process.stdout.readline()  # all are ready


def together(count):
    """So many processes embed four crops each, sharing the cores."""
    for process in team[:count]:
        process.stdin.write(f"{max(cores // count, 1)}\n")
        process.stdin.flush()
    for process in team[:count]:
        process.stdout.readline()


for count in sorted(processes):  # a first call is slow
    together(count)
shares = [
    count * 4 / seconds(lambda c=count: together(c)) for count in processes
]
for process in team:
    process.communicate()
if cut_short:
    left_out = ", ".join(cut_short)
    print(f"Left out, to stay within about {limit} s in all: {left_out}.")

figure, axes = plt.subplots(1, 3 if processes else 2, figsize=(WIDTH, 2.6))
axes[0].plot(
    list(by_number), list(by_number.values()), "o-", color=color("DINO")
)
axes[0].set(xlabel="fields", ylabel="seconds", xticks=list(by_number))
axes[1].plot(range(len(rates)), rates.values(), "o-", color=color("DINO"))
axes[1].set(xlabel="batch size", ylabel="crops per second")
axes[1].set_xticks(range(len(rates)), rates)
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
# The paper compares *training time*: from five TIFFs that are scaled at every reading, and from merged
# ones that were scaled and thresholded once. Here only loading is timed, on one thread: five
# LZW-compressed TIFFs (as the CPJUMP1 examples of the Gallery are), one merged TIFF, a Zarr array.
# Cold: the system was told to forget the files first; a virtual machine's host may still know them.

# %%
for i, field in enumerate(read):
    write_zarr(folder / f"{i}.zarr", field.pixels, field.otsu)
zarrs = [folder / f"{i}.zarr" for i in range(fields)]
raw_rows = [
    {f"FileName_{c}": p for c, p in zip(channels, ps, strict=True)}
    for ps in single
]
five = [path for paths in single for path in paths]
merged = "merged TIFF (zstd)"
formats = {
    "five TIFFs, scaled and thresholded": (
        five,
        lambda: [read_field(row, channels) for row in raw_rows],
    ),
    "five TIFFs, decoded only": (
        five,
        lambda: [tifffile.imread(p) for p in five],
    ),
    merged: (files, lambda: [read_merged(file) for file in files]),
    "Zarr (zstd)": (
        [file for zarr in zarrs for file in zarr.rglob("*") if file.is_file()],
        lambda: [read_merged(zarr) for zarr in zarrs],
    ),
}


# %% tags=["hide-input"]
def forget(paths):
    """Ask the operating system to drop files from its memory."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


timings = {n: fastest(load, 3, share / 4) for n, (_, load) in formats.items()}
warm = {name: timing.seconds for name, timing in timings.items()}
once = [name for name, timing in timings.items() if timing.bounded]
cold = {}
if hasattr(os, "posix_fadvise"):
    for name, (paths, load) in formats.items():
        cold[name] = min(
            (forget(paths), seconds(load))[1]
            for _ in range(affordable(2, warm[name], share / 4))
        )
html_table(
    ("Format", "MB", "Warm", "Beside merged", "Cold", "Beside merged, cold"),
    [
        (
            name,
            f"{sum(os.path.getsize(path) for path in paths) / fields / 1e6:.1f}",
            f"{1000 * warm[name] / fields:.1f} ms",
            f"{warm[name] / warm[merged]:.1f}x",
            f"{1000 * cold[name] / fields:.1f} ms" if cold else "-",
            f"{cold[name] / cold[merged]:.1f}x" if cold else "-",
        )
        for name, (paths, _) in formats.items()
    ],
    caption="Loading a field (simulated pixels); the paper's training became 6 times faster"
    + (
        f"; not the best of 3, for want of time: {', '.join(once)}"
        if once
        else ""
    ),
)

# %% [markdown]
# ## A plate, the paper's training set, all of JUMP-CP: time and cost
#
# Seconds a field times the number of fields; for JUMP-CP that is plates times wells times sites.
# The paper's rows follow from its text (1.3 minutes a plate, 50 times faster), read as the time of one
# of its twelve machines; if it is that of all, one takes twelve times as long. It gives no price
# but says that a plate cost over 50 times less: then its GPU machines cost no more an hour than
# its CPU machines. Prices are parameters; put in those of your provider.

# %% tags=["hide-input"]
plate, train_set, jump = 384 * 9, 564_272, load_manifest("jump_all")["n_fields"]
paper = {
    "DINO, the paper": 1.3 * 60 / plate,
    "CellProfiler, the paper": 65 * 60 / plate,
}


# CellProfiler itself where it was run, and a pipeline in its style.
MEASURED = ("CellProfiler", "CellProfiler-style")


def price(name):
    """USD an hour."""
    on_gpu = device == "cuda" and name not in MEASURED
    return gpu_price if on_gpu else core_price * cores


def usd(name, n):
    """What so many fields cost; the paper does not say."""
    return (
        "-"
        if name in paper
        else f"{n * totals[name] / 3600 * price(name):,.2f}"
    )


html_table(
    (
        "Features",
        "A plate",
        "Training set",
        "JUMP-CP",
        "USD a plate",
        "USD JUMP-CP",
    ),
    [
        (
            name,
            *(span(n * s) for n in (plate, train_set, jump)),
            usd(name, plate),
            usd(name, jump),
        )
        for name, s in {**paper, **totals}.items()
    ],
    caption=f"Projected from {on_device}, at {core_price} USD an hour for a core"
    + (f" and {gpu_price} for a GPU" if device == "cuda" else "")
    + f"; {plate:,}, {train_set:,} and {jump:,} fields",
)

# %% [markdown]
# ## Measured by `make bench`
#
# Each table names its date, machine and versions.

# %% tags=["hide-input"]
tables = {
    file.stem: file.read_text() for file in sorted(Path(results).glob("*.txt"))
}
HTML(
    "".join(
        f"<details><summary>{escape(name)}, {escape(text[:10])}</summary>"
        f"<pre>{escape(text)}</pre></details>"
        for name, text in tables.items()
    )
    or "<p>No results here yet: run <code>make bench</code>.</p>"
)

# %% [markdown]
# ## The paper's numbers beside this run's

# %% tags=["hide-input"]
beside = next((name for name in MEASURED if name in totals), "")
kind = f"simulated fields, {'CPU' if device == 'cpu' else 'GPU'}"
timed_alone = Evidence(kind)
kind = Evidence(f"{kind}; beside {beside}, on this machine")
best = min(s for name, s in totals.items() if name.startswith(first))
slow = totals.get(beside)
if slow:
    display(claims.record("faster-than-segmentation", slow / best, kind))
    display(claims.record("fifty-times-faster", slow / best, kind))
    cheaper = slow * price("CellProfiler") / (best * price(first))
    display(claims.record("fifty-times-cheaper", cheaper, kind))
display(claims.record("minutes-a-plate", plate * best / 60, timed_alone))
loading = warm["five TIFFs, scaled and thresholded"] / warm[merged]
display(claims.record("merged-loads-faster", loading, timed_alone))
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
# ## Re-run it on your machine
#
# ```bash
# cpssl run timing -p fields=32 -p core_price=0.05 -p pipeline=mine.cppipe
# python benchmarks/extract.py --fields 64
# ```
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run timing` with
#
# - `-p gpu_price=2 -p core_price=0.1`: your prices
# - `-p batch_sizes='[1, 64]'`: how much a batch brings
#
# 1. How many plates a day would this machine do with the fastest of these features?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
fastest = min(totals, key=totals.get)
print(fastest, f"{24 * 3600 / (plate * totals[fastest]):.1f} plates a day")

# %% [markdown]
# 2. Why is a ratio measured side by side worth more than two numbers of seconds?
#
# ```{admonition} Solution
# :class: dropdown
# Both sides then have the same machine, the same load and the same libraries. Seconds from two
# machines, or two days, differ for reasons that have nothing to do with the method.
# ```
#
# ## How this page was made

# %% tags=["hide-input"]
scratch.cleanup()
provenance.show()
