"""Draw a whole screen to disk: fields, tables and provenance."""

import logging
import shutil
import sys
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from tqdm import tqdm

from cpssl_lite import __version__
from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path
from cpssl_lite.base.files import sha256 as file_sha256
from cpssl_lite.base.made import Recipe, code_digest
from cpssl_lite.base.workers import in_processes
from cpssl_lite.base.yamls import read_mapping
from cpssl_lite.data.simulate import effects, tables
from cpssl_lite.data.simulate.draw import draw_field
from cpssl_lite.data.simulate.layout import (
    Screen,
    Well,
    as_parameters,
    choose,
    layout,
    merged_file,
    raw_file,
)
from cpssl_lite.data.simulate.library import generator
from cpssl_lite.data.simulate.optics import expose
from cpssl_lite.images import otsu, scale
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.scale import scale_intensities, to_uint16
from cpssl_lite.images.tiff import read_header, write_merged

log = logging.getLogger(__name__)

REVISION = 7  # raised when the same parameters give other pixels or tables
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
    chosen = as_parameters(screen)
    recipe = Recipe("simulate", {"name": name, "seed": seed, **chosen}, code=_code())
    card = {
        "name": name,
        "kind": "simulated",
        "seed": seed,
        "revision": REVISION,
        "parameters": chosen,
        "code": recipe.code,
        "digest": recipe.digest,
    }
    finished = _begin(out, recipe, card)
    table = out / "images.parquet"
    wells = layout(screen, seed)
    files = [merged_file(well, site) for well in wells for site in screen.sites]
    if finished and table.is_file() and all((out / file).is_file() for file in files):
        return table
    cells = _draw_all(out, screen, seed, wells, workers)
    tables.write_all(out, screen, seed, wells, cells)
    _finish(out, card, files)
    return table


@cache
def _code() -> str:
    """Digest of the sources that decide what is drawn, after the revision."""
    sources = code_digest(__file__, otsu.__file__, scale.__file__, rooms=("data",))
    return f"{REVISION} {sources}"


def _begin(out: Path, recipe: Recipe, card: dict[str, Any]) -> bool:
    """Claim the folder for this data set; True if it is finished there already."""
    path = out / "dataset.yaml"
    if path.exists():
        try:
            there = read_mapping(path, "record of a data set")
        except InputError as error:
            raise InputError(f"{error}; delete it or take another folder") from error
        changed = recipe.changed(there)
        if changed not in ("", "code"):
            raise InputError(
                f"{out}: holds another data set ({changed}); take another folder or delete this one"
            )
        if not changed:
            return bool(there.get("finished"))
        log.warning("%s: drawn by other code, and drawn again", out)
        shutil.rmtree(out / "images", ignore_errors=True)
        shutil.rmtree(out / "raw", ignore_errors=True)
    with atomic_path(path) as scratch:
        scratch.write_text(yaml.safe_dump({**card, "finished": False}, sort_keys=False))
    return False


def _finish(out: Path, card: dict[str, Any], files: list[str]) -> None:
    """Record what was made and with what; its presence says that the data set is whole."""
    digest, size = sha256(), 0
    for file in files:
        digest.update(f"{file} {file_sha256(out / file)}\n".encode())
        size += (out / file).stat().st_size
    record = {
        **card,
        "finished": True,
        "licence": "CC0-1.0",
        "note": "Simulated: shows how methods behave, not what cells do.",
        "n_fields": len(files),
        "megabytes": round(size / 1e6, 1),
        "made_with": {"cpssl_lite": __version__, "numpy": np.__version__},
        "tables_sha256": {t: file_sha256(out / t) for t in tables.NAMES if (out / t).is_file()},
        "images_sha256": digest.hexdigest(),
    }
    with atomic_path(out / "dataset.yaml") as scratch:
        scratch.write_text(yaml.safe_dump(record, sort_keys=False))


def _draw_all(
    out: Path, screen: Screen, seed: int, wells: list[Well], workers: int
) -> list[list[int]]:
    """Draw all wells; return the living cells drawn in each field of each."""
    n, fields = len(wells), len(wells) * screen.n_sites
    log.info("drawing %d fields in %s", fields, out)
    draw = partial(_draw_well, out, screen, seed)
    results = in_processes(draw, wells, workers if fields > SMALL else 1, chunk=8)
    terminal = sys.stderr.isatty()
    cells = []
    for counts in tqdm(results, total=n, desc="wells", unit="well", disable=not terminal):
        cells.append(counts)
        if not terminal and len(cells) % max(n // 4, 1) == 0:
            log.info("drew %d of %d wells", len(cells), n)
    return cells


def _draw_well(out: Path, screen: Screen, seed: int, well: Well) -> list[int]:
    """Draw what is missing of a well; return the cells drawn in each of its fields."""
    phenotype, optics = effects.of_well(screen, seed, well)
    counts = []
    for site in screen.sites:
        path = out / merged_file(well, site)
        planes = [out / raw_file(well, site, c) for c in CHANNELS if well.raw]
        if path.is_file() and all(plane.is_file() for plane in planes):
            counts.append(int(read_header(path)[1]["cells"]))
            continue
        rng = generator(seed, "field", well.plate, well.name, site)
        stains, count = draw_field(phenotype, rng, screen.size)
        pixels = expose(stains, optics, rng)
        for plane, image in zip(planes, pixels, strict=False):
            with atomic_path(plane) as scratch:
                tifffile.imwrite(scratch, image)
        merged = to_uint16(scale_intensities(pixels))
        dna = merged[CHANNELS.index("DNA")]
        write_merged(path, merged, otsu_threshold(dna), notes={"cells": str(count)})
        counts.append(count)
    return counts
