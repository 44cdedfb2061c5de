"""The curves of a training run as a figure."""

from pathlib import Path

import pandas as pd

from cpssl_lite.base.files import atomic_path


def draw_curves(metrics: str | Path, out: str | Path) -> Path:
    """Draw loss, learning rate and feature spread of a run's `metrics.csv` over its steps.

    Returns
    -------
    Path of the figure, `out` (the suffix sets the format).
    """
    from matplotlib.figure import Figure

    table = pd.read_csv(metrics)
    shown = {"loss": "loss", "lr": "learning rate", "feature_spread": "spread of the features"}
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for axis, (column, label) in zip(figure.subplots(1, 3), shown.items(), strict=True):
        axis.plot(table["step"], table[column], linewidth=0.6, alpha=0.4)
        window = max(len(table) // 50, 1)
        axis.plot(table["step"], table[column].rolling(window, min_periods=1).mean(), color="C0")
        axis.set(xlabel="optimiser step", title=label)
    with atomic_path(out) as scratch:
        figure.savefig(scratch, dpi=120)
    return Path(out)
