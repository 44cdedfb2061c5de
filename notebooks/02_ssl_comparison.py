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
# # Comparing feature extractors
#
# **The paper's claim** (Fig. 2). Of three self-supervised methods DINO is the best, both at telling
# replicates of a {term}`perturbation` from everything else and at finding compounds with the same
# {term}`target`. Beside CellProfiler, DINO's perturbation {term}`mAP` is 29% higher and its target
# mAP 61% higher; the first difference is significant, the second is not {cite:p}`kim2025`.
#
# **How it was tested there.** 306 compounds, two for each target, in 16 batches from four sources.
# Features of {term}`crops <crop>` are averaged to {term}`wells <well>`, {term}`sphered <sphering>` on
# the negative controls and {term}`MAD-robustized <MAD robustize>` per plate. *Reproducibility*:
# perturbation mAP of batch-aggregated profiles and {term}`NSB accuracy <NN, NSB, NSP, NSBP>` of
# wells. *Biological relevance*: target mAP of {term}`consensus profiles <consensus profile>` and
# {term}`NSBP accuracy <NN, NSB, NSP, NSBP>` of wells. Two baselines cannot know anything: random
# features, and real features with shuffled labels.
#
# **What is done here.** The same steps and metrics, by default on the
# [simulated screen](00_data): small DINO, MAE and SimCLR networks, each trained for minutes on
# other plates of that screen, DINO's network with random weights, and the two baselines.

# %% tags=["parameters"]
data = "lite"  # simulated screen (lite), or the path of an image table
profiles = {}  # profile tables instead of images: {"Mine": ["plate1.csv"]}
checkpoints = {}  # one more row each: {"Mine": "mine.pth"}
method = "sphere+mad_robustize"  # normalisation, or none
convention = "paper"  # metrics of the text (paper) or of the code (released)
perturbation = ""  # column of perturbations, if it has another name
batch = ""  # column of batches (one batch only? take the plate)
label = ""  # column of labels [target, gene family or gene]
control = ""  # column that marks the negative controls
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of random weights, random features, shuffling, bootstrap

# %% tags=["hide-input"]
import re
from glob import glob
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.figures import WIDTH, color, marker, style, tag
from cpssl_lite.book.html import table as html_table
from cpssl_lite.data.simulate.layout import SCREENS
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.evaluate import (
    average_precisions,
    compare,
    evaluate,
    label_column,
)
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder, random_like
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.table import (
    assign_roles,
    feature_columns,
    read_profiles,
)

style()
drawn_here = data in SCREENS and not profiles

# %% [markdown]
# ## From images to raw profiles
#
# A network turns every crop that holds cells into a vector; a well's profile is the mean over its
# crops. Finished tables are kept beside the images, so that a second run starts here.

# %%
raw, source = {}, {}
if profiles:
    for name, patterns in profiles.items():
        patterns = [str(pattern) for pattern in np.atleast_1d(patterns)]
        found = [path for pattern in patterns for path in sorted(glob(pattern))]
        source[name] = found or patterns
    raw = {name: read_profiles(paths) for name, paths in source.items()}
else:
    image_table = Path(data)
    if drawn_here:
        image_table = simulate(data, Path("data") / data)
    images = read_image_table(image_table)
    files = {**SHIPPED, **checkpoints}
    networks = {name: load_encoder(path) for name, path in files.items()}
    networks["Random weights"] = random_like(networks["DINO"], seed)
    folder = image_table.parent / "profiles"
    for name, network in networks.items():
        out = folder / f"{name.replace(' ', '_')}.parquet"
        raw[name] = read_profiles(extract(images, network, out))

# %% [markdown]
# ## Normalised profiles, and two baselines that know nothing

# %%
roles = {
    "perturbation": perturbation,
    "batch": batch,
    "label": label,
    "control": control,
}
roles = {role: column or None for role, column in roles.items()}
tables = {
    name: normalize(assign_roles(wells, **roles), method)
    for name, wells in raw.items()
}

rng = np.random.default_rng(seed)
first = next(iter(tables))
features = feature_columns(tables[first])
treated = tables[first]["Metadata_Control"] != "negcon"
random, shuffled = tables[first].copy(), tables[first].copy()
random[features] = rng.normal(size=random[features].shape)
shuffled.loc[treated, features] = rng.permutation(
    shuffled.loc[treated, features].to_numpy()
)
tables |= {"Random features": random, "Shuffled labels": shuffled}

# %% [markdown]
# ## Figure 2, re-run

# %%
results = pd.DataFrame(
    {
        name: evaluate(wells, label or None, convention)
        for name, wells in tables.items()
    }
).T

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-comparison", "caption": "The paper's Fig. 2 on this run's data. Left: reproducibility, how well replicates of a perturbation find each other across batches. Right: biological relevance, how well perturbations with the same label find each other. Up and right is better; random features and shuffled labels show chance."}, "image": {"alt": "Two scatter plots with one marker per feature type: not-same-batch accuracy against perturbation mAP, and not-same-batch-or-perturbation accuracy against label mAP."}}
label_name = label_column(tables[first], label or None)
what = (label_name or "label").removeprefix("Metadata_").replace("_", " ")
what = re.sub("(?<=[a-z])(?=[A-Z])", " ", what).lower()  # GeneGroup
# Simulated tables say so in a column that goes along into every table made from them.
origin = pd.concat(
    [t.get("Metadata_Origin", pd.Series("")) for t in raw.values()]
)
simulated = bool((origin == "simulated").all())
if not simulated:
    where = Path(np.atleast_1d(source[first])[0]) if profiles else Path(data)
    folder = where.resolve().parent
    # The authors' layout has a folder for each method.
    folder = folder.parent if folder.name in raw else folder
    data_name = data_name or folder.name
data_kind = "simulated" if simulated else data_name

figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.7))
panels = [
    (
        "perturbation_acc_nsb",
        "perturbation_map",
        "Perturbation",
        "a  Reproducibility",
        "NSB",
    ),
    (
        "label_acc_nsbp",
        "label_map",
        what.capitalize(),
        "b  Biological relevance",
        "NSBP",
    ),
]
for axis, (x, y, kind, title, short) in zip(axes, panels, strict=True):
    for name, row in results.iterrows():
        axis.plot(
            row[x],
            row[y],
            marker(name),
            color=color(name),
            markersize=9,
            label=name,
        )
    axis.set(
        xlabel=f"{kind} {short} accuracy", ylabel=f"{kind} mAP", title=title
    )
    axis.margins(0.12)
    axis.autoscale_view()
    right, top = axis.get_xlim()[1], axis.get_ylim()[1]
    axis.set(xlim=(-0.04 * right, right), ylim=(-0.04 * top, top))
figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside upper center",
    ncols=min(len(results), 4),
)
tag(figure, data_kind)

# %% tags=["hide-input"]
columns = {
    "perturbation_acc_nsb": "Perturbation NSB",
    "perturbation_map": "Perturbation mAP",
    "label_acc_nsbp": f"{what.capitalize()} NSBP",
    "label_map": f"{what.capitalize()} mAP",
    "percent_replicating": "Replicating",
}
html_table(
    ("Features", *columns.values()),
    [
        (name, *(f"{row[column]:.3f}" for column in columns))
        for name, row in results.iterrows()
    ],
    caption=f"The same numbers as a table ({'simulated' if simulated else 'real'} data)",
)

# %% [markdown]
# The first point to check is chance: the two grey baselines must lie at the bottom left. The
# {term}`mAP` of a perturbation asks for every replicate; the accuracy only for the nearest one,
# and a nearest neighbour may be right by luck more often.
#
# ## How sure is the difference?
#
# A difference of two means says little without its spread over perturbations. Each perturbation
# gives one average precision per feature type; the differences are resampled 2,000 times (95%
# bootstrap interval) and tested with Wilcoxon's signed-rank test, which the paper used.

# %%
others = [name for name in tables if name != first]
differences = {
    name: compare(
        tables[first], tables[name], label or None, convention, seed=seed
    )
    for name in others
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-differences", "caption": "Mean difference in average precision between the first feature type and each other one, with its 95% bootstrap interval over perturbations. Right of the line: the first is better."}, "image": {"alt": "Two panels of points with horizontal intervals, one per compared feature type, beside a vertical line at zero."}}
figure, axes = plt.subplots(
    1, 2, figsize=(WIDTH, 0.9 + 0.45 * len(others)), sharey=True
)
for axis, (metric, title) in zip(
    axes,
    [
        ("perturbation_map", "Perturbation mAP"),
        ("label_map", f"{what.capitalize()} mAP"),
    ],
    strict=True,
):
    for position, name in enumerate(others):
        difference = differences[name]
        low, high = difference[f"{metric}_low"], difference[f"{metric}_high"]
        axis.plot([low, high], [position] * 2, color=color(name), linewidth=3)
        axis.plot(
            difference[f"{metric}_difference"], position, "o", color="#26303A"
        )
    axis.axvline(0, color="#6B7785", linewidth=1)
    axis.locator_params(axis="x", nbins=5)
    axis.set(
        title=title,
        xlabel=f"{first} minus other",
        ylim=(len(others) - 0.5, -0.5),
    )
axes[0].set_yticks(range(len(others)), others)
tag(figure, data_kind)

# %% tags=["hide-input"]
html_table(
    (
        f"{first} beside",
        "Metric",
        "Difference",
        "95% interval",
        "Wilcoxon p",
        "Perturbations",
    ),
    [
        (
            name,
            title,
            f"{difference[f'{metric}_difference']:+.3f}",
            f"{difference[f'{metric}_low']:+.3f} to {difference[f'{metric}_high']:+.3f}",
            f"{difference[f'{metric}_p']:.2g}",
            difference[f"{metric}_n"],
        )
        for name, difference in differences.items()
        for metric, title in [
            ("perturbation_map", "perturbation mAP"),
            ("label_map", f"{what} mAP"),
        ]
    ],
    caption="Differences and tests",
)

# %% [markdown]
# ## Which perturbations are found?

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-strength-ap", "caption": "Average precision of every perturbation, sorted, or, where the data are simulated and the truth is known, against the strength of its effect."}, "image": {"alt": "Scatter of average precision per perturbation for the first two feature types; on simulated data it rises with effect strength."}}
figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
truth = image_table.parent / "truth.parquet" if not profiles else None
strength = None
if truth is not None and truth.is_file():
    wells = pd.read_parquet(truth).drop_duplicates("Metadata_Perturbation")
    strength = wells.set_index("Metadata_Perturbation")["strength"]
shown = [first, "Random weights" if "Random weights" in tables else first]
for name in dict.fromkeys([*shown, "Random features"]):
    values = average_precisions(tables[name], label or None, convention)[
        "perturbation_ap"
    ].dropna()
    if strength is None:
        axis.plot(np.sort(values)[::-1], color=color(name), label=name)
    else:
        axis.plot(
            strength[values.index],
            values,
            marker(name),
            color=color(name),
            label=name,
            alpha=0.75,
        )
axis.set(
    xlabel="perturbations, best first"
    if strength is None
    else "strength of the simulated effect",
    ylabel="average precision",
    ylim=(0, 1.03),
)
axis.legend(loc="best")
tag(figure, data_kind)

# %% [markdown]
# ## The paper's numbers beside this run's


# %% tags=["hide-input"]
def note(claim, value):
    """Record what was measured for a claim, if these data define it."""
    if np.isfinite(value):
        display(claims.record(claim, value, data_kind))


scores = results[["perturbation_map", "label_map"]]
chance = scores.loc[["Random features", "Shuffled labels"]].max()
if "DINO" in scores.index:
    dino = scores.loc["DINO"]
    note("above-chance-perturbation", (dino - chance)["perturbation_map"])
    note("above-chance-label", (dino - chance)["label_map"])
    if {"MAE", "SimCLR"} <= set(scores.index):
        best_other = scores.loc[["MAE", "SimCLR"]].max()
        note("dino-best", (dino - best_other)["perturbation_map"])
    if "CellProfiler" in scores.index:
        percent = 100 * (dino / scores.loc["CellProfiler"] - 1)
        note("dino-cellprofiler-perturbation", percent["perturbation_map"])
        note("dino-cellprofiler-target", percent["label_map"])
claims.show_claims(
    [
        "above-chance-perturbation",
        "above-chance-label",
        "dino-best",
        "dino-cellprofiler-perturbation",
        "dino-cellprofiler-target",
    ]
)

# %% [markdown]
# ## What this shows and what it does not
#
# On simulated data: whether features learned without labels from other plates tell the simulator's
# phenotypes apart better than the same network before it learned anything, and better than chance.
# A network with random weights is a strong baseline, because averages of random filters still see
# intensity and texture; the interval above says whether training added something.
#
# The order of the three methods here is that of small networks trained for minutes on 1,536 drawn
# fields. It is shown as measured and is no test of the paper's order, which comes from hundreds
# of GPU hours on real cells; the verdicts above say so.
#
# It does not show that DINO beats CellProfiler on real cells. That claim needs the real screen, and
# its line in the table above says so. Simulated phenotypes are smooth changes of a few parameters;
# drugs are not.
#
# ## Re-run it on your data
#
# ```bash
# # your images, after cpssl data prepare
# cpssl run ssl_comparison -p data=data/mine/images.parquet
# # your network beside ours
# cpssl run ssl_comparison -p checkpoints='{"Mine": "mine.pth"}'
# # your profiles: CPJUMP1's CellProfiler tables, plate as batch, gene as label
# cpssl run ssl_comparison -p data_name=CPJUMP1 -p method=none \
#   -p profiles='{"CellProfiler": ["profiles/cpjump1/*.csv.gz"]}' \
#   -p batch=Metadata_Plate -p label=Metadata_gene
# ```
#
# ## How this page was made

# %% tags=["hide-input"]
if profiles:
    data_used = {
        name: Path(np.atleast_1d(paths)[0]).parent
        for name, paths in source.items()
    }
else:
    data_used = (
        image_table.parent / "dataset.yaml" if drawn_here else image_table
    )
provenance.show(
    data=data_used,
    checkpoint=None if profiles else {**SHIPPED, **checkpoints},
    seed=seed,
)
