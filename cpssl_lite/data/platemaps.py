"""Plate maps: which sample is in which well, for screens whose wells no index lists."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import readable
from cpssl_lite.data.download import Downloader, downloads
from cpssl_lite.data.manifests import base_url
from cpssl_lite.data.remote import Remote
from cpssl_lite.images.metadata import canonical_metadata

CONTROL = "DMSO"


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
        A row a well; ``Metadata_Perturbation`` is the sample, DMSO where there is none.

    Raises
    ------
    InputError
        A plate without a map, a map that cannot be read or has other columns.
    """
    places, base = manifest["gallery"]["platemaps"], base_url(manifest)
    with downloads(folder, workers) as (loader, pool):
        names = _maps(_fetched(loader, base, places["plates"]))
        wanted = plates["Metadata_Plate"].map(_plain)
        if lost := sorted(set(wanted) - set(names)):
            raise InputError(f"plate {lost[0]}: not in {places['plates']} ({len(lost)} such)")
        keys = {name: places["map"].format(map=name) for name in sorted(set(wanted.map(names)))}
        files = pool.map(lambda key: _fetched(loader, base, key), keys.values())
        maps = dict(zip(keys, map(_read_map, files), strict=True))
    found = plates.assign(Metadata_Platemap=wanted.map(names))
    return found.merge(pd.concat(maps, names=["Metadata_Platemap"]).reset_index(level=0))


def _fetched(loader: Downloader, base: str, key: str) -> Path:
    return loader.get(Remote(key.partition("/")[2], f"{base}/{quote(key)}"))


def _maps(file: Path) -> dict[str, str]:
    """Name of the map of each plate."""
    with readable(file):
        table = pd.read_csv(file, dtype=str)
    for column in ("Assay_Plate_Barcode", "Plate_Map_Name"):
        if column not in table:
            raise InputError(f"{file}: has no column {column}")
    return dict(zip(table["Assay_Plate_Barcode"].map(_plain), table["Plate_Map_Name"], strict=True))


def _read_map(file: Path) -> pd.DataFrame:
    with readable(file):
        table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    for column in ("well_position", "broad_sample"):
        if column not in table:
            raise InputError(f"{file}: has no column {column}")
    sample = table["broad_sample"].str.strip()
    # An empty cell is a control only where the solvent says so; other empty wells stay nameless.
    solvent = table.get("solvent", pd.Series(CONTROL, table.index)).str.strip()
    sample = sample.where(sample != "", solvent.where(solvent == CONTROL, ""))
    wells = pd.DataFrame({"Metadata_Well": table["well_position"], "Metadata_Perturbation": sample})
    return canonical_metadata(wells)


def _plain(barcode: str) -> str:
    """A barcode without the thousands separators that a spreadsheet put in.

    Examples
    --------
    >>> _plain("24,277")
    '24277'
    """
    text = str(barcode).strip()
    return text.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", text) else text
