"""Which pages of a TIFF are its image, whole or not, and what it says of its channels."""

import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import kind_of, refuse_pointer, why_absent
from cpssl_lite.images.channels import canonical_channel, named_channels

# tifffile reports damage both by exceptions of many types and by log records. The exceptions
# become one InputError; the records are held back while this module reads, in this thread only.
_reading = threading.local()
logging.getLogger("tifffile").addFilter(lambda record: not getattr(_reading, "on", False))


@contextmanager
def opened(path: str | Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF that is whole; whatever is wrong with it becomes one InputError."""
    if not Path(path).is_file():
        raise InputError(f"{path}: {why_absent(path)}")
    _reading.on = True
    try:
        refuse_pointer(path)
        with tifffile.TiffFile(path) as tiff:
            if tiff.is_ome and _of_a_set(tiff.pages.first.description):
                tiff.is_ome = False  # only this file's own pages
            _check_whole(path, tiff)
            yield tiff
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:
        with open(path, "rb") as file:
            kind = kind_of(file.read(32))
        if kind and "TIFF" not in kind:
            raise InputError(f"{path}: is {kind}, not a TIFF") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable TIFF, damaged or cut off ({reason})") from error
    finally:
        _reading.on = False


def _of_a_set(ome: str) -> bool:
    """Whether OME-XML is about several files, or in another file: a page here is one of many."""
    return "BinaryOnly" in ome or len(set(re.findall(r'FileName="([^"]*)"', ome))) > 1


def _check_whole(path: str | Path, tiff: tifffile.TiffFile) -> None:
    """Refuse a file whose pixel blocks reach past its end: some codecs would fill in zeros."""
    size = tiff.filehandle.size
    if not len(tiff.pages):
        raise InputError(f"{path}: not a readable TIFF, damaged or cut off (no image in it)")
    declared = json_notes(tiff).get("shape")
    shape = main_series(tiff).shape
    if declared is not None and list(shape) != list(declared):
        raise InputError(f"{path}: cut off, shape {tuple(declared)} declared, {shape} found")
    # ImageJ calls the planes of any stack slices (z) unless somebody said what they are.
    said = "ZT" if tiff.is_ome else "T" if tiff.is_imagej else ""
    if odd := [axis for axis in main_series(tiff).axes if axis in said]:
        raise InputError(
            f"{path}: its planes are several of {' and '.join(odd).lower()}; a "
            "field is channels, y, x, at one time and in one plane"
        )
    for page in (page for series in image_series(tiff) for page in series.pages):
        if page is None:
            raise InputError(f"{path}: cut off, a page is missing")
        blocks = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if len(blocks) < int(np.prod(page.chunked)):
            raise InputError(f"{path}: damaged, pixel blocks are missing")
        if any(count == 0 or offset + count > size for offset, count in blocks):
            raise InputError(f"{path}: cut off, pixels should go on past its {size} bytes")


def stored_pixels(tiff: tifffile.TiffFile) -> NDArray:
    """The image as stored, but that zero is black; images of one size stand for channels."""
    # One thread: callers read many files side by side in processes of their own.
    images = [series.asarray(maxworkers=1) for series in image_series(tiff)]
    pixels = np.stack(images) if len(images) > 1 else images[0]
    page = main_series(tiff).keyframe
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        white = 1 if pixels.dtype.kind == "f" else (1 << page.bitspersample) - 1
        pixels = (white - pixels).astype(pixels.dtype)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        # ImageJ colours channels so; of other pictures a number says nothing about brightness.
        brightness = page.colormap.sum(axis=0, dtype=np.int64)[np.unique(pixels)]
        if (np.diff(brightness) < 0).any():
            raise InputError(
                f"{tiff.filehandle.path}: its numbers are those of colours (a palette), which do "
                "not get brighter in their order; save it as grey levels"
            )
    return pixels


def main_series(tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The largest image, the first of equals: a smaller one is a thumbnail or another level."""
    return max(tiff.series, key=lambda s: s.keyframe.imagelength * s.keyframe.imagewidth)


def image_series(tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """The largest image and those of its size: some programs write channels one by one."""
    shape = main_series(tiff).shape
    return [series for series in tiff.series if series.shape == shape]


def channel_names(tiff: tifffile.TiffFile) -> list[str] | None:
    """Channel names as the file records them: this project's, OME's or ImageJ's.

    None where it has no names, or only numbers in their place. A label that is a file's name
    stands for the one channel that is named in it.
    """
    labels: Any
    if tiff.ome_metadata:
        labels = _ome_labels(tiff, tiff.ome_metadata)
    elif tiff.imagej_metadata:
        labels = tiff.imagej_metadata.get("Labels")
    else:
        labels = json_notes(tiff).get("channels") or _page_names(tiff)
    return named_channels(labels)


def _ome_labels(tiff: tifffile.TiffFile, ome: str) -> list[Any]:
    """What OME-XML calls the channels; of images that stand for channels, what it calls each."""
    found = tifffile.xml2dict(ome)["OME"]["Image"]
    images = found if isinstance(found, list) else [found]
    several = image_series(tiff)
    if len(images) == len(tiff.series):  # one for each, in their order
        images = [image for image, s in zip(images, tiff.series, strict=True) if s in several]
    if len(several) == 1:
        channels = images[0]["Pixels"].get("Channel")
        return [c.get("Name") for c in channels] if isinstance(channels, list) else []
    labels = []
    for image in images[: len(several)]:
        channel = image["Pixels"].get("Channel", {})
        own = channel.get("Name") if isinstance(channel, dict) else None
        labels.append(own or image.get("Name"))
    return labels


def _page_names(tiff: tifffile.TiffFile) -> list[str] | None:
    """Names that every page has for itself, if they are those of channels."""
    pages = [page.aspage() for series in image_series(tiff) for page in series.pages if page]
    names = [page.tags.valueof("PageName") or page.description for page in pages]
    known = all(isinstance(name, str) and canonical_channel(name) for name in names)
    return names if known and len(names) > 1 else None


def json_notes(tiff: tifffile.TiffFile) -> Mapping[str, Any]:
    """JSON object in the ImageDescription; empty if it holds something else (OME-XML, say)."""
    try:
        notes = json.loads(tiff.pages.first.description)
    except ValueError:
        return {}
    return notes if isinstance(notes, dict) else {}
