"""How long does the feature network train beside the fastest image network?

    python benchmarks/bioactivity.py [IMAGE_TABLE LABELS]

Same screen, labels and split; each network by its small preset, which gives the feature network
100 epochs and the six image networks 25. Training includes validation and prediction; getting the
inputs (DINO features, small images) is timed by itself. A network whose first two epochs say that
its preset would take longer than LIMIT seconds gets fewer epochs; the table says so, and its time
is scaled to all of them. Without arguments a screen of 80 compounds is drawn. The ratio is of the
same work in one run, also per epoch.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from cpssl_lite.bioactivity.cross_validation import cross_validate
from cpssl_lite.bioactivity.labels import COMPOUND, draw_splits, match_labels, read_labels
from cpssl_lite.bioactivity.presets import CNNS, SMALL
from cpssl_lite.bioactivity.views import read_cells, read_views
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.models.roofline import affordable
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import profile_matrix, read_profiles

LIMIT = 60  # seconds of training for one network, about


def main(table: str = "", labels: str = "") -> None:
    """Time all seven on one split."""
    with tempfile.TemporaryDirectory() as folder:
        if not table:
            drawn = simulate(
                *("lite", folder), n_sources=1, n_batches=1, n_plates=2, n_sites=1, n_targets=40
            )
            table, labels = str(drawn), str(drawn.parent / "assays.parquet")
        measure(table, labels, Path(folder))


def measure(table: str, labels: str, folder: Path) -> None:
    """Print seconds for inputs and for training, and the ratio."""
    images = read_image_table(table)
    images = images[images["Metadata_Control"] != "negcon"].reset_index(drop=True)
    who = images[COMPOUND].to_numpy()
    found = match_labels(read_labels(labels), who, strict=False)
    split = draw_splits(found)[["split_1"]]
    print(f"{len(images)} fields, {len(found)} compounds, {found.shape[1]} assays, one split")
    print(f"{'':<10}{'inputs':>9}{'training':>10}{'epochs':>8}{'an epoch':>10}   seconds")
    seconds: dict[str, float] = {}

    def train(name: str, inputs: np.ndarray, names: np.ndarray) -> float:
        start = perf_counter()
        cross_validate(name, inputs, names, found, split)
        return perf_counter() - start

    def clock(name: str, inputs: np.ndarray, names: np.ndarray, ready_in: float) -> None:
        preset = SMALL[name]
        SMALL[name] = replace(preset, epochs=2)
        two = train(name, inputs, names)
        epochs = affordable(preset.epochs, two / 2, LIMIT)
        SMALL[name] = replace(preset, epochs=epochs)
        each = train(name, inputs, names) / epochs
        SMALL[name], seconds[name] = preset, each * preset.epochs
        cut = f"   scaled from {epochs} epochs" if epochs < preset.epochs else ""
        line = f"{name:<10}{ready_in:9.1f}{seconds[name]:10.1f}{preset.epochs:8d}{each:10.3f}{cut}"
        print(line, flush=True)

    cross_validate("FNN", np.zeros((len(who), 2)), who, found, split)  # warm-up: libraries load
    start = perf_counter()
    out = extract(images, load_encoder(SHIPPED["DINO"]), folder / "DINO.parquet")
    head, values = profile_matrix(read_profiles(out))
    clock("FNN", values, head[COMPOUND].to_numpy(), perf_counter() - start)
    inputs = {}
    for read in (read_views, read_cells):
        start = perf_counter()
        inputs[read] = (*read(images), perf_counter() - start)
    for name in CNNS:
        pixels, rows, ready_in = inputs[read_cells if name == "SC-CNN" else read_views]
        clock(name, pixels, who[rows], ready_in)
    fastest = min(CNNS, key=lambda name: seconds[name])
    ratio = seconds[fastest] / seconds["FNN"]
    epoch = ratio * SMALL["FNN"].epochs / SMALL[fastest].epochs
    print(
        f"training: {fastest}, the fastest of six, takes {ratio:.1f} times as long as the feature "
        f"network; an epoch of it {epoch:.0f} times as long"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
