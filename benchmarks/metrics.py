"""Seconds of this package's metrics beside plain scikit-learn, copairs and pycytominer.

The plain version is written for the comparison: one full distance matrix per metric, masks of
n x n, `average_precision_score` row by row, in float64. Parts, each of which can be asked for:

growth      this package alone on more and more wells, with the constant of its quadratic growth
plain       beside the plain version, in total and one by one
copairs     its average precision; it sorts distances rounded to float32, so wherever it differs
            from the exact value it is shown to be that of rounded distances
normalise   sphering and MAD robustize beside pycytominer

    python benchmarks/metrics.py [--parts growth plain copairs normalise]

Growth comes first, so that its peak memory is this package's own. Compiled functions, here and in
copairs, are called once on a small table before anything is timed. Where a first look at fewer
wells says that a part would take longer than --limit seconds, it gets fewer wells and says so.
"""

import argparse
import resource
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _bound import wells_within
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
    distance = cosine_distances(profiles)
    values = []
    for i, row in enumerate(distance):
        others = np.arange(len(profiles)) != i
        values.append(average_precision_score((labels == labels[i])[others], -row[others]))
    return np.array(values)


def rounded_average_precision(
    profiles: np.ndarray, labels: np.ndarray, queries: np.ndarray
) -> np.ndarray:
    """The same with distances rounded to float32, of equal ones the hits first."""
    distance = cosine_distances(profiles[queries], profiles).astype(np.float32)
    values = []
    for i, row in zip(queries, distance, strict=True):
        others = np.arange(len(profiles)) != i
        hit = (labels == labels[i])[others]
        hit = hit[np.lexsort([~hit, row[others]])]
        values.append((hit.cumsum() / np.arange(1, len(hit) + 1))[hit].mean())
    return np.array(values)


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
    print(f"{what:<40}{n:>8}{ours:10.2f} {rest}", flush=True)


def jobs(n: int, d: int) -> list[tuple[str, Callable[..., Any], Callable[..., Any], Any]]:
    """Name, ours, plain and arguments of what is timed."""
    data = screen(n, d)
    profiles, treatment, label = data["profiles"], data["perturbation"], data["label"]
    return [
        ("NN, NSB, NSP, NSBP accuracy", ours_accuracies, plain_accuracies, (data,)),
        ("perturbation AP", average_precision, plain_average_precision, (profiles, treatment)),
        ("label AP", average_precision, plain_average_precision, (profiles, label)),
        ("precision, recall at k", ours_precision_at_k, plain_precision_at_k, (profiles, label)),
    ]


def growth(n: int, d: int) -> None:
    """Time this package alone."""
    total = 0.0
    for what, ours, _, args in jobs(n, d):
        seconds, _ = timed(ours, *args)
        total += seconds
        row(what, n, seconds)
    row("all", n, total)
    row("all, seconds per 1e9 pairs", n, total / (n / 1e9 * n))
    row("peak memory so far (GiB)", n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def plain(n: int, d: int) -> None:
    """Compare with the plain version."""
    total = np.zeros(2)
    for what, ours, theirs, args in jobs(n, d):
        seconds, value = timed(ours, *args)
        other, reference = timed(theirs, *args)
        total += seconds, other
        row(what, n, seconds, other, float(np.nanmax(np.abs(value - reference))))
    row("all", n, *total)


def copairs(n: int, d: int) -> None:
    """Compare average precisions with those of copairs."""
    for what, ours, _, args in jobs(n, d)[1:3]:
        seconds, value = timed(ours, *args)
        other, reference = timed(copairs_average_precision, *args)
        gap = np.abs(value - reference)
        row(f"{what}, copairs", n, seconds, other, float(gap.max()))
        odd = np.flatnonzero(gap > 1e-9)
        if len(odd):
            left = np.abs(reference[odd] - rounded_average_precision(*args, odd)).max()
            print(
                f"  {len(odd)} queries differ; there, distances rounded to float32 with the hits "
                f"first of equals give copairs' values to {left:.1e}"
            )


def warm_up(parts: list[str]) -> None:
    """Call once what compiles."""
    data = screen(64, 8)
    start = perf_counter()
    ours_accuracies(data)
    average_precision(data["profiles"], data["label"])
    ours_precision_at_k(data["profiles"], data["label"])
    row("first calls", 64, perf_counter() - start)
    if "copairs" in parts:
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
    theirs = _pycytominer(profiles, plates, controls)
    for what, (seconds, value) in ours.items():
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
    parts = ["growth", "plain", "copairs", "normalise"]
    parser.add_argument("--parts", nargs="*", choices=parts, default=parts)
    parser.add_argument("--growth", type=int, nargs="*", default=[10_000, 20_000, 50_000, 100_000])
    parser.add_argument("--wells", type=int, default=8000, help="for plain and copairs")
    parser.add_argument("--normalise", type=int, default=16_000, help="wells")
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--limit", type=float, default=300, help="seconds for each part, about")
    args = parser.parse_args()
    print(
        f"{'':<40}{'wells':>8}{'ours (s)':>10} {'other (s)':>12} {'ratio':>9}   largest difference"
    )
    warm_up(args.parts)

    def wells(what: str, wanted: int, part: Callable[..., None], **how: int) -> int:
        return wells_within(what, wanted, lambda n: part(n, args.features), args.limit, **how)

    if "growth" in args.parts:
        for wanted in sorted(args.growth):
            n = wells("growth", wanted, growth, probe=4000)
            growth(n, args.features)
            if n < wanted:  # larger ones would be this one again
                break
    if "plain" in args.parts:
        plain(wells("plain", args.wells, plain), args.features)
    if "copairs" in args.parts:
        copairs(wells("copairs", args.wells, copairs), args.features)
    if "normalise" in args.parts:
        n = wells("normalise", args.normalise, normalisation, probe=2000, power=1)
        normalisation(n, args.features)


if __name__ == "__main__":
    main()
