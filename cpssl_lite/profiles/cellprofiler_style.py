"""The conventional way as a baseline: segment cells, measure each, average them to wells."""

import logging
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import one_writer
from cpssl_lite.base.made import Recipe, code_digest
from cpssl_lite.base.provenance import provenance
from cpssl_lite.base.words import counted
from cpssl_lite.base.workers import in_processes
from cpssl_lite.images import cells, otsu
from cpssl_lite.profiles.filters import CELLS
from cpssl_lite.profiles.kept import kept_profiles
from cpssl_lite.profiles.plates import (
    check_images,
    is_current,
    is_done,
    plates_of,
    recipe_of,
    wells_of,
)
from cpssl_lite.profiles.table import check_output, write_profiles

log = logging.getLogger(__name__)

COUNT = "Metadata_Count_Cells"


def cellprofiler_style(images: pd.DataFrame, out: str | Path, *, workers: int = 2) -> Path:
    """Write the raw table of mean cell measurements of every well of an image table.

    Parameters
    ----------
    images : DataFrame
        As `read_image_table` returns it: a row per field of view.
    out : path
        Profile table to write (Parquet). Finished plates wait in ``<out>.plates/``.
    workers : int
        Processes.

    Returns
    -------
    Path
        `out`. A row per well: Metadata columns, ``Metadata_Fields``, ``Metadata_Count_Cells``,
        ``Metadata_Cells_Per_Field`` and ``Nuclei_*``, ``Cells_*``, ``Cytoplasm_*`` as float32,
        means over the cells of all fields. A well without cells has NaN in all features; a
        feature that is not defined in some other well is left out.

    Raises
    ------
    InputError
        A file is missing or damaged; no cell in any field of a plate; the optional packages
        are not there; the output cannot be written.

    Notes
    -----
    For the simulated screen `lite` a table comes with the package and is taken if images and
    code are the same; everything else is measured here, at about a third of a second of one
    core for a field of 256 px. What is measured, and what CellProfiler measures besides: see
    `cpssl_lite.images.cells`.
    """
    out = Path(out)
    check_output(out)
    check_images(images)
    settings = {"method": "CellProfiler-style"}
    code = code_digest(cells.__file__, otsu.__file__)  # what measures, not what reads
    whole = recipe_of("cellprofiler_style", images, settings, code)
    if is_current(out, whole):
        log.info("%s: up to date", out)
        return out
    kept = kept_profiles(images, settings["method"], code)
    if kept is not None:
        log.info("%s: the kept table of these images", out)
        write_profiles(per_field(kept), out, whole.record())
        return out
    with one_writer(out):
        if not is_current(out, whole):
            _measure_plates(images, out, whole, workers)
    return out


def _measure_plates(images: pd.DataFrame, out: Path, whole: Recipe, workers: int) -> None:
    """Measure plate after plate, then join them."""
    versions = {"cp_measure": cells.measure_version()}
    parts = out.with_name(out.name + ".plates")
    plates = plates_of(images, parts, whole)
    todo = [plate for plate in plates if not is_done(plate)]
    records: list[dict[Any, Any]] = [row for plate in todo for row in plate.rows.to_dict("records")]
    results = in_processes(cells.measure_row, records, workers, chunk=4)
    # tqdm's own rule: no bar unless standard error is a terminal.
    measured = iter(tqdm(results, total=len(records), unit="field", disable=None))
    for position, (name, rows, file) in enumerate(todo, start=len(plates) - len(todo) + 1):
        fields = list(islice(measured, len(rows)))
        record = provenance("cellprofiler_style", plate=name, **whole.parameters)
        write_profiles(_average(name, rows, fields), file, record)
        log.info(
            "plate %s (%d of %d): %s in %s",
            *(name, position, len(plates)),
            *(counted(sum(map(len, fields)), "cell"), counted(len(fields), "field")),
        )
    table = pd.concat([pd.read_parquet(plate.file) for plate in plates], ignore_index=True)
    table = per_field(complete(table))
    write_profiles(table, out, whole.record(**versions))
    shutil.rmtree(parts)


def _average(name: str, rows: pd.DataFrame, fields: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean over all cells of each well of plate `name`."""
    head, wells = wells_of(rows)
    found = [pd.concat([fields[i] for i in at], ignore_index=True) for at in wells]
    if not any(map(len, found)):
        raise InputError(f"plate {name}: no cells in its {counted(len(rows), 'field')}")
    head[COUNT] = [str(len(one)) for one in found]
    means = pd.DataFrame([one.mean() for one in found]).astype(np.float32)
    return pd.concat([head, means], axis=1)


def per_field(table: pd.DataFrame) -> pd.DataFrame:
    """Say how many cells a field of each well has."""
    if CELLS in table:
        return table
    counts, fields = (table[c].astype(float) for c in (COUNT, "Metadata_Fields"))
    at = list(table).index(COUNT) + 1
    table.insert(at, CELLS, (counts / fields).map("{:.4g}".format))
    return table


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out features that are not defined in some well that has cells."""
    features = [name for name in table if not str(name).startswith("Metadata_")]
    values = table.loc[table[COUNT] != "0", features]
    bad = [name for name in features if not np.isfinite(values[name]).all()]
    if len(bad):
        log.warning(
            "%d of %s left out, not defined in every well (first: %s)",
            *(len(bad), counted(len(features), "feature"), bad[0]),
        )
    return table.drop(columns=bad)
