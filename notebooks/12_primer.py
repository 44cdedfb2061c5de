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
# # A primer: the ideas, in six lines each

# %% tags=["parameters", "hide-input"]
data = "lite"  # simulated screen
crop = 96  # px, side of a global view
local = 48  # px, side of a local view of DINO
mask_ratio = 0.5  # share of patches that MAE hides (the paper: 0.5)
epsilon = 1e-6  # smallest eigenvalue that sphering divides by
seed = 3  # of views, splits and prototypes

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from cpssl_lite.book import ideas, live, provenance
from cpssl_lite.book.chapter import ask, headline, show
from cpssl_lite.book.features import load_features
from cpssl_lite.book.figures import style
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.table import profile_matrix

style()
found = load_features(data, measured=True, seed=0)
tables, images, kind = found.normalized(), found.images, found.data_kind
networks = {name: load_encoder(path) for name, path in SHIPPED.items()}
scores = pd.DataFrame({n: evaluate(t) for n, t in tables.items()}).T
head, profiles = profile_matrix(tables["DINO"])
treated = (head["Metadata_Control"] == "").to_numpy()
wells, X = head[treated].reset_index(drop=True), profiles[treated]
unit = X / np.linalg.norm(X, axis=1, keepdims=True)
columns = ("Perturbation", "Target", "Batch", "Source", "Well")
compound, target, batch, source, position = (
    wells[f"Metadata_{name}"].to_numpy(str) for name in columns
)
truth = pd.read_parquet(found.image_table.parent / "truth.parquet")
strong = truth.sort_values("strength", ascending=False)
strong = strong.drop_duplicates("Metadata_Target")["Metadata_Perturbation"]
control = images["Metadata_Control"] == "negcon"
some = images.loc[control, "FileName_Merged"].head(16)
DNA = CHANNELS.index("DNA")  # the field with most of it in nuclei
field = max(
    map(read_merged, some),
    key=lambda f: (f.pixels[DNA] / 65535 > f.otsu).mean(),
)

# %% tags=["hide-input"]
size = networks["DINO"].crop_size
corners = grid(*field.pixels.shape[1:], size)
block = ideas.replicates(aggregate(tables["DINO"], "batch"), strong[:6])
best, worst = scores["perturbation_map"].agg(["idxmax", "idxmin"])
P = scores["perturbation_map"]
headline(
    f"On this screen {best} finds replicates best (perturbation mAP "
    f"{P[best]:.2f}) and {worst} worst ({P[worst]:.2f}). This page builds "
    "every step to these numbers, each in a few lines."
)
caption = "The paper's question on this build's simulated screen. a, a field in five stains (coloured) and the crops that the network sees. b, profiles of six strong compounds, each in several batches (the 32 features that differ most between them): rows of one compound should share a pattern. c, how well profiles find their replicates (across) and compounds of the same target (up). It shows how small networks, trained for minutes, do on drawn cells; not who is best on real ones."
alt = "Three panels: a coloured picture of cells with a grid of crops; a heat map of profiles with six blocks of similar rows; a scatter plot of target mAP against perturbation mAP with a marker for each feature type."
figure = ideas.overview(field, corners, size, block, scores)
show(figure, "fig-overview", kind, caption=caption, alt=alt)

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - say what a profile is, and how it comes from pixels
# - work out an average precision by hand, and say which rule made a number good
# - say what each of the three ways of learning asks of a network
# ```
#
# ## From cells to a profile
#
# Cells are grown in {term}`wells <well>`, treated, stained with six dyes and photographed in five
# {term}`channels <channel>` {cite:p}`bray2016`. [The data](00_data) shows what each of them is. A field
# is cut into squares; those without nuclei are left out; a network turns each {term}`crop` into a list
# of numbers. Their mean is the well's {term}`profile`. It has no idea of single cells: that is the price
# of doing without {term}`segmentation`.

# %%
dna = field.pixels[DNA]
kept = select(foreground_share(dna, field.otsu, corners, size))
pixels = torch.from_numpy(cut(field.pixels, corners[kept], size)).float()
with torch.inference_mode():
    crop_features = networks["DINO"](pixels / 65535)
profile = crop_features.mean(dim=0)
print(tuple(pixels.shape), "->", tuple(crop_features.shape), "->", len(profile))

# %% [markdown]
# ## Average precision
#
# Take one well, rank others by how alike their profiles are, and walk down the list. Wherever one with
# the same treatment comes, write down which share of the list so far was right. The mean of these
# shares is the {term}`average precision`: 1 when all replicates come first. Its mean over wells is
# {term}`mAP`.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show how the eight wells were chosen"}
from cpssl_lite.metrics.retrieval import average_precision

rng = np.random.default_rng(seed)
for query in rng.permutation(len(X)):  # the first whose strip is not perfect
    same = compound == compound[query]
    mine = np.flatnonzero(same & (batch != batch[query]))
    eight = np.r_[
        rng.choice(mine, 3, False), rng.choice(np.flatnonzero(~same), 5, False)
    ]
    nine = np.r_[query, eight]
    if 0.6 < average_precision(X[nine], compound[nine])[0] < 0.9:
        break

# %%
similarity = unit[eight] @ unit[query]
order = np.argsort(-similarity)  # the most alike first
hit = compound[eight][order] == compound[query]
precision = np.cumsum(hit) / np.arange(1, 9)  # right so far / seen so far
ap = precision[hit].mean()
print(f"{ap:.3f}, {average_precision(X[nine], compound[nine])[0]:.3f}")

# %% tags=["hide-input"]
caption = f"Eight wells, ranked by the cosine similarity of their profile to that of one well (numbers below). Filled: the same compound in another batch. Above each of these: right so far / seen so far. The mean of the three is the average precision, {ap:.3f}."
alt = "A row of eight squares, three of them filled, with fractions above the filled ones and similarities below all."
figure = ideas.ranked(hit, similarity[order])
show(figure, "fig-strip", kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
live.strip(hit)

# %% [markdown] tags=["more"]
# ## Not the same batch
#
# Wells of one {term}`batch` look alike for reasons that have nothing to do with the treatment. So the
# question is asked again with a rule: the nearest neighbour must come from another batch
# ({term}`NSB <NN, NSB, NSP, NSBP>`). If the share that is right falls, the batch had helped.

# %%
from cpssl_lite.metrics.nearest import nearest_accuracies

alike = unit @ unit.T
np.fill_diagonal(alike, -np.inf)
nearest = alike.argmax(axis=1)
across = np.where(batch[:, None] == batch, -np.inf, alike).argmax(axis=1)
by_hand = [(compound[who] == compound).mean() for who in (nearest, across)]
library = nearest_accuracies(X, compound, target, batch)
library = [library[f"perturbation_{rule}"] for rule in ("nn", "nsb")]
print(np.round(by_hand, 3), np.round(library, 3))

# %% tags=["hide-input"]
some = np.isin(compound, strong[:6])
some &= ~pd.DataFrame({"c": compound, "b": batch}).duplicated().to_numpy()
some = np.flatnonzero(some)
some = some[np.argsort(batch[some], kind="stable")]
caption = f"Who may be the neighbour: similarity of wells of six strong compounds, sorted by batch. Hollow circles: the most similar of these wells. Crosses: the most similar one outside of the grey blocks, which are the well's own batch. Over all {len(X)} treated wells the nearest one is right in {by_hand[0]:.0%}, the nearest of another batch in {by_hand[1]:.0%}."
alt = "A square heat map of similarities with grey blocks on the diagonal, and in each row a circle and a cross."
figure = ideas.allowed(alike[np.ix_(some, some)], batch[some])
show(figure, "fig-nsb", kind, caption=caption, alt=alt)

# %% [markdown]
# ## Sphering
#
# Some directions of feature space vary even among untreated wells: staining, focus, cell density.
# {term}`Sphering` turns and stretches the space until the {term}`negative controls <negative control>`
# are a round cloud. What also varies without treatment then counts less. Directions in which the
# controls hardly vary are stretched most, and `epsilon` says how much at most.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show how the two features were chosen"}
raw_head, raw = profile_matrix(found.raw["DINO"])
is_control = (raw_head["Metadata_Control"] == "negcon").to_numpy()
together = np.triu(np.corrcoef(raw[is_control].T), 1)
pair = np.unravel_index(together.argmax(), together.shape)
two = raw[:, pair].astype(float)
effect = (raw_head["Metadata_Perturbation"] == strong.iloc[0]).to_numpy()
drawn = np.r_[np.flatnonzero(is_control)[:80], np.flatnonzero(effect)]

# %%
from cpssl_lite.profiles.normalize import sphere

z = (two - two[is_control].mean(axis=0)) / two[is_control].std(axis=0)
values, vectors = np.linalg.eigh(np.corrcoef(two[is_control].T))
stretch = 1 / np.sqrt(np.maximum(values, epsilon))
sphered = z @ vectors @ np.diag(stretch) @ vectors.T
before, after = (np.corrcoef(c[is_control].T)[0, 1] for c in (two, sphered))
print(f"correlation of the controls: {before:.3f}, then {abs(after):.3f}")
print("as the library:", np.allclose(sphered, sphere(two, is_control, epsilon)))

# %% tags=["hide-input"]
caption = f"Two features of raw DINO profiles, those that vary together most among the controls (correlation {before:.3f}). Left: each to mean 0 and variance 1. Right: sphered; the narrow direction was stretched {stretch[0]:.1f}-fold. Grey circles: 80 controls. Blue squares: the strongest compound."
alt = "Two scatter plots: before, grey points along a diagonal; after, a round cloud of grey points, and blue squares."
figure = ideas.clouds(z[drawn], sphered[drawn], is_control[drawn])
show(figure, "fig-sphering", kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
live.spread(z[drawn], is_control[drawn], values, epsilon)

# %% [markdown] tags=["more"]
# ## Three ways to learn without labels
#
# Now to the networks. All three methods take the same crops and the same kind of network ({term}`ViT`).
# They differ in what they hide and in what they compare.

# %% tags=["hide-input"]
from cpssl_lite.images.augment import Color, Flip
from cpssl_lite.models.crops_data import random_crop

generator = torch.Generator().manual_seed(seed)
patch = 16


def view(side, of=field, change=True):
    """One random crop with cells, (C, side, side) in 0..1."""
    taken = random_crop(of.pixels, 0.7 * of.otsu * 65535, side, rng)
    x = torch.from_numpy(taken.astype(np.float32))[None] / 65535
    return (Color()(Flip()(x, generator), generator) if change else x)[0]


colored = ideas.coloring(field)
plain = view(crop, change=False)
pictures = {
    "SimCLR": [colored(view(crop)) for _ in range(2)],
    "DINO": [colored(view(s)) for s in (crop, crop, *[local] * 4)],
}
hidden, wanted = ideas.masked(plain, patch, mask_ratio, generator)
grey = np.where(hidden[..., None], 0.6, colored(plain))
pictures["MAE"] = [colored(plain), grey, wanted]
says = {
    "SimCLR": "two views of one field must be more\nalike than views of two fields",
    "MAE": "from the patches shown (middle),\npaint the hidden ones (right)",
}
caption = "What each method makes of the same field. SimCLR: two views. DINO: two global and four local ones. Both flip and change the intensity of each channel, in the released ranges. MAE: a crop, the patches of it that the network is shown, and those that it must paint (RNA channel, each patch with its own mean and contrast taken out)."
alt = "Two SimCLR views of a field in changed colours; two large and four small DINO views; a crop, the same crop with part of its patches grey, and these patches alone as grey squares."
figure = ideas.views(pictures, says)
show(figure, "fig-primer-views", kind, caption=caption, alt=alt)

# %% [markdown]
# **SimCLR** asks a question with one right answer: which of these views is of the same field as mine? The
# loss is the cross-entropy of that choice, by cosine similarity. All other fields of the batch are
# pushed away.

# %%
others = images[~control].drop_duplicates("Metadata_Target")
four = [read_merged(file) for file in others["FileName_Merged"].head(4)]


@torch.inference_mode()
def features(name, side):
    """Features of one random view of each of the four fields."""
    x = torch.stack([view(side, of, change=False) for of in four])
    y = networks[name](x)
    return y - y.mean(dim=0)


one, other = features("SimCLR", crop), features("SimCLR", crop)

# %%
from cpssl_lite.models.simclr import nt_xent

y = F.normalize(torch.cat([one, other]), dim=1)  # 8 views of 4 fields
logits = (y @ y.T / 0.2).fill_diagonal_(-torch.inf)  # never oneself
choice = logits.softmax(dim=1)
partner = choice[range(8), [4, 5, 6, 7, 0, 1, 2, 3]]
print(f"{-partner.log().mean():.3f}, {nt_xent(one, other):.3f}")
print(f"guessing: {np.log(7):.3f}")

# %% [markdown]
# **DINO** has no negatives. A {term}`student <teacher and student>` sees a part and must say what its
# slow average, the teacher, says of the whole. What they say is a choice among prototypes. Nothing
# would keep both from always saying the same, so the teacher's answers are centred (no prototype may
# win every time) and sharpened (it must decide). The released code centres by a running mean. The
# small shipped DINO balances its teacher within every step {cite:p}`oquab2024`: with so few images a
# running mean let it sort fields by staining batch.

# %%
from cpssl_lite.models.dino import dino_loss

prototypes = torch.randn(8, networks["DINO"].n_features, generator=generator)
y = [F.normalize(features("DINO", side)) for side in (crop, crop, local)]
student = torch.stack(y) @ F.normalize(prototypes).T  # (3 views, 4 fields, 8)
teacher, center = student[:2], student[:2].mean(dim=(0, 1))
goal = ((teacher - center) / 0.04).softmax(dim=-1)  # of the global views
said = (student / 0.1).log_softmax(dim=-1)
pairs = [(t, s) for t in range(2) for s in range(3) if s != t]
loss = np.mean([-(goal[t] * said[s]).sum(-1).mean() for t, s in pairs])
print(f"{loss:.3f}, {dino_loss(student, teacher, center[None], 0.04):.3f}")

# %% tags=["hide-input"]
caption = f"Two losses on four fields. a, SimCLR: how likely each view picks each other one; the outlined partner, which should take all, gets {partner.mean():.0%} on average. b, DINO: what the teacher says of a global view of each field (bars) and what the student says of a local view of it (line), over eight prototypes, drawn at random here."
alt = "Left a square heat map with one outlined cell in each row; right four small bar charts with a line over each."
figure = ideas.losses(choice.numpy(), goal[0].numpy(), said[2].exp().numpy())
show(figure, "fig-losses", kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
caption = "DINO's two networks. Gradients change the student only; the teacher is a slow average of it (dashed). The student sees local and global views, the teacher global ones."
alt = "A small crop leads to a box named student, a large crop to a box named teacher; both lead to a comparison; a dashed arrow goes from student to teacher."
figure = ideas.teacher(colored(view(local)), colored(view(crop)))
show(figure, "fig-teacher", kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# **MAE** paints the hidden patches in. There is one view, and nothing to compare it with but its own
# pixels; the loss is the mean squared difference on the hidden patches.
#
# ## Splits
#
# A network that is trained on labels is tested on what it has not seen. What "not seen" means decides
# what is measured. Leave out wells at random, and every test compound has replicates in training: the
# network may know it by sight. [Bioactivity](04_bioactivity) leaves out whole compounds.

# %%
from cpssl_lite.bioactivity.labels import draw_splits

names = np.unique(compound)
order = np.random.default_rng(seed).permutation(len(names))
test = np.isin(compound, names[np.array_split(order, 3)[0]])
split = draw_splits(pd.DataFrame(index=names), n=3, seed=seed)["split_1"]
print("as the library:", np.array_equal(test, split[compound] == "test"))
anyhow = rng.permutation(test)  # as many wells, whatever their compound
seen = [np.isin(compound[t], compound[~t]).mean() for t in (anyhow, test)]

# %% tags=["hide-input"]
caption = f"The same number of test wells (blue), left out well by well and compound by compound; a column is a compound, a square one of its wells. Of the test wells, {seen[0]:.0%} and {seen[1]:.0%} are of a compound that is trained on."
alt = "Two grids of squares; in the left one blue squares are scattered, in the right one they fill whole columns."
figure = ideas.splits({"by well": anyhow, "by compound": test}, compound)
show(figure, "fig-splits", kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# ## The stringency ladder
#
# NSB is one rule of several. Leave out the same batch, then the same laboratory, then the same place on
# the plate, then all of these: what is left at the top cannot come from any of them
# ({term}`stringency ladder`).

# %%
from cpssl_lite.metrics.ladder import ladder
from cpssl_lite.metrics.similarity import encode

same = [a[:, None] == a for a in (batch, source, position)]
admitted = np.where(np.any(same, axis=0), -np.inf, alike)
right = compound[admitted.argmax(axis=1)] == compound
able = np.isfinite(admitted).any(axis=1)  # wells with anybody left
rules = {"anybody": [], "other batch": [batch], "other source": [source]}
rules |= {"other position": [position], "all three": [batch, source, position]}
codes = {n: [encode(column) for column in rule] for n, rule in rules.items()}
rungs = ladder(X, encode(compound), codes, ks=[1])
print(f"{right[able].mean():.3f}, {rungs['all three'].recall[0]:.3f}")

# %% tags=["hide-input"]
recalls = {}
for name in ("DINO", "Random weights"):
    _, those = profile_matrix(tables[name])
    steps = ladder(those[treated], encode(compound), codes, ks=[1])
    recalls[name] = {step: rung.recall[0] for step, rung in steps.items()}
recalls = pd.DataFrame(recalls)
top = recalls.iloc[-1]
caption = f"Share of treated wells whose nearest admitted neighbour has their treatment. With nobody left out it is {recalls['DINO'].iloc[0]:.0%} with DINO's features; from another batch, source and position {top['DINO']:.0%}, with random weights {top['Random weights']:.0%}."
alt = "Two rows of points joined by lines over five steps, one for DINO and one for random weights."
figure = ideas.climb(recalls)
show(figure, "fig-ladder", kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
live.rungs(query, alike, wells, rules, recalls["DINO"])

# %% [markdown]
# ## What to take away
#
# A profile is a mean of crop features. mAP asks whether the right wells come first. Rules about who may
# be found, and which wells are held out, decide what a good number means. Words are explained in the
# [glossary](../glossary.md); the paper's main figure is in [the comparison](02_ssl_comparison).
#
# ## Predict, then look

# %% tags=["hide-input"]
from cpssl_lite.metrics.significance import expected_precision

last = (np.arange(1, 4) / np.arange(6, 9)).mean()
chance = expected_precision(np.array([3]), np.array([8]))[0]
ask(
    "Three replicates among eight wells, in random order: what average precision is to be expected?",
    [f"{value:.2f}" for value in (0, last, 3 / 8, chance)],
    right=f"{chance:.2f}",
    why=f"On average over all orders. Even the worst one has {last:.2f}.",
)

# %% tags=["hide-input"]
single = recalls["DINO"].drop(["anybody", "all three"])
told = ", ".join(f"{n} {v:.0%}" for n, v in recalls["DINO"].items())
ask(
    "Which single rule of the ladder takes most from DINO on this screen?",
    list(single.index),
    right=single.idxmin(),
    why=f"Right neighbours: {told}.",
)

# %% [markdown]
# ## Exercises
#
# Each can be tried with another parameter: `cpssl run primer` with `-p mask_ratio=0.75` (MAE shows less),
# `-p local=96` (local views as large as global ones) or `-p epsilon=0.1`.
#
# 1. How many patches of 16 px has a crop of 224 px, and how many of them does MAE's network see?

# %% tags=["solution"]
patches = (224 // patch) ** 2
print(patches, "patches, of which", int(patches * (1 - mask_ratio)), "are seen")

# %% [markdown]
# 2. Which epsilon would leave the narrow direction of the two features unstretched?

# %% tags=["solution"]
print(f"1: its eigenvalue is {values[0]:.4f}, and 1 / sqrt(1) is 1")
print(f"here it is stretched {stretch[0]:.1f}-fold")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**found.made_from, seed=seed)
