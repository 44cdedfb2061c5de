"""Seconds of this package's metrics beside plain scikit-learn, in one run.

The plain version is written for the comparison: one full distance matrix per metric, masks of
n x n, `average_precision_score` row by row. Where copairs or pycytominer are installed, their
average precision and normalisation stand beside it.

    python benchmarks/metrics.py

Growth comes first, so that its peak memory is this package's own. Compiled functions, here and in
copairs, are called once on a small table before anything is timed.
"""

import argparse
import resource
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, average_precision_score
from sklearn.metrics.pairwise import cosine_distances

from cpssl_lite.metrics.nearest import nearest_accuracies
from cpssl_lite.metrics.retrieval import average_precision, precision_recall_at_k
from cpssl_lite.profiles.normalize import mad_robustize, sphere

K = tuple(range(1, 50, 2))


def screen(n: int, d: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Profiles (n, d) with a weak signal of n/16 perturbations, 2 per label, in 16 batches."""
    rng = np.random.default_rng(seed)
    treatment = np.arange(n) % max(n // 16, 1)
    signal = rng.standard_normal((treatment.max() + 1, d))
    return {
        "profiles": rng.standard_normal((n, d)) + 0.3 * signal[treatment],
        "perturbation": treatment,
        "label": treatment // 2,
        "batch": np.arange(n) * 16 // n,
    }


def plain_accuracies(data: dict[str, np.ndarray]) -> np.ndarray:
    """NN, NSB, NSP and NSBP accuracy from one distance matrix and n x n masks."""
    distance = cosine_distances(data["profiles"])
    np.fill_diagonal(distance, np.inf)
    same = {k: data[k][:, None] == data[k][None, :] for k in ("batch", "perturbation")}
    none = np.zeros_like(distance, dtype=bool)
    values = []
    for mask, truth in (
        (none, "perturbation"),
        (same["batch"], "perturbation"),
        (same["perturbation"], "label"),
        (same["batch"] | same["perturbation"], "label"),
    ):
        nearest = np.where(mask, np.inf, distance).argmin(axis=1)
        values.append(accuracy_score(data[truth], data[truth][nearest]))
    return np.array(values)


def plain_average_precision(profiles: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """scikit-learn's average precision, one query after the other."""
    similarity = 1 - cosine_distances(profiles)
    others = ~np.eye(len(profiles), dtype=bool)
    return np.array(
        [
            average_precision_score((labels == labels[i])[others[i]], similarity[i, others[i]])
            for i in range(len(profiles))
        ]
    )


def plain_precision_at_k(profiles: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Precision and recall at k from a full argsort."""
    distance = cosine_distances(profiles)
    np.fill_diagonal(distance, np.inf)
    hit = labels[np.argsort(distance, axis=1)[:, : max(K)]] == labels[:, None]
    hits = hit.cumsum(axis=1)[:, np.array(K) - 1]
    size = np.bincount(labels)[labels] - 1
    return np.concatenate([(hits / K).mean(axis=0), (hits / size[:, None]).mean(axis=0)])


def ours_accuracies(data: dict[str, np.ndarray]) -> np.ndarray:
    """The same four from this package."""
    return np.array(list(nearest_accuracies(**data).values()))


def ours_precision_at_k(profiles: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The same curve from this package."""
    curve = precision_recall_at_k(profiles, labels, K)
    return np.concatenate([curve.precision, curve.recall])


def copairs_average_precision(profiles: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of copairs (cosine), where it is installed."""
    from copairs.map import average_precision as theirs

    meta = pd.DataFrame({"label": labels.astype(str)})
    found = theirs(
        meta, profiles, pos_sameby=["label"], pos_diffby=[], neg_sameby=[], neg_diffby=["label"]
    )
    return found["average_precision"].to_numpy()


def timed(work: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Seconds and result of one call."""
    start = perf_counter()
    result = work(*args)
    return perf_counter() - start, result


def row(
    what: str, n: int, ours: float, other: float | None = None, gap: float | None = None
) -> None:
    """Print a line of the table."""
    rest = "" if other is None else f"{other:12.2f} {other / ours:8.1f}x"
    rest += "" if gap is None else f"   {gap:.1e}"
    print(f"{what:<36}{n:>8}{ours:10.2f} {rest}", flush=True)


def metrics(n: int, d: int, compare: bool) -> None:
    """Compare the metrics on one size."""
    data = screen(n, d)
    profiles, treatment, label = data["profiles"], data["perturbation"], data["label"]
    jobs = [
        ("NN, NSB, NSP, NSBP accuracy", ours_accuracies, plain_accuracies, (data,)),
        ("perturbation AP", average_precision, plain_average_precision, (profiles, treatment)),
        ("label AP", average_precision, plain_average_precision, (profiles, label)),
        ("precision, recall at k", ours_precision_at_k, plain_precision_at_k, (profiles, label)),
    ]
    total = np.zeros(2)
    for what, ours, plain, args in jobs:
        seconds, value = timed(ours, *args)
        total[0] += seconds
        if not compare:
            row(what, n, seconds)
            continue
        other, reference = timed(plain, *args)
        total[1] += other
        row(what, n, seconds, other, float(np.nanmax(np.abs(value - reference))))
        if ours is average_precision and find_spec("copairs"):
            other, reference = timed(copairs_average_precision, *args)
            row(f"{what}, copairs", n, seconds, other, float(np.nanmax(np.abs(value - reference))))
    row("all", n, total[0], total[1] if compare else None)
    if not compare:
        row("all, per 1e9 pairs", n, total[0] / (n / 1e9 * n))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        row("peak memory so far (GiB)", n, peak)


def warm_up() -> None:
    """Call once what compiles."""
    data = screen(64, 8)
    start = perf_counter()
    ours_accuracies(data)
    average_precision(data["profiles"], data["label"])
    ours_precision_at_k(data["profiles"], data["label"])
    row("first calls", 64, perf_counter() - start)
    if find_spec("copairs"):
        copairs_average_precision(data["profiles"], np.arange(64) // 2)


def normalisation(n: int, d: int) -> None:
    """Time sphering and MAD robustize on plates of 384 wells with 128 controls."""
    profiles = screen(n, d)["profiles"]
    plates = np.arange(n) // 384
    controls = np.arange(n) % 384 < 128
    ours = {
        "sphere": timed(sphere, profiles, controls),
        "mad_robustize": timed(mad_robustize, profiles, plates),
    }
    theirs = _pycytominer(profiles, plates, controls) if find_spec("pycytominer") else {}
    for what, (seconds, value) in ours.items():
        if what not in theirs:
            row(what, n, seconds)
            continue
        other, reference = theirs[what]
        # pycytominer's sphering divides by n - 1: the same up to a factor.
        factor = np.sqrt((controls.sum() - 1) / controls.sum()) if what == "sphere" else 1.0
        row(
            f"{what}, pycytominer",
            n,
            seconds,
            other,
            float(np.abs(value * factor - reference).max()),
        )


def _pycytominer(profiles: np.ndarray, plates: np.ndarray, controls: np.ndarray) -> dict[str, Any]:
    from pycytominer import normalize

    names = [f"Cells_{i}" for i in range(profiles.shape[1])]
    table = pd.DataFrame(profiles, columns=names)
    table["Metadata_Control"] = np.where(controls, "negcon", "trt")

    def spherize() -> np.ndarray:
        done = normalize(
            table,
            features=names,
            meta_features=["Metadata_Control"],
            samples="Metadata_Control == 'negcon'",
            method="spherize",
            spherize_method="ZCA-cor",
            spherize_center=True,
        )
        return done[names].to_numpy()

    def robustize() -> np.ndarray:
        parts = [
            normalize(
                part,
                features=names,
                meta_features=["Metadata_Control"],
                method="mad_robustize",
                mad_robustize_epsilon=1e-18,
            )[names]
            for _, part in table.groupby(plates)
        ]
        return pd.concat(parts).to_numpy()

    return {"sphere": timed(spherize), "mad_robustize": timed(robustize)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"type": int, "nargs": "*"}
    parser.add_argument("--growth", **sizes, default=[10_000, 20_000, 50_000, 100_000])
    parser.add_argument("--compare", **sizes, default=[8000])
    parser.add_argument("--normalise", **sizes, default=[16_000])
    parser.add_argument("--features", type=int, default=384)
    args = parser.parse_args()
    print(
        f"{'':<36}{'wells':>8}{'ours (s)':>10} {'other (s)':>12} {'ratio':>9}   largest difference"
    )
    warm_up()
    for n in args.growth:
        metrics(n, args.features, compare=False)
    for n in args.compare:
        metrics(n, args.features, compare=True)
    for n in args.normalise:
        normalisation(n, args.features)


if __name__ == "__main__":
    main()
