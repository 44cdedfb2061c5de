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
# # A league of checkpoints

# %% tags=["parameters", "hide-input"]
data = "lite"  # simulated screen (lite), or the path of an image table
profiles = {}  # profile tables instead of images: {"Mine": ["plate1.csv"]}
checkpoints = {}  # a row each: {"Mine": "mine.pth", "Other": "other.ckpt"}
standins = ["unidino", "openphenom"]  # public layouts, random weights
transfer = "stand-in"  # ImageNet network, timm's name; "" leaves out
measured = True  # also features measured on segmented cells
method = ""  # one normalisation for all, or none [the paper's for each type]
perturbation = ""  # column of perturbations, if it has another name
batch = ""  # column of batches (one batch only? take the plate)
label = ""  # column of labels [target, gene family or gene]
control = ""  # column that marks the negative controls
sort = "perturbation_map"  # or perturbation_acc_nsb, label_map, ..., seconds
fields = 4  # fields whose extraction is timed; 0 leaves it out
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of random weights and of the bootstrap

# %% tags=["hide-input"]
from pathlib import Path

import torch

from cpssl_lite.book import league, provenance
from cpssl_lite.book.chapter import ask, difference_table, headline
from cpssl_lite.book.chapter import in_words, show
from cpssl_lite.book.features import load_features, networks_of, normalized
from cpssl_lite.book.figures import style
from cpssl_lite.book.panels import P
from cpssl_lite.book.standins import write_standin
from cpssl_lite.profiles.evaluate import label_column

style()

# %%
small = {}  # files in public layouts, with random weights
for name in [] if profiles else standins:
    file = write_standin(name, Path("runs/standins"), seed)
    small[f"{name} (random)"] = str(file)
files = {**small, **checkpoints}
networks = dict(checkpoints=files, transfer=transfer, measured=measured)
roles = dict(
    perturbation=perturbation, batch=batch, label=label, control=control
)
how = dict(method=method, data_name=data_name, seed=seed)
features = load_features(data, profiles, **networks, **roles, **how)
tables = features.normalized()

# %%
from cpssl_lite.profiles.timing import glance

device, seconds = "cuda" if torch.cuda.is_available() else "cpu", {}
if features.images is not None and fields:
    files = features.made_from["checkpoint"]
    for name, network in networks_of(files, transfer, seed).items():
        network = network.to(device)
        seconds[name] = glance(features.images, network, fields, device=device)
frame = league.league(tables, label or None, seconds, sort, seed)
first, kinds = frame.index[0], features.types
untrained = [n for n in kinds if kinds[n].method == "random"] + list(small)

# %% tags=["hide-input"]
label_name = label_column(tables[first], label or None)
whats = ("Perturbation", in_words(label_name).capitalize())
headline(league.headline_of(frame))
figure = league.league_figure(frame, whats, untrained)
caption = league.caption_of(frame, sort, untrained, device)
alt = "Rows of points with horizontal intervals, one row for each feature type and a panel for each mAP, beside a panel of seconds for a field."
show(figure, "fig-league", features.data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
words = f"The league in numbers ({features.data_kind})"
league.league_table(frame, whats, words)

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - put any number of checkpoints side by side on your images by one command
# - tell a place in a ranking from a difference that is sure
# - say of a public checkpoint what it takes, what it gives and what was tried of it
# ```
#
# **The paper's claim.** None: it compares three methods that it trained itself, CellProfiler and
# transfer learning ([chapter](02_ssl_comparison)). Since then others have published networks for
# microscopy. Each was tested on its own data, by its own metrics.
#
# **What is done here.** Every network sees the same fields. Its features are averaged, normalised and
# scored as in [the comparison](02_ssl_comparison), whose tables are used again where they exist. Beside
# the networks of this book stand small files in the *layouts* of public ones, with random weights: they
# show that such a file runs from start to end, and what an untrained network scores.
#
# A bootstrap draws perturbations again, each with all its wells. Where one interval reaches the value of
# another row, their order may be chance. Each interval is about one row; whether two rows differ is
# asked of both on the same perturbations.
#
# ## Is the first place sure?

# %%
from cpssl_lite.profiles.differences import differences

pairs = {n: (tables[first], tables[n]) for n in frame.index if n != first}
against = differences(pairs, label or None, seed=seed)
ahead = (against[f"{P}_q"] < 0.05) & (against[f"{P}_difference"] > 0)
beaten, near = against.index[ahead], against.index[~ahead]

# %% tags=["hide-input"]
of = len(against)
why = f"q < 0.05 in perturbation mAP. Not sure: {', '.join(near) or 'none'}."
display(
    ask(
        f"{first} stands first. Of how many of the others is it surely ahead?",
        [f"{n} of {of}" for n in sorted({0, len(beaten), of, of // 2})],
        f"{len(beaten)} of {of}",
        why,
    )
)
caption = (
    f"{first} minus the others, with 95% intervals and q of {2 * of} tests"
)
display(difference_table(against, whats, f"{first} minus", caption))

# %% [markdown]
# Networks with random weights stand in the league, too. How far do trained ones get ahead of them?

# %%
learned = [n for n in frame.index if kinds[n].kind == "learned"]
trained = frame.loc[[n for n in learned if n not in untrained], P]
plain, over = league.over_untrained(trained, frame[P].reindex(untrained))

# %% tags=["hide-input"]
if plain and len(trained):
    said = ", ".join(f"{n} {value:.2f}" for n, value in trained.items())
    of = len(trained)
    why = f"{plain} scores {frame.loc[plain, P]:.2f}; trained: {said}. Averages of random filters see intensity and texture."
    display(
        ask(
            "How many trained networks are ahead of the best one with random weights (perturbation mAP)?",
            [f"{n} of {of}" for n in sorted({0, len(over), of})],
            f"{len(over)} of {of}",
            why,
        )
    )

# %% [markdown]
# ## Which checkpoints can be read?
#
# A file is known by its tensors, never by its name. What a file does not say (order of the channels,
# pooling, scale) is stated in a card beside it or assumed, and then said
# ([how-to](../howto_checkpoint)). No weights of others come with this book. What this page tries
# itself is in the last column; what its manifest calls not verified stands there as well.

# %% tags=["hide-input"]
league.checkpoint_table()

# %% [markdown]
# ## What this shows and what it does not
#
# On simulated data: how networks compare that were trained for minutes on drawn cells, and that public
# layouts run. The rows with random weights say nothing about the networks whose layout they have.
#
# On data of your own: which of your checkpoints finds more, by how much, and at what cost. It does not
# show why ([shortcuts](14_shortcuts)), nor what another normalisation would do
# ([post-processing](07_postprocessing)). A long league tempts one to report its first row, whose score is
# too high by the luck that put it there. Seconds are of one process on a machine that may be busy ([time
# and cost](06_timing)).
#
# **Takeaway.** Report the interval, the untrained network and the cost beside the rank.
#
# ## Re-run it on your data
#
# ```bash
# # your images (after cpssl data prepare) and as many checkpoints as you have
# cpssl run league -p data=data/mine/images.parquet \
#   -p checkpoints='{"Mine": "mine.pth", "SubCell": "all_channels_MAE-CellS-ProtS-Pool.pth"}'
# # DINOv2 as timm has it, stain by stain, and no stand-ins
# cpssl run league -p transfer=vit_small_patch14_dinov2 -p standins='[]'
# # the cheapest first
# cpssl run league -p sort=seconds
# # profile tables that are there already
# cpssl run league -p profiles='{"A": ["a.parquet"], "B": ["b.parquet"]}'
# ```
#
# ## Exercises
#
# 1. How much of the networks' order is the normalisation? Sort them again without sphering.

# %% tags=["solution"]
plain = {
    name: normalized(features.raw[name], "learned", "mad_robustize")
    for name in learned
}
again = league.league(plain, label or None, by=sort, seed=seed)
for name, score in again[sort].items():
    print(f"{name}: {frame.loc[name, sort]:.3f}, without sphering {score:.3f}")

# %% [markdown]
# 2. Which one finds most for its time? Divide the perturbation mAP by the seconds of a field.

# %% tags=["solution"]
if seconds:
    rate = (frame[P] / frame[league.SECONDS].astype(float)).dropna()
    for name, value in rate.sort_values(ascending=False).items():
        print(f"{name}: {value:.2f} a second")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
