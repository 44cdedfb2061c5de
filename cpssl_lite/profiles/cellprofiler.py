"""CellProfiler itself as a feature type: an image table in, a well table out."""

import logging
import shutil
from collections import Counter
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import one_writer, sha256
from cpssl_lite.base.made import Recipe, code_digest
from cpssl_lite.base.provenance import provenance
from cpssl_lite.base.words import counted
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.profiles import cellprofiler_program as program_module
from cpssl_lite.profiles.cellprofiler_program import (
    PIPELINE,
    Measured,
    Run,
    check_pipeline,
    features_in,
    find_program,
    program_version,
    start,
)
from cpssl_lite.profiles.cellprofiler_style import COUNT, complete, per_field
from cpssl_lite.profiles.plates import (
    Plate,
    check_images,
    is_current,
    is_done,
    recipe_of,
    wells_of,
)
from cpssl_lite.profiles.table import check_output, read_provenance, write_profiles

log = logging.getLogger(__name__)

AVERAGES = ("mean", "median")


def cellprofiler(
    images: pd.DataFrame,
    out: str | Path,
    *,
    pipeline: str | Path | None = None,
    illum: str | Path | None = None,
    average: str = "mean",
    workers: int = 2,
    batch: int = 3,
    program: str | Path | None = None,
) -> Path:
    """Write the raw table of every well's mean or median cell, as CellProfiler measures cells.

    Parameters
    ----------
    images : DataFrame
        As `read_image_table` returns it: a row per field of view.
    out : path
        Profile table to write (Parquet). Finished wells wait in ``<out>.wells/``, where the log of
        a failed run stays as well.
    pipeline
        A pipeline of one's own, as CellProfiler 4 writes it (``.cppipe``): it loads ``OrigDNA``,
        ``OrigER``, ``OrigRNA``, ``OrigAGP``, ``OrigMito`` and, if it likes, ``IllumDNA`` and so on
        by LoadData, and writes cells by ExportToSpreadsheet [default: the package's].
    illum
        Folder with illumination functions, ``<plate>/<plate>_Illum<channel>.npy``, for raw images
        [default: the pipeline divides by ones].
    average : {"mean", "median"}
        Over the cells of all fields of a well.
    workers, batch
        Processes, of one core each; fields that each start of the program measures, about (a well
        is not divided). What a kill loses is at most a batch for each process.
    program
        CellProfiler's executable [default: on the path, else what ``make cellprofiler`` made].

    Returns
    -------
    Path
        `out`. A row per well: Metadata columns, ``Metadata_Fields``, ``Metadata_Count_Cells`` and
        every measurement of every kind of object that the pipeline exports, but for numbers and
        places of objects. A well without cells has NaN in all features; a feature that is not
        defined in some other well is left out. The provenance says the program's version, the
        pipeline's digest and CPU seconds by module.

    Raises
    ------
    InputError
        CellProfiler or Java is not there; the pipeline cannot be used; a file is missing.
    StepFailed
        CellProfiler failed; the line says how.
    """
    out = Path(out)
    check_output(out)
    if average not in AVERAGES:
        raise InputError(f"average {average!r} is not one of {', '.join(AVERAGES)}")
    pipeline = Path(pipeline or PIPELINE)
    check_pipeline(pipeline)
    images = _with_illum(images, illum) if illum else images
    check_images(images)
    found = find_program(program)
    settings = {
        "method": "CellProfiler",
        "program": program_version(found),
        "pipeline": pipeline.name,
        "pipeline_sha256": sha256(pipeline),
        "average": average,
    }
    code = code_digest(__file__, program_module.__file__)
    whole = recipe_of("cellprofiler", images, settings, code)
    with one_writer(out):
        if is_current(out, whole):
            log.info("%s: up to date", out)
            return out
        parts = out.with_name(out.name + ".wells")
        head, at = wells_of(images)
        wells = [
            _Well(recipe_of("cellprofiler", images.iloc[i], settings, code).digest, i) for i in at
        ]
        _measure(images, wells, parts, settings, found, pipeline, workers, batch)
        _join(head, wells, parts, out, whole)
        shutil.rmtree(parts)
    return out


def _with_illum(images: pd.DataFrame, illum: str | Path) -> pd.DataFrame:
    if "FileName_Merged" in images:
        raise InputError("illumination functions are for raw images; this table has merged ones")
    plates = images["Metadata_Plate"]
    return images.assign(
        **{
            f"FileName_Illum{name}": [
                str(Path(illum).resolve() / plate / f"{plate}_Illum{name}.npy") for plate in plates
            ]
            for name in CHANNELS
        }
    )


class _Well(NamedTuple):
    digest: str
    fields: np.ndarray  # rows of the image table


def _done(parts: Path) -> dict[str, Path]:
    """Files of finished wells by the wells' digests."""
    files = sorted(parts.glob("*.parquet"))
    whole = [file for file in files if is_done(Plate(file.stem, pd.DataFrame(), file))]
    return {digest: file for file in whole for digest in read_provenance(file)["wells"]}


def _measure(
    images: pd.DataFrame,
    wells: list[_Well],
    parts: Path,
    settings: dict[str, Any],
    program: Path,
    pipeline: Path,
    workers: int,
    batch: int,
) -> None:
    """Measure every well that is not there yet, in several processes."""
    done = _done(parts)
    todo = [well for well in wells if well.digest not in done]
    fields = sum(len(well.fields) for well in todo)
    if done:
        log.info("there: %s; left: %s", counted(len(done), "well"), counted(fields, "field"))
    batches = _batches(todo, min(batch, -(-fields // workers)))
    running: dict[Run, tuple[list[_Well], pd.DataFrame]] = {}
    said: Counter[Run] = Counter()
    for left in parts.glob("run-*"):  # of a run that was killed
        shutil.rmtree(left)
    try:
        with tqdm(total=fields, unit="field", disable=None) as bar:
            while batches or running:
                while batches and len(running) < workers:
                    group = batches.pop(0)
                    rows = images.iloc[np.concatenate([well.fields for well in group])]
                    folder = parts / f"run-{group[0].digest[:16]}"
                    running[start(rows, folder, program, pipeline)] = group, rows
                sleep(0.5)
                for run, (group, rows) in list(running.items()):
                    ended = run.process.poll() is not None
                    fresh = run.finished()[said[run] :]
                    said[run] += len(fresh)
                    bar.update(len(fresh))
                    if bar.disable:
                        _say(rows, run, fresh, sum(said.values()), fields)
                    if ended:
                        _keep(group, run.result(), parts, settings)
                        del running[run]
                        shutil.rmtree(run.folder)
    finally:
        for run in running:
            run.end()


def _batches(wells: list[_Well], size: int) -> list[list[_Well]]:
    """Wells put together until they have so many fields."""
    batches: list[list[_Well]] = []
    room = 0
    for well in wells:
        if room <= 0:
            batches.append([])
            room = size
        batches[-1].append(well)
        room -= len(well.fields)
    return batches


def _say(rows: pd.DataFrame, run: Run, fresh: list[int], number: int, total: int) -> None:
    """One line for each field that is done: what it cost."""
    for field in fresh:
        row = rows.iloc[field]
        modules = run.seconds().loc[[field]].sum().sort_values(ascending=False)
        most = ", ".join(f"{name} {seconds:.0f}" for name, seconds in modules[:3].items())
        log.info(
            "plate %s well %s site %s (%d of %d): %.0f CPU s (%s)",
            *(row["Metadata_Plate"], row["Metadata_Well"], row["Metadata_Site"]),
            *(number, total, modules.sum(), most),
        )


def _keep(wells: list[_Well], got: Measured, parts: Path, settings: dict[str, Any]) -> None:
    """Write the averages of some finished wells, with what they cost."""
    table = average_wells(got, [len(well.fields) for well in wells], settings["average"])
    record = provenance(
        "cellprofiler",
        **settings,
        wells=[well.digest for well in wells],
        fields=len(got.seconds),
        cpu_seconds=got.seconds.sum().round(2).to_dict(),
    )
    write_profiles(table, parts / f"{wells[0].digest[:16]}.parquet", record)


def average_wells(got: Measured, fields: list[int], average: str = "mean") -> pd.DataFrame:
    """Average the objects of each well.

    Parameters
    ----------
    got
        Objects of the fields of some wells, one well after the other.
    fields
        Number of fields of each well.

    Raises
    ------
    InputError
        The pipeline exports no objects.
    """
    if not got.objects:
        raise InputError("the pipeline's ExportToSpreadsheet wrote no table of objects")
    owner = np.repeat(np.arange(len(fields)), fields)
    everything = range(len(fields))
    counted = got.objects.get("Cells", next(iter(got.objects.values())))
    counts = np.bincount(owner[counted["field"]], minlength=len(fields))
    columns = [pd.DataFrame({COUNT: counts.astype(str)})]
    for name, table in got.objects.items():
        by_well = table[features_in(table)].groupby(owner[table["field"]])
        values = by_well.mean() if average == "mean" else by_well.median()
        columns.append(values.reindex(everything).add_prefix(f"{name}_").astype(np.float32))
    return pd.concat(columns, axis=1)


def _join(
    head: pd.DataFrame,
    wells: list[_Well],
    parts: Path,
    out: Path,
    whole: Recipe,
) -> None:
    """Put the wells together, in the order of `head`, their metadata."""
    done = _done(parts)
    files = dict.fromkeys(done[well.digest] for well in wells)
    records = [read_provenance(file) for file in files]
    rows = {digest: i for i, digest in enumerate(d for made in records for d in made["wells"])}
    values = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    values = values.iloc[[rows[well.digest] for well in wells]].reset_index(drop=True)
    if (values[COUNT] == "0").all():
        raise InputError(
            f"no cells in any field of {counted(len(wells), 'well')}; is it the right pipeline?"
        )
    cost: Counter[str] = Counter()
    for made in records:
        cost.update(made["cpu_seconds"])
    record = whole.record(
        feature_type={"kind": "measured", "method": "CellProfiler", "origin": "here"},
        fields=sum(len(well.fields) for well in wells),
        cpu_seconds={name: round(seconds, 2) for name, seconds in cost.most_common()},
    )
    write_profiles(per_field(complete(pd.concat([head, values], axis=1))), out, record)
