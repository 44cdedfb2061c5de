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
# # The data: a simulated screen beside real cells
#
# **The paper's claim** (Methods). The networks learn from 564,272 Cell Painting images of 10,057
# compounds, taken by four laboratories of the JUMP consortium, and are tested on plates that they have
# not seen: the same laboratories' plates of 306 compounds with known {term}`targets <target>`, and
# overexpressed genes of another laboratory {cite:p}`kim2025`.
#
# **How the data are built.** {term}`Fields of view <field of view>` with five {term}`channels <channel>`,
# several per {term}`well`, 384 wells a {term}`plate`, plates in {term}`batches <batch>`, batches from
# several {term}`sources <source>` {cite:p}`chandrasekaran2023`. One plate is about 40 GB.
#
# **What is done here.** So that every chapter runs on a laptop, this book draws a small screen of the
# same build, called `lite`. This page shows what is in it, puts it beside real cells, and says what it
# cannot tell. At the end the paper's counts are derived again from the consortium's public tables.
#
# ```{admonition} After this chapter you can
# :class: tip
# - say what a field, a well, a plate, a batch and a source are
# - name three things besides the treatment that change a picture of cells
# - say which parts of a field a network is shown
# ```

# %% tags=["parameters"]
screen = "lite"  # simulated screen: lite, lite-train or tiny
seed = 0  # of the simulation and of the examples shown
real_images = "data/cpjump1_examples"  # CPJUMP1 example images, if there

# %% tags=["hide-input"]
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml
from IPython.display import Markdown

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.evidence import METADATA_TABLES
from cpssl_lite.book.figures import WIDTH, composite, show_image, style, tag
from cpssl_lite.book.html import markdown, table
from cpssl_lite.data.fetch import index_of, locate
from cpssl_lite.data.manifests import FOLDER, list_manifests, load_manifest
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import foreground_share, grid, select
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import Field, read_merged, read_plane

style()
folder = Path("data") / screen
images = read_image_table(simulate(screen, folder, seed=seed))
truth = pd.read_parquet(folder / "truth.parquet")
card = yaml.safe_load((folder / "dataset.yaml").read_text())

# %% [markdown]
# ## One field, five channels
#
# Each channel shows other parts of the cell. In both rows the intensities are clipped at the 0.01st
# and the 99.9th percentile of each channel and scaled to 0..1, as the paper does before it stores
# the five channels as one file.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-five-channels", "caption": "An untreated field in its five channels and as a composite (Mito red, AGP orange, RNA green, ER teal, DNA blue). Upper row simulated; the lower row, where it is there, is a real U2OS field of CPJUMP1 (CC0). Both 256 px wide at the same scale."}, "image": {"alt": "Rows of six grey and coloured pictures of cells: mitochondria, actin and Golgi, RNA, endoplasmic reticulum, DNA and their composite, simulated above and real below."}}
SIZE = 256  # px shown, at the scale of the images: both rows show the same area


def example_of(rows):
    """The field with most cells in view among the first controls."""
    fields = [read_merged(file) for file in rows["FileName_Merged"].head(12)]
    return max(
        fields,
        key=lambda f: (f.pixels[CHANNELS.index("DNA")] / 65535 > f.otsu).mean(),
    )


def real_field(folder):
    """An untreated CPJUMP1 field, scaled like ours; None without the images."""
    index = locate(index_of(load_manifest("cpjump1_examples")), folder)
    if index is None:
        return None
    control = index[index["Metadata_Control"] == "negcon"]
    files = control.drop_duplicates("Channel").set_index("Channel")["path"]
    planes = [read_plane(files[name]) for name in CHANNELS]
    pixels = to_uint16(scale_intensities(np.stack(planes)))
    return Field(pixels[:, 400 : 400 + SIZE, 400 : 400 + SIZE], None, CHANNELS)


controls = images[images["Metadata_Control"] == "negcon"]
rows = {"simulated": example_of(controls)}
if (field := real_field(real_images)) is not None:
    rows["real (CPJUMP1)"] = field

figure, axes = plt.subplots(
    len(rows), 6, figsize=(WIDTH, 1.15 * len(rows) + 0.5), squeeze=False
)
for line, (name, field) in zip(axes, rows.items(), strict=True):
    for axis, channel, plane in zip(line, CHANNELS, field.pixels, strict=False):
        show_image(axis, plane, channel if name == "simulated" else "")
    show_image(
        line[-1],
        composite(field, CHANNELS),
        "composite" if name == "simulated" else "",
    )
    line[0].set_ylabel(name, fontsize=8)
both = "simulated (upper row), real: CPJUMP1 (lower row)"
tag(figure, "simulated" if len(rows) == 1 else both)

# %% tags=["hide-input"]
if len(rows) == 1:
    display(
        Markdown(
            "*Real cells are shown here when the CPJUMP1 example images are in "
            f"{markdown(real_images)} (public, CC0, 79 MB): `cpssl data fetch cpjump1_examples`.*"
        )
    )

# %% [markdown]
# The simulator draws nuclei, nucleoli, endoplasmic reticulum, RNA, actin and Golgi, and
# mitochondria from about two dozen parameters per cell, then passes them through optics that
# differ between sources. It has no biology in it: no cell cycle beyond a few round cells, no
# response that was not written down as a change of those parameters.
#
# ## What a perturbation does
#
# Every {term}`target` is a direction in the space of parameters; its two compounds share it, each
# with a little of its own. The strength is graded from nothing to plain to see. The number of cells
# is an axis of its own: a few targets lower it, some of them without changing anything else.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-phenotypes", "caption": "Simulated fields: a control and one compound of each of the five targets with the strongest effect (composite; Mito red, AGP orange, RNA green, ER teal, DNA blue)."}, "image": {"alt": "Six coloured pictures of simulated cells: an untreated field and five with strong treatments that change nuclei, cell number or stains."}}
doses = truth[truth["Metadata_Control"] != "negcon"].drop_duplicates(
    "Metadata_Perturbation"
)
doses = doses.sort_values("strength", ascending=False)
strongest = doses.drop_duplicates("Metadata_Target").head(5)
shown = {"DMSO (control)": controls["FileName_Merged"].iloc[0]}
for _, row in strongest.iterrows():
    file = images.loc[
        images["Metadata_Perturbation"] == row["Metadata_Perturbation"]
    ]
    mechanism = row.get("Metadata_Mechanism", "")
    shown[f"{row['Metadata_Target']} {mechanism}"] = file[
        "FileName_Merged"
    ].iloc[0]

figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 5.4))
for axis, (name, file) in zip(axes.flat, shown.items(), strict=False):
    show_image(axis, composite(read_merged(file)), name)
    axis.title.set_fontsize(8)
tag(figure)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-strength", "caption": "The truth that only a simulation has: effect strength of every compound, two per target, sorted. Compounds at zero do nothing."}, "image": {"alt": "Dots in descending order: strengths of the compounds from strong to zero."}}
figure, axis = plt.subplots(figsize=(WIDTH, 2.6))
axis.plot(
    np.arange(len(doses)), doses["strength"], "o", markersize=4, color="#0072B2"
)
axis.set(xlabel="compound, strongest first", ylabel="strength")
tag(figure)

# %% [markdown]
# ## What else varies: plates, batches, sources
#
# The same treatment does not give the same picture twice. Wells differ by chance and by their
# place on the plate, batches in staining and cell density, sources in their microscope. Real
# screens have all of this, and it is what the {term}`not-same-batch <NN, NSB, NSP, NSBP>` rules
# of the next chapter guard against.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-batches", "caption": "Mean intensity of each channel (after scaling), 24 fields from each simulated plate; one colour per batch, one box per plate."}, "image": {"alt": "Box plots of mean intensity for five channels, grouped by plate: boxes of one batch lie together, batches and sources are shifted."}}
sample = (
    images.sample(frac=1, random_state=seed).groupby("Metadata_Plate").head(24)
)
means = pd.DataFrame(
    [
        read_merged(file).pixels.mean(axis=(1, 2)) / 65535
        for file in sample["FileName_Merged"]
    ],
    columns=list(CHANNELS),
    index=sample.index,
).join(sample[["Metadata_Source", "Metadata_Batch", "Metadata_Plate"]])

figure, axes = plt.subplots(1, 5, figsize=(WIDTH, 2.9), sharey=True)
plates = means.groupby(["Metadata_Source", "Metadata_Batch", "Metadata_Plate"])
batches = sorted(means["Metadata_Batch"].unique())
palette = ["#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7"]
for axis, channel in zip(axes, CHANNELS, strict=True):
    for position, ((_, batch, _), rows_of_plate) in enumerate(plates):
        axis.boxplot(
            rows_of_plate[channel],
            positions=[position],
            widths=0.7,
            showfliers=False,
            patch_artist=True,
            boxprops={
                "facecolor": palette[batches.index(batch) % 6],
                "edgecolor": "#26303A",
            },
            medianprops={"color": "#26303A"},
        )
    axis.set(title=channel, xticks=[], xlabel="plates")
axes[0].set_ylabel("mean intensity")
tag(figure)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-plate", "caption": "Cells drawn per well on the first simulated plate: the position effect, and what toxic compounds do."}, "image": {"alt": "Heat map of a plate with wells in rows and columns: number of cells, lower at some wells."}}
plate = truth[truth["Metadata_Plate"] == truth["Metadata_Plate"].iloc[0]]
counts = plate.pivot_table(
    index=plate["Metadata_Well"].str[0],
    columns=plate["Metadata_Well"].str[1:],
    values="cells",
)
figure, axis = plt.subplots(figsize=(WIDTH, 3.0))
picture = axis.imshow(counts, aspect="auto")
axis.set(
    xticks=range(counts.shape[1]),
    xticklabels=counts.columns,
    yticks=range(counts.shape[0]),
    yticklabels=counts.index,
    title=f"plate {plate['Metadata_Plate'].iloc[0]}",
)
axis.grid(False)
figure.colorbar(picture, label="cells")
tag(figure)

# %% [markdown]
# ## From a field to crops
#
# The network does not see whole fields. A field is cut into square {term}`crops <crop>` from the top
# left; what is left at the right and lower edge is dropped. A crop counts if at least 1% of it is
# brighter than 0.7 times the {term}`Otsu threshold` of the DNA channel. If no crop of a field
# counts, the one at position n // 2 is used all the same. (The 0.7 and the last rule are in the
# authors' code, not in the paper's text.)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-crops", "caption": "The crop grid on the DNA channel of a sparse simulated field: share of each 128 px crop above 0.7 x Otsu. Crops under 1% (dashed) are left out."}, "image": {"alt": "A nearly empty field of nuclei with a grid of crops, each labelled with its share of foreground."}}
well = ["Metadata_Plate", "Metadata_Well"]
sparse = images.merge(truth.nsmallest(20, "cells")[well])
fields = [read_merged(file) for file in sparse["FileName_Merged"]]


def shares(field):
    """Share of foreground of each crop of the grid."""
    dna = field.pixels[CHANNELS.index("DNA")]
    return foreground_share(dna, field.otsu, grid(*dna.shape, 128), 128)


field = min(fields, key=lambda field: abs((shares(field) < 0.01).sum() - 1))
share = shares(field)
kept = select(share)
dna = field.pixels[CHANNELS.index("DNA")]
figure, axis = plt.subplots(figsize=(3.6, 3.8))
show_image(axis, dna)
for number, ((top, left), part) in enumerate(
    zip(grid(*dna.shape, 128), share, strict=True)
):
    line = "-" if number in kept else "--"
    axis.add_patch(
        plt.Rectangle(
            (left, top),
            127,
            127,
            fill=False,
            edgecolor="#E69F00",
            linestyle=line,
        )
    )
    axis.text(left + 6, top + 16, f"{part:.1%}", color="#E69F00", fontsize=9)
tag(figure)

# %% [markdown]
# ## The screen in numbers

# %% tags=["hide-input"]
treated = truth[truth["Metadata_Control"] != "negcon"]
table(
    ("What", "Number"),
    [
        ("sources", truth["Metadata_Source"].nunique()),
        ("batches", truth["Metadata_Batch"].nunique()),
        ("plates", truth["Metadata_Plate"].nunique()),
        ("wells", len(truth)),
        ("of these, negative controls", len(truth) - len(treated)),
        ("fields", len(images)),
        ("field size", f"{dna.shape[0]} x {dna.shape[1]} px"),
        ("compounds", treated["Metadata_Perturbation"].nunique()),
        ("compounds of strength 0", int((doses["strength"] == 0).sum())),
        ("targets", treated["Metadata_Target"].nunique()),
        ("on disk", f"{card['megabytes']:.0f} MB"),
    ],
    caption=f"The simulated screen {screen}",
)

# %% [markdown]
# ## The paper's data, and how to get them
#
# Every data set and checkpoint has a manifest: where it is, what its licence allows, which wells are
# controls. `cpssl data fetch NAME` gets it, or some of its plates and wells; with `--dry-run` it
# says how much that would be. What nobody could check from where these manifests were written is
# listed as not verified: addresses, mostly.


# %% tags=["hide-input"]
def size_of(item):
    """A size in the unit that suits it, where it is known."""
    megabytes = item.get("megabytes") or 0
    for unit, factor in (("TB", 1e6), ("GB", 1e3), ("MB", 1)):
        if megabytes >= factor:
            return f" ({megabytes / factor:.3g} {unit})"
    return ""


public = [item for item in list_manifests() if item["kind"] != "simulated"]
public = sorted(public, key=lambda item: item["kind"] == "checkpoint")
table(
    ("Name", "What", "Licence", "Not verified"),
    [
        (
            item["name"],
            f"{item['title']}{size_of(item)}",
            f"{item['licence']}: {item['allows']}",
            "; ".join(item.get("unverified", [])) or "-",
        )
        for item in public
    ],
    caption="Public data sets and checkpoints with a manifest",
)

# %% [markdown]
# The paper lists its plates in supplementary tables that are not among the public metadata. So a
# script (`data_manifests/derive_jump.py`) derives them by the text's rules: the training set is what
# lies on the plates of the compound library that sources 2, 3, 6 and 8 all imaged; the validation
# set is the Target2 plates of the same batches, filled up to 16 batches; the test set starts from
# all overexpression plates of source 4. Its counts beside the paper's:

# %% tags=["hide-input"]
counts = pd.read_csv(
    FOLDER / "jump_counts.csv", dtype=str, keep_default_na=False
)


def apart(row):
    """How far a count is from the paper's."""
    if row["difference"] in ("", "0"):
        return "equal" if row["difference"] else "-"
    return f"{int(row['difference']):+,} ({float(row['percent']):+.2f}%)"


table(
    ("Quantity", "Paper", "Derived", "Difference", "Why"),
    [
        (
            f"{row['set']}: {row['quantity']}",
            f"{int(row['paper']):,}" if row["paper"] else "-",
            f"{int(row['derived']):,}",
            apart(row),
            row["why"] or "-",
        )
        for _, row in counts.iterrows()
    ],
    caption="The paper's counts and those of the consortium's metadata tables",
)

# %% [markdown]
# Images are counted as wells times {term}`fields <field of view>` a well, as planned. The paper's
# counts are a little lower; images that are known to be missing upstream could explain it, which
# cannot be checked without the bucket. For the overexpressed genes the difference is a filter on
# profiles that is not applied here.

# %% tags=["hide-input"]
derived = counts.set_index(["set", "quantity"])["derived"].astype(int)
for claim, key in {
    "jump-compounds": ("JUMP-CP", "compounds"),
    "jump-overexpressed": ("JUMP-CP", "genes overexpressed"),
    "jump-knocked-out": ("JUMP-CP", "genes knocked out"),
    "training-images": ("training", "images"),
    "training-compounds": ("training", "compounds"),
    "target2-compounds": ("Target2", "compounds"),
    "target2-images": ("Target2", "images"),
    "target2-replicates": ("Target2", "plates (replicates of a compound)"),
}.items():
    display(claims.record(f"count-{claim}", derived[key], METADATA_TABLES))
claims.show_claims(chapter="data")

# %% [markdown]
# ## What this shows and what it does not
#
# It shows that the files, tables and steps of the following chapters are the real ones: five-channel
# TIFFs with their Otsu threshold, wells, plates, batches. It is no evidence about cells. A method
# that does well on `lite` has found the changes that the simulator makes; whether it finds what
# drugs do is a question for real images.
#
# ## Use your own images
#
# A table with a row per field is enough: JUMP's `load_data.csv` as it is, the authors'
# `dataset.csv`, or a CSV with `Metadata_Plate`, `Metadata_Well`, `Metadata_Site`,
# `Metadata_Perturbation` and the five file names.
#
# ```bash
# cpssl data prepare load_data.csv.gz -o data/mine     # merge, scale, Otsu
# cpssl run ssl_comparison -p data=data/mine/images.parquet
# ```
#
# Seven real fields of CPJUMP1 to start with: `cpssl data fetch cpjump1_examples`; the chapter
# [From raw images](10_raw_images) goes through them step by step.
#
# The consortium's own CellProfiler profiles are a small download beside the images. They come with
# the labels of the wells, and the chapters take them as they are:
#
# ```bash
# cpssl data fetch jump_target2 --profiles
# cpssl run ssl_comparison \
#   -p profiles='{"CellProfiler": ["data/jump_target2/profiles/*.parquet"]}'
# ```
#
# ## Use the authors' released embeddings
#
# Their archive (about 6 GB) has a table of wells for every method in `embeddings/`. The chapters
# read these tables as they are:
#
# ```bash
# cpssl data fetch authors_release          # says where it has unpacked them
# cpssl run ssl_comparison -p release=SSL_data
# cpssl run batch_effects -p release=SSL_data
# cpssl run gene_clustering -p release=SSL_data -p genes=orf.csv.gz -p families=hgnc.csv
# ```
#
# Methods in `embeddings/multisource` and `embeddings/ORF` are found by their folders' names.
# The weights beside them are CC BY-NC 4.0.
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run data` with
#
# - `-p screen=tiny`: 24 wells instead of 768, the same files and tables
# - `-p seed=1`: other compounds and batches, the same build
#
# 1. Why do negative controls stand in several columns of a plate, and not in one corner?
#
# ```{admonition} Solution
# :class: dropdown
# Wells differ by their place: edges dry out, plates are filled in an order. Controls in one
# corner would carry that corner's effect, and every treatment would differ from them.
# ```
#
# 2. How many crops of the sparse field above would count with Otsu's threshold itself, as the
#    text has it, instead of 0.7 times?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
strict = foreground_share(
    dna, field.otsu, grid(*dna.shape, 128), 128, factor=1.0
)
print(
    (share >= 0.01).sum(), "crops with 0.7,", (strict >= 0.01).sum(), "with 1.0"
)

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(data=folder, seed=seed)
