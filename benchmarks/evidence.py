"""CPU seconds of activity and distinctiveness with p and q, beside copairs; and of many wells.

A screen of treated wells in 16 replicates and 4% negative controls over plates of 384. Activity
ranks a well's replicates against the controls of its plate, distinctiveness against all other
treated wells; p from a null of 100,000 rankings here and there, q by Benjamini and Hochberg.

growth      this package alone, with its peak memory so far
copairs     beside copairs: average precision, p and the fraction with q below 0.05. It keeps a list
            of all pairs and its null in memory (some 12 GB for 8,000 wells)

    python benchmarks/evidence.py [--parts growth copairs]

Compiled functions are called once before anything is timed. Where a first look at fewer wells
says that a part would take longer than --limit seconds, it gets fewer wells and says so.
"""

import argparse
import resource
import tempfile
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from _bound import wells_within

from cpssl_lite.metrics.pairs import Pairs
from cpssl_lite.metrics.ranking import ranking
from cpssl_lite.metrics.significance import NULL_SIZE, group_evidence, q_values

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # mean AP, p and q of each perturbation
QUESTIONS = ("activity", "distinctiveness")


def screen(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Profiles (n, d), perturbations (-1 for controls) and plates; half of them have an effect."""
    rng = np.random.default_rng(seed)
    plates = max(n // 384, 1)
    treatment = rng.permutation(np.append(np.full(n // 25, -1), np.arange(n - n // 25) // 16))
    effect = rng.standard_normal((treatment.max() + 2, d)).astype(np.float32)
    effect[::2] = 0
    effect[-1] = 0
    profiles = rng.standard_normal((n, d), dtype=np.float32)
    profiles += np.float32(0.25) * effect[treatment]
    return profiles, treatment, np.arange(n) % plates


def ours(
    question: str, profiles: np.ndarray, treatment: np.ndarray, plate: np.ndarray, null: int
) -> Found:
    """Mean average precision, p and q of every perturbation."""
    control = treatment < 0
    negatives = (
        Pairs(same=[plate], among=control)
        if question == "activity"
        else Pairs(different=[treatment], among=~control)
    )
    rule = Pairs(same=[treatment]), negatives
    found = ranking(profiles, [rule], queries=~control)[0]
    groups = group_evidence(*found[:3], treatment, null)
    return groups.precision, groups.p, q_values(groups.p)


def theirs(
    question: str, profiles: np.ndarray, treatment: np.ndarray, plate: np.ndarray, null: int
) -> Found:
    """The same by copairs."""
    from copairs.map import average_precision, mean_average_precision

    index = np.arange(len(treatment))
    meta = pd.DataFrame({"treatment": treatment, "plate": plate})
    meta["reference"] = np.where(treatment < 0, index, -1)
    kept = (treatment >= 0) | (question == "activity")
    same = ["treatment", "reference"]
    found = average_precision(
        meta[kept].reset_index(drop=True),
        profiles[kept].astype(np.float64),
        pos_sameby=same,
        pos_diffby=[],
        neg_sameby=["plate"] if question == "activity" else [],
        neg_diffby=same if question == "activity" else ["treatment"],
        progress_bar=False,
    )
    found = found[found["treatment"] >= 0]
    with tempfile.TemporaryDirectory() as folder:  # its null is kept on disk: none from before
        how: dict[str, Any] = {"progress_bar": False, "cache_dir": folder}
        means = mean_average_precision(found, ["treatment"], null, 0.05, 0, **how)
    names = ("mean_average_precision", "p_value", "corrected_p_value")
    precision, p, q = (means[name].to_numpy() for name in names)
    return precision, p, q


def timed(work: Any, *args: Any) -> tuple[float, Found]:
    """CPU seconds and result of one call."""
    start = process_time()
    found = work(*args)
    return process_time() - start, found


def growth(n: int, d: int, null: int) -> None:
    """Time this package alone."""
    data = screen(n, d)
    for question in QUESTIONS:
        seconds, (_, _, q) = timed(ours, question, *data, null)
        print(f"{question:<20}{n:>8}{seconds:10.2f}{'':28}{np.mean(q < 0.05):12.3f}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'peak memory (GiB)':<20}{n:>8}{peak:10.2f}", flush=True)


def copairs(n: int, d: int, null: int) -> None:
    """Compare with copairs."""
    data = screen(n, d)
    total = np.zeros(2)
    for question in QUESTIONS:
        mine, (precision, p, q) = timed(ours, question, *data, null)
        other, (reference, p_other, q_other) = timed(theirs, question, *data, null)
        total += mine, other
        gaps = [np.abs(a - b).max() for a, b in ((precision, reference), (p, p_other))]
        print(
            f"{question:<20}{n:>8}{mine:10.2f}{other:12.2f}{other / mine:8.1f}x"
            f"{np.mean(q < 0.05):19.3f}{np.mean(q_other < 0.05):9.3f}"
            f"   {gaps[0]:.1e}  {gaps[1]:.1e}",
            flush=True,
        )
        odd = np.abs(precision - reference) > 1e-6
        if odd.any():
            print(
                f"  {odd.sum()} of {len(odd)} means of AP differ by more than 1e-6: copairs ranks"
            )
            print("  similarities rounded to float32, and puts the positives first of equals")
    print(f"{'both':<20}{n:>8}{total[0]:10.2f}{total[1]:12.2f}{total[1] / total[0]:8.1f}x")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ["growth", "copairs"]
    parser.add_argument("--parts", nargs="*", choices=parts, default=parts)
    parser.add_argument("--growth", type=int, nargs="*", default=[8000, 20_000, 100_000])
    parser.add_argument("--wells", type=int, default=8000, help="for copairs")
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--null", type=int, default=NULL_SIZE)
    parser.add_argument("--limit", type=float, default=600, help="seconds for each part, about")
    args = parser.parse_args()
    print(
        f"{'':<20}{'wells':>8}{'ours (s)':>10}{'copairs (s)':>12}{'ratio':>9}"
        f"{'q < 0.05: ours':>19}{'copairs':>9}   largest difference of AP, p"
    )
    for question in QUESTIONS:
        ours(question, *screen(400, 8), 1000)
    rest = args.features, args.null
    if "growth" in args.parts:
        for wanted in sorted(args.growth):
            probe = {"limit": args.limit, "probe": 4000}
            n = wells_within("growth", wanted, lambda n: growth(n, *rest), **probe)
            growth(n, *rest)
            if n < wanted:  # larger ones would be this one again
                break
    if "copairs" in args.parts:
        n = wells_within("copairs", args.wells, lambda n: copairs(n, *rest), args.limit)
        copairs(n, *rest)


if __name__ == "__main__":
    main()
