"""What features cost on this machine: seconds of every part, measured within a bound."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile
import torch
from torch import nn

from cpssl_lite.images.cells import measure_cells, measure_row, segment
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.tiff import read_merged
from cpssl_lite.images.zarrs import write_zarr
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import native_precisions
from cpssl_lite.models.roofline import affordable, fastest
from cpssl_lite.profiles.cellprofiler_program import find_program, start
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
    cpu: float = np.nan  # processor seconds a field, of all cores


def seconds(work: Callable[[], object], device: str = "cpu") -> float:
    """Seconds that a piece of work takes, a GPU's share included."""
    begun = perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return perf_counter() - begun


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
    begun = perf_counter()
    fields = [read_field(record, encoder.channels) for record in _records(images)]
    read, begun = (perf_counter() - begun) / n, perf_counter()
    crops = sum(len(crops_with_cells(field, size, stains)) for field in fields) / n
    cut = (perf_counter() - begun) / n
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
        begun, cpu = perf_counter(), process_time()
        with _inside(encoder, device) as spans:
            extract(images[:take], encoder, out, precision=precision)
        whole, cpu = perf_counter() - begun, (process_time() - cpu) / take
        wells, begun = pd.read_parquet(out), perf_counter()
        write_profiles(wells, folder / "again.parquet", {})
        write, network = perf_counter() - begun, sum(spans)
        # A table is written for the plate, then for all plates.
        total = max(whole - 2 * write, network) / take
        costs[precision] = Cost(take, total, read, cut, network / take, write, crop, whole, cpu)
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
    cpu, one = process_time(), seconds(lambda: measure_row(records[0]))
    more = records[1 : affordable(len(records), one, limit)]
    one += seconds(lambda: [measure_row(record) for record in more])
    n = 1 + len(more)
    return Cost(n, one / n, cpu=(process_time() - cpu) / n)


def time_cellprofiler(images: pd.DataFrame, pipeline: str | Path, folder: Path) -> Cost:
    """Time CellProfiler itself on one field and one core: CPU seconds of its modules.

    Parameters
    ----------
    images
        As for `time_extraction`.
    pipeline
        A .cppipe file, as `profiles.cellprofiler` takes it.
    folder
        For what it reads and writes.
    """
    run = start(images.iloc[:1], folder / "cellprofiler", find_program(), Path(pipeline))
    try:
        took = float(run.result().seconds.to_numpy().sum())
    finally:
        run.end()
    return Cost(1, took, cpu=took)


def crops_a_second(network: nn.Module, batch: torch.Tensor, counts: Sequence[int]) -> pd.Series:
    """Crops that several workers embed in a second, together, sharing the cores among them.

    Parameters
    ----------
    network
        In eval mode.
    batch
        What each worker gives it.
    counts
        Numbers of workers.
    """
    cores, rates = torch.get_num_threads(), {}

    def embed(threads: int) -> None:
        torch.set_num_threads(threads)  # of the calling thread
        with torch.inference_mode():
            network(batch)

    for count in counts:
        each = [max(cores // count, 1)] * count
        with ThreadPoolExecutor(count) as team:
            list(team.map(embed, each))  # a first call is slow
            begun = perf_counter()
            list(team.map(embed, each))
            rates[count] = count * len(batch) / (perf_counter() - begun)
    torch.set_num_threads(cores)
    return pd.Series(rates, dtype=float)


def time_loading(images: pd.DataFrame, folder: Path, limit: float) -> pd.DataFrame:
    """Time the loading of fields, on one thread, from one file each and from five.

    Parameters
    ----------
    images
        Merged fields, as `read_image_table` returns them.
    folder
        For copies in the other formats.
    limit
        Seconds for each format, about.

    Returns
    -------
    DataFrame
        A row per format: ``mb``, ``warm`` and ``cold`` ms a field (cold where the system can be
        told to forget files), ``once`` where `limit` left no time to repeat. The first row is five
        LZW-compressed TIFFs, scaled and thresholded at every reading; the third the merged file.
    """
    merged, singles, zarrs = list(images["FileName_Merged"]), [], []
    for i, file in enumerate(merged):
        field = read_merged(file)
        zarrs.append(folder / f"{i}.zarr")
        write_zarr(zarrs[-1], field.pixels, field.otsu or 0.0)
        paths = {f"FileName_{c}": str(folder / f"{i}_{c}.tiff") for c in field.channels}
        for path, plane in zip(paths.values(), field.pixels, strict=True):
            tifffile.imwrite(path, plane, compression="lzw")
        singles.append(paths)
    five = [path for paths in singles for path in paths.values()]
    inside = [str(file) for zarr in zarrs for file in zarr.rglob("*") if file.is_file()]
    formats: dict[str, tuple[list[str], Callable[[], object]]] = {
        "five TIFFs, scaled and thresholded": (
            five,
            lambda: [read_field(row, CHANNELS) for row in singles],
        ),
        "five TIFFs, decoded only": (five, lambda: [tifffile.imread(path) for path in five]),
        "merged TIFF (zstd)": (merged, lambda: [read_merged(path) for path in merged]),
        "Zarr (zstd)": (inside, lambda: [read_merged(path) for path in zarrs]),
    }
    rows = {}
    for name, (files, load) in formats.items():
        warm = fastest(load, 3, limit)
        cold = np.nan
        if hasattr(os, "posix_fadvise"):
            _forget(files)
            cold = seconds(load)
        ms = 1000 / len(images)
        size = sum(os.path.getsize(file) for file in files) / len(images) / 1e6
        rows[name] = {"mb": size, "warm": ms * warm.seconds, "cold": ms * cold}
        rows[name]["once"] = warm.bounded
    return pd.DataFrame.from_dict(rows, orient="index")


def _forget(paths: Iterable[str]) -> None:
    """Ask the operating system to drop files from its memory."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _records(images: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(map(str, images), row, strict=True)) for row in images.itertuples(index=False)]
