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
# # Predicting bioactivity

# %% tags=["parameters", "hide-input"]
data = "lite-activity"  # this chapter's simulated screen, or an image table
profiles = {}  # profile tables instead of images: {"Mine": ["plate1.csv"]}
checkpoints = {}  # one more row each: {"Mine": "mine.pth"}
labels = ""  # CSV, Parquet, Matrix Market, ChEMBL table [the simulated ones]
active_at = 6.0  # pChEMBL value from which a compound of a ChEMBL table counts
compound = "Metadata_Perturbation"  # column that names the compounds
strict = True  # False leaves out labels that the screen cannot use
least = 1  # active, and inactive, compounds that an assay needs
splits = ""  # table of splits to use again [drawn from the seed]
method = ""  # one normalisation for all, or none [the paper's for each type]
preset = "small"  # size of the networks: small, or full as published
size = 128  # pixels to which image networks see a field made smaller
slow = "kept"  # image networks: kept, train (what is not kept), none
kept = "book/kept/bioactivity.parquet"  # predictions of slow methods
rule = "skip"  # one class in a test split: skip, or released
data_name = ""  # what figures call real data [the table's folder]
seed = 0  # of splits, weights, the order of training, bootstrap

# %% tags=["hide-input"]
import hashlib
import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.kept import keep, recipe_of_run
from cpssl_lite.bioactivity.labels import read_labels
from cpssl_lite.bioactivity.presets import CNNS, PRESETS
from cpssl_lite.bioactivity.views import read_cells, read_views
from cpssl_lite.book import assay_panels, claims, provenance, table_one
from cpssl_lite.book.chapter import ask, frame_table, headline, note_all, p_text
from cpssl_lite.book.chapter import show
from cpssl_lite.book.digest import data_digest
from cpssl_lite.book.evidence import find, gather
from cpssl_lite.book.features import extracted, normalized
from cpssl_lite.book.figures import style
from cpssl_lite.book.html import table as html_table
from cpssl_lite.book.kinds import type_of
from cpssl_lite.book.known import recognise_labels
from cpssl_lite.book.methods import ask_first, methods_of
from cpssl_lite.book.screens import activity_screen
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.profiles.cellprofiler_style import cellprofiler_style
from cpssl_lite.profiles.find import find_tables
from cpssl_lite.profiles.table import assign_roles, find_column
from cpssl_lite.profiles.table import profile_matrix, read_profiles
from cpssl_lite.profiles.table import read_provenance

style()
controls = ("Shuffled labels", "True phenotype")
drawn_here = data == "lite-activity" and not profiles
if slow not in ("kept", "train", "none"):
    raise InputError(f"slow {slow!r} is not one of kept, train, none")
if labels:
    read_labels(
        labels, compound, active_at
    )  # asked before anything is computed
elif not drawn_here:
    raise InputError("labels: give the label matrix of these data")
if profiles:
    files = find_tables(profiles)
    raw = {name: read_profiles(paths) for name, paths in files.items()}
    types = {name: type_of(files[name], raw[name]) for name in raw}
else:
    files = {"DINO": SHIPPED["DINO"], **checkpoints}
    if taken := {"CellProfiler-style", *controls, *CNNS} & set(files):
        raise InputError(f"checkpoints: {min(taken)!r} is another row's name")
    networks = {name: load_encoder(path) for name, path in files.items()}
    image_table = activity_screen(seed) if drawn_here else Path(data)
    images = read_image_table(image_table)
    folder = image_table.parent / "profiles"
    find_column(images, compound)
    ask_first(images, networks, method)
    raw, types = extracted(images, folder, networks)
raw = {name: assign_roles(wells) for name, wells in raw.items()}
for wells in raw.values():
    find_column(wells, compound)
methods = methods_of(raw, types, method)  # as the paper does it, or as asked
tables = {n: normalized(t, types[n].kind, methods[n]) for n, t in raw.items()}
first = next(iter(tables))
simulated = all(
    (t.get("Metadata_Origin", pd.Series("")) == "simulated").all()
    for t in raw.values()
)
where = Path(files[first][0] if profiles else data).resolve()
data_kind = "simulated" if simulated else data_name or where.parent.name
if drawn_here and not labels:
    labels = image_table.parent / "assays.parquet"
splits_file = (Path("runs") if profiles else image_table.parent) / "splits.csv"

# %%
from cpssl_lite.bioactivity.labels import draw_splits, label_bins, match_labels
from cpssl_lite.bioactivity.labels import read_splits, write_splits

# Compounds, not wells, are divided: each is in exactly one of three test sets.
tested = pd.unique(tables[first][compound])
assays = read_labels(labels, compound, active_at)
found = match_labels(assays, tested, strict, least)
parts = read_splits(splits, found) if splits else draw_splits(found, seed=seed)
write_splits(parts, splits_file)
bins = label_bins(found)

# %%
from cpssl_lite.bioactivity.cross_validation import cross_validate


def on_profiles(wells, share=1.0):
    """Test predictions of the feature network."""
    head, values = profile_matrix(wells)
    who = head[compound].to_numpy()
    return cross_validate("FNN", values, who, found, parts, preset, share, seed)


predictions = {name: on_profiles(wells) for name, wells in tables.items()}


# %% tags=["hide-input"]
@cache
def pixels(cells):
    """Small images of all fields, or of single cells, and whose they are."""
    x, rows = read_cells(images) if cells else read_views(images, size)
    return x, images[compound].to_numpy()[rows]


def screen_digest():
    """What the images are: of simulated ones their parameters are enough."""
    if not drawn_here:
        return data_digest(image_table)
    whole = yaml.safe_load((image_table.parent / "dataset.yaml").read_text())
    said = {k: whole[k] for k in ("name", "seed", "revision", "parameters")}
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def train_now(name, share):
    """Run one slow method now."""
    if name == "CellProfiler-style":
        out = cellprofiler_style(images, folder / f"{name}.parquet")
        return on_profiles(normalized(read_profiles(out), "measured"), share)
    x, who = pixels(name == "SC-CNN")
    return cross_validate(name, x, who, found, parts, preset, share, seed)


def slow_method(name, share=1.0):
    """Test predictions from the kept run, or made now; else None."""
    if profiles or slow == "none":
        return None
    kind = "FNN" if name == "CellProfiler-style" else name
    asked = (kind, screen_digest(), found, parts, preset, share, seed)
    recipe = recipe_of_run(*asked, size=size if name in CNNS else None)
    make = partial(train_now, name, share) if slow == "train" else None
    return keep(kept, f"{name} {share:g}", recipe, make)


SLOW = ("CellProfiler-style", *CNNS)
from_before = {name: slow_method(name) for name in SLOW}
predictions |= {n: p for n, p in from_before.items() if p is not None}

# %%
truth = {name: found for name in predictions}
rng = np.random.default_rng(seed)
shuffled = found.copy()
for assay in shuffled:
    known = shuffled[assay] != 0
    shuffled.loc[known, assay] = rng.permutation(shuffled.loc[known, assay])
truth["Shuffled labels"] = shuffled
head, values = profile_matrix(tables[first])
predictions["Shuffled labels"] = cross_validate(
    "FNN", values, head[compound].to_numpy(), shuffled, parts, preset, seed=seed
)
card, reachable = None, None
if drawn_here and (image_table.parent / "assays_truth.parquet").is_file():
    card = pd.read_parquet(image_table.parent / "assays_truth.parquet")
    card = card.set_index("assay").loc[found.columns]
    reachable = float(card["best_auc"].mean())
    steps = pd.read_parquet(image_table.parent / "compounds.parquet")
    steps = steps.set_index("Metadata_Perturbation").filter(like="compound_")
    predictions["True phenotype"] = cross_validate(
        "FNN", steps.to_numpy(), steps.index, found, parts, preset, seed=seed
    )
    truth["True phenotype"] = found

# %%
from cpssl_lite.bioactivity import scores as rating
from cpssl_lite.metrics.uncertainty import bootstrap_mean, known_mean


def split_scores(name, convention=rule, predicted=None):
    """AUC and F1 by split and assay: (2, splits, assays)."""
    predicted = predictions[name] if predicted is None else predicted
    rated = []
    for _, part in predicted.groupby("split", sort=False):
        real = truth[name].loc[part["Metadata_Perturbation"]].to_numpy()
        values = part[found.columns].to_numpy()
        rated.append(rating.score_assays(values, real, convention))
    return np.array(rated).swapaxes(0, 1)


def assay_scores(*what, **how):
    """AUC and F1 of each assay, means over splits."""
    return [known_mean(v) for v in split_scores(*what, **how)]


scores = {name: assay_scores(name) for name in predictions}
auc = pd.DataFrame({n: s[0] for n, s in scores.items()}, index=found.columns)
summary = {name: rating.summarise(*values) for name, values in scores.items()}

# %% tags=["hide-input"]
ranked = [name for name in summary if name not in controls]
ranked = sorted(ranked, key=lambda name: -summary[name].auc)
shown = [*ranked, *(name for name in controls if name in summary)]
trained = [name for name in ranked if name in CNNS]
from_kept = [name for name in ranked if name in SLOW]
best_cnn = trained[0] if trained else None
rows = {name: bootstrap_mean(auc[name].to_numpy(), seed=seed) for name in shown}
best = f"; the best possible is {reachable:.2f}" if card is not None else ""
headline(
    f"A small network on {first}'s features reaches a mean AUCROC of {summary[first].auc:.2f}; with shuffled labels it is {summary['Shuffled labels'].auc:.2f}{best}."
)
figure = assay_panels.means(rows, reachable)
defined = min(s.n_assays for s in summary.values())
caption = f"Mean AUCROC over assays of every method, with its 95% bootstrap interval over assays; highest: {ranked[0]}. AUCROC needs both classes in a test split: it is defined for {defined} of {found.shape[1]} assays."
if trained and preset != "full":
    epochs = PRESETS[preset][trained[0]].epochs
    caption += f" Networks on images ({', '.join(sorted(trained))}) are cut short, after {epochs} epochs."
if card is not None:
    caption += " Dashed: the best that anybody could reach on these labels, known because the noise was drawn."
alt = "A point with a horizontal interval for each method, sorted by mean AUCROC, beside a dotted line at one half."
show(figure, "fig-bioactivity", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# **The paper's claim** (Table 1, Supplementary Fig. 8). A small network on DINO features predicts
# the activity of compounds in 209 {term}`assays <assay>` almost as well as six convolutional
# networks that were trained on the images themselves: a mean {term}`AUCROC` of 0.723, beside 0.731
# for the best of them and 0.675 for a network on CellProfiler features. With fewer than 100 labels
# an assay there is no gap; with 100 to 500 labels the networks on images predict more assays well
# {cite:p}`kim2025`.
#
# **How it was tested there.** The public data set cpg0012 {cite:p}`wawer2014`, with the labels, the
# splits and the code of an earlier study {cite:p}`hofmarcher2019`. Its label matrix has 10,574
# compounds; the text says "about 10,000". The paper trained the network on DINO features; all other
# rows of its Table 1 are taken from that study. An assay's AUCROC and F1 are means over three test
# splits; the table gives the mean and standard deviation over assays.

# %% [markdown] tags=["drawn"]
# **What is done here.** All eight methods, on a simulated screen: 160 compounds of eight targets,
# 24 assays. The activity of a compound follows from its phenotype, plus noise of known size, so
# that the best AUCROC that anybody could reach is known. The networks are small ones: the methods
# are the paper's, the numbers are not.

# %% [markdown] tags=["real"]
# **What is done here.** The network on features, with the profiles and the labels that were given (the
# last table of this page names them). Rows of the paper's Table 1 stand beside it as quoted: they are
# no numbers of this run.

# %% [markdown] tags=["more"]
# ```{admonition} After this chapter you can
# :class: tip
# - say why compounds and not wells are divided into training and test
# - say what an AUC of 0.6 is worth with the number of compounds at hand
# - read a calibration curve, and say what a prediction set promises
# ```
#
# ## Labels and methods
#
# A label is active, inactive or missing, and most are missing. Replicates of a compound are never on
# both sides of a split. The network on features has three layers; its loss is the cross-entropy of the
# measured entries only; the epoch with the best validation AUCROC counts.

# %% [markdown] tags=["drawn"]
# The six networks on images learn everything from the pixels: GapNet, M-CNN and MIL-Net as
# Hofmarcher et al. describe them, ResNet and DenseNet with five input channels, and SC-CNN on
# crops around single nuclei. They were given 25 epochs (150 steps a split) and are cut short: the
# published ones learned far longer. They, and the measuring of every cell for CellProfiler-style
# features, take minutes each, so that this page loads their predictions from an earlier run of the
# same code on the same screen.

# %% [markdown]
# One more row says what chance gives. *Shuffled labels* is the same network on the same features, but
# every assay's labels are dealt out anew among its compounds: nothing can be learned. Such a row often
# lies *below* one half: labels are dealt without replacement, so that a test set rich in actives has left a
# training set poor in them, and the network learns the wrong tilt; few labels make it worse.

# %% [markdown] tags=["drawn"]
# *True phenotype* gets the simulator's 31 parameters instead of features: what *this* network makes of these
# labels when nothing has to be seen. It is no upper limit (the dashed line is): a row can stand
# above it whose numbers suit the network better.

# %% tags=["hide-input"]
count, active = (found != 0).sum(), (found > 0).sum()
by_bin = {
    name: {
        "Assays": int((bins == name).sum()),
        "Labels": int(count[bins == name].sum()),
        "Active": f"{active[bins == name].sum() / count[bins == name].sum():.0%}",
    }
    for name in bins.cat.categories
    if (bins == name).any()
}
about = f"{len(found)} compounds, {found.shape[1]} assays by number of labels"
by_bin = pd.DataFrame(by_bin).T
frame_table(
    by_bin, caption=f"{about} ({data_kind})", first="Labels of an assay"
)

# %% tags=["hide-input"]
runs = read_provenance(kept).get("runs", {}) if from_kept else {}
told = {}
for name in shown:
    facts = runs.get(f"{name} 1", {}) if name in from_kept else {}
    steps = facts.get("steps") or predictions[name].attrs.get("steps")
    told[name] = {
        "Epochs": PRESETS[preset][name if name in CNNS else "FNN"].epochs,
        "Steps a split": f"{np.mean(steps):.0f}" if steps else "not recorded",
        "Seconds": f"{facts['seconds']:.0f}" if facts else "in this run",
    }
about = f"How each was trained ({data_kind}, preset {preset}); seconds of kept runs are wall clock for three splits, other jobs beside them"
frame_table(pd.DataFrame(told).T, caption=about, first="Method")

# %% [markdown]
# ## Table 1, re-run
#
# The last three columns count the assays whose AUCROC reaches 0.9, 0.8 and 0.7.

# %% tags=["hide-input"]
ours = {
    n: table_one.row_of(*summary[n][:4], *summary[n].at_least) for n in shown
}
about = f"This run ({data_kind}): {found.shape[1]} assays, mean and SD over assays; number of assays with at least that AUCROC"
frame_table(pd.DataFrame(ours).T, caption=about, first="Method", fold=False)

# %% tags=["hide-input"]
about = "The paper's Table 1, quoted and not run here: cpg0012, 209 assays"
frame_table(table_one.quoted(), caption=about, first="Method")

# %% tags=["hide-input"]
missing = [name for name in SLOW if name not in predictions]
if missing and not profiles:
    why = f"no kept predictions for these data; slow is {slow}"
    rows = [(name, why) for name in missing]
    display(html_table(("Not in this run", "Why"), rows))
one_class = np.isnan(split_scores(first, "skip")[0])
if one_class.any():
    both = {}
    for name in shown:
        skip, released = (
            rating.summarise(*assay_scores(name, c)) for c in rating.CONVENTIONS
        )
        both[name] = {
            "AUCROC, left out": skip.auc,
            "AUCROC, released": released.auc,
        }
        both[name] |= {"F1, left out": skip.f1, "F1, released": released.f1}
    about = f"{one_class.sum()} of {one_class.size} assays times splits have one class in the test set: left out here, counted as AUCROC 0.5 and F1 0 by the released evaluation (parameter rule)"
    both = pd.DataFrame(both).T
    display(frame_table(both, caption=about, first="Method", fold=False))

# %% [markdown] tags=["more"]
# ## Few labels and many
#
# An assay with few labelled compounds has little to learn from and little to be tested on: its AUCROC
# scatters more, whatever the method.

# %% tags=["hide-input"]
figure = assay_panels.by_labels(auc[ranked], bins)
filled = [name for name in bins.cat.categories if (bins == name).any()]
top = "; ".join(
    f"{g} labels: {auc.loc[bins == g, ranked].median().idxmax()}"
    for g in filled
)
caption = f"Supplementary Fig. 8 on this run's data: AUCROC of every assay (mean over splits), by its number of labels. Bars are medians; highest median, {top}."
alt = "Strips of points, one strip per method, in a panel for each range of label counts; a short bar marks the median."
show(figure, "fig-bioactivity-bins", data_kind, caption=caption, alt=alt)

# %% [markdown]
# The same assays with the labels of fewer training compounds: a quarter, a half, all of them. Test
# compounds stay the same.

# %%
SHARES = (0.25, 0.5, 1.0)
less = {first: [on_profiles(tables[first], share) for share in SHARES[:-1]]}
if "GapNet" in predictions:
    less["GapNet"] = [slow_method("GapNet", share) for share in SHARES[:-1]]

# %%
per_assay = np.mean(
    [(found[parts[name] == "train"] != 0).sum() for name in parts]
)
curves = {
    name: [
        (
            share * per_assay,
            *bootstrap_mean(assay_scores(name, rule, run)[0], seed=seed),
        )
        for share, run in zip(SHARES, [*made, predictions[name]], strict=True)
        if run is not None
    ]
    for name, made in less.items()
}

# %% tags=["hide-input"]
figure = assay_panels.learning(curves, reachable)
start, end = curves[first][0], curves[first][-1]
caption = f"Mean AUCROC over assays with 95% bootstrap intervals over assays. With {start[0]:.0f} training labels an assay {first} reaches {start[1]:.2f}, with {end[0]:.0f} {end[1]:.2f}."
alt = "Lines with error bars that show mean AUCROC against number of training labels for features and for an image network."
show(figure, "fig-bioactivity-curve", data_kind, caption=caption, alt=alt)

# %% [markdown]
# ## Assay by assay
#
# A mean hides for which assays a method works. Each point is an assay; above the line the features
# do better than what is beside them.

# %% tags=["hide-input"]
panels = {best_cnn: auc[best_cnn]} if best_cnn else {}
if card is not None:
    panels["best reachable"] = card["best_auc"]
if not panels:  # profiles and labels only: the next best method, or the control
    other = next(name for name in shown if name != first)
    panels[other] = auc[other]
figure = assay_panels.against(auc[first], panels, first)
ahead = "; ".join(
    f"above {name} in {(auc[first] > values).sum()} of {len(auc)}"
    for name, values in panels.items()
)
caption = f"AUCROC of each assay with {first}'s features: {ahead}."
if best_cnn:
    caption += f" {best_cnn} is the image network with the highest mean of this run, a choice that favours it a little."
alt = "Scatter plots with a diagonal, a point for each assay: features against other methods."
show(figure, "fig-bioactivity-scatter", data_kind, caption=caption, alt=alt)

# %%
from cpssl_lite.metrics.significance import q_values
from cpssl_lite.metrics.uncertainty import bootstrap_difference, wilcoxon_paired

paired = {}
for name in [n for n in shown if n != first]:
    a, b = auc[first].to_numpy(), auc[name].to_numpy()
    difference = dict(
        zip(
            ("Difference", "Low", "High"),
            bootstrap_difference(a, b, seed=seed),
            strict=True,
        )
    )
    paired[name] = {**difference, "p": wilcoxon_paired(a, b)}
paired = pd.DataFrame(paired).T
paired["q"] = q_values(paired["p"].to_numpy())

# %% tags=["hide-input"]
told = paired.assign(p=paired["p"].map(p_text), q=paired["q"].map(p_text))
about = f"{first} minus each, AUCROC paired over assays ({data_kind}): 95% bootstrap interval, Wilcoxon's p, and q of {len(paired)} tests"
frame_table(told, caption=about, first=f"{first} minus", form="+.3f")

# %% [markdown] tags=["more"]
# ## Are the probabilities to be trusted?
#
# AUCROC looks at the order of compounds only. A *calibrated* predictor that says 30% is right three
# times in ten. A *prediction set* promises more with less: it names the labels that are still possible
# (inactive, active, both, or neither), and holds the true one in nine of ten compounds, whatever the
# network. For each assay and split, a compound is compared with the test compounds of the other two
# splits, whose labels are known: a label stays if at least one in ten of that class looked as strange.
# That is {term}`conformal prediction`, for each class by itself. (The three networks are not the same
# one, so that the promise holds nearly and not exactly.)


# %%
from cpssl_lite.metrics.conformal import conformal_p


def sets_of(name, error=0.1):
    """Of every measured entry: its assay, whether its set holds the truth, labels in it."""
    predicted, told = predictions[name], []
    for split, test in predicted.groupby("split"):
        rest = predicted[predicted["split"] != split]
        real, known = (
            found.loc[part["Metadata_Perturbation"]] for part in (test, rest)
        )
        for assay in found:
            here = (real[assay] != 0).to_numpy()
            p = conformal_p(
                test[assay].to_numpy()[here],
                rest[assay].to_numpy(),
                known[assay].to_numpy(),
            )
            is_active = (real[assay].to_numpy()[here] > 0).astype(int)
            inside = p > error
            told.append(
                pd.DataFrame(
                    {
                        "labels": bins[assay],
                        "held": inside[np.arange(len(p)), is_active],
                        "size": inside.sum(axis=1),
                    }
                )
            )
    # Ranges of labels in their order, not that of the alphabet.
    return pd.concat(told).astype({"labels": bins.dtype})


# %%
chosen = [n for n in ranked if n not in CNNS] + ([best_cnn] if best_cnn else [])
calibrated, held = {}, {}
for name in chosen:
    predicted = predictions[name]
    real = found.loc[predicted["Metadata_Perturbation"]].to_numpy()
    values = predicted[found.columns].to_numpy()
    calibrated[name] = rating.calibration(values, real)[:2]
    sets = sets_of(name)
    held[name] = {
        g: (part["held"].mean(), (part["size"] == 1).mean())
        for g, part in sets.groupby("labels", observed=True)
    }

# %% tags=["hide-input"]
figure = assay_panels.trust(calibrated, held, 0.9)
told = "; ".join(
    f"{g} labels: {100 * a:.0f}% hold the truth, {100 * b:.0f}% name one label"
    for g, (a, b) in held[first].items()
)
caption = f"Left: predicted probability (mean of fifths of all test predictions) against the share that is active; on the diagonal a probability means what it says. Right: prediction sets that should hold the truth for 90% (line). {first}, {told}."
alt = "Left: lines of observed share of actives against predicted probability beside a diagonal. Right: share of prediction sets that hold the truth and that name one label, by number of labels."
show(figure, "fig-bioactivity-calibration", data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
alone = np.mean([b for _, b in held[first].values()])
choices = ["under a third", "a third to two thirds", "over two thirds"]
right = choices[int(alone > 1 / 3) + int(alone > 2 / 3)]
why = f"It is {alone:.0%}. Sets that hold both labels are the honest answer where features cannot tell."
question = f"{first}'s sets hold the truth nine times in ten. How many of them name a single label?"
display(ask(question, choices, right, why))
floor = auc["Shuffled labels"].mean()
choices = ["below 0.49", "0.49 to 0.51", "above 0.51"]
right = choices[int(floor >= 0.49) + int(floor > 0.51)]
low, high = bootstrap_mean(auc["Shuffled labels"].to_numpy(), seed=seed)[1:]
why = f"{floor:.3f} ({low:.3f} to {high:.3f}): labels dealt without replacement tilt training and test against each other, a little or more."
display(
    ask(
        "Where does the mean AUCROC of shuffled labels lie?",
        choices,
        right,
        why,
    )
)

# %% [markdown]
# ## The paper's numbers beside this run's

# %% tags=["hide-input"]
evidence = gather(
    raw,
    types,
    data_kind,
    simulated,
    convention="released" if rule == "released" else "paper",
    data=recognise_labels(labels, found),
    methods=methods,
    # As published: whole networks, and fields (520 x 696 px) that were not made smaller.
    trained=trained if preset == "full" and size >= 520 else (),
)
# The paper's rows, by what ours are; image networks have the names that they were built by.
ours = {name: name for name in CNNS}
ours |= {name: find(types, name) for name in ("DINO", "CellProfiler")}
theirs = {row: name for name, row in ours.items() if row in summary}
told = {name: summary[row] for row, name in theirs.items()}
auc = auc[list(theirs)].rename(columns=theirs)
got = table_one.table_claims(told, auc, bins, seed)
if not simulated:
    got["bioactivity-assays"] = found.shape[1]
    got["bioactivity-compounds"] = len(found)
note_all(got, evidence)
claims.show_claims(chapter="bioactivity")

# %% [markdown]
# ## What this shows and what it does not

# %% [markdown] tags=["drawn"]
# On simulated data: that the steps work, from images and labels to Table 1, and how far a given
# number of labels reaches. From *shuffled labels* to a method: what was learned. From *true
# phenotype* to the dashed line: what more labels, or a better predictor, would bring.
#
# The six networks on images got the same number of steps, far fewer than the published ones, and
# none was tuned; the feature network has its published 100 epochs. The screen was chosen after
# trials. With 80 targets of two compounds neither features nor images were far from chance: too many
# kinds of phenotype for so few labels. With 20 compounds a target there is something to learn,
# because test compounds have relatives in training.
#
# It does not test the paper's order: 24 assays, a few hundred images to learn from, and drawn
# phenotypes are no assays. AUCROC counts compounds here (replicate wells are averaged); the code
# of Hofmarcher et al. counts wells. The claims of Table 1 need cpg0012, and the verdicts above
# say so.

# %% [markdown] tags=["real"]
# How far these features predict these labels, for compounds that were not seen. The distance to
# *shuffled labels* is what was learned. Compounds of one series may be on both sides of a split, which
# flatters every method; few compounds make every number uncertain, and intervals are over assays only.
# AUCROC counts compounds here (replicate wells are averaged); the code of Hofmarcher et al. counts wells.

# %% [markdown]
# ## Re-run it on your data
#
# ```bash
# # make the kept predictions again (about a quarter of an hour on two cores)
# cpssl run bioactivity -p slow=train -p kept=runs/bioactivity.parquet
# # your images and labels; image networks too
# cpssl run bioactivity -p data=data/mine/images.parquet -p labels=labels.csv \
#   -p slow=train -p kept=runs/mine.parquet
# # your profiles: published labels, compounds named by InChIKey, CPJUMP1's tables
# # (a ChEMBL table as well: -p labels=chembl_annotation_filtered.csv.gz)
# cpssl run bioactivity -p labels=hti_cnn/label-matrix.mtx -p strict=false -p least=5 \
#   -p compound=Metadata_InChIKey -p method=none -p data_name=CPJUMP1 \
#   -p profiles='{"CellProfiler": ["profiles/cpjump1/*.csv.gz"]}'
# ```
#
# ## Exercises
#
# 1. What AUC does a coin get on 20 compounds of which 5 are active?

# %% tags=["solution"]
from cpssl_lite.bioactivity.scores import roc_auc

label = np.repeat([1, -1], [5, 15])
coin = [roc_auc(rng.random(20), label) for _ in range(1000)]
low, high = np.quantile(coin, (0.025, 0.975))
print(f"95% of coins lie between {low:.2f} and {high:.2f}")

# %% [markdown]
# 2. Why would replicates of one compound in training and test flatter every method? Let the nearest
#    replicate of the same compound say the label.

# %% tags=["solution"]
from cpssl_lite.metrics.nearest import nearest_neighbours

head, values = profile_matrix(tables[first])
who = head[compound].to_numpy()
own = np.mean(who[nearest_neighbours(values, [()])[0]] == who)
print(f"{own:.0%} of wells have a replicate of their own compound as nearest")
print("one: its label would be looked up, not predicted. It says nothing of a")
print("new compound.")

# %% [markdown]
# **Takeaway.** Divide compounds, not wells; know what chance and what the best possible would give; and
# ask for sets where a probability would only sound sure.
#
# ## How this page was made

# %% tags=["hide-input"]
if profiles:
    data_used = {n: Path(f[0]).parent for n, f in files.items()}
else:
    data_used = (
        image_table.parent / "dataset.yaml" if drawn_here else image_table
    )
more = {"Splits": str(splits_file), "Labels": str(labels)}
if from_kept:
    more["Slow methods"] = f"{', '.join(from_kept)}: {slow}, {kept}"
provenance.show(
    data=data_used, checkpoint=None if profiles else files, seed=seed, **more
)
