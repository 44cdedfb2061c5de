"""From images to raw well profiles: embed, average, plate by plate, over any number of processes.

Each plate is written whole, so a killed run resumes with the first plate that is not there
yet, and several processes share the plates among them.
"""

import logging
import os
import shutil
from contextlib import nullcontext
from datetime import timedelta
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.base.files import one_writer
from cpssl_lite.base.provenance import provenance
from cpssl_lite.base.sources import behaviour_digest, modules_used
from cpssl_lite.images.rows import file_of
from cpssl_lite.images.tiff import read_header
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.precision import choose_precision
from cpssl_lite.profiles.embed import embed_fields
from cpssl_lite.profiles.plates import check_images, images_digest, is_current, plates_of, wells_of
from cpssl_lite.profiles.table import check_output, write_profiles

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
        A file is missing, damaged, smaller than a crop or of another size than the first; the
        network gives NaN; a well carries two perturbations; there is no such device, or it has
        no bf16; the output cannot be written.

    Notes
    -----
    Paper, "SSL inference and postprocessing". A crop counts if at least 1% of its area is
    above 0.7 x Otsu in the DNA channel; a field without such a crop contributes the one at
    position n // 2 of its n. Crops lie on a grid from the top left; what is left over at the
    right and bottom edge of a field, square or not, is not looked at (the released code's rule).
    """
    if convention not in (None, *CONVENTIONS):
        raise InputError(f"convention {convention!r} is not one of {', '.join(CONVENTIONS)}")
    for what, number in (("batch_size", batch_size), ("devices", devices), ("nodes", nodes)):
        if number is not None and number < 1:
            raise InputError(f"{what} must be 1 or more, got {number}")
    device = _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    precision = choose_precision(precision, device)
    out = Path(out)
    check_output(out)
    check_images(images)
    settings = {
        "checkpoint": encoder.card,
        "convention": convention,
        "precision": precision,
        "channels": list(encoder.channels),
        "code": _code(),
    }
    whole = images_digest(images, settings)
    if is_current(out, whole):
        log.info("%s: up to date", out)
        return out
    team = _Team(device, devices, nodes)
    with one_writer(out) if team.rank == 0 else nullcontext():
        team.wait()
        if not is_current(out, whole):  # somebody else may just have made it
            _extract_plates(images, encoder, out, whole, settings, team, batch_size)
    return out


def _extract_plates(
    images: pd.DataFrame,
    encoder: Encoder,
    out: Path,
    whole: str,
    settings: dict[str, Any],
    team: "_Team",
    batch_size: int | None,
) -> None:
    """Embed this process's plates; the first process joins all of them."""
    encoder = encoder.eval().to(team.device)
    on_gpu = team.device.startswith("cuda")
    convention = settings["convention"]
    parts = out.with_name(out.name + ".plates")
    plates = plates_of(images, parts, settings)
    # Of the first field, not of the first one embedded: a resumed run must judge alike.
    first = file_of(images.iloc[0])
    shape = read_header(first)[0][-2:]
    if min(shape, default=0) < encoder.crop_size:
        raise InputError(
            f"{first}: {' x '.join(map(str, shape))} px is smaller than the network's crops of "
            f"{encoder.crop_size} px ({encoder.card.get('file', 'checkpoint')})"
        )
    mine = [i for i in range(len(plates)) if team.takes(i) and not plates[i].file.is_file()]
    start, fields_left = perf_counter(), sum(len(plates[i].rows) for i in mine)
    fields_done = 0
    for position in mine:
        name, rows, file = plates[position]
        began = perf_counter()
        sums, crops = embed_fields(
            rows,
            encoder,
            shape,
            name=name,
            low=0.1 if convention == "released" else 0.01,
            precision=settings["precision"],
            batch_size=batch_size or (512 if on_gpu else 16),
            device=team.device,
            readers=min(16, os.cpu_count() or 1) if on_gpu else 2,
        )
        wells = _average(rows, sums, crops, mean_of_fields=convention == "paper")
        write_profiles(wells, file, provenance("extract", plate=name, **settings))
        now = perf_counter()
        fields_done, fields_left = fields_done + len(rows), fields_left - len(rows)
        log.info(
            "plate %s (%d of %d): %d fields, %d crops, %.0f crops/s, %.0f s left",
            *(name, position + 1, len(plates), len(rows), crops.sum()),
            *(crops.sum() / (now - began), (now - start) / fields_done * fields_left),
        )
    team.wait()
    if team.rank == 0:
        table = pd.concat([pd.read_parquet(plate.file) for plate in plates], ignore_index=True)
        write_profiles(table, out, provenance("extract", digest=whole, **settings))
        shutil.rmtree(parts)
    team.wait()


class _Team:
    """The processes that share the plates: this one alone, or as many as Lightning launches."""

    def __init__(self, device: str, devices: int, nodes: int) -> None:
        self.device, self.rank, self.size, self.fabric = device, 0, 1, None
        if devices * nodes == 1:
            return
        from lightning.fabric import Fabric
        from lightning.fabric.strategies import DDPStrategy
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        for part in ("fabric", "pytorch"):  # their banners
            logging.getLogger(f"lightning.{part}").setLevel(logging.ERROR)
        # Plates differ: whoever is done first waits for the others, for days if need be.
        strategy = DDPStrategy(timeout=timedelta(days=7))
        kind = device.partition(":")[0]
        try:
            self.fabric = Fabric(
                accelerator=kind, strategy=strategy, devices=devices, num_nodes=nodes
            )
            self.fabric.launch()
        except MisconfigurationException as error:  # fewer GPUs than that
            reason = " ".join(str(error).split())
            raise InputError(
                f"--devices {devices} --nodes {nodes} cannot run ({reason})"
            ) from error
        self.device = str(self.fabric.device)
        self.rank, self.size = self.fabric.global_rank, self.fabric.world_size

    def takes(self, position: int) -> bool:
        """Whether the plate at a position is this process's."""
        return position % self.size == self.rank

    def wait(self) -> None:
        """Until all processes are here."""
        try:
            if self.fabric:
                self.fabric.barrier()
        except RuntimeError as error:
            raise StepFailed(
                "another process of this run stopped; its own line says why"
            ) from error


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
    here = Path(__file__)
    used = [here, *modules_used(here.read_text(encoding="utf-8"))]
    rooms, own = ("images", "models"), ("extract.py", "embed.py", "plates.py")
    makes = [f for f in used if f.suffix == ".py" and (f.parent.name in rooms or f.name in own)]
    return behaviour_digest(makes)
