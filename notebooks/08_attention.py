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
# # What the networks look at

# %% tags=["parameters", "hide-input"]
data = "lite"  # simulated screen (lite), or the path of an image table
network = "DINO"  # whose maps are drawn and whose channels are taken away
checkpoints = {}  # more networks to choose from: {"Mine": "mine.pth"}
perturbations = []  # whose crops are drawn [controls and the three that moved most]
plates = 2  # plates that are read, the first of each batch
fields = 2  # fields of view read per well
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of random weights

# %% tags=["hide-input"]
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from cpssl_lite.base.errors import InputError
from cpssl_lite.book import figures, provenance
from cpssl_lite.book.chapter import ask, frame_table, headline, show
from cpssl_lite.book.figures import WIDTH, color, composite, in_legend
from cpssl_lite.book.plots import picture_rows
from cpssl_lite.data.simulate.layout import SCREENS
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.attention import attention_follows, attention_maps
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder, random_like
from cpssl_lite.profiles.embed import crops_with_cells
from cpssl_lite.profiles.normalize import mad_robustize

figures.style()
files = {**SHIPPED, **checkpoints}
if network not in files:
    raise InputError(f"network {network!r} is not one of {', '.join(files)}")
networks = {name: load_encoder(path) for name, path in files.items()}
networks["Random weights"] = random_like(networks[network], seed)
encoder = networks[network]
table = simulate(data, Path("data") / data) if data in SCREENS else Path(data)
images = read_image_table(table)
CHANNELS = list(encoder.channels)
simulated = set(images.get("Metadata_Origin", ())) == {"simulated"}
name = data_name or table.resolve().parent.name
data_kind = "simulated" if simulated else name

WELL = ["Metadata_Plate", "Metadata_Well"]
negatives = images[images["Metadata_Control"] == "negcon"].drop_duplicates(WELL)
counts = negatives["Metadata_Plate"].value_counts()
whole = images[images["Metadata_Plate"].isin(counts.index[counts >= 3])]
if whole.empty:  # fewer say nothing about their spread
    raise InputError(
        f"{table}: no plate has three wells with negative controls"
        f" (Metadata_Control negcon); most on one plate: {counts.max()}"
    )
first = whole.drop_duplicates(["Metadata_Source", "Metadata_Batch"])
used = pd.concat([first, whole])["Metadata_Plate"].unique()[:plates]
part = images[images["Metadata_Plate"].isin(used)].sort_values("Metadata_Site")
part = part.groupby(WELL).head(fields)


def crops_of(record, network):
    """Crops with cells of a field, (n, C, s, s)."""
    field = read_field(record, network.channels)
    return crops_with_cells(field, network.crop_size, len(network.channels))


def fullest(record, network):
    """The crop of a field with most nuclei in it, (C, s, s)."""
    field = read_field(record, network.channels)
    level, dna = field.otsu * 0.7 * 65535, field.channels.index("DNA")
    crops = crops_with_cells(field, network.crop_size, len(network.channels))
    return max(crops, key=lambda crop: np.count_nonzero(crop[dna] > level))


# %% tags=["hide-input"]
controls = part[part["Metadata_Control"] == "negcon"].drop_duplicates(WELL)
controls = controls.to_dict("records")
follows = {}
for name, other in networks.items():
    crops = np.stack([fullest(record, other) for record in controls])
    found = attention_follows(other, crops)
    follows[name] = pd.DataFrame(found, columns=list(other.channels))
means = pd.DataFrame({name: found.mean() for name, found in follows.items()}).T
peak = means.abs().idxmax(axis=1)  # the stain that a network heeds most
heed = pd.Series({name: means.loc[name, stain] for name, stain in peak.items()})
FOLLOWS = 0.25  # rank correlation from which a map is said to follow a stain


def does(name):
    """What a network's attention does, in words."""
    verb = (
        "looks at bright cells" if heed[name] > 0 else "looks beside the cells"
    )
    verb = "hardly follows any stain" if abs(heed[name]) < FOLLOWS else verb
    return f"{name} {verb} ({peak[name]} {heed[name]:+.2f})"


headline(
    f"Attention and the stain that it follows most (rank correlation): {'; '.join(map(does, means.index))}."
)
figure, axis = plt.subplots(figsize=(WIDTH, 3.0))
for number, (name, found) in enumerate(follows.items()):
    at = np.arange(found.shape[1]) + 0.15 * (number - (len(follows) - 1) / 2)
    low, high = np.nanquantile(found, (0.25, 0.75), axis=0)
    axis.vlines(at, low, high, color=color(name), alpha=0.5, linewidth=3)
    marker = figures.marker(name)
    axis.plot(
        at, found.mean(), marker, color=color(name), label=in_legend(name)
    )
axis.axhline(0, color="#6B7785", linewidth=1)
axis.set_xticks(range(len(CHANNELS)), CHANNELS)
axis.set(ylabel="rank correlation", ylim=(-1, 1))
figure.legend(loc="outside upper center", ncols=4)
caption = f"Rank correlation of attention with the intensity of each channel, patch by patch, in one crop of each of {len(controls)} control wells: mean, and the middle half of the crops as a line. At 1 a map is a blurred copy of the channel; below 0 it looks where the channel is dark."
alt = "Dot plot: for every channel a marker with a line for each network, between -1 and 1."
show(figure, "fig-attention-follows", data_kind, caption=caption, alt=alt)

# %% [markdown]
# **The paper's claim** (Discussion, Supplementary Fig. 11). Features of {term}`CellProfiler` have
# names, so one can read which {term}`channel` and which property has changed. Features of a network
# have none, but the {term}`self-attention maps <Attention map>` of a
# {term}`vision transformer <ViT>` give some insight into what it uses {cite:p}`kim2025`.
#
# **How it was tested there.** Maps were shown as examples. There is no number.
#
# **What is done here.** The number above: do the maps follow the stains? Then the maps themselves, beside
# a network that learned nothing. Then a more direct question to the {term}`profiles <profile>`: how far
# does one move when a channel is taken away?
#
# ```{admonition} After this chapter you can
# :class: tip
# - say what an attention map shows, and what it cannot
# - measure how much a network uses a channel by taking it away
# - check an explanation against a truth
# ```

# %% tags=["hide-input"]
blind = "Random weights"
places = ("evenly", "on the cells", "beside them")
place = 0 if abs(heed[blind]) < FOLLOWS else 1 if heed[blind] > 0 else 2
question = "Random weights have learned nothing. How is their attention spread over a crop?"
why = f"Rank correlation with {peak[blind]}: {heed[blind]:+.2f}. A map may have structure before any training; it is no sign of learning by itself."
ask(question, places, right=places[place], why=why)

# %% [markdown]
# ## Taking a channel away
#
# In every {term}`crop`, one channel after another is replaced by a constant: the mean intensity that
# this channel has in the negative controls of the same plate.


# %%
def mean_levels(rows):
    """Mean intensity of each channel over the control fields of a plate."""
    rows = rows[rows["Metadata_Control"] == "negcon"].to_dict("records")
    pixels = [read_field(r, encoder.channels).pixels for r in rows]
    means = [field[: len(CHANNELS)].mean(axis=(1, 2)) for field in pixels]
    return np.mean(means, axis=0) / 65535


def with_gaps(crops, level):
    """Crops as they are, then with one channel after another replaced."""
    versions = np.stack([crops / np.float32(65535)] * (1 + len(level)))
    for channel, value in enumerate(level):
        versions[1 + channel, :, channel] = value
    return versions  # (1 + C, n, C, s, s)


@torch.inference_mode()
def field_features(record, level):
    """Mean feature of a field's crops, whole and without each channel."""
    versions = with_gaps(crops_of(record, encoder), level)
    flat = torch.from_numpy(versions.reshape(-1, *versions.shape[2:]))
    features = torch.cat([encoder(batch) for batch in flat.split(96)])
    return features.reshape(*versions.shape[:2], -1).mean(dim=1).numpy()


# %% [markdown]
# A well is the mean of its fields. Every feature is then counted in units of the spread of the
# plate's controls with all channels.

# %%
heads, raw = [], []
for _, rows in part.groupby("Metadata_Plate"):
    level = mean_levels(rows)
    for _, well in rows.groupby("Metadata_Well"):
        records = well.to_dict("records")
        heads.append(records[0])
        raw.append(np.mean([field_features(r, level) for r in records], axis=0))
wells, raw = pd.DataFrame(heads), np.stack(raw)  # (wells, 1 + C, d)
negcon = (wells["Metadata_Control"] == "negcon").to_numpy()
plate = wells["Metadata_Plate"].to_numpy()

versions = raw.shape[1]
reference = np.outer(negcon, np.arange(versions) == 0).ravel()
flat = raw.reshape(-1, raw.shape[2])
profiles = mad_robustize(flat, np.repeat(plate, versions), reference)
profiles = profiles[:, ~np.isnan(profiles).any(axis=0)]
profiles = profiles.reshape(len(wells), versions, -1)

# %% [markdown]
# A profile without a channel moves even in the controls, because the network has never seen such
# an image. That move says how much the network uses the channel at all. What concerns a
# {term}`perturbation` is how its move *differs* from the controls' move on the same plate.

# %%
move = profiles[:, :1] - profiles[:, 1:]  # (wells, C, d)
own = move.copy()
for name in np.unique(plate):
    own[plate == name] -= move[(plate == name) & negcon].mean(axis=0)

# %% tags=["hide-input"]
import seaborn as sns

used_at_all = np.sqrt(np.square(move).mean(axis=2))  # (wells, C)
medians = pd.Series(np.median(used_at_all[~negcon], axis=0), CHANNELS)
most, next_most = medians.nlargest(2).items()
figure, axis = plt.subplots(figsize=(WIDTH, 2.6))
wells_are = pd.Series(negcon).map({True: "controls", False: "treated wells"})
moves = pd.DataFrame(used_at_all, wells_are, CHANNELS).stack().reset_index()
moves.columns = ["wells", "channel", "move"]
tones = {"controls": "#AEB7C0", "treated wells": color(network)}
look = dict(x="channel", y="move", hue="wells", palette=tones, saturation=1)
boxes = dict(fliersize=0, gap=0.2, linecolor="#26303A", hue_order=tones)
sns.boxplot(moves, **look, **boxes, ax=axis)
axis.set(xlabel="", ylabel="move (control spreads)", ylim=(0, None))
axis.set_title(network)
axis.legend(loc="best")
caption = f"How far {network}'s profiles move when a channel is replaced by the controls' mean, in units of the controls' spread; boxes are wells. {most[0]} is missed most (median of treated wells {most[1]:.1f}), {medians.idxmin()} least ({medians.min():.1f})."
alt = "Box plot: for each channel two boxes, control and treated wells, of the distance that profiles move without it."
show(figure, "fig-channel-use", data_kind, caption=caption, alt=alt)
why = f"Median over treated wells: {most[0]} {most[1]:.1f} control spreads, then {next_most[0]} {next_most[1]:.1f}."
ask(
    f"Without which channel do {network}'s profiles move most?",
    CHANNELS,
    right=most[0],
    why=why,
)

# %% [markdown]
# The length of a perturbation's own move, averaged over its wells, is given relative to what groups
# of control wells show by chance. At 1, taking the channel away changes nothing that is particular
# to the perturbation.

# %%
# Control wells, one of each plate, stand for a perturbation without an effect.
rank = wells[negcon].groupby("Metadata_Plate").cumcount().astype(str)
group = wells["Metadata_Perturbation"].copy()
group[negcon] = "control group " + rank


def length(vectors):
    """Length of the mean over the wells of each group: (groups, ...)."""
    names = np.unique(group)
    means = [vectors[group == name].mean(axis=0) for name in names]
    return pd.DataFrame(np.sqrt(np.square(means).mean(axis=-1)), index=names)


lengths = length(own).set_axis(CHANNELS, axis=1)
by_chance = lengths.index.str.startswith("control group ")
importance = (lengths / lengths[by_chance].mean())[~by_chance]

# %% [markdown]
# Where the data are drawn, the truth is known: what the simulator changed, in its own steps, in the
# structures that a channel stains.

# %%
from cpssl_lite.book.truth import read_truth
from cpssl_lite.data.simulate.phenotype import CONTROL, Phenotype

SHOWN_BY = {"Mito": ("mito_",), "ER": ("er_",), "RNA": ("rna_", "nucleolus_")}
SHOWN_BY |= {"AGP": ("agp_", "actin_", "golgi_")}
SHOWN_BY |= {"DNA": ("nucleus_", "dna_", "chromatin_")}


def changes(known):
    """Steps that each compound was changed by, squared, by parameter."""
    for name, parameter in Phenotype.__dataclass_fields__.items():
        about, control = parameter.metadata, getattr(CONTROL, name)
        value = known[f"compound_{name}"]
        change = np.log2(value / control) if about["ratio"] else value - control
        yield name, (change / about["step"]) ** 2


drawn, truth = {}, read_truth(table)
if truth is not None:
    known = truth.drop_duplicates("Metadata_Perturbation")
    known = known.set_index("Metadata_Perturbation").reindex(importance.index)
    squares = dict(changes(known))
    for stain in (stain for stain in CHANNELS if stain in SHOWN_BY):
        parts = [x for n, x in squares.items() if n.startswith(SHOWN_BY[stain])]
        drawn[stain] = np.sqrt(sum(parts))

# %% tags=["hide-input"]
strength = length(profiles[:, 0])[0][~by_chance]
order = strength.sort_values(ascending=False, kind="stable").index[:24]
panels = [(importance, "a  Profile moves", "times control")]
if drawn:
    panels.append((pd.DataFrame(drawn), "b  What was drawn", "steps"))
size = (WIDTH, 1.2 + 0.17 * len(order))
figure, axes = plt.subplots(
    1, len(panels), figsize=size, squeeze=False, sharey=True
)
for axis, (values, title, unit) in zip(axes[0], panels, strict=True):
    shades = axis.imshow(values.loc[order], aspect="auto", vmin=0)
    axis.set_xticks(range(values.shape[1]), values.columns)
    axis.tick_params(length=0)
    axis.set(title=title)
    axis.grid(False)
    figure.colorbar(shades, ax=axis, label=unit, location="bottom", pad=0.02)
axes[0, 0].set_yticks(range(len(order)), order, fontsize=8)
caption = f"a, importance of each channel for the {len(order)} perturbations whose profiles differ most from the controls (1: as for control wells)."
caption += (
    " b, what was really changed in the structures that a channel stains."
    * bool(drawn)
)
alt = (
    "Heat map, perturbations as rows and channels as columns"
    + ", and the drawn changes for the same rows." * bool(drawn)
)
show(figure, "fig-channel-importance", data_kind, caption=caption, alt=alt)

# %%
favourite = importance.idxmax(axis=1).value_counts()
about = pd.DataFrame(
    {"Median move": medians, "Median importance": importance.median()}
)
about["Most important for"] = favourite.reindex(CHANNELS).fillna(0).astype(int)
fits = {stain: spearmanr(importance[stain], drawn[stain]) for stain in drawn}
if fits:
    about["Spearman with truth"] = pd.Series(
        {s: f"{f.statistic:+.2f}" for s, f in fits.items()}
    )
    about["p"] = pd.Series({s: f"{f.pvalue:.1g}" for s, f in fits.items()})
frame_table(
    about,
    caption=f"Channel importance, {len(importance)} perturbations",
    first="Channel",
    form=".2f",
)

# %% [markdown] tags=["more"]
# The table behind it counts for how many perturbations a channel is the most important one. On
# simulated data it also compares importance with the truth: does a channel matter more where the
# structures that it stains were changed more? Changes of cell size, shape and number show in every
# channel and are left out of the truth, and a stain bleeds into its neighbour as on a microscope,
# so a perfect match is not to be expected.
#
# ## Self-attention maps
#
# The network cuts a crop into patches. In every layer each patch, and one extra *class token*, asks
# all others and takes over a weighted part of what they hold; the weights are the attention. In
# the last layer the class token's weights say from which patches the feature is put together.
# Each of several *heads* has its own weights.
#
# This holds for DINO and SimCLR, whose feature is the class token. The feature of MAE here is the
# mean of all patches: its class token is trained for nothing, and the map is the mean of what all
# patches ask for. *Rollout* follows the weights through all layers {cite:p}`abnar2020`.

# %%
chosen = [controls[0]["Metadata_Perturbation"], *(perturbations or order[:3])]
chosen = list(dict.fromkeys(map(str, chosen)))
rows = part.drop_duplicates("Metadata_Perturbation")
rows = rows.set_index("Metadata_Perturbation", drop=False).reindex(chosen)
if lost := list(rows.index[rows["Metadata_Plate"].isna()]):
    raise InputError(f"not on {', '.join(used)}: {', '.join(lost)}")
examples = [fullest(record, encoder) for record in rows.to_dict("records")]
maps = attention_maps(encoder, np.stack(examples))  # (n, heads, h, w)
rolled = attention_maps(encoder, np.stack(examples), rollout=True)

# %% tags=["hide-input"]
per_stain = maps.ndim == 5  # this network looks at each stain by itself
flat = maps.mean(axis=1) if per_stain else maps
flat_roll = rolled.mean(axis=1) if per_stain else rolled
pictures = [composite(crop, CHANNELS) / 255 for crop in examples]


def light(attention, size):
    """Attention enlarged to the crop: 0 for its least patch, 1 for its most."""
    small = torch.from_numpy(attention)[None, None]
    big = torch.nn.functional.interpolate(small, (size, size), mode="bilinear")
    low, high = big.min().item(), np.percentile(big, 98)
    return np.clip(
        (big[0, 0, ..., None].numpy() - low) / max(high - low, 1e-9), 0, 1
    )


rows = {}
for name, crop, picture, seen in zip(
    chosen, examples, pictures, maps.mean(axis=-3), strict=True
):
    whole = light(seen.mean(axis=0) if per_stain else seen, crop.shape[-1])
    grey = 0.25 + 0.5 * picture.mean(axis=2, keepdims=True)  # nowhere black
    shown = np.sqrt(whole)  # so that more than the favourite patch is seen
    row = [picture, np.clip(shown * 1.2 * picture + (1 - shown) * grey, 0, 1)]
    for c, plane in enumerate(crop):
        low, high = np.percentile(plane, (1, 99.7))
        plane = np.clip((plane - low) / max(high - low, 1), 0, 1)[..., None]
        veil = 0.55 * (light(seen[c], crop.shape[-1]) if per_stain else whole)
        row.append(
            np.clip(plane * (1 - veil) + veil * np.array([1, 0.55, 0]), 0, 1)
        )
    rows[name] = row
figure = picture_rows(rows, ["composite", "attended", *CHANNELS])
caption = f"{network}, one crop of each perturbation: as a composite (Mito red, AGP amber, RNA green, ER teal, DNA blue); in colour where attention of the last layer is high, in grey where it is low; and by channel, attention as an orange veil."
alt = "Rows of microscope crops, one for each perturbation: composite, composite in grey where attention is low, five channels with an orange veil."
show(figure, "fig-attention-channels", data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
heads = min(5, flat.shape[1])
columns = [
    "composite",
    *(f"head {i + 1}" for i in range(heads)),
    "mean",
    "rollout",
]
shade = plt.get_cmap()
rows = {}
for name, picture, one, roll in zip(
    chosen, pictures, flat, flat_roll, strict=True
):
    seen = [*one[:heads], one.mean(axis=0), roll[0]]
    rows[name] = [picture, *(shade(tile / tile.max()) for tile in seen)]
figure = picture_rows(rows, columns)
caption = f"The same crops: attention of single heads of {network}'s last layer ({heads} of {flat.shape[1]}), their mean, and the rollout over all layers, one square per patch; each map from zero to its own maximum (yellow)."
alt = "Rows of heat maps, one for each perturbation: the composite, attention of single heads, their mean and the rollout."
show(figure, "fig-attention-heads", data_kind, caption=caption, alt=alt)

# %% [markdown]
# ## What this shows and what it does not
#
# *Attention* shows from where the last layer takes what it passes on. It does not show what is
# passed on, nor that the feature would change without it: earlier layers have already mixed the
# patches. All five channels enter a patch together, so one map serves them all. And it is not what
# one would draw by hand: whole heads look beside the cells, and the first figure says which networks
# do so on the whole. The network with random weights shows how much of a pattern needs no learning.
#
# *Taking a channel away* is an intervention and asks the profile itself. Its weak side: the
# network has never seen a flat channel, so some of the move is surprise. Subtracting the controls'
# move takes out what all wells share, not what depends on the treatment. Two channels that
# tell the same story can both look unimportant, because each stands in for the other.
#
# The paper shows maps as examples and draws no number from them, so there is no verdict here.
#
# **Takeaway.** Look at the map of random weights before you read any other, and take something
# away to see what a feature rests on.
#
# ## Re-run it on your data
#
# ```bash
# # your images, after cpssl data prepare; two perturbations of your choice
# cpssl run attention -p data=data/mine/images.parquet -p perturbations='["taxol", "nocodazole"]'
# # your network
# cpssl run attention -p checkpoints='{"Mine": "mine.pth"}' -p network=Mine
# ```
#
# As arrays: `attention_maps(load_encoder("mine.pth"), crops)` gives (n, heads, h, w).
#
# ## Exercises
#
# **Change this and see.** `cpssl run attention -p network=SimCLR` shows another network's maps;
# `-p plates=4` takes more wells, for steadier numbers.

# %% tags=["hide-input"]
question = "Is the channel that the network uses most in all wells also the one that matters most for most perturbations?"
right = f"Used most: {most[0]}. Most important for most: {favourite.idxmax()}, for {favourite.max()} of {len(importance)}."
why = "The first counts what all wells share, such as where cells are; the second only what a treatment changes. They need not agree."
ask(question, right=right, why=why)

# %% tags=["hide-input"]
right = "Its feature is the mean over patches, all with the same weight."
why = "The map says what the patches ask of each other in the last layer, not how much each counts in the feature."
ask(
    "Run the chapter with -p network=MAE. Why can its map not be read like DINO's?",
    right=right,
    why=why,
)

# %% tags=["hide-input"]
patches = flat.shape[-2] * flat.shape[-1]
top = flat.mean(axis=1).reshape(len(flat), -1).max(axis=1).mean()
question = "Into how many patches is a crop cut, and what would each get if attention were spread evenly? What does the favourite get?"
ask(
    question,
    right=f"{patches} patches, {1 / patches:.1%} each; in the crops above the favourite gets {top:.1%} on average.",
)

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_from = table.parent / "dataset.yaml" if data in SCREENS else table
provenance.show(data=made_from, checkpoint=files, seed=seed)
