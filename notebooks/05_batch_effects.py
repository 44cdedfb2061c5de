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
# # Batch effects
#
# **The paper's claim** (Fig. 4, Supplementary Figs. 9 and 10). Seen in two dimensions by {term}`UMAP`,
# DINO's features group compounds by {term}`target`, but also by {term}`batch` and {term}`source`,
# more than CellProfiler's do. The differences are largest among the DMSO controls and follow the
# number of cells in the well. Measured on the features themselves instead of on the map, both
# kinds of features are affected alike {cite:p}`kim2025`.
#
# **How it was tested there.** Wells of 16 batches from four sources, every compound in all of
# them. UMAP of the first 200 principal components (correlation distance, 50 neighbours, minimum
# distance 0.7). Then three numbers with batches or sources as clusters: {term}`silhouette`,
# {term}`graph connectivity` and {term}`LISI`, beside two baselines: Gaussian clusters that do not
# overlap, and the same with shuffled labels.
#
# **What is done here.** The same map and the same three numbers, by default on the
# [simulated screen](00_data), where the batch effect is known because it was drawn. Then three
# questions that a user of such features asks next: which {term}`confounder <confounder>` is it, does
# {term}`Harmony` remove it, and what does that cost?
#
# ```{admonition} After this chapter you can
# :class: tip
# - tell a batch effect from a difference that the design put there
# - say what silhouette, graph connectivity and LISI each see and miss
# - say what a correction such as Harmony may take away
# ```

# %% tags=["parameters"]
data = "lite"  # simulated screen (lite), or the path of an image table
profiles = {}  # profile tables instead of images: {"Mine": ["plate1.csv"]}
release = ""  # folder of the authors' release, instead of images
release_set = "multisource"  # or singlesource, ORF
checkpoints = {}  # one more feature type each: {"Mine": "mine.pth"}
measured = True  # also features measured on segmented cells
method = ""  # one normalisation for all, or none [the paper's for each type]
perturbation = ""  # column of perturbations, if it has another name
batch = ""  # column of batches (one batch only? take the plate)
label = ""  # column of labels [target, gene family or gene]
control = ""  # column that marks the negative controls
cell_count = "Metadata_Count_Cells"  # column of cells per well, if there is one
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of random weights, UMAP, baselines and Harmony

# %% tags=["hide-input"]
import logging

import harmonypy
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.metrics import f1_score

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.figures import (
    COLORS,
    SPARE_COLORS,
    WIDTH,
    color,
    marker,
    style,
    tag,
)
from cpssl_lite.book.html import table as html_table
from cpssl_lite.profiles.evaluate import evaluate, label_column
from cpssl_lite.book.features import load_features
from cpssl_lite.metrics.batch import (
    CONNECTIVITY_K,
    LISI_K,
    gaussian_clusters,
    graph_connectivity,
    lisi,
    silhouette,
)
from cpssl_lite.metrics.graph import nearest_graph
from cpssl_lite.metrics.nearest import nearest_neighbours, standardise
from cpssl_lite.metrics.similarity import encode
from cpssl_lite.metrics.variance import variance_explained
from cpssl_lite.profiles.maps import umap_map
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.table import profile_matrix

style()

# %% [markdown]
# ## Profiles
#
# The same raw profiles as in [the comparison of extractors](02_ssl_comparison), normalised in the
# same way. Negative controls stay in: they tell most about batches, because their treatment is the
# same everywhere.

# %% tags=["hide-input"]
features = load_features(
    data,
    profiles,
    release,
    release_set,
    checkpoints=checkpoints,
    measured=measured,
    method=method,
    perturbation=perturbation,
    batch=batch,
    label=label,
    control=control,
    data_name=data_name,
    seed=seed,
)
raw, tables = features.raw, features.normalized()
as_given = set(features.methods.values()) == {"none"}

first = features.find("DINO") or next(iter(tables))
handmade = features.measured()
# The other one that is drawn beside it: what the paper compared with, or no training.
baselines = [n for n, t in features.types.items() if t.kind == "baseline"]
other = [n for n in (handmade, *baselines, *tables) if n and n != first]
shown = [first, *other[:1]]

simulated, data_kind = features.simulated, features.data_kind

WELL = ["Metadata_Plate", "Metadata_Well"]


def facts(table):
    """What is known of every well beside its features, one column a factor."""
    names = ["source", "batch", "plate", "well", "control", "perturbation"]
    known = table.filter([f"Metadata_{name.title()}" for name in names])
    known = known.astype(str).reset_index(drop=True)
    known.columns = known.columns.str.removeprefix("Metadata_").str.lower()
    if "source" not in known or (known["source"] == "").all():
        known["source"] = "one source"
    elif known["source"].nunique() > 1:  # two sources may both have a "Batch1"
        if known.groupby("batch")["source"].nunique().max() > 1:
            known["batch"] = known["source"] + "/" + known["batch"]
    known["negcon"] = known.get("control", "") == "negcon"
    if cell_count in table:
        known["cells"] = pd.to_numeric(table[cell_count]).to_numpy(float)
    else:
        wells = pd.MultiIndex.from_frame(table[WELL])
        known["cells"] = counts.reindex(wells).to_numpy(float)
    return known


# Cells are counted by segmentation; where they were drawn and not counted, the truth is known.
counts = pd.Series(dtype=float)
table = features.image_table
truth = table.parent / "truth.parquet" if table else None
if truth and truth.is_file():
    counts = pd.read_parquet(truth).set_index(WELL)["cells"]
for wells in raw.values():
    if cell_count in wells:
        counts = pd.to_numeric(wells.set_index(WELL)[cell_count])
counts = counts[~counts.index.duplicated()]


matrices = {name: profile_matrix(table) for name, table in tables.items()}
heads = {name: facts(head) for name, (head, _) in matrices.items()}
values = {name: matrix for name, (_, matrix) in matrices.items()}
unprocessed = {name: profile_matrix(table) for name, table in raw.items()}
head = heads[first]
groupings = [
    factor for factor in ("batch", "source") if head[factor].nunique() > 1
]
counted = bool(head["cells"].notna().any())
html_table(
    ("Features", "Wells", "Controls", "Features kept", "Batches", "Sources"),
    [
        (
            name,
            len(known),
            int(known["negcon"].sum()),
            values[name].shape[1],
            known["batch"].nunique(),
            known["source"].nunique(),
        )
        for name, known in heads.items()
    ],
    caption=f"What is compared ({'simulated' if simulated else 'real'} data)",
)

# %% [markdown]
# ## The map, by target
#
# As in Methods: principal components first (200, or as many as the features allow), then UMAP. The
# seed makes the map the same in every run. A map is a picture of who is near whom; distances
# between far groups, and the axes, mean nothing.

# %%
maps = {name: umap_map(matrix, seed) for name, matrix in values.items()}

# %% [markdown]
# Twenty targets are coloured, chosen by the paper's rule: those that are classified best, by their
# mean F1 over the feature types. The text does not name the classifier; here it is the nearest
# neighbour of another batch and another compound ({term}`NSBP <NN, NSB, NSP, NSBP>`).

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-umap-target", "caption": "The paper's Fig. 4 on this run's data: UMAP of well profiles. Coloured are the 20 labels that are classified best; wells with other labels are hollow grey points, controls small grey dots."}, "image": {"alt": "UMAP scatter plots of wells for up to two feature types, with twenty labels in different colours and markers."}}
column = label_column(tables[first], label or None)


def f1_of_labels(name):
    """F1 of every label by nearest neighbour, not same batch or perturbation."""
    wells = matrices[name][0]
    labels = wells[column].to_numpy(dtype=str)
    part = np.flatnonzero((labels != "") & ~heads[name]["negcon"].to_numpy())
    known = heads[name].iloc[part]
    rule = (encode(known["batch"]), encode(known["perturbation"]))
    nearest = nearest_neighbours(values[name][part], [rule])[0]
    guess = np.where(nearest >= 0, labels[part][nearest], "")
    names = np.unique(labels[part])
    score = f1_score(
        labels[part], guess, labels=names, average=None, zero_division=0
    )
    return pd.Series(score, names)


chosen = []
if column:
    judges = [n for n in tables if n not in baselines]
    if handmade and features.find("DINO"):  # the paper's two
        judges = [features.find("DINO"), handmade]
    f1 = pd.DataFrame({name: f1_of_labels(name) for name in judges})
    best = f1.mean(axis=1).sort_values(ascending=False, kind="stable")
    chosen = list(best.index[:20])

PALETTE = [*list(COLORS.values())[:5], *SPARE_COLORS]
SHAPES = "osD^v"


def dots(axis, at, groups, names, size):
    """One colour and marker per group."""
    for number, name in enumerate(names):
        axis.scatter(
            *at[groups == name].T,
            s=size,
            color=PALETTE[number % len(PALETTE)],
            marker=SHAPES[(number // len(PALETTE) + number) % len(SHAPES)],
            linewidths=0,
            label=name,
            rasterized=True,
        )


def bare(axis, title=""):
    axis.set(xticks=[], yticks=[], title=title)
    axis.grid(False)


figure, axes = plt.subplots(1, len(shown), figsize=(WIDTH, 4.8), squeeze=False)
for axis, name in zip(axes[0], shown, strict=True):
    wells = matrices[name][0]
    labels = wells[column].to_numpy(dtype=str) if column else np.array([""])
    controls = heads[name]["negcon"].to_numpy()
    rest = ~controls & ~np.isin(labels, chosen)
    axis.scatter(*maps[name][controls].T, s=2, color="#C3CAD1", linewidths=0)
    hollow = {"facecolors": "none", "edgecolors": "#A4AEB8", "linewidths": 0.5}
    axis.scatter(*maps[name][rest].T, s=8, **hollow)
    dots(axis, maps[name], labels, chosen, size=16)
    bare(axis, name)
    axis.set(xlabel="UMAP 1", ylabel="UMAP 2")
if chosen:
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=4,
        markerscale=2,
        handletextpad=0.2,
    )
tag(figure, data_kind)

# %% [markdown]
# ## The same map, by what should not matter
#
# If the features held only the effect of the treatment, the colours below would be mixed
# everywhere (except for the controls, which are a treatment of their own). Normalisation takes
# away a part of the effect before it reaches the maps, so the raw profiles of the first feature type
# stand beside them.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-umap-technical", "caption": "The maps coloured by control status, batch and, where they are known, source and number of cells (the paper's Supplementary Fig. 9a to d). Last column, if profiles are normalised here: the first feature type before that, every feature scaled to variance 1."}, "image": {"alt": "A grid of UMAP scatter plots: one row for each of control status, batch, source and cell count, one column per feature type and one for raw profiles."}}
columns = {name: (maps[name], heads[name]) for name in shown}
if not as_given:
    wells, matrix = unprocessed[first]
    columns[f"{first}, raw"] = umap_map(standardise(matrix), seed), facts(wells)
rows = {"status": "control or not"} | {name: name for name in groupings}
if counted:
    rows["cells"] = "cells in the well"
figure, axes = plt.subplots(
    len(rows), len(columns), figsize=(WIDTH, 0.6 + 1.8 * len(rows))
)
axes = np.reshape(axes, (len(rows), len(columns)))
for row, (factor, words) in zip(axes, rows.items(), strict=True):
    for axis, (name, (at, known)) in zip(row, columns.items(), strict=True):
        bare(axis, name if axis in axes[0] else "")
        known["status"] = np.where(known["negcon"], "control", "treated")
        if factor == "cells":
            cells = known["cells"]
            low, high = np.nanpercentile(cells, (1, 99))
            shade = {"c": cells, "vmin": low, "vmax": high}
            picture = axis.scatter(*at.T, s=5, linewidths=0, **shade)
        else:
            groups = known[factor].to_numpy()
            dots(axis, at, groups, np.unique(groups), size=5)
    row[0].set_ylabel(words)
    if factor == "cells":
        figure.colorbar(picture, ax=row[-1], aspect=12)
    elif len(np.unique(groups)) <= 12:
        place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
        row[-1].legend(markerscale=2, handletextpad=0, fontsize=8, **place)
tag(figure, data_kind)

# %% [markdown]
# ## Supplementary Figure 10: measured on the features
#
# One cosine nearest-neighbour graph per feature type serves connectivity and LISI. Two baselines
# stand beside the features: Gaussian clusters, one for each batch, that do not overlap (the
# largest effect there can be), and the same points with shuffled labels. A third one is added
# here: the features themselves, with the names of the batches shuffled among wells of the same
# treatment. That is what these features would give without any effect of the batch.

# %%
cosine = {
    name: (matrix, heads[name], nearest_graph(matrix, max(LISI_K)))
    for name, matrix in values.items()
}


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-batch-metrics", "caption": "The paper's Supplementary Fig. 10 on this run's data, by batch and, where there are several, by source. High connectivity, low LISI and high silhouettes mean a strong effect. Boxes of silhouettes hold the middle half of the wells, whiskers 90%."}, "image": {"alt": "Three rows of panels, by batch and by source: graph connectivity against k, LISI against k, and box plots of silhouettes, one line or box per feature type and baseline."}}
def effects(matrix, graph, groups):
    """Silhouettes of all wells, connectivity by k, mean LISI by k."""
    have = graph.neighbours.shape[1]
    return {
        "silhouette": silhouette(matrix, groups),
        "connectivity": {
            k: graph_connectivity(graph, groups, k)
            for k in CONNECTIVITY_K
            if k <= have
        },
        "lisi": {k: lisi(graph, groups, k).mean() for k in LISI_K if k <= have},
    }


NO_EFFECT = f"{first}, names shuffled"
BASELINES = {
    NO_EFFECT: (color(first), "", ":"),
    "Gaussian clusters": ("#75808A", "X", "--"),
    "Shuffled clusters": ("#A4AEB8", "*", ":"),
}


def renamed(groups, treatments):
    """Groups shuffled among wells of one treatment: no effect, same design."""
    rng = np.random.default_rng(seed)
    groups = groups.copy()
    for name in np.unique(treatments):
        here = np.flatnonzero(treatments == name)
        groups[here] = rng.permutation(groups[here])
    return groups


found_effects, chance = {}, {}
model = handmade or first
for factor in groupings:
    for name, (matrix, known, graph) in cosine.items():
        groups = known[factor].to_numpy()
        found_effects[factor, name] = effects(matrix, graph, groups)
        random = renamed(groups, known["perturbation"].to_numpy())
        chance[factor, name] = effects(matrix, graph, random)
    found_effects[factor, NO_EFFECT] = chance[factor, first]
    groups = heads[model][factor].to_numpy()
    points, mixed = gaussian_clusters(groups, values[model].shape[1], seed)
    graph = nearest_graph(points, max(LISI_K))
    found_effects[factor, "Gaussian clusters"] = effects(points, graph, groups)
    found_effects[factor, "Shuffled clusters"] = effects(points, graph, mixed)


def look(name):
    if name in BASELINES:
        return BASELINES[name]
    return color(name), marker(name), "-"


if not groupings:
    print("One batch only: there is nothing to compare.")
else:
    figure, axes = plt.subplots(
        3, len(groupings), figsize=(WIDTH, 8.2), squeeze=False
    )
    for column_of, factor in zip(axes.T, groupings, strict=True):
        names = [name for what, name in found_effects if what == factor]
        for name in names:
            found = found_effects[factor, name]
            tint, shape, line = look(name)
            for axis, kind in zip(
                column_of[:2], ("connectivity", "lisi"), strict=True
            ):
                axis.plot(
                    list(found[kind]),
                    list(found[kind].values()),
                    line,
                    color=tint,
                    marker=shape,
                    markersize=5,
                    label=name,
                )
        boxes = column_of[2].boxplot(
            [found_effects[factor, name]["silhouette"] for name in names],
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            widths=0.6,
            patch_artist=True,
            medianprops={"color": "#26303A"},
        )
        for box, name in zip(boxes["boxes"], names, strict=True):
            box.set(facecolor=look(name)[0], alpha=0.75, linewidth=0.6)
        column_of[2].set_yticks(range(1, len(names) + 1), names)
        column_of[2].invert_yaxis()
        column_of[0].set(
            title=f"By {factor}",
            xlabel="k",
            ylabel="graph connectivity",
            ylim=(-0.03, 1.05),
        )
        column_of[1].set(xlabel="k", ylabel="mean LISI")
        column_of[1].set_ylim(bottom=0.9)
        column_of[2].set(xlabel="silhouette")
    for axis in axes[2, 1:]:
        axis.set_yticklabels([])
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    tag(figure, data_kind)


# %% tags=["hide-input"]
def scores_of(found):
    """The numbers of the table."""
    return (
        found["silhouette"].mean(),
        found["connectivity"].get(3, np.nan),
        *(found["lisi"].get(k, np.nan) for k in (30, 90)),
    )


def cells_of(factor, name):
    """Numbers with, in brackets, what they would be without an effect."""
    texts = [
        f"{number:.3f}" for number in scores_of(found_effects[factor, name])
    ]
    if (factor, name) not in chance:
        return texts
    free = [f"{number:.3f}" for number in scores_of(chance[factor, name])]
    return [
        f"{text} ({none})".replace("nan", "-")
        for text, none in zip(texts, free, strict=True)
    ]


html_table(
    (
        "Features",
        "By",
        "Silhouette",
        "Connectivity, k = 3",
        "LISI, k = 30",
        "LISI, k = 90",
    ),
    [
        (name, factor, *cells_of(factor, name))
        for factor, name in found_effects
        if name != NO_EFFECT
    ],
    caption="Supplementary Fig. 10 as a table: means (in brackets: without an effect)",
)

# %% [markdown]
# How to read it: a silhouette of 0 says that a well is as near to another batch as to its own. LISI
# runs from 1 (all neighbours of one batch) to the number of batches. Connectivity grows with k
# whatever the batches do, and the shuffled clusters can lie below a screen without any effect, as their
# neighbourhoods cannot leave a cluster: compare with the shuffled names.
#
# Choices that the text leaves open, and what is taken here: edges have no direction (two wells are
# joined if either names the other); silhouettes use cosine distance like the graph; all wells
# count, controls too; k of LISI is the size of the neighbourhood with the well itself, and its
# perplexity is k / 3, the rule of harmonypy 0.0.9, which the paper used. Newer versions of harmonypy
# take other neighbourhoods and give slightly other numbers.
#
# ## Controls and treated wells apart
#
# The paper saw the strongest effect among the negative controls, on the map. Here the silhouette
# by batch is taken for controls and for treated wells alone, on the map (straight distance) and
# on the features (cosine).

# %% tags=["hide-input"]
apart = {}
for name, known in heads.items():
    controls = known["negcon"].to_numpy()
    for status, part in (("controls", controls), ("treated", ~controls)):
        if "batch" not in groupings or part.sum() < 3:
            continue
        groups = known["batch"].to_numpy()[part]
        apart[name, status] = (
            silhouette(maps[name][part], groups, "euclidean").mean(),
            silhouette(values[name][part], groups).mean(),
        )
html_table(
    ("Features", "Wells", "Silhouette on the map", "On the features"),
    [
        (name, status, f"{on_map:+.3f}", f"{on_features:+.3f}")
        for (name, status), (on_map, on_features) in apart.items()
    ],
    caption="Mean silhouette by batch, controls and treated wells apart",
)

# %% [markdown]
# ## Cell count
#
# Is what the map shows the number of cells? Correlations of the count with the leading principal
# components and with the map's axes. Since the axes of a map may be turned at will, the last
# column takes both together (multiple correlation).

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-cell-count", "caption": "Correlation of cell count with the first five principal components and the axes of the map (Supplementary Fig. 9d), for all wells and for controls alone. The last column is the multiple correlation with both axes of the map."}, "image": {"alt": "Heat map of correlations, one row per feature type for all wells and for controls, one column per component or map axis."}}
AXES = ["PC 1", "PC 2", "PC 3", "PC 4", "PC 5", "UMAP 1", "UMAP 2", "UMAP"]


def count_correlation(name, part):
    """Correlation of cell count with components, map axes, and both axes."""
    cells = heads[name]["cells"].to_numpy()
    part = part & np.isfinite(cells)
    if part.sum() < 5 or np.ptp(cells[part]) == 0:
        return np.full(len(AXES), np.nan)
    n = min(5, *values[name].shape)
    parts = np.full((len(cells), 5), np.nan)
    parts[:, :n] = PCA(n, random_state=seed).fit_transform(values[name])
    lines = np.column_stack([parts, maps[name]])[part]
    single = [np.corrcoef(line, cells[part])[0, 1] for line in lines.T]
    two = np.column_stack([np.ones(part.sum()), maps[name][part]])
    fitted = two @ np.linalg.lstsq(two, cells[part])[0]
    return np.array([*single, np.corrcoef(fitted, cells[part])[0, 1]])


def numbers(axis, grid, form, dark):
    """Write the numbers of a heat map into it."""
    for (row, col), number in np.ndenumerate(grid):
        axis.text(
            col,
            row,
            form.format(number).replace("nan", "-"),
            ha="center",
            va="center",
            fontsize=8.5,
            color="white" if dark[row, col] else "#26303A",
        )


with_count = {}
for name, known in heads.items():
    controls = known["negcon"].to_numpy()
    for status, part in (("all", controls | True), ("controls", controls)):
        with_count[name, status] = count_correlation(name, part)

if not counted:
    print(f"No cell counts (no column {cell_count}): this figure is left out.")
else:
    grid = np.array(list(with_count.values()))
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.36 * len(grid)))
    axis.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    numbers(axis, grid, "{:.2f}", np.abs(grid) > 0.6)
    axis.set_xticks(range(len(AXES)), [*AXES[:-1], "UMAP\n1 and 2"])
    axis.set_yticks(
        range(len(grid)), [f"{name}, {status}" for name, status in with_count]
    )
    axis.grid(False)
    tag(figure, data_kind)

# %% [markdown]
# ## Which confounder is it?
#
# For each factor alone: the share of the features' variance that goes along with it, every feature
# scaled to variance 1, R² averaged over principal components weighted by their variance, and
# adjusted so that a factor that means nothing gets 0 on average. Cell count enters as a straight
# line, all others as groups. Factors overlap (a plate lies in one batch and one source, a layout
# puts a compound at one position), so the shares do not add up.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-variance", "caption": "Variance explained by each factor alone, in percent, adjusted for the number of groups; before and, where profiles are normalised here, after normalisation. A dash: the factor does not vary or is not known."}, "image": {"alt": "Heat maps with one row per factor and one column per feature type, with the percentage of variance explained written in each cell, for raw and for normalised profiles."}}
FACTORS = {
    "source": "source",
    "batch": "batch",
    "plate": "plate",
    "well": "well position",
    "cells": "cell count",
    "negcon": "control or treated",
    "perturbation": "perturbation",
}


def audit(table):
    """Adjusted share of variance of every factor, in percent."""
    known_head, matrix = profile_matrix(table)
    known, matrix = facts(known_head), standardise(matrix)
    return {
        words: 100
        * variance_explained(matrix, known[factor].to_numpy()).adjusted
        for factor, words in FACTORS.items()
        if factor in known
    }


stages = {"raw profiles" if not as_given else "as given": raw}
if not as_given:
    stages["after normalisation"] = tables
audits = {
    stage: pd.DataFrame({name: audit(t) for name, t in every.items()})
    for stage, every in stages.items()
}

figure, axes = plt.subplots(
    len(audits),
    1,
    figsize=(WIDTH, 0.7 + 2.6 * len(audits)),
    squeeze=False,
    sharex=True,
)
for axis, (stage, grid) in zip(axes[:, 0], audits.items(), strict=True):
    axis.imshow(grid, cmap="Blues", vmin=0, vmax=60, aspect="auto")
    numbers(
        axis, grid.round(1).to_numpy() + 0.0, "{:.1f}", grid.to_numpy() > 35
    )
    axis.set_title(stage.capitalize() + " (%)")
    axis.set_xticks(
        range(grid.shape[1]),
        [name.replace(" ", "\n").replace("-", "-\n") for name in grid],
    )
    axis.set_yticks(range(len(grid)), grid.index)
    axis.grid(False)
tag(figure, data_kind)

# %% [markdown]
# ## Plate by plate
#
# Position effects have a shape: rows, columns, edges. The first principal component of the raw
# profiles (of the table as it is, if nothing was normalised) and the cell count, as the plates lie.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-plates", "caption": "Plates as they lie: first principal component of the first feature type, raw (above) and, where it is known, cell count (below). At most eight plates are drawn; white wells are not in the table."}, "image": {"alt": "Small heat maps of plates, wells coloured by the first principal component and by cell count."}}
raw_head = facts(unprocessed[first][0])
position = raw_head["well"].str.extract(r"([A-Za-z]+)(\d+)")
letters = position[0].str.upper().map(lambda name: [ord(c) - 64 for c in name])
rows = letters.map(lambda places: sum(26 * p for p in places[:-1]) + places[-1])
columns = position[1].astype(int)
leading = PCA(1, random_state=seed).fit_transform(
    standardise(unprocessed[first][1])
)[:, 0]
drawn = {"PC 1": leading} | ({"cells": raw_head["cells"]} if counted else {})
plates = list(dict.fromkeys(raw_head["plate"]))[:8]
across = min(4, len(plates))
down = -(-len(plates) // across)
figure, axes = plt.subplots(
    down * len(drawn),
    across,
    figsize=(WIDTH, 0.5 + 1.35 * down * len(drawn)),
    squeeze=False,
)
for block, (what, number) in enumerate(drawn.items()):
    low, high = np.nanpercentile(number, (2, 98))
    part = axes[block * down : (block + 1) * down]
    for axis in part.flat:
        axis.set_visible(False)
    for axis, plate in zip(part.flat, plates, strict=False):
        here = (raw_head["plate"] == plate).to_numpy()
        grid = np.full((rows.max(), columns.max()), np.nan)
        grid[rows[here] - 1, columns[here] - 1] = np.asarray(number)[here]
        picture = axis.imshow(grid, vmin=low, vmax=high, aspect="auto")
        axis.set_visible(True)
        axis.set(xticks=[], yticks=[])
        axis.set_title(plate, fontsize=8.5, fontweight="normal")
        axis.grid(False)
    figure.colorbar(picture, ax=part, label=what, shrink=0.85)
tag(figure, data_kind)

# %% [markdown]
# ## Harmony, before and after
#
# Harmony {cite:p}`korsunsky2019` moves the wells of every batch until soft clusters hold all batches
# alike. It knows the batches and not the treatments, so it may also take away what the treatments
# did. Profiles are taken as principal components (200 at most), once raw, with every feature
# scaled to variance 1, and once normalised as above:


# %%
def harmony(profiles, batches):
    parts = PCA(min(200, *profiles.shape), random_state=seed)
    parts = parts.fit_transform(profiles)
    fit = harmonypy.run_harmony(
        parts, {"b": batches}, ["b"], random_state=seed, verbose=False, ncores=1
    )
    return parts, np.asarray(fit.Z_corr)


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-harmony", "caption": "What Harmony buys and what it costs. Arrows go from before to after: right is better mixed batches (LISI of 15 neighbours), up is better matches. Open markers: raw profiles, full ones: normalised."}, "image": {"alt": "Two panels with an arrow per feature type: mixing of batches on the horizontal axis, perturbation mAP and label mAP on the vertical axes."}}
def outcome(known, wells, parts):
    """Batch effect of components, and how well they still find what matches."""
    groups = known["batch"].to_numpy()
    graph = nearest_graph(parts, LISI_K[0])
    names = [f"emb_{i:04d}" for i in range(parts.shape[1])]
    features = pd.DataFrame(parts, wells.index, names)
    scores = evaluate(pd.concat([wells, features], axis=1), label or None)
    return {
        "silhouette": silhouette(parts, groups).mean(),
        "lisi": lisi(graph, groups, LISI_K[0]).mean(),
        "perturbation_map": scores["perturbation_map"],
        "label_map": scores["label_map"],
        "perturbation_acc_nsb": scores["perturbation_acc_nsb"],
    }


logging.getLogger("harmonypy").setLevel(logging.WARNING)
corrected = {}
if "batch" in groupings:
    for name in tables:
        inputs = {"normalised": matrices[name]}
        if not as_given:
            inputs = {"raw": unprocessed[name]} | inputs
        for stage, (wells, matrix) in inputs.items():
            known = facts(wells)
            matrix = standardise(matrix) if stage == "raw" else matrix
            corrected[name, stage] = [
                outcome(known, wells, parts)
                for parts in harmony(matrix, known["batch"].to_numpy())
            ]

if not corrected:
    print("One batch only: there is nothing to correct.")
else:
    kinds = [
        (metric, title)
        for metric, title in (
            ("perturbation_map", "Perturbation mAP"),
            ("label_map", "Label mAP"),
        )
        if np.isfinite(corrected[first, "normalised"][0][metric])
    ]
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(WIDTH, 4.4), squeeze=False
    )
    for axis, (metric, title) in zip(axes[0], kinds, strict=True):
        for (name, stage), (before, after) in corrected.items():
            ends = [(x["lisi"], x[metric]) for x in (before, after)]
            arrow = {
                "arrowstyle": "-|>",
                "color": color(name),
                "shrinkA": 0,
                "shrinkB": 0,
            }
            axis.annotate("", ends[1], ends[0], arrowprops=arrow)
            axis.plot(*ends[1], ",", color=color(name))
            axis.plot(
                *ends[0],
                marker(name),
                color=color(name),
                fillstyle="none" if stage == "raw" else "full",
                markersize=8,
                label=f"{name}, {stage}",
            )
        axis.set(title=title, xlabel="LISI by batch, k = 15")
        axis.margins(0.15)
        axis.locator_params(nbins=5)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=2,
    )
    tag(figure, data_kind)

# %% tags=["hide-input"]
COLUMNS = {
    "silhouette": ("Silhouette", "{:+.3f}"),
    "lisi": ("LISI, k = 15", "{:.2f}"),
    "perturbation_map": ("Perturbation mAP", "{:.3f}"),
    "perturbation_acc_nsb": ("Perturbation NSB", "{:.3f}"),
    "label_map": ("Label mAP", "{:.3f}"),
}
html_table(
    ("Features", *(title for title, _ in COLUMNS.values())),
    [
        (
            f"{name}, {stage}",
            *(
                " → ".join(form.format(row[metric]) for row in pair)
                for metric, (_, form) in COLUMNS.items()
            ),
        )
        for (name, stage), pair in corrected.items()
    ],
    caption="Before → after Harmony",
)

# %% [markdown]
# ## The paper's numbers beside this run's
#
# The text gives no numbers for this section, only directions. Two thresholds below are therefore
# ours: a "strong" correlation is above 0.5, and two silhouettes are "similar" within 0.05.


# %% tags=["hide-input"]
def note(claim, value):
    """Record what was measured for a claim, if these data define it."""
    if np.isfinite(pd.Series(value)).all():
        display(claims.record(claim, value, evidence))


evidence = features.evidence("paper")  # the code has none of these metrics
dino, cellprofiler = features.find("DINO"), features.find("CellProfiler")
if dino and counted:
    note("batch-cell-count", with_count[dino, "controls"][-1])
if dino and (dino, "controls") in apart:
    on_map = apart[dino, "controls"][0] - apart[dino, "treated"][0]
    note("batch-controls", on_map)
if dino and "batch" in groupings:
    stage = "raw" if (dino, "raw") in corrected else "normalised"
    before, after = corrected[dino, stage]
    note("batch-harmony", after["lisi"] - before["lisi"])
if simulated and dino and not as_given and "batch" in groupings:
    share = [audits[s].loc["batch", dino] for s in stages]
    note("drawn-batches", share[1] / share[0])


def by_target(name, targets):
    """Silhouette on the map of every well that has one of the targets."""
    part = matrices[name][0][column].isin(targets).to_numpy()
    part &= ~heads[name]["negcon"].to_numpy()
    known = matrices[name][0].loc[part, ["Metadata_Perturbation", column]]
    return maps[name][part], known.set_axis(["compound", "target"], axis=1)


if dino and len(chosen) > 1:
    at, known = by_target(dino, chosen)
    seen = silhouette(at, known["target"], "euclidean").mean()
    # Targets dealt anew to compounds: wells of one compound stay together.
    target_of = known.drop_duplicates().set_index("compound")["target"]
    rng, by_chance = np.random.default_rng(seed), []
    for _ in range(20):
        dealt = dict(
            zip(target_of.index, rng.permutation(target_of), strict=True)
        )
        names = known["compound"].map(dealt)
        by_chance.append(silhouette(at, names, "euclidean").mean())
    note("batch-targets-group", seen - np.mean(by_chance))
SIX = ["KRAS", "AKT1", "DNMT3A", "TGFBR1", "CDK2", "CDK7"]
if dino and cellprofiler:
    for factor in groupings:
        end = "-source" if factor == "source" else "-dino-cellprofiler"
        seen, felt = [], []
        for name in (dino, cellprofiler):
            on_map = silhouette(maps[name], heads[name][factor], "euclidean")
            seen.append(on_map.mean())
            felt.append(found_effects[factor, name]["silhouette"].mean())
        note(f"batch-map{end}", seen[0] - seen[1])
        note(f"batch-features{end}", felt[0] - felt[1])
    if column and set(SIX) <= set(matrices[dino][0][column]):
        ahead = pd.Series(0.0, SIX)
        for name, sign in ((dino, 1), (cellprofiler, -1)):
            at, known = by_target(name, best.index)
            score = silhouette(at, known["target"], "euclidean")
            means = pd.Series(score).groupby(known["target"].to_numpy()).mean()
            ahead += sign * means[SIX]
        note("batch-six-targets", (ahead > 0).sum())
claims.show_claims(chapter="batch_effects")

# %% [markdown]
# ## What this shows and what it does not
#
# The maps and the numbers need each other. A map can hide an effect (here wells of all batches lie
# mixed after normalisation, yet their neighbourhoods are a little less mixed than chance would
# make them) and it can invent one, because it stretches small distances.
# Its layout also hangs on the last digit: another seed, or another number of threads, gives another
# map, and what is measured on a map and lies near zero can change its sign. Numbers on the features
# themselves do not.
#
# On the simulated screen the raw features carry the batch, the source and the cell count.
# Normalising per plate takes nearly all of that variance away, and with it the paper's two
# observations on controls and cell counts: their lines in the table above say what was measured.
# The reason is the simulator: its batches shift and scale what the microscope sees, and that is
# what normalisation undoes. Real batches also differ in ways that no shift undoes, so this is no
# evidence against the paper.
#
# Harmony mixes batches. For the trained networks it does not help raw profiles as much as
# normalisation does; on normalised ones little is left to correct. Both are findings on drawn
# cells. On real plates run it with the metrics beside it, as here: better mixing alone proves
# nothing, because features that know nothing are mixed best.
#
# Variance that goes along with a factor is not yet caused by it. Where all plates have one layout,
# position and perturbation explain the same wells and no analysis can tell them apart; CPJUMP1's
# plates below are such a case.
#
# ## Re-run it on your data
#
# ```bash
# # your images, after cpssl data prepare
# cpssl run batch_effects -p data=data/mine/images.parquet
# # the authors' released embeddings (SSL_data, normalised by them)
# cpssl run batch_effects -p release=SSL_data
# # your profiles: CPJUMP1's CellProfiler tables, plate as batch, gene as label
# cpssl run batch_effects -p data_name=CPJUMP1 -p method=none \
#   -p profiles='{"CellProfiler": ["profiles/cpjump1/*.csv.gz"]}' \
#   -p batch=Metadata_Plate -p label=Metadata_gene
# ```
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run batch_effects` with
#
# - `-p method=none`: what normalisation has hidden
# - `-p batch=Metadata_Source`: laboratories in the place of batches
#
# 1. Which step of the normalisation removes the batch, sphering or MAD robustize? Say first what
#    you expect.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
if not as_given:
    shares = {
        way: audit(normalize(raw[first], way))
        for way in ("none", "sphere", "mad_robustize")
    }
    print(f"{first}: percent of variance that goes along with each factor")
    print(pd.DataFrame(shares).round(1).to_string())
    print("MAD robustize centres every plate. Sphering shrinks directions in")
    print("which the controls vary, and batches lie along these.")

# %% [markdown]
# 2. How strong must a batch effect be before each metric sees it?
#
# ```{admonition} Solution
# :class: dropdown
# Draw screens of several strengths and run the chapter on each:
# `cpssl data simulate lite -o data/strong -p batch_strength=4`, then
# `cpssl run batch_effects -p data=data/strong/images.parquet -p method=none`. Compare every
# number with the one in brackets, which is what no effect gives.
# ```
#
# 3. What does the silhouette by batch become when batches are shuffled among the wells?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
batches, x = heads[first]["batch"].to_numpy(), matrices[first][1]
moved = np.random.default_rng(seed).permutation(batches)
for what, labels in (("as they are", batches), ("shuffled", moved)):
    print(what, f"{silhouette(x, labels).mean():+.3f}")

# %% [markdown]
# 4. If every batch held other compounds, what would Harmony do to them?
#
# ```{admonition} Solution
# :class: dropdown
# It cannot tell a batch from its compounds and would pull the compounds together. Shared
# controls, or better the same compounds in all batches, are what makes a correction possible.
# ```
#
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
