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
# **The paper's claim** (Fig. 2, Supplementary Figs. 4 and 5). Of three self-supervised methods DINO is the
# best, both at telling replicates of a {term}`perturbation` from everything else and at finding
# compounds with the same {term}`target`. Beside CellProfiler, DINO's perturbation {term}`mAP` is 29%
# higher (significantly) and its target mAP 61% higher (not significantly); across sources its
# perturbation mAP is 73% and its NSB accuracy 2% higher. ViT-B is only marginally better than ViT-S
# {cite:p}`kim2025`.
#
# **How it was tested there.** 306 compounds, two for each target, in 16 batches from four sources.
# Features of {term}`crops <crop>` are averaged to {term}`wells <well>` and normalised as suits each
# feature type: {term}`sphering` and {term}`MAD robustize` for self-supervised ones, MAD robustize alone
# for CellProfiler and transfer learning ([the comparison](07_postprocessing)). *Reproducibility*:
# perturbation mAP of batch-aggregated profiles and {term}`NSB accuracy <NN, NSB, NSP, NSBP>` of
# wells. *Biological relevance*: target mAP of {term}`consensus profiles <consensus profile>` and
# {term}`NSBP accuracy <NN, NSB, NSP, NSBP>` of wells. Two baselines cannot know anything: random
# features, and real features with shuffled labels.
#
# **What is done here.** The same steps and metrics, by default on the
# [simulated screen](00_data): small DINO, MAE and SimCLR networks, each trained for minutes on
# other plates of that screen (DINO with another centring, see the [primer](12_primer)); DINO's
# network with random weights; a network that knows only natural
# images; measured features of segmented cells; and the two baselines. A drawn screen also has a
# ceiling: the parameters that each well was drawn with, as if a perfect method had read them off
# its images. Real screens have none, and no claim is judged by it.
#
# ```{admonition} After this chapter you can
# :class: tip
# - say what perturbation mAP, target mAP, NSB and NSBP accuracy each ask
# - tell a difference between two feature types from its uncertainty
# - name the baselines that a claim has to beat
# ```

# %% tags=["parameters"]
data = "lite"  # simulated screen (lite), or the path of an image table
profiles = {}  # profile tables instead of images: {"Mine": ["plate1.csv"]}
release = ""  # folder of the authors' release, instead of images
release_set = "multisource"  # or singlesource, ORF
checkpoints = {}  # one more row each: {"Mine": "mine.pth"}
transfer = "stand-in"  # ImageNet network, or ViT-S/16, ViT-B/16; "" leaves out
measured = True  # also features measured on segmented cells
method = ""  # one normalisation for all, or none [the paper's for each type]
convention = "paper"  # metrics of the text (paper) or of the code (released)
perturbation = ""  # column of perturbations, if it has another name
batch = ""  # column of batches (one batch only? take the plate)
label = ""  # column of labels [target, gene family or gene]
control = ""  # column that marks the negative controls
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of random weights, random features, shuffling, bootstrap

# %% tags=["hide-input"]
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from cpssl_lite.book import claims, provenance
from cpssl_lite.book.figures import (
    ARCHITECTURES,
    WIDTH,
    color,
    marker,
    style,
    tag,
)
from cpssl_lite.book.html import table as html_table
from cpssl_lite.profiles.evaluate import (
    average_precisions,
    compare,
    evaluate,
    label_column,
    treated_wells,
)
from cpssl_lite.book.features import (
    CEILING,
    load_features,
    normalized,
    random_features,
)
from cpssl_lite.metrics.retrieval import (
    RELEASED_K,
    RELEASED_THRESHOLDS,
    precision_recall_at_distance,
    precision_recall_at_k,
)
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.table import feature_columns, profile_matrix

style()

# %% [markdown]
# ## From images to raw profiles
#
# A network turns every crop that holds cells into a vector; a well's profile is the mean over its
# crops. The transfer network sees each stain as a grey picture of its own; measured features need
# {term}`segmentation` first. Finished tables are kept beside the images, so that a second run starts
# here.

# %% tags=["hide-input"]
features = load_features(
    data,
    profiles,
    release,
    release_set,
    checkpoints=checkpoints,
    transfer=transfer,
    measured=measured,
    ceiling=True,
    method=method,
    perturbation=perturbation,
    batch=batch,
    label=label,
    control=control,
    data_name=data_name,
    seed=seed,
)

# %% [markdown]
# ## Normalised profiles, and two baselines that know nothing
#
# Each feature type is normalised in the way that suits it. Measured and transferred features that run
# away when they are divided by a tiny spread (beyond 500 in any well, pycytominer's rule) are left
# out: a handful would be all that a distance sees ([how much that matters](07_postprocessing)).

# %%
tables = features.normalized()
first = features.find("DINO") or next(iter(tables))

# %% tags=["hide-input"]
rng = np.random.default_rng(seed)
random = random_features(tables[first], rng)
treated = tables[first]["Metadata_Control"] != "negcon"
columns = feature_columns(tables[first])
shuffled = tables[first].copy()
shuffled.loc[treated, columns] = rng.permutation(
    shuffled.loc[treated, columns].to_numpy()
)
tables |= {"Random features": random, "Shuffled labels": shuffled}
compared = {n: t for n, t in tables.items() if n != CEILING}
tables = compared | {n: tables[n] for n in tables if n == CEILING}

# %% [markdown]
# ## Figure 2, re-run
#
# The metrics follow the paper's text. The authors' released code defines some of them otherwise;
# [Paper and code](11_paper_and_code) shows what that does, and `convention` chooses.


# %%
def measure(tables, convention=convention):
    """All metrics of every feature type."""
    scores = {
        name: evaluate(wells, label or None, convention)
        for name, wells in tables.items()
    }
    return pd.DataFrame(scores).T


results = measure(tables)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-comparison", "caption": "The paper's Fig. 2 on this run's data. Left: reproducibility, how well replicates of a perturbation find each other across batches. Right: biological relevance, how well perturbations with the same label find each other. Colour is the feature type, shape what it was made with; dotted lines: the row of CellProfiler or, where there is none, of the features measured in its style. Up and right is better; random features and shuffled labels show chance, and the true phenotype of drawn wells the most that could be found."}, "image": {"alt": "Two scatter plots with one marker per feature type: not-same-batch accuracy against perturbation mAP, and not-same-batch-or-perturbation accuracy against label mAP."}}
label_name = label_column(tables[first], label or None)
what = (label_name or "label").removeprefix("Metadata_").replace("_", " ")
what = re.sub("(?<=[a-z])(?=[A-Z])", " ", what).lower()  # GeneGroup
simulated, data_kind = features.simulated, features.data_kind
shapes = {name: features.shape(name) for name in tables}
# A measured baseline, real or stood in for, gets the paper's dotted lines.
dotted = features.measured()
PERTURBATION = ("perturbation_acc_nsb", "perturbation_map")
LABEL = ("label_acc_nsbp", "label_map")


def scatter(axis, scores, x, y):
    """Accuracy against mAP: methods by colour, architecture by shape."""
    for name, row in scores.iterrows():
        shape = ARCHITECTURES[shapes[name]][1]
        axis.plot(row[x], row[y], shape, color=color(name), markersize=9)
    if dotted:
        line = {"color": color(dotted), "linestyle": ":", "linewidth": 1.2}
        axis.axvline(scores.loc[dotted, x], zorder=0, **line)
        axis.axhline(scores.loc[dotted, y], zorder=0, **line)
    axis.margins(0.12)
    axis.autoscale_view()
    right, top = axis.get_xlim()[1], axis.get_ylim()[1]
    axis.set(xlim=(-0.04 * right, right), ylim=(-0.04 * top, top))


def legend(figure, names, lines=False):
    """Methods by colour and, unless lines are drawn, architectures by shape."""
    keys = {n: ({"marker": "o", "ls": ""}, {"ls": "-"})[lines] for n in names}
    handles = [
        plt.Line2D([], [], color=color(name), label=name, **key)
        for name, key in keys.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    if not lines:
        kinds = dict.fromkeys(shapes[name] for name in names)
        handles = [
            plt.Line2D(
                [],
                [],
                color="#6B7785",
                ls="",
                marker=ARCHITECTURES[k][1],
                label=k,
            )
            for k in kinds
        ]
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(kinds),
            handletextpad=0.1,
            columnspacing=0.9,
        )


figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
for axis, kind, title, short, metrics in [
    (axes[0], "Perturbation", "a  Reproducibility", "NSB", PERTURBATION),
    (axes[1], what.capitalize(), "b  Biological relevance", "NSBP", LABEL),
]:
    scatter(axis, results, *metrics)
    axis.set(
        xlabel=f"{kind} {short} accuracy", ylabel=f"{kind} mAP", title=title
    )
legend(figure, tables)
tag(figure, data_kind)

# %% tags=["hide-input"]
columns = {
    "perturbation_acc_nsb": "Perturbation NSB",
    "perturbation_map": "Perturbation mAP",
    "label_acc_nsbp": f"{what.capitalize()} NSBP",
    "label_map": f"{what.capitalize()} mAP",
}
html_table(
    ("Features", *columns.values(), "Normalised by"),
    [
        (
            name,
            *(f"{row[column]:.3f}" for column in columns),
            features.methods.get(name, features.methods[first])
            .replace("mad_robustize", "MAD")
            .replace("+", " + "),
        )
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
others = [name for name in compared if name != first]
differences = {
    name: compare(
        tables[first], tables[name], label or None, convention, seed=seed
    )
    for name in others
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-differences", "caption": "Mean difference in average precision between DINO (or the first feature type, if there is no DINO) and each other one, with its 95% bootstrap interval over perturbations. Right of the line: DINO (or that first one) is better."}, "image": {"alt": "Two panels of points with horizontal intervals, one per compared feature type, beside a vertical line at zero."}}
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
    axis.locator_params(axis="x", nbins=4)
    axis.set(
        title=title,
        xlabel=f"{first} minus other",
        ylim=(len(others) - 0.5, -0.5),
    )
axes[0].set_yticks(
    range(len(others)), [name.replace(" (", "\n(") for name in others]
)
tag(figure, data_kind)


# %% tags=["hide-input"]
def spread(difference, metric):
    """Difference with its interval, and the p of its test."""
    parts = [
        difference[f"{metric}_{part}"] for part in ("difference", "low", "high")
    ]
    words = "{:+.3f} ({:+.3f} to {:+.3f})".format(*parts)
    p = difference[f"{metric}_p"]
    return words, "< 0.001" if p < 0.001 else f"{p:.1g}"


def differences_table(of, found, caption):
    """Differences of both mAPs, with intervals and p, a row each."""
    return html_table(
        (of, "Perturbation mAP", "p", f"{what.capitalize()} mAP", "p "),
        [
            (name, *spread(d, "perturbation_map"), *spread(d, "label_map"))
            for name, d in found.items()
        ],
        caption=caption,
    )


differences_table(
    f"{first} minus",
    differences,
    "Differences, 95% intervals, Wilcoxon tests (not corrected for their number)",
)

# %% [markdown]
# Did training add something? The same network before and after it, normalised in both ways: the answer
# hangs on the way.

# %% tags=["hide-input"]
types = features.types
untrained = next((n for n in types if types[n].method == "random"), "")
by_way = {}
if untrained:
    for way in ("sphere+mad_robustize", "mad_robustize"):
        pair = (
            normalized(features.raw[n], types[n].kind, way)
            for n in (first, untrained)
        )
        by_way[way] = compare(*pair, label or None, convention, seed=seed)
    display(
        differences_table(
            "Both normalised by",
            by_way,
            f"{first} minus {untrained}, the same network untrained",
        )
    )

# %% [markdown]
# ## Precision and recall: F1 curves (Supplementary Fig. 4)
#
# mAP is one number for all thresholds. The {term}`F1 score` shows which neighbourhood is good: among
# the k nearest profiles, or among all those within a distance.


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-f1", "caption": "F1 scores as in the paper's Supplementary Fig. 4. Top: perturbations, on batch-aggregated profiles; bottom: labels, on consensus profiles. Left: among the k nearest profiles; right: among those within a cosine distance. Chance is not zero: the grey curves show it."}, "image": {"alt": "Four panels of F1 curves, one line per feature type, over the number of neighbours and over distance."}}
def f1_curves(wells, level, column):
    """F1 over k and over distance, of profiles aggregated at a level."""
    head, values = profile_matrix(aggregate(treated_wells(wells), level))
    named = (head[column] != "").to_numpy()
    values, names = values[named], head.loc[named, column].to_numpy()
    ks = [k for k in RELEASED_K if k < len(values)]
    distance = "cosine" if convention == "paper" else "correlation"
    return (
        precision_recall_at_k(values, names, ks, distance),
        precision_recall_at_distance(
            values, names, RELEASED_THRESHOLDS, distance, convention
        ),
    )


questions = [("Perturbation", "batch", "Metadata_Perturbation")]
if label_name:
    questions.append((what.capitalize(), "consensus", label_name))
figure, axes = plt.subplots(
    len(questions),
    2,
    figsize=(WIDTH, 1.1 + 2.2 * len(questions)),
    sharey="row",
    squeeze=False,
)
for row, (kind, level, column) in zip(axes, questions, strict=True):
    for name, wells in compared.items():
        for axis, curve in zip(
            row, f1_curves(wells, level, column), strict=True
        ):
            axis.plot(curve.at, curve.f1, color=color(name), linewidth=1.5)
    row[0].set_ylabel(f"{kind} F1")
    row[0].set_ylim(bottom=0)
axes[-1, 0].set_xlabel("k nearest profiles")
axes[-1, 1].set_xlabel("distance")
legend(figure, compared, lines=True)
tag(figure, data_kind)

# %% [markdown]
# A distance has another meaning in every feature space, so the peaks on the right lie in different
# places; their heights may be compared, a common threshold may not.
#
# ## Each source, and across sources (Supplementary Fig. 5)
#
# Within a source, replicates are matched across its batches. Across sources, the same metrics
# are taken with the source in the place of the batch: profiles averaged over a source, and the
# nearest neighbour in another source.

# %%
sources = {}
places = set(tables[first].get("Metadata_Source", ())) - {""}
if len(places) > 1:
    for place in sorted(places):
        sources[place] = measure(
            {n: t[t["Metadata_Source"] == place] for n, t in compared.items()}
        )
    sources["across sources"] = measure(
        {
            n: t.assign(Metadata_Batch=t["Metadata_Source"])
            for n, t in compared.items()
        }
    )

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-sources", "caption": "Reproducibility within each source and, in the last panel, across sources (the paper's Supplementary Fig. 5). Axes differ between panels: chance and the number of replicates do too."}, "image": {"alt": "Scatter plots of perturbation mAP against nearest-neighbour accuracy, one panel for each source and one for matching across sources."}}
if sources:
    rows = -(-len(sources) // 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(WIDTH, 1.5 + 2.1 * rows), squeeze=False
    )
    for axis, (place, scores) in zip(axes.flat, sources.items(), strict=False):
        scatter(axis, scores, *PERTURBATION)
        axis.set(title=place, xlabel="NSB accuracy")
        axis.locator_params(nbins=4)
    for axis in axes[:, 0]:
        axis.set_ylabel("Perturbation mAP")
    for axis in axes.flat[len(sources) :]:
        axis.set_axis_off()
    legend(figure, compared)
    tag(figure, data_kind)
else:
    figure, axis = plt.subplots(figsize=(WIDTH, 0.9))
    axis.set_axis_off()
    axis.text(0, 0.5, "These data name fewer than two sources: no panels.")

# %% [markdown]
# ## Do replicates agree?
#
# An older and stricter-looking question: the median correlation of a perturbation's replicate wells,
# and the share of perturbations in which it exceeds 95% of what random groups of wells give
# ({term}`percent replicating`). Random groups from the *same well position* are the harder
# comparison, because position effects alone make wells alike.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-replicating", "caption": "Share of perturbations whose replicates correlate more than 95% of random groups of wells (filled), or of groups from one well position (open). The groups (12 wells, or as many as a position offers) need not be as large as the sets of replicates, so chance is not exactly 5% (line): the two baselines show it."}, "image": {"alt": "A row per feature type with two markers: percent replicating against random groups and against groups of the same well position."}}
figure, axis = plt.subplots(figsize=(WIDTH, 0.9 + 0.32 * len(results)))
for place, (name, row) in enumerate(results.iterrows()):
    shares = [row["percent_replicating"]]
    shares += [row.get("percent_replicating_position", np.nan)]
    axis.plot(shares, [place] * 2, color=color(name), linewidth=1)
    axis.plot(shares[0], place, "o", color=color(name), markersize=8)
    axis.plot(
        shares[1], place, "o", color=color(name), mfc="none", markersize=8
    )
axis.axvline(0.05, color="#6B7785", linewidth=1)
axis.set(
    xlabel="share of perturbations replicating",
    xlim=(-0.03, 1.03),
    ylim=(len(results) - 0.5, -0.5),
)
axis.set_yticks(
    range(len(results)), [name.replace(" (", "\n(") for name in results.index]
)
tag(figure, data_kind)

# %% tags=["hide-input"]
columns = {
    "replicate_correlation": "Replicate correlation",
    "percent_replicating": "Replicating",
    "percent_replicating_position": "Replicating, position-matched",
}
html_table(
    ("Features", *columns.values()),
    [
        (
            name,
            *(
                f"{row[c]:.3f}"
                if np.isfinite(row.get(c, np.nan))
                else "undefined"
                for c in columns
            ),
        )
        for name, row in results.iterrows()
    ],
    caption="Agreement of replicate wells",
)

# %% [markdown]
# ## Which perturbations are found?

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-strength-ap", "caption": "Average precision of every perturbation, sorted, or, where the data are simulated and the truth is known, against the strength of its effect; the ceiling shows which are too weak for anyone."}, "image": {"alt": "Scatter of average precision per perturbation for two feature types, random features and, on simulated data, the true phenotype; there it rises with effect strength."}}
figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
strength, table = None, features.image_table
truth = table.parent / "truth.parquet" if table else None
if truth and truth.is_file():
    wells = pd.read_parquet(truth).drop_duplicates("Metadata_Perturbation")
    strength = wells.set_index("Metadata_Perturbation")["strength"]
shown = [first, "Random weights" if "Random weights" in tables else first]
ceiling = [CEILING] if CEILING in tables else []
for name in dict.fromkeys([*shown, "Random features", *ceiling]):
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
    if np.isfinite(pd.Series(value)).all():
        display(claims.record(claim, value, evidence))


def row_of(scores, role):
    """The row of the features that fill a role, whatever they are called."""
    name = features.find(role)
    return scores.loc[name] if name else None


evidence = features.evidence(convention)
P, T = "perturbation_map", "label_map"
chance = results.loc[["Random features", "Shuffled labels"]].max()
dino, cellprofiler = row_of(results, "DINO"), row_of(results, "CellProfiler")
ssl = [row_of(results, name) for name in ("MAE", "SimCLR")]
for claim, name in [("", "DINO"), ("-transfer", "Transfer")]:
    small, large = row_of(results, name), row_of(results, f"{name} ViT-B")
    if large is not None and small.name != large.name:
        note(f"vit-b-marginal{claim}", 100 * (large[P] / small[P] - 1))
if dino is not None:
    note("above-chance-perturbation", dino[P] - chance[P])
    note("above-chance-label", dino[T] - chance[T])
    if all(row is not None for row in ssl):
        for claim, metric in {
            "dino-best": P,
            "dino-best-label": T,
            "dino-best-nsb": "perturbation_acc_nsb",
            "dino-best-nsbp": "label_acc_nsbp",
        }.items():
            note(claim, dino[metric] - max(row[metric] for row in ssl))
if dino is not None and cellprofiler is not None:
    tested = compare(
        tables[dino.name],
        tables[cellprofiler.name],
        label or None,
        convention,
        seed=seed,
    )
    for name, metric in (("perturbation", P), ("target", T)):
        percent = 100 * (dino[metric] / cellprofiler[metric] - 1)
        note(f"dino-cellprofiler-{name}", percent)
        test = {k: tested[f"{metric}_{k}"] for k in ("p", "difference")}
        note(f"dino-cellprofiler-{name}-p", test)
    for (_, level, column), name in zip(
        questions, ("perturbation", "target"), strict=False
    ):
        best = [
            np.max(f1_curves(tables[row.name], level, column)[0].f1)
            for row in (dino, cellprofiler)
        ]
        note(f"dino-f1-{name}", best[0] - best[1])
    if sources:
        *within, across = [
            scores.loc[dino.name] / scores.loc[cellprofiler.name]
            for scores in sources.values()
        ]
        note("dino-cellprofiler-sources", sum(r[P] >= 0.95 for r in within))
        note("cross-source-map", 100 * (across[P] - 1))
        note("cross-source-nsb", 100 * (across["perturbation_acc_nsb"] - 1))
if not simulated:  # are these the data that the paper had?
    note("target2-batches", results.loc[first, "n_batches"])
    if label_name:
        named = treated_wells(tables[first])
        named = named[named[label_name] != ""]
        each = named.groupby(label_name)["Metadata_Perturbation"].nunique()
        note("target2-per-target", each.median())
    if cellprofiler is not None:
        note("cellprofiler-features", cellprofiler["n_features"])
if simulated and CEILING in results.index:
    rest = results.drop(index=CEILING)
    note("drawn-ceiling", results.loc[CEILING, P] - rest[P].max())
if simulated and dino is not None and untrained in results.index:
    gain = by_way["sphere+mad_robustize"]["perturbation_map_difference"]
    note("drawn-training", gain)
claims.show_claims(chapter="ssl_comparison")

# %% [markdown]
# Differences to CellProfiler are asked of real CellProfiler tables only; the row measured in its
# style is another program and answers for itself. ViT-B needs checkpoints or profiles of that size.
#
# ## What this shows and what it does not
#
# On simulated data: whether features learned without labels from other plates tell the simulator's
# phenotypes apart better than the same network before it learned anything, and better than chance.
# A network with random weights is a strong baseline, because averages of random filters still see
# intensity and texture; the table of both ways above says where training added something, and where
# it did not.
#
# The order of the rows is that of small networks trained for minutes on 1,536 drawn fields, and
# it is shown as measured. It is no test of the paper's order, which comes from hundreds of GPU
# hours on real cells. Measured features have an advantage here that real cells do not give them: the
# simulator draws clean round cells, and its phenotypes are shifts of size, brightness and
# texture, the very quantities that such features measure. The transfer row is a small stand-in
# for the paper's ImageNet ViTs, chosen because it installs without a download from a model hub.
#
# Each row also stands and falls with its normalisation. The paper's choices were made on its data;
# on these, others can be far better for measured and transferred features. A low row may say
# more about nearly constant features divided by their MAD than about the network:
# [post-processing](07_postprocessing) shows which. Read the two chapters together.
#
# It does not show that DINO beats CellProfiler on real cells, or that it does not. That claim needs
# the real screen, and its line in the table above says so.
#
# ## Re-run it on your data
#
# ```bash
# # your images, after cpssl data prepare
# cpssl run ssl_comparison -p data=data/mine/images.parquet
# # the paper's transfer-learning network, from the model hub or its cache
# cpssl run ssl_comparison -p transfer=ViT-S/16
# # the authors' released embeddings (SSL_data, normalised by them)
# cpssl run ssl_comparison -p release=SSL_data
# # your profiles: CPJUMP1's CellProfiler tables (its plates of 48 h), plate as batch, gene as label
# cpssl run ssl_comparison -p data_name=CPJUMP1 -p method=none \
#   -p profiles='{"CellProfiler": ["profiles/cpjump1/BR0011701*.csv.gz"]}' \
#   -p batch=Metadata_Plate -p label=Metadata_gene
# ```
#
# **Take a new checkpoint.** Any file that `cpssl inspect` understands becomes one more row and one
# more colour, extracted, normalised and tested like the others:
#
# ```bash
# cpssl run ssl_comparison -p checkpoints='{"Mine": "mine.pth"}'
# ```
#
# ## Exercises
#
# **Change this and see.** Each is `cpssl run ssl_comparison` with
#
# - `-p convention=released`: the metrics as the authors' code has them
# - `-p method=none`: no normalisation at all
#
# 1. How much of the order is the normalisation? Give every feature type the same one.
#
# ```{admonition} Solution
# :class: dropdown
# `cpssl run ssl_comparison -p method=mad_robustize`, then `-p method=sphere+mad_robustize`, and
# compare the tables under Fig. 2. [Post-processing](07_postprocessing) does so for all methods.
# ```
#
# 2. Is the difference between two rows larger than what another draw of random weights makes?
#
# ```{admonition} Solution
# :class: dropdown
# `cpssl run ssl_comparison -p seed=1`, and so on: only *Random weights*, *Random features* and
# *Shuffled labels* change. A gain of training that is smaller than their spread is no gain.
# ```
#
# 3. What does a perturbation mAP of features that know nothing vary between?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution"}
from cpssl_lite.metrics.retrieval import mean_average_precision

head, x = profile_matrix(aggregate(treated_wells(tables[first]), "batch"))
names = head["Metadata_Perturbation"].to_numpy()
draws = [mean_average_precision(x, rng.permutation(names)) for _ in range(40)]
print(f"{min(draws):.3f} to {max(draws):.3f} in 40 shuffles of the names")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
