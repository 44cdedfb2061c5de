"""What a data set still lacks here: how much, under which licence, and the way to get it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.data import gallery
from cpssl_lite.data.fetch import choose, fetch, index_of, missing
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.platemaps import mapped_wells


@dataclass(frozen=True)
class Plan:
    """A data set, or a part of one, about to be fetched."""

    manifest: Mapping[str, Any]
    folder: Path
    what: str  # "3 of 7 files to fetch", "2 plates, about 96 fields"
    gigabytes: float | None  # still to fetch; None: nobody knows before
    complete: bool
    index: pd.DataFrame | None  # its files; None: the plates' own tables have to be read first
    wells: pd.DataFrame | None = None  # of a screen in the Cell Painting Gallery
    sites: Sequence[str] = ()
    illum: bool = False
    profiles: bool = False
    only: Sequence[str] = ()  # wells, of a screen whose plate maps have to be read first

    def line(self) -> str:
        """What would be fetched, and under which licence."""
        size = "of unknown size" if self.gigabytes is None else f"{self.gigabytes:.2f} GB"
        terms = f"licence: {self.manifest['licence']}, allows {self.manifest['allows']}"
        return f"{self.what}, {size}; {terms}"

    def fetch(self, workers: int = 8, skip_absent: bool = False) -> Path:
        """Fetch what is missing (`fetch.fetch`); a table or folder to go on with."""
        index, wells = self.index, self.wells
        if wells is not None:
            read, images = (self.manifest, wells, self.folder, workers), None
            if index is None:  # before the maps: a table that is wrong is told first
                images = gallery.load_tables(*read)
            if "platemaps" in self.manifest["gallery"]:
                wells = choose(mapped_wells(*read), wells=self.only)
            if images is not None:
                index = gallery.image_index(self.manifest, wells, images, self.sites, self.illum)
        assert index is not None  # known, or made here
        made = fetch(index, self.folder, workers=workers, skip_absent=skip_absent)
        if self.profiles and wells is not None:
            return gallery.label_profiles(index, wells, self.folder)
        return made


def plan(
    dataset: str,
    folder: str | Path,
    *,
    plates: Sequence[str] = (),
    wells: Sequence[str] = (),
    sites: Sequence[str] = (),
    illum: bool = False,
    profiles: bool = False,
) -> Plan:
    """Look at what of a data set is in `folder`, without asking any server.

    Parameters
    ----------
    dataset
        Name of a manifest.
    folder
        Of this data set.
    plates, wells, sites
        Only these.
    illum, profiles
        The illumination functions of the plates as well; CellProfiler's well profiles in the
        place of images.

    Raises
    ------
    InputError
        No such data set, or one that is drawn or comes by hand; plates or wells it does not have.
    """
    manifest, folder = load_manifest(dataset), Path(folder)
    if "gallery" not in manifest:
        if illum or profiles:
            raise InputError(f"{dataset} has no illumination functions or well profiles")
        index = choose(index_of(manifest), plates=plates, wells=wells, sites=sites)
        todo = missing(index, folder)
        rough = manifest.get("megabytes") if todo else 0
        known = all(r.bytes for r in todo)
        size = sum(r.bytes or 0 for r in todo) / 1e9 if known else rough and rough / 1e3
        what = f"{len(todo)} of {counted(len(index), 'file')} to fetch"
        return Plan(manifest, folder, what, size, not todo, index)
    later: Sequence[str] = ()
    if "platemaps" in manifest["gallery"]:  # which wells there are is said in those
        later, wells = wells, ()
    chosen = choose(gallery.wells_of(manifest, plates), plates=plates, wells=wells)
    what = counted(chosen["Metadata_Plate"].nunique(), "plate")
    if profiles:
        index = gallery.profile_index(manifest, chosen)
        there = not missing(index, folder) and (folder / "profiles").is_dir()
        return Plan(manifest, folder, what, None, there, index, chosen, profiles=True, only=later)
    guess = gallery.estimate(manifest, chosen, sites)
    fields, gigabytes = guess or (0, None)
    what += f", about {counted(fields, 'field')}" if guess else ""
    there = _has_plates(folder / "load_data.csv", set(chosen["Metadata_Plate"]))
    return Plan(manifest, folder, what, gigabytes, there, None, chosen, sites, illum, only=later)


def cache_folder() -> Path:
    """Folder of all data sets: CPSSL_CACHE, or ``data``."""
    return Path(os.environ.get("CPSSL_CACHE") or "data")


def _has_plates(table: Path, plates: set[str]) -> bool:
    """Whether images of all these plates were fetched; which wells each has, nobody knows here."""
    if not table.is_file():
        return False
    try:
        head = pd.read_csv(table, dtype=str, usecols=["Metadata_Plate"])
    except (OSError, ValueError):  # no table of ours, or damaged: it is written anew
        return False
    return plates <= set(head["Metadata_Plate"])
