"""The fields of a plate through the network: read ahead, cut, packed into full batches, summed.

Threads read fields, find the crops that hold cells and cut them while the network runs;
crops without cells never reach it, and a batch holds crops of many fields. Cutting where the
pixels are read moves less to a GPU than whole fields would.
"""

import logging
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.crops import cut, foreground_share, grid, select
from cpssl_lite.images.rows import file_of, read_field
from cpssl_lite.images.tiff import Field
from cpssl_lite.models.encoder import Encoder

log = logging.getLogger(__name__)


def embed_fields(
    rows: pd.DataFrame,
    encoder: Encoder,
    shape: tuple[int, ...],
    *,
    name: str = "",
    low: float = 0.01,
    precision: str = "fp32",
    batch_size: int = 64,
    device: str = "cpu",
    readers: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the crop features of every field, and how many crops were summed.

    Parameters
    ----------
    rows : DataFrame
        Rows of an image table, of one plate.
    encoder : Encoder
        In eval mode and on `device`.
    shape : (H, W)
        Size that every field must have.
    name
        Of the plate, for the progress bar and messages.
    low
        Low percentile of the intensity scaling, for raw single-channel files.
    readers
        Threads that read and cut.

    Returns
    -------
    sums (n, d) float64 and crops (n,) int, in the order of `rows`.

    Raises
    ------
    InputError
        A field cannot be read or is not of `shape`; the network gives NaN.
    """
    sums = torch.zeros((len(rows), encoder.n_features), dtype=torch.float64, device=device)
    counts = np.zeros(len(rows), dtype=int)
    pin = device.startswith("cuda")
    waiting: deque[tuple[int, torch.Tensor]] = deque()  # (field, crops) not yet embedded
    n_waiting = 0

    def embed(n: int) -> None:
        """Push the first `n` waiting crops through the network."""
        owners: list[int] = []
        batch = []
        while n:
            field, crops = waiting.popleft()
            if len(crops) > n:
                waiting.appendleft((field, crops[n:]))
                crops = crops[:n]
            owners += [field] * len(crops)
            batch.append(crops)
            n -= len(crops)
        # Joined on the device: only what lies in page-locked memory is copied in passing.
        pixels = torch.cat([crops.to(device, non_blocking=True) for crops in batch])  # uint16
        with torch.autocast(torch.device(device).type, torch.bfloat16, precision == "bf16"):
            features = encoder(pixels)  # (n, d)
        # On the device, in float64: nobody waits for a GPU before the plate is done.
        where = torch.tensor(owners, pin_memory=pin).to(device, non_blocking=True)
        sums.index_add_(0, where, features.double())

    progress = tqdm(total=len(rows), desc=name, unit="field", disable=not sys.stderr.isatty())
    with torch.inference_mode(), progress:
        for index, crops in enumerate(_read_ahead(rows, encoder, shape, low, readers, device)):
            counts[index] = len(crops)
            waiting.append((index, crops))
            n_waiting += len(crops)
            while n_waiting >= batch_size:
                embed(batch_size)
                n_waiting -= batch_size
            progress.update()
            rate = counts[: index + 1].sum() / max(progress.format_dict["elapsed"], 1e-3)
            progress.set_postfix_str(f"{rate:.0f} crops/s", refresh=False)
        if n_waiting:
            embed(n_waiting)
    total = sums.cpu().numpy()
    if not np.isfinite(total).all():
        bad = rows.iloc[int(np.flatnonzero(~np.isfinite(total).all(axis=1))[0])]
        raise InputError(
            f"the network gives NaN or infinity on plate {name} well {bad['Metadata_Well']} "
            f"({encoder.card.get('file', 'checkpoint')}); try --precision fp32"
        )
    return total, counts


def _read_ahead(
    rows: pd.DataFrame,
    encoder: Encoder,
    shape: tuple[int, ...],
    low: float,
    readers: int,
    device: str,
) -> Iterator[torch.Tensor]:
    """Yield each field's crops with cells, in table order, a few fields ahead of the network."""
    pin = device.startswith("cuda")  # page-locked memory is copied while the GPU computes

    def crops_of(record: dict[Any, Any]) -> torch.Tensor:
        field = read_field(record, encoder.channels, low)
        height, width = field.pixels.shape[1:]
        if (height, width) != tuple(shape):
            raise InputError(
                f"{file_of(record)}: {height} x {width} px, but the first field of this table is "
                f"{shape[0]} x {shape[1]}; extract each size as its own table"
            )
        crops = torch.from_numpy(crops_with_cells(field, encoder.crop_size, len(encoder.channels)))
        return crops.pin_memory() if pin else crops

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
