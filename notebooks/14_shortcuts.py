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
# # What else could explain it?

# %% tags=["parameters", "hide-input"]
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
cell_count = "Metadata_Count_Cells"  # column of cells per well, or of density
counts = ""  # tables that count cells for those that do not: "cp/*.parquet"
degree = 2  # powers of the count that regression takes out
drawn = True  # of drawn data also densities, masks, genes and assays
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of random weights, random features, nulls and splits

# %% tags=["hide-input"]
import numpy as np
import pandas as pd

from cpssl_lite.book import claims, panels, provenance
from cpssl_lite.book.chapter import ask, frame_table, headline, note_all, show
from cpssl_lite.book.features import load_features, random_features
from cpssl_lite.book.figures import WIDTH, color, style
from cpssl_lite.book.plots import numbers
from cpssl_lite.book.truth import read_truth
from cpssl_lite.book.facts import cell_counts, facts

style()
source = dict(release=release, release_set=release_set, data_name=data_name)
roles = dict(
    perturbation=perturbation, batch=batch, label=label, control=control
)
networks = dict(checkpoints=checkpoints, measured=measured, seed=seed)
how = dict(method=method, counts=counts)
features = load_features(data, profiles, **source, **roles, **networks, **how)
data_kind, tables = features.data_kind, features.normalized()
first = features.find("DINO") or next(iter(tables))
cells, label = cell_counts(features, cell_count), label or None
counted = len(cells) > 0


def density(wells):
    """Cells in each well on a scale of doublings, NaN where nobody counted."""
    known = facts(wells, cells)["cells"].to_numpy()
    return np.log2(known + 1) if np.nanmin(known) >= 0 else known


# %%
from cpssl_lite.profiles import shortcuts

# What knows no cell, or only how many there are and how bright.
head, brightness = tables[first].filter(like="Metadata_"), None
blind = {"Place on plate": shortcuts.position(head)}
blind["Neighbours"] = shortcuts.neighbours(tables[first])
if counted:
    blind["Cell count"] = shortcuts.from_numbers(head, density(head))
    wells = features.raw[features.measured() or first]
    brightness = shortcuts.intensities(wells)
if brightness is not None:
    both = np.column_stack([density(wells), brightness])
    blind["Intensities"] = shortcuts.from_numbers(
        wells.filter(like="Metadata_"), both
    )

# %%
from cpssl_lite.profiles.evidence import evidence

rng = np.random.default_rng(seed)
rows = {
    **blind,
    **tables,
    "Random features": random_features(tables[first], rng),
}
found, active = {}, {}
for name, wells in rows.items():
    found[name], active[name] = evidence(wells, label, seed=seed)

# %% tags=["hide-input"]
n = {name: int(found[name]["n_active"]) for name in rows}
of = len(active[first])
guesses = ", ".join(f"{name.lower()} {n[name]}" for name in blind)
headline(f"Of {of} perturbations {first} finds {n[first]}; {guesses}.")
figure = panels.found_and_ladder(
    found, "perturbation", "percent_active", "Active perturbations"
)
steps = found["Place on plate"]
nr, nsb = (100 * steps[f"perturbation_recall1_{r}"] for r in ("nr", "nsb"))
caption = f"Left: perturbations that differ from the untreated wells of their plates (q < 0.05). Right: wells whose nearest is a replicate. The first {len(blind)} rows see no cell's shape. The place on the plate alone finds a replicate for {nr:.0f}% of wells, and for {nsb:.0f}% once its own batch is out."
alt = "Bars of the percentage of active perturbations for each shortcut and feature type, beside lines of nearest-neighbour recall over rising restrictions."
show(figure, "fig-shortcuts", data_kind, caption=caption, alt=alt)

# %% [markdown]
# **The question.** A profile may find replicates, targets or activities for a reason that has nothing to
# do with what cells look like: there are fewer of them, they are brighter, the well lies at the edge, or
# at the same place as its replicate. A sceptical reviewer asks what such a {term}`shortcut` would have scored
# alone. For bioactivity, counting cells comes near to published scores {cite:p}`seal2026`; the
# paper itself says that DINO's controls follow the number of cells {cite:p}`kim2025`. It has no such row.
#
# **What is done here.** Every shortcut becomes a profile table of the same wells and answers the same
# questions as the features:
#
# - *Place on plate*: row, column and distance from the edge.
# - *Neighbours*: the mean profile of the wells beside it, its own left out. It knows the plate.
# - *Cell count*, where cells were counted: a number a well, on a scale of doublings, normalised by plate.
# - *Intensities*: the count, and how bright a mean cell is in each stain.

# %% [markdown] tags=["drawn"]
# By default on the [simulated screen](00_data), where count, brightness, position and shape were drawn
# separately and the right answer is known.

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - name the shortcuts that a layout and a stain offer, and measure each alone
# - take the count out of features, and say what that may take with it
# - say which claims of a paper a reader can check for shortcuts, and which not
# ```
#
# ## Take the count out
#
# If features find a perturbation because there are fewer cells, they must lose it when the count is
# taken out: of each feature what a parabola of the count predicts is subtracted, fitted over all wells.
# What is left is there whatever the count is. What is gone need not have been an artefact: a treatment
# that kills cells *and* changes the rest loses both.

# %%
blank = {}
if counted:
    for name, wells in tables.items():
        less = f"{name}, count out"
        blank[less] = shortcuts.regressed(wells, density(wells), degree)
        found[less], active[less] = evidence(blank[less], label, seed=seed)

# %% [markdown] tags=["drawn"]
# On a drawn screen perturbations fall into kinds by what they were drawn to change. (The place on the
# plate scores a little against controls whatever was drawn: controls stand in columns of their own, so
# that a replicate at the same place is always nearer. It is too weak to count.)

# %%
from dataclasses import asdict

from cpssl_lite.data.simulate.phenotype import CONTROL

truth, kind = read_truth(features.image_table), {}
if truth is not None:
    plain = pd.Series(asdict(CONTROL)).add_prefix("compound_")
    drawn_as = truth.groupby("Metadata_Perturbation")[list(plain.index)].first()
    moved = drawn_as.sub(plain).abs() > 1e-9
    fewer, shape = moved.pop("compound_cell_count"), moved.any(axis=1)
    kind["count only"] = moved.index[fewer & ~shape]
    kind["count and shape"] = moved.index[fewer & shape]
    kind["shape only"] = moved.index[shape & ~fewer]
    kind["nothing"] = moved.index[~shape & ~fewer].drop("DMSO")

# %% tags=["hide-input"]
precision = pd.DataFrame(
    {
        name: answer.set_index("Metadata_Perturbation")[
            "activity_normalised_ap"
        ]
        for name, answer in active.items()
    }
)
grid = pd.DataFrame({f"all\n({of})": precision.mean()})
for what, names in kind.items():
    title = what.replace(" ", "\n", 1)  # or neighbours would touch
    grid[f"{title}\n({len(names)})"] = precision.loc[names].mean()
order = [*blind, *(x for t in tables for x in (t, f"{t}, count out"))]
grid = grid.loc[[name for name in order if name in grid.index]]
import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.31 * len(grid)))
numbers(axis, grid, shade=grid.clip(0, 1).to_numpy())
caption = "How well replicates are told from the controls of their plates: normalised average precision, 0 at chance and 1 perfect, mean over perturbations."
if kind and counted:
    left, right = (
        grid.loc[first].iloc[1],
        grid.loc[f"{first}, count out"].iloc[1],
    )
    caption += f" Columns are what was drawn. Where only the count was moved, {first} falls from {left:.2f} to {right:.2f} when the count is taken out."
alt = "Table of numbers on shades: a row for each shortcut and each feature type with and without the count, a column for each kind of perturbation."
show(figure, "fig-count-out", data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
if counted:
    share = n[first] - int(found[f"{first}, count out"]["n_active"])
    choices = ["none", "fewer than a quarter", "a quarter or more"]
    answer = choices[int(share > 0) + int(share >= n[first] / 4)]
    why = f"It finds {n[first]} before and {n[first] - share} after, of {of}."
    display(
        ask(
            f"Of those that {first} finds, how many are lost with the count?",
            choices,
            answer,
            why,
        )
    )
else:
    print(f"No cell counts (no column {cell_count}): nobody can tell here.")

# %% [markdown] tags=["more", "drawn"]
# ## The same cells at other densities, and with a part hidden
#
# Regression guesses what the count did. A simulator can draw it: twenty strong compounds that do not
# touch the count, each at half, the usual and twice the density of cells, three fields each, one
# microscope. Does a field find its compound among fields of *another* density?
#
# Then parts of the same fields are hidden after scaling: the background (made flat), the cells (filled
# with grey levels of the background, so that their outlines stay), and everything but the grey
# levels of the background, dealt out at random over the field.

# %% tags=["drawn"]
from dataclasses import replace

from cpssl_lite.data.simulate.draw import draw_field
from cpssl_lite.data.simulate.library import compounds, generator
from cpssl_lite.data.simulate.optics import Optics, expose
from cpssl_lite.images.scale import scale_intensities, to_uint16

DENSITIES = (4.25, 8.5, 17.0)  # cells in a field of 256 x 256 px
FIELDS = 3  # of each compound at each density


def draw_again(compound, density, number):
    """One field, scaled as in the screen, and which of its pixels are cells."""
    rng = generator(seed, "again", compound.name, density, number)
    cells = CONTROL.moved(compound.steps())
    stains, _ = draw_field(replace(cells, cell_count=density), rng)
    pixels = expose(stains, Optics(), rng)
    return to_uint16(scale_intensities(pixels)), stains.max(axis=0) > 0.01


def hide(pixels, cells, part, rng):
    """The field without its background, its cells, or anything but grey levels."""
    seen = pixels.copy()
    for channel in seen:
        around = channel[~cells]
        if part == "background hidden":
            channel[~cells] = np.median(around)
        elif part == "cells hidden":
            channel[cells] = rng.choice(around, cells.sum())
        elif part == "grey levels of the background":
            channel[:] = rng.choice(around, channel.shape)
    return seen


# %% tags=["hide-input", "drawn"]
import torch

from cpssl_lite.images.crops import cut, foreground_share, grid as corners_of
from cpssl_lite.images.crops import select
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder, random_like

PARTS = (
    "",
    "background hidden",
    "cells hidden",
    "grey levels of the background",
)
fields, seen_by = [], {}
if drawn and features.simulated:
    networks = {"DINO": load_encoder(checkpoints.get("DINO", SHIPPED["DINO"]))}
    networks["Random weights"] = random_like(networks["DINO"], seed)
    size = networks["DINO"].crop_size
    strong = [
        c for c in compounds(seed, 32, 2) if "cell_count" not in c.direction
    ]
    strong = sorted(strong, key=lambda c: -c.strength)[:20]
    seen_by = {name: [] for name in networks}
    corners = corners_of(256, 256, size)
    for compound in strong:
        for cells_in, number in [
            (d, i) for d in DENSITIES for i in range(FIELDS)
        ]:
            pixels, inside = draw_again(compound, cells_in, number)
            level = otsu_threshold(pixels[4])
            share = foreground_share(pixels[4], level, corners, size)
            crops = corners[select(share)]
            for part in PARTS if cells_in == DENSITIES[1] else PARTS[:1]:
                shown = hide(pixels, inside, part, rng)
                fields.append((compound.name, cells_in, part))
                with torch.inference_mode():
                    x = torch.from_numpy(cut(shown, crops, size))
                    for name, network in networks.items():
                        seen_by[name].append(network(x).mean(0).numpy())

# %% tags=["drawn"]
from cpssl_lite.metrics.nearest import nearest_neighbours, standardise
from cpssl_lite.metrics.similarity import encode


def own_found(profiles, names, *unlike):
    """Share of fields whose nearest, unlike them in every given way, is of their compound."""
    near = nearest_neighbours(profiles, [tuple(map(encode, unlike))])[0]
    return np.mean(names[near] == names)


matched = {}
fields = pd.DataFrame(fields, columns=["compound", "density", "part"])
for name, profiles in seen_by.items():
    x, matched[name] = np.array(profiles), {}
    whole = (fields["part"] == "").to_numpy()
    for value in DENSITIES:  # each density by its own mean and spread
        here = whole & (fields["density"] == value).to_numpy()
        x[here] = standardise(x[here])
    names, at = (
        fields.loc[whole, c].to_numpy() for c in ("compound", "density")
    )
    same = [own_found(x[whole][at == d], names[at == d]) for d in DENSITIES]
    matched[name]["same density"] = np.mean(same)
    matched[name]["another density"] = own_found(x[whole], names, at)
    for part in PARTS[1:]:
        here = (fields["part"] == part).to_numpy()
        own = fields.loc[here, "compound"].to_numpy()
        matched[name][part] = own_found(standardise(x[here]), own)

# %% tags=["hide-input", "drawn"]
import seaborn as sns

if matched:
    frame = 100 * pd.DataFrame(matched)
    figure, axis = plt.subplots(figsize=(WIDTH, 2.9))
    bars = frame.rename_axis("what").reset_index().melt("what", var_name="by")
    tones = {name: color(name) for name in frame}
    look = dict(y="what", x="value", hue="by", palette=tones, saturation=1)
    sns.barplot(bars, **look, width=0.7, gap=0.05, ax=axis)
    axis.axvline(100 / 20, color="#26303A", linestyle=":")
    axis.set(
        ylabel="", xlabel="% of fields whose nearest is of their own compound"
    )
    axis.grid(axis="y", visible=False)
    sns.move_legend(
        axis, "lower left", bbox_to_anchor=(0, 1), ncols=2, title=""
    )
    d = frame["DINO"]
    caption = f"Twenty compounds, {len(strong) * 3 * FIELDS} fields drawn for this figure; dotted: chance. DINO finds the compound for {d.iloc[0]:.0f}% of fields among those of the same density and for {d.iloc[1]:.0f}% among those of another; for {d.iloc[2]:.0f}% without the background, {d.iloc[3]:.0f}% without the cells, and {d.iloc[4]:.0f}% from grey levels of the background alone."
    alt = "Pairs of horizontal bars, DINO and a network with random weights: matching at the same density, at another one, and with parts of the fields hidden."
    show(figure, "fig-densities", "simulated", caption=caption, alt=alt)
else:
    print("Not done here: these cells cannot be drawn again.")

# %% [markdown] tags=["more", "drawn"]
# Compare the two uppermost pairs: what the density costs. Then the last ones: every field is scaled to
# its own darkest and brightest pixels, and cells glow into what surrounds them, so that a background can
# carry the brightness of the cells and their outlines. Fields of real screens are scaled in the same way.
#
# ## Genes and assays
#
# The same three rows for the paper's Fig. 3 and Table 1: [genes and their families](03_gene_clustering),
# and the mean AUCROC of [24 assays](04_bioactivity), over two of that chapter's three splits. Cells are
# counted by the truth there.

# %% tags=["drawn"]
from cpssl_lite.bioactivity.cross_validation import cross_validate
from cpssl_lite.bioactivity.labels import draw_splits, match_labels, read_labels
from cpssl_lite.bioactivity.scores import score_assays
from cpssl_lite.book.features import normalized
from cpssl_lite.book.screens import activity_screen, gene_screen
from cpssl_lite.images.table import read_image_table
from cpssl_lite.metrics.uncertainty import known_mean
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import profile_matrix, read_profiles


def three_rows(screen):
    """DINO's features of a drawn screen, without the count, and the count alone."""
    out = screen.parent / "profiles" / "DINO.parquet"
    raw = extract(read_image_table(screen), load_encoder(SHIPPED["DINO"]), out)
    wells, true = normalized(read_profiles(raw), "learned"), read_truth(screen)
    known = true.set_index(["Metadata_Plate", "Metadata_Well"])["cells"]
    count = np.log2(1 + facts(wells, known.astype(float))["cells"].to_numpy())
    alone = shortcuts.from_numbers(wells.filter(like="Metadata_"), count)
    out = shortcuts.regressed(wells, count, degree)
    return {"DINO": wells, "DINO, count out": out, "Cell count": alone}


def mean_auc(wells, found, parts):
    """Mean AUCROC over assays of the feature network."""
    head, values = profile_matrix(wells)
    who = head["Metadata_Perturbation"].to_numpy()
    told = cross_validate("FNN", values, who, found, parts, seed=seed)
    each = [
        score_assays(
            part[found.columns].to_numpy(),
            found.loc[part["Metadata_Perturbation"]].to_numpy(),
        )[0]
        for _, part in told.groupby("split")
    ]
    return np.nanmean(known_mean(np.array(each)))


# %% tags=["drawn"]
others = {}
if drawn and features.simulated:
    for name, wells in three_rows(gene_screen()).items():
        others[name] = evaluate(wells, "Metadata_GeneGroup")
    screen = activity_screen(seed)
    few = three_rows(screen)
    who = pd.unique(few["DINO"]["Metadata_Perturbation"])
    column = "Metadata_Perturbation"
    labels = read_labels(screen.parent / "assays.parquet", column)
    assays = match_labels(labels, who)
    parts = draw_splits(assays, seed=seed).iloc[:, :2]  # of three
    for name, wells in few.items():
        others[name]["auc"] = mean_auc(wells, assays, parts)

# %% tags=["hide-input", "drawn"]
others = pd.DataFrame(others).T
columns = {
    "perturbation_map": "Gene mAP",
    "label_map": "Gene family mAP",
    "auc": "Mean AUCROC of assays",
}
if len(others):
    display(
        frame_table(others, columns, "Genes and assays (simulated)", fold=False)
    )
    question = "A network sees only how many cells there are. What mean AUCROC does it reach?"
    choices = ["0.5, as by chance", "0.55 to 0.65", "nearly what DINO reaches"]
    alone, dino = (float(others.loc[n, "auc"]) for n in ("Cell count", "DINO"))
    right = choices[int(alone >= 0.55) + int(alone >= 0.65)]
    why = f"{alone:.3f}; DINO's features {dino:.3f}, and {others.loc['DINO, count out', 'auc']:.3f} with the count out."
    display(ask(question, choices, right, why))

# %% [markdown] tags=["drawn"]
# ## The book's own questions
#
# No sentence of the paper is judged here. These are expectations about methods on cells whose truth is
# known.

# %% tags=["hide-input", "drawn"]
got = {}
less = f"{first}, count out"
if kind and counted and features.find("DINO"):
    only, free = grid.columns[1], grid.columns[3]
    got["drawn-count-alone"] = -np.diff(grid.loc["Cell count", [only, free]])[0]
    got["drawn-count-out"] = grid.loc[less, only]
    got["drawn-count-free"] = (
        grid.loc[less, free] - grid.loc["Cell count", free]
    )
if features.simulated:
    recall = "perturbation_recall1_nsb"
    got["drawn-position"] = (
        found["Place on plate"][recall] - found["Random features"][recall]
    )
if matched and features.find("DINO"):
    got["drawn-densities"] = matched["DINO"]["another density"] - 1 / 20
note_all(got)
claims.show_claims(chapter="shortcuts")

# %% [markdown]
# ## Which of the paper's claims would survive?
#
# | Claim | Shortcut that a reviewer would name | Can a reader tell? |
# |---|---|---|
# | Replicates find each other, DINO best (Fig. 2, Suppl. Figs. 4 and 5) | Place on the plate: JUMP-Target-2's plate map is the same on every plate of every source, so position says which compound it is. Not-same-batch does not help. | Only by restricting matches to other positions: 14 of its 307 compounds have two wells. Nobody can tell for the other 293. |
# | Compounds of one target find each other (Fig. 2) | Both kill cells. Position cannot help: they lie in different wells. | Not from the released embeddings, which have no counts. With a table that has them, joined by plate and well: yes. |
# | DINO finds more than CellProfiler | A shortcut must serve DINO more. It may: whole crops see density, means over cells hardly do, and the paper says that DINO's controls follow the count. | The same: not without counts. |
# | Genes of a family cluster together (Fig. 3) | Families that slow growth; plate effects, where a family shares a plate. | Not without counts and plate maps of the ORF plates. |
# | Bioactivity from DINO's features comes near to image networks (Table 1) | Toxic compounds are active in many assays: counting cells alone scores high {cite:p}`seal2026`. | Yes: cpg0012's CellProfiler tables have counts, and a network on one number is this chapter's row. The *difference* to the image networks survives only if they do not use the count as well. |
# | Batch effects are alike in both kinds of features (Suppl. Fig. 10) | The count differs between batches. | Partly: no claim about treatments rests on it. |
#
# The claims are not wrong for that. What is missing is the row beside them.
#
# ## What this shows and what it does not

# %% [markdown] tags=["drawn"]
# On drawn cells the count is moved by few compounds and 40 cells a well scatter, so that counting finds
# little: a real screen of toxic compounds is another matter. Measured intensities find many, because
# brightness is a part of what was drawn, and rightly so: a shortcut is not always an artefact.
# Regression removes what a parabola of the *measured* count explains. The count is measured with error,
# which is why even the true phenotype keeps a little of compounds that move nothing else.

# %% [markdown]
# On real data it shows what each shortcut would have scored. A feature type that beats all of
# them and keeps its lead with the count out has seen something else. It does not show what.
#
# ## Re-run it on your data
#
# ```bash
# # profiles with a count in them, or beside them in another table (joined by plate and well)
# cpssl run shortcuts -p profiles='{"Mine": ["mine.parquet"], "CellProfiler": ["cp/*.parquet"]}' \
#   -p cell_count=Metadata_Count_Cells
# # CPJUMP1's CellProfiler tables: no count, but a feature that says how crowded cells are
# cpssl run shortcuts -p data_name=CPJUMP1 -p method=none -p batch=Metadata_Plate \
#   -p profiles='{"CellProfiler": ["profiles/cpjump1/BR0011701*.csv.gz"]}' \
#   -p label=Metadata_gene -p cell_count=Cells_Neighbors_PercentTouching_Adjacent
# # the authors' released embeddings: position and neighbours only
# cpssl run shortcuts -p release=SSL_data
# ```
#
# ## Exercises
#
# 1. Is a straight line enough, or does the features' answer to density bend?

# %% tags=["solution"]
for power in (1, 2, 3) if counted else ():
    left = shortcuts.regressed(tables[first], density(tables[first]), power)
    told = evaluate(left, label)
    print(f"degree {power}: perturbation mAP {told['perturbation_map']:.3f}")

# %% [markdown]
# 2. What does regression on a count that means nothing take away?

# %% tags=["solution"]
noise = rng.standard_normal(len(tables[first]))
left = evaluate(shortcuts.regressed(tables[first], noise, degree), label)
whole = evaluate(tables[first], label)
for metric in ("perturbation_map", "label_map"):
    print(f"{metric}: {whole[metric]:.3f}, then {left[metric]:.3f}")

# %% [markdown]
# **Takeaway.** Before you believe a score, ask what a count, a brightness and a position would have
# scored, and what is left without them.
#
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
