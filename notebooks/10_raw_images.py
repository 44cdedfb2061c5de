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
# # From raw images
#
# **The paper's claim** (Methods). {term}`Well <well>` features come straight from images, without
# {term}`segmentation`: five single-{term}`channel` TIFFs become one file, the file becomes
# {term}`crops <crop>`, a network turns each crop into numbers, and their mean is the well's
# {term}`profile` {cite:p}`kim2025`.
#
# **How it was done there.** On {term}`JUMP-CP` images, clipped at the 0.01st and the 99.9th
# percentile of each channel, with the {term}`Otsu threshold` of the DNA channel kept beside them.
#
# **What is done here.** The same steps, one by one, from the consortium's `load_data` table to
# similarities: on seven real fields of CPJUMP1 {cite:p}`chandrasekaran2024` where they are there,
# otherwise on raw wells of a simulated plate.
#
# ```{admonition} After this chapter you can
# :class: tip
# - read a `load_data` table, and know which file is which stain
# - say what scaling does to five channels, and what depends on its percentiles
# - tell a usable field from an empty or blurred one
# ```

# %% tags=["parameters"]
real_images = "data/cpjump1_examples"  # CPJUMP1 examples, if there
low = 0.01  # low percentile (the released code: 0.1)
high = 99.9  # high percentile
checkpoint = ""  # network [the DINO that the package ships]
seed = 0  # of random weights and of the simulation

# %% tags=["hide-input"]
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

from cpssl_lite.book import provenance
from cpssl_lite.book.figures import WIDTH, composite, show_image, style, tag
from cpssl_lite.book.html import markdown, table
from cpssl_lite.data.fetch import index_of, locate, write_load_data
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.prepare import prepare
from cpssl_lite.data.qc import quality
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.scale import scale_intensities
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged, read_plane
from cpssl_lite.metrics.nearest import accuracy, nearest_neighbours, standardise
from cpssl_lite.models.checkpoints import DEFAULT, load_encoder, random_like
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import profile_matrix, read_profiles

style()
scratch = tempfile.TemporaryDirectory()
work = Path(scratch.name)
index = locate(index_of(load_manifest("cpjump1_examples")), real_images)
real = index is not None
if real:
    load_data = write_load_data(index, work)
else:
    simulate("tiny", work / "tiny", seed=seed, raw_wells=4)
    load_data = work / "tiny" / "load_data.csv"
origin = "CPJUMP1" if real else "simulated"

shown = (
    "**The images on this page are real**: seven fields of U2OS cells from three plates of "
    "CPJUMP1 (CC0). One field a well, seven treatments: enough to see every step, not enough to "
    "compare replicates."
    if real
    else "**The images on this page are simulated**, because the CPJUMP1 examples are not in "
    f"{markdown(real_images)}. `cpssl data fetch cpjump1_examples` gets them (79 MB, CC0); then this page "
    "shows the same steps on seven real fields of three plates."
)
Markdown(shown)

# %% [markdown]
# ## What comes from the microscope
#
# A `load_data` table has a row per {term}`field <field of view>` and says which file is which
# channel. JUMP's tables name files in two ways (`URL_Orig...`, or `PathName_Orig...` with
# `FileName_Orig...`); both are read as they are.

# %%
fields = read_image_table(load_data)
files = [f"FileName_{name}" for name in CHANNELS]

# %% tags=["hide-input"]
label = "Metadata_Perturbation"
table(
    ("Plate", "Well", "Site", "Treatment", "Control", "DNA file"),
    [
        (
            row["Metadata_Plate"],
            row["Metadata_Well"],
            row["Metadata_Site"],
            row[label],
            row["Metadata_Control"] or "-",
            Path(row["FileName_DNA"]).name,
        )
        for _, row in fields.head(8).iterrows()
    ],
    caption=f"The first of {len(fields)} fields ({origin})",
)

# %% [markdown]
# A camera counts to 65,535, cells use little of it: shown as they are, the images are almost
# black.

# %%
control = fields.index[fields["Metadata_Control"] == "negcon"][0]
raw = np.stack([read_plane(fields.loc[control, name]) for name in files])
scaled = scale_intensities(raw, low, high)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-raw-scaled", "caption": "An untreated field, 256 px of it, in its five channels. Above as stored, black is 0 and white 65,535; below clipped at two percentiles of each channel and scaled. The tag says whether the data are real or simulated."}, "image": {"alt": "Two rows of five grey pictures. The upper ones are almost black; the lower ones show cells in the five stains."}}
windows = grid(*raw.shape[1:], min(256, *raw.shape[1:]))
full = max(
    windows, key=lambda at: scaled[-1][at[0] :, at[1] :][:256, :256].mean()
)
view = np.s_[full[0] : full[0] + 256, full[1] : full[1] + 256]
figure, axes = plt.subplots(2, 5, figsize=(WIDTH, 2.9))
for column, name in enumerate(CHANNELS):
    axes[0, column].imshow(raw[column][view], cmap="gray", vmin=0, vmax=65535)
    axes[1, column].imshow(scaled[column][view], cmap="gray", vmin=0, vmax=1)
    axes[0, column].set_title(name)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
axes[0, 0].set_ylabel("as stored", fontsize=8)
axes[1, 0].set_ylabel("scaled", fontsize=8)
tag(figure, origin)

# %% [markdown]
# ## Two conventions
#
# The paper's text clips at the 0.01st percentile, the released code at the 0.1st. How far apart the
# two images are depends on the channel.

# %%
by_text = scale_intensities(raw, 0.01, 99.9)
by_code = scale_intensities(raw, 0.1, 99.9)

# %% tags=["hide-input"]
rows = []
for name, plane, one, other in zip(
    CHANNELS, raw, by_text, by_code, strict=True
):
    levels = np.percentile(plane, [0.01, 0.1, 99.9])
    apart = np.abs(one - other)
    rows.append(
        (
            name,
            *(f"{level:.0f}" for level in levels),
            f"{apart.mean():.4f}",
            f"{apart.max():.4f}",
        )
    )
table(
    (
        "Channel",
        "0.01st percentile",
        "0.1st percentile",
        "99.9th percentile",
        "mean difference",
        "largest",
    ),
    rows,
    caption=f"Grey levels of the field above, and how far the two scaled images (0 to 1) are"
    f" apart ({origin})",
)

# %% [markdown]
# ## One file a field
#
# `prepare` is what the command `cpssl data prepare` calls: it scales, finds Otsu's threshold and
# writes five channels as one TIFF. With `illum=` it first divides by the plate's illumination
# functions, where they were fetched (`cpssl data fetch jump_target2 --plates ... --illum`).

# %%
merged = prepare(load_data, work / "merged", low=low, high=high, workers=1)
images = read_image_table(merged)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-raw-composites", "caption": "All fields as composites (Mito red, AGP orange, RNA green, ER teal, DNA blue), eight at most, with plate, well and treatment."}, "image": {"alt": "A grid of coloured pictures of cells, each titled with its treatment; treated fields differ in the number and shape of cells."}}
few = images.head(8)
figure, axes = plt.subplots(2, 4, figsize=(WIDTH, 4.1))
for axis in axes.flat:
    axis.set_axis_off()
for axis, (_, row) in zip(axes.flat, few.iterrows(), strict=False):
    show_image(axis, composite(read_merged(row["FileName_Merged"])))
    where = f"{row['Metadata_Plate']} {row['Metadata_Well']}"
    axis.set_title(f"{row[label]}\n{where}", fontsize=7.5)
tag(figure, origin)

# %% [markdown]
# ## Is it any good?
#
# Before anything is computed: is a field empty, is it out of focus? The measure of focus is the
# slope of the power spectrum, which a blur of one pixel lowers by about 1.7. `cpssl data prepare
# --qc` writes a page with every plate; here are the measures.

# %%
page = quality(merged, work / "qc.html", workers=1)
measures = pd.read_csv(page.with_suffix(".csv"), keep_default_na=False)

# %% tags=["hide-input"]
table(
    ("Field", "Otsu threshold", "Foreground", "Slope, DNA", "Flag"),
    [
        (
            f"{row['Metadata_Plate']} {row['Metadata_Well']}",
            row["otsu"],
            f"{row['foreground']:.1%}",
            f"{row['slope_DNA']:.2f}",
            row["flag"] or "-",
        )
        for _, row in measures.head(8).iterrows()
    ],
    caption=f"Quality of the merged fields ({origin})",
)

# %% [markdown]
# ## Crops
#
# The field is cut from the top left; crops in which under 1% is brighter than 0.7 times Otsu's
# threshold are left out.

# %%
encoder = load_encoder(checkpoint or DEFAULT)
size = encoder.crop_size
crops, owner, kept_of = [], [], []
for number, file in enumerate(images["FileName_Merged"]):
    field = read_merged(file, encoder.channels)
    dna = field.pixels[encoder.channels.index("DNA")]
    corners = grid(*dna.shape, size)
    kept = select(foreground_share(dna, field.otsu, corners, size))
    crops.append(cut(field.pixels, corners[kept], size))
    owner += [number] * len(kept)
    kept_of.append((corners, kept))
crops, owner = np.concatenate(crops), np.array(owner)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-raw-crops", "caption": "The field with fewest cells, and its grid of crops: the bright ones are used, the dimmed ones hold too little nucleus."}, "image": {"alt": "A composite picture of few cells with a grid of square crops, the ones without nuclei dimmed."}}
number = int(measures["foreground"].argmin())
picture = composite(read_merged(images["FileName_Merged"][number])).copy()
corners, kept = kept_of[number]
for position, (top, left) in enumerate(corners):
    if position not in kept:
        picture[top : top + size, left : left + size] //= 3
figure, axis = plt.subplots(figsize=(4.2, 4.5))
show_image(axis, picture)
for top, left in corners:
    axis.add_patch(
        plt.Rectangle(
            (left, top), size, size, fill=False, edgecolor="white", lw=0.6
        )
    )
axis.set_title(
    f"{images[label][number]}: {len(kept)} of {len(corners)} crops of {size} px",
    fontsize=9,
)
tag(figure, origin)

# %% [markdown]
# ## Features and similarity
#
# First a question that needs no labels. Take a crop: is the most similar other crop from the same
# field? Random weights say how much of that needs no training.


# %%
def embed(network):
    """Features of every crop, (n, d)."""
    with torch.inference_mode():
        parts = torch.from_numpy(crops).split(64)
        return torch.cat([network(part / 65535) for part in parts]).numpy()


def same_field(features):
    """Share of crops whose nearest other crop (cosine) is from the same field."""
    (neighbour,) = nearest_neighbours(standardise(features), [()])
    return accuracy(owner, neighbour)


# %% tags=["hide-input"]
counts = np.bincount(owner)
chance = (counts * (counts - 1)).sum() / (len(owner) * (len(owner) - 1))
network = checkpoint or "DINO (shipped)"
shares = {
    network: same_field(embed(encoder)),
    "Random weights": same_field(embed(random_like(encoder, seed))),
    "Chance": chance,
}
table(
    ("Features", "Nearest crop is from the same field"),
    [(name, f"{share:.3f}") for name, share in shares.items()],
    caption=f"{len(crops)} crops of {size} px from {len(counts)} fields ({origin})",
)

# %% [markdown]
# Then wells, as every other chapter has them: the mean over all crops of a well, here compared by
# cosine after standardising each feature.

# %%
raw_profiles = read_profiles(extract(images, encoder, work / "raw.parquet"))
profiles, values = profile_matrix(raw_profiles)
features = standardise(values)
unit = features / np.linalg.norm(features, axis=1, keepdims=True)
similarity = unit @ unit.T

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-raw-similarity", "caption": "Cosine similarity of the wells' profiles, standardised over these wells only: with so few wells it shows which are far from the rest, not which are alike for a reason."}, "image": {"alt": "Square heat map of wells by wells named by treatment, one on the diagonal; positive and negative blocks."}}
order = np.argsort(profiles[label].to_numpy(), kind="stable")
names = [
    f"{row[label]} {row['Metadata_Well']}"
    for _, row in profiles.iloc[order].iterrows()
]
figure, axis = plt.subplots(figsize=(WIDTH, 4.6))
shown = axis.imshow(
    similarity[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1
)
axis.set(xticks=range(len(names)), yticks=range(len(names)))
axis.set_xticklabels(names, rotation=90, fontsize=7)
axis.set_yticklabels(names, fontsize=7)
axis.grid(False)
figure.colorbar(shown, label="cosine similarity")
tag(figure, origin)

# %% [markdown]
# ## What this shows and what it does not
#
# It shows that the steps run on images as a microscope leaves them, and what each step does to
# them. It measures nothing about the paper's claims: that needs replicates of many treatments over
# several batches, and a network trained on such images. The network that the package ships was
# trained on simulated cells.
#
# ## Re-run it on your images
#
# ```bash
# cpssl data fetch cpjump1_examples                     # the seven fields, 79 MB
# cpssl data prepare cpjump1_examples -o data/cpjump1 --qc
# cpssl extract data/cpjump1/images.parquet -o raw.parquet
#
# cpssl data fetch jump_target2 --plates PLATE --dry-run   # a whole plate: how much?
# cpssl run raw_images -p low=0.1                       # the released code's percentile
# ```
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run raw_images` with
#
# - `-p low=0.1`: the released code's percentile
# - `-p high=99`: more of the bright pixels clipped
#
# 1. How much of a camera's 65,536 grey levels does each channel use between the two percentiles?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
ends = np.percentile(raw, [low, high], axis=(1, 2))
for name, used in zip(CHANNELS, ends[1] - ends[0], strict=True):
    print(name, f"{used / 65535:.1%}")

# %% [markdown]
# 2. Every field is scaled by its own percentiles. What can be lost by that?
#
# ```{admonition} Solution
# :class: dropdown
# How bright a field is as a whole: one that a treatment has dimmed is stretched to the same range
# as a control. And in an empty field the noise is stretched until it looks like structure.
# ```
#
# ## How this page was made

# %% tags=["hide-input"]
scratch.cleanup()
provenance.show(data=real_images if real else None, seed=seed)
