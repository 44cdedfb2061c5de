"""Fields as Zarr arrays and OME-Zarr images, and OME-Zarr plates as image tables."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.channels import CHANNELS, named_channels

# What a folder holds that is an array or a group, in both versions.
MARKS = ("zarr.json", ".zarray", ".zgroup")
# JUMP-Lite's keys: source, batch, plate, well and site, with no .zarr behind them.
SITE = re.compile(
    r"(?P<Source>.+?)__(?P<Batch>.+?)__(?P<Plate>.+)__(?P<Well>[^_]+)__(?P<Site>[^_]+)"
)
SITES_ORDER = "AGP,DNA,ER,Mito,RNA"  # says its README; the arrays do not


def is_zarr(path: str | Path) -> bool:
    """Whether a path is a Zarr store or lies in one, by its name or by what is in it."""
    path = Path(path)
    if any(part.lower().endswith(".zarr") for part in path.parts):
        return True
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


def read_zarr(path: str | Path) -> tuple[NDArray, dict[str, Any]]:
    """Pixels (C, H, W) and notes of one field: an array, or an OME-Zarr image (0.4, 0.5).

    Notes are the attributes of an array (``otsuth``, ``channels``); of an OME-Zarr image, whose
    largest level is read, ``channels`` are the labels that it has under ``omero``.

    Raises
    ------
    InputError
        There is no such folder, it holds no array or image or a damaged one, several time points
        or planes, or zarr is not installed.
    """
    with _opened(path) as (array, axes, notes):
        # A chunk that is not there reads as zeros, which would pass for a dark image.
        if array.nchunks_initialized < array.nchunks:
            raise InputError(f"{path}: damaged, pixel blocks are missing")
        pick = tuple(slice(None) if name in "cyx" else 0 for name in axes)
        pixels = np.asarray(array[pick] if axes else array[:])
        return (pixels[None] if axes and "c" not in axes else pixels), notes


def zarr_header(path: str | Path) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape and notes as of `read_zarr`, without the pixels."""
    with _opened(path) as (array, axes, notes):
        if not axes:
            return tuple(array.shape), notes
        sizes = dict(zip(axes, array.shape, strict=True))
        return (sizes.get("c", 1), sizes["y"], sizes["x"]), notes


def read_plate(path: str | Path) -> pd.DataFrame:
    """Image table of an OME-Zarr plate, or of a store of sites: a row for every field.

    A store of sites (JUMP-Lite's) holds an array for each, whose name tells source, batch, plate,
    well and site.

    Raises
    ------
    InputError
        It is neither, or a well of it is not there.
    """
    if sites := _sites(Path(path)):
        return pd.DataFrame(sites)
    with _readable(path):
        root = _zarr().open(str(path), mode="r")
        plate = _ome(root).get("plate")
        if plate is None:
            raise InputError(
                f"{path}: is no OME-Zarr plate, and no store of sites called "
                "SOURCE__BATCH__PLATE__WELL__SITE; list its images in a table"
            )
        stem = Path(path).name.split(".")[0]
        fields = [
            {
                "Metadata_Plate": str(plate.get("name") or stem),
                "Metadata_Well": str(well["path"]).replace("/", ""),
                "Metadata_Site": str(image["path"]),
                "FileName_Merged": str(Path(path).resolve() / well["path"] / image["path"]),
            }
            for well in plate["wells"]
            for image in _ome(root[well["path"]])["well"]["images"]
        ]
        if not fields:
            raise InputError(f"{path}: an OME-Zarr plate without any well or field")
        return pd.DataFrame(fields)


def _sites(path: Path) -> list[dict[str, str]]:
    """A row for each site in a store of them, in the order of their names."""
    found = ((file, SITE.fullmatch(file.name)) for file in sorted(path.iterdir()))
    return [
        {f"Metadata_{key}": value for key, value in match.groupdict().items()}
        | {"FileName_Merged": str(file.resolve())}
        for file, match in found
        if match and is_zarr(file)
    ]


def is_site(path: str | Path) -> bool:
    """Whether a path is called as the sites of such a store are."""
    return SITE.fullmatch(Path(path).name) is not None


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, list[str], dict[str, Any]]]:
    """The array of a field, the names of its axes (none for a plain array) and its notes."""
    zarr = _zarr()
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    with _readable(path):
        found = zarr.open(str(path), mode="r")
        if isinstance(found, zarr.Array):
            yield found, [], dict(found.attrs)
            return
        ome = _ome(found)
        if "bioformats2raw.layout" in ome and "multiscales" not in ome:
            found = found["0"]
            ome = _ome(found)
        if "plate" in ome:
            raise InputError(f"{path}: is a whole plate; give it in the place of an image table")
        if "multiscales" not in ome:
            raise InputError(f"{path}: holds no array and no OME-Zarr image (multiscales)")
        levels = ome["multiscales"][0]
        array = found[levels["datasets"][0]["path"]]
        axes = [a if isinstance(a, str) else a["name"] for a in levels.get("axes", "tczyx")]
        if len(axes) != array.ndim:
            raise InputError(
                f"{path}: names {len(axes)} axes ({', '.join(axes)}) of an array of {array.ndim}"
            )
        sizes = dict(zip(axes, array.shape, strict=True))
        odd = [f"{name}: {n}" for name, n in sizes.items() if name not in "cyx" and n > 1]
        if odd or [name for name in axes if name in "cyx"] not in (["c", "y", "x"], ["y", "x"]):
            raise InputError(
                f"{path}: its axes are {', '.join(axes)}"
                + (f" with several of {', '.join(odd)}" if odd else "")
                + "; a field is channels, y, x, at one time and in one plane"
            )
        labels = [channel.get("label") for channel in ome.get("omero", {}).get("channels", [])]
        yield array, axes, {"channels": named_channels(labels)}


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    """Turn whatever zarr raises, or finds no place for, into one InputError."""
    try:
        yield
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path}: damaged, {error} is missing in it") from error
    except (IndexError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged, its OME metadata are not in the form of 0.4 or 0.5 ({error})"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable Zarr store ({reason})") from error


def _ome(group: Any) -> dict[str, Any]:
    """OME's attributes of a group: in version 0.5 they have a place of their own."""
    attributes = dict(group.attrs)
    return attributes.get("ome", attributes)


def write_zarr(
    path: str | Path,
    pixels: NDArray[np.uint16],
    otsu: float,
    channels: Sequence[str] = CHANNELS,
) -> None:
    """Write a field (C, H, W) as one Zarr array (zstd), a chunk per channel."""
    zarr = _zarr()
    array = zarr.create_array(
        store=str(path),
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=(1, *pixels.shape[1:]),
        compressors=zarr.codecs.ZstdCodec(level=1),
        fill_value=0,
        config={"write_empty_chunks": True},  # so that a missing chunk is damage, not darkness
        attributes={"otsuth": str(float(otsu)), "channels": list(channels)},
        overwrite=True,
    )
    array[:] = pixels


def _zarr() -> ModuleType:
    try:
        import zarr
        import zarr.codecs
        from imagecodecs.numcodecs import register_codecs
    except ImportError as error:
        raise InputError("Zarr images need the zarr package: pip install zarr") from error
    register_codecs(["imagecodecs_jpegxl"], verbose=False)  # JUMP-Lite's small stores
    return zarr
