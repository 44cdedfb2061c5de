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
#
# **The paper's claim** (Fig. 4). On a {term}`UMAP` of DINO's features, compounds with the same
# {term}`target` lie together, and so do wells of the same {term}`batch` {cite:p}`kim2025`.
#
# **How it was tested there.** By eye, on printed maps with 20 targets in colour.
#
# **What is done here.** The same kind of map, to be asked: point at a {term}`well` and see what was
# done to it and what its cells look like. Everything is in this page; it works without a network.
# The numbers that say how far the eye can be trusted are in
# [the chapter on batch effects](05_batch_effects).
#
# ```{admonition} After this chapter you can
# :class: tip
# - find a well, its replicates and its neighbours
# - say which distances on a map mean something
# - form a suspicion that a number must then confirm
# ```

# %% tags=["parameters"]
data = "lite"  # simulated screen (lite), or the path of an image table
profiles = {}  # profile tables instead of images: {"Mine": ["plate1.csv"]}
pictures = ""  # image table to draw pictures from, beside profile tables
checkpoints = {}  # one more feature type each: {"Mine": "mine.pth"}
method = "sphere+mad_robustize"  # normalisation, or none
perturbation = ""  # column of perturbations, if it has another name
batch = ""  # column of batches (one batch only? take the plate)
label = ""  # column of labels [target, gene family or gene]
control = ""  # column that marks the negative controls
data_name = ""  # what the map calls real data [the table's folder]
thumbnail = 128  # side of a well's picture in px (2 to 3 kB each), 0 for none
seed = 0  # of random weights and UMAP

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
from PIL import Image

from cpssl_lite.book import provenance
from cpssl_lite.book.explorer import explorer, sheet
from cpssl_lite.base.errors import InputError
from cpssl_lite.profiles.evaluate import label_column
from cpssl_lite.book.features import load_features
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.table import read_image_table
from cpssl_lite.profiles.maps import umap_map
from cpssl_lite.profiles.table import profile_matrix

features = load_features(
    data,
    profiles,
    checkpoints=checkpoints,
    method=method,
    perturbation=perturbation,
    batch=batch,
    label=label,
    control=control,
    data_name=data_name,
    seed=seed,
)
images = read_image_table(pictures) if pictures else features.images

# %% [markdown]
# Normalised profiles, then principal components (200, or as many as there are), then UMAP, with
# the settings of the paper's Methods. A well must be in every table to be on the maps.

# %% tags=["hide-input"]
tables = features.normalized()
WELL = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_Well"]
first = next(iter(tables))
key = [column for column in WELL if all(column in t for t in tables.values())]
matrices = {}
for name, table in tables.items():
    head, matrix = profile_matrix(table)
    matrices[name] = (
        head,
        pd.DataFrame(matrix, pd.MultiIndex.from_frame(head[key])),
    )
common = matrices[first][1].index
for _, matrix in matrices.values():
    common = common[common.isin(matrix.index)]

# %%
maps = {
    name: umap_map(matrix.loc[common].to_numpy(), seed)
    for name, (_, matrix) in matrices.items()
}

# %% tags=["hide-input"]
head = matrices[first][0]
head = head.set_index(pd.MultiIndex.from_frame(head[key])).loc[common]
treated = (head["Metadata_Control"] == "").to_numpy()
column = label_column(tables[first], label or None)
shown = {"Well": "Metadata_Well", "Perturbation": "Metadata_Perturbation"}
if column:
    shown[column.removeprefix("Metadata_")] = column
shown |= {name: f"Metadata_{name}" for name in ("Plate", "Batch", "Source")}
wells = pd.DataFrame(
    {name: head[c].to_numpy(str) for name, c in shown.items() if c in head}
)
kinds = {
    "": "treated",
    "negcon": "negative control",
    "poscon": "positive control",
}
what = list(wells)[2] if column else None
status = head["Metadata_Control"].map(kinds).to_numpy(str)
wells.insert(3 if what else 2, "Control", status)
if what:
    wells[what] = wells[what].replace("", f"no {what.lower()}")
grey = ["negative control", f"no {what.lower()}" if what else ""]
grey += sorted(set(wells["Perturbation"][~treated]))
offered = [what, "Perturbation", "Batch", "Source", "Plate", "Control"]
offered = [c for c in offered if c in wells and wells[c].nunique() > 1]

# %% [markdown]
# Each well also gets a picture of its first {term}`field of view <Field of view>`. All wells of a
# {term}`plate` are drawn with the same contrast, so a dark well is dark here, too.


# %%
def small_field(record):
    """The middle square of a field, five channels, `thumbnail` px wide."""
    planes = read_field(record, CHANNELS).pixels.astype(np.float32)
    _, height, width = planes.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    box = (left, top, left + side, top + side)
    size = (thumbnail, thumbnail)
    return np.stack(
        [Image.fromarray(p).resize(size, Image.BOX, box) for p in planes]
    )


# %% tags=["hide-input"]
sheets = []
if images is not None and thumbnail:
    fields = images.drop_duplicates(key).set_index(key)
    lost = common[~common.isin(fields.index)]
    if len(lost):
        raise InputError(
            f"{pictures or data}: no image of well {'/'.join(lost[0])}"
            f" ({len(lost)} of {len(common)} wells)"
        )
    for _, part in wells.groupby("Plate"):
        records = fields.loc[common[part.index]].to_dict("records")
        planes = np.stack([small_field(record) for record in records])
        sheets.append(sheet(planes, CHANNELS, part.index))

data_kind = f"real data: {features.data_kind}"
data_kind = "simulated data" if features.simulated else data_kind

# %% [markdown]
# ## The map
#
# - **Point at a well**, tap it, or go to the map with the Tab key and walk with the arrow keys. A
#   click or Enter keeps the card; Escape lets it go.
# - **Search** for any word on the card; several words must all be there (`L-CPD-0018 S2`). The
#   menus and the legend pick groups; everything else fades.
# - **Features** moves every well to its place on the map of another feature type. The maps are
#   turned and mirrored to lie as near to the first as they can.
# - Plus and minus zoom; drag to move. **Show as a table** lists what is picked.

# %% tags=["hide-input"]
explorer(
    wells,
    maps,
    color_by=offered,
    select=what,
    sheets=sheets,
    grey=grey,
    title=f"UMAP of {len(wells)} wells ({data_kind})",
)

# %% [markdown]
# ## What this shows and what it does not
#
# A map of this kind keeps who is near whom, roughly, and little else: the size of a group, the
# gap between two groups and the two axes mean nothing. A group by eye is a reason to look
# further, not a result. The metrics of the other chapters are computed on the features, never on
# the map.
#
# On the simulated screen about a quarter of the targets is drawn strong enough to be seen as groups
# of their own; the others stay in the cloud around the controls, where the retrieval metrics still
# find replicates that the eye does not. That real batches separate on DINO's map cannot be seen on
# these data.
#
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
# ## Exercises
#
# **Change this and see.** Each is `cpssl run explorer` with
#
# - `-p method=none`: what the map shows before normalisation
# - `-p seed=1`: the same neighbours, another map
#
# 1. Colour by batch. Which feature type keeps the batches apart most? Then colour by control: do the
#    controls of one batch lie together?
#
# ```{admonition} Solution
# :class: dropdown
# On the simulated screen none does: centring and scaling each plate (MAD robustize) has mixed them.
# Run the page again with `-p method=none` and compare.
# ```
#
# 2. Pick one target. Are its wells together because of the compound or because of the plate?
#
# ```{admonition} Solution
# :class: dropdown
# Each compound is on every plate once. If its wells lie together across plates, it is the compound.
# ```
#
# 3. Two groups lie far apart on the map. How much further apart are they than two that touch?
#
# ```{admonition} Solution
# :class: dropdown
# The map does not say. UMAP keeps neighbours; distances between groups depend on the seed.
# Compare the profiles themselves, or run it with `-p seed=1` and look again.
# ```
#
# 4. How often is a well's nearest neighbour in the profiles from its own plate? How often by
#    chance?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
from cpssl_lite.metrics.graph import nearest_graph

near = nearest_graph(matrices[first][1].loc[common].to_numpy(), 1)
if "Metadata_Plate" in head:
    plates = head["Metadata_Plate"].to_numpy()
    same = (plates[near.neighbours[:, 0]] == plates).mean()
    chance = pd.Series(plates).value_counts(normalize=True).pow(2).sum()
    print(f"{same:.0%}, by chance {chance:.0%}")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
