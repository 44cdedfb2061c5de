"""Feature selection, as compared in Supplementary Fig. 3: variance, correlation, lists."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import refuse_pointer
from cpssl_lite.base.tables import PARQUET, TEXT, read_table
from cpssl_lite.base.words import counted
from cpssl_lite.profiles.families import named_features
from cpssl_lite.profiles.roles import first_few
from cpssl_lite.profiles.table import HUGE, feature_columns, profile_matrix, read_profiles

TITLES = ("feature", "name", "feature_name", "blocklist", "block", "keep", "column", "variable")

log = logging.getLogger(__name__)


def keep_features(table: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Keep a given list of features (such as CPJUMP1's 560), in the table's order.

    Raises
    ------
    InputError
        None of them is there. Those that are not are counted in a log line.
    """
    kept = np.isin(feature_columns(table), list(names))
    absent = len(set(names)) - np.count_nonzero(kept)
    if not kept.any():
        raise InputError(
            f"none of the {absent} listed features is in the table: listed are {first_few(names)}; "
            f"the table has {first_few(feature_columns(table))}"
        )
    if absent:
        log.warning("%d of %d listed features are not there", absent, len(set(names)))
    return _only(table, kept)


def drop_features(table: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Leave out a blocklist of features.

    Raises
    ------
    InputError
        Nothing is left.
    """
    return _only(table, ~np.isin(feature_columns(table), list(names)))


def drop_missing(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out features that a well has no number for, unless that well has none at all.

    NaN, infinite and too large to compute with (`HUGE`) are no numbers. CellProfiler writes NaN
    where a measurement is not defined; nothing here guesses a value.
    """
    values = table[feature_columns(table)].to_numpy(dtype=np.float64)
    filled = values[~np.isnan(values).all(axis=1)]
    return _only(table, (np.abs(filled) <= HUGE).all(axis=0))


def drop_constant(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out features whose population variance over all wells is not above 1e-6.

    The rule and the default of pycytominer's ``variance_threshold``.
    """
    _, values = profile_matrix(table)
    return _only(table, values.var(axis=0) > 1e-6)


def drop_rare(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out features that repeat a few values.

    A feature goes if its second most common value is found in fewer than 0.05 times as many
    wells as its most common one, or if it has fewer than 0.01 different values per well: the
    rule and the defaults of pycytominer's ``frequency_threshold``.
    """
    _, values = profile_matrix(table)
    kept = np.zeros(values.shape[1], dtype=bool)
    for i, column in enumerate(values.T):
        counts = np.sort(np.unique(column, return_counts=True)[1])
        second = counts[-2] if len(counts) > 1 else 0
        kept[i] = second >= 0.05 * counts[-1] and len(counts) >= 0.01 * len(column)
    return _only(table, kept)


def drop_outliers(table: pd.DataFrame, cutoff: float = 500) -> pd.DataFrame:
    """Leave out features that are beyond `cutoff` in any well; for normalised profiles.

    The rule and the default of pycytominer's ``drop_outliers``. A single such feature (a moment
    of high order divided by a tiny MAD) can be all that a distance sees.
    """
    _, values = profile_matrix(table)
    return _only(table, (np.abs(values) <= cutoff).all(axis=0))


def drop_correlated(table: pd.DataFrame, threshold: float = 0.9) -> pd.DataFrame:
    """Leave out the more redundant feature of each pair that correlates above `threshold`.

    That is the one with the larger sum of absolute correlations to all features (of equal
    ones the later), the rule of pycytominer's ``correlation_threshold``. Here correlations
    count by their absolute value; there a pair at -0.99 stays.
    """
    _, values = profile_matrix(table)
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    length[length == 0] = np.inf  # a constant correlates with nothing
    correlation = np.abs((centred / length).T @ (centred / length))
    order = np.argsort(correlation.sum(axis=0), kind="stable")
    pairs = np.tril(correlation[np.ix_(order, order)], k=-1)  # each feature, all less redundant
    kept = np.empty(len(order), dtype=bool)
    kept[order] = pairs.max(axis=1) <= threshold
    return _only(table, kept)


RULES: dict[str, Callable[..., pd.DataFrame]] = {
    "missing": drop_missing,
    "variance": drop_constant,
    "frequency": drop_rare,
    "outliers": drop_outliers,
    "correlation": drop_correlated,
}


def select_features(
    table: pd.DataFrame,
    rules: Collection[str] = ("missing", "variance", "correlation"),
    *,
    keep: Collection[str] = (),
    block: Collection[str] = (),
    correlation: float = 0.9,
) -> pd.DataFrame:
    """Select features by lists first, then by rules in the given order.

    Parameters
    ----------
    rules
        Names in `RULES`.
    keep, block
        Features to keep (all, if empty) and to leave out.
    correlation
        Threshold of the rule ``correlation``.

    Raises
    ------
    InputError
        An unknown rule; a threshold outside 0..1; nothing is left.

    Notes
    -----
    Supplementary Fig. 3 compares such selections of CellProfiler features; the paper took a
    list, CPJUMP1's 560 features.
    """
    for name in rules:
        if name not in RULES:
            raise InputError(f"selection rule {name!r} is not one of {', '.join(RULES)}")
    if not 0 < correlation <= 1:
        raise InputError(f"correlation threshold {correlation:g} is not above 0 and at most 1")
    table = keep_features(table, keep) if keep else table
    table = drop_features(table, block) if block else table
    for name in rules:
        n = len(feature_columns(table))
        rule = RULES[name]
        table = rule(table, correlation) if name == "correlation" else rule(table)
        log.info("%s: %d of %s kept", name, len(feature_columns(table)), counted(n, "feature"))
    return table


def read_feature_list(path: str | Path) -> list[str]:
    """Feature names from a list (one per line, or a table of one column), or a profile table's.

    The first line of a list is left out where it is a title (``blocklist``), no feature's name.

    Raises
    ------
    InputError
        Not there, not readable, or no names in it.
    """
    path = Path(path)
    if path.name.lower().endswith(".h5ad"):
        return feature_columns(read_profiles(path))
    if path.name.lower().endswith((*TEXT, *PARQUET)):
        if not path.is_file():
            raise InputError(f"{path}: no such list of features")
        table = read_table(path)
        if table.shape[1] > 1:
            return feature_columns(read_profiles(path))
        names = [str(name).strip() for name in (*table, *table.iloc[:, 0].dropna())]
    else:
        try:
            refuse_pointer(path)
            names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as a list of features ({error})") from error
    names = [name for name in names if name and not name.startswith("#")]
    # A title is no feature while the names below are, or one of the words that titles are.
    known = [bool(named_features([name])) for name in names]
    title = names and (names[0].lower().rstrip("s") in TITLES or known[:2] == [False, True])
    if title:
        names = names[1:]
    if not names:
        raise InputError(f"{path}: has no feature names")
    return names


def _only(table: pd.DataFrame, kept: np.ndarray) -> pd.DataFrame:
    """The table with those of its features for which `kept` (d,) is true."""
    if not kept.any():
        raise InputError("feature selection leaves no feature")
    return table.drop(columns=np.array(feature_columns(table))[~kept].tolist())
