"""How long does the feature network train beside the fastest image network?

    python benchmarks/bioactivity.py [IMAGE_TABLE LABELS]

Same screen, labels, splits, epochs as published presets say (small preset); times are of training
and prediction, and of getting the inputs: extraction of DINO features, reading of small images.
Without arguments a screen of 80 compounds is drawn. Prints seconds and their ratio in one run.
"""

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from cpssl_lite.bioactivity import cross_validate
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.bioactivity.views import read_cells, read_views
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.labels import draw_splits, match_labels, read_labels
from cpssl_lite.profiles.table import profile_matrix, read_profiles

CANDIDATES = ("GapNet", "SC-CNN", "DenseNet")  # the cheap ones; the fastest is measured against


def main(table: str = "", labels: str = "") -> None:
    """Time both, on one split."""
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
    who = images["Metadata_Perturbation"].to_numpy()
    found = match_labels(read_labels(labels), who, strict=False)
    split = draw_splits(found)[["split_1"]]
    print(f"{len(images)} fields, {len(found)} compounds, {found.shape[1]} assays, one split")
    print(f"{'':<18}{'inputs':>9}{'training':>10}   seconds")
    seconds = {}

    def clock(name: str, inputs: np.ndarray, names: np.ndarray, started: float) -> None:
        ready = perf_counter()
        cross_validate(name, inputs, names, found, split)
        seconds[name] = perf_counter() - ready
        print(f"{name:<18}{ready - started:9.1f}{seconds[name]:10.1f}")

    cross_validate("FNN", np.zeros((len(who), 2)), who, found, split)  # warm-up: libraries load
    start = perf_counter()
    out = extract(images, load_encoder(SHIPPED["DINO"]), folder / "DINO.parquet")
    head, values = profile_matrix(read_profiles(out))
    clock("FNN", values, head["Metadata_Perturbation"].to_numpy(), start)
    for name in CANDIDATES:
        start = perf_counter()
        pixels, rows = (read_cells if name == "SC-CNN" else read_views)(images)
        clock(name, pixels, who[rows], start)
    fastest = min(CANDIDATES, key=lambda name: seconds[name])
    ratio = seconds[fastest] / seconds["FNN"]
    print(f"training: {fastest} takes {ratio:.1f} times as long as the feature network")


if __name__ == "__main__":
    main(*sys.argv[1:])
