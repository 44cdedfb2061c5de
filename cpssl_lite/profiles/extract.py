"""From images to raw well profiles: embed, average, plate by plate, over any number of processes.

Each plate is written whole, so a killed run resumes with the first plate that is not there
yet, and several processes share the plates among them.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import one_writer
from cpssl_lite.base.made import Recipe, code_digest
from cpssl_lite.base.provenance import provenance
from cpssl_lite.base.words import counted
from cpssl_lite.images.rows import file_of, say_order
from cpssl_lite.images.tiff import read_header
from cpssl_lite.images.twins import Twins
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import choose_precision
from cpssl_lite.profiles.embed import embed_fields
from cpssl_lite.profiles.levels import check_level, say_left_out, table_of
from cpssl_lite.profiles.plates import (
    check_images,
    is_current,
    is_done,
    plates_of,
    recipe_of,
)
from cpssl_lite.profiles.table import check_output, write_profiles
from cpssl_lite.profiles.team import Team, usable

log = logging.getLogger(__name__)

CONVENTIONS = ("paper", "released")


def extract(
    images: pd.DataFrame,
    encoder: Encoder,
    out: str | Path,
    *,
    convention: str | None = None,
    precision: str = "fp32",
    level: str = "well",
    min_cells: int = 0,
    batch_size: int | None = None,
    device: str | None = None,
    devices: int = 1,
    nodes: int = 1,
) -> Path:
    """Write the raw (un-normalised) profile of every well (field, crop) of an image table.

    Parameters
    ----------
    images : DataFrame
        As `read_image_table` returns it: a row per field of view.
    encoder : Encoder
        Network with its own channels, crop size and intensity normalisation.
    out : path
        Profile table to write (Parquet, AnnData). Finished plates wait in ``<out>.plates/``.
    convention : {None, "paper", "released"}
        How crops become a well. The released code pools all crops of a well (also the
        default, None); the paper's text averages each field first. Where raw single-channel
        files are read, the low percentile of the intensity scaling is 0.01 (text, default) or
        0.1 (released).
    precision : {"fp32", "bf16", "auto"}
        bf16 runs the network under autocast, on devices that have it; auto takes the fastest
        that the device has. Averages are kept in float64 either way.
    level : {"well", "field", "crop"}
        What a row of the table is, see `cpssl_lite.profiles.levels.table_of`.
    min_cells
        Fields with fewer nuclei (`cpssl_lite.images.nuclei`) are left out, with a log line.
    batch_size
        Crops in a batch [default: 16, on a GPU 512]: small ones stay in a processor's cache.
        Where each stain is a picture of its own the 16 are pictures.
    device
        ``cpu`` or ``cuda`` [default: cuda where there is one].
    devices, nodes
        Processes on each machine (one per GPU), and machines that see the same disk. Lightning
        starts them, or finds those that torchrun or SLURM started; each takes every
        n-th plate, and the first one joins the table.

    Returns
    -------
    Path
        `out`. A row per well: Metadata columns, ``Metadata_Fields``, ``Metadata_Crops``
        (numbers averaged), ``Metadata_Cells_Per_Field`` and ``emb_0000``... as float32.

    Raises
    ------
    InputError
        A file is missing, damaged, smaller than a crop or of another size than the first of its
        plate; the network gives NaN; a well carries two perturbations; there is no such device, or
        it has no bf16; the output cannot be written.

    Notes
    -----
    Paper, "SSL inference and postprocessing". A crop counts if at least 1% of its area is
    above 0.7 x Otsu in the DNA channel; a field without such a crop contributes the one at
    position n // 2 of its n. Crops lie on a grid from the top left; what is left over at the
    right and bottom edge of a field, square or not, is not looked at (the released code's rule).
    """
    return extract_many(
        images,
        {Path(out): encoder},
        convention=convention,
        precision=precision,
        level=level,
        min_cells=min_cells,
        batch_size=batch_size,
        device=device,
        devices=devices,
        nodes=nodes,
    )[0]


def extract_many(
    images: pd.DataFrame,
    encoders: Mapping[Path, Encoder],
    *,
    convention: str | None = None,
    precision: str = "fp32",
    level: str = "well",
    min_cells: int = 0,
    batch_size: int | None = None,
    device: str | None = None,
    devices: int = 1,
    nodes: int = 1,
) -> list[Path]:
    """Write the profile tables of several networks; every field is read once for all of them.

    Parameters
    ----------
    encoders : mapping
        Network by the profile table to write. The tables are the ones that `extract` writes;
        one that is there already is left out. All else is as in `extract`.
    """
    if convention not in (None, *CONVENTIONS):
        raise InputError(f"convention {convention!r} is not one of {', '.join(CONVENTIONS)}")
    for what, number in (("batch_size", batch_size), ("devices", devices), ("nodes", nodes)):
        if number is not None and number < 1:
            raise InputError(f"{what} must be 1 or more, got {number}")
    check_level(level, min_cells)
    device = usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    precision = choose_precision(precision, device)
    outs = list(encoders)
    for out in outs:
        check_output(out)
    check_images(images)
    tables = []
    for out, encoder in zip(outs, encoders.values(), strict=True):
        settings = {
            "checkpoint": encoder.card,
            "convention": convention,
            "precision": precision,
            "level": level,
            "min_cells": min_cells,
            "channels": list(encoder.channels),
        }
        tables.append(_Table(out, encoder, recipe_of("extract", images, settings, _code())))
    tables = _missing(tables)
    for out in set(outs) - {table.out for table in tables}:
        log.info("%s: up to date", out)
    if not tables:
        return outs
    team = Team(device, devices, nodes)
    with ExitStack() as locks:
        if team.rank == 0:
            for table in sorted(tables, key=lambda table: table.out.resolve()):  # no deadlock
                locks.enter_context(one_writer(table.out))
        team.wait()
        if tables := _missing(tables):  # somebody else may just have made them
            _extract_plates(images, tables, team, batch_size)
    return outs


class _Table(NamedTuple):
    """A table to make: its file, network and what it depends on."""

    out: Path
    encoder: Encoder
    recipe: Recipe


def _missing(tables: list[_Table]) -> list[_Table]:
    return [table for table in tables if not is_current(table.out, table.recipe)]


def _extract_plates(
    images: pd.DataFrame, tables: list[_Table], team: Team, batch_size: int | None
) -> None:
    """Embed this process's plates; the first process joins all of them."""
    on_gpu = team.device.startswith("cuda")
    plates = []  # of each table, in the same order
    for table in tables:
        table.encoder.eval().to(team.device)
        plates.append(plates_of(images, _parts(table.out), table.recipe))
    together = list(zip(*plates, strict=True))
    # A plate has one size; laboratories differ.
    firsts = [plate.rows.iloc[0] for plate in plates[0]]
    headers = [read_header(file_of(first)) for first in firsts]
    say_order((notes for _, notes in headers), firsts)
    shapes = [_fits(f, shape[-2:], tables) for f, (shape, _) in zip(firsts, headers, strict=True)]
    # Of every plate that is this process's the tables that do not have it yet.
    todo = {
        position: [i for i, plate in enumerate(same) if not is_done(plate)]
        for position, same in enumerate(together)
        if team.takes(position)
    }
    mine = [position for position, missing in todo.items() if missing]
    start, fields_left = perf_counter(), sum(len(together[i][0].rows) for i in mine)
    fields_done, twins = 0, Twins()
    for position in mine:
        name, rows, _ = together[position][0]
        began = perf_counter()
        made = [tables[i] for i in todo[position]]
        how, nuclei = made[0].recipe.parameters, np.zeros(len(rows), int)
        embedded = embed_fields(
            rows,
            [table.encoder for table in made],
            shapes[position],
            name=name,
            low=0.1 if how["convention"] == "released" else 0.01,
            precision=how["precision"],
            batch_size=batch_size,
            device=team.device,
            readers=min(16, os.cpu_count() or 1) if on_gpu else 2,
            nuclei=nuclei,
            least=how["min_cells"],
            each=how["level"] == "crop",
            twins=twins,
        )
        n_crops = 0
        for i, (values, crops) in zip(todo[position], embedded, strict=True):
            mean_of_fields = how["convention"] == "paper"
            wells = table_of(
                *(rows, values, crops, nuclei), level=how["level"], mean_of_fields=mean_of_fields
            )
            file = together[position][i].file
            write_profiles(
                wells, file, provenance("extract", plate=name, **tables[i].recipe.parameters)
            )
            n_crops += crops.sum()
        say_left_out(name, crops, how["min_cells"])
        now = perf_counter()
        fields_done, fields_left = fields_done + len(rows), fields_left - len(rows)
        log.info(
            "plate %s (%d of %d): %s, %s, %.0f crops/s, %.0f s left",
            *(name, position + 1, len(together)),
            *(counted(len(rows), "field"), counted(n_crops, "crop")),
            *(n_crops / (now - began), (now - start) / fields_done * fields_left),
        )
    twins.say()
    team.wait()
    if team.rank == 0:
        for (out, _, recipe), parts in zip(tables, plates, strict=True):
            wells = pd.concat([pd.read_parquet(plate.file) for plate in parts], ignore_index=True)
            if wells.empty:
                least = recipe.parameters["min_cells"]
                raise InputError(f"min_cells {least}: no field has as many nuclei; nothing is left")
            write_profiles(wells, out, recipe.record())
            shutil.rmtree(_parts(out))
    team.wait()


def _fits(first: pd.Series, shape: tuple[int, ...], tables: list[_Table]) -> tuple[int, ...]:
    """The size of a plate's first field; every network's crops must fit into it."""
    for encoder in (table.encoder for table in tables):
        if min(shape, default=0) < encoder.crop_size:
            raise InputError(
                f"{file_of(first)}: {' x '.join(map(str, shape))} px is smaller than the network's "
                f"crops of {encoder.crop_size} px ({encoder.card.get('file', 'checkpoint')})"
            )
    return shape


def _parts(out: Path) -> Path:
    """Where finished plates wait."""
    return out.with_name(out.name + ".plates")


@cache
def _code() -> str:
    """Digest of the sources that turn files into features: features of older code are not kept."""
    names = ("extract.py", "embed.py", "levels.py", "plates.py")
    own = [Path(__file__).with_name(name) for name in names]
    return code_digest(*own, rooms=("images", "models"))
