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
#
# **The paper's claim** (Discussion, Supplementary Fig. 11). Features of {term}`CellProfiler` have
# names, so one can read which {term}`channel` and which property has changed. Features of a network
# have none, but the {term}`self-attention maps <Attention map>` of a
# {term}`vision transformer <ViT>` give some insight into what it uses {cite:p}`kim2025`.
#
# **How it was tested there.** Maps were shown as examples. There is no number.
#
# **What is done here.** The same maps for any network of this book, beside a baseline that learned
# nothing, and a number: do they follow the stains? Then a second, more direct question, asked of
# the {term}`profiles <profile>`: how far does a profile move when one channel is taken away?
#
# ```{admonition} After this chapter you can
# :class: tip
# - say what an attention map shows, and what it cannot
# - measure how much a network uses a channel by taking it away
# - check an explanation against a truth
# ```

# %% tags=["parameters"]
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

from cpssl_lite.book import provenance
from cpssl_lite.book.figures import WIDTH, color, composite, marker, style, tag
from cpssl_lite.book.html import table as html_table
from cpssl_lite.data.simulate.layout import SCREENS
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.base.errors import InputError
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.attention import attention_maps
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder, random_like

style()
drawn_here = data in SCREENS
image_table = Path(data)
if drawn_here:
    image_table = simulate(data, Path("data") / data)
images = read_image_table(image_table)
files = {**SHIPPED, **checkpoints}
if network not in files:
    raise InputError(f"network {network!r} is not one of {', '.join(files)}")
networks = {name: load_encoder(path) for name, path in files.items()}
networks["Random weights"] = random_like(networks[network], seed)
encoder = networks[network]

origin = images.get("Metadata_Origin", pd.Series(""))
simulated = bool((origin == "simulated").all())
data_name = data_name or image_table.resolve().parent.name
data_kind = "simulated" if simulated else data_name

WELL = ["Metadata_Plate", "Metadata_Well"]
negatives = images[images["Metadata_Control"] == "negcon"]
counts = negatives.drop_duplicates(WELL)["Metadata_Plate"].value_counts()
enough = counts.index[counts >= 3]  # fewer say nothing about their spread
if not len(enough):
    raise InputError(
        f"{image_table}: no plate has three wells with negative controls"
        f" (Metadata_Control negcon); most on one plate: {counts.max() if len(counts) else 0}"
    )
whole_plates = images[images["Metadata_Plate"].isin(enough)]
first_plates = whole_plates.drop_duplicates(
    ["Metadata_Source", "Metadata_Batch"]
)
ordered = [*first_plates["Metadata_Plate"], *whole_plates["Metadata_Plate"]]
used = list(dict.fromkeys(ordered))[:plates]
part = images[images["Metadata_Plate"].isin(used)].sort_values("Metadata_Site")
part = part.groupby(WELL).head(fields)


def crops_of(record, network):
    """Crops with cells of a field, those with most nuclei first, (n, C, s, s)."""
    size = network.crop_size
    field = read_field(record, network.channels)
    corners = grid(*field.pixels.shape[1:], size)
    dna = field.pixels[field.channels.index("DNA")]
    share = foreground_share(dna, field.otsu, corners, size)
    kept = select(share)
    kept = kept[np.argsort(-share[kept], kind="stable")]
    stains = field.pixels[: len(network.channels)]
    return cut(stains, corners[kept], size)


# %% [markdown]
# ## Taking a channel away
#
# In every {term}`crop`, one channel after another is replaced by a constant: the mean intensity that
# this channel has in the negative controls of the same plate. What is left of the profile is
# compared with the whole one. Six times the work of an extraction, so a few plates must do.


# %%
def with_gaps(crops, level):
    """Crops as they are, then with one channel after another replaced."""
    versions = np.stack([crops / np.float32(65535)] * (1 + len(level)))
    for channel, value in enumerate(level):
        versions[1 + channel, :, channel] = value
    return versions  # (1 + C, n, C, s, s)


# %% tags=["hide-input"]
def mean_levels(rows, network):
    """Mean intensity of each channel over the control fields of a plate."""
    controls = rows[rows["Metadata_Control"] == "negcon"]
    stains = len(network.channels)
    means = [
        read_field(record, network.channels).pixels[:stains].mean(axis=(1, 2))
        for record in controls.to_dict("records")
    ]
    return np.mean(means, axis=0) / 65535


def field_features(record, network, level):
    """Mean feature of a field's crops, whole and without each channel, (1 + C, d)."""
    versions = with_gaps(crops_of(record, network), level)
    flat = torch.from_numpy(versions.reshape(-1, *versions.shape[2:]))
    with torch.inference_mode():
        features = torch.cat([network(batch) for batch in flat.split(96)])
    return features.reshape(*versions.shape[:2], -1).mean(dim=1).numpy()


heads, profiles = [], []
for _, rows in part.groupby("Metadata_Plate"):
    level = mean_levels(rows, encoder)
    for _, well in rows.groupby("Metadata_Well"):
        records = well.to_dict("records")
        features = [
            field_features(record, encoder, level) for record in records
        ]
        heads.append(records[0])
        profiles.append(np.mean(features, axis=0))
wells = pd.DataFrame(heads)
profiles = np.stack(profiles).astype(float)  # (wells, 1 + C, d)
negcon = (wells["Metadata_Control"] == "negcon").to_numpy()
plate = wells["Metadata_Plate"].to_numpy()

# In units of the spread of the plate's controls, feature by feature.
for name in np.unique(plate):
    here = plate == name
    whole = profiles[here & negcon, 0]
    center = np.median(whole, axis=0)
    spread = 1.4826 * np.median(np.abs(whole - center), axis=0)
    profiles[here] = (profiles[here] - center) / np.where(
        spread > 0, spread, np.inf
    )

# %% [markdown]
# A profile without a channel moves even in the controls, because the network has never seen such
# an image. That move says how much the network uses the channel at all. What concerns a
# {term}`perturbation` is how its move *differs* from the controls' move on the same plate; the
# length of that difference, averaged over its wells, is given relative to what groups of control
# wells show by chance. At 1, taking the channel away changes nothing that is particular to the
# perturbation.

# %%
move = profiles[:, :1] - profiles[:, 1:]  # (wells, C, d)
own = move.copy()
for name in np.unique(plate):
    own[plate == name] -= move[(plate == name) & negcon].mean(axis=0)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-channel-use", "caption": "How far profiles move when a channel is replaced by the controls' mean, in units of the controls' spread; boxes are wells. It says how much the network uses a channel, whatever the treatment."}, "image": {"alt": "Box plot with one pair of boxes per channel, control and treated wells, of the distance that profiles move without that channel."}}
CHANNELS = encoder.channels
# Control wells, one of each plate, stand for a perturbation without an effect.
rank = wells[negcon].groupby("Metadata_Plate").cumcount()
group = wells["Metadata_Perturbation"].copy()
group[negcon] = "control group " + rank.astype(str)


def length(vectors):
    """Length of the mean over the wells of each group, per feature: (groups, ...)."""
    names = np.unique(group)
    means = [vectors[group == name].mean(axis=0) for name in names]
    return pd.DataFrame(np.sqrt(np.square(means).mean(axis=-1)), index=names)


lengths = length(own).set_axis(list(CHANNELS), axis=1)
by_chance = lengths.index.str.startswith("control group ")
importance = (lengths / lengths[by_chance].mean())[~by_chance]
strength = length(profiles[:, 0] - 0)[0][~by_chance]
used_at_all = np.sqrt(np.square(move).mean(axis=2))  # (wells, C)

figure, axis = plt.subplots(figsize=(WIDTH, 2.9))
for kind, mask, shift, tone in [
    ("controls", negcon, -0.18, "#AEB7C0"),
    ("treated wells", ~negcon, 0.18, color(network)),
]:
    boxes = axis.boxplot(
        used_at_all[mask],
        positions=np.arange(len(CHANNELS)) + shift,
        widths=0.3,
        patch_artist=True,
        showfliers=False,
        medianprops={"color": "#26303A"},
        label=[kind, *["_"] * (len(CHANNELS) - 1)],
    )
    for box in boxes["boxes"]:
        box.set(facecolor=tone, edgecolor="#26303A")
axis.set_xticks(range(len(CHANNELS)), CHANNELS)
axis.set(ylabel="move (control spreads)", ylim=(0, None), title=network)
axis.legend(loc="best")
tag(figure, data_kind)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-channel-importance", "caption": "Importance of each channel for the perturbations whose profiles differ most from the controls (1: as for control wells). Where the data are simulated, the right panel shows what was really changed in the structures that a channel stains, in steps of the simulator."}, "image": {"alt": "Heatmap with perturbations as rows and channels as columns; on simulated data a second heatmap shows the drawn changes for the same rows and columns."}}
# What the simulator changed, in its own steps, by the channel that shows it.
SHOWN_BY = {
    "Mito": ("mito_",),
    "AGP": ("agp_", "actin_", "golgi_"),
    "RNA": ("rna_", "nucleolus_"),
    "ER": ("er_",),
    "DNA": ("nucleus_", "dna_", "chromatin_"),
}
truth_file = image_table.parent / "truth.parquet"
drawn = None
if truth_file.is_file():
    from cpssl_lite.data.simulate.phenotype import CONTROL, Phenotype

    known = pd.read_parquet(truth_file).drop_duplicates("Metadata_Perturbation")
    known = known.set_index("Metadata_Perturbation").reindex(importance.index)

    def steps(name):
        about = Phenotype.__dataclass_fields__[name].metadata
        value, control = known[f"compound_{name}"], getattr(CONTROL, name)
        change = np.log2(value / control) if about["ratio"] else value - control
        return change / about["step"]

    drawn = pd.DataFrame(
        {
            channel: np.sqrt(
                sum(
                    steps(name) ** 2
                    for name in Phenotype.__dataclass_fields__
                    if name.startswith(SHOWN_BY[channel])
                )
            )
            for channel in CHANNELS
            if channel in SHOWN_BY
        }
    )

order = strength.sort_values(ascending=False, kind="stable").index[:24]
panels = [(importance, "a  Profile moves", "times control")]
if drawn is not None:
    panels.append((drawn, "b  What was drawn", "steps"))
figure, axes = plt.subplots(
    1,
    len(panels),
    figsize=(WIDTH, 1.4 + 0.2 * len(order)),
    squeeze=False,
    sharey=True,
)
for axis, (values, title, unit) in zip(axes[0], panels, strict=True):
    shades = axis.imshow(values.loc[order], aspect="auto", vmin=0)
    axis.set_xticks(range(values.shape[1]), values.columns)
    axis.tick_params(length=0)
    axis.set(title=title)
    axis.grid(False)
    figure.colorbar(shades, ax=axis, label=unit, location="bottom", pad=0.02)
axes[0, 0].set_yticks(range(len(order)), order, fontsize=8)
tag(figure, data_kind)

# %% tags=["hide-input"]
rows = []
for channel in CHANNELS:
    row = [
        channel,
        f"{np.median(used_at_all[~negcon][:, CHANNELS.index(channel)]):.2f}",
        f"{importance[channel].median():.2f}",
        int((importance.idxmax(axis=1) == channel).sum()),
    ]
    if drawn is not None:
        fit = spearmanr(importance[channel], drawn[channel])
        p = "< 0.001" if fit.pvalue < 0.001 else f"{fit.pvalue:.2g}"
        row += [f"{fit.statistic:+.2f}", p]
    rows.append(row)
html_table(
    (
        "Channel",
        "Median move",
        "Median importance",
        "Most important for",
        *(("Spearman with truth", "p") if drawn is not None else ()),
    ),
    rows,
    caption=f"Channel importance, {len(importance)} perturbations ({'simulated' if simulated else 'real'} data)",
)

# %% [markdown]
# *Median move* is the use that the network makes of a channel; *most important for* counts
# perturbations. On simulated data the last columns compare importance with the truth: over all
# perturbations, does a channel matter more where the structures that it stains were changed more?
# Changes of cell size, shape and number show in every channel and are left out of the truth, and
# a stain bleeds into its neighbour as on a microscope, so a perfect match is not to be expected.
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
chosen = perturbations or list(order[:3])
controls = wells.loc[negcon, "Metadata_Perturbation"].iloc[0]
chosen = list(dict.fromkeys([controls, *map(str, chosen)]))
missing = set(chosen) - set(part["Metadata_Perturbation"])
if missing:
    raise InputError(f"not on {', '.join(used)}: {', '.join(sorted(missing))}")
examples = np.stack(
    [
        crops_of(
            part[part["Metadata_Perturbation"] == name].iloc[0].to_dict(),
            encoder,
        )[0]
        for name in chosen
    ]
)
maps = attention_maps(encoder, examples)  # (n, heads, h, w)
rolled = attention_maps(encoder, examples, rollout=True)
per_stain = maps.ndim == 5  # this network looks at each stain by itself

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-attention-channels", "caption": "One crop per perturbation, as a composite, as a composite that is dark where attention of the last layer is low (mean of the heads), and by channel with attention in orange. Composite: Mito red, AGP amber, RNA green, ER teal, DNA blue."}, "image": {"alt": "Grid of microscope crops: a row per perturbation; the plain composite, the composite dimmed where attention is low, and every channel in grey with attention as an orange veil."}}


def smooth(attention, size):
    """Attention enlarged to the crop: 0 for its least patch, 1 for its most."""
    light = torch.from_numpy(attention)[None, None]
    light = torch.nn.functional.interpolate(
        light, (size, size), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    low, high = light.min(), np.percentile(light, 98)
    return np.clip((light - low) / max(high - low, 1e-9), 0, 1)[..., None]


def rows_of_pictures(columns):
    figure, axes = plt.subplots(
        len(chosen),
        len(columns),
        figsize=(WIDTH, 0.5 + 0.93 * WIDTH / len(columns) * len(chosen)),
        squeeze=False,
    )
    figure.suptitle(network, fontsize=10, fontweight="bold")
    for axis, name in zip(axes[:, 0], chosen, strict=True):
        axis.set_ylabel(name, fontsize=8)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=8.5)
    return figure, axes


def framed(axis, picture, **options):
    if picture.dtype != np.uint8 and picture.ndim == 3:
        # Blending may exceed 1 by a rounding, which matplotlib reports.
        picture = np.clip(picture, 0, 1)
    axis.imshow(picture, **options)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set_visible(False)


mean_map = maps.mean(axis=-3)  # (n, h, w), or (n, C, h, w)
figure, axes = rows_of_pictures(["composite", "attended", *CHANNELS])
for row, crop, attention in zip(axes, examples, mean_map, strict=True):
    picture = composite(crop, CHANNELS) / 255
    whole = attention.mean(axis=0) if per_stain else attention
    framed(row[0], picture)
    size = crop.shape[-1]
    framed(row[1], picture * (0.1 + 0.9 * smooth(whole, size)))
    for c, axis in enumerate(row[2:]):
        low, high = np.percentile(crop[c], (1, 99.7))
        plane = np.clip((crop[c] - low) / max(high - low, 1), 0, 1)[..., None]
        share = 0.55 * smooth(attention[c] if per_stain else whole, size)
        framed(axis, plane * (1 - share) + share * np.array([1.0, 0.55, 0.0]))
tag(figure, data_kind)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-attention-heads", "caption": "The same crops: attention of single heads of the last layer (up to five), their mean, and the rollout over all layers, one square per patch; each map from zero to its own maximum (yellow)."}, "image": {"alt": "Grid of heat maps: a row per perturbation; the composite, single attention heads, their mean and the rollout."}}
flat = maps.mean(axis=1) if per_stain else maps
flat_roll = rolled.mean(axis=1) if per_stain else rolled
n_heads = min(5, flat.shape[1])
titles = [f"head {i + 1}" for i in range(n_heads)]
figure, axes = rows_of_pictures(["composite", *titles, "mean", "rollout"])
for i, row in enumerate(axes):
    framed(row[0], composite(examples[i], CHANNELS))
    shown = [*flat[i, :n_heads], flat[i].mean(axis=0), flat_roll[i, 0]]
    for axis, attention in zip(row[1:], shown, strict=True):
        framed(axis, attention, vmin=0)
tag(figure, data_kind)

# %% [markdown]
# ## Do the maps follow the stains?
#
# A few pictures can be picked to show anything. Over all control wells read above (one crop each):
# the rank correlation, within a crop, of the attention to a patch with the patch's mean intensity
# in each channel. At 1 the map is a blurred copy of that channel.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-attention-follows", "caption": "Rank correlation of attention with the intensity of each channel, patch by patch; mean over crops, with the middle half of the crops as a line."}, "image": {"alt": "Dot plot: for every channel one marker with a line for each network, between minus one and one."}}
records = part[part["Metadata_Control"] == "negcon"].drop_duplicates(WELL)
follows = {}
for name, other in networks.items():
    crops = np.stack(
        [crops_of(record, other)[0] for record in records.to_dict("records")]
    )
    seen = attention_maps(other, crops).mean(axis=-3)
    side = seen.shape[-1]
    step = crops.shape[-1] // side
    patches = crops.reshape(len(crops), -1, side, step, side, step).mean(
        axis=(3, 5)
    )
    seen = np.broadcast_to(
        seen if seen.ndim == 4 else seen[:, None], patches.shape
    )
    fits = [
        [
            spearmanr(a.ravel(), p.ravel()).statistic
            for a, p in zip(*pair, strict=True)
        ]
        for pair in zip(seen, patches, strict=True)
    ]
    follows[name] = pd.DataFrame(fits, columns=list(other.channels))

figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
for number, (name, fits) in enumerate(follows.items()):
    shift = (number - (len(follows) - 1) / 2) * 0.15
    at = np.arange(fits.shape[1]) + shift
    low, high = np.nanquantile(fits, (0.25, 0.75), axis=0)
    axis.vlines(at, low, high, color=color(name), alpha=0.5, linewidth=3)
    axis.plot(at, fits.mean(), marker(name), color=color(name), label=name)
axis.axhline(0, color="#6B7785", linewidth=1)
axis.set_xticks(range(len(CHANNELS)), CHANNELS)
axis.set(ylabel="rank correlation", ylim=(-1, 1))
figure.legend(loc="outside upper center", ncols=4)
tag(figure, data_kind)

# %% tags=["hide-input"]
html_table(
    ("Network", *CHANNELS),
    [
        (name, *(f"{value:+.2f}" for value in fits.mean()))
        for name, fits in follows.items()
    ],
    caption=f"Mean rank correlation of attention with intensity ({'simulated' if simulated else 'real'} data)",
)

# %% [markdown]
# ## What this shows and what it does not
#
# *Attention* shows from where the last layer takes what it passes on. It does not show what is
# passed on, nor that the feature would change without it: earlier layers have already mixed the
# patches, and what a patch holds by then is no longer only what lies in it. All five channels
# enter a patch together, so a map over one channel is the same map as over another. The network
# with random weights shows how much of a pattern needs no learning at all.
#
# *Taking a channel away* is an intervention and asks the profile itself. Its weak side: the
# network has never seen a flat channel, so some of the move is surprise. Subtracting the controls'
# move takes out what all wells share, not what depends on the treatment. Two channels that
# tell the same story can both look unimportant, because each stands in for the other.
#
# The paper shows maps as examples and draws no number from them, so there is no verdict here.
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
# As arrays, without the chapter:
#
# ```python
# from cpssl_lite.models.attention import attention_maps
# from cpssl_lite.models.checkpoints import load_encoder
# encoder = load_encoder("mine.pth")
# maps = attention_maps(encoder, crops)  # (n, heads, h, w)
# rolled = attention_maps(encoder, crops, rollout=True)  # (n, 1, h, w)
# ```
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run attention` with
#
# - `-p network=SimCLR`: another network's maps
# - `-p plates=4`: more wells, steadier numbers
#
# 1. Which channel does the network use most in the controls? Is it also the one that is most
#    important for most perturbations?
#
# ```{admonition} Solution
# :class: dropdown
# Compare the columns *median move* and *most important for* of the table. The first counts what all
# wells share, such as where cells are; the second only what a treatment changes. They need not agree.
# ```
#
# 2. Run the chapter with `-p network=MAE`. Why can its map not be read like DINO's?
#
# ```{admonition} Solution
# :class: dropdown
# Its feature is the mean over patches, all with the same weight. The map says what the patches ask of
# each other in the last layer, not how much each counts in the feature.
# ```
#
# 3. Into how many patches is a crop cut, and what share of all attention would each get if it
#    were spread evenly?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
height, width = flat.shape[-2:]
print(height * width, "patches,", f"{1 / (height * width):.1%} each")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(
    data=image_table.parent / "dataset.yaml" if drawn_here else image_table,
    checkpoint=files,
    seed=seed,
)
