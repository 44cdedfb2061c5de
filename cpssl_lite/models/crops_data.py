"""Training data: fields of an image table, and random crops of them with cells inside."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.augment import Resize, resize_crop
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.crops import FACTOR, SHARE
from cpssl_lite.images.otsu import otsu_threshold
from cpssl_lite.images.tiff import read_merged

TRIES = 20  # of a random crop, as in the released code; the last one is then used anyway


class CropSpec(NamedTuple):
    """So many crops of one size from every field, plain or parts rescaled to that size."""

    number: int
    size: int
    resize: Resize | None = None


def crop_specs(recipe: dict[str, Any]) -> list[CropSpec]:
    """Crop groups of a recipe, each with the `resize` of its augmentations, if there is one.

    Smaller crops (DINO's local ones) take smaller parts in proportion: all groups are rescaled
    by the same range of factors, as a local crop is less of the field, not a coarser view of it.
    """
    values = recipe["augment"].get("resize")
    specs = [CropSpec(crop["count"], crop["size"]) for crop in recipe["crops"]]
    if values is None:
        return specs
    low, high = Resize(**values).scale

    def resize(size: int) -> Resize:
        smaller = (size / specs[0].size) ** 2
        return Resize(**{**values, "scale": (low * smaller, high * smaller), "size": size})

    return [spec._replace(resize=resize(spec.size)) for spec in specs]


class Fields:
    """The fields of an image table, held in memory as uint16 where they fit, once one is needed.

    Parameters
    ----------
    table
        Rows with `FileName_Merged`.
    memory
        Bytes that pixels may take; beyond that, files are read whenever they are needed.
    """

    def __init__(self, table: pd.DataFrame, memory: float = 8e9) -> None:
        if "FileName_Merged" not in table:
            raise InputError(
                "training reads merged images: the table has no FileName_Merged (make them with "
                "`cpssl data prepare`)"
            )
        self.paths = [Path(p) for p in table["FileName_Merged"]]
        self.first = read_merged(self.paths[0]).pixels
        self.fit = self.first.nbytes * len(self.paths) <= memory

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint16], float]:
        """Pixels (C, H, W) and the grey level above which DNA counts as foreground."""
        return self.cached[index] if self.fit else _read(self.paths[index])

    @cached_property
    def cached(self) -> list[tuple[NDArray[np.uint16], float]]:
        """All fields, read at the first use: a run that is finished needs none of them."""
        stats = [path.stat() for path in self.paths]
        return _in_memory(tuple(self.paths), tuple((s.st_size, s.st_mtime_ns) for s in stats))

    def digest(self) -> str:
        """SHA-256 over the names and sizes of the files and the pixels of the first one."""
        total = hashlib.sha256()
        for path in self.paths:
            total.update(f"{path.name} {path.stat().st_size}\n".encode())
        total.update(self.first.tobytes())
        return total.hexdigest()

    def statistics(self, size: int, seed: int) -> tuple[list[float], list[float]]:
        """Mean and sd of each channel over one random crop of up to 256 fields, 0..1."""
        rng = np.random.default_rng([seed, 0])
        chosen = rng.permutation(len(self))[:256]
        crops = [random_crop(*self[i], size, rng).astype(np.float64) / 65535 for i in chosen]
        means = np.mean([crop.mean(axis=(1, 2)) for crop in crops], axis=0)
        squares = np.mean([np.square(crop).mean(axis=(1, 2)) for crop in crops], axis=0)
        return means.tolist(), np.sqrt(squares - means**2).tolist()


def _read(path: Path) -> tuple[NDArray[np.uint16], float]:
    field = read_merged(path)
    dna = field.pixels[CHANNELS.index("DNA")]
    otsu = field.otsu if field.otsu is not None else otsu_threshold(dna / np.float32(65535))
    return field.pixels, FACTOR * otsu * 65535


@lru_cache(maxsize=1)
def _in_memory(
    paths: tuple[Path, ...], _: tuple[tuple[int, int], ...]
) -> list[tuple[NDArray[np.uint16], float]]:
    """All fields; the last table's are kept (files of the same sizes and ages).

    An ablation trains tens of networks on the same fields, and reading takes a third as long as
    its trainings.
    """
    with ThreadPoolExecutor(4) as pool:
        fields = list(pool.map(_read, paths))
    for pixels, _level in fields:
        pixels.setflags(write=False)  # they are shared
    return fields


def random_crop(
    pixels: NDArray[np.uint16],
    level: float,
    size: int,
    rng: np.random.Generator,
    resize: Resize | None = None,
) -> NDArray[np.uint16]:
    """A random place (C, size, size) where at least 1% of DNA is above `level`.

    After `TRIES` places without, the last one is returned (the released code's rule). A plain
    crop is a view of `pixels`; with `resize`, which has the same size, it is a part that was
    rescaled.
    """
    _, height, width = pixels.shape
    if height < size or width < size:
        raise InputError(f"a field of {height} x {width} px is smaller than a crop of {size} px")
    dna = pixels[CHANNELS.index("DNA")]
    rows = columns = size
    for _ in range(TRIES):
        if resize is None:
            row, column = rng.integers((height - size + 1, width - size + 1)).tolist()
        else:
            draws = torch.from_numpy(rng.random((1, 5)))
            row, column, rows, columns = resize.boxes(draws, height, width)[0].tolist()
        nuclei = dna[row : row + rows, column : column + columns] > level
        if np.count_nonzero(nuclei) >= SHARE * nuclei.size:
            break
    crop = pixels[:, row : row + rows, column : column + columns]
    if (rows, columns) == (size, size):
        return crop
    part = torch.from_numpy(crop.astype(np.float32))[None]
    whole = torch.tensor([[0, 0, rows, columns]])
    return resize_crop(part, whole, size)[0].round().numpy().astype(np.uint16)


@dataclass
class CropBatches(Dataset):
    """Batches of crops, drawn anew in each epoch but always the same for a seed.

    What is drawn for a field depends on the seed, the epoch and the field alone: not on the
    batch, the process or the worker that it falls into, nor on where a run was resumed.
    """

    fields: Fields
    crops: Sequence[CropSpec]
    seed: int

    def __getitem__(self, batch: tuple[int, list[int]]) -> list[torch.Tensor]:
        """(epoch, field indices) to one tensor (number, n, C, size, size) uint16 for each spec."""
        epoch, indices = batch
        out = [
            np.empty((c.number, len(indices), len(CHANNELS), c.size, c.size), np.uint16)
            for c in self.crops
        ]
        for i, index in enumerate(indices):
            pixels, level = self.fields[index]
            rng = np.random.default_rng([self.seed, 1, epoch, index])
            for group, spec in zip(out, self.crops, strict=True):
                for view in range(spec.number):
                    group[view, i] = random_crop(pixels, level, spec.size, rng, spec.resize)
        return [torch.from_numpy(group) for group in out]


class EpochBatches(Sampler):
    """A process's share of every shuffled batch of an epoch; a last, smaller one is dropped."""

    def __init__(self, n: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        if batch_size % world:
            raise InputError(f"batch_size {batch_size} cannot be shared by {world} processes")
        if n < batch_size:
            raise InputError(
                f"{n} fields do not fill one batch of {batch_size}; lower batch_size in the recipe"
            )
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.rank, self.share = rank, batch_size // world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n // self.batch_size

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        order = np.random.default_rng([self.seed, 2, self.epoch]).permutation(self.n)
        for step in range(len(self)):
            first = step * self.batch_size + self.rank * self.share
            yield self.epoch, order[first : first + self.share].tolist()
