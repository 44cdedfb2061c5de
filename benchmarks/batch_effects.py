"""Seconds of the batch-effect metrics beside other libraries, in one run.

Every library gets the same profiles and the labels of 16 batches, and is timed on the same work:
harmonypy (perplexity 30) and our LISI both find their neighbours first; scib-metrics' functions
take a finished graph, so they get ours, and ours is timed without building it. Short calls are
timed three times, or once where that takes ten seconds, and the fastest counts. The last part
measures memory, in a process of its own. Where a first look at fewer wells says that all would take
longer than --limit seconds, fewer are taken.

Means differ from scib-metrics' where it does something else: its LISI is float32 and lets far
neighbours underflow, its connectivity wants paths in both directions.

    python benchmarks/batch_effects.py
    python benchmarks/batch_effects.py --parts scikit-learn scib-metrics
    python benchmarks/batch_effects.py --parts memory --large 20000
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _bound import wells_within
from sklearn.metrics import silhouette_samples

from cpssl_lite.metrics.batch import (
    CONNECTIVITY_K,
    LISI_K,
    graph_connectivity,
    lisi,
    silhouette,
)
from cpssl_lite.metrics.graph import Graph, nearest_graph
from cpssl_lite.metrics.similarity import unit_rows

PARTS = ("scikit-learn", "scib-metrics", "harmonypy", "memory")


def draw(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Profiles of 16 batches with a moderate effect."""
    rng = np.random.default_rng(0)
    batch = np.arange(n) * 16 // n
    profiles = rng.standard_normal((n, d))
    profiles += 0.3 * rng.standard_normal((16, d))[batch]
    return profiles, batch


def timed(work: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    """Seconds and result of one call."""
    start = perf_counter()
    result = work(*args, **options)
    return perf_counter() - start, result


def warm(work: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    """Seconds of the fastest of three calls, or of one that is long, and the result."""
    calls = [timed(work, *args, **options)]
    while len(calls) < 3 and calls[0][0] < 10:
        calls.append(timed(work, *args, **options))
    return min(seconds for seconds, _ in calls), calls[0][1]


def row(what: str, ours: float, other: float | None = None, gap: float | None = None) -> None:
    """Print a line of the table."""
    rest = "" if other is None else f"{other:12.3f} {other / ours:8.1f}x"
    rest += "" if gap is None else f"   {gap:.1e}"
    print(f"{what:<48}{ours:10.4f} {rest}", flush=True)


def every(profiles: np.ndarray, batch: np.ndarray) -> None:
    """All that a feature type of the chapter needs: the graph once, every k of the paper."""
    graph = nearest_graph(profiles, max(LISI_K))
    silhouette(profiles, batch)
    for k in CONNECTIVITY_K:
        graph_connectivity(graph, batch, k)
    for k in LISI_K:
        lisi(graph, batch, k)


def first_call() -> float:
    """Seconds of the very first calls on a machine, which compile, beyond those of the second."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from batch_effects import draw, every;"
        "data = draw(500, 30); start = time.perf_counter(); every(*data);"
        "middle = time.perf_counter(); every(*data);"
        "print(2 * middle - start - time.perf_counter())"
    )
    with tempfile.TemporaryDirectory() as empty:
        told = subprocess.run(
            [sys.executable, "-c", code, os.path.dirname(__file__)],
            env=os.environ | {"NUMBA_CACHE_DIR": empty},
            stdout=subprocess.PIPE,
            check=True,
        )
    return float(told.stdout)


def compare(profiles: np.ndarray, batch: np.ndarray, parts: list[str]) -> None:
    """Print the table of one size."""
    head = f"{len(profiles)} wells x {profiles.shape[1]}"
    print(f"{head:<48}{'ours (s)':>10} {'other (s)':>12} {'ratio':>9}   mean difference")
    row("first calls ever (compiling), beyond later ones", first_call())
    seconds = {}
    every(*draw(500, 30))  # wakes the threads
    seconds["silhouette"], apart = warm(silhouette, profiles, batch)
    row("silhouette, cosine", seconds["silhouette"])
    seconds["graph"], graph = warm(nearest_graph, profiles, max(LISI_K))
    row(f"graph of {max(LISI_K)} neighbours", seconds["graph"])
    seconds["connectivity"], connected = warm(graph_connectivity, graph, batch, 15)
    row("graph connectivity, k = 15, graph given", seconds["connectivity"])
    # The distance that other libraries know: Euclidean between unit vectors.
    straight = Graph(graph.neighbours, np.sqrt(2 * np.maximum(graph.distance, 0)))
    seconds["lisi"], mixed = warm(lisi, straight, batch, 90)
    row("LISI, k = 90, graph given", seconds["lisi"])
    row("all three with the graph, every k of the paper", warm(every, profiles, batch)[0])

    if "scikit-learn" in parts:
        spent, expected = warm(silhouette_samples, profiles, batch, metric="cosine")
        gap = np.abs(apart - expected).mean()
        row("silhouette, scikit-learn", seconds["silhouette"], spent, gap)
    if "scib-metrics" in parts and installed("scib-metrics", "scib_metrics"):
        scib(unit_rows(profiles), batch, straight, seconds, (mixed, connected, apart))
    if "harmonypy" in parts and installed("harmonypy", "harmonypy"):
        import harmonypy

        labels = pd.DataFrame({"b": batch})
        spent, theirs = timed(harmonypy.compute_lisi, unit_rows(profiles), labels, ["b"], 30)
        # Versions after 0.0.9 take other neighbourhoods: near, not equal.
        gap = np.abs(mixed - theirs[:, 0]).mean()
        both = seconds["graph"] + seconds["lisi"]
        row(f"graph and LISI, harmonypy {version('harmonypy')}", both, spent, gap)


def installed(name: str, module: str) -> bool:
    """Whether a library is there; say so if not."""
    if not find_spec(module):
        print(f"{name} is not installed: left out (pip install -e .[bench])")
    return find_spec(module) is not None


def scib(
    rows: np.ndarray, batch: np.ndarray, graph: Graph, seconds: dict[str, float], ours: Any
) -> None:
    """Time scib-metrics on the same neighbours, a first call and the best of three warm ones."""
    import scib_metrics as theirs
    from scib_metrics.nearest_neighbors import NeighborsResults

    itself = np.arange(len(rows))[:, None]
    neighbours = NeighborsResults(
        indices=np.hstack([itself, graph.neighbours]),
        distances=np.hstack([np.zeros(itself.shape), graph.distance]),
    )
    wide, near = neighbours.subset_neighbors(90), neighbours.subset_neighbors(16)  # with itself
    mixed, connected, apart = ours
    for what, key, work, args, value in (
        ("LISI", "lisi", theirs.lisi_knn, (wide, batch, 30), mixed),
        ("connectivity", "connectivity", theirs.graph_connectivity, (near, batch), connected),
        ("silhouette", "silhouette", theirs.utils.silhouette_samples, (rows, batch), apart),
    ):
        options = {"metric": "cosine"} if key == "silhouette" else {}
        first, result = timed(work, *args, **options)
        again = warm(work, *args, **options)[0]
        gap = float(np.abs(np.asarray(result) - value).mean())
        row(f"{what}, scib-metrics, first call", seconds[key], first)
        row(f"{what}, scib-metrics, warm", seconds[key], again, gap)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--wells", type=int, default=8000)
    parser.add_argument("--large", type=int, default=50_000, help="wells of the memory part")
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--limit", type=float, default=300, help="seconds for each part, about")
    parser.add_argument("--ours-alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ours_alone:
        # Its memory is that of the wells that are measured: a look at fewer adds nothing.
        args.large = wells_within(
            "memory", args.large, lambda n: every(*draw(n, args.features)), args.limit, probe=4000
        )
        spent = timed(every, *draw(args.large, args.features))[0]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        what = f"{args.large} wells x {args.features}: graph and all three"
        print(f"\n{what}: {spent:.1f} s, peak memory {peak:.2f} GiB")
        return
    if set(args.parts) != {"memory"}:
        parts = list(args.parts)
        n = wells_within(
            *("wells", args.wells, lambda n: compare(*draw(n, args.features), parts), args.limit)
        )
        compare(*draw(n, args.features), parts)
    if "memory" in args.parts:
        sizes = ["--large", str(args.large), "--features", str(args.features)]
        sizes += ["--limit", str(args.limit)]
        subprocess.run([sys.executable, __file__, "--ours-alone", *sizes], check=True)


if __name__ == "__main__":
    main()
