"""Features of crops as rows of a profile table: of wells, of fields, or of the crops themselves."""

import logging

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.profiles.filters import CELLS
from cpssl_lite.profiles.plates import wells_of

log = logging.getLogger(__name__)

LEVELS = ("well", "field", "crop")


def table_of(
    rows: pd.DataFrame,
    values: np.ndarray,
    crops: np.ndarray,
    nuclei: np.ndarray,
    *,
    level: str = "well",
    mean_of_fields: bool = False,
) -> pd.DataFrame:
    """Profiles of one plate.

    Parameters
    ----------
    rows : DataFrame
        Of an image table, n fields.
    values : (n, d) or (crops.sum(), d)
        Sum of the crops' features of each field; at the level of crops each crop's own.
    crops : (n,) int
        How many crops of each field count. Fields without any are left out.
    nuclei : (n,) int
        Nuclei in each field.
    level : {"well", "field", "crop"}
    mean_of_fields
        Whether a well is the mean of its fields, rather than of all its crops.

    Returns
    -------
    DataFrame
        Metadata columns, then ``emb_0000``, ... as float32. Wells have ``Metadata_Fields`` and
        the mean of ``Metadata_Cells_Per_Field`` over them; fields keep ``Metadata_Site``; crops
        are numbered by ``Metadata_Crop`` from 1; wells and fields say in ``Metadata_Crops`` how
        many crops they are the mean of.
    """
    if level == "crop":
        field = np.repeat(np.arange(len(rows)), crops)
        head = _metadata(rows.iloc[field])
        head["Metadata_Crop"] = [str(i + 1) for n in crops for i in range(n)]
        head[CELLS] = _text(nuclei[field])
        return _joined(head, values)
    kept = crops > 0
    rows, values, crops, nuclei = rows[kept], values[kept], crops[kept], nuclei[kept]
    if level == "field":
        head = _metadata(rows)
        head["Metadata_Crops"], head[CELLS] = crops.astype(str), _text(nuclei)
        return _joined(head, values / crops[:, None])
    head, fields = wells_of(rows)
    head["Metadata_Crops"] = [str(crops[at].sum()) for at in fields]
    head[CELLS] = _text([nuclei[at].mean() for at in fields])
    profiles = np.empty((len(fields), values.shape[1]))
    for i, at in enumerate(fields):
        if mean_of_fields:
            profiles[i] = (values[at] / crops[at, None]).mean(axis=0)
        else:
            profiles[i] = values[at].sum(axis=0) / crops[at].sum()
    return _joined(head, profiles)


def check_level(level: str, min_cells: int) -> None:
    """Refuse what is none of `LEVELS`, or a number of cells below 0."""
    if level not in LEVELS:
        raise InputError(f"level {level!r} is not one of {', '.join(LEVELS)}")
    if min_cells < 0:
        raise InputError(f"min_cells must be 0 or more, got {min_cells}")


def say_left_out(plate: str, crops: np.ndarray, least: int) -> None:
    """One line on the fields of a plate that have too few cells."""
    if lost := int((crops == 0).sum()):
        what = "plate %s: %d of %s left out, with fewer than %d nuclei"
        log.info(what, plate, lost, counted(len(crops), "field"), least)


def _metadata(rows: pd.DataFrame) -> pd.DataFrame:
    names = [c for c in rows if str(c).startswith("Metadata_")]
    return rows[names].astype(str).reset_index(drop=True)


def _text(numbers: "np.ndarray | list[float]") -> list[str]:
    """Numbers as metadata has them: text, without zeros at the end."""
    return [f"{number:.4g}" for number in numbers]


def _joined(head: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    names = [f"emb_{i:04d}" for i in range(values.shape[1])]
    return pd.concat([head, pd.DataFrame(values.astype(np.float32), columns=names)], axis=1)
