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
from cpssl_lite.images.rows import file_of
from cpssl_lite.images.tiff import read_header
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import choose_precision
from cpssl_lite.profiles.embed import embed_fields
from cpssl_lite.profiles.plates import (
    check_images,
    is_current,
    is_done,
    plates_of,
    recipe_of,
    wells_of,
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
    batch_size: int | None = None,
    device: str | None = None,
    devices: int = 1,
    nodes: int = 1,
) -> Path:
    """Write the raw (un-normalised) profile of every well of an image table.

    Parameters
    ----------
    images : DataFrame
        As `read_image_table` returns it: a row per field of view.
    encoder : Encoder
        Network with its own channels, crop size and intensity normalisation.
    out : path
        Profile table to write (Parquet). Finished plates wait in ``<out>.plates/``.
    convention : {None, "paper", "released"}
        How crops become a well. The released code pools all crops of a well (also the
        default, None); the paper's text averages each field first. Where raw single-channel
        files are read, the low percentile of the intensity scaling is 0.01 (text, default) or
        0.1 (released).
    precision : {"fp32", "bf16", "auto"}
        bf16 runs the network under autocast, on devices that have it; auto takes the fastest
        that the device has. Averages are kept in float64 either way.
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
        (numbers averaged) and ``emb_0000``... as float32.

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
    shapes = [_shape(plate.rows, tables) for plate in plates[0]]
    # Of every plate that is this process's the tables that do not have it yet.
    todo = {
        position: [i for i, plate in enumerate(same) if not is_done(plate)]
        for position, same in enumerate(together)
        if team.takes(position)
    }
    mine = [position for position, missing in todo.items() if missing]
    start, fields_left = perf_counter(), sum(len(together[i][0].rows) for i in mine)
    fields_done = 0
    for position in mine:
        name, rows, _ = together[position][0]
        began = perf_counter()
        made = [tables[i] for i in todo[position]]
        sums_and_crops = embed_fields(
            rows,
            [table.encoder for table in made],
            shapes[position],
            name=name,
            low=0.1 if made[0].recipe.parameters["convention"] == "released" else 0.01,
            precision=made[0].recipe.parameters["precision"],
            batch_size=batch_size,
            device=team.device,
            readers=min(16, os.cpu_count() or 1) if on_gpu else 2,
        )
        n_crops = 0
        for i, (sums, crops) in zip(todo[position], sums_and_crops, strict=True):
            settings = tables[i].recipe.parameters
            wells = _average(rows, sums, crops, mean_of_fields=settings["convention"] == "paper")
            file = together[position][i].file
            write_profiles(wells, file, provenance("extract", plate=name, **settings))
            n_crops += crops.sum()
        now = perf_counter()
        fields_done, fields_left = fields_done + len(rows), fields_left - len(rows)
        log.info(
            "plate %s (%d of %d): %d fields, %d crops, %.0f crops/s, %.0f s left",
            *(name, position + 1, len(together), len(rows), n_crops),
            *(n_crops / (now - began), (now - start) / fields_done * fields_left),
        )
    team.wait()
    if team.rank == 0:
        for (out, _, recipe), parts in zip(tables, plates, strict=True):
            wells = pd.concat([pd.read_parquet(plate.file) for plate in parts], ignore_index=True)
            write_profiles(wells, out, recipe.record())
            shutil.rmtree(_parts(out))
    team.wait()


def _shape(rows: pd.DataFrame, tables: list[_Table]) -> tuple[int, ...]:
    """Size of a plate's fields, by its first one; every network's crops must fit into it."""
    first = file_of(rows.iloc[0])
    shape = read_header(first)[0][-2:]
    for encoder in (table.encoder for table in tables):
        if min(shape, default=0) < encoder.crop_size:
            raise InputError(
                f"{first}: {' x '.join(map(str, shape))} px is smaller than the network's crops of "
                f"{encoder.crop_size} px ({encoder.card.get('file', 'checkpoint')})"
            )
    return shape


def _parts(out: Path) -> Path:
    """Where finished plates wait."""
    return out.with_name(out.name + ".plates")


def _average(
    rows: pd.DataFrame, sums: np.ndarray, crops: np.ndarray, mean_of_fields: bool
) -> pd.DataFrame:
    """Average the fields of each well; Metadata columns keep the well's value."""
    head, fields = wells_of(rows)
    head["Metadata_Crops"] = [str(crops[at].sum()) for at in fields]
    if mean_of_fields:
        profiles = [(sums[at] / crops[at, None]).mean(axis=0) for at in fields]
    else:
        profiles = [sums[at].sum(axis=0) / crops[at].sum() for at in fields]
    values = np.stack(profiles).astype(np.float32)  # (wells, d)
    names = [f"emb_{i:04d}" for i in range(values.shape[1])]
    return pd.concat([head, pd.DataFrame(values, columns=names)], axis=1)


@cache
def _code() -> str:
    """Digest of the sources that turn files into features: features of older code are not kept."""
    own = [Path(__file__).with_name(name) for name in ("extract.py", "embed.py", "plates.py")]
    return code_digest(*own, rooms=("images", "models"))
