"""From images to raw well profiles: read, crop, embed, average.

Fields are read ahead in threads, crops without cells are dropped before the network sees
them, and crops of many fields are packed into full batches. Each plate is written whole, so
a killed run resumes with the first plate that is not there yet.
"""

import hashlib
import json
import logging
import re
import shutil
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cpssl_lite.errors import InputError
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.tiff import Field, read_header
from cpssl_lite.models.checkpoints import Encoder
from cpssl_lite.profiles.table import check_output, read_provenance, write_profiles
from cpssl_lite.provenance import provenance
from cpssl_lite.sources import modules_used

log = logging.getLogger(__name__)

CONVENTIONS = ("paper", "released")
PLATE = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate"]


def extract(
    images: pd.DataFrame,
    encoder: Encoder,
    out: str | Path,
    *,
    convention: str | None = None,
    precision: str = "fp32",
    batch_size: int = 64,
    device: str | None = None,
    readers: int = 2,
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
    precision : {"fp32", "bf16"}
        bf16 runs the network under autocast; averages are kept in float64 either way.

    Returns
    -------
    Path
        `out`. A row per well: Metadata columns, ``Metadata_Fields``, ``Metadata_Crops``
        (numbers averaged) and ``emb_0000``... as float32.

    Raises
    ------
    InputError
        A file is missing, damaged, smaller than a crop or of another size than the first; the
        network gives NaN; a well carries two perturbations; there is no such device; the
        output cannot be written.

    Notes
    -----
    Paper, "SSL inference and postprocessing". A crop counts if at least 1% of its area is
    above 0.7 x Otsu in the DNA channel; a field without such a crop contributes the one at
    position n // 2 of its n.
    """
    if convention not in (None, *CONVENTIONS):
        raise InputError(f"convention {convention!r} is not one of {', '.join(CONVENTIONS)}")
    if precision not in ("fp32", "bf16"):
        raise InputError(f"precision {precision!r} is not one of fp32, bf16")
    if batch_size < 1:
        raise InputError(f"batch_size must be 1 or more, got {batch_size}")
    out = Path(out)
    check_output(out)
    _check_images(images)
    settings = {
        "checkpoint": encoder.card,
        "convention": convention,
        "precision": precision,
        "channels": list(encoder.channels),
        "code": _code(),
    }
    whole = _digest(images, settings)
    if out.is_file() and read_provenance(out).get("digest") == whole:
        log.info("%s: up to date", out)
        return out
    device = _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    encoder = encoder.eval().to(device)
    parts = out.with_name(out.name + ".plates")

    plates = images.groupby([c for c in PLATE if c in images], sort=True)
    # Of the first field, not of the first one embedded: a resumed run must judge alike.
    shape = read_header(_file_of(images.iloc[0]))[0][-2:]
    written = []
    for position, (key, rows) in enumerate(plates, start=1):
        name = "_".join(str(part) for part in (key if isinstance(key, tuple) else (key,)) if part)
        digest = _digest(rows, settings)
        part = parts / f"{_safe(name)}-{digest[:16]}.parquet"
        if not part.is_file():  # plates are written whole, so being there is being done
            start = perf_counter()
            fields = _embed_plate(
                rows, encoder, convention, precision, batch_size, device, readers, shape, name
            )
            wells = _average(rows, fields, mean_of_fields=convention == "paper")
            record = provenance("extract", plate=name, digest=digest, **settings)
            write_profiles(wells, part, record)
            crops = int(fields["crops"].sum())
            seconds = perf_counter() - start
            log.info(
                "plate %s (%d of %d): %d fields, %d crops, %.0f crops/s",
                *(name, position, plates.ngroups, len(rows), crops, crops / seconds),
            )
        written.append(part)

    table = pd.concat([pd.read_parquet(part) for part in written], ignore_index=True)
    write_profiles(table, out, provenance("extract", digest=whole, **settings))
    shutil.rmtree(parts)
    return out


def _embed_plate(
    rows: pd.DataFrame,
    encoder: Encoder,
    convention: str | None,
    precision: str,
    batch_size: int,
    device: str,
    readers: int,
    shape: tuple[int, ...],
    name: str,
) -> pd.DataFrame:
    """Sum of crop features (`sum`) and number of crops (`crops`) of every field of a plate."""
    sums = np.zeros((len(rows), encoder.n_features))
    counts = np.zeros(len(rows), dtype=int)
    low = 0.1 if convention == "released" else 0.01
    waiting: deque[tuple[int, np.ndarray]] = deque()  # (field, crops) not yet embedded
    n_waiting = 0

    def embed(n: int) -> None:
        """Push the first `n` waiting crops through the network."""
        owners, batch = [], []
        while n:
            field, crops = waiting.popleft()
            if len(crops) > n:
                waiting.appendleft((field, crops[n:]))
                crops = crops[:n]
            owners += [field] * len(crops)
            batch.append(crops)
            n -= len(crops)
        pixels = torch.from_numpy(np.concatenate(batch)).to(device)  # (n, C, size, size)
        with torch.autocast(torch.device(device).type, torch.bfloat16, precision == "bf16"):
            features = encoder(pixels.to(torch.float32) / 65535)
        np.add.at(sums, owners, features.double().cpu().numpy())

    progress = tqdm(total=len(rows), desc=name, unit="field", disable=not sys.stderr.isatty())
    with torch.inference_mode(), progress:
        for index, (file, field) in enumerate(_read_ahead(rows, encoder.channels, low, readers)):
            height, width = field.pixels.shape[1:]
            if min(height, width) < encoder.crop_size:
                raise InputError(
                    f"{file}: {height} x {width} px is smaller than the network's crops of "
                    f"{encoder.crop_size} px ({encoder.card.get('file', 'checkpoint')})"
                )
            if shape != (height, width):
                raise InputError(
                    f"{file}: {height} x {width} px, but the first field of this table is "
                    f"{shape[0]} x {shape[1]}; extract each size as its own table"
                )
            crops = _crops_with_cells(field, encoder.crop_size, len(encoder.channels))
            counts[index] = len(crops)
            waiting.append((index, crops))
            n_waiting += len(crops)
            while n_waiting >= batch_size:
                embed(batch_size)
                n_waiting -= batch_size
            progress.update()
        if n_waiting:
            embed(n_waiting)
    if not np.isfinite(sums).all():
        bad = rows.iloc[int(np.flatnonzero(~np.isfinite(sums).all(axis=1))[0])]
        raise InputError(
            f"the network gives NaN or infinity on plate {name} well {bad['Metadata_Well']} "
            f"({encoder.card.get('file', 'checkpoint')}); try --precision fp32"
        )
    return pd.DataFrame({"sum": list(sums), "crops": counts}, index=rows.index)


def _usable(device: str) -> str:
    """`device`, or a line that says why nothing can be computed on it."""
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
        reason = str(error).split("\n")[0].partition(". Please")[0]
        raise InputError(
            f"device {device!r} cannot be used here ({reason}); take cpu, or cuda with a GPU"
        ) from error
    return device


def _crops_with_cells(field: Field, size: int, channels: int) -> np.ndarray:
    """Cut the crops that count out of a field's first channels: (n, channels, size, size)."""
    *_, height, width = field.pixels.shape
    corners = grid(height, width, size)
    dna = field.pixels[field.channels.index("DNA")]
    assert field.otsu is not None  # read_field finds one
    share = foreground_share(dna, field.otsu, corners, size)
    return cut(field.pixels[:channels], corners[select(share)], size)


def _read_ahead(
    rows: pd.DataFrame, channels: Iterable[str], low: float, readers: int
) -> Iterator[tuple[str, Field]]:
    """Yield (file name, field) in table order, a few fields ahead of the network."""
    records: list[dict[Any, Any]] = rows.to_dict("records")
    with ThreadPoolExecutor(readers) as pool:
        ahead: deque[Any] = deque()
        for record in records:
            ahead.append((record, pool.submit(read_field, record, tuple(channels), low)))
            if len(ahead) > 4 * readers:
                done, future = ahead.popleft()
                yield _file_of(done), future.result()
        while ahead:
            done, future = ahead.popleft()
            yield _file_of(done), future.result()


def _average(rows: pd.DataFrame, fields: pd.DataFrame, mean_of_fields: bool) -> pd.DataFrame:
    """Average the fields of each well; Metadata columns keep the well's value."""
    well = [c for c in (*PLATE, "Metadata_Well") if c in rows]
    metadata = [str(c) for c in rows if str(c).startswith("Metadata_") and c != "Metadata_Site"]
    groups = rows.groupby(well, sort=True)
    table, profiles = [], []
    for _, members in groups:
        sums = np.stack(fields.loc[members.index, "sum"].to_list())  # (fields, d)
        crops = fields.loc[members.index, "crops"].to_numpy()
        if mean_of_fields:
            profiles.append((sums / crops[:, None]).mean(axis=0))
        else:
            profiles.append(sums.sum(axis=0) / crops.sum())
        first = members.iloc[0][metadata].to_dict()
        table.append({**first, "Metadata_Fields": len(members), "Metadata_Crops": crops.sum()})
    values = np.stack(profiles).astype(np.float32)  # (wells, d)
    names = [f"emb_{i:04d}" for i in range(values.shape[1])]
    head = pd.DataFrame(table).astype(str)
    return pd.concat([head, pd.DataFrame(values, columns=names)], axis=1)


def _check_images(images: pd.DataFrame) -> None:
    """Fail before the first crop, not hours later, for files or wells that cannot be right."""
    if "Metadata_Perturbation" in images:
        well = [c for c in (*PLATE, "Metadata_Well") if c in images]
        mixed = images.groupby(well)["Metadata_Perturbation"].nunique()
        if (mixed > 1).any():
            raise InputError(
                f"well {'/'.join(filter(None, np.atleast_1d(mixed.index[mixed > 1][0])))} has "
                f"{mixed.max()} different perturbations in its rows; a well has one"
            )
    columns = [c for c in images if str(c).startswith("FileName_")]
    files = pd.unique(images[columns].to_numpy().ravel())
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise InputError(f"{missing[0]}: no such image ({len(missing)} of {len(files)} missing)")


def _file_of(record: Any) -> str:
    return record.get("FileName_Merged") or record.get("FileName_DNA", "")


@cache
def _code() -> str:
    """Digest of the sources that turn files into features: features of older code are not kept."""
    here = Path(__file__)
    used = [f for f in modules_used(here.read_text(encoding="utf-8")) if f.suffix == ".py"]
    return hashlib.sha256(b"".join(f.read_bytes() for f in (here, *used))).hexdigest()


def _digest(rows: pd.DataFrame, settings: dict[str, Any]) -> str:
    """Digest of what a plate's profiles depend on: its rows, its files' size and age, settings."""
    names = [str(c) for c in rows if str(c).startswith("FileName_")]
    stats = [Path(file).stat() for name in names for file in rows[name]]
    facts = [(s.st_size, s.st_mtime_ns) for s in stats]
    text = json.dumps([rows.to_dict("list"), facts, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _safe(name: str) -> str:
    """A plate name as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]
