"""Well tables are made plate by plate, each a whole file: a killed run goes on where it was."""

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.made import Recipe, files_digest
from cpssl_lite.images.metadata import PLATE
from cpssl_lite.profiles.roles import WELL_KEY
from cpssl_lite.profiles.table import read_provenance

log = logging.getLogger(__name__)


class Plate(NamedTuple):
    """The rows of one plate, and the file for its wells: being there is being done."""

    name: str
    rows: pd.DataFrame
    file: Path


def plates_of(images: pd.DataFrame, folder: Path, whole: Recipe) -> list[Plate]:
    """The plates of an image table in sorted order; `whole` is the recipe of the joined table.

    A plate is called by its source, batch and plate, each said once: many screens name a batch
    after its only plate. Its file is told apart by a digest of the rows, not by that name.
    """
    plates = []
    for key, rows in images.groupby([c for c in PLATE if c in images]):
        name = "_".join(dict.fromkeys(str(part) for part in key if part))
        safe = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]
        recipe = recipe_of(whole.step, rows, dict(whole.parameters), whole.code)
        plates.append(Plate(name, rows, folder / f"{safe}-{recipe.digest[:16]}.parquet"))
    return plates


def wells_of(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Metadata of every well (its first field's), and the positions of its fields in `rows`."""
    key = [c for c in WELL_KEY if c in rows]
    fields = [np.asarray(at) for _, at in sorted(rows.groupby(key).indices.items())]
    names = [c for c in rows if str(c).startswith("Metadata_") and c != "Metadata_Site"]
    head = rows[names].iloc[[at[0] for at in fields]].astype(str).reset_index(drop=True)
    return head.assign(Metadata_Fields=[str(len(at)) for at in fields]), fields


def is_current(out: Path, recipe: Recipe) -> bool:
    """Whether the profile table at `out` is what `recipe` would give."""
    return out.is_file() and recipe.made(read_provenance(out))


def is_done(plate: Plate) -> bool:
    """Whether a plate's file is there and whole; a damaged one is said, and made again."""
    if not plate.file.is_file():
        return False
    try:
        pd.read_parquet(plate.file)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        log.warning("%s: damaged (%s); plate %s is made again", plate.file, reason, plate.name)
        return False
    return True


def check_images(images: pd.DataFrame) -> None:
    """Fail before the first field, not hours later, for files or wells that cannot be right.

    Raises
    ------
    InputError
        An image is not there; a well carries two perturbations.
    """
    if "Metadata_Perturbation" in images:
        well = [c for c in WELL_KEY if c in images]
        mixed = images.groupby(well)["Metadata_Perturbation"].nunique()
        if (mixed > 1).any():
            raise InputError(
                f"well {'/'.join(filter(None, np.atleast_1d(mixed.index[mixed > 1][0])))} has "
                f"{mixed.max()} different perturbations in its rows; a well has one"
            )
    columns = [c for c in images if str(c).startswith("FileName_")]
    files = pd.unique(images[columns].to_numpy().ravel())
    missing = [file for file in files if not Path(file).exists()]
    if missing:
        raise InputError(f"{missing[0]}: no such image ({len(missing)} of {len(files)} missing)")


def recipe_of(step: str, rows: pd.DataFrame, settings: dict[str, Any], code: str) -> Recipe:
    """What wells are made from: what rows say, their files' sizes and ages, settings, code."""
    names = [str(c) for c in rows if str(c).startswith("FileName_")]
    said = json.dumps(rows.drop(columns=names).to_dict("list"), default=str)
    inputs = {
        "rows": hashlib.sha256(said.encode()).hexdigest(),
        "images": files_digest(rows[names].to_numpy().ravel()),
    }
    return Recipe(step, settings, inputs, code)
