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

# %% tags=["parameters", "hide-input"]
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
import numpy as np
import pandas as pd

from cpssl_lite.book import claims, compared as numbers, panels, provenance
from cpssl_lite.book.chapter import ask, difference_table, frame_table, headline
from cpssl_lite.book.chapter import in_words, note_all, ranked, say, show
from cpssl_lite.book.features import CEILING, normalized, random_features
from cpssl_lite.book.figures import style
from cpssl_lite.book.kinds import WAYS, short_way
from cpssl_lite.book.panels import P, T
from cpssl_lite.book.parameters import features_of
from cpssl_lite.book.truth import read_truth
from cpssl_lite.profiles.table import feature_columns

style()
features = features_of(globals(), ceiling=True)
data_kind, judged = features.data_kind, (label or None, convention)

# %%
tables = features.normalized()
first = features.find("DINO") or next(iter(tables))
ceiling = {CEILING: tables.pop(CEILING)} if CEILING in tables else {}
learned = list(tables)  # and measured: everything that could know something
# Two baselines that cannot.
rng = np.random.default_rng(seed)
random, shuffled = random_features(tables[first], rng), tables[first].copy()
treated = shuffled["Metadata_Control"] != "negcon"
here = treated, feature_columns(shuffled)
shuffled.loc[here] = rng.permutation(shuffled.loc[here].to_numpy())
compared = tables | {"Random features": random, "Shuffled labels": shuffled}
tables = compared | ceiling

# %%
from cpssl_lite.profiles.evaluate import evaluate


def measure(tables):
    """The paper's metrics, a row for each feature type."""
    return pd.DataFrame({n: evaluate(t, *judged) for n, t in tables.items()}).T


results = measure(tables)

# %% tags=["hide-input"]
from cpssl_lite.profiles.evaluate import label_column

label_name = label_column(tables[first], label or None)
what = in_words(label_name)
whats = ("Perturbation", what.capitalize())
shapes = {name: features.shape(name) for name in tables}
chance = results.loc[["Random features", "Shuffled labels"]].max()
best = ranked(results.loc[learned, P])
most = f"; the truth gives {results.loc[CEILING, P]:.2f}" if ceiling else ""
first_of = " best" * (len(learned) > 1)  # of one there is none
headline(
    f"Replicates find each other{first_of} in {best}; chance gives {chance[P]:.2f}{most} (perturbation mAP)."
)
figure = panels.comparison(results, whats, shapes, features.measured())
top = {
    m: (results.loc[learned, m].idxmax(), results.loc[learned, m].max())
    for m in (P, T)
    if label_name or m == P
}
caption = f"The paper's Fig. 2 on this run's data; up and right is better. Replicates are found{first_of} in {top[P][0]} (mAP {top[P][1]:.2f})"
if label_name:
    caption += f", those of one {what} in {top[T][0]} ({top[T][1]:.2f})"
caption += ". Colour is the feature type, shape what made it."
if features.measured():
    caption += f" Dotted lines go through {features.measured()}."
alt = "Two scatter plots with one marker per feature type: nearest-neighbour accuracy against mean average precision, of perturbations and of labels."
show(figure, "fig-comparison", data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
rest = short_way(features.methods[first])
ways = {n: short_way(way) for n, way in features.methods.items()}
shown = results.assign(way=[ways.get(n, rest) for n in results.index])
names = panels.columns(whats) | {"way": "Normalised by"}
frame_table(shown, names, f"The same numbers as a table ({data_kind})")

# %% [markdown]
# ```{admonition} After this chapter you can
# :class: tip
# - say what perturbation mAP, target mAP, NSB and NSBP accuracy each ask
# - tell a difference between two feature types from its uncertainty
# - name the baselines that a claim has to beat
# ```
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
# for CellProfiler and transfer learning. *Reproducibility* is the perturbation mAP of batch-aggregated
# profiles and the {term}`NSB accuracy <NN, NSB, NSP, NSBP>` of wells. *Biological relevance* is the
# target mAP of {term}`consensus profiles <consensus profile>` and the
# {term}`NSBP accuracy <NN, NSB, NSP, NSBP>` of wells.

# %% [markdown] tags=["drawn"]
# **What is done here.** The same steps and metrics, by default on the [simulated screen](00_data). DINO,
# MAE and SimCLR networks were each trained for minutes on other plates of that screen. Beside them stand
# DINO's network with random weights, a network that knows only natural images, and features measured on
# segmented cells. Two baselines cannot know anything: random features, and real features with shuffled
# labels. A drawn screen also has a ceiling: the parameters that each well was drawn with.

# %% [markdown] tags=["real"]
# **What is done here.** The same steps and metrics on the profiles that were given (the last table of
# this page names them). Two baselines cannot know anything: random features, and real features with
# shuffled labels.

# %% [markdown]
# Measured and transferred features that run away when they are divided by a tiny spread (beyond 500 in
# any well, pycytominer's rule) are left out: a handful of them would dominate every
# distance ([how much that matters](07_postprocessing)).
#
# ## How many are found at all?
#
# mAP is a mean. It does not say for how many perturbations the features hold anything. So ask of each
# one: are its replicates nearer to each other than to untreated wells of their plate, by more than
# chance? The p of each is corrected for the number of tests: of those called *active* (q below 0.05)
# one in twenty is expected to be wrong.
#
# A match can also come too easily: two plates of a batch share their layout, and wells at one place
# look alike. The ladder takes such help away. Who may be the nearest neighbour is restricted, step by
# step; what survives the lowest rung is due to neither batch nor source nor position.

# %%
from cpssl_lite.profiles.evidence import evidence

found, rows = {}, {}
for name, wells in tables.items():
    found[name], rows[name] = evidence(wells, label or None, seed=seed)

# %% tags=["hide-input"]
figure = panels.found_and_ladder(
    found, "perturbation", "percent_active", "Active perturbations"
)
steps = [found[first][f"perturbation_recall1_{rung}"] for rung in panels.LADDER]
active = ", ".join(
    f"{found[n]['percent_active']:.0%} in {n}"
    for n in dict.fromkeys([first, *learned[-1:], *ceiling])
)
caption = f"Left: perturbations that differ from the untreated wells of their plates (q < 0.05): {active}. Right: wells whose nearest neighbour is a replicate; in {first} {steps[0]:.0%} where any other well may be it, {steps[-1]:.0%} on the lowest rung."
alt = "Bars of the percentage of active perturbations for each feature type, beside lines of nearest-neighbour recall over rising restrictions."
show(figure, "fig-active", data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
share = found["Random features"]["percent_active"]
guesses = ["below 10%", "10% to 50%", "above 50%"]
right = guesses[int(share > 0.1) + int(share > 0.5)]
why = f"It is {share:.0%}. That is what correcting p is for: uncorrected, one test in twenty is below 0.05 by chance."
question = (
    "Random features know nothing. How many perturbations are active in them?"
)
if np.isfinite(share):
    display(ask(question, guesses, right, why))

# %% [markdown] tags=["more"]
# ## Which ones are missed?
#
# A share does not say which perturbations are missed. Weak effects may be beyond anyone; a strong one
# that is missed says something about the features.

# %%
from cpssl_lite.profiles.evaluate import average_precisions

truth, strength, AP = read_truth(features.image_table), None, "perturbation_ap"
if truth is not None:
    strength = truth.groupby("Metadata_Perturbation")["strength"].first()
beside = next(iter(ceiling), features.measured() or first)
precision, active = {}, {}
for name in dict.fromkeys([first, beside]):
    precision[name] = average_precisions(tables[name], *judged)[AP]
    active[name] = rows[name].set_index("Metadata_Perturbation")["active"]

# %% tags=["hide-input"]
figure = panels.misses(precision, active, strength)
on = {name: set(a.index[a]) for name, a in active.items()}
told = "; ".join(f"{n} finds {len(on[n])} of {len(active[n])}" for n in on)
caption = f"Average precision of every perturbation; open circles are not active (q of 0.05 or more). {told}."
if beside != first:
    caption += f" {len(on[beside] - on[first])} are active in {beside} and not in {first}."
alt = "Scatter of average precision per perturbation, one panel per feature type; filled markers are active perturbations, open ones are missed."
show(figure, "fig-strength-ap", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# ## How sure is the difference?
#
# A difference of two means says little without its spread over perturbations.
#
# Each perturbation gives one average precision per feature type. The differences are resampled 2,000
# times (95% bootstrap interval) and tested with Wilcoxon's signed-rank test, which the paper used. Every
# row is two tests, so p is corrected for their number.

# %%
from cpssl_lite.profiles.differences import differences

pairs = {n: (tables[first], compared[n]) for n in compared if n != first}
against = differences(pairs, *judged, seed)

# %% tags=["hide-input"]
figure = panels.differences(against, whats, f"{first} minus other")
sure = {metric: (against[f"{metric}_q"] < 0.05).sum() for metric in (P, T)}
caption = f"{first} minus each other feature type, with 95% bootstrap intervals over perturbations; right of the line {first} is better. Filled: q < 0.05, which holds for {sure[P]} of {len(against)} differences in perturbation mAP and {sure[T]} in {what} mAP."
alt = "Two panels of points with horizontal intervals, one per compared feature type, beside a vertical line at zero."
show(figure, "fig-differences", data_kind, caption=caption, alt=alt)

# %% tags=["hide-input"]
caption = f"Differences and q of {2 * len(against)} tests"
difference_table(against, whats, f"{first} minus", caption)

# %% [markdown] tags=["more"]
# ## Did training add something?
#
# The same network before and after it was trained. A normalisation may suit the one and not the other,
# so each first gets the way that suits it best: of the [eight ways](07_postprocessing) the one with the
# highest mean of both mAPs.


# %%
def best_way(name):
    """Wells after every way of normalising; the best way comes first."""
    kind = features.types[name].kind
    made = {way: normalized(features.raw[name], kind, way) for way in WAYS}
    score = {
        way: average_precisions(t, *judged).mean().mean()
        for way, t in made.items()
    }
    return {way: made[way] for way in sorted(made, key=score.get, reverse=True)}


# %%
types, training = features.types, None
untrained = next((n for n in types if types[n].method == "random"), "")
if untrained and features.raw[first] is not features.raw[untrained]:
    trained, plain = best_way(first), best_way(untrained)
    way, other = next(iter(trained)), next(iter(plain))
    each = f"each in its best way ({short_way(way)}; {short_way(other)})"
    pairs = {each: (trained[way], plain[other])}
    for same in ("sphere+mad_robustize", "mad_robustize"):
        if not way == other == same:
            pairs[short_way(same)] = trained[same], plain[same]
    training = differences(pairs, *judged, seed)
if training is not None:
    caption = f"{first} minus {untrained}, the same network untrained"
    head = whats, "Both normalised by", caption
    display(difference_table(training, *head, fold=False))

# %% tags=["hide-input"]
if training is not None:
    gain, low, high, q = (
        training[f"{P}_{k}"].iloc[0] for k in ("difference", "low", "high", "q")
    )
    answers = [
        f"yes, {first} finds more",
        f"no, {untrained} finds more",
        "no difference that is sure",
    ]
    right = answers[2 if not q < 0.05 else int(gain < 0)]
    why = f"Perturbation mAP differs by {gain:+.3f} ({low:+.3f} to {high:+.3f}). Averages of random filters still see intensity and texture: a strong baseline."
    question = "With each network in its best way: does training help to find replicates?"
    display(ask(question, answers, right, why))
else:
    print("Not asked here: no network was run, profiles were given.")

# %% [markdown] tags=["more"]
# ## F1 curves (Supplementary Fig. 4)
#
# mAP is one number for all thresholds. The {term}`F1 score` shows which neighbourhood is good: among
# the k nearest profiles, or among all those within a distance.
#
# A distance has another meaning in every feature space: heights of peaks may be compared, a common
# threshold may not.

# %%
from cpssl_lite.profiles.curves import f1_curves

questions = {"Perturbation": ("batch", "Metadata_Perturbation")}
if label_name:
    questions[whats[1]] = ("consensus", label_name)
curves = {
    kind: {n: f1_curves(t, *of, convention) for n, t in compared.items()}
    for kind, of in questions.items()
}

# %% tags=["hide-input"]
figure = panels.f1(curves)
peak = {
    k: max(learned, key=lambda n, k=k: curves[k][n][0].f1.max()) for k in curves
}
told = ", ".join(f"for {k.lower()}s {n}" for k, n in peak.items())
caption = f"F1 scores as in the paper's Supplementary Fig. 4. Left: among the k nearest; the highest curve is {told}. Right: among all within a distance. Chance is not zero: the grey curves show it."
alt = "Panels of F1 curves, one line per feature type, over the number of neighbours and over distance."
show(figure, "fig-f1", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more"]
# ## Source by source (Supplementary Fig. 5)
#
# Within a source, replicates are matched across its batches. Across sources, the source takes the place
# of the batch: profiles averaged over a source, and the nearest neighbour in another source.

# %%
places = set(tables[first].get("Metadata_Source", ())) - {""}
sources = {}
for place in sorted(places) if len(places) > 1 else ():
    part = {n: t[t["Metadata_Source"] == place] for n, t in compared.items()}
    sources[place] = measure(part)
if sources:
    sources["across sources"] = measure(
        {
            n: t.assign(Metadata_Batch=t["Metadata_Source"])
            for n, t in compared.items()
        }
    )

# %% tags=["hide-input"]
if sources:
    figure = panels.sources(sources, shapes, features.measured())
    ahead = "; ".join(
        f"{place}: {scores.loc[learned, P].idxmax()}"
        for place, scores in sources.items()
    )
    caption = f"Reproducibility in each source and across sources (the paper's Supplementary Fig. 5). Highest perturbation mAP: {ahead}. Axes differ between panels, as chance and the number of replicates do."
    alt = "Scatter plots of perturbation mAP against nearest-neighbour accuracy, one panel for each source and one for matching across sources."
    show(figure, "fig-sources", data_kind, caption=caption, alt=alt)
else:
    print("These data name fewer than two sources.")

# %% [markdown] tags=["more"]
# ## Do replicates agree?
#
# An older question: for what share of perturbations does the median correlation of the replicates exceed
# 95% of what random groups of wells give ({term}`percent replicating`)? Groups from *one well position*
# are the harder comparison, because wells at one place look alike.
#
# Few wells scatter more than many. Groups from one position are smaller, which raises the bar;
# perturbations with few replicates get over it by luck more often. What luck alone gives is marked.

# %% tags=["hide-input"]
figure = panels.replicating(results)
shares = results.reindex(
    columns=["percent_replicating", "percent_replicating_position"]
)
told = "; ".join(
    " and ".join(f"{v:.0%}" for v in shares.loc[n].dropna()) + f" in {n}"
    for n in (first, "Random features")
)
wells, open_ones = tables[first][treated], ""
if shares.iloc[:, 1].notna().any():
    held = wells.groupby("Metadata_Well")["Metadata_Perturbation"].nunique()
    size = min(12, int(held.median()) // 2)
    open_ones = f" and of groups from one position, here of {size} wells (open)"
by_luck = results["percent_replicating_chance"]
caption = f"Share of perturbations whose replicates correlate more than 95% of random groups (filled){open_ones}: {told}. Upright bars: with the names shuffled, {by_luck.min():.0%} to {by_luck.max():.0%}."
alt = "A row per feature type with two markers, percent replicating against random groups and against groups of the same well position, and a bar at what shuffled names give."
show(figure, "fig-replicating", data_kind, caption=caption, alt=alt)

# %% [markdown] tags=["more", "drawn"]
# ## CellProfiler itself, on some of these wells
#
# The measured row is in {term}`CellProfiler`'s style, for CellProfiler itself takes 20 to 30 seconds a
# field. It ran on 96 of these fields: one plate of each batch, every fourth target, eight controls a plate
# (`make cellprofiler-wells`). Its table comes with the package and counts for these very images only. The
# same fields, measured in its style and through DINO, stand beside it.

# %% tags=["drawn"]
from cpssl_lite.book import itself
from cpssl_lite.images.table import read_image_table

raw = {}
if features.simulated and features.image_table:
    raw = itself.kept_beside(read_image_table(features.image_table))

# %% tags=["hide-input", "drawn"]
if raw:
    figure, r, gap = itself.draw(raw, seed)
    half = r.groupby("group")["r"].median().sort_values()
    caption = f"The same {len(raw['DINO'])} wells, one field each. Left: both mAPs with 95% intervals over {gap['perturbation_map_n']:.0f} perturbations, all after MAD robustize (32 controls are too few for sphering). Right: Pearson's r over wells of the {r['r'].count()} features that CellProfiler and its style both have; medians from {half.iloc[0]:.2f} ({half.index[0]}) to {half.iloc[-1]:.2f} ({half.index[-1]})."
    alt = "Left: points with intervals for CellProfiler, its style and DINO. Right: box plots of correlation by group of features."
    show(figure, "fig-itself", data_kind, caption=caption, alt=alt)
    display(say(itself.told(raw, r, gap)))
else:
    print("CellProfiler's table is kept for the default screen only.")

# %% [markdown]
# ## The paper's numbers beside this run's

# %% tags=["hide-input"]
got = numbers.paper_numbers(features, results, chance)
pair = [features.find("DINO"), features.find("CellProfiler")]
if all(pair):
    test = differences({"": [tables[n] for n in pair]}, *judged, seed).iloc[0]
    beside = dict(zip(whats, ("perturbation", "target"), strict=True))
    got |= numbers.one_beside_other(results, pair, test)
    got |= numbers.peaks(curves, pair, beside)
    got |= numbers.by_source(sources, pair) if sources else {}
if not features.simulated:  # are these the data that the paper had?
    wells = tables[first][treated]
    got |= numbers.size_of(features, results, wells, label_name)
elif ceiling:
    rest = results.drop(index=CEILING)[P].max()
    got["drawn-ceiling"] = results.loc[CEILING, P] - rest
if features.simulated and training is not None and features.find("DINO"):
    gains = training[f"{P}_difference"]  # first where both are best that way
    got["drawn-training"] = gains.get("sphere + MAD", gains.iloc[0])
note_all(got, features.evidence(convention))
claims.show_claims(chapter="ssl_comparison")

# %% [markdown] tags=["drawn"]
# Differences to CellProfiler are asked of real CellProfiler tables only; the row measured in its
# style is another program and answers for itself. ViT-B needs checkpoints or profiles of that size.

# %% [markdown]
# ## What this shows and what it does not

# %% [markdown] tags=["drawn"]
# On simulated data: whether features learned without labels, from other plates, tell the simulator's
# phenotypes apart better than the same network before it learned anything, and better than chance.
#
# The order of the rows is that of small networks trained for minutes on 1,536 drawn fields. It is no
# test of the paper's order, which comes from hundreds of GPU hours on real cells. Measured features have
# an advantage here that real cells do not give them: the simulator's phenotypes are shifts of size,
# brightness and texture, the very quantities that such features measure. The transfer row is a small
# stand-in for the paper's ImageNet ViTs. Each row stands and falls with its normalisation: a low one may
# say more about nearly constant features divided by their MAD than about the network
# ([post-processing](07_postprocessing)).

# %% [markdown] tags=["real"]
# Which of the given features find more, on these plates, and how sure that is. It says nothing of other
# plates, and little of why: how features were made, selected and normalised before they came here is
# part of every row. Where all plates have one layout, a replicate also lies at the same place, and only
# the lowest rung of the ladder leaves that out.

# %% [markdown]
# **Takeaway.** A feature type is better when it finds more perturbations, by more than its interval,
# than an untrained network does, and still does so when batch, source and position cannot help.
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
# 1. How much of the order is the normalisation? Give every feature type the same one.

# %% tags=["solution"]
if features.images is None:
    print("Profiles were given: whether they can be sphered depends on them.")
else:
    way = "sphere+mad_robustize"
    raw = {n: features.raw[n] for n in learned}
    same = measure({n: normalized(t, "learned", way) for n, t in raw.items()})
    print("all sphered:", ranked(same[P], len(same)))

# %% [markdown]
# 2. Between what values does a perturbation mAP vary if the names are shuffled?

# %% tags=["solution"]
from cpssl_lite.metrics.retrieval import mean_average_precision
from cpssl_lite.profiles.aggregate import aggregate
from cpssl_lite.profiles.evaluate import treated_wells
from cpssl_lite.profiles.table import profile_matrix

head, x = profile_matrix(aggregate(treated_wells(tables[first]), "batch"))
names = head["Metadata_Perturbation"].to_numpy()
draws = [mean_average_precision(x, rng.permutation(names)) for _ in range(40)]
print(f"{min(draws):.3f} to {max(draws):.3f} in 40 shuffles of the names")

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
provenance.show(**features.made_from, seed=seed)
