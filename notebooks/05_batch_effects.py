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
seed = 0  # of random weights, UMAP and baselines

# %% tags=["hide-input"]
import numpy as np
import pandas as pd

from cpssl_lite.book import batch_numbers, batch_panels, claims, provenance
from cpssl_lite.book.chapter import ask, frame_table, headline, note_all, show
from cpssl_lite.book.figures import style
from cpssl_lite.book.facts import cell_counts, facts
from cpssl_lite.book.parameters import features_of
from cpssl_lite.profiles.evaluate import label_column
from cpssl_lite.profiles.table import profile_matrix

style()
features = features_of(globals())
raw, tables, data_kind = features.raw, features.normalized(), features.data_kind
as_given = set(features.methods.values()) == {"none"}
first = features.find("DINO") or next(iter(tables))
# The other one that is drawn beside it: what the paper compared with, or no training.
baselines = [n for n, t in features.types.items() if t.kind == "baseline"]
other = [n for n in (features.measured(), *baselines, *tables) if n]
shown = [first, *[n for n in other if n != first][:1]]

cells = cell_counts(features, cell_count)
counted = len(cells) > 0
matrices = {name: profile_matrix(table) for name, table in tables.items()}
heads = {name: facts(head, cells) for name, (head, _) in matrices.items()}
values = {name: matrix for name, (_, matrix) in matrices.items()}
head = heads[first]
groupings = [f for f in ("batch", "source") if head[f].nunique() > 1]
column = label_column(tables[first], label or None)
labels = {
    name: wells[column].to_numpy(dtype=str) if column else np.array([""])
    for name, (wells, _) in matrices.items()
}
controls = {name: known["negcon"].to_numpy() for name, known in heads.items()}

# %%
from cpssl_lite.profiles.maps import umap_map

maps = {name: umap_map(matrix, seed) for name, matrix in values.items()}

# %%
from sklearn.metrics import f1_score

from cpssl_lite.metrics.nearest import nearest_neighbours
from cpssl_lite.metrics.similarity import encode


def f1_of_labels(name):
    """F1 of every label by nearest neighbour, not same batch or perturbation."""
    part = np.flatnonzero((labels[name] != "") & ~controls[name])
    known, true = heads[name].iloc[part], labels[name][part]
    rule = (encode(known["batch"]), encode(known["perturbation"]))
    nearest = nearest_neighbours(values[name][part], [rule])[0]
    guess, names = np.where(nearest >= 0, true[nearest], ""), np.unique(true)
    how = dict(labels=names, average=None, zero_division=0)
    return pd.Series(f1_score(true, guess, **how), names)


# %% tags=["hide-input"]
chosen, named = [], []
if column:
    judges = [n for n in tables if n not in baselines]
    if features.measured() and features.find("DINO"):  # the paper's two
        judges = [features.find("DINO"), features.measured()]
    f1 = pd.DataFrame({name: f1_of_labels(name) for name in judges})
    best = f1.mean(axis=1).sort_values(ascending=False, kind="stable")
    chosen, named = list(best.index[:20]), list(best.index[:6])
figure = batch_panels.target_map(
    {n: maps[n] for n in shown}, labels, controls, named
)
caption = f"The paper's Fig. 4 on this run's data: UMAP of well profiles. In colour: {', '.join(named)}, classified best of {len(set(labels[first]) - {''})} labels; other treated wells are hollow, controls small dots."
alt = "UMAP scatter plots of wells for two feature types, with six labels in different colours and markers and all others grey."
show(figure, "fig-umap-target", data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
if chosen:
    title = (
        f"Supplementary Table 3: F1 of the {len(chosen)} labels classified best"
    )
    display(frame_table(f1.loc[chosen], caption=title, first="Label"))

# %% [markdown]
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
# **What is done here.** The same map and the same three numbers; then the metrics that are asked for
# today. Labels are chosen by the paper's rule, the best mean F1 over feature types (the text does not
# name the classifier; here it is {term}`NSBP <NN, NSB, NSP, NSBP>`); the paper colours twenty, this page
# six that one can tell apart. Which {term}`confounder <confounder>` it is, and whether
# {term}`Harmony` helps, is [the next chapter's question](15_confounders).

# %% [markdown] tags=["drawn"]
# To see a batch effect for yourself, go to [the explorer](09_explorer), choose features that were not
# normalised (*DINO, raw*) and colour them by batch.

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - tell a batch effect from a difference that the design put there
# - say what each batch metric sees and misses
# - say why silhouette alone misleads
# ```
#
# ## The same map, by what should not matter
#
# If the features held only the effect of the treatment, the colours below would be mixed everywhere
# (except among the controls, which are a treatment of their own). A map shows who is near whom; distances
# between far groups, and the axes, mean nothing.

# %%
from cpssl_lite.metrics.nearest import standardise

views = {name: (maps[name], heads[name]) for name in shown}
if not as_given:
    wells, matrix = profile_matrix(raw[first])
    at = umap_map(standardise(matrix), seed)
    views[f"{first}, raw"] = at, facts(wells, cells)

# %% tags=["hide-input"]
for _, known in views.values():
    known["status"] = np.where(known["negcon"], "control", "treated")
words = {"status": "control or not"} | {name: name for name in groupings}
if counted:
    words["cells"] = "cells in the well"


def both_axes(name, part=True):
    """Multiple correlation of the cell count with both axes of a map."""
    count = heads[name]["cells"].to_numpy()
    known = np.isfinite(count) & part
    plane = np.column_stack([np.ones(known.sum()), maps[name][known]])
    fitted = plane @ np.linalg.lstsq(plane, count[known])[0]
    return np.corrcoef(fitted, count[known])[0, 1]


figure = batch_panels.technical_maps(views, words)
caption = f"The maps coloured by {', '.join(words.values())} (the paper's Supplementary Fig. 9a to d)."
if not as_given:
    caption += f" Last column: {first} before normalisation, every feature scaled to variance 1."
if counted:
    caption += f" Last row: the count follows the map of {' and '.join(f'{name} ({both_axes(name):.2f})' for name in shown)} (multiple correlation with both axes)."
alt = "A grid of UMAP scatter plots: a row for each technical factor, a column per feature type and one for raw profiles."
show(figure, "fig-umap-technical", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# ## Cell count
#
# Is what the map shows the number of cells? Correlations of the count with the leading principal
# components and with the map's axes. Since the axes of a map may be turned at will, the last
# column takes both together (multiple correlation).

# %%
from sklearn.decomposition import PCA

AXES = ["PC 1", "PC 2", "PC 3", "PC 4", "PC 5", "UMAP 1", "UMAP 2", "UMAP"]


def count_correlation(name, part):
    """Correlation of cell count with components, map axes, and both axes."""
    count = heads[name]["cells"].to_numpy()
    part = part & np.isfinite(count)
    if part.sum() < 5 or np.ptp(count[part]) == 0:
        return np.full(len(AXES), np.nan)
    n = min(5, *values[name].shape)
    parts = np.full((len(count), 5), np.nan)
    parts[:, :n] = PCA(n, random_state=seed).fit_transform(values[name])
    lines = np.column_stack([parts, maps[name]])[part]
    single = [np.corrcoef(line, count[part])[0, 1] for line in lines.T]
    return np.array([*single, both_axes(name, part)])


with_count = {}
for name, known in heads.items():
    everyone = np.ones(len(known), bool)
    for status, part in (("all", everyone), ("controls", controls[name])):
        with_count[name, status] = count_correlation(name, part)

# %% tags=["hide-input"]
if counted:
    grid = pd.DataFrame(with_count, index=[*AXES[:-1], "UMAP\n1 and 2"]).T
    strongest = grid.iloc[:, -1].idxmax()
    grid.index = [f"{name}, {status}" for name, status in grid.index]
    figure = batch_panels.correlations(grid)
    caption = f"Correlation of cell count with components and the map (Supplementary Fig. 9d), of all wells and of controls. It is strongest with the map of {strongest[0]} ({strongest[1]}, {grid.iloc[:, -1].max():.2f})."
    if features.simulated:
        m = features.measured()
        caption += (
            " The paper finds it for DINO and not for features of single cells."
        )
        if m and (first, "all") in with_count:
            one, two = (with_count[n, "all"][-1] for n in (first, m))
            caption += f" Here it is {one:.2f} in {first} and {two:.2f} in {m}: on drawn cells the count follows the measured features {'more' if two > one else 'less'}."
    alt = "Heat map of correlations, one row per feature type for all wells and for controls, one column per component or map axis."
    show(figure, "fig-cell-count", data_kind, caption=caption, alt=alt)
else:
    print(
        f"No cell counts of these wells ({cell_count}): this figure is left out."
    )

# %% [markdown]
# ## Supplementary Figure 10: measured on the features
#
# One cosine nearest-neighbour graph per feature type serves connectivity and LISI. Two baselines
# stand beside the features: Gaussian clusters, one for each batch, that do not overlap (the
# largest effect there can be), and the same points with shuffled labels. A third one is added:
# the features themselves, with the names of the batches shuffled among wells of the same
# treatment. That is what these features would give without any effect of the batch.

# %%
from cpssl_lite.book.batch_numbers import effects, gaussian_baselines, renamed
from cpssl_lite.metrics.batch import LISI_K, silhouette
from cpssl_lite.metrics.graph import nearest_graph

graphs = {n: nearest_graph(matrix, max(LISI_K)) for n, matrix in values.items()}
NO_EFFECT, model = f"{first}, names shuffled", features.measured() or first
found_effects, chance = {}, {}
for factor in groupings:
    for name, known in heads.items():
        groups, of = known[factor].to_numpy(), (values[name], graphs[name])
        without = renamed(groups, known["perturbation"], seed)
        found_effects[factor, name] = effects(*of, groups)
        chance[factor, name] = effects(*of, without)
    found_effects[factor, NO_EFFECT] = chance[factor, first]
    groups = heads[model][factor].to_numpy()
    clusters = gaussian_baselines(groups, values[model].shape[1], seed)
    found_effects |= {(factor, name): seen for name, seen in clusters.items()}

# %% tags=["hide-input"]
if groupings:
    figure = batch_panels.batch_effects(found_effects, NO_EFFECT)
    k = max(found_effects[groupings[0], first]["lisi"])
    mean, free = (
        table[groupings[0], first]["lisi"][k]
        for table in (found_effects, chance)
    )
    caption = f"The paper's Supplementary Fig. 10 on this run's data. High connectivity, low LISI and high silhouettes mean a strong effect. At k = {k} {first}'s LISI by {groupings[0]} is {mean:.2f}; without an effect it would be {free:.2f}. Boxes hold the middle half of the wells, whiskers 90%."
    alt = "Three rows of panels, by batch and by source: graph connectivity against k, LISI against k, and box plots of silhouettes, one line or box per feature type and baseline."
    show(figure, "fig-batch-metrics", data_kind, caption=caption, alt=alt)
else:
    print("One batch only: there is nothing to compare.")

# %% tags=["hide-input"]
shown_ones = {k: v for k, v in found_effects.items() if k[1] != NO_EFFECT}
frame_table(
    batch_numbers.effects_beside_chance(shown_ones, chance),
    caption="The same as means / what no effect gives",
)

# %% [markdown] tags=["more"]
# Choices that the text leaves open, and what is taken here: edges have no direction (two wells are
# joined if either names the other); silhouettes use cosine distance like the graph; all wells
# count, controls too; k of LISI is the size of the neighbourhood with the well itself, and its
# perplexity is k / 3, the rule of harmonypy 0.0.9, which the paper used.
#
# ## Why silhouette alone misleads
#
# Silhouette compares a batch with the *nearest* other one. As soon as two of many batches overlap it
# reports a good mixture, however far the others are {cite:p}`rautenstrauch2025`. Imagine four batches of
# one and the same treatment: two lie here, the other two far away.

# %%
from cpssl_lite.metrics.mixing import bras, cilisi, kbet, pc_regression

toy = np.random.default_rng(seed).standard_normal((200, 12))
of_four = np.repeat(np.arange(4), 50)
apart = toy + 6 * np.eye(12)[[0, 0, 1, 1]][of_four]
seen = silhouette(apart, of_four).mean(), bras(apart, np.zeros(200), of_four)

# %% tags=["hide-input"]
choices = ["near 0: mixed", "near 1: apart"]
ask(
    "Two pairs of batches, far from each other. What is the mean silhouette by batch?",
    choices,
    choices[int(seen[0] > 0.5)],
    f"It is {seen[0]:+.2f}: each batch has its partner beside it. BRAS, which compares with all other batches, is {seen[1]:.2f} (1 would be mixed).",
)

# %% [markdown]
# | Metric | Sees | Does not see |
# |---|---|---|
# | Silhouette | whether the nearest other batch is farther than the own one | two groups of batches far apart; what the design put there |
# | BRAS | the same against *all* other batches, within one treatment | batches mixed at large but not well by well |
# | CiLISI | how many batches are among the neighbours, within one treatment | how far apart they are |
# | kBET | whether neighbourhoods have the batches in the proportions of the whole | that an unequal design is no batch effect; it grows stricter with the number of wells |
# | Principal-component regression | the share of variance that goes along with the batch | anything that a mean does not show |
#
# BRAS and CiLISI ask within a treatment: here within each target's wells and within the controls.

# %%
rows = {}
stages = {"raw": {} if as_given else raw, "normalised": tables}
for stage, name in [(s, n) for s in stages for n in stages[s]]:
    wells, x = profile_matrix(stages[stage][name])
    known = facts(wells, cells)
    of = known["batch"].to_numpy()
    x = standardise(x) if stage == "raw" else x
    same = wells[column] if column else known["perturbation"]
    same = np.where(known["negcon"], "controls", same.astype(str))
    local = cilisi(x, same, of) if "batch" in groupings else np.array([np.nan])
    rows[f"{name}, {stage}"] = {
        "Silhouette": silhouette(x, of).mean(),
        "BRAS": bras(x, same, of),
        "CiLISI": np.nan if np.isnan(local).all() else np.nanmean(local),
        "kBET": kbet(nearest_graph(x, min(70, len(x) - 1)), of).accepted,
        "PC regression": pc_regression(x, of),
    }

about = "0 and 1: apart and mixed by BRAS, CiLISI and kBET; mixed and apart by the others"
frame_table(pd.DataFrame(rows).T, caption=f"By batch ({about})", fold=False)

# %% [markdown] tags=["more"]
# ## Controls and treated wells apart
#
# The paper saw the strongest effect among the negative controls, on the map.

# %%
apart = batch_numbers.by_status(maps, values, heads)
split = {", ".join(which): numbers for which, numbers in apart.items()}
caption = "Mean silhouette by batch, controls and treated wells apart"
frame_table(pd.DataFrame(split).T, caption=caption, form="+.3f", fold=False)

# %% tags=["hide-input"]
if groupings:
    by = groupings[0]
    found = {n: found_effects[by, n]["silhouette"].mean() for n in tables}
    highest = max(found, key=found.get)
    headline(
        f"By {by}, {first}'s normalised features have a silhouette of {found[first]:+.3f}; no effect would give {chance[by, first]['silhouette'].mean():+.3f}."
        + f" It is highest in {highest} ({found[highest]:+.3f})."
        * (len(found) > 1)
    )
    if (first, "controls") in apart:
        gap = {
            k: apart[first, k]["On the map"] for k in ("controls", "treated")
        }
        choices = ["controls", "treated"]
        right = max(gap, key=gap.get)
        why = f"Silhouette by batch on the map: controls {gap['controls']:+.3f}, treated {gap['treated']:+.3f}. In the paper it was the controls."
        question = f"On {first}'s map, where are batches farther apart here: among controls or among treated wells?"
        display(ask(question, choices, right, why))

# %% [markdown]
# ## The paper's numbers beside this run's
#
# The text gives no numbers for this section, only directions. Two thresholds below are therefore
# ours: a "strong" correlation is above 0.5, and two silhouettes are "similar" within 0.05.


# %% tags=["hide-input"]
def by_target(name, targets):
    """Silhouette on the map of every well that has one of the targets."""
    part = np.isin(labels[name], targets) & ~controls[name]
    known = matrices[name][0].loc[part, ["Metadata_Perturbation", column]]
    return maps[name][part], known.set_axis(["compound", "target"], axis=1)


got = {}
dino, cellprofiler = features.find("DINO"), features.find("CellProfiler")
if dino and counted:
    got["batch-cell-count"] = with_count[dino, "controls"][-1]
if dino and (dino, "controls") in apart:
    one, two = (apart[dino, k]["On the map"] for k in ("controls", "treated"))
    got["batch-controls"] = one - two
if dino and len(chosen) > 1:
    got["batch-targets-group"] = batch_numbers.targets_above_chance(
        *by_target(dino, chosen), seed
    )
if dino and cellprofiler:
    pair = dino, cellprofiler
    for factor in groupings:
        got |= batch_numbers.one_minus_other(
            pair, factor, maps, heads, found_effects
        )
    if column:
        got |= batch_numbers.named_targets(
            [by_target(name, best.index) for name in pair]
        )
# The authors' code has none of these metrics.
note_all(got, features.evidence("paper"))
claims.show_claims(chapter="batch_effects")

# %% [markdown]
# ## What this shows and what it does not
#
# The maps and the numbers need each other. A map can hide an effect and it can invent one, because it
# stretches small distances. Its layout also hangs on the last digit: another seed, or another number of
# threads, gives another map, and what is measured on a map and lies near zero can change its sign.
# Numbers on the features themselves do not.

# %% [markdown] tags=["drawn"]
# On the simulated screen the raw features carry the batch, the source and the cell count.
# Normalising per plate takes nearly all of that away, and with it the paper's two
# observations on controls and cell counts: their lines in the table above say what was measured.
# The reason is the simulator: its batches shift and scale what the microscope sees, and that is
# what normalisation undoes. Real batches also differ in ways that no shift undoes, so this is no
# evidence against the paper.

# %% [markdown] tags=["real"]
# On real plates nobody knows how strong the batch effect is: compare with what no effect would give.
# Where batches hold other treatments, or other times, or other layouts, they differ for that reason too,
# and these metrics cannot tell it apart.

# %% [markdown]
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
# 1. What does the silhouette by batch become when batches are shuffled among the wells?

# %% tags=["solution"]
batches, x = heads[first]["batch"].to_numpy(), values[first]
moved = np.random.default_rng(seed).permutation(batches)
for what, given in (("as they are", batches), ("shuffled", moved)):
    print(what, f"{silhouette(x, given).mean():+.3f}")

# %% [markdown]
# 2. How strong must a batch effect be before each metric sees it? Add one to features without any.

# %% tags=["solution"]
x = np.random.default_rng(seed).standard_normal((400, 32))
of, one = np.arange(400) % 4, np.zeros(400)
for strength in (0, 0.25, 0.5, 1, 2):
    moved = x + strength * np.random.default_rng(1).standard_normal((4, 32))[of]
    told = silhouette(moved, of).mean(), bras(moved, one, of)
    told += (np.nanmean(cilisi(moved, one, of)),)
    told += (kbet(nearest_graph(moved, 70), of).accepted,)
    names = ("silhouette", "BRAS", "CiLISI", "kBET")
    each = [f"{n} {v:.2f}" for n, v in zip(names, told, strict=True)]
    print(f"effect {strength}:", ", ".join(each))

# %% [markdown]
# **Takeaway.** Look at the map, measure on the features, compare with what no effect would give, and
# never trust a silhouette alone.
#
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
