"""Screens in the Cell Painting Gallery: which files a plate has, its own load_data table says.

The tables are fetched first; then the images of the wanted wells and sites are known. Wells and
their labels come from the manifest's index, which `data_manifests/derive_jump.py` makes.
"""

import logging
import zlib
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow.parquet as pq

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.provenance import provenance
from cpssl_lite.base.tables import reading_errors
from cpssl_lite.base.words import counted
from cpssl_lite.data.download import Absent, Downloader, downloads
from cpssl_lite.data.manifests import base_url, read_index
from cpssl_lite.data.names import plate_names, safe
from cpssl_lite.data.remote import Remote
from cpssl_lite.images.channels import CHANNELS, canonical_channel
from cpssl_lite.images.metadata import PLATE, canonical_metadata
from cpssl_lite.profiles.counts import CELLS, count_cells
from cpssl_lite.profiles.table import write_profiles

log = logging.getLogger(__name__)


def wells_of(manifest: Mapping[str, Any], plates: Sequence[str] = ()) -> pd.DataFrame:
    """Wells of a data set with their labels; a row a plate where the manifest lists no wells.

    Raises
    ------
    InputError
        The manifest lists no wells, and no plates are named.
    """
    if "index" in manifest:
        index = read_index(manifest)
        for column in PLATE:
            if column not in index or not all(isinstance(name, str) for name in index[column]):
                raise InputError(f"{manifest['index']}: {column} needs a name in every row")
        return index
    if not plates:
        raise InputError(f"{manifest['name']}: name the plates to fetch (--plates)")
    source, batch = (manifest["gallery"].get(key, "") for key in ("source", "batch"))
    return pd.DataFrame([(source, batch, plate) for plate in plates], columns=PLATE)


def estimate(
    manifest: Mapping[str, Any], wells: pd.DataFrame, sites: Sequence[str] = ()
) -> tuple[int, float] | None:
    """Fields and gigabytes to expect, by the sites a well and the size of an image of each source.

    None where the manifest does not say.
    """
    gallery = manifest["gallery"]
    if "sites" not in gallery or "Metadata_Well" not in wells:
        return None
    source = wells["Metadata_Source"]
    fields = source.map(gallery["sites"])
    if sites:
        fields = fields.clip(upper=len(set(sites)))
    size = (fields * source.map(gallery["megabytes"])).sum() * len(CHANNELS)
    return int(fields.sum()), float(size) / 1000


def load_tables(
    manifest: Mapping[str, Any], wells: pd.DataFrame, folder: str | Path, workers: int = 8
) -> pd.DataFrame:
    """A row per image of the plates of these wells, by the load_data tables fetched into `folder`.

    Raises
    ------
    InputError
        A plate's table is not there, cannot be read, points to a place outside the data set, or
        names one file for two channels.
    """
    gallery, base = manifest["gallery"], base_url(manifest)
    plates = list(wells[PLATE].drop_duplicates().itertuples(index=False, name=None))
    with downloads(folder, workers) as (loader, pool):
        tables = list(pool.map(lambda p: _load_data(loader, gallery, base, p), plates))
    return pd.concat(tables, ignore_index=True)


def image_index(
    manifest: Mapping[str, Any],
    wells: pd.DataFrame,
    images: pd.DataFrame,
    sites: Sequence[str] = (),
    illum: bool = False,
) -> pd.DataFrame:
    """Files of the wanted wells: the same columns as `cpssl_lite.data.fetch.index_of` gives.

    Parameters
    ----------
    wells
        From `wells_of`, cut down.
    images
        From `load_tables`.
    sites
        Only these sites.
    illum
        The illumination functions of the plates as well (rows without a channel).

    Raises
    ------
    InputError
        Nothing is left, or the manifest names no illumination functions.
    """
    gallery, base = manifest["gallery"], base_url(manifest)
    if illum and "illum" not in gallery:
        raise InputError(f"{manifest['name']}: its manifest names no illumination functions")
    on = [*PLATE, "Metadata_Well"] if "Metadata_Well" in wells else PLATE
    if lost := len(wells) - len(wells.merge(images[on].drop_duplicates(), on=on)):
        log.warning("the load_data tables lack %d of %s", lost, counted(len(wells), "well"))
    images = wells.merge(images, on=on)
    if sites:
        images = images[images["Metadata_Site"].isin(sites)]
    if images.empty:
        raise InputError("no image is left by these plates, wells and sites")
    if illum:
        plates = wells[PLATE].drop_duplicates().itertuples(index=False, name=None)
        rows = [
            (*plate, f"illum/{plate[2]}/{plate[2]}_Illum{channel}.npy",
             f"{base}/{quote(_filled(gallery['illum'], plate, channel))}")
            for plate, channel in product(plates, CHANNELS)
        ]  # fmt: skip
        functions = pd.DataFrame(rows, columns=[*PLATE, "path", "url"])
        images = pd.concat([images, functions], ignore_index=True)
    return images.assign(bytes=None, sha256=None)


def profile_index(manifest: Mapping[str, Any], wells: pd.DataFrame) -> pd.DataFrame:
    """Files with CellProfiler's well profiles, one a plate; columns as `image_index` gives."""
    if "profiles" not in manifest["gallery"]:
        raise InputError(f"{manifest['name']}: its manifest names no well profiles")
    rows = []
    for plate in wells[PLATE].drop_duplicates().itertuples(index=False, name=None):
        key = _filled(manifest["gallery"]["profiles"], plate)
        rows.append((*plate, key.partition("/")[2], f"{base_url(manifest)}/{quote(key)}"))
    index = pd.DataFrame(rows, columns=[*PLATE, "path", "url"])
    return index.assign(bytes=None, sha256=None)


def label_profiles(index: pd.DataFrame, wells: pd.DataFrame, folder: str | Path) -> Path:
    """Write the fetched profiles with the labels of `wells`, which they come without.

    Returns
    -------
    The folder ``profiles``, a table a plate; wells that are not asked for are left out.

    Raises
    ------
    InputError
        A profile table cannot be read or holds none of the wells.
    """
    out = Path(folder) / "profiles"
    common = _common([Path(folder) / path for path in index["path"]])
    for row, plate in zip(index.to_dict("records"), plate_names(index), strict=True):
        file = Path(folder) / row["path"]
        with reading_errors(file):
            parquet = file.suffix == ".parquet"
            raw = pd.read_parquet(file) if parquet else pd.read_csv(file, low_memory=False)
        table = canonical_metadata(raw)
        if "Metadata_Well" not in table:
            raise InputError(f"{file}: has no column Metadata_Well")
        here = wells[(wells[PLATE] == pd.Series(row)[PLATE]).all(axis=1)]
        if "Metadata_Well" not in here:  # no index lists the wells of this data set
            here = here.merge(table[["Metadata_Plate", "Metadata_Well"]], on="Metadata_Plate")
        columns = [c for c in table if not str(c).startswith("Metadata_") and c in common]
        counted = count_cells(table)
        if counted is not None:
            table[CELLS] = counted
            columns = [CELLS, *columns]
        labelled = here.merge(table[["Metadata_Well", *columns]], on="Metadata_Well")
        if labelled.empty:
            raise InputError(f"{file}: holds none of the wells")
        target = out / f"{safe(row['Metadata_Source'])}-{plate}.parquet"
        what = {"kind": "measured", "method": "CellProfiler", "origin": "gallery"}
        write_profiles(labelled, target, provenance("fetch", url=row["url"], feature_type=what))
    return out


def _common(files: Sequence[Path]) -> set[str]:
    """Columns that all tables have: sources ran different versions of CellProfiler."""
    names = []
    for file in files:
        with reading_errors(file):
            parquet = file.suffix == ".parquet"
            head = pq.read_schema(file).names if parquet else list(pd.read_csv(file, nrows=0))
        names.append(set(head))
    common = set.intersection(*names)
    if more := len(set.union(*names)) - len(common):
        log.warning("%s not on all %d plates: left out", counted(more, "column"), len(files))
    return common


def _filled(template: str, plate: tuple[str, str, str], channel: str = "") -> str:
    return template.format(source=plate[0], batch=plate[1], plate=plate[2], channel=channel)


def _load_data(
    loader: Downloader, gallery: Mapping[str, Any], base: str, plate: tuple[str, str, str]
) -> pd.DataFrame:
    """A row per image of a plate: metadata, channel, path, url.

    Files lie as in the bucket, below the data set's name: what was copied from there by other
    means is found, and two files never meet.
    """
    for template in gallery["load_data"]:
        key = _filled(template, plate)
        try:
            file = loader.get(Remote(key.partition("/")[2], f"{base}/{quote(key)}"))
            break
        except Absent:
            continue
    else:
        tried = ", ".join(t.rpartition("/")[2] for t in gallery["load_data"])
        raise InputError(f"plate {plate[2]}: no load_data table at {base}/{key} (tried: {tried})")
    try:
        raw = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: not a readable table ({reason}); remove it") from error
    table = canonical_metadata(raw)
    if not {"Metadata_Well", "Metadata_Site"} <= set(table):
        raise InputError(f"{file}: has no columns Metadata_Well and Metadata_Site")
    keys = _keys(file, raw, prefix=key.partition("/")[0])
    rows = table[["Metadata_Well", "Metadata_Site"]].join(keys)
    rows = rows.melt(["Metadata_Well", "Metadata_Site"], var_name="Channel", value_name="key")
    rows = rows.drop_duplicates()
    twice = rows[rows.duplicated(["Metadata_Well", "Metadata_Site", "Channel"])]
    if len(twice):
        well, site, channel, _ = twice.iloc[0]
        raise InputError(f"{file}: well {well} site {site} has two {channel} images")
    rows[PLATE] = plate
    rows["path"] = rows["key"].str.partition("/")[2]
    rows["url"] = [f"{base}/{quote(k)}" for k in rows.pop("key")]
    return rows


def _keys(file: Path, raw: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """The bucket's key of each field's image, a column per channel.

    Addresses are written as s3://, https:// or as folders of the machine that measured them;
    what counts is the part from the data set's name on.
    """
    columns, said = {}, {}
    for column in map(str, raw.columns):
        kind, _, name = column.partition("_Orig")
        channel = canonical_channel(name)
        if channel and kind == "URL":
            columns[channel], said[channel] = raw[column], column
        elif channel and kind == "FileName" and f"PathName_Orig{name}" in raw:
            columns[channel] = raw[f"PathName_Orig{name}"].str.rstrip("/") + "/" + raw[column]
            said[channel] = column
    if missing := [name for name in CHANNELS if name not in columns]:
        raise InputError(f"{file}: no URL_Orig or FileName_Orig columns for {', '.join(missing)}")
    keys = pd.DataFrame(columns)[list(CHANNELS)]
    for one, other in combinations(CHANNELS, 2):  # tables with this were published
        if (same := (keys[one] == keys[other]).to_numpy()).any():
            row = int(same.argmax())
            raise InputError(
                f"{file}: row {row + 1}: {said[one]} and {said[other]} name one file,"
                f" {keys[one].iloc[row]}; each channel has its own"
            )
    outside = ~keys.apply(lambda c: c.str.contains(f"{prefix}/", regex=False)).all(axis=1)
    if outside.any():
        row = int(outside.to_numpy().argmax())
        raise InputError(f"{file}: row {row + 1}: {keys.iloc[row, 0]!s} is not in {prefix}/")
    return keys.apply(lambda c: prefix + "/" + c.str.split(f"{prefix}/", n=1).str[1])
