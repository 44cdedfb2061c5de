"""`evaluate` beside a plain, slow reading of its definitions, on odd tables.

Ties, single wells, wells without label, name or values, constant features, one batch, no controls.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from cpssl_lite.metrics.nearest import standardise
from cpssl_lite.profiles.evaluate import evaluate
from cpssl_lite.profiles.table import profile_matrix, read_profiles


def odd_table(seed):
    """A table in the authors' layout."""
    rng = np.random.default_rng(seed)
    rows = []
    for batch in range(rng.integers(1, 4)):
        wells = [f"{'ABCDEF'[i // 8]}{i % 8 + 1:02d}" for i in range(48)]
        wells = list(rng.permutation(wells)) if seed % 2 else wells
        names = [f"cé{i}" for i in range(rng.integers(6, 20)) for _ in range(rng.integers(0, 3))]
        names += ["DMSO"] * rng.integers(0, 8)
        for name, well in zip(names, wells, strict=False):
            target = f"t{hash_of(name) % 4}" if hash_of(name) % 7 else ""
            rows.append((f"b{batch}", "P1", well, f"source_{batch % 2}", name, target))
    columns = ["batch", "plate", "well", "source", "perturbation_id", "target"]
    head = pd.DataFrame(rows, columns=columns)
    values = rng.standard_normal((len(head), 5))
    if seed % 4 == 1:
        values = np.round(values)
    if seed % 4 == 2:
        values = values[rng.integers(0, len(head) // 3, len(head))]
    if seed % 4 == 3:
        values[:, 2] = 3.7
        values[0] = np.nan
        head.loc[1, "perturbation_id"] = ""
    return pd.concat([head, pd.DataFrame(values).add_prefix("emb")], axis=1)


def hash_of(name):
    """The same number for a name in every run."""
    return sum(map(ord, name))


def cosines(values, centred=False):
    """All similarities; rounded, so that what is equal in the profiles is equal here."""
    values = values - values.mean(axis=1, keepdims=True) if centred else values
    length = np.linalg.norm(values, axis=1, keepdims=True)
    values = values / np.where(length > 1e-12, length, np.inf)
    return np.round(values @ values.T, 11)


def neighbour_accuracy(values, truth, masked, convention):
    right = []
    for i, row in enumerate(cosines(values)):
        allowed = [j for j in range(len(row)) if j != i and not masked[i, j]]
        if not allowed and convention == "paper":
            continue
        nearest = max(allowed, key=lambda j: (row[j], -j)) if allowed else 0
        right.append(truth[nearest] == truth[i])
    return np.mean(right) if right else np.nan


def mean_precision(values, truth, convention):
    found = []
    for i, row in enumerate(cosines(values, centred=convention == "released")):
        others = np.arange(len(row)) != i
        hit, near = (truth == truth[i])[others], row[others]
        if not hit.any():
            continue
        if convention == "released":
            found.append(average_precision_score(hit, near))
            continue
        precision, before = 0.0, 0.0
        for threshold in np.linspace(0, 1, 100):
            within = 1 - near <= threshold + 1e-10
            recall = hit[within].sum() / hit.sum()
            precision += hit[within].mean() * (recall - before) if within.any() else 0
            before = recall
        found.append(precision)
    return np.mean(found) if found else (0.0 if convention == "released" else np.nan)


def plain(table, convention):
    """Accuracies and mean average precisions, read off the text and the released code."""
    named = table["Metadata_Perturbation"] != ""
    head, values = profile_matrix(table[named & (table["Metadata_Control"] != "negcon")])
    result = {}
    for name, column in (("perturbation", "Metadata_Perturbation"), ("label", "Metadata_Target")):
        kept = (head[column] != "").to_numpy()
        part, some = values[kept], head[kept]
        truth, treated, well = (
            some[c].to_numpy() for c in (column, "Metadata_Perturbation", "Metadata_Well")
        )
        batch = (some["Metadata_Source"] + some["Metadata_Batch"]).to_numpy()
        same_batch, same_truth, same_treated, same_well = (
            of[:, None] == of[None, :] for of in (batch, truth, treated, well)
        )
        masks = {
            ("paper", "perturbation"): {"nn": same_batch & False, "nsb": same_batch},
            ("paper", "label"): {"nsp": same_treated, "nsbp": same_batch | same_treated},
            ("released", "perturbation"): {
                "nn": same_batch & False,
                "nsb": same_batch & same_truth,
            },
            ("released", "label"): {
                "nsp": same_well,
                "nsbp": same_well | (same_batch & same_truth),
            },
        }[convention, name]
        ready = standardise(part) if convention == "released" else part
        for rule, mask in masks.items():
            result[f"{name}_acc_{rule}"] = neighbour_accuracy(ready, truth, mask, convention)
        keys = [batch, treated] if name == "perturbation" else [treated]
        means = pd.DataFrame(part).groupby(keys).mean().to_numpy()
        firsts = some[column].groupby(keys).first().to_numpy()
        result[f"{name}_map"] = mean_precision(means, firsts, convention)
    return result


@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("seed", range(12))
def test_equals_the_plain_reading(tmp_path, seed, convention):
    odd_table(seed).sample(frac=1, random_state=seed).to_csv(tmp_path / "t.csv")
    table = read_profiles(tmp_path / "t.csv")
    got = evaluate(table, "target", convention)
    if convention == "paper":  # of equally near neighbours the first on the plates counts
        key = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_Well"]
        table = table.sort_values([name for name in key if name in table], kind="stable")
    for metric, expected in plain(table, convention).items():
        assert got[metric] == pytest.approx(expected, abs=1e-9, nan_ok=True), metric
