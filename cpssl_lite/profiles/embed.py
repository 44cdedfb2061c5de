"""The fields of a plate through networks: read ahead, cut, packed into full batches, summed.

Threads read fields, find the crops that hold cells and cut them while the networks run;
crops without cells never reach one, and a batch holds crops of many fields. Cutting where the
pixels are read moves less to a GPU than whole fields would.
"""

import logging
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.nuclei import count_nuclei
from cpssl_lite.images.rows import file_of, read_field
from cpssl_lite.images.tiff import Field
from cpssl_lite.images.twins import Twins
from cpssl_lite.models.encoder import Encoder

log = logging.getLogger(__name__)


def embed_fields(
    rows: pd.DataFrame,
    encoders: Sequence[Encoder],
    shape: tuple[int, ...],
    *,
    name: str = "",
    low: float = 0.01,
    precision: str = "fp32",
    batch_size: int | None = None,
    device: str = "cpu",
    readers: int = 2,
    nuclei: np.ndarray | None = None,
    least: int = 0,
    each: bool = False,
    twins: Twins | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sum of the crop features of every field, and how many crops were summed, by network.

    Parameters
    ----------
    rows : DataFrame
        Rows of an image table, of one plate.
    encoders : sequence of Encoder
        In eval mode and on `device`. A field is read once for all of them.
    shape : (H, W)
        Size that every field must have.
    name
        Of the plate, for the progress bar and messages.
    low
        Low percentile of the intensity scaling, for raw single-channel files.
    batch_size
        Crops in a batch [default: 16 pictures, on a GPU 512 crops].
    readers
        Threads that read and cut.
    nuclei : (n,) int, optional
        Is filled with the number of nuclei in every field.
    least
        Fields with fewer nuclei have no crops (and a sum of 0).
    each
        Features of every crop instead of sums, one field after another.
    twins
        Takes note of pixels that are there twice.

    Returns
    -------
    For each network sums (n, d) float64, with `each` features (number of crops, d), and crops (n,)
    int, in the order of `rows`.

    Raises
    ------
    InputError
        A field cannot be read or is not of `shape`; a network gives NaN.
    """
    kind = _Each if each else _Sums
    networks = [kind(encoder, len(rows), batch_size, precision, device) for encoder in encoders]
    progress = tqdm(total=len(rows), desc=name, unit="field", disable=not sys.stderr.isatty())
    with torch.inference_mode(), progress:
        ahead = _read_ahead(rows, encoders, shape, low, readers, device, least, twins)
        for index, (of_each, found) in enumerate(ahead):
            if nuclei is not None:
                nuclei[index] = found
            for network, crops in zip(networks, of_each, strict=True):
                network.add(index, crops)
            progress.update()
            done = sum(network.counts[: index + 1].sum() for network in networks)
            rate = done / max(progress.format_dict["elapsed"], 1e-3)
            progress.set_postfix_str(f"{rate:.0f} crops/s", refresh=False)
        results = [network.finish() for network in networks]
    for encoder, (sums, counts) in zip(encoders, results, strict=True):
        if not np.isfinite(sums).all():
            at = int(np.flatnonzero(~np.isfinite(sums).all(axis=1))[0])
            bad = rows.iloc[int(np.repeat(range(len(rows)), counts)[at]) if each else at]
            raise InputError(
                f"the network gives NaN or infinity on plate {name} well {bad['Metadata_Well']} "
                f"({encoder.card.get('file', 'checkpoint')}); try --precision fp32"
            )
    return results


class _Sums:
    """One network's sums over a plate; crops wait here until they fill a batch."""

    def __init__(
        self, encoder: Encoder, n: int, batch_size: int | None, precision: str, device: str
    ) -> None:
        self.encoder, self.precision, self.device = encoder, precision, device
        if batch_size is None:
            # Few enough to stay in a processor's cache; each stain may be a picture of its own.
            pictures = len(encoder.channels) if encoder.per_channel else 1
            batch_size = 512 if device.startswith("cuda") else max(16 // pictures, 1)
        self.batch_size = batch_size
        self._start(n)
        self.counts = np.zeros(n, dtype=int)
        self.waiting: deque[tuple[int, torch.Tensor]] = deque()  # (field, crops)
        self.n_waiting = 0

    def _start(self, n: int) -> None:
        size = (n, self.encoder.n_features)
        self.sums = torch.zeros(size, dtype=torch.float64, device=self.device)

    def add(self, field: int, crops: torch.Tensor) -> None:
        """Take over the crops of one field; embed what fills batches."""
        self.counts[field] = len(crops)
        if not len(crops):
            return
        self.waiting.append((field, crops))
        self.n_waiting += len(crops)
        while self.n_waiting >= self.batch_size:
            self._embed(self.batch_size)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Embed the rest; sums and counts of all fields."""
        if self.n_waiting:
            self._embed(self.n_waiting)
        return self._result(), self.counts

    def _result(self) -> np.ndarray:
        return self.sums.cpu().numpy()

    def _embed(self, n: int) -> None:
        """Push the first `n` waiting crops through the network."""
        self.n_waiting -= n
        owners: list[int] = []
        batch = []
        while n:
            field, crops = self.waiting.popleft()
            if len(crops) > n:
                self.waiting.appendleft((field, crops[n:]))
                crops = crops[:n]
            owners += [field] * len(crops)
            batch.append(crops)
            n -= len(crops)
        # Joined on the device: only what lies in page-locked memory is copied in passing.
        pixels = torch.cat([crops.to(self.device, non_blocking=True) for crops in batch])  # uint16
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, self.precision == "bf16"):
            features = self.encoder(pixels)  # (n, d)
        self._keep(features, owners)

    def _keep(self, features: torch.Tensor, owners: list[int]) -> None:
        # On the device, in float64: nobody waits for a GPU before the plate is done.
        where = torch.tensor(owners, pin_memory=self.device.startswith("cuda"))
        self.sums.index_add_(0, where.to(self.device, non_blocking=True), features.double())


class _Each(_Sums):
    """One network's features of every crop; fields come in order, and so do their crops."""

    def _start(self, n: int) -> None:
        self.features: list[np.ndarray] = []

    def _keep(self, features: torch.Tensor, owners: list[int]) -> None:
        self.features.append(features.double().cpu().numpy())

    def _result(self) -> np.ndarray:
        return np.concatenate([np.empty((0, self.encoder.n_features)), *self.features])


def _read_ahead(
    rows: pd.DataFrame,
    encoders: Sequence[Encoder],
    shape: tuple[int, ...],
    low: float,
    readers: int,
    device: str,
    least: int,
    twins: Twins | None,
) -> Iterator[tuple[list[torch.Tensor], int]]:
    """Yield each field's crops for every network, and its nuclei; in table order, a few ahead."""
    pin = device.startswith("cuda")  # page-locked memory is copied while the GPU computes
    wanted = [(encoder.channels, encoder.crop_size) for encoder in encoders]

    def crops_of(record: dict[Any, Any]) -> tuple[list[torch.Tensor], int]:
        fields = {
            channels: read_field(record, channels, low)
            for channels in dict.fromkeys(channels for channels, _ in wanted)
        }
        field = next(iter(fields.values()))
        if twins:
            twins.look(field.pixels, field.channels, file_of(record))
        assert field.otsu is not None  # read_field finds one
        nuclei = count_nuclei(field.pixels[field.channels.index("DNA")], field.otsu)
        cuts = {}
        for channels, size in dict.fromkeys(wanted):
            height, width = fields[channels].pixels.shape[1:]
            if (height, width) != tuple(shape):
                raise InputError(
                    f"{file_of(record)}: {height} x {width} px, but the first field of its plate "
                    f"is {shape[0]} x {shape[1]}; fields of one plate must have one size"
                )
            found = crops_with_cells(fields[channels], size, len(channels))
            crops = torch.from_numpy(found[: None if nuclei >= least else 0])
            cuts[channels, size] = crops.pin_memory() if pin else crops
        return [cuts[want] for want in wanted], nuclei

    with ThreadPoolExecutor(readers) as pool:
        ahead: deque[Any] = deque()
        try:
            for record in rows.to_dict("records"):
                ahead.append(pool.submit(crops_of, record))
                if len(ahead) > 4 * readers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:  # after an error nobody reads on
                future.cancel()


def crops_with_cells(field: Field, size: int, channels: int) -> np.ndarray:
    """Cut the crops that count out of a field's first channels: (n, channels, size, size)."""
    *_, height, width = field.pixels.shape
    corners = grid(height, width, size)
    dna = field.pixels[field.channels.index("DNA")]
    assert field.otsu is not None  # read_field finds one
    share = foreground_share(dna, field.otsu, corners, size)
    return cut(field.pixels[:channels], corners[select(share)], size)
