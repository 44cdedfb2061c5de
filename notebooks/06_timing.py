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
limit = 10  # seconds for all measurements, about; slow machines measure less
size = 1080  # their side in pixels
networks = ["ViT-S/16", "ViT-B/16"]  # architectures to time
transfer = "stand-in"  # ImageNet network: stand-in, ViT-S/16, ViT-B/16, or ""
segmentation = True  # time the CellProfiler-style pipeline, too
pipeline = ""  # .cppipe file: CellProfiler itself is timed here, too
batch_sizes = [2, 4, 8, 16]  # crops a batch, for the scaling figure
processes = [1, 2]  # workers for the scaling figure; [] leaves it out
gpu_price = 0.53  # USD an hour for a machine with one GPU: put in yours
core_price = 0.0425  # USD an hour for a CPU core: put in yours
machines = 12  # of each kind in the paper
results = "benchmarks/results"  # tables of `make bench`

# %% tags=["hide-input", "alone"]
import platform
import tempfile
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.chapter import ask, frame_table, headline, note, say
from cpssl_lite.book.chapter import show
from cpssl_lite.book.evidence import Evidence
from cpssl_lite.book.figures import WIDTH, color, style
from cpssl_lite.book.html import Html
from cpssl_lite.book.plots import log_axis
from cpssl_lite.book.timings import kept_timing, quoted
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import native_precisions
from cpssl_lite.models.transfer import load_transfer
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles import timing

style()
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
device = "cuda" if torch.cuda.is_available() else "cpu"
cores = torch.get_num_threads()
on_device = f"{cores} CPU core{'s' * (cores > 1)} ({platform.machine()})"
on_device = torch.cuda.get_device_name(0) if device == "cuda" else on_device
share = limit / 8  # seconds for one of the measurements
images = mosaics(folder, fields, size, empty=1 / 3)
shapes = {"ViT-S/16": "vit_small_patch16", "ViT-B/16": "vit_base_patch16"}
encoders = {
    f"DINO ({n})": Encoder(build_vit(shapes[n]).eval(), {}) for n in networks
}
if transfer:
    encoders["Transfer"] = load_transfer(transfer)


def span(value):
    """A time in words."""
    for unit, length in (
        ("years", 31_557_600),
        ("days", 86400),
        ("h", 3600),
        ("min", 60),
    ):
        if value >= length:
            return f"{value / length:.1f} {unit}"
    return f"{value:.2f} s" if value >= 0.1 else f"{1000 * value:.1f} ms"


# %%
first, costs = f"DINO ({networks[0]})", {}
for name, encoder in encoders.items():
    # The other figures build on the first network: it gets more time.
    within = share if costs else 2 * share
    made = timing.time_extraction(images, encoder, folder, within, device)
    costs |= {f"{name}, {precision}": cost for precision, cost in made.items()}
measured = {}  # on segmented cells: one core's time over the number of cores
if segmentation:
    measured["CellProfiler-style"] = timing.time_style(images, share)
if pipeline:
    took = timing.time_cellprofiler(images, pipeline, folder)
    measured["CellProfiler"] = took
measured = {
    n: cost._replace(total=cost.total / cores) for n, cost in measured.items()
}
costs = pd.DataFrame(costs | measured, index=timing.Cost._fields).T
totals = costs["total"]
best = totals[totals.index.str.startswith(first)].min()
kept = kept_timing()
itself, *_, learned = kept.seconds

# %% tags=["hide-input"]
headline(
    f"On real fields {itself} took {kept.ratio.median():.0f} times the processor time of {learned} ({kept.ratio.min():.0f} to {kept.ratio.max():.0f}, {len(kept.ratio)} fields). Here, on {on_device}, {first} needs {span(best)} for a field of five channels and {span(3456 * best)} for a plate."
)

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(WIDTH, 2.9))
for (name, took), shape in zip(kept.seconds.items(), "o^s", strict=True):
    kind = "DINO" if name == learned else name.split(" ")[0]
    axis.plot(kept.nuclei, took, shape, color=color(kind), label=name)
axis.set(
    xlabel="nuclei in the field (CellProfiler's count)",
    ylabel="CPU seconds a field",
    yscale="log",
)
axis.yaxis.set_major_formatter("{x:g}")
axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
middle, start_up = kept.seconds.median(), kept.about["start"]
caption = f"Processor time of the same {len(kept.ratio)} {kept.about['fields']}, one core, in one run: {', '.join(f'{name} {value:.1f} s' for name, value in middle.items())} (medians). Kept from {kept.about['date']}, {kept.about['machine']}; each start of CellProfiler costs {start_up[itself]:.0f} s more. Equal hardware for both: the paper's factor of 50 is of GPU machines beside CPU machines."
alt = "CPU seconds a field on a logarithmic scale against the number of nuclei, for CellProfiler, its style and a ViT-S."
show(figure, "fig-cellprofiler", kept.data, caption=caption, alt=alt)

# %% tags=["hide-input"]
modules = kept.modules[kept.modules >= 0.05].to_frame("seconds")
modules["share"] = [f"{x:.0%}" for x in modules["seconds"] / kept.modules.sum()]
frame_table(
    modules,
    {"seconds": "CPU s a field", "share": "Share"},
    f"{itself} by module, mean of {len(kept.ratio)} fields",
    first="Module",
    form=".1f",
)

# %% tags=["hide-input"]
groups = pd.DataFrame(kept.about["agreement"]["groups"]).T
frame_table(
    groups.astype({"features": int}),
    {"features": "Features", "cells": "r, cells", "fields": "r, fields"},
    "The same cells by CellProfiler and in its style: median correlation of a feature that both have, over cells and over the means of fields",
    first="Group",
    form=".2f",
)

# %% tags=["hide-input"]
say(kept.likeness())

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
# **What is done here.** CellProfiler needs an installation of its own (`make cellprofiler`), so its time is
# kept from one run of `benchmarks/cellprofiler.py` on real fields; its style and the network were timed
# on the same core in the same run. Everything below is measured on this machine while the page is made,
# on fields as large as real ones that are put together from simulated ones. Weights are random: that
# takes as long.
#
# ```{admonition} After this chapter you can
# :class: tip
# - split the time of an extraction into reading, cutting and computing
# - compare a speed with what the machine could do at best
# - put a price on a screen
# ```
#
# ## This machine

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(WIDTH, max(2.6, 0.9 + 0.3 * len(totals))))
kinds = [name.split(" (")[0].split(",")[0] for name in totals.index]
bars = axis.barh(totals.index, totals, color=[color(kind) for kind in kinds])
axis.bar_label(bars, totals.map(span), padding=4)
axis.set(xlabel="seconds a field")
log_axis(axis, totals, room=0.2)
axis.invert_yaxis()
axis.grid(axis="y", visible=False)
timed = sorted(set(costs["fields"].astype(int)))
caption = f"Seconds for a field of {size} px on {on_device}, from files to features, on a logarithmic scale (simulated pixels)."
if timed[0] < fields:
    number = " to ".join(map(str, dict.fromkeys((timed[0], timed[-1]))))
    caption += f" To stay within about {limit} s in all, of {fields} fields only {number} were timed."
if segmentation:
    caption += " CellProfiler-style is segmentation and measurement of every cell in Python, not CellProfiler itself."
if "bf16" not in native_precisions(device):
    caption += " This processor has no bf16."
alt = "Horizontal bars of seconds per field, one for each way to make features."
show(figure, "fig-seconds", "simulated", caption=caption, alt=alt)

# %% tags=["hide-input"]
parts = ["read", "cut", "network", "write", "cpu"]
shown = (1000 * costs[parts]).map(
    lambda ms: f"{ms:.0f} ms" if ms == ms else "-"
)
shown.columns = ["Read", "Cut", "Network", "Write, a plate", "CPU, a field"]
shown["A field"], shown["A plate"] = totals.map(span), (3456 * totals).map(span)
shown["Fields timed"] = costs["fields"].astype(int)
caption = "Where the seconds of a field go; 0 fields: an estimate from a few crops. A plate has 3,456 fields"
frame_table(shown, caption=caption, first="Method")

# %% tags=["hide-input"]
parts = costs.loc[f"{first}, fp32", parts[:3]].astype(float)
parts.index = ["reading the file", "finding and cutting crops", "the network"]
why = ", ".join(f"{part} {1000 * took:.0f} ms" for part, took in parts.items())
ask(
    f"Where does the time of a field in {networks[0]} go on this machine?",
    list(parts.index),
    parts.idxmax(),
    f"A field: {why}. They run side by side.",
)

# %% [markdown] tags=["more"]
# ## How near to what the machine can do?
#
# How much could a faster program still gain on this machine?
#
# A network's matrix products cost a known number of operations. Divided by the measured time, that number
# stands beside the one of a large matrix product measured in the same minute.

# %%
from cpssl_lite.models.roofline import affordable, fastest, forward_flops
from cpssl_lite.models.roofline import matmul_ceiling, operations

encoder, one = encoders[first], costs.loc[f"{first}, fp32", "crop"]
crops = torch.rand(affordable(16, one, share / 2), 5, 224, 224).to(device)
work = len(crops) * forward_flops(encoder.network.shape, 224)
kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}


@torch.inference_mode()
def forward(batch=crops, precision="fp32"):
    """Crops through the first network."""
    with torch.autocast(device, torch.bfloat16, precision == "bf16"):
        return encoder(batch)


def quickest(work, repeats, limit):
    """Seconds of the fastest of several runs, a GPU's share included."""
    return fastest(lambda: timing.seconds(work, device), repeats, limit).seconds


roof = {}
for kind in native_precisions(device):
    took = quickest(lambda k=kind: forward(precision=k), 3, share)
    most = matmul_ceiling(device, kinds[kind], share / 2)
    roof[f"network, {kind}, GFLOP/s"] = work / took / 1e9, most / 1e9

# %%
loading = timing.time_loading(images, folder, share / 4)
scaled, merged = loading.index[0], loading.index[2]
files = [Path(file) for file in images["FileName_Merged"]]
megabytes = sum(file.stat().st_size for file in files) / 1e6
from_memory = timing.seconds(lambda: [file.read_bytes() for file in files])
rate = 1000 * megabytes / fields / loading.loc[merged, "warm"]
roof["reading, decoded, MB/s"] = rate, megabytes / from_memory
roof = pd.DataFrame(roof, index=["Reached", "Ceiling"]).T
roof["Share"] = [f"{part:.0%}" for part in roof["Reached"] / roof["Ceiling"]]
frame_table(
    roof,
    caption=f"{first} beside this machine's own ceilings; files come from memory",
    first="What",
    form=",.0f",
    fold=False,
)

# %% [markdown]
# Decoding bounds the reading of a file in memory; it happens while the network computes. Where does
# the rest of the network's time go?

# %%
spent = pd.Series(operations(forward, device))
parts = spent / spent.sum()
shown = parts.head(6).map("{:.0%}".format).to_frame("Share")
frame_table(
    shown,
    caption=f"The time of {first}, fp32, by torch's operation, in a batch of {len(crops)}",
    first="Operation",
    fold=False,
)


# %% tags=["hide-input"]
products = parts[parts.index.isin(["addmm", "mm", "bmm"])].sum()
say(
    f"Matrix products are {products:.0%} of it: without anything else the network would be at most {1 / products:.2f} times as fast. The crops without cells, which never reach it, save more: extract, under Measured by make bench, is beside a plain loop that embeds them all."
)

# %% tags=["hide-input"]
line = quoted(results, "int8", "int8 by")
say(line) if line else None

# %% [markdown] tags=["more"]
# ## Scaling
#
# A network sees crops in batches, and several workers may share the cores. Do larger batches or more
# workers give more crops a second?

# %%
rates = {}  # crops a second, by crops in a batch
for batch in sorted(batch_sizes):
    if not rates or batch * one <= share:
        pixels = torch.zeros(batch, 5, 224, 224).to(device)
        took = quickest(lambda p=pixels: forward(p), 2, share / 4)
        rates[batch] = batch / took
affords = bool(4 * one * cores <= share)
shared = timing.crops_a_second(encoder, crops[:4], processes * affords)

# %% tags=["hide-input"]
panels = [(rates, "crops in a batch"), (shared.to_dict(), "workers")]
panels = [panel for panel in panels if panel[0]]
figure, axes = plt.subplots(
    1, len(panels), figsize=(WIDTH, 2.4), squeeze=False, sharey=True
)
for axis, (values, label) in zip(axes.flat, panels, strict=True):
    axis.plot(range(len(values)), values.values(), "o-", color=color("DINO"))
    axis.set_xticks(range(len(values)), values)
    axis.set(xlabel=label)
    axis.margins(0.1)
axes[0, 0].set_ylim(bottom=0)
axes[0, 0].set_ylabel("crops per second")
gain = max(rates.values()) / rates[min(rates)] - 1
caption = f"Crops per second of {first} in fp32 on {on_device}, against the size of a batch"
caption += f" (the best is {gain:.0%} above the smallest)" * (len(rates) > 1)
caption += (
    " and against the number of workers that share the cores."
    if len(shared)
    else "."
)
cut_short = ", ".join(str(b) for b in batch_sizes if b not in rates)
cut_short = [f"batches of {cut_short}"] * bool(cut_short)
cut_short += ["several workers"] * (not affords)
if cut_short:
    caption += f" Left out, to stay within about {limit} s in all: {' and '.join(cut_short)}."
alt = (
    "Small line plots: crops per second against batch size and against workers."
)
show(figure, "fig-scaling", "simulated", caption=caption, alt=alt)

# %% tags=["hide-input"]
slope, base = kept.by_nuclei()
say(
    f"A network's time follows the crops that hold cells, however many. CellProfiler measures each cell: in the kept run a field cost it about {base:.0f} s and {slope:.2f} s more for each nucleus, from {kept.nuclei.min()} to {kept.nuclei.max()} of them."
)

# %% [markdown] tags=["more"]
# ## One merged file or five?
#
# The paper compares *training time*; here only loading is timed, on one thread.
#
# Five LZW-compressed TIFFs (as the CPJUMP1 examples of the Gallery are) are read, scaled and thresholded
# anew each time; one merged TIFF and a Zarr array hold what was scaled once.

# %% tags=["hide-input"]
shown = loading.assign(
    more=loading["warm"] / loading.loc[merged, "warm"],
    more_cold=loading["cold"] / loading.loc[merged, "cold"],
)
once = list(loading.index[loading["once"]])
caption = "Loading a field (simulated pixels). Cold: the system was told to forget the files; a virtual machine's host may still know them"
if once:
    caption += f". Not the best of 3, for want of time: {', '.join(once)}"
said = {"mb": "MB", "warm": "Warm, ms", "more": "times merged"}
said |= {"cold": "Cold, ms", "more_cold": "times merged "}
frame_table(shown, said, caption, first="Format", form=".1f", fold=False)

# %% tags=["hide-input"]
times = float(loading.loc[scaled, "warm"] / loading.loc[merged, "warm"])
options = ("up to twice", "two to four times", "more than four times")
ask(
    "How many times as long does it take to load a field from five raw TIFFs as from one merged one?",
    options,
    options[int(times > 2) + int(times > 4)],
    f"{times:.1f} times, from memory; the paper's whole training became 6 times faster.",
)

# %% [markdown]
# ## What a plate takes and costs
#
# Seconds a field times the number of fields: of a plate, of the paper's training set, of all of JUMP-CP.
# The paper's rows follow from its text (1.3 minutes a plate, 50 times faster), once for each way to
# read it. Prices are parameters; put in those of your provider.

# %%
plate, train_set, jump = 384 * 9, 564_272, load_manifest("jump_all")["n_fields"]
itself_here, network_here = f"{itself}, one core", f"{learned}, one core"
a_field = {}
for reading, n in (
    (f"each of {machines}", 1),
    (f"{machines} together", machines),
):
    a_field[f"DINO, the paper ({reading})"] = n * 1.3 * 60 / plate
    a_field[f"CellProfiler, the paper ({reading})"] = n * 50 * 1.3 * 60 / plate
# Of each network the faster precision.
by_network = totals.index.str.rsplit(", ", n=1).str[0]
faster = totals[totals.groupby(by_network, sort=False).idxmin()]
a_field |= {
    itself_here: middle[itself],
    network_here: middle[learned],
    **faster,
}
a_field = pd.Series(a_field)
sets = {"A plate": plate, "Training set": train_set, "JUMP-CP": jump}
projected = pd.DataFrame({what: n * a_field for what, n in sets.items()})


# %% tags=["hide-input"]
def price(name):
    """USD an hour; what measures cells does not use a GPU."""
    if name in (itself_here, network_here):
        return core_price
    on_gpu = device == "cuda" and name not in measured
    return gpu_price if on_gpu else core_price * cores


ours = [name for name in projected.index if "the paper" not in name]
shown = projected.map(span)
for what in ("A plate", "JUMP-CP"):
    shown[f"{what}, USD"] = pd.Series(
        {n: f"{projected.loc[n, what] / 3600 * price(n):,.2f}" for n in ours}
    )
caption = f"Time and price: {core_price} USD an hour for a core"
caption += f" and {gpu_price} for a GPU" * (device == "cuda")
caption += f"; {plate:,}, {train_set:,} and {jump:,} fields. One core: the kept run on real fields; below it this machine, {on_device}, of each network the faster precision"
frame_table(shown.fillna("-"), caption=caption, first="Features", fold=False)

# %% tags=["hide-input"]
each, together = (
    middle[itself] / a_field[f"CellProfiler, the paper ({reading})"]
    for reading in (f"each of {machines}", f"{machines} together")
)
ask(
    f"How many cores would each of the paper's {machines} CPU machines have had, if its CellProfiler cost as much a field as the one kept here?",
    right=f"{each:.0f} cores if 65 minutes were the time of each machine for a plate, {together:.0f} if all {machines} shared one.",
    why=f"{middle[itself]:.0f} CPU seconds a field. Cloud machines of both sizes exist, so this does not settle how to read 1.3 minutes.",
)

# %% [markdown] tags=["more"]
# ## Measured by `make bench`
#
# Each table names its date, machine and versions.
#
# On a machine with a GPU `python benchmarks/extract.py` also times a whole plate (3,456 fields; `--architecture vit_base_patch16` for ViT-B).

# %% tags=["hide-input"]
tables = {
    file.stem: file.read_text() for file in sorted(Path(results).glob("*.txt"))
}
folds = [
    f"<details><summary>{escape(name)}, {escape(text[:10])}</summary><pre>{escape(text)}</pre></details>"
    for name, text in tables.items()
]
plates = [n for n, text in tables.items() if "plate of" in text]
here = (
    f"A plate on a GPU: {', '.join(plates)}."
    if plates
    else "No table here is of a plate on a GPU: none was at hand."
)
Html(f"<p>{escape(here)}</p>{''.join(folds)}")

# %% [markdown]
# ## The paper's numbers beside this run's

# %%
kind = f"simulated fields, {'CPU' if device == 'cpu' else 'GPU'}"
span_of_fields = f"{kept.ratio.min():.0f} to {kept.ratio.max():.0f} times"
equal = Evidence(
    f"{len(kept.ratio)} {kept.about['fields']}, {itself} and {learned} "
    f"on one and the same core ({span_of_fields}), "
    f"kept from {kept.about['date']}"
)
note("fifty-times-faster", kept.ratio.median(), equal)
cheaper = kept.ratio.median()
if device == "cuda":
    cheaper = middle[itself] * core_price / (best * gpu_price)
note("fifty-times-cheaper", cheaper, equal)
if measured:
    beside = next(reversed(measured))
    slower = totals[beside] / best
    here = Evidence(f"{kind}; beside {beside}, on this machine")
    note("faster-than-segmentation", slower, here)
note("minutes-a-plate", plate * best / 60, Evidence(kind))
note("merged-loads-faster", times, Evidence(kind))
claims.show_claims(chapter="timing")

# %% [markdown]
# ## What this shows and what it does not
#
# It shows what CellProfiler and a network cost on equal hardware, what each step costs on the machine
# that built this page, and how near the network runs to the machine's own limit. Ratios between rows
# carry over to other machines better than seconds.
#
# It does not repeat the paper's comparison, which had GPUs on one side and CPU machines on the other,
# whole plates, and a CellProfiler pipeline that the text does not give. A GPU comes on top of what equal
# hardware shows; what it costs an hour takes some of that back.
#
# **Takeaway.** Measure both sides on one machine, say what the machine could do at best, and give
# a ratio: seconds from two machines differ for reasons that have nothing to do with the method.
#
# ## Re-run it on your machine
#
# ```bash
# cpssl run timing -p fields=32 -p limit=120 -p core_price=0.05 -p pipeline=mine.cppipe
# python benchmarks/extract.py --fields 64
# python benchmarks/cellprofiler.py --pipeline mine.cppipe --images load_data.csv
# ```
#
# ## Exercises
#
# 1. How many plates a day would this machine do with the fastest of these features? With batches of
#    another size (`-p batch_sizes='[1, 64]'`)?

# %% tags=["solution"]
a_day = 24 * 3600 / (plate * totals.min())
print(f"{a_day:.1f} plates a day with {totals.idxmin()}")

# %% [markdown]
# 2. What would a plate cost at twice the price of an hour? Put in yours: `-p gpu_price=2 -p core_price=0.1`.

# %% tags=["solution"]
for name in faster.index:
    cost = plate * totals[name] / 3600 * price(name)
    print(f"{name}: {cost:.2f} USD here, {2 * cost:.2f} at twice the price")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
scratch.cleanup()
provenance.show()
