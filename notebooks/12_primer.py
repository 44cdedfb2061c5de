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
# # A primer: from stained cells to profiles
#
# A quarter of an hour for those who know either cells or networks, but not both. Every picture is
# drawn by this page's own code, with the package's own crops, augmentations and masks.
#
# ```{admonition} After this chapter you can
# :class: tip
# - say what each of the five channels shows
# - say what a profile is, and how it comes from pixels
# - say what each of the three ways of learning asks of a network
# ```

# %% tags=["parameters"]
data = "lite"  # simulated screen
crop = 96  # px, side of a global view
local = 48  # px, side of a local view of DINO
mask_ratio = 0.5  # share of patches that MAE hides (the paper: 0.5)
seed = 3  # of the views that are drawn

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from cpssl_lite.book import provenance
from cpssl_lite.book.figures import (
    CHANNEL_COLORS,
    WIDTH,
    color,
    composite,
    marker,
    show_image,
    style,
    tag,
)
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.book.features import load_features
from cpssl_lite.images.augment import Color, Flip
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.models.crops_data import random_crop
from cpssl_lite.models.mae import patchify, random_masking
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.table import feature_columns

style()
found = load_features(data, measured=True, seed=0)
image_table, images = found.image_table, found.images
tables = found.normalized()
networks = {name: load_encoder(path) for name, path in SHIPPED.items()}
scores = pd.DataFrame({n: evaluate(t) for n, t in tables.items()}).T


def cells_in(row):
    """Share of a field that is nucleus."""
    field = read_merged(row)
    return (field.pixels[CHANNELS.index("DNA")] / 65535 > field.otsu).mean()


controls = images[images["Metadata_Control"] == "negcon"]
files = controls["FileName_Merged"].head(16)
field = read_merged(max(files, key=cells_in))

# %% [markdown]
# ## The whole idea in one picture
#
# Cells are grown in {term}`wells <well>`, treated, stained and photographed. A network turns each
# square {term}`crop` into a list of numbers; their mean is the well's {term}`profile`. If the
# profiles are good, wells with the same treatment look alike ({term}`perturbation` {term}`mAP`), and
# so do treatments with the same {term}`target` (target mAP). The question of the paper is whether a
# network that has never seen a label makes profiles as good as those that are measured on outlined
# cells.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-overview", "caption": "The paper's question on this build's simulated screen. a, a field in five stains (coloured) and the crops that the network sees. b, profiles of six strong compounds, each in four batches (the 32 features that differ most between them): rows of one compound should share a pattern. c, how well profiles find their replicates (across) and compounds of the same target (up): three self-supervised networks, the same network with random weights, and features measured on segmented cells. It shows how small networks, trained for minutes, do on drawn cells; not who is best on real ones."}, "image": {"alt": "Three panels: a coloured picture of cells with a grid of crops; a heat map of profiles with six blocks of similar rows; a scatter plot of target mAP against perturbation mAP with a marker for each of five feature types."}}
size = networks["DINO"].crop_size
corners = grid(*field.pixels.shape[1:], size)
figure, axes = plt.subplots(
    1, 3, figsize=(WIDTH, 3.1), width_ratios=(1.05, 0.95, 1.3)
)
show_image(axes[0], composite(field), "a  Cells")
for top, left in corners:
    axes[0].add_patch(
        plt.Rectangle(
            (left - 0.5, top - 0.5), size, size, fill=False, edgecolor="white"
        )
    )

wells = aggregate(tables["DINO"], "batch")
treated = wells[wells["Metadata_Control"] != "negcon"]
truth = pd.read_parquet(image_table.parent / "truth.parquet")
strong = truth.sort_values("strength", ascending=False)
strong = strong.drop_duplicates("Metadata_Target")["Metadata_Perturbation"][:6]
rows = treated.set_index("Metadata_Perturbation").loc[list(strong)]
features = rows[feature_columns(wells)]
means = features.groupby(level=0, sort=False).mean()
vary = means.var().sort_values(ascending=False).index[:32]
block = features[vary].clip(-6, 6)
axes[1].imshow(block, aspect="auto", cmap="RdBu_r", vmin=-6, vmax=6)
each = len(rows) // len(strong)
axes[1].set_yticks(
    np.arange(len(strong)) * each + (each - 1) / 2,
    [f"{i + 1}" for i in range(len(strong))],
)
for edge in range(each, len(rows), each):
    axes[1].axhline(edge - 0.5, color="white", linewidth=1.5)
axes[1].set(
    title="b  Profiles", xticks=[], xlabel="features", ylabel="compound"
)
axes[1].grid(False)

for name, row in scores.iterrows():
    axes[2].plot(
        row["perturbation_map"],
        row["label_map"],
        marker(name),
        color=color(name),
        markersize=8,
        label=name,
    )
axes[2].set(
    title="c  What they find",
    xlabel="perturbation mAP",
    ylabel="target mAP",
    xlim=(0, 1.12 * scores["perturbation_map"].max()),
    ylim=(0, 1.12 * scores["label_map"].max()),
)
handles, names = axes[2].get_legend_handles_labels()
figure.legend(
    handles,
    names,
    loc="outside upper center",
    ncols=5,
    columnspacing=0.9,
    handletextpad=0.2,
    fontsize=8.5,
)
tag(figure)

# %% [markdown]
# Where a marker lies here says how these small networks do on drawn cells. The paper's result on real
# ones is in [the comparison](02_ssl_comparison): its best network, DINO, finds replicates 29% better
# than CellProfiler does, and 50 times faster.
#
# ## What each channel shows
#
# Cell Painting {cite:p}`bray2016` stains eight parts of a cell with six dyes and takes five pictures.
# No stain is specific for a disease or a drug: the idea is to see as much of the cell as
# possible, cheaply, and let the difference to untreated cells speak.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-primer-channels", "caption": "A corner of one simulated, untreated field in its five channels, each in the colour that it has in the composites of this book, and all of them together."}, "image": {"alt": "Six enlarged pictures of the same cells: mitochondria in red, actin and Golgi in orange, RNA in green, endoplasmic reticulum in teal, DNA in blue, and the composite."}}
SHOWS = {
    "Mito": "mitochondria:\nenergy, stress",
    "AGP": "actin, Golgi, membrane:\nshape, secretion",
    "RNA": "nucleoli, RNA:\ngrowth",
    "ER": "endoplasmic reticulum:\nprotein folding",
    "DNA": "nucleus:\nnumber, cell cycle",
}
shares = foreground_share(
    field.pixels[CHANNELS.index("DNA")], field.otsu, corners, size
)
best = corners[[int(shares.argmax())]]
window = cut(field.pixels, best, size)[0]
figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 5.0))
for axis, name, plane in zip(axes.flat, CHANNELS, window, strict=False):
    low, high = np.percentile(plane, (1, 99.7))
    grey = np.clip((plane - low) / (high - low), 0, 1)[..., None]
    tint = np.array(CHANNEL_COLORS[name])
    show_image(axis, np.clip(grey * tint / tint.max(), 0, 1), name)
    axis.set_xlabel(SHOWS[name], fontsize=8.5)
show_image(axes[1, 2], composite(window, CHANNELS), "all five")
tag(figure)

# %% [markdown]
# ## From a field to what the network sees
#
# A field is far too large for a network, and most of it may be empty. It is cut into squares; those
# with less than 1% of nuclei are left out. Crop features are averaged over the well, so a profile
# does not know where a cell was, and has no idea of single cells. That is the price of doing without
# {term}`segmentation`.

# %%
position = select(shares)
pixels = torch.from_numpy(cut(field.pixels, corners[position], size)).float()
with torch.inference_mode():
    crop_features = networks["DINO"](pixels / 65535)
profile = crop_features.mean(dim=0)
print(tuple(pixels.shape), "->", tuple(crop_features.shape), "->", len(profile))

# %% [markdown]
# ## Three ways to learn without labels
#
# All three take the same crops and the same kind of network ({term}`ViT`). They differ in what they
# hide and in what they compare.
#
# - **{term}`SimCLR`** takes two random views of each field. The two views of one field must be more
#   similar than any two of different fields.
# - **{term}`DINO`** takes two large and several small views. From a small one the network must
#   predict what a slow copy of itself says of a large one. There are no negatives.
# - **{term}`MAE`** hides patches and paints them in. There is one view and nothing to compare it with
#   but its own pixels.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-primer-views", "caption": "What each method makes of the same simulated field. SimCLR: two views. DINO: two global and four local ones. Both flip and change the intensity of each channel, in the released ranges. MAE: a crop, the half of its patches that the network is shown, and the hidden half as the loss wants it: every patch with its own mean and contrast taken out (RNA channel)."}, "image": {"alt": "A field with boxes for the views cut out of it; two SimCLR views in changed colours; two large and four small DINO views; a crop, the same crop with half of its patches grey, and the other half as grey squares."}}
rng = np.random.default_rng(seed)
generator = torch.Generator().manual_seed(seed)
level = 0.7 * field.otsu * 65535


def view(side, augmented=True):
    """One random crop with cells, (C, side, side) in 0..1."""
    taken = random_crop(field.pixels, level, side, rng)
    x = torch.from_numpy(taken.astype(np.float32))[None] / 65535
    if augmented:
        x = Color()(Flip()(x, generator), generator)
    return x[0]


def masked(x, patch=16):
    """The crop with the patches that MAE hides left grey."""
    side = x.shape[-1] // patch
    noise = torch.rand(1, side * side, generator=generator)
    hidden = random_masking(noise, mask_ratio)[2].reshape(side, side).bool()
    large = hidden.repeat_interleave(patch, 0).repeat_interleave(patch, 1)
    return large.numpy()


# All views are coloured on the field's own scale, so that changes are seen.
reference = field.pixels / 65535
low, high = np.percentile(reference, (1, 99.7), axis=(1, 2))


def colored(x):
    """RGB picture of a view."""
    scaled = (np.asarray(x) - low[:, None, None]) / (high - low)[:, None, None]
    tint = np.array([CHANNEL_COLORS[name] for name in CHANNELS])
    return np.clip(np.einsum("chw,ck->hwk", np.clip(scaled, 0, 1), tint), 0, 1)


def standardised(x, patch=16):
    """Every patch with its own mean and contrast taken out: MAE's target."""
    parts = patchify(x[None], patch)
    parts = parts - parts.mean(dim=-1, keepdim=True)
    parts = parts / (parts.std(dim=-1, keepdim=True) + 1e-6)
    side = x.shape[-1] // patch
    parts = parts.reshape(side, side, patch, patch, len(x))
    return parts.permute(4, 0, 2, 1, 3).reshape(x.shape)


plan = {
    "SimCLR": [view(crop), view(crop)],
    "DINO": [*(view(crop) for _ in range(2)), *(view(local) for _ in range(4))],
    "MAE": [torch.from_numpy(window[:, :crop, :crop] / np.float32(65535))],
}
hidden = masked(plan["MAE"][0])
shown = colored(plan["MAE"][0])
shown[hidden] = 0.6
rna = standardised(plan["MAE"][0])[CHANNELS.index("RNA")].numpy()
target = np.where(hidden[..., None], np.clip(rna / 6 + 0.5, 0, 1)[..., None], 1)
target = target.repeat(3, axis=2)
says = {
    "SimCLR": "two views of a field: alike;\nviews of two fields: not",
    "MAE": "from the patches that are shown,\npaint the hidden ones",
}
figure, axes = plt.subplots(3, 6, figsize=(WIDTH, 3.7))
for line, (name, seen) in zip(axes, plan.items(), strict=True):
    for axis in line:
        axis.axis("off")
    pictures = [colored(x) for x in seen]
    if name == "MAE":
        pictures += [shown, target]
    for axis, picture in zip(line, pictures, strict=False):
        axis.imshow(picture)
        edge = (crop - len(picture)) // 2  # a small view is shown at its size
        axis.set(xlim=(-edge, len(picture) + edge))
        axis.set(ylim=(len(picture) + edge, -edge))
    line[0].set_title(name)
    if name in says:
        words = line[len(pictures)].text(0, 0.5, says[name], fontsize=9)
        words.set(verticalalignment="center", in_layout=False)
for axis, title in [
    (axes[1, 2], "local: what would the whole say?"),
    (axes[2, 1], "shown"),
    (axes[2, 2], "hidden: target"),
]:
    words = axis.set_title(title, fontsize=8, fontweight="normal")
    words.set_in_layout(False)
tag(figure)

# %% [markdown]
# ## What each loss compares
#
# The shipped networks were trained for minutes on two CPU cores. Their own comparison can still be
# drawn: views of one field against views of others. The loss of SimCLR wants the diagonal high and
# the rest low. DINO's only wants the diagonal high; that not everything becomes alike is left to the
# teacher, whose answers are centred and sharpened. The released code centres by a running mean. The
# small shipped DINO balances its teacher within every step {cite:p}`oquab2024`: with so few images a running
# mean let it sort fields by staining batch.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-primer-losses", "caption": "What SimCLR and DINO compare, with the trained networks: cosine similarity of the features of two views of twelve treated, simulated fields, mean of sixteen draws (the mean over fields is taken off first). One row and one column for each field; the titles give the means on the diagonal and beside it."}, "image": {"alt": "Two square heat maps of similarity, fields by fields: first against second view for SimCLR, local against global view for DINO; the title gives the mean on the diagonal and beside it."}}
others = images[images["Metadata_Control"] != "negcon"]
others = others.drop_duplicates("Metadata_Target")["FileName_Merged"].head(12)
fields = [read_merged(file) for file in others]


def features(encoder, side):
    """Features of one random view of each field, centred, unit length."""
    taken = np.stack(
        [random_crop(f.pixels, 0.7 * f.otsu * 65535, side, rng) for f in fields]
    )
    x = Flip()(torch.from_numpy(taken.astype(np.float32)) / 65535, generator)
    with torch.inference_mode():
        y = encoder(x)
    return F.normalize(y - y.mean(dim=0), dim=1)


figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
for axis, name, sides, labels in [
    (axes[0], "SimCLR", (crop, crop), ("second view", "first view")),
    (axes[1], "DINO", (local, crop), ("global view", "local view")),
]:
    draws = [
        [features(networks[name], side) for side in sides] for _ in range(16)
    ]
    alike = sum(one @ two.T for one, two in draws) / len(draws)
    picture = axis.imshow(alike, vmin=-0.8, vmax=0.8, cmap="PuOr_r")
    same, all_pairs = alike.diagonal().mean(), alike.mean()
    rest = (len(alike) * all_pairs - same) / (len(alike) - 1)
    axis.set(xlabel=labels[0], ylabel=labels[1])
    axis.set_title(f"{name}\nsame field {same:.2f}, others {rest:.2f}")
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
figure.colorbar(picture, ax=axes, shrink=0.7, label="similarity")
tag(figure)

# %% [markdown]
# ## What to read next
#
# [The data](00_data) shows the screen that all this runs on; [augmentations](01_augmentation_ablation)
# what the random changes do to the result; [the comparison](02_ssl_comparison) is the paper's main
# figure. Words are explained in the [glossary](../glossary.md).
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run primer` with
#
# - `-p mask_ratio=0.75`: MAE shows less
# - `-p local=96`: local views as large as the global ones
#
# 1. Which of the three methods can work with a batch of one image?
#
# ```{admonition} Solution
# :class: dropdown
# MAE, whose loss compares a crop with itself. DINO has no negatives either, but its centre is a mean
# over the batch: with one image it would cancel the very signal. SimCLR has nothing to push away.
# ```
#
# 2. What would DINO have to learn less of if local views were as large as the global ones?
#
# ```{admonition} Solution
# :class: dropdown
# To say from a part what the whole is like. With equal sizes the student only has to see through flips
# and intensity changes, which SimCLR asks for, too.
# ```
#
# 3. How many patches of 16 px has a crop of 224 px, and how many of them does MAE's network see?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
patches = (224 // 16) ** 2
print(patches, "patches, of which", int(patches * (1 - mask_ratio)), "are seen")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(
    data=image_table.parent / "dataset.yaml", checkpoint=SHIPPED, seed=seed
)
