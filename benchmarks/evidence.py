"""CPU seconds of activity and distinctiveness with p and q, beside copairs; and of many wells.

A screen of treated wells in 16 replicates and 4% negative controls over plates of 384. Activity
ranks a well's replicates against the controls of its plate, distinctiveness against all other
treated wells; p from a null of 100,000 rankings here and there, q by Benjamini and Hochberg.

growth      this package alone, with its peak memory
copairs     beside copairs: average precision, p and the fraction with q below 0.05. It keeps a list
            of all pairs and its null in memory (some 12 GB for 8,000 wells)

    python benchmarks/evidence.py [--parts growth copairs]

Every line is a process of its own, in which what is compiled or imported was called once before
anything is timed. One that needs more than --limit CPU seconds is ended, and its ratio is a bound.
"""

import argparse
import resource
import signal
import tempfile
from multiprocessing import get_context
from time import process_time
from typing import Any

import numpy as np
import pandas as pd

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


def timed(work: Any, question: str, n: int, d: int, null: int) -> tuple[float, float, Found]:
    """CPU seconds, peak memory (GiB) and result of one call, after one with few wells."""
    work(question, *screen(400, 8), 1000)
    data = screen(n, d)
    start = process_time()
    found = work(question, *data, null)
    seconds = process_time() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, found


def _timed(limit: int, send: Any, *what: Any) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 10))
    send.send(timed(*what))


def alone(limit: int, *what: Any) -> tuple[float, float, Found] | None:
    """`timed` in a process of its own; None if it needed more than `limit` CPU seconds."""
    context = get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_timed, args=(limit, send, *what))
    process.start()
    send.close()  # only the process has it now: if that ends, so does the pipe
    try:
        return receive.recv()  # type: ignore[no-any-return]
    except EOFError:
        process.join()
        if process.exitcode != -signal.SIGXCPU:
            raise SystemExit(f"{what[1]}: the process ended with {process.exitcode}") from None
        return None


def growth(n: int, d: int, null: int, limit: int) -> None:
    """Time this package alone."""
    for question in QUESTIONS:
        done = alone(limit, ours, question, n, d, null)
        if done is None:
            print(f"{question:<16}{n:>8}   more than {limit} s")
            continue
        share = np.mean(done[2][2] < 0.05)
        print(f"{question:<16}{n:>8}{done[0]:9.2f}{done[1]:7.2f}{share:44.3f}", flush=True)


def copairs(n: int, d: int, null: int, limit: int) -> None:
    """Compare with copairs."""
    total, more = np.zeros(2), ""
    for question in QUESTIONS:
        mine, peak, (precision, p, q) = alone(limit, ours, question, n, d, null)  # type: ignore[misc]
        other = alone(limit, theirs, question, n, d, null)
        seconds, memory = (limit, np.nan) if other is None else other[:2]
        more = ">" if other is None else more
        total += mine, seconds
        line = f"{question:<16}{n:>8}{mine:9.2f}{peak:7.2f}{seconds:13.2f}{memory:7.2f}"
        line += f"{more + format(seconds / mine, '.1f'):>10}x{np.mean(q < 0.05):13.3f}"
        if other is None:
            print(f"{line}   copairs was ended after {limit} CPU seconds", flush=True)
            continue
        reference, p_other, q_other = other[2]
        gaps = [np.abs(a - b).max() for a, b in ((precision, reference), (p, p_other))]
        print(f"{line}{np.mean(q_other < 0.05):9.3f}   {gaps[0]:.1e}  {gaps[1]:.1e}", flush=True)
        odd = np.abs(precision - reference) > 1e-6
        if odd.any():
            print(
                f"  {odd.sum()} of {len(odd)} means of AP differ by more than 1e-6: copairs ranks"
            )
            print("  similarities rounded to float32, and puts the positives first of equals")
    ratio = more + format(total[1] / total[0], ".1f")
    print(f"{'both':<16}{n:>8}{total[0]:9.2f}{'':7}{total[1]:13.2f}{'':7}{ratio:>10}x")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ["growth", "copairs"]
    parser.add_argument("--parts", nargs="*", choices=parts, default=parts)
    parser.add_argument("--growth", type=int, nargs="*", default=[8000, 20_000, 100_000])
    parser.add_argument("--wells", type=int, nargs="*", default=[2000, 8000], help="for copairs")
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--null", type=int, default=NULL_SIZE)
    parser.add_argument("--limit", type=int, default=900, help="CPU seconds for each line")
    args = parser.parse_args()
    print(
        f"{'':<16}{'wells':>8}{'ours (s)':>9}{'GiB':>7}{'copairs (s)':>13}{'GiB':>7}{'ratio':>11}"
        f"{'q<.05: ours':>13}{'copairs':>9}   largest difference of AP, p"
    )
    how = args.features, args.null, args.limit
    for n in args.growth if "growth" in args.parts else ():
        growth(n, *how)
    for n in args.wells if "copairs" in args.parts else ():
        copairs(n, *how)


if __name__ == "__main__":
    main()
