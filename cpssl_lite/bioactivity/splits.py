"""Compounds to train, validate and test on: drawn, kept as a table, or as they were published."""

from pathlib import Path

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path
from cpssl_lite.base.tables import reading_errors
from cpssl_lite.base.words import counted

COMPOUND = "Metadata_Perturbation"
PARTS = ("train", "validation", "test")


def draw_splits(
    labels: pd.DataFrame, n: int = 3, validation: float = 0.2, seed: int = 0
) -> pd.DataFrame:
    """Compounds to train, validate and test on: `n` splits whose test sets share no compound.

    Parameters
    ----------
    labels : DataFrame
        As `match_labels` returns it.
    validation : float
        Share of the compounds outside the test set that choose the epoch.

    Returns
    -------
    DataFrame
        Indexed by compound; ``split_1``... hold train, validation or test.
    """
    if len(labels) < 3 * n:
        raise InputError(f"{counted(len(labels), 'labelled compound')}: too few for {n} splits")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    splits = pd.DataFrame("train", labels.index, [f"split_{i + 1}" for i in range(n)])
    for i, test in enumerate(np.array_split(order, n)):
        rest = rng.permutation(np.setdiff1d(order, test))
        splits.iloc[rest[: max(round(validation * len(rest)), 1)], i] = "validation"
        splits.iloc[test, i] = "test"
    return splits


def write_splits(splits: pd.DataFrame, path: str | Path) -> None:
    """Write splits as CSV, so that another method gets the same compounds."""
    with atomic_path(path) as scratch:
        splits.to_csv(scratch, index_label=COMPOUND)


def read_splits(path: str | Path, labels: pd.DataFrame) -> pd.DataFrame:
    """Read splits for these labels.

    Parameters
    ----------
    path
        As `write_splits` writes them, or the folder with the published tables
        ``datasplit1-train.csv``, ``-val`` and ``-test`` and so on: a row an image, whose column
        ``INCHIKEY`` names the compound.

    Raises
    ------
    InputError
        No such file; a labelled compound is missing, there twice or in two parts of a split; a part
        that is none of train, validation, test, or that no compound is in.
    """
    path = Path(path)
    if path.is_dir():
        splits = _published_splits(path)
    elif not path.is_file():
        raise InputError(f"{path}: no such table of splits")
    else:
        with reading_errors(path):
            splits = pd.read_csv(path, dtype=str).fillna("")
        if COMPOUND not in splits or splits.shape[1] < 2:
            raise InputError(f"{path}: needs {COMPOUND} and a column per split")
        splits = splits.set_index(COMPOUND)
    odd = splits.index[splits.index.duplicated()]
    if len(odd):
        raise InputError(f"{path}: compound {odd[0]} is there twice")
    lost = labels.index.difference(splits.index)
    if len(lost):
        raise InputError(f"{path}: {len(lost)} labelled compounds are missing ({lost[0]} ...)")
    splits = splits.loc[labels.index]
    for name, column in splits.items():
        if set(column) != set(PARTS):
            raise InputError(f"{path}: {name} has {sorted(set(column))}, needs all of {PARTS}")
    return splits


def _published_splits(folder: Path) -> pd.DataFrame:
    """The tables of Hofmarcher et al.: which part of which split each compound is in."""
    numbers = sorted({f.name[9:-10] for f in folder.glob("datasplit*-train.csv")})
    if not numbers:
        raise InputError(f"{folder}: holds no datasplit1-train.csv, ...; give splits as one table")
    splits = {}
    for number in numbers:
        parts = []
        for word, part in zip(("train", "val", "test"), PARTS, strict=True):
            file = folder / f"datasplit{number}-{word}.csv"
            if not file.is_file():
                raise InputError(f"{file}: no such table; each split has train, val and test")
            with reading_errors(file):
                names = pd.read_csv(file, dtype=str, usecols=lambda c: c == "INCHIKEY")
            if "INCHIKEY" not in names:
                raise InputError(f"{file}: has no column INCHIKEY that names the compounds")
            parts.append(pd.Series(part, names["INCHIKEY"].dropna().unique()))
        found = pd.concat(parts)
        if found.index.has_duplicates:
            both = found.index[found.index.duplicated()]
            raise InputError(
                f"{folder}: compound {both[0]} is in two parts of datasplit{number} "
                f"({len(both)} such)"
            )
        splits[f"split_{number}"] = found
    return pd.DataFrame(splits).fillna("")
