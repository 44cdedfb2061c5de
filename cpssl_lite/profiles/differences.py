"""Several pairs of profile tables compared, with p corrected for the number of tests."""

from collections.abc import Mapping

import pandas as pd

from cpssl_lite.metrics.significance import q_values
from cpssl_lite.profiles.evaluate import average_precisions, compare_precisions

METRICS = ("perturbation_map", "label_map")


def differences(
    pairs: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    label: str | None = None,
    convention: str = "paper",
    seed: int = 0,
) -> pd.DataFrame:
    """Compare pairs of tables (`compare`), a row each.

    Parameters
    ----------
    pairs
        Two tables of the same screen by name.
    label, convention, seed
        As for `compare`.

    Returns
    -------
    DataFrame
        What `compare` returns, and ``perturbation_map_q`` and ``label_map_q``: false discovery
        rates (Benjamini-Hochberg) over all tests of the table, both metrics together.
    """
    tables = {id(table): table for pair in pairs.values() for table in pair}  # each once
    known = {key: average_precisions(table, label, convention) for key, table in tables.items()}
    return differences_of({n: (known[id(a)], known[id(b)]) for n, (a, b) in pairs.items()}, seed)


def differences_of(
    pairs: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], seed: int = 0
) -> pd.DataFrame:
    """`differences` of tables whose `average_precisions` are known."""
    found = {name: compare_precisions(*pair, seed=seed) for name, pair in pairs.items()}
    frame = pd.DataFrame.from_dict(found, orient="index")
    p = frame[[f"{metric}_p" for metric in METRICS]].to_numpy(float)
    frame[[f"{metric}_q" for metric in METRICS]] = q_values(p.ravel()).reshape(p.shape)
    return frame
