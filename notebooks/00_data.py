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

# %% tags=["parameters", "hide-input"]
screen = "lite"  # simulated screen: lite, lite-train or tiny
seed = 0  # of the simulation and of the examples shown
real_images = "data/cpjump1_examples"  # CPJUMP1 example images, if there

# %% tags=["hide-input"]

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.chapter import ask, headline, note, show
from cpssl_lite.book.evidence import METADATA_TABLES
from cpssl_lite.book.figures import WIDTH, composite
from cpssl_lite.book.figures import show_image, style
from cpssl_lite.book.plots import picture_rows, pictures
from cpssl_lite.book.screens import drawn_in
from cpssl_lite.book.html import table
from cpssl_lite.data.fetch import index_of, locate
from cpssl_lite.data.manifests import FOLDER, list_manifests, load_manifest
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import foreground_share, grid, select
from cpssl_lite.images.scale import scale_intensities
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged, read_plane

style()
folder = drawn_in(screen, seed)
images = read_image_table(simulate(screen, folder, seed=seed))
truth = pd.read_parquet(folder / "truth.parquet")
card = yaml.safe_load((folder / "dataset.yaml").read_text())
controls = images[images["Metadata_Control"] == "negcon"]
treated = truth[truth["Metadata_Control"] != "negcon"]
doses = treated.drop_duplicates("Metadata_Perturbation")
doses = doses.sort_values("strength", ascending=False)
DNA = CHANNELS.index("DNA")

# %% tags=["hide-input"]
seen = (doses["strength"] > 0).sum()
headline(
    f"{len(images):,} drawn fields of {len(truth)} wells on {truth['Metadata_Plate'].nunique()} plates: {seen} of {len(doses)} compounds change the cells, and for each one it is known how."
)
SIZE = 256  # px shown, at the scale of the images: both rows show the same area
fields = [read_merged(file) for file in controls["FileName_Merged"].head(12)]
full = max(fields, key=lambda f: (f.pixels[DNA] / 65535 > f.otsu).mean())
shown = {"simulated": full.pixels[:, :SIZE, :SIZE]}
index = locate(index_of(load_manifest("cpjump1_examples")), real_images)
if index is not None:
    control = index[index["Metadata_Control"] == "negcon"]
    files = control.drop_duplicates("Channel").set_index("Channel")["path"]
    planes = np.stack([read_plane(files[name]) for name in CHANNELS])
    window = np.s_[:, 400 : 400 + SIZE, 400 : 400 + SIZE]
    shown["real"] = scale_intensities(planes)[window]
rows = {
    name: [
        *(plane / plane.max() for plane in field),
        composite(field, CHANNELS),
    ]
    for name, field in shown.items()
}
figure = picture_rows(rows, [*CHANNELS, "composite"])
below = (
    "; below it a real field of U2OS cells (CPJUMP1, CC0) at the same scale"
    if index is not None
    else ""
)
caption = f"An untreated simulated field in its five channels and as a composite (Mito red, AGP orange, RNA green, ER teal, DNA blue), {SIZE} px wide{below}."
alt = (
    "Six grey and coloured pictures of cells in a row: mitochondria, actin and Golgi, RNA, endoplasmic reticulum, DNA, composite"
    + "; simulated above, real below." * bool(below)
)
kind = (
    "simulated (upper row), real: CPJUMP1 (lower row)" if below else "simulated"
)
show(figure, "fig-five-channels", kind, caption=caption, alt=alt)

# %% [markdown]
# **The paper's claim** (Methods). The networks learn from 564,272 Cell Painting images of 10,057
# compounds, taken by four laboratories of the JUMP consortium, and are tested on plates that they have
# not seen: the same laboratories' plates of 306 compounds with known {term}`targets <target>`, and
# overexpressed genes of another laboratory {cite:p}`kim2025`.
#
# **How the data are built.** {term}`Fields of view <field of view>` with five {term}`channels <channel>`,
# several per {term}`well`, 384 wells a {term}`plate`, plates in {term}`batches <batch>`, batches from
# several {term}`sources <source>` {cite:p}`chandrasekaran2023`. One plate is about 40 GB.
#
# **What is done here.** So that every chapter runs on a laptop, a small screen built the same way is
# drawn, called `lite`. (Each edition of the book says on its first page what it runs on.) This page shows
# what is in that screen and what it cannot tell. At the end the paper's counts are derived again from the
# consortium's public tables.
#
# ````{admonition} What is compared, and on which data (the paper's Fig. 1b and c)
# :class: dropdown
#
# | Features | Made by | Looks at | Here |
# |---|---|---|---|
# | DINO, MAE, SimCLR | networks that learned without labels (ViT-S/16, ViT-B/16) | crops of 224 px that hold cells, five channels at once | small ones, trained on drawn fields |
# | Transfer learning | networks that learned from photographs | the same crops, channel by channel | a small stand-in |
# | CellProfiler | a program that segments and measures | every cell | features in its style |
#
# | Data | What is in them | What is asked | Here |
# |---|---|---|---|
# | Training set | 10,057 compounds, four sources | nothing: networks learn from it | `lite-train` |
# | Validation set | 306 compounds with targets, the same sources, 16 batches | replicates, targets, batch effects | `lite` |
# | Gene overexpression | 1,970 ORFs in gene groups, another source | replicates, gene families | `lite-orf` |
# | Bioactivity | about 10,000 compounds in 209 assays, another data set | active or not | `lite-activity` |
# ````
#
# ```{admonition} After this chapter you can
# :class: tip
# - say what a field, a well, a plate, a batch and a source are
# - name three things besides the treatment that change a picture of cells
# - say which parts of a field a network is shown
# ```
#
# ## What is drawn
#
# The simulator draws nuclei, nucleoli, endoplasmic reticulum, RNA, actin and Golgi, and mitochondria from
# about two dozen parameters per cell, then passes them through optics that differ between sources. It has
# no biology in it: no cell cycle beyond a few round cells, and no response other than a change of those
# parameters. Intensities are clipped at the 0.01st and the 99.9th percentile of each channel and scaled
# to 0..1, as the paper does before it stores the five channels as one file.

# %%
sizes = {
    "sources": truth["Metadata_Source"].nunique(),
    "batches": truth["Metadata_Batch"].nunique(),
    "plates": truth["Metadata_Plate"].nunique(),
    "wells": len(truth),
    "of these, negative controls": len(truth) - len(treated),
    "fields": len(images),
    "field size": " x ".join(map(str, full.pixels.shape[1:])) + " px",
    "compounds": len(doses),
    "compounds of strength 0": int((doses["strength"] == 0).sum()),
    "targets": treated["Metadata_Target"].nunique(),
    "on disk": f"{card['megabytes']:.0f} MB",
}
table(
    ("What", "Number"),
    list(sizes.items()),
    f"The simulated screen {screen} in numbers",
    fold=True,
)

# %% [markdown]
# ## What a perturbation does
#
# Every {term}`target` is a direction in the space of parameters; its two compounds share it, each
# with a little of its own. The strength is graded from nothing to plain to see. The number of cells
# is an axis of its own: a few targets lower it, some of them without changing anything else.

# %%
strongest = doses.drop_duplicates("Metadata_Target").head(3)
first = images.drop_duplicates("Metadata_Perturbation")
first = first.set_index("Metadata_Perturbation")["FileName_Merged"]
shown = {
    "DMSO\n(control)": composite(
        read_merged(controls["FileName_Merged"].iloc[0])
    )
}
for _, row in strongest.iterrows():
    name = f"{row['Metadata_Target']}\n{row.get('Metadata_Mechanism', '')}"
    shown[name] = composite(read_merged(first[row["Metadata_Perturbation"]]))

# %% tags=["hide-input"]
caption = f"Simulated fields: a control, and one compound of each of the {len(strongest)} targets with the strongest effect, as composites."
alt = "Coloured pictures of simulated cells: an untreated field and, beside it, fields with strong treatments that change nuclei, cell number or stains."
show(
    pictures(list(shown.values()), list(shown), 4),
    "fig-phenotypes",
    "simulated",
    caption=caption,
    alt=alt,
)

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(WIDTH, 2.2))
axis.plot(doses["strength"].to_numpy(), "o", markersize=4, color="#0072B2")
axis.set(xlabel="compound, strongest first", ylabel="strength")
caption = f"The truth that only a simulation has: effect strength of every compound, sorted. {len(doses) - seen} of {len(doses)} do nothing."
show(
    figure,
    "fig-strength",
    "simulated",
    caption=caption,
    alt="Dots in descending order: strengths of the compounds from strong to zero.",
)

# %% [markdown] tags=["more"]
# ## What else varies: plates, batches, sources, positions
#
# The same treatment does not give the same picture twice. Wells differ by chance and by their
# place on the plate, batches in staining and cell density, sources in their microscope. Real
# screens have all of this, and it is what the {term}`not-same-batch <NN, NSB, NSP, NSBP>` rules
# of later chapters guard against.

# %%
sample = images.sample(frac=1, random_state=seed)
sample = sample.groupby("Metadata_Plate").head(24).sort_index()
pixels = (read_merged(file).pixels for file in sample["FileName_Merged"])
means = [field.mean(axis=(1, 2)) / 65535 for field in pixels]
means = pd.DataFrame(means, sample.index, list(CHANNELS))
between = means.groupby(sample["Metadata_Batch"]).mean()
apart = between.max() / between.min() - 1

# %% tags=["hide-input"]
import seaborn as sns

plates = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate"]
sample = sample.sort_values(plates)
look = dict(
    x="Metadata_Plate",
    hue="Metadata_Batch",
    palette="colorblind",
    linecolor="#26303A",
)
figure, axes = plt.subplots(1, 5, figsize=(WIDTH, 2.6), sharey=True)
for axis, channel in zip(axes, CHANNELS, strict=True):
    boxes = sample.assign(mean=means[channel])
    sns.boxplot(boxes, y="mean", **look, fliersize=0, legend=False, ax=axis)
    axis.set(title=channel, xticks=[], xlabel="plates")
axes[0].set_ylabel("mean intensity")
caption = f"Mean intensity of each channel after scaling, 24 fields from each of {sample['Metadata_Plate'].nunique()} simulated plates; one colour per batch, one box per plate. Between the darkest and the brightest batch lie {apart.min():.0%} ({apart.idxmin()}) to {apart.max():.0%} ({apart.idxmax()})."
alt = "Box plots of mean intensity for five channels by plate: boxes of one batch lie together, batches and sources are shifted."
show(figure, "fig-batches", "simulated", caption=caption, alt=alt)

# %% tags=["hide-input"]
ask(
    "Every field has been scaled to its own percentiles. In which channel do batches still differ most in mean intensity?",
    CHANNELS,
    right=apart.idxmax(),
    why=f"By {apart.max():.0%} between the darkest and the brightest batch: scaling fixes the ends, not what lies between them.",
)

# %% [markdown]
# What a position does is hidden by what lies in the wells. Here the truth helps: each well was drawn
# with its own mean number of cells, of which the compound's share is known and can be divided out.

# %%
ratio = np.log2(truth["well_cell_count"] / truth["compound_cell_count"])
places = truth.assign(
    ratio=ratio,
    row=truth["Metadata_Well"].str[0],
    column=truth["Metadata_Well"].str[1:],
)
maps = {
    batch: rows.pivot_table(index="row", columns="column", values="ratio")
    for batch, rows in places.groupby("Metadata_Batch")
}
slopes = {
    batch: np.polyfit(range(m.shape[1]), m.mean(), 1)[0]
    for batch, m in maps.items()
}
tilted = max(slopes, key=lambda batch: abs(slopes[batch]))
factor = 2 ** (slopes[tilted] * (maps[tilted].shape[1] - 1)) - 1

# %% tags=["hide-input"]
drawn = places[places["Metadata_Batch"] == tilted].pivot_table(
    index="row", columns="column", values="cells"
)
figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True)
panels = (
    (drawn, "a  Cells", "cells a well"),
    (2 ** maps[tilted], "b  Without compounds", "times the control"),
)
for axis, (values, title, unit) in zip(axes, panels, strict=True):
    shades = axis.imshow(values, aspect="auto")
    axis.set_xticks(range(values.shape[1]), values.columns, fontsize=8)
    axis.set_yticks(range(values.shape[0]), values.index)
    axis.set(title=title)
    axis.grid(False)
    figure.colorbar(shades, ax=axis, label=unit, location="bottom")
caption = f"The plates of batch {tilted}, well by well (simulated). a, cells that were drawn: compounds hide the rest. b, the same number without what the compounds do: from the first to the last column it changes by {factor:+.0%}, and the edges hold fewer cells."
alt = "Two heat maps of a plate with wells in rows and columns: one without visible order, one with a slope along the columns and low edges."
show(figure, "fig-plate", "simulated", caption=caption, alt=alt)

# %% [markdown]
# ## From a field to crops
#
# The network does not see whole fields. A field is cut into square {term}`crops <crop>` from the top
# left; what is left at the right and lower edge is dropped. A crop counts if at least 1% of it is
# brighter than 0.7 times the {term}`Otsu threshold` of the DNA channel. If no crop of a field
# counts, the one at position n // 2 is used all the same. (The 0.7 and the last rule are in the
# authors' code, not in the paper's text.)


# %%
def shares(field, factor=0.7):
    """Share of foreground of each crop of the grid."""
    dna = field.pixels[DNA]
    corners = grid(*dna.shape, 128)
    return foreground_share(dna, field.otsu, corners, 128, factor)


well = ["Metadata_Plate", "Metadata_Well"]
sparse = images.merge(truth.nsmallest(20, "cells")[well])
fields = [read_merged(file) for file in sparse["FileName_Merged"]]
field = min(fields, key=lambda field: abs((shares(field) < 0.01).sum() - 1))
kept = select(shares(field))

# %% tags=["hide-input"]
figure, axis = plt.subplots(figsize=(3.2, 3.4))
show_image(axis, field.pixels[DNA])
corners = grid(*field.pixels.shape[1:], 128)
for number, ((top, left), part) in enumerate(
    zip(corners, shares(field), strict=True)
):
    line = "-" if number in kept else "--"
    axis.add_patch(
        plt.Rectangle(
            (left, top), 127, 127, fill=False, edgecolor="#E69F00", ls=line
        )
    )
    axis.text(left + 6, top + 16, f"{part:.1%}", color="#E69F00", fontsize=9)
caption = f"The crop grid on the DNA channel of a sparse simulated field: share of each 128 px crop above 0.7 x Otsu. {len(kept)} of {len(corners)} are shown to a network; those under 1% (dashed) are not."
show(
    figure,
    "fig-crops",
    "simulated",
    caption=caption,
    alt="A nearly empty field of nuclei with a grid of crops, each labelled with its share of foreground.",
)

# %% tags=["hide-input"]
every = np.concatenate(
    [
        shares(read_merged(file)) >= 0.01
        for file in controls["FileName_Merged"].head(64)
    ]
)
options = ("about all", "about half", "few")
right = (
    options[0]
    if every.mean() > 0.8
    else options[1]
    if every.mean() > 0.3
    else options[2]
)
ask(
    "How many of the crops of untreated fields count?",
    options,
    right=right,
    why=f"{every.mean():.0%} of {len(every)} crops of untreated fields: where cells grow densely, few crops are empty.",
)

# %% [markdown] tags=["more"]
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
    units = (("TB", 1e6), ("GB", 1e3), ("MB", 1))
    return next(
        (
            f" ({megabytes / n:.3g} {unit})"
            for unit, n in units
            if megabytes >= n
        ),
        "",
    )


public = [item for item in list_manifests() if item["kind"] != "simulated"]
public = sorted(public, key=lambda item: item["kind"] == "checkpoint")
rows = [
    (
        item["name"],
        f"{item['title']}{size_of(item)}",
        f"{item['licence']}: {item['allows']}",
        "; ".join(item.get("unverified", [])) or "-",
    )
    for item in public
]
table(
    ("Name", "What", "Licence", "Not verified"),
    rows,
    f"{len(rows)} public data sets and checkpoints with a manifest",
    fold=True,
)

# %% [markdown]
# The paper lists its plates in supplementary tables that are not among the public metadata. So a
# script (`data_manifests/derive_jump.py`) derives them by the text's rules: the training set is what
# lies on the plates of the compound library that sources 2, 3, 6 and 8 all imaged; the validation
# set is the Target2 plates of the same batches, filled up to 16 batches; the test set starts from
# all overexpression plates of source 4. Images are counted as wells times
# {term}`fields <field of view>` a well, as planned. The paper's counts are a little lower; images that
# are known to be missing upstream could explain it, which cannot be checked without the bucket. For
# the overexpressed genes the difference is a filter on profiles that is not applied here.

# %%
counts = pd.read_csv(
    FOLDER / "jump_counts.csv", dtype=str, keep_default_na=False
)


def apart(row):
    """How far a count is from the paper's."""
    if row["difference"] in ("", "0"):
        return "equal" if row["difference"] else "-"
    return f"{int(row['difference']):+,} ({float(row['percent']):+.2f}%)"


rows = [
    (
        f"{row['set']}: {row['quantity']}",
        f"{int(row['paper']):,}" if row["paper"] else "-",
        f"{int(row['derived']):,}",
        apart(row),
        row["why"] or "-",
    )
    for _, row in counts.iterrows()
]
header = ("Quantity", "Paper", "Derived", "Difference", "Why")
table(
    header,
    rows,
    "The paper's counts and those of the consortium's metadata tables",
    fold=True,
)

# %%
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
    note(f"count-{claim}", int(derived[key]), METADATA_TABLES)
claims.show_claims(chapter="data")

# %% [markdown]
# ## What this shows and what it does not
#
# It shows that the files, tables and steps of the following chapters are the real ones: five-channel
# TIFFs with their Otsu threshold, wells, plates, batches. It is no evidence about cells. A method
# that does well on `lite` has found the changes that the simulator makes; whether it finds what
# drugs do is a question for real images.
#
# **Takeaway.** A picture of cells shows the treatment, the laboratory, the batch and the place
# on the plate at once. What follows is about telling the first from the others.
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
# # the consortium's own CellProfiler profiles, with the labels of their wells
# cpssl data fetch jump_target2 --profiles
# cpssl run ssl_comparison \
#   -p profiles='{"CellProfiler": ["data/jump_target2/profiles/*.parquet"]}'
# # the authors' released embeddings (6 GB; weights are CC BY-NC 4.0)
# cpssl data fetch authors_release          # says where it has unpacked them
# cpssl run ssl_comparison -p release=SSL_data
# cpssl run gene_clustering -p release=SSL_data -p genes=orf.csv.gz -p families=hgnc.csv
# ```
#
# Seven real fields of CPJUMP1 to start with: `cpssl data fetch cpjump1_examples`; the chapter
# [From raw images](10_raw_images) goes through them step by step.
#
# ## Exercises
#
# **Change this and see.** `cpssl run data -p screen=tiny` draws 24 wells instead of 768, with the same
# files and tables; `-p seed=1` draws other compounds and batches.

# %% tags=["hide-input"]
steep = (
    2 ** (maps[tilted].iloc[:, -1].mean() - maps[tilted].iloc[:, 0].mean()) - 1
)
ask(
    "Why do negative controls stand in several columns of a plate, and not in one?",
    right=f"In batch {tilted} the last column holds {abs(steep):.0%} {'more' if steep > 0 else 'fewer'} cells than the first.",
    why="Controls in one column would carry that column's effect, and every treatment elsewhere would differ from them.",
)

# %% tags=["hide-input"]
strict, loose = (
    sum((shares(field, factor) >= 0.01).sum() for field in fields)
    for factor in (1.0, 0.7)
)
ask(
    f"How many crops of the {len(fields)} sparse fields count with Otsu's threshold itself, as the text has it, and how many with 0.7 times?",
    right=f"{strict} and {loose}.",
    why="Nuclei are so much brighter than what lies around them that the factor decides at their edges only.",
)

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(data=folder, seed=seed)
