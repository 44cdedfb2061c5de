"""Plate maps: which sample is in which well, for screens whose wells no index lists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.download import Downloader, downloads
from cpssl_lite.data.manifests import base_url
from cpssl_lite.data.remote import Remote
from cpssl_lite.profiles.platemaps import read_barcodes, read_platemap


def mapped_wells(
    manifest: Mapping[str, Any], plates: pd.DataFrame, folder: str | Path, workers: int = 8
) -> pd.DataFrame:
    """Wells of plates with their samples, by the plate maps of a data set.

    Parameters
    ----------
    manifest
        Its ``gallery.platemaps`` names the table of plates and the map of each.
    plates
        A row a plate (`gallery.wells_of`).
    folder
        The data set's folder; the maps are fetched into it.

    Returns
    -------
    DataFrame
        A row a well; ``Metadata_Perturbation`` is the sample, DMSO where the solvent says so.

    Raises
    ------
    InputError
        A plate without a map, a map that cannot be read or has other columns.
    """
    places, base = manifest["gallery"]["platemaps"], base_url(manifest)
    wanted = sorted(set(plates["Metadata_Plate"]))
    with downloads(folder, workers) as (loader, pool):
        listed = _fetched(loader, base, places["plates"])
        names = read_barcodes(listed)
        if lost := sorted(set(wanted) - set(names)):
            raise InputError(f"plate {lost[0]}: not in {places['plates']} ({len(lost)} such)")
        keys = [places["map"].format(map=name) for name in sorted({names[p] for p in wanted})]
        list(pool.map(lambda key: _fetched(loader, base, key), keys))
    maps = read_platemap(listed, wanted)
    own = [c for c in maps if c not in plates or c == "Metadata_Plate"]
    return plates.merge(maps[own], on="Metadata_Plate")


def _fetched(loader: Downloader, base: str, key: str) -> Path:
    return loader.get(Remote(key.partition("/")[2], f"{base}/{quote(key)}"))
