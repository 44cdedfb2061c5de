"""What other libraries say about one small table: the numbers that test_parity.py holds us to.

    python tests/parity/make.py

Nothing of cpssl_lite is imported here. The table is drawn; scikit-learn, pycytominer and copairs
compute the rest. Both files are committed, so that a clone needs none of these programs' former
versions, and a change of their results shows as a change of this folder.
"""

import json
import logging
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pycytominer
from copairs.map import average_precision, mean_average_precision
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_mutual_info_score, average_precision_score, silhouette_score
from sklearn.neighbors import KNeighborsClassifier

HERE = Path(__file__).parent
FEATURES = [f"emb_{i:04d}" for i in range(8)]
META = [
    "Metadata_Source",
    "Metadata_Batch",
    "Metadata_Plate",
    "Metadata_Well",
    "Metadata_Perturbation",
    "Metadata_Target",
    "Metadata_Control",
]


def draw() -> pd.DataFrame:
    """Four plates in two batches; ten compounds of five targets, twice on each; eight controls."""
    rng = np.random.default_rng(20251129)
    of_target, own = rng.standard_normal((5, 8)), rng.standard_normal((10, 8))
    rows = []
    for batch in range(2):
        for plate in range(2):
            shift = rng.standard_normal(8)
            names = [*range(10), *range(10), *[-1] * 8]
            for i, name in enumerate(rng.permutation(names)):
                known = name >= 0
                values = 0.9 * of_target[name // 2] + 0.6 * own[name] if known else np.zeros(8)
                values = np.round(values + shift + rng.standard_normal(8), 4)
                head = [f"source_{batch + 1}", f"B{batch + 1}", f"B{batch + 1}P{plate + 1}"]
                head += [f"{'ABCD'[i // 7]}{i % 7 + 1:02d}"]
                head += [f"C{name}", f"T{name // 2}", ""] if known else ["DMSO", "", "negcon"]
                rows.append([*head, *values])
    return pd.DataFrame(rows, columns=[*META, *FEATURES])


def normalised(table: pd.DataFrame) -> dict[str, list[list[float]]]:
    """pycytominer's features, every plate by itself (sphering: all plates at once)."""
    how = {"features": FEATURES, "meta_features": META, "mad_robustize_epsilon": 1e-18}
    found = {}
    for method, samples in (
        ("standardize", "Metadata_Control == 'negcon'"),
        ("mad_robustize", "all"),
    ):
        parts = [
            pycytominer.normalize(plate, samples=samples, method=method, **how)
            for _, plate in table.groupby("Metadata_Plate", sort=False)
        ]
        found[method] = pd.concat(parts)[FEATURES].to_numpy().round(9).tolist()
    controls = "Metadata_Control == 'negcon'"
    sphered = pycytominer.normalize(table, samples=controls, method="spherize", **how)
    found["spherize"] = sphered[FEATURES].to_numpy().round(9).tolist()
    return found


def nearest(table: pd.DataFrame, label: str, apart: list[str]) -> float:
    """Share of wells whose nearest other well (by scikit-learn), none of `apart`, agrees."""
    right = []
    for i in range(len(table)):
        other = np.arange(len(table)) != i
        for column in apart:
            other &= (table[column] != table[column].iloc[i]).to_numpy()
        near = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
        near.fit(table.loc[other, FEATURES], table.loc[other, label])
        right.append(near.predict(table.loc[[i], FEATURES])[0] == table[label].iloc[i])
    return float(np.mean(right))


def ranked(table: pd.DataFrame, by: list[str], label: str) -> float:
    """Mean average precision of whole rankings by correlation, of means over `by`."""
    means = table.groupby(by, sort=True)[FEATURES].mean().reset_index()
    similar = np.corrcoef(means[FEATURES])
    scores = []
    for i in range(len(means)):
        other = np.arange(len(means)) != i
        hits = (means[label] == means[label].iloc[i]).to_numpy()[other]
        scores.append(average_precision_score(hits, similar[i, other]))
    return float(np.mean(scores))


def activity(table: pd.DataFrame) -> dict[str, float]:
    """copairs' mean average precision of each compound against the controls of its plate."""
    logging.getLogger("copairs").setLevel(logging.WARNING)
    meta = table[META].assign(is_control=table["Metadata_Control"] == "negcon")
    each = average_precision(
        meta,
        table[FEATURES].to_numpy(),
        pos_sameby=["Metadata_Perturbation"],
        pos_diffby=[],
        neg_sameby=["Metadata_Plate"],
        neg_diffby=["is_control"],
    )
    each = each[~each["is_control"]].reset_index(drop=True)
    means = mean_average_precision(
        each, ["Metadata_Perturbation"], null_size=10000, threshold=0.05, seed=0
    )
    return {
        name: round(float(value), 12)
        for name, value in zip(
            means["Metadata_Perturbation"], means["mean_average_precision"], strict=True
        )
    }


def main() -> None:
    """Write both files."""
    table = draw()
    table.to_csv(HERE / "wells.csv", index=False)
    treated = table[table["Metadata_Control"] != "negcon"].reset_index(drop=True)
    compound, target, batch = "Metadata_Perturbation", "Metadata_Target", "Metadata_Batch"
    means = treated.groupby([target, compound])[FEATURES].mean().reset_index()
    # The paper's tree: genes (here compounds) are near if they correlate alike with all others.
    clusters = AgglomerativeClustering(5, linkage="complete")
    correlation = np.corrcoef(means[FEATURES])
    expected = {
        "made_with": {name: version(name) for name in ("scikit-learn", "pycytominer", "copairs")},
        "normalised": normalised(table),
        "nearest": {
            "perturbation_acc_nn": nearest(treated, compound, []),
            "perturbation_acc_nsb": nearest(treated, compound, [batch]),
            "label_acc_nsp": nearest(treated, target, [compound]),
            "label_acc_nsbp": nearest(treated, target, [compound, batch]),
        },
        "ranked": {
            "perturbation_map": ranked(treated, [batch, compound], compound),
            "label_map": ranked(treated, [target, compound], target),
        },
        "activity": activity(table),
        "silhouette_batch": float(
            silhouette_score(treated[FEATURES], treated[batch], metric="cosine")
        ),
        "ami_complete_linkage": float(
            adjusted_mutual_info_score(means[target], clusters.fit_predict(correlation))
        ),
    }
    text = json.dumps(expected, indent=1)
    # A row of numbers in a line.
    text = re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
