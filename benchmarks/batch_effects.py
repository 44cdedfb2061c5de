"""Seconds of the batch-effect metrics beside other libraries, in one run.

Beside harmonypy's LISI (perplexity 30), scikit-learn's silhouette and, where it is installed,
scib-metrics' three (a first call, which compiles, and warm ones). Every library gets the same
profiles and the labels of 16 batches; scib-metrics also gets our neighbours, so that only the
metric is timed, and so is ours beside it. Short calls are timed three times, the fastest counts.

    python benchmarks/batch_effects.py --wells 8000
    python benchmarks/batch_effects.py --wells 50000 --only ours
"""

import argparse
import resource
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np
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


def timed(work: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    """Seconds and result of one call."""
    start = perf_counter()
    result = work(*args, **options)
    return perf_counter() - start, result


def warm(work: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    """Seconds of the fastest of three calls, and the result."""
    calls = [timed(work, *args, **options) for _ in range(3)]
    return min(seconds for seconds, _ in calls), calls[0][1]


def row(what: str, ours: float, other: float | None = None, gap: float | None = None) -> None:
    """Print a line of the table."""
    rest = "" if other is None else f"{other:12.2f} {other / ours:8.1f}x"
    rest += "" if gap is None else f"   {gap:.1e}"
    print(f"{what:<46}{ours:10.3f} {rest}", flush=True)


def measure(profiles: np.ndarray, batch: np.ndarray, others: bool) -> None:
    """Print the table of one size."""
    seconds = {}
    seconds["silhouette"], ours = warm(silhouette, profiles, batch)
    row("silhouette, cosine", seconds["silhouette"])
    seconds["graph"], graph = timed(nearest_graph, profiles, max(LISI_K))
    row(f"graph of {max(LISI_K)} neighbours", seconds["graph"])
    seconds["connectivity"], connected = warm(graph_connectivity, graph, batch, 15)
    row("graph connectivity, k = 15", seconds["connectivity"])
    # The distance that other libraries know: Euclidean between unit vectors.
    straight = Graph(graph.neighbours, np.sqrt(2 * np.maximum(graph.distance, 0)))
    seconds["lisi"], mixed = warm(lisi, straight, batch, 90)
    row("LISI, k = 90", seconds["lisi"])
    every = timed(
        lambda: (
            [graph_connectivity(graph, batch, k) for k in CONNECTIVITY_K],
            [lisi(graph, batch, k) for k in LISI_K],
        )
    )[0]
    row("all of the paper's k, graph and silhouette", every + sum(list(seconds.values())[:2]))
    if not others:
        return
    rows = unit_rows(profiles)
    spent, expected = warm(silhouette_samples, profiles, batch, metric="cosine")
    gap = np.abs(ours - expected).max()
    row("silhouette, scikit-learn", seconds["silhouette"], spent, gap)
    if find_spec("scib_metrics"):
        scib(rows, batch, straight, seconds, (mixed, connected, ours))
    else:
        print("scib-metrics is not installed: left out")
    if find_spec("harmonypy"):
        import harmonypy

        spent, theirs = timed(harmonypy.compute_lisi, rows, {"b": batch}, ["b"], 30)
        # Versions after 0.0.9 take other neighbourhoods: near, not equal.
        gap = np.abs(mixed - theirs[:, 0]).mean()
        row("LISI with graph, harmonypy", seconds["graph"] + seconds["lisi"], spent, gap)
    else:
        print("harmonypy is not installed: left out")


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
    near = neighbours.subset_neighbors(16)
    mixed, connected, apart = ours
    for what, key, work, args, value in (
        ("LISI", "lisi", theirs.lisi_knn, (neighbours, batch, 30), mixed),
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
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wells", type=int, nargs="+", default=[8000])
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--only", choices=["ours"], help="without the comparison")
    args = parser.parse_args()
    for n in args.wells:
        rng = np.random.default_rng(0)
        batch = np.arange(n) * 16 // n
        profiles = rng.standard_normal((n, args.features))
        profiles += 0.3 * rng.standard_normal((16, args.features))[batch]
        silhouette(profiles[:200], np.arange(200) % 2)  # wakes the thread pool
        head = f"{n} wells x {args.features}"
        print(f"{head:<46}{'ours (s)':>10} {'other (s)':>12} {'ratio':>9}   mean difference")
        measure(profiles, batch, args.only is None)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        row("peak memory so far (GiB)", peak)


if __name__ == "__main__":
    main()
