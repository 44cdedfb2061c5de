"""The conventional way as a baseline: segment cells, measure each, average them to wells."""

import logging
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cpssl_lite.errors import InputError
from cpssl_lite.files import one_writer
from cpssl_lite.images import cells
from cpssl_lite.profiles.extract import PLATE, check_images, images_digest
from cpssl_lite.profiles.kept import kept_profiles
from cpssl_lite.profiles.table import check_output, read_provenance, write_profiles
from cpssl_lite.provenance import provenance
from cpssl_lite.sources import behaviour_digest
from cpssl_lite.workers import end_with_parent

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
        `out`. A row per well: Metadata columns, ``Metadata_Fields``, ``Metadata_Count_Cells``
        and ``Nuclei_*``, ``Cells_*``, ``Cytoplasm_*`` as float32, means over the cells of all
        fields. A well without cells has NaN in all features; a feature that is not defined in
        some other well is left out.

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
    settings = {"method": "CellProfiler-style", "code": behaviour_digest([Path(cells.__file__)])}
    whole = images_digest(images, settings)
    if out.is_file() and read_provenance(out).get("digest") == whole:
        log.info("%s: up to date", out)
        return out
    kept = kept_profiles(images, settings)
    if kept is not None:
        log.info("%s: the kept table of these images", out)
        write_profiles(kept, out, provenance("cellprofiler_style", digest=whole, **settings))
        return out
    with one_writer(out):
        if not (out.is_file() and read_provenance(out).get("digest") == whole):
            _measure_plates(images, out, whole, settings, workers)
    return out


def _measure_plates(
    images: pd.DataFrame, out: Path, whole: str, settings: dict[str, Any], workers: int
) -> None:
    """Measure plate after plate, then join them."""
    versions = {"cp_measure": cells.measure_version()}
    parts = out.with_name(out.name + ".plates")
    plates = images.groupby([c for c in PLATE if c in images], sort=True)
    written = []
    with (  # forked children of parents with threads may hang
        ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool,
        tqdm(total=len(images), unit="field", disable=not sys.stderr.isatty()) as progress,
    ):
        for position, (_, rows) in enumerate(plates, start=1):
            digest = images_digest(rows, settings)
            part = parts / f"{digest[:24]}.parquet"
            if not part.is_file():  # plates are written whole, so being there is being done
                fields = []
                records: list[dict[Any, Any]] = rows.to_dict("records")
                for measured in pool.map(cells.measure_row, records, chunksize=4):
                    fields.append(measured)
                    progress.update()
                record = provenance("cellprofiler_style", digest=digest, **settings)
                write_profiles(_wells(rows, fields), part, record)
                log.info(
                    "plate %s (%d of %d): %d cells in %d fields",
                    *(rows["Metadata_Plate"].iloc[0], position, plates.ngroups),
                    *(sum(map(len, fields)), len(fields)),
                )
            written.append(part)
    table = _complete(pd.concat([pd.read_parquet(part) for part in written], ignore_index=True))
    record = provenance("cellprofiler_style", digest=whole, **settings, **versions)
    write_profiles(table, out, record)
    shutil.rmtree(parts)


def _wells(rows: pd.DataFrame, fields: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean over all cells of each well; Metadata columns keep the well's value."""
    well = [c for c in (*PLATE, "Metadata_Well") if c in rows]
    metadata = [str(c) for c in rows if str(c).startswith("Metadata_") and c != "Metadata_Site"]
    table, means = [], []
    for positions in rows.reset_index(drop=True).groupby(well, sort=True).indices.values():
        found = pd.concat([fields[i] for i in positions], ignore_index=True)
        means.append(found.mean())
        first = rows.iloc[positions[0]][metadata].to_dict()
        table.append({**first, "Metadata_Fields": len(positions), COUNT: len(found)})
    if not any(len(mean) for mean in means):
        raise InputError(
            f"plate {rows['Metadata_Plate'].iloc[0]}: no cells in any of its {len(rows)} fields"
        )
    values = pd.DataFrame(means).reset_index(drop=True).astype(np.float32)
    return pd.concat([pd.DataFrame(table).astype(str), values], axis=1)


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out features that are not defined in some well that has cells."""
    features = [name for name in table if not str(name).startswith("Metadata_")]
    values = table.loc[table[COUNT] != "0", features]
    bad = [name for name in features if not np.isfinite(values[name]).all()]
    if len(bad):
        log.warning(
            "%d of %d features are not defined in every well and are left out (first: %s)",
            *(len(bad), len(features), bad[0]),
        )
    return table.drop(columns=bad)
