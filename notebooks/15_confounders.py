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
# # Confounders and corrections

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
cell_count = "Metadata_Count_Cells"  # column of cells per well, if there is one
counts = ""  # tables that count cells for those that do not: "cp/*.parquet"
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of random weights and Harmony

# %% tags=["hide-input"]
import logging

import numpy as np
import pandas as pd

from cpssl_lite.book import batch_panels, claims, provenance
from cpssl_lite.book.chapter import ask, frame_table, headline, note_all, show
from cpssl_lite.book.figures import WIDTH, style
from cpssl_lite.book.plots import numbers
from cpssl_lite.book.facts import cell_counts, facts
from cpssl_lite.book.parameters import features_of
from cpssl_lite.profiles.table import profile_matrix

style()
features = features_of(globals())
raw, tables, data_kind = features.raw, features.normalized(), features.data_kind
as_given = set(features.methods.values()) == {"none"}
first = features.find("DINO") or next(iter(tables))
cells = cell_counts(features, cell_count)
counted = len(cells) > 0

# %%
from cpssl_lite.metrics.nearest import standardise
from cpssl_lite.metrics.variance import variance_explained

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
    head, matrix = profile_matrix(table)
    known, matrix = facts(head, cells), standardise(matrix)
    share = {
        words: variance_explained(matrix, known[factor].to_numpy()).adjusted
        for factor, words in FACTORS.items()
        if factor in known
    }
    return 100 * pd.Series(share)


stages = {"as given" if as_given else "raw": raw}
if not as_given:
    stages["normalised"] = tables
audits = {
    stage: pd.DataFrame({name: audit(t) for name, t in every.items()})
    for stage, every in stages.items()
}

# %% tags=["hide-input"]
import matplotlib.pyplot as plt

size = (WIDTH, 0.7 + 2.6 * len(audits))
figure, axes = plt.subplots(len(audits), 1, figsize=size, squeeze=False)
for axis, (stage, grid) in zip(axes[:, 0], audits.items(), strict=True):
    numbers(axis, grid, grid.to_numpy() / 60, form=".1f")
    axis.set_title(f"{stage.capitalize()} profiles (%)")
    short = [n.replace(" ", "\n").replace("-", "-\n") for n in grid]
    axis.set_xticks(range(grid.shape[1]), short)
shares = [grid.loc["batch", first] for grid in audits.values()]
before, after = max(shares[0], 0), max(shares[-1], 0)
told = f"{before:.0f}% of {first}'s variance goes along with the batch"
if not as_given:
    told += f"; after normalisation it is {after:.0f}%"
if np.isfinite(shares).all():
    headline(f"{told}.")
caption = f"Variance that goes along with each factor alone, in percent, adjusted for the number of groups. {told}. Empty: the factor does not vary or is not known. Numbers a little below 0 are 0."
alt = "Heat maps with one row per factor and one column per feature type, with the percentage of variance explained written in each cell, for raw and for normalised profiles."
show(figure, "fig-variance", data_kind, caption=caption, alt=alt)

# %% [markdown]
# **The paper's claim.** Technical variation is seen in self-supervised features; Harmony is named as a
# remedy (Discussion) {cite:p}`kim2025`. Which factor it is, and what a correction costs, the paper leaves
# open.
#
# **How to read the figure.** The share of the features' variance that goes along with a factor, every
# feature scaled to variance 1, R² averaged over principal components weighted by their variance, and
# adjusted so that a factor that means nothing gets 0 on average. Cell count enters as a straight
# line, all others as groups. Factors overlap (a plate lies in one batch and one source, a layout
# puts a compound at one position), so the shares do not add up.
#
# ```{admonition} After this chapter you can
# :class: tip
# - say which factors a feature type follows, and which of them overlap
# - see a position effect on a plate
# - say what a correction such as Harmony may take away
# ```
#
# ## Plate by plate
#
# Position effects have a shape: rows, columns, edges.

# %%
from sklearn.decomposition import PCA

head, matrix = profile_matrix(raw[first])
known = facts(head, cells)
leading = PCA(1, random_state=seed).fit_transform(standardise(matrix))[:, 0]

# %% tags=["hide-input"]
from cpssl_lite.profiles.shortcuts import grid_position

drawn = {"PC 1": leading} | ({"cells": known["cells"]} if counted else {})
plate, at = known["plate"].to_numpy(), grid_position(known["well"])
figure = batch_panels.plates(drawn, plate, at)
n = known["plate"].nunique()
caption = f"{min(n, 8)} of {n} plates as they lie: first principal component of {first}{'' if as_given else ', raw'}{', and below it the cell count' if counted else ''}. White wells are not in the table."
alt = "Small heat maps of plates, wells coloured by the first principal component and by cell count."
show(figure, "fig-plates", data_kind, caption=caption, alt=alt)

# %% [markdown]
# ## Harmony, before and after
#
# Harmony {cite:p}`korsunsky2019` moves the wells of every batch until soft clusters hold all batches
# alike. It knows the batches and not the treatments, so it may also take away what the treatments
# did. Profiles are taken as principal components (200 at most), once raw, with every feature
# scaled to variance 1, and once normalised.

# %%
import harmonypy

from cpssl_lite.metrics.batch import LISI_K, lisi, silhouette
from cpssl_lite.metrics.graph import nearest_graph
from cpssl_lite.profiles.evaluate import evaluate


def harmony(profiles, batches):
    """Principal components before and after Harmony."""
    parts = PCA(min(200, *profiles.shape), random_state=seed)
    parts = parts.fit_transform(profiles)
    how = dict(random_state=seed, verbose=False, ncores=1)
    fit = harmonypy.run_harmony(parts, {"b": batches}, ["b"], **how)
    return parts, np.asarray(fit.Z_corr)


def outcome(known, wells, parts):
    """Batch effect of components, and how well they still find what matches."""
    groups = known["batch"].to_numpy()
    graph = nearest_graph(parts, LISI_K[0])
    named = pd.DataFrame(parts, wells.index).add_prefix("emb_")
    scores = evaluate(pd.concat([wells, named], axis=1), label or None)
    return {
        "silhouette": silhouette(parts, groups).mean(),
        "lisi": lisi(graph, groups, LISI_K[0]).mean(),
    } | scores


logging.getLogger("harmonypy").setLevel(logging.WARNING)
corrected = {}
several = known["batch"].nunique() > 1
for name in tables if several else ():
    inputs = {} if as_given else {"raw": raw[name]}
    for stage, table in {**inputs, "normalised": tables[name]}.items():
        wells, matrix = profile_matrix(table)
        of = facts(wells, cells)
        matrix = standardise(matrix) if stage == "raw" else matrix
        corrected[name, stage] = [
            outcome(of, wells, parts)
            for parts in harmony(matrix, of["batch"].to_numpy())
        ]

# %% tags=["hide-input"]
P, T = "perturbation_map", "label_map"
if corrected:
    titles = {P: "Perturbation mAP", T: "Label mAP"}
    there = corrected[first, "normalised"][0]
    titles = {k: v for k, v in titles.items() if np.isfinite(there[k])}
    figure = batch_panels.before_and_after(corrected, titles)
    gain = {
        stage: corrected[first, stage][1][P] - corrected[first, stage][0][P]
        for name, stage in corrected
        if name == first
    }
    told = " and ".join(f"{v:+.3f} on {k} ones" for k, v in gain.items())
    caption = f"What Harmony buys and what it costs. Arrows go from before to after: right is better mixed batches (LISI of 15 neighbours), up is better matches. Open markers: raw profiles, full ones: normalised. {first}'s perturbation mAP changes by {told}."
    alt = "Two panels with an arrow per feature type: mixing of batches on the horizontal axis, perturbation mAP and label mAP on the vertical axes."
    show(figure, "fig-harmony", data_kind, caption=caption, alt=alt)
else:
    print("One batch only: there is nothing to correct.")

# %% tags=["hide-input"]
columns = {
    "silhouette": "Silhouette",
    "lisi": "LISI, k = 15",
    P: "Perturbation mAP",
}
columns |= {"perturbation_acc_nsb": "Perturbation NSB", T: "Label mAP"}
pairs = {
    f"{name}, {stage}": {
        title: " → ".join(f"{row[metric]:.3f}" for row in pair)
        for metric, title in columns.items()
    }
    for (name, stage), pair in corrected.items()
}
frame_table(pd.DataFrame(pairs).T, caption="Before → after Harmony")

# %% tags=["hide-input"]
if len({stage for _, stage in corrected}) == 2:
    plain, best = corrected[first, "raw"][1][P], corrected[first, "normalised"]
    choices = [
        "Harmony on raw profiles",
        "normalising, without Harmony",
        "both",
    ]
    reach = [plain, best[0][P], best[1][P]]
    right = choices[int(np.argmax(reach))]
    why = ", ".join(
        f"{c}: {v:.3f}" for c, v in zip(choices, reach, strict=True)
    )
    question = f"Which of the three finds {first}'s replicates best (perturbation mAP)?"
    display(ask(question, choices, right, why))
    moved = [pair[1]["lisi"] - pair[0]["lisi"] for pair in corrected.values()]
    lost = [pair[1][P] < pair[0][P] for pair in corrected.values()]
    choices = ["in none", "in some", "in all"]
    right = choices[int(sum(lost) > 0) + int(sum(lost) == len(lost))]
    why = f"In {sum(lost)} of {len(lost)}, while LISI rises in {sum(m > 0 for m in moved)}."
    question = "Harmony mixes batches. In how many cases does it lower the perturbation mAP?"
    display(ask(question, choices, right, why))

# %% [markdown]
# ## The paper's numbers beside this run's

# %% tags=["hide-input"]
got, dino = {}, features.find("DINO")
if dino and corrected:
    stage = "raw" if (dino, "raw") in corrected else "normalised"
    before, after = corrected[dino, stage]
    got["batch-harmony"] = after["lisi"] - before["lisi"]
if features.simulated and dino and not as_given and several:
    share = [grid.loc["batch", dino] for grid in audits.values()]
    got["drawn-batches"] = share[1] / share[0]
note_all(got, features.evidence("paper"))
claims.show_claims(chapter="confounders")

# %% [markdown]
# ## What this shows and what it does not

# %% [markdown] tags=["drawn"]
# Harmony mixes batches. For the trained networks it does not help raw profiles as much as
# normalisation does; on normalised ones little is left to correct. Both are findings on drawn
# cells. On real plates run it with the metrics beside it, as here: better mixing alone proves
# nothing, because features that know nothing are mixed best.

# %% [markdown] tags=["real"]
# Better mixing alone proves nothing: features that know nothing are mixed best. A correction has earned
# its place where mixing and matches both rise. Profiles that come corrected leave it little to do.

# %% [markdown]
# Variance that goes along with a factor is not yet caused by it. Where all plates have one layout,
# position and perturbation explain the same wells and no analysis can tell them apart; CPJUMP1's
# plates are such a case. What a count or a position alone would find is [asked next](14_shortcuts).
#
# ## Re-run it on your data
#
# ```bash
# # your images, after cpssl data prepare
# cpssl run confounders -p data=data/mine/images.parquet
# # the authors' released embeddings (SSL_data, normalised by them)
# cpssl run confounders -p release=SSL_data
# # your profiles: CPJUMP1's CellProfiler tables, plate as batch, gene as label
# cpssl run confounders -p data_name=CPJUMP1 -p method=none \
#   -p profiles='{"CellProfiler": ["profiles/cpjump1/*.csv.gz"]}' \
#   -p batch=Metadata_Plate -p label=Metadata_gene
# ```
#
# ## Exercises
#
# 1. Which step of the normalisation removes the batch, sphering or MAD robustize? Say first what
#    you expect.

# %% tags=["solution"]
from cpssl_lite.profiles.normalize import normalize

ways = () if as_given else ("none", "sphere", "mad_robustize")
left = {way: audit(normalize(raw[first], way)) for way in ways}
print(f"{first}: percent of variance that goes along with each factor")
print(pd.DataFrame(left).round(1).to_string())
print("MAD robustize centres every plate. Sphering shrinks directions in")
print("which the controls vary, and batches lie along these.")

# %% [markdown]
# 2. If every batch held other compounds, what would Harmony do to them?

# %% tags=["solution"]
rng = np.random.default_rng(seed)
of = np.repeat([0, 1], 100)  # two batches, each with a compound of its own
x = rng.standard_normal((200, 10)) + 3 * np.eye(10)[of]
parts, moved = harmony(x, of.astype(str))
gap = [
    np.linalg.norm(p[of == 0].mean(0) - p[of == 1].mean(0))
    for p in (parts, moved)
]
print(
    "distance of two compounds, each alone in its batch: {:.1f}, then {:.1f}".format(
        *gap
    )
)
print("It cannot tell a batch from its compounds. Shared compounds can.")

# %% [markdown]
# **Takeaway.** Ask which factor, ask it of raw and of corrected profiles, and never of the mixing alone.
#
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
