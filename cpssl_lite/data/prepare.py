"""From raw images to merged five-channel fields with their Otsu threshold."""

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, check_writable, refuse_pointer, sha256
from cpssl_lite.base.made import Recipe, code_digest, files_digest
from cpssl_lite.base.workers import in_processes
from cpssl_lite.data.names import plate_names, safe
from cpssl_lite.images import otsu, scale, tiff
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.metadata import PLATE
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.rows import say_order, stored_channels
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.table import read_image_table
from cpssl_lite.images.tiff import read_header, read_merged, read_planes, write_merged

log = logging.getLogger(__name__)


class _Job(NamedTuple):
    """One field: where it comes from, where it goes."""

    sources: tuple[str, ...]
    target: Path
    illum: tuple[str, ...] = ()  # illumination functions, in the order of sources
    channels: tuple[str, ...] = ()  # of a merged source, where it does not name them itself


def prepare(
    table: str | Path,
    out: str | Path,
    low: float = 0.01,
    high: float = 99.9,
    workers: int = 2,
    illum: str | Path | None = None,
    channels: Sequence[str] | None = None,
) -> Path:
    """Make a merged image of every field of an image table.

    Each channel is clipped at its `low` and `high` percentile and scaled (paper, Methods: 0.01
    and 99.9; released code: 0.1 and 99.9), then Otsu's threshold is found in the DNA channel.

    Writes ``out/images/<plate>/<plate>_<well>_s<site>.tif``, then ``out/images.parquet`` (the
    image table of the merged fields) and ``out/images.json`` (how it was made). Every file is
    whole or not there. A field whose merged image was made from the same files with the same
    parameters is not made again, so the same call resumes a run that was stopped.

    Parameters
    ----------
    table
        Image table, see `read_image_table`; single-channel or merged fields.
    workers
        Processes that work side by side; 1 uses none.
    illum
        Folder with the published illumination functions,
        ``<plate>/<plate>_Illum<channel>.npy``: every channel is divided by its plate's function
        before it is scaled, as in the consortium's own pipelines. The paper does not do it.
    channels
        All channels of merged fields, in their order, where their files do not name them.

    Returns
    -------
    Path of ``out/images.parquet``.

    Raises
    ------
    InputError
        The table or a field cannot be used, fields of a plate differ in size, an illumination
        function is missing or does not fit, `out` cannot be written or holds the table itself.
        At the first bad field the run stops; fields that are done stay, the table is not written.
    """
    table, out = Path(table), Path(out)
    check_writable(out / "images.parquet", [table])
    fields = read_image_table(table, channels)
    jobs = _jobs(table, fields, out, illum)
    make = partial(_make, listed=out / "images.parquet", low=float(low), high=float(high))
    given = {"low": low, "high": high, "channels": CHANNELS, "illum": str(illum or "")}
    given |= {"stored_channels": channels} if channels else {}
    source = sha256(table) if table.is_file() else files_digest([table])
    recipe = Recipe("prepare", given, {table.name: source}, _code())
    record = recipe.record(fields=len(fields))
    _check_sizes(jobs, fields)
    _report(fields["Metadata_Plate"].tolist(), in_processes(make, jobs, workers))

    made = fields[[c for c in fields if str(c).startswith("Metadata_")]].copy()
    made["FileName_Merged"] = [job.target.relative_to(out).as_posix() for job in jobs]
    made.attrs["provenance"] = record  # goes into the Parquet file's own metadata as well
    with atomic_path(out / "images.json") as scratch:
        scratch.write_text(json.dumps(record, indent=2) + "\n")
    with atomic_path(out / "images.parquet") as scratch:
        made.to_parquet(scratch, index=False)
    return out / "images.parquet"


def _report(plates: list[str], results: Iterable[bool]) -> None:
    """Wait for all fields with a bar on a terminal, else with one log line a plate."""
    terminal = sys.stderr.isatty()
    total = Counter(plates)
    left, made = total.copy(), Counter[str]()
    done = tqdm(results, total=len(plates), unit="field", disable=not terminal)
    for plate, new in zip(plates, done, strict=True):
        left[plate] -= 1
        made[plate] += new
        if not left[plate] and not terminal:
            log.info("plate %s: %d of %d fields made anew", plate, made[plate], total[plate])


def _jobs(table: Path, fields: pd.DataFrame, out: Path, illum: str | Path | None) -> list[_Job]:
    merged = "FileName_Merged" in fields
    if merged and illum:
        raise InputError("illumination functions are for raw images; this table has merged ones")
    columns = ["FileName_Merged"] if merged else [f"FileName_{name}" for name in CHANNELS]
    plates = plate_names(fields)
    key = ["Metadata_Well", "Metadata_Site"]
    names = fields[key].map(safe)
    targets = [
        out / "images" / plate / f"{plate}_{well}_s{site}.tif"
        for plate, (well, site) in zip(plates, names.itertuples(index=False), strict=True)
    ]
    seen: dict[str, int] = {}
    for row, target in enumerate(targets, start=1):
        # Where case does not count two names are one file.
        if (first := seen.setdefault(str(target).casefold(), row)) != row:
            a, b = (" s".join(map(str, fields.iloc[n - 1][key])) for n in (first, row))
            raise InputError(
                f"{table}: rows {first} and {row} ({a} and {b}) would both be written to {target}; "
                "wells and sites must differ in more than case and in characters of file names"
            )
    sources = fields[columns].itertuples(index=False, name=None)
    if illum is None:
        said = tuple(stored_channels(fields.iloc[0]) or ())
        return [_Job(*job, (), said) for job in zip(sources, targets, strict=True)]
    functions = [
        tuple(str(Path(illum) / plate / f"{plate}_Illum{name}.npy") for name in CHANNELS)
        for plate in fields["Metadata_Plate"]  # as it is written: the files are others'
    ]
    return [_Job(*job) for job in zip(sources, targets, functions, strict=True)]


def _check_sizes(jobs: list[_Job], fields: pd.DataFrame) -> None:
    """Compare the sizes of each plate's fields, by the headers of their first files."""
    with ThreadPoolExecutor(8) as pool:  # waits for the disk rather than computes
        headers = list(pool.map(lambda job: read_header(job.sources[0]), jobs))
    say_order((notes for _, notes in headers), fields.to_dict("records"))
    sizes = [shape[-2:] for shape, _ in headers]
    plates = fields[PLATE].itertuples(index=False, name=None)
    first: dict[tuple[str, ...], tuple[str, tuple[int, ...]]] = {}
    for plate, job, size in zip(plates, jobs, sizes, strict=True):
        file, known = first.setdefault(plate, (job.sources[0], size))
        if size != known:
            (h, w), (height, width) = known, size
            raise InputError(
                f"fields of one plate must have one size: {file} is {h} x {w} px,"
                f" {job.sources[0]} is {height} x {width} px"
            )
    if len(found := sorted(set(sizes))) > 1:
        all_sizes = ", ".join(" x ".join(map(str, size)) for size in found)
        log.info("plates with fields of %s px: each is merged at its own size", all_sizes)


def _make(job: _Job, listed: Path, low: float, high: float) -> bool:
    """Make one merged image; False if it was there already."""
    recipe = _recipe(job, low, high)
    if job.target.is_file():
        try:
            if read_header(job.target)[1].get("recipe") == recipe:
                return False
        except InputError:
            pass  # damaged since: make it again
    if len(job.sources) == 1:
        raw = read_merged(job.sources[0], stored=job.channels, raw=True).pixels
    else:
        raw = read_planes(job.sources)
    even = _evened(job, raw) if job.illum else raw
    pixels = to_uint16(scale_intensities(even, low, high))
    # From the stored grey levels, so that anybody can find it again from the file.
    threshold = otsu_threshold(pixels[CHANNELS.index("DNA")])
    listed.unlink(missing_ok=True)  # the table of an earlier run: its images change under it
    write_merged(job.target, pixels, threshold, notes={"recipe": recipe})
    return True


def _evened(job: _Job, pixels: NDArray) -> NDArray[np.float32]:
    """Divide each channel by its illumination function (H, W)."""
    even = np.empty(pixels.shape, np.float32)
    for file, plane, out in zip(job.illum, pixels, even, strict=True):
        refuse_pointer(file)
        try:
            function = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{file}: not a readable illumination function ({error})") from error
        if function.shape != plane.shape:
            raise InputError(
                f"{file}: shape {function.shape}, the fields of its plate are {plane.shape}"
            )
        if function.dtype.kind not in "fiu":
            raise InputError(f"{file}: a function to divide by holds numbers, not {function.dtype}")
        missing = int((~np.isfinite(function)).sum())
        if missing or function.min() <= 0:
            got = f"{missing:,} pixels that are no number" if missing else f"{function.min():g}"
            raise InputError(
                f"{file}: an illumination function must be positive everywhere, got {got}"
            )
        np.divide(plane, function, out=out, casting="unsafe")
    return even


def _recipe(job: _Job, low: float, high: float) -> str:
    """Digest of what an image is made from: source files, parameters and code."""
    try:
        inputs = {"files": files_digest([*job.sources, *job.illum])}
    except OSError as error:
        raise InputError(f"{error.filename}: no such file") from error
    scales = {"low": low, "high": high, "channels": CHANNELS}
    scales |= {"stored_channels": job.channels} if job.channels else {}
    return Recipe("prepare", scales, inputs, _code()).digest[:16]


@cache
def _code() -> str:
    """Digest of the sources that decide what a merged image holds."""
    return code_digest(__file__, otsu.__file__, scale.__file__, tiff.__file__)
