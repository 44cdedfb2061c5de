"""What scib-metrics says about the batches of wells.csv: the numbers in scib.json.

    pip install scib-metrics==0.5.10  (an environment of its own: it brings JAX)
    python tests/parity/make_scib.py

Nothing of cpssl_lite is imported here. Treated wells, plates as batches, targets as labels.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import scib_metrics
from scib_metrics.nearest_neighbors import NeighborsResults
from scib_metrics.utils import principal_component_regression
from sklearn.neighbors import NearestNeighbors

HERE = Path(__file__).parent
NEIGHBOURS = 29


def near(values: np.ndarray, k: int, itself: bool) -> NeighborsResults:
    """The k nearest others by cosine, and before them each well itself where asked for."""
    found = NearestNeighbors(n_neighbors=k + 1, metric="cosine", algorithm="brute").fit(values)
    distance, index = found.kneighbors(values)
    first = 0 if itself else 1
    return NeighborsResults(indices=index[:, first:], distances=distance[:, first:])


def main() -> None:
    """Write scib.json."""
    table = pd.read_csv(HERE / "wells.csv", keep_default_na=False)
    table = table[table["Metadata_Control"] != "negcon"]
    values = table.filter(like="emb_").to_numpy()
    target, plate = (table[f"Metadata_{name}"].to_numpy() for name in ("Target", "Plate"))
    codes = np.unique(plate, return_inverse=True)[1]
    accepted, statistic, p = scib_metrics.kbet(near(values, NEIGHBOURS, itself=False), codes)
    cilisi = np.empty(len(table))
    for one in np.unique(target):  # CiLISI is LISI within labels, from 0 to 1
        mine = target == one
        within = near(values[mine], mine.sum() - 1, itself=True)
        lisi = scib_metrics.lisi_knn(within, codes[mine], mine.sum() / 3)
        cilisi[mine] = (lisi - 1) / (len(np.unique(codes[mine])) - 1)
    expected = {
        "made_with": {"scib-metrics": version("scib-metrics")},
        "bras": float(scib_metrics.bras(values, target, plate)),
        "kbet_accepted": float(accepted),
        "kbet_statistic": np.asarray(statistic, dtype=float).tolist(),
        "kbet_p": np.asarray(p, dtype=float).tolist(),
        "cilisi": float(cilisi.mean()),
        "pc_regression": float(principal_component_regression(values, codes, categorical=True)),
    }
    (HERE / "scib.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
