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
# # Paper and code
#
# A paper's text and the code behind it are never quite the same. Here both are public, so every
# place where they differ can be listed, and what it does to the numbers can be measured. Most of
# the differences are small decisions that a text has no room for. A few change the kind of
# number that is reported, and one is a programming slip.
#
# **How it was found.** The authors' released code was read beside the text, and most of it was run
# on made-up input to see what comes out. Their DINO, MAE and SimCLR networks, their
# post-processing and their metrics are all reproduced by this package to rounding; the tests hold
# them to it. So both readings can be run here.
#
# **What is done here.** First all differences in the metrics at once, then one at a time, then those
# in images and features, augmentations and training. All of it on the
# [simulated screen](00_data): the numbers show how much each difference *can* move, not by how
# much the paper's own numbers would.
#
# ```{admonition} After this chapter you can
# :class: tip
# - say which differences change the kind of number that is reported
# - read a method section with the questions that code would answer
# - run your own tables both ways
# ```

# %% tags=["parameters", "hide-input"]
data = "lite"  # simulated screen
compounds = 12  # perturbations whose crops are embedded anew
differences = "book/differences.yml"  # the list of all differences
seed = 0  # of random weights and of everything drawn here

# %% tags=["hide-input"]
import copy
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict

from cpssl_lite.bioactivity.scores import score_assays
from cpssl_lite.book import provenance, readings
from cpssl_lite.book.chapter import ask, headline, show
from cpssl_lite.book.features import load_features
from cpssl_lite.book.figures import style
from cpssl_lite.book.html import table
from cpssl_lite.book.screens import drawn_in
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images import augment
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.rows import file_of
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_header, read_merged
from cpssl_lite.metrics.nearest import accuracy, nearest_neighbours, standardise
from cpssl_lite.metrics.replicates import percent_replicating
from cpssl_lite.metrics.retrieval import PAPER_THRESHOLDS, average_precision
from cpssl_lite.metrics.retrieval import precision_recall_at_distance
from cpssl_lite.metrics.retrieval import precision_recall_at_k
from cpssl_lite.metrics.similarity import encode
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.models.encoder import RELEASED_MEAN, RELEASED_SD
from cpssl_lite.models.recipes import load_recipe
from cpssl_lite.models.schedules import warmup_cosine
from cpssl_lite.models.simclr import nt_xent
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.embed import embed_fields
from cpssl_lite.profiles.evaluate import evaluate, treated_wells
from cpssl_lite.profiles.normalize import mad_robustize, normalize, plate_names
from cpssl_lite.profiles.normalize import variance_filter
from cpssl_lite.profiles.table import feature_columns, profile_matrix

style()
found = load_features(data, measured=True, seed=seed)
image_table, images = found.image_table, found.images
raw, tables = found.raw, found.normalized()
data_kind = found.data_kind
networks = {name: load_encoder(path) for name, path in SHIPPED.items()}
listed = yaml.safe_load(Path(differences).read_text())

# %% [markdown]
# ## All of the metrics at once
#
# `cpssl evaluate` has both readings: `--convention paper` follows the text, `--convention released`
# gives what the released code gives on the same table.

# %%
both = {
    convention: pd.DataFrame(
        {n: evaluate(t, None, convention) for n, t in tables.items()}
    )
    for convention in ("paper", "released")
}


def same_order(text, code):
    """Whether no two feature types change places."""
    moved = np.subtract.outer(text, text) * np.subtract.outer(code, code)
    return (moved >= 0).all()


# %% tags=["hide-input"]
text, code = (
    reading.loc[list(readings.PANELS)].astype(float)
    for reading in both.values()
)
moves = (code - text).mean(axis=1)
ends = [
    f"{readings.PANELS[m]} {moves[m]:+.2f}"
    for m in (moves.idxmin(), moves.idxmax())
]
crossed = [
    title
    for m, title in readings.PANELS.items()
    if not same_order(text.loc[m].to_numpy(), code.loc[m].to_numpy())
]
caption = f"The same profiles, measured as the text says (left end of each line) and as the released code does (right end). Mean change over feature types: from {' to '.join(ends)}. Feature types change places in {', '.join(crossed) or 'none of them'}."
alt = "Six small panels, one for each metric, with a line for each feature type from its value by the text to its value by the code."
figure = readings.two_readings(both)
show(figure, "fig-two-readings", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# ## One difference at a time
#
# Each bar below changes one thing and leaves the rest as the text has it, and says whether the
# feature types are still ranked alike. Some need a case that does not occur on this screen, so it is
# made: a quarter of the {term}`targets <target>` or {term}`perturbations <perturbation>` are left
# with fewer members.

# %%
results = {}


def switch(key, number, reading, note="", of="DINO"):
    """Run one difference on every feature type: `reading` gives (text, code)."""
    values = {name: reading(name) for name in tables}
    same = same_order(*zip(*values.values(), strict=True))
    note = note if of == "DINO" else f"{note}; {of}"
    results[key] = (number, *values[of], "" if same else "order changes", note)


def arrays(name, by=None):
    """Profiles and codes of treated wells, or of their averages."""
    wells = treated_wells(tables[name])
    head, x = profile_matrix(aggregate(wells, by) if by else wells)
    columns = ("Perturbation", "Target", "Batch", "Well")
    return x, *(head[f"Metadata_{c}"].to_numpy() for c in columns)


def both_agree(*columns):
    """One code for two columns together."""
    return encode(
        np.array(["/".join(pair) for pair in zip(*columns, strict=True)])
    )


def mean_ap(x, labels, distance="cosine", thresholds=PAPER_THRESHOLDS):
    """Mean average precision."""
    return np.nanmean(average_precision(x, labels, distance, thresholds))


def nearest(x, labels, rule):
    """Accuracy of the nearest neighbour that a rule admits."""
    return accuracy(encode(labels), nearest_neighbours(x, [rule])[0])


def thin(labels, keep=1):
    """Rows that stay when every fourth group keeps `keep` members."""
    order = pd.Series(labels).groupby(labels).cumcount().to_numpy()
    return ~np.isin(labels, np.unique(labels)[::4]) | (order < keep)


# %% [markdown]
# One of them in full. By the text a well's nearest neighbour must come from another batch. The code
# hides only wells of the same batch *and* perturbation, so that a well of the same plate can win:


# %%
def nsb(name):
    x, treatment, _, batch, _ = arrays(name)
    text, code = [encode(batch)], [both_agree(batch, treatment)]
    return nearest(x, treatment, text), nearest(x, treatment, code)


# %%
def distance(name):
    x, treatment, *_ = arrays(name, "batch")
    return mean_ap(x, treatment), mean_ap(x, treatment, "correlation")


def ranking(name):
    x, treatment, *_ = arrays(name, "batch")
    return mean_ap(x, treatment), mean_ap(x, treatment, thresholds=None)


def scaling(name):
    x, treatment, _, batch, _ = arrays(name)
    rule = [encode(batch)]
    return nearest(x, treatment, rule), nearest(standardise(x), treatment, rule)


def nsbp(name):
    x, treatment, target, batch, well = arrays(name)
    text = [encode(batch), encode(treatment)]
    code = [encode(well), both_agree(batch, target)]
    return nearest(x, target, text), nearest(x, target, code)


def lone(name):
    x, _, target, *_ = arrays(name, "consensus")
    stay = thin(target)
    ap = average_precision(x[stay], target[stay], "correlation")
    return np.nanmean(ap), np.nan_to_num(ap).mean()


def single(name):
    x, treatment, *_ = arrays(name)
    stay = thin(treatment)
    x, treatment = x[stay], treatment[stay]
    return (
        percent_replicating(x, treatment, count_single=False).share,
        percent_replicating(x, treatment, count_single=True).share,
    )


def stream(name):
    x, treatment, *_ = arrays(name)
    shares = [percent_replicating(x, treatment, seed=s).share for s in range(5)]
    return min(shares), max(shares)


def f1(name, k=3):
    x, treatment, *_ = arrays(name, "batch")
    stay = thin(treatment, keep=2)
    x, treatment = x[stay], treatment[stay]
    whole = precision_recall_at_k(x, treatment, [k]).f1[0]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    hits = treatment[np.argsort(-near)[:, :k]] == treatment[:, None]
    members = pd.Series(treatment).map(pd.Series(treatment).value_counts())
    # F1 of one query: 2 x hits / (k + number of possible hits)
    each = 2 * hits.sum(axis=1) / (k + members.to_numpy() - 1)
    return each.mean(), whole


def self_hits(name):
    head, x = profile_matrix(treated_wells(raw[name]))
    treatment = head["Metadata_Perturbation"].to_numpy()
    curves = [
        precision_recall_at_distance(
            x, treatment, distance="correlation", convention=convention
        )
        for convention in both
    ]
    return tuple(curve.recall[-1] for curve in curves)


switch("distance", "perturbation mAP", distance)
switch("ranking", "perturbation mAP", ranking)
switch("scaling", "perturbation NSB accuracy", scaling)
switch("nsb", "perturbation NSB accuracy", nsb)
switch("nsbp", "target NSBP accuracy", nsbp)
switch("lone", "target mAP", lone, "every fourth target left with one compound")
switch("single", "share replicating", single, "every fourth left with one well")
switch("stream", "share replicating", stream, "least and most of five streams")
switch("f1", "perturbation F1 at 3", f1, "every fourth left in two batches")
switch(
    "self", "recall within 1", self_hits, "raw profiles", "CellProfiler-style"
)

# %% [markdown]
# The same for what happens to profiles before they are measured; the number is the perturbation
# mAP, as the text defines it. *Text* stands for the plain reading where the text is silent: a floor
# that bounds amplification to tenfold, the variance of all wells, profiles scaled to unit length,
# median and MAD of a plate's controls.


# %%
def score(wells):
    """Perturbation mAP of normalised wells, as the text has it."""
    head, x = profile_matrix(aggregate(treated_wells(wells), "batch"))
    return mean_ap(x, head["Metadata_Perturbation"].to_numpy())


def floor(name):
    """Fewer controls than features: half as many."""
    wells = raw[name]
    control = np.flatnonzero(wells["Metadata_Control"] == "negcon")
    few = len(feature_columns(wells)) // 2
    rng = np.random.default_rng(seed)
    gone = rng.permutation(control)[few:] if few < len(control) else []
    wells = wells.drop(index=wells.index[gone])
    return tuple(
        score(normalize(wells, "sphere+mad_robustize", epsilon=epsilon))
        for epsilon in (0.01, 1e-6)
    )


def variance(name):
    head, x = profile_matrix(raw[name])
    controls = (head["Metadata_Control"] == "negcon").to_numpy()
    return int((x.var(axis=0) > 1e-5).sum()), int(
        variance_filter(x, controls).sum()
    )


def l2(name):
    wells = tables[name].copy()
    features = feature_columns(wells)
    rows, columns = (
        wells[features] / np.linalg.norm(wells[features], axis=a, keepdims=True)
        for a in (1, 0)
    )
    return score(wells.assign(**rows)), score(wells.assign(**columns))


def mad(name):
    head, x = profile_matrix(raw[name])
    plates = plate_names(head)
    controls = (head["Metadata_Control"] == "negcon").to_numpy()
    features = feature_columns(raw[name])
    values = []
    for reference in (controls, None):
        y = mad_robustize(x, plates, reference)
        good = np.isfinite(y).all(axis=0)
        y = pd.DataFrame(y[:, good], head.index, np.array(features)[good])
        values.append(score(pd.concat([head, y], axis=1)))
    return tuple(values)


switch("floor", "perturbation mAP", floor, "controls: half as many as features")
switch("variance", "features left", variance)
switch("l2", "perturbation mAP", l2)
switch("mad", "perturbation mAP", mad, "MAD robustize alone")

# %% tags=["hide-input"]
SHORT = {
    "distance": "correlation, not cosine distance",
    "ranking": "whole ranking, not 100 distances",
    "scaling": "features standardised",
    "nsb": "own batch not hidden",
    "nsbp": "perturbation not hidden",
    "lone": "lone profiles score 0",
    "single": "single wells fail",
    "stream": "another random stream",
    "f1": "F1 of means",
    "self": "profiles find themselves",
    "floor": "sphering amplifies 1,000-fold",
    "variance": "variance filter twice",
    "l2": "columns to unit length",
    "mad": "MAD of all wells",
}
_, text, code, *_ = results["nsb"]
display(
    ask(
        "The code hides fewer wells than the text. Is DINO's NSB accuracy by the code lower or higher?",
        ["lower", "the same", "higher"],
        ["lower", "the same", "higher"][int(np.sign(code - text)) + 1],
        f"{text:.3f} by the text, {code:.3f} by the code: wells of the own plate that were treated otherwise stay in, and the nearest of them may win.",
    )
)
asked = ("distance", "ranking", "scaling", "nsb", "nsbp", "l2", "mad", "floor")
moves = {key: results[key][2] / results[key][1] - 1 for key in asked}
most = max(moves, key=lambda key: abs(moves[key]))
told = ", ".join(f"{SHORT[key]} {moves[key]:+.0%}" for key in asked)
turned = [key for key in SHORT if results[key][3]]
headline(
    f"Read as the code has it, one difference alone moves DINO's number by up to {abs(moves[most]):.0%} ({SHORT[most]}); {len(turned)} of {len(SHORT)} let feature types change places."
)
display(
    ask(
        "Which of these moves DINO's number most, relative to the text's?",
        [SHORT[key] for key in asked],
        SHORT[most],
        f"{told}.",
    )
)


# %% tags=["hide-input"]
places = ", ".join(SHORT[key] for key in turned) or "none of them"
caption = f"What each difference alone does to DINO's number, relative to the text's reading; the recall is that of CellProfiler-style features. Feature types change places with: {places}. The numbers themselves are in the last table of this page."
alt = "Horizontal bars, one for each difference between text and code: the change of a metric in percent, with a note where feature types change places."
figure = readings.changes(results, SHORT)
show(figure, "fig-differences-one", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# ## Images and features
#
# All crops of a few perturbations, half of them those with the fewest cells, pass through the
# networks once. What counts as a crop with cells,
# and how crops become a well, is then only a question of weights. *Moved* is how far profiles go from
# the text's reading to the code's, in units of the spread between wells; the mAP is that of the same
# wells after MAD robustize, a rough number on so few.


# %% tags=["hide-input"]
treated = images[images["Metadata_Control"] != "negcon"]
truth = pd.read_parquet(image_table.parent / "truth.parquet")
cells = truth.groupby("Metadata_Perturbation")["cells"].mean()
cells = cells.loc[treated["Metadata_Perturbation"].unique()].sort_values()
half = compounds // 2
drawn = np.random.default_rng(seed).permutation(cells.index[half:])
chosen = [*cells.index[:half], *drawn[: compounds - half]]
rows = treated[treated["Metadata_Perturbation"].isin(chosen)]
fields = [read_merged(file) for file in rows["FileName_Merged"]]
size = networks["DINO"].crop_size
corners = grid(*fields[0].pixels.shape[1:], size)
crops = np.stack([cut(field.pixels, corners, size) for field in fields])


def crop_features(encoder):
    """Features of all crops of all fields, (fields, crops, d)."""
    with torch.inference_mode():
        parts = [
            encoder(torch.from_numpy(part).float() / 65535)
            for part in np.array_split(crops.reshape(-1, *crops.shape[2:]), 48)
        ]
    return torch.cat(parts).numpy().reshape(*crops.shape[:2], -1)


def counts(factor):
    """Which crops hold cells, (fields, crops)."""
    dna = CHANNELS.index("DNA")
    shares = [
        foreground_share(f.pixels[dna], f.otsu, corners, size, factor)
        for f in fields
    ]
    return np.array(shares) >= 0.01


def forced(valid):
    """The code's rule: a field without such a crop keeps its middle one."""
    kept = np.zeros(valid.shape, bool)
    for row, good in zip(kept, valid, strict=True):
        row[select(good.astype(float))] = True
    return kept


well = rows.groupby(["Metadata_Plate", "Metadata_Well"], sort=False).ngroup()
heads = rows.groupby(well.to_numpy()).first()


def pooled(features, valid, by_field=False):
    """Profiles of wells: one mean of all crops, or the mean of field means."""
    weight = valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)
    weight = weight if by_field else valid.astype(float)
    sums = np.einsum("fc,fcd->fd", weight, features)
    total = pd.DataFrame(sums).groupby(well.to_numpy()).sum()
    number = pd.Series(weight.sum(axis=1)).groupby(well.to_numpy()).sum()
    return total.div(number, axis=0).to_numpy()


def small_map(x, heads=heads):
    """Perturbation mAP of a few wells after MAD robustize, by batch."""
    y = mad_robustize(x, plate_names(heads))
    keys = ["Metadata_Batch", "Metadata_Perturbation"]
    y = pd.DataFrame(y).groupby([heads[k].to_numpy() for k in keys]).mean()
    names = y.index.get_level_values(1).to_numpy()
    return mean_ap(y.to_numpy(), names)


def moved(text, code, heads=heads, note="", key=""):
    """Keep what two readings of the features of the same wells do."""
    known = np.isfinite(text).all(axis=1)
    spread = np.linalg.norm(text[known] - text[known].mean(axis=0), axis=1)
    step = np.linalg.norm(code[known] - text[known], axis=1)
    maps = (small_map(x[known], heads[known]) for x in (text, code))
    far = f"{step.mean() / spread.mean():.3f}"
    results[key] = ("mAP", *maps, far, note)


# %%
dino, mae = (crop_features(networks[name]) for name in ("DINO", "MAE"))
valid = counts(0.7)
every = forced(valid)
base = pooled(dino, every)
moved(pooled(dino, every, by_field=True), base, key="pooling")
moved(pooled(dino, forced(counts(1.0))), base, key="otsu")
empty = int((~valid.any(axis=1)).sum())
moved(
    pooled(dino, valid),
    base,
    key="forced",
    note=f"{empty} of {len(fields)} fields have no crop with cells",
)

# %% tags=["hide-input"]
released = load_recipe("dino", "dino_vit_small")["normalisation"]
other = copy.copy(networks["DINO"])
ratio = np.array([RELEASED_MEAN, RELEASED_SD]) / np.array(
    [released["mean"], released["sd"]]
)
ratio = torch.tensor(ratio, dtype=torch.float32)[:, None, :, None, None]
other._buffers = {
    "mean": networks["DINO"].mean * ratio[0],
    "sd": networks["DINO"].sd * ratio[1],
}
moved(
    base,
    pooled(crop_features(other), every),
    key="constants",
    note="off by the same factors as in the released code",
)

without = copy.deepcopy(networks["MAE"])
with torch.no_grad():
    for block in without.network.blocks:
        block.attn.qkv.bias.zero_()
moved(
    pooled(mae, every),
    pooled(crop_features(without), every),
    key="biases",
    note="MAE",
)

after = copy.copy(networks["MAE"])
after.pooling = "patch_mean"
moved(
    pooled(crop_features(after), every),
    pooled(mae, every),
    key="norm",
    note="MAE; text: after the norm",
)
results["norm"] = (*results["norm"][:3], "other scale", results["norm"][4])

# %% [markdown]
# The clipping of intensities happens before the five-channel files are written, so it needs raw
# files: two small plates are drawn with them.

# %% tags=["hide-input"]
small = simulate("tiny", drawn_in("tiny-raw", seed), seed, raw_wells=12)
rows_raw = read_image_table(small.parent / "load_data.csv")
labels = read_image_table(small)
key = ["Metadata_Plate", "Metadata_Well"]
raw_heads = rows_raw[key].merge(labels, on=key)
ends = []
for low in (0.01, 0.1):
    shape = read_header(file_of(rows_raw.iloc[0]))[0][-2:]
    made = embed_fields(rows_raw, [networks["DINO"]], shape, low=low)
    sums, n = made[0]
    ends.append(sums / n[:, None])
moved(*ends, heads=raw_heads, key="percentile", note="24 wells, raw files")

corner = grid(1080, 1080, 224)
results["area"] = (
    "share of a 1,080 px field that is in a crop",
    1.0,
    len(corner) * 224**2 / 1080**2,
    "-",
    "",
)


KEYS = ("pooling", "forced", "constants", "biases", "percentile", "otsu")
readings.effect_table(
    results,
    listed,
    (*KEYS, "norm", "area"),
    "Moved",
    "Images and features: simulated data",
)

# %% [markdown] tags=["more"]
# ## Augmentations: views that leak into each other
#
# The slip: in the released code a crop is a window into the field, not a copy. Flipping makes a
# copy; when neither flip fires, which happens for one view in four, the colour change is written
# into the field. All later views of that field start from changed pixels. This package copies, and so
# this has to be acted out here.


# %% tags=["hide-input"]
def views(field, n, size, generator, aliased):
    """Views of one field (C, H, W), the released way or from clean pixels."""
    field, made = field.clone(), []
    for _ in range(n):
        top, left, a, b = torch.rand(4, generator=generator).tolist()
        row = int(top * (field.shape[1] - size + 1))
        column = int(left * (field.shape[2] - size + 1))
        window = field[None, :, row : row + size, column : column + size]
        flips = torch.tensor([a < 0.5]), torch.tensor([b < 0.5])
        view = augment.Color()(augment.flip(window, *flips), generator)
        if aliased and not (flips[0] or flips[1]):
            window[:] = view
        made.append(view[0])
    return made, field


field = torch.from_numpy(fields[0].pixels).float() / 65535
rates, off = {}, {}
for name, n in (("SimCLR, 2 views", 2), ("DINO, 10 views", 10)):
    changed, gaps = 0, []
    for i in range(200):
        make = [
            views(field, n, 96, torch.Generator().manual_seed(i), aliased)
            for aliased in (True, False)
        ]
        (leaky, after), (clean, _) = make
        changed += not torch.equal(after, field)
        gaps.append(
            np.mean(
                [
                    (x - y).abs().mean()
                    for x, y in zip(leaky, clean, strict=True)
                ]
            )
        )
    rates[name], off[name] = changed / 200, float(np.mean(gaps))

table(
    ("Method", "Fields written to", "Mean error of a view's pixels"),
    [(n, f"{rates[n]:.0%}", f"{off[n]:.3f}") for n in rates],
    caption="200 samples of one field, released ranges; intensities are 0 to 1",
)

# %% tags=["hide-input"]
_, after = views(field, 10, 96, torch.Generator().manual_seed(3), True)
share = (after != field).any(dim=0).float().mean()
caption = f"One field after ten DINO views of the released code: before, after, and the pixels that were written to, {share:.0%} of all."
alt = "A coloured field of cells, the same field with squares of changed colours in it, and a map of the changed pixels."
figure = readings.leak(field.numpy(), after.numpy())
show(figure, "fig-aliasing", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# ## Training and bioactivity
#
# Networks are not trained again here. What can be shown without: the schedules themselves, the loss
# that SimCLR starts from with fewer negatives, which augmentation one gets, and assays with one class.

# %% tags=["hide-input"]
epochs = 200
linear = np.linspace(0.04, 0.4, epochs)
cosine = warmup_cosine(epochs, 0.04, 0.4)
at = int(np.abs(linear - cosine).argmax())
warm = [warmup_cosine(epochs, 0.04, 0.04, n, start=0.01)[14] for n in (30, 20)]
z = torch.randn(2, 256, 128, generator=torch.Generator().manual_seed(seed))
loss = [float(nt_xent(z[0, :n], z[1, :n])) for n in (256, 128)]

some = torch.from_numpy(crops[:16, 0]).float() / 65535
rough = [
    float((made(some, torch.Generator().manual_seed(seed)) - some).std())
    for made in (augment.GaussianNoise(p=1), augment.GaussianBlur(p=1))
]

wanted = pd.read_parquet(image_table.parent / "assays.parquet")
wanted = wanted.set_index("Metadata_Perturbation")
head, x = profile_matrix(aggregate(treated_wells(tables["DINO"])))
found = wanted.loc[head["Metadata_Perturbation"]]
folds = list(KFold(8, shuffle=True, random_state=seed).split(x))
truth_of = found.to_numpy()
probability = np.full(found.shape, np.nan)
for i, assay in enumerate(found):
    known = (found[assay] != 0).to_numpy()
    y = (found[assay] > 0).to_numpy()[known]
    model = LogisticRegression(C=1e-3, max_iter=500)
    probability[known, i] = cross_val_predict(
        model, x[known], y, cv=4, method="predict_proba"
    )[:, 1]
aucs = [
    np.nanmean(
        [score_assays(probability[t], truth_of[t], rule)[0] for _, t in folds]
    )
    for rule in ("skip", "released")
]

decay = f"weight decay in epoch {at + 1} of {epochs}"
for key, number, (text, code), note in [
    ("decay", decay, (linear[at], cosine[at]), ""),
    ("temperature", "teacher temperature in epoch 15", warm, ""),
    ("negatives", "SimCLR's loss when nothing is learned", loss, ""),
    ("swap", "sd of the change when noise is asked for", rough, ""),
    (
        "oneclass",
        "mean AUC of assays, eight test splits",
        aucs,
        "logistic regression on DINO",
    ),
]:
    results[key] = (number, text, code, f"{code - text:+.3f}", note)
readings.effect_table(
    results,
    listed,
    ["decay", "temperature", "negatives", "swap", "oneclass"],
    "Change",
    "Training, augmentation and bioactivity (simulated data)",
)

# %% [markdown] tags=["more"]
# ## Every difference
#
# Type to search. Severity *high*: changes the kinds of numbers that are published; *medium*: matters
# for parity or at the edges; *low*: changes nothing that is reported. The last column is
# what it did above, for DINO.


# %% tags=["hide-input"]
elsewhere = "; ".join(f"{n}: {r:.0%} of fields" for n, r in rates.items())
readings.all_differences(listed, results, {"aliasing": elsewhere})

# %% [markdown]
# ## What this shows and what it does not
#
# It shows which differences to keep in mind when numbers are compared: an mAP of the complete ranking
# and one over distances are not the same quantity, and NSB with a masked batch is another question
# than NSB without. It does not say which reading is right, nor that the paper's conclusions would
# change: the authors measured all methods alike, with the same code.
#
# On real data the sizes differ. To see them there, evaluate your tables both ways:
#
# ```bash
# cpssl evaluate well_features.csv -o text.json
# cpssl evaluate well_features.csv -o code.json --convention released
# ```
#
# **Takeaway.** Before comparing two numbers, ask whether they were computed the same way.
#
# ## Exercises
#
# 1. Which differences let feature types change places? Other random weights (`-p seed=1`) and more wells
#    (`-p compounds=24`) say how firm that is: `cpssl run paper_and_code -p seed=1`.

# %% tags=["solution"]
print(", ".join(SHORT[key] for key in SHORT if results[key][3]) or "none")

# %% [markdown]
# 2. A colleague reports an NSB accuracy by the released code. How far may it be from yours by the
#    text, for no reason in the features?

# %% tags=["solution"]
for name in tables:
    text, code = nsb(name)
    print(f"{name}: {text:.3f} by the text, {code:.3f} by the code")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(
    data=image_table.parent / "dataset.yaml", checkpoint=SHIPPED, seed=seed
)
