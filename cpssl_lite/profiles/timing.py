"""What features cost on this machine: seconds of every part, measured within a bound."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile
import torch

from cpssl_lite.base.workers import end_with_parent
from cpssl_lite.images.cells import measure_cells, measure_row, segment
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.models import vit
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import native_precisions
from cpssl_lite.models.roofline import affordable, fastest
from cpssl_lite.profiles.embed import crops_with_cells
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.table import write_profiles

TOO_LONG = 8  # times the limit: a single field is not tried


class Cost(NamedTuple):
    """Seconds a field, and of what they consist."""

    fields: int  # that were timed; 0 is an estimate from a few crops
    total: float  # a field, from files to features
    read: float = np.nan
    cut: float = np.nan
    network: float = np.nan
    write: float = np.nan  # a table: once a plate
    crop: float = np.nan  # through the network, on a first look
    whole: float = np.nan  # of all fields that were timed


def seconds(work: Callable[[], object], device: str = "cpu") -> float:
    """Seconds that a piece of work takes, a GPU's share included."""
    start = perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return perf_counter() - start


def time_extraction(
    images: pd.DataFrame, encoder: Encoder, folder: Path, limit: float, device: str = "cpu"
) -> dict[str, Cost]:
    """Time the extraction of as many fields as fit, in every precision that the device has.

    Parameters
    ----------
    images
        As `read_image_table` returns it.
    encoder
        It is moved to the device.
    folder
        For the tables that are written.
    limit
        Seconds for each precision, about. Where a single field takes `TOO_LONG` times as long, it
        is estimated from the first look at a few crops.
    device
        ``cpu`` or ``cuda``.

    Returns
    -------
    Cost by precision. Reading and cutting run in threads beside the network, so that `total` is
    less than the sum of its parts.
    """
    encoder.to(device)
    size, stains, n = encoder.crop_size, len(encoder.channels), len(images)
    start = perf_counter()
    fields = [read_field(record, encoder.channels) for record in _records(images)]
    read, start = (perf_counter() - start) / n, perf_counter()
    crops = sum(len(crops_with_cells(field, size, stains)) for field in fields) / n
    cut = (perf_counter() - start) / n
    two = torch.zeros(2, stains, size, size).to(device)
    with torch.inference_mode():
        crop = fastest(lambda: seconds(lambda: encoder(two), device), 5, limit / 2).seconds / 2
    one, costs = crop * crops, {}
    for precision in native_precisions(device):
        if one > TOO_LONG * limit:
            costs[precision] = Cost(0, read + cut + one, read, cut, one, 0.0, crop)
            continue
        take, out = affordable(n, one, limit), folder / f"{precision}.parquet"
        out.unlink(missing_ok=True)
        start = perf_counter()
        with _inside(encoder, device) as spans:
            extract(images[:take], encoder, out, precision=precision)
        whole = perf_counter() - start
        wells, start = pd.read_parquet(out), perf_counter()
        write_profiles(wells, folder / "again.parquet", {})
        write, network = perf_counter() - start, sum(spans)
        # A table is written for the plate, then for all plates.
        total = max(whole - 2 * write, network) / take
        costs[precision] = Cost(take, total, read, cut, network / take, write, crop, whole)
    return costs


@contextmanager
def _inside(encoder: Encoder, device: str) -> Iterator[list[float]]:
    """Collect what adds up to the seconds inside the network."""
    spans: list[float] = []

    def begin(*_: Any) -> None:
        spans.append(-perf_counter())

    def end(*_: Any) -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        spans.append(perf_counter())

    hooks = encoder.register_forward_pre_hook(begin), encoder.register_forward_hook(end)
    try:
        yield spans
    finally:
        for hook in hooks:
            hook.remove()


def glance(
    images: pd.DataFrame, encoder: Encoder, fields: int = 4, limit: float = 1.0, device: str = "cpu"
) -> float:
    """Seconds from a field's file to its features: the fastest of three looks at a few fields.

    Parameters
    ----------
    images
        As `read_image_table` returns it; fields are taken from all over it.
    encoder
        In eval mode and on the device.
    fields
        How many.
    limit
        Seconds after which no further look is begun.
    device
        ``cpu`` or ``cuda``.
    """
    few = _records(images.iloc[:: max(1, len(images) // fields)][:fields])

    def look() -> None:
        for record in few:
            field = read_field(record, encoder.channels)
            crops = crops_with_cells(field, encoder.crop_size, len(encoder.channels))
            encoder(torch.from_numpy(crops).to(device))

    with torch.inference_mode():
        return fastest(lambda: seconds(look, device), 3, limit).seconds / len(few)


def time_style(images: pd.DataFrame, limit: float) -> Cost:
    """Time the CellProfiler-style pipeline on one core: every cell segmented and measured.

    Parameters
    ----------
    images, limit
        As for `time_extraction`.
    """
    records = _records(images)
    crops = crops_with_cells(read_field(records[0], CHANNELS), 224, len(CHANNELS))
    stains = dict(zip(CHANNELS, crops[0].astype(np.float32) / 65535, strict=True))

    def measure_crop() -> None:
        measure_cells(stains, *segment(stains))

    measure_crop()  # code is compiled at its first call
    one = seconds(measure_crop) * len(crops)
    if one > TOO_LONG * limit:
        return Cost(0, one)
    one = seconds(lambda: measure_row(records[0]))
    more = records[1 : affordable(len(records), one, limit)]
    one += seconds(lambda: [measure_row(record) for record in more])
    return Cost(1 + len(more), one / (1 + len(more)))


def time_cellprofiler(images: pd.DataFrame, pipeline: str | Path, folder: Path) -> Cost | None:
    """Time CellProfiler itself, on one core; None where it is not installed.

    Parameters
    ----------
    images
        Merged fields, as `read_image_table` returns them.
    pipeline
        A .cppipe file that reads the stains by the names of `CHANNELS`.
    folder
        For single-channel files and what the pipeline writes.
    """
    program = shutil.which("cellprofiler")
    if program is None:
        return None
    names = [f"Metadata_{name}" for name in ("Plate", "Well", "Site")]
    table = images[names].reset_index(drop=True)
    for number, record in enumerate(_records(images)):
        for channel, plane in zip(CHANNELS, read_field(record, CHANNELS).pixels, strict=True):
            file = f"{number}_{channel}.tiff"
            tifffile.imwrite(folder / file, plane, compression="lzw")
            table.loc[number, [f"PathName_Orig{channel}", f"FileName_Orig{channel}"]] = [
                str(folder),
                file,
            ]
    table.to_csv(folder / "load_data.csv", index=False)
    words = [program, "-c", "-r", "-p", str(pipeline), "-o", str(folder / "cellprofiler")]
    words += ["--data-file", str(folder / "load_data.csv")]
    took = seconds(lambda: subprocess.run(words, check=True, capture_output=True))
    return Cost(len(images), took / len(images))


def crops_a_second(architecture: str, counts: Sequence[int], crops: int = 4) -> dict[int, float]:
    """Crops that several processes embed in a second, together, sharing this machine's cores.

    Parameters
    ----------
    architecture
        Name for `build_vit`.
    counts
        Numbers of processes.
    crops
        Crops of 224 px in each one's batch.
    """
    context, cores = get_context("spawn"), os.cpu_count() or 1
    ends = [context.Pipe() for _ in range(max(counts, default=0))]
    team = [
        context.Process(target=_embed_on_demand, args=(far, architecture, crops), daemon=True)
        for _, far in ends
    ]
    for process, (_, far) in zip(team, ends, strict=True):
        process.start()
        far.close()  # so that a process that fails is noticed
    pipes = [near for near, _ in ends]
    for pipe in pipes:
        pipe.recv()  # all are ready

    def together(count: int) -> None:
        for pipe in pipes[:count]:
            pipe.send(max(cores // count, 1))
        for pipe in pipes[:count]:
            pipe.recv()

    for count in sorted(counts):  # a first call is slow
        together(count)
    rates = {count: count * crops / seconds(partial(together, count)) for count in counts}
    for pipe, process in zip(pipes, team, strict=True):
        pipe.send(0)
        process.join()
    return rates


def _embed_on_demand(pipe: Connection, architecture: str, crops: int) -> None:
    """Embed a batch with as many threads as are asked for, until nobody asks."""
    end_with_parent()
    network, batch = vit.build_vit(architecture).eval(), torch.rand(crops, 5, 224, 224)
    pipe.send("ready")
    with torch.inference_mode():
        while threads := pipe.recv():
            torch.set_num_threads(threads)
            network(batch)
            pipe.send("done")


def _records(images: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(map(str, images), row, strict=True)) for row in images.itertuples(index=False)]
