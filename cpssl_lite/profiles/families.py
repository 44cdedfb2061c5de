"""Which columns are features: known families of names, or those that a pattern picks."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.images.metadata import is_metadata
from cpssl_lite.profiles.roles import first_few

log = logging.getLogger(__name__)

# What CellProfiler measures; the word in front is a compartment, which a pipeline may name.
_CATEGORIES = (
    "AreaShape|Children|Correlation|Granularity|Intensity|Location|Math|Mean|Neighbors|Number"
    "|ObjectSkeleton|Overlap|Parent|RadialDistribution|Texture"
)
# Families of feature names; a name belongs to the first that fits.
FAMILIES = {
    "emb": re.compile(r"emb(edding)?[_-]?\d+"),  # this project's and the authors'
    "CellProfiler": re.compile(
        rf"(Cells|Nuclei|Cytoplasm)_\w.*|(?!Image_)[A-Za-z]\w*?_({_CATEGORIES})_\w.*"
    ),
    "DeepProfiler": re.compile(
        r"(deepprofiler|efficientnet|resnet|inception|densenet|vgg|mobilenet)\w*?_\d+", re.I
    ),
    "f": re.compile(r"f_?\d+|feat(ure)?s?_?\d+", re.I),  # plain ones of other learned profiles
    "X": re.compile(r"X_?\d+"),  # JUMP's assembled profiles
    "PC": re.compile(r"PC_?\d+|PCA_?\d+", re.I),
    "latent": re.compile(r"(latent|dim|z|vec)_?\d+", re.I),
}
FIELD_LEVEL = "Image_"  # about the field, not its cells: never a feature


def feature_columns(table: pd.DataFrame) -> list[str]:
    """Names of the features of a profile table, in their order: what holds numbers.

    `read_profiles` has decided which columns these are. ``Image_*`` and anything with
    "metadata" in its name never count.

    Examples
    --------
    >>> feature_columns(pd.DataFrame({"Metadata_Well": ["A01"], "emb_0000": [0.5], "note": ["x"]}))
    ['emb_0000']
    >>> feature_columns(pd.DataFrame({"Image_Count": [3], "Cells_Metadata_Site": [1], "F1": [2]}))
    ['F1']
    """
    return [
        str(name)
        for name, kind in zip(table.columns, table.dtypes, strict=True)
        if is_numeric_dtype(kind) and not is_bool_dtype(kind) and _may_be_feature(str(name))
    ]


def named_features(names: Iterable[str], pattern: str | None = None) -> dict[str, list[str]]:
    """Features among column names, by family; with `pattern` all that it finds are one family.

    Raises
    ------
    InputError
        The pattern is no regular expression.

    Examples
    --------
    >>> named_features(["Metadata_Well", "emb_0", "Mitochondria_AreaShape_Area", "Count"])
    {'emb': ['emb_0'], 'CellProfiler': ['Mitochondria_AreaShape_Area']}
    """
    may = [name for name in map(str, names) if _may_be_feature(name)]
    if pattern is not None:
        try:
            return {pattern: [name for name in may if re.search(pattern, name)]}
        except re.error as error:
            raise InputError(f"--features {pattern}: no regular expression ({error})") from error
    found: dict[str, list[str]] = {}
    for name in may:
        for family, known in FAMILIES.items():
            if known.fullmatch(name):
                found.setdefault(family, []).append(name)
                break
    return found


def pattern_of(features: Sequence[str]) -> str | None:
    """What finds these features again by their names; None where they are a known family.

    Examples
    --------
    >>> pattern_of(["emb_0", "emb_1"]), pattern_of(["area", "a.b"])
    (None, '^(area|a\\\\.b)$')
    """
    if list(named_features(features).values()) == [list(features)]:
        return None
    return f"^({'|'.join(map(re.escape, features))})$"


def choose_features(file: Path, table: pd.DataFrame, pattern: str | None) -> list[str]:
    """Features of a table that was just read.

    Raises
    ------
    InputError
        None, or those of two families, and nobody said which.
    """
    found = named_features(table.columns, pattern)
    if pattern is None and len(found) > 1:
        each = (f"{name} ({len(these)}: {these[0]}, ...)" for name, these in found.items())
        raise InputError(
            f"{file}: has features of {len(found)} families, {' and '.join(each)}; say which with "
            "--features REGEX (features=...)"
        )
    features = next(iter(found.values()), [])
    if not features:
        what = f"no column fits --features {pattern}" if pattern else "no features found"
        names = [name for name in table.columns if not is_metadata(str(name))]
        if lists := [n for n in names if table[n].map(lambda v: isinstance(v, np.ndarray)).any()]:
            raise InputError(
                f"{file}: {lists[0]} holds lists; give each of their numbers a column of its own, "
                "such as emb_0000"
            )
        raise InputError(
            f"{file}: {what}; expected columns such as emb_0000, emb0, Cells_..., Nuclei_..., "
            f"Cytoplasm_..., X_1, got {first_few(names or table.columns)}; rename yours, or say "
            "which they are with --features REGEX (features=...)"
        )
    return features


def without_others(file: Path, rest: pd.DataFrame) -> pd.DataFrame:
    """Columns of a table that are no features, without those of families not asked for.

    One line each says which numbers these are, and which others stay, as text.
    """
    others = [name for names in named_features(map(str, rest)).values() for name in names]
    if others:
        left_out = counted(len(others), "other feature")
        log.warning("%s: %s left out (%s)", file, left_out, first_few(others))
        rest = rest.drop(columns=others)
    numeric = [str(name) for name in rest if not is_metadata(str(name)) and _numbers(rest[name])]
    if numeric:
        log.warning(
            "%s: %s of numbers taken as text, not as features (%s); --features REGEX says which "
            "columns are features",
            *(file, counted(len(numeric), "column"), first_few(numeric)),
        )
    return rest


def _numbers(values: pd.Series) -> bool:
    """Whether a column holds numbers, or text that reads as numbers; nothing is none."""
    filled = values.dropna()
    if is_bool_dtype(filled) or filled.empty:
        return False
    if is_numeric_dtype(filled):
        return True
    texts = filled.map(lambda value: isinstance(value, str)).all()
    return bool(texts and pd.to_numeric(filled, errors="coerce").notna().all())


def _may_be_feature(name: str) -> bool:
    return "metadata" not in name.lower() and not name.startswith(FIELD_LEVEL)
