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

# %% tags=["parameters", "hide-input"]
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
from scipy.ndimage import gaussian_filter

from cpssl_lite.book import provenance
from cpssl_lite.book.chapter import ask, frame_table, headline, show
from cpssl_lite.book.figures import WIDTH, composite
from cpssl_lite.book.figures import show_image, style
from cpssl_lite.book.plots import picture_rows, pictures
from cpssl_lite.book.html import markdown
from cpssl_lite.data.fetch import index_of, locate, write_load_data
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.prepare import prepare
from cpssl_lite.data.qc import quality
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_merged, read_plane, write_merged
from cpssl_lite.metrics.nearest import accuracy, nearest_neighbours, standardise
from cpssl_lite.models.checkpoints import DEFAULT, load_encoder, random_like
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import profile_matrix, read_profiles

style()
label = "Metadata_Perturbation"
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
kind = "real: CPJUMP1" if real else origin
fields = read_image_table(load_data)
control = fields.index[fields["Metadata_Control"] == "negcon"][0]
files = fields.loc[control, [f"FileName_{name}" for name in CHANNELS]]
raw = np.stack([read_plane(file) for file in files])
scaled = scale_intensities(raw, low, high)

# %% tags=["hide-input"]
range_used = (
    np.ptp(np.percentile(raw, [low, high], axis=(1, 2)), axis=0) / 65535
)
share = pd.Series(range_used, CHANNELS)
dim = share.index[share < 0.25]
headline(
    f"Between its percentiles {low:g} and {high:g} an untreated field uses {share.min():.0%} ({share.idxmin()}) to {share.max():.0%} ({share.idxmax()}) of a camera's grey levels"
    + f": unscaled, {' and '.join(filter(None, [', '.join(dim[:-1]), *dim[-1:]]))} would be almost black."
    * (len(dim) > 0)
)
side = min(256, *raw.shape[1:])
corners = grid(*raw.shape[1:], side)
nuclei = [scaled[-1, y : y + side, x : x + side].mean() for y, x in corners]
top, left = corners[np.argmax(nuclei)]
view = np.s_[:, top : top + side, left : left + side]
both = {"as stored": raw[view] / 65535, "scaled": scaled[view]}
figure = picture_rows(both, CHANNELS)
caption = f"An untreated field ({kind}), {side} px of it, in its five channels. Above, as stored: black is 0 and white 65,535. Below, clipped at the percentiles {low:g} and {high:g} of each channel and scaled."
alt = "Two rows of five grey pictures. The upper ones are dim; the lower ones show cells in the five stains."
show(figure, "fig-raw-scaled", origin, caption=caption, alt=alt)

# %% [markdown]
# **The paper's claim** (Methods). {term}`Well <well>` features come straight from images, without
# {term}`segmentation`: five single-{term}`channel` TIFFs become one file, the file becomes
# {term}`crops <crop>`, a network turns each crop into numbers, and their mean is the well's
# {term}`profile` {cite:p}`kim2025`.
#
# **How it was done there.** On {term}`JUMP-CP` images, clipped at the 0.01st and the 99.9th
# percentile of each channel, with the {term}`Otsu threshold` of the DNA channel kept beside them.
#
# **What is done here.** The same steps, one by one, from the consortium's `load_data` table to
# similarities. Real images are those of {cite:t}`chandrasekaran2024`.

# %% tags=["hide-input"]
get = "`cpssl data fetch cpjump1_examples` gets seven real fields (79 MB, CC0)"
Markdown(
    "**The images are real**: seven fields of U2OS cells, seven treatments, three plates of CPJUMP1 (CC0). Enough to see every step, not enough to compare replicates."
    if real
    else f"**The images are simulated**: {markdown(real_images)} does not hold the CPJUMP1 examples. {get}."
)

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - read a `load_data` table, and know which file is which stain
# - say what scaling does to five channels, and what depends on its percentiles
# - tell a usable field from an empty or blurred one
# ```
#
# ## What comes from the microscope
#
# A `load_data` table has a row per {term}`field <field of view>` and says which file is which
# channel. JUMP's tables name files in two ways (`URL_Orig...`, or `PathName_Orig...` with
# `FileName_Orig...`); `read_image_table` reads both.

# %%
fields = read_image_table(load_data)
fields["File"] = [Path(file).name for file in fields["FileName_DNA"]]
where = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
what = {name: name.removeprefix("Metadata_") for name in (*where, label)}
shown = fields.set_index("File").head(8)
frame_table(
    shown, what, f"{len(fields)} fields by their DNA file", first="DNA file"
)

# %% [markdown] tags=["more"]
# ## Two conventions
#
# The paper's text clips at the 0.01st percentile, the released code at the 0.1st. How far apart the
# two images are depends on the channel: on how many of its grey levels lie between the two.

# %%
apart = scale_intensities(raw, 0.01, 99.9) - scale_intensities(raw, 0.1, 99.9)
levels = (
    np.percentile(raw, [0.01, 0.1, 99.9], axis=(1, 2)).T.round().astype(int)
)
names = [f"{x} percentile" for x in ("0.01st", "0.1st", "99.9th")]
two = pd.DataFrame(levels.astype(object), CHANNELS, names)
two["mean difference"] = np.abs(apart).mean(axis=(1, 2))
two["largest"] = np.abs(apart).max(axis=(1, 2))
caption = "Grey levels of the field above, and how far the two scaled images (0 to 1) are apart"
frame_table(two, caption=caption, first="Channel", form=".4f", fold=False)

# %% tags=["hide-input"]
worst = two["mean difference"].idxmax()
ask(
    "In which channel do the two conventions differ most?",
    CHANNELS,
    right=worst,
    why=f"Its pixels differ by {two.loc[worst, 'mean difference']:.4f} on average. It uses {share[worst]:.0%} of the camera's grey levels, so that a low percentile moves it far.",
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

# %% tags=["hide-input"]
tiles = {}
for _, row in images.head(8).iterrows():
    name = f"{row[label]}\n{row['Metadata_Plate']} {row['Metadata_Well']}"
    tiles[name] = composite(read_merged(row["FileName_Merged"]))
caption = f"{len(tiles)} fields ({kind}) as composites (Mito red, AGP orange, RNA green, ER teal, DNA blue), with treatment, plate and well."
alt = "A grid of coloured pictures of cells, each titled with its treatment; fields differ in the number and shape of cells."
show(
    pictures(list(tiles.values()), list(tiles), 4),
    "fig-raw-composites",
    origin,
    caption=caption,
    alt=alt,
)

# %% [markdown]
# ## Is it any good?
#
# Before anything is computed: is a field empty or out of focus? To see what the answer looks like, the
# untreated field is spoiled twice: blurred as by a lens that is two pixels out, and emptied of cells, so
# that scaling has stretched nothing but noise.

# %%
place = images.index[images["Metadata_Control"] == "negcon"][0]
good = read_merged(images.loc[place, "FileName_Merged"])
noise = np.random.default_rng(seed).normal(20_000, 4_000, good.pixels.shape)
spoiled = {
    "blurred": gaussian_filter(good.pixels.astype(float), (0, 2, 2)),
    "emptied": noise.clip(0, 65535),
}
rows = []
for name, pixels in spoiled.items():
    file = str(work / f"{name}.tiff")
    otsu = otsu_threshold(pixels[CHANNELS.index("DNA")] / 65535)
    write_merged(file, pixels.astype(np.uint16), otsu)
    about = {"FileName_Merged": file, "Metadata_Well": name}
    rows.append({**images.loc[place], **about})
both = work / "merged" / "spoiled.parquet"
pd.concat([images, pd.DataFrame(rows)]).to_parquet(both)
page = quality(both, work / "qc.html", workers=1)
measures = pd.read_csv(page.with_suffix(".csv"), keep_default_na=False)

# %% tags=["hide-input"]
last = measures.iloc[[place, -2, -1]]
dna = CHANNELS.index("DNA")
tiles = [good.pixels[dna], *(x[dna] for x in spoiled.values())]
titles = ["as it is", *spoiled]
zoomed = [tile[view[1:]] / np.percentile(tile, 99.9) for tile in tiles]
figure = picture_rows({"DNA": zoomed}, titles)
said = [
    f"{name}, {row.foreground:.0%} foreground, slope {row.slope_DNA:.1f} ({row.flag or 'no flag'})"
    for name, row in zip(titles, last.itertuples(), strict=True)
]
caption = f"The DNA channel of the untreated field ({kind}) and of its two spoiled copies, and what the quality check says: {'; '.join(said)}."
alt = "Three grey pictures: sharp nuclei, the same nuclei blurred, and noise without nuclei."
show(figure, "fig-raw-spoiled", origin, caption=caption, alt=alt)

# %% [markdown]
# The measure of focus is the slope of the power spectrum: the steeper, the less fine detail. A field
# is flagged where it lies far below the others of its plate. The measure of emptiness is the share of
# pixels above 0.7 times Otsu's threshold, which is small where there are few nuclei and absurdly
# large where there are none. `cpssl data prepare --qc` writes a page with every plate.

# %%
measures.index = measures[label] + " " + measures["Metadata_Well"]
columns = {name: name for name in ("otsu", "foreground", "slope_DNA", "flag")}
caption = "Quality of the fields and of the two spoiled copies"
frame_table(measures.tail(9), columns, caption, first="Field")

# %% [markdown] tags=["more"]
# ## Crops
#
# The field is cut from the top left; crops in which under 1% is brighter than 0.7 times Otsu's
# threshold are left out.

# %%
encoder = load_encoder(checkpoint or DEFAULT)
size = encoder.crop_size
crops, owner, grids = [], [], []
for number, file in enumerate(images["FileName_Merged"]):
    field = read_merged(file, encoder.channels)
    dna = field.pixels[encoder.channels.index("DNA")]
    corners = grid(*dna.shape, size)
    kept = select(foreground_share(dna, field.otsu, corners, size))
    crops.append(cut(field.pixels, corners[kept], size))
    owner += [number] * len(kept)
    grids.append((corners, kept))
crops, owner = np.concatenate(crops), np.array(owner)

# %% tags=["hide-input"]
used = [len(kept) / len(corners) for corners, kept in grids]
number = int(np.argmin(used))
corners, kept = grids[number]
picture = composite(read_merged(images["FileName_Merged"][number])) / 255
for place in set(range(len(corners))) - set(kept.tolist()):
    top, left = corners[place]
    tile = picture[top : top + size, left : left + size]
    tile[:] = 0.45 + 0.3 * tile  # on black, dimming would not be seen
figure, axis = plt.subplots(figsize=(4.2, 4.4))
show_image(axis, picture, images[label][number])
for top, left in corners:
    axis.add_patch(
        plt.Rectangle(
            (left, top), size, size, fill=False, edgecolor="white", lw=0.6
        )
    )
caption = f"The field ({kind}) of which the smallest share is used, with its grid of crops of {size} px: {len(kept)} are used, the {len(corners) - len(kept)} under a grey veil hold too little nucleus."
alt = "A coloured picture of few cells under a grid; the squares without nuclei are grey."
show(figure, "fig-raw-crops", origin, caption=caption, alt=alt)

# %% [markdown]
# ## Features and similarity
#
# First a question that needs no labels. Take a crop: is the most similar other crop from the same
# field? Random weights say how much of that needs no training.


# %%
@torch.inference_mode()
def embed(network):
    """Features of every crop, (n, d)."""
    parts = torch.from_numpy(crops).split(64)
    return torch.cat([network(part / 65535) for part in parts]).numpy()


def same_field(features):
    """Share of crops whose nearest other crop (cosine) is from the same field."""
    (neighbour,) = nearest_neighbours(standardise(features), [()])
    return accuracy(owner, neighbour)


counts = np.bincount(owner)
shares = {
    checkpoint or "DINO (shipped)": same_field(embed(encoder)),
    "Random weights": same_field(embed(random_like(encoder, seed))),
    "Chance": (counts * (counts - 1)).sum() / (len(owner) * (len(owner) - 1)),
}

# %% tags=["hide-input"]
trained, untrained, chance = shares.values()
closer = (
    "random weights"
    if untrained - chance > (trained - chance) / 2
    else "chance"
)
ask(
    f"Of {len(crops)} crops of {len(counts)} fields, a trained network finds the nearest one in the same field for {trained:.0%}, chance for {chance:.0%}. Are random weights nearer to chance or to the trained network?",
    ("to chance", "to the trained network"),
    right="to chance" if closer == "chance" else "to the trained network",
    why=f"They reach {untrained:.0%}: brightness and the number of cells are enough to tell fields apart.",
)

# %% [markdown]
# Then wells, as every other chapter has them: the mean over all crops of a well, here compared by
# cosine after standardising each feature.

# %%
profiles = read_profiles(extract(images, encoder, work / "raw.parquet"))
head, values = profile_matrix(profiles)
unit = standardise(values)
unit /= np.linalg.norm(unit, axis=1, keepdims=True)
similarity = unit @ unit.T

# %% tags=["hide-input"]
order = np.argsort(head[label].to_numpy(), kind="stable")
where = head["Metadata_Plate"] + " " + head["Metadata_Well"]
names = (head[label] + ", " + where).iloc[order]
figure, axis = plt.subplots(figsize=(WIDTH, 4.4))
shown = axis.imshow(
    similarity[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1
)
axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
axis.set_yticks(range(len(names)), names, fontsize=8)
axis.grid(False)
figure.colorbar(shown, label="cosine similarity")
caption = f"Cosine similarity of the profiles of {len(names)} wells ({kind}), standardised over these wells only: with so few it shows which are far from the rest, not which are alike for a reason."
alt = "Square heat map of wells by wells named by treatment, one on the diagonal; positive and negative blocks."
show(figure, "fig-raw-similarity", origin, caption=caption, alt=alt)

# %% [markdown]
# ## What this shows and what it does not
#
# It shows that the steps run on images as a microscope leaves them, and what each step does to
# them. It measures nothing about the paper's claims: that needs replicates of many treatments over
# several batches, and a network trained on such images. The network that the package ships was
# trained on simulated cells.
#
# **Takeaway.** Look at the images, and at what each step leaves of them, before you compute
# anything: a blurred or an empty field gives a profile like any other.
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
# **Change this and see.** `cpssl run raw_images -p low=0.1` clips at the released code's percentile;
# `-p high=99` clips more of the bright pixels.

# %% tags=["hide-input"]
ask(
    "How much of a camera's 65,536 grey levels does each channel use between the two percentiles?",
    right=", ".join(f"{name} {part:.1%}" for name, part in share.items()),
)

# %% tags=["hide-input"]
dim = scale_intensities((raw / 4).astype(raw.dtype), low, high)
ask(
    "Every field is scaled by its own percentiles. What can be lost by that? Try it with a field four times darker.",
    right=f"How bright a field is as a whole: at a quarter of the light the scaled pixels differ by {np.abs(dim - scaled).mean():.4f} on average.",
    why="A treatment that dims all cells alike leaves nothing to see. And in an empty field the noise is stretched until it looks like structure.",
)

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
scratch.cleanup()
provenance.show(data=real_images if real else None, seed=seed)
