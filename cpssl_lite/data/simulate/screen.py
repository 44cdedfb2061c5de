"""Draw a whole screen to disk: fields, tables and provenance."""

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from tqdm import tqdm

from cpssl_lite import __version__
from cpssl_lite.data.simulate import effects, tables
from cpssl_lite.data.simulate.draw import draw_field
from cpssl_lite.data.simulate.layout import (
    Screen,
    Well,
    choose,
    layout,
    merged_file,
    plain,
    raw_file,
)
from cpssl_lite.data.simulate.library import generator
from cpssl_lite.data.simulate.optics import expose
from cpssl_lite.errors import InputError
from cpssl_lite.files import atomic_path
from cpssl_lite.files import sha256 as file_sha256
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.tiff import read_header, write_merged
from cpssl_lite.workers import end_with_parent

log = logging.getLogger(__name__)

REVISION = 6  # raised when the same parameters give other pixels or tables
SMALL = 64  # up to so many fields, starting processes takes longer than drawing


def simulate(
    name: str = "lite", out: str | Path = "", seed: int = 0, workers: int = 2, **overrides: Any
) -> Path:
    """Draw the screen `name` into folder `out` and return the path of its image table.

    The folder gets ``images.parquet`` (a row per field: canonical Metadata columns and
    ``FileName_Merged`` relative to the table), ``truth.parquet`` (a row per well: strength,
    the compound's and the well's phenotype parameters, cells drawn), ``compounds.parquet``
    (a row per perturbation), ``assays.parquet`` (activity labels of the compounds, see
    `assays.draw_assays`), ``dataset.yaml`` (parameters and digests) and the fields in
    ``images/``. Fields that are there already are kept, so a killed run goes on where it
    was; a finished data set of the same parameters is returned at once.

    The same name, seed and overrides give the same bytes whatever the number of workers, and
    with or without the vector units of x86 processors (both are tests). On other kinds of
    processor tables agree to the last digits of a float; a pixel may differ where a rounding
    falls the other way, which is rare. Another NumPy version may change its random streams,
    another TIFF or zstd library the file bytes though not the pixels.

    Parameters
    ----------
    name
        ``lite``, ``lite-train``, ``lite-orf`` or ``tiny``.
    out
        Folder; made if missing. Default: the name, in the current folder.
    seed
        Non-negative; ``lite`` and ``lite-train`` of one seed share sources and batches.
    workers
        Processes. Scripts that ask for several need the usual ``if __name__ == "__main__"``.
    overrides
        Any field of `Screen`.

    Raises
    ------
    InputError
        Unknown name or parameter, a value out of range, a folder that holds a data set of
        other parameters, or one that cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> table = simulate("tiny", tempfile.mkdtemp(), rows=1, n_batches=1, workers=1)
    >>> table.name, len(list(table.parent.glob("images/*/*.tiff")))
    ('images.parquet', 6)
    """
    screen = choose(name, seed, workers, overrides)
    out = Path(out or name)
    identity = {
        "name": name,
        "kind": "simulated",
        "seed": seed,
        "revision": REVISION,
        "parameters": plain(screen),
    }
    finished = _begin(out, identity)
    table = out / "images.parquet"
    wells = layout(screen, seed)
    if finished and table.is_file() and all(_there(out, w, screen) for w in wells):
        return table
    cells = _draw_all(out, screen, seed, wells, workers)
    tables.write_all(out, screen, seed, wells, cells)
    _finish(out, identity, screen, wells)
    return table


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: cannot be read as YAML ({error}); delete it or take another folder"
        ) from error


def _begin(out: Path, identity: dict[str, Any]) -> bool:
    """Claim the folder for this data set; True if it is finished there already."""
    card = out / "dataset.yaml"
    if card.exists():
        there = _yaml(card)
        there = there if isinstance(there, dict) else {}
        for key, wanted in identity.items():
            if there.get(key) != wanted:
                got = there.get(key)
                if isinstance(wanted, dict) and isinstance(got, dict):
                    key = next(k for k in {**wanted, **got} if wanted.get(k) != got.get(k))
                    got, wanted = got.get(key), wanted.get(key)
                raise InputError(
                    f"{out}: holds another data set ({key} is {got!r}, asked for {wanted!r});"
                    " take another folder or delete this one"
                )
        return bool(there.get("finished"))
    with atomic_path(card) as scratch:
        scratch.write_text(yaml.safe_dump({**identity, "finished": False}, sort_keys=False))
    return False


def _finish(out: Path, identity: dict[str, Any], screen: Screen, wells: list[Well]) -> None:
    """Record what was made and with what; its presence says that the data set is whole."""
    digest = sha256()
    names = [merged_file(w, site) for w in wells for site in range(1, screen.n_sites + 1)]
    size = 0
    for name in names:
        digest.update(f"{name} {file_sha256(out / name)}\n".encode())
        size += (out / name).stat().st_size
    record = {
        **identity,
        "finished": True,
        "licence": "CC0-1.0",
        "note": "Simulated: shows how methods behave, not what cells do.",
        "n_fields": len(names),
        "megabytes": round(size / 1e6, 1),
        "made_with": {"cpssl_lite": __version__, "numpy": np.__version__},
        "tables_sha256": {t: file_sha256(out / t) for t in tables.NAMES if (out / t).is_file()},
        "images_sha256": digest.hexdigest(),
    }
    with atomic_path(out / "dataset.yaml") as scratch:
        scratch.write_text(yaml.safe_dump(record, sort_keys=False))


def _there(out: Path, well: Well, screen: Screen) -> bool:
    return all((out / merged_file(well, site)).is_file() for site in range(1, screen.n_sites + 1))


def _draw_all(
    out: Path, screen: Screen, seed: int, wells: list[Well], workers: int
) -> list[list[int]]:
    """Draw all wells; return the living cells drawn in each field of each."""
    raw = [well.name in _first(wells, well.plate, screen.raw_wells) for well in wells]
    jobs = (repeat(out), repeat(screen), repeat(seed), wells, raw)
    log.info("drawing %d fields in %s", len(wells) * screen.n_sites, out)
    if workers == 1 or len(wells) * screen.n_sites <= SMALL:
        return list(_shown(map(_draw_well, *jobs), len(wells)))
    # Spawned, not forked: the caller may have threads (torch does), which a fork breaks.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=end_with_parent) as pool:
        return list(_shown(pool.map(_draw_well, *jobs, chunksize=8), len(wells)))


def _shown(results: Iterator[list[int]], n: int) -> Iterator[list[int]]:
    """Pass results on with a progress bar on a terminal, a line every quarter otherwise."""
    if sys.stderr.isatty():
        yield from tqdm(results, total=n, desc="wells", unit="well", leave=False)
        return
    for done, result in enumerate(results, 1):
        if done % max(n // 4, 1) == 0:
            log.info("drew %d of %d wells", done, n)
        yield result


def _first(wells: list[Well], plate: str, n: int) -> set[str]:
    """Names of the first `n` wells of a plate."""
    return set([well.name for well in wells if well.plate == plate][:n]) if n else set()


def _draw_well(out: Path, screen: Screen, seed: int, well: Well, raw: bool) -> list[int]:
    """Draw what is missing of a well; return the cells drawn in each of its fields."""
    phenotype, optics = effects.of_well(screen, seed, well)
    counts = []
    for site in range(1, screen.n_sites + 1):
        path = out / merged_file(well, site)
        planes = [out / raw_file(well, site, c) for c in CHANNELS]
        if path.is_file() and (not raw or all(plane.is_file() for plane in planes)):
            counts.append(int(read_header(path)[1]["cells"]))
            continue
        rng = generator(seed, "field", well.plate, well.name, site)
        stains, count = draw_field(phenotype, rng, screen.size)
        pixels = expose(stains, optics, rng)
        if raw:
            for plane, image in zip(planes, pixels, strict=True):
                with atomic_path(plane) as scratch:
                    tifffile.imwrite(scratch, image)
        merged = to_uint16(scale_intensities(pixels))
        dna = merged[CHANNELS.index("DNA")]
        write_merged(path, merged, otsu_threshold(dna), notes={"cells": str(count)})
        counts.append(count)
    return counts
