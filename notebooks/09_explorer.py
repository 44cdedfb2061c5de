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
# # Explore the wells

# %% tags=["parameters", "hide-input"]
data = "lite"  # simulated screen (lite), or the path of an image table
profiles = {}  # profile tables instead of images: {"Mine": ["plate1.csv"]}
pictures = ""  # image table to draw pictures from, beside profile tables
checkpoints = {}  # one more feature type each: {"Mine": "mine.pth"}
measured = True  # features of segmented cells, too (minutes on new images)
method = "sphere+mad_robustize"  # normalisation, or none
perturbation = ""  # column of perturbations, if it has another name
batch = ""  # column of batches (one batch only? take the plate)
label = ""  # column of labels [target, gene family or gene]
control = ""  # column that marks the negative controls
data_name = ""  # what the map calls real data [the table's folder]
thumbnail = 128  # side of a well's picture in px at most, 0 for none
seed = 0  # of random weights and UMAP

# %% tags=["hide-input"]
import numpy as np
import pandas as pd

from cpssl_lite.book import provenance
from cpssl_lite.book.chapter import ask, headline
from cpssl_lite.book.figures import style
from cpssl_lite.book.parameters import features_of

style()
features = features_of(globals(), measured=measured and not profiles)
tables, first = features.normalized(), next(iter(features.raw))

# %%
from cpssl_lite.book.explored import card, pictures as small_pictures
from cpssl_lite.book.explored import wells_in_all
from cpssl_lite.images.table import read_image_table

head, values = wells_in_all(features, tables)
treated = (head["Metadata_Control"] == "").to_numpy()
wells, what, grey, offered = card(features, tables, head, label or None)
images = read_image_table(pictures) if pictures else features.images
sheets = small_pictures(wells, head, images, thumbnail, pictures or data)

# %%
from cpssl_lite.profiles.maps import umap_map

maps = {name: umap_map(matrix, seed) for name, matrix in values.items()}

# %%
from cpssl_lite.metrics.graph import nearest_graph

compound = wells["Perturbation"].to_numpy()
shares = {}
for name, matrix in values.items():
    close = nearest_graph(matrix[treated], 1).neighbours[:, 0]
    shares[name] = (compound[treated][close] == compound[treated]).mean()
best, worst = max(shares, key=shares.get), min(shares, key=shares.get)

# %% tags=["hide-input"]
headline(
    f"In the features of {best} the nearest treated well has the same "
    f"perturbation in {shares[best]:.0%} of {treated.sum()} wells"
    + f"; in those of {worst} in {shares[worst]:.0%}" * (len(shares) > 1)
    + ". Look at which ones, and why."
)

# %%
from cpssl_lite.book.explorer import explorer

real = f"real data: {features.data_kind}"
kind = "simulated data" if features.simulated else real
explorer(
    wells,
    maps,
    color_by=offered,
    select=what,
    sheets=sheets,
    grey=grey,
    title=f"UMAP of {len(wells)} wells ({kind})",
    features=values,
    controls=(head["Metadata_Control"] == "negcon").to_numpy(),
)

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - find a well, its replicates and its neighbours
# - say which distances on a map mean something
# - form a suspicion that a number must then confirm
# ```
#
# - **Point at a well**, tap it, or go to the map with the Tab key and walk with the arrow keys. A
#   click or Enter pins it: below the map you then see its picture, stain by stain if you like, its
#   nearest wells in the features (not on the map), and another well or its plate's controls beside it.
# - **Pick** by search (several words must all be there, a compound and a plate, say), by the menus, by the legend,
#   by a lasso, or well by well with the space bar. What is picked can be listed, and saved as CSV.
# - **Map** moves every well to its place on the map of another feature type, turned and mirrored to lie
#   as near to the first as it can, or to its place on the plate. Plus, minus or two fingers zoom.
# - **Why is its mAP what it is?** *AP* is a compound's own average precision in the first features (the
#   chapters' perturbation {term}`mAP` is the mean over compounds; [the primer](12_primer) works one out),
#   *q* how sure it differs from its plates' controls. Pin a well with a low AP and see who stands before
#   its replicates.
# - The address of the page remembers the view: copy it to show others what you see.
#
# ## What the map is
#
# **The paper's claim** (Fig. 4). On a {term}`UMAP` of DINO's features, compounds with the same
# {term}`target` lie together, and so do wells of the same {term}`batch` {cite:p}`kim2025`. It was tested
# by eye, on printed maps with 20 targets in colour.
#
# **Here** it is the same kind of map, to be asked: normalised profiles, then principal components (200,
# or as many as there are), then UMAP, with the settings of the paper's Methods. All pictures of a plate
# have one contrast for each stain, so a dark well is dark here, too.
#
# A map of this kind keeps who is near whom, roughly, and little else: the size of a group, the
# gap between two groups and the two axes mean nothing. A group by eye is a reason to look
# further, not a result. The metrics of the other chapters are computed on the features, never on
# the map; [batch effects](05_batch_effects) says how far the eye can be trusted.
#
# ## Predict, then look

# %% tags=["hide-input"]
plates = wells["Plate"].to_numpy() if "Plate" in wells else compound
chance = pd.Series(plates).value_counts(normalize=True).pow(2).sum()
own = {
    name: (plates[nearest_graph(m, 1).neighbours[:, 0]] == plates).mean()
    for name, m in values.items()
}
most = max(own, key=own.get)
about = "a well's nearest neighbour come from its own plate"
choices, question = list(own), f"In which features does {about} most often?"
if len(own) == 1:  # nothing to choose from
    question = f"How often, beside chance, does {about}?"
    choices = ["less often", "about as often", "twice as often or more"]
    times = own[most] / chance
    most = choices[int(times > 0.8) + int(times >= 2)]
ask(
    question,
    choices,
    right=most,
    why=", ".join(f"{name}: {share:.0%}" for name, share in own.items())
    + f"; by chance {chance:.0%}.",
)

# %% tags=["hide-input"]
from scipy.spatial import KDTree

eight = nearest_graph(values[first], 8).neighbours
on_map = KDTree(maps[first]).query(maps[first], 2)[1][:, 1]
kept = (eight == on_map[:, None]).any(axis=1).mean()
parts = ["in less than a third", "in a third to two thirds", "in more"]
ask(
    "How often is the nearest well on the map one of the eight nearest in the features?",
    parts,
    right=parts[int(np.digitize(kept, (1 / 3, 2 / 3)))],
    why=f"In {kept:.0%} of the wells; by chance {8 / (len(wells) - 1):.1%}. "
    "The map has two dimensions for many.",
)

# %% [markdown]
# ## Exercises
#
# 1. Are wells of one compound near each other because of the compound, or because they are of one
#    batch? Colour by batch, pick a target, then count.

# %% tags=["solution"]
batches = wells["Batch"].to_numpy() if "Batch" in wells else plates
near = nearest_graph(values[first][treated], 8).neighbours
of_near, of_batch = compound[treated][near], batches[treated][near]
right = of_near[:, 0] == compound[treated]
other = of_batch[:, 0] != batches[treated]
print(f"{right.mean():.0%} of the nearest wells are of the same compound;")
print(f"of these, {other[right].mean():.0%} come from another batch")

# %% [markdown]
# 2. For how many wells is none of the eight nearest of the same compound? Find one on the map.

# %% tags=["solution"]
none = (of_near != compound[treated][:, None]).all(axis=1)
example = wells[treated]["Well"][none].head(1).tolist()
print(f"{none.sum()} of {len(none)}", *(f"; one is {w}" for w in example))

# %% [markdown]
# ## Re-run it on your data
#
# ```bash
# # your images, after cpssl data prepare
# cpssl run explorer -p data=data/mine/images.parquet
# # any profile tables of the same wells; without an image table there are no pictures
# cpssl run explorer -p pictures=images.parquet \
#   -p profiles='{"DINO": ["dino.parquet"], "CellProfiler": ["cp/*.csv.gz"]}'
# ```
#
# `-p method=none` shows the map before normalisation, `-p seed=1` the same neighbours on another map.
#
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
