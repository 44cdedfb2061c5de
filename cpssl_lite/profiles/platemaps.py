"""What is in the wells, from plate maps and annotations that lie beside the profiles."""

import logging
import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import read_table, same_words
from cpssl_lite.base.words import counted
from cpssl_lite.images.metadata import canonical_metadata, is_metadata, text_of
from cpssl_lite.profiles.roles import first_few

log = logging.getLogger(__name__)

BARCODES = "barcode_platemap.csv"
MAP = "Metadata_Plate_Map_Name"
# What finds a row's partner, most telling first; batch and source count where both sides have them.
KEYS = (
    ("Metadata_Plate", "Metadata_Well"),
    ("Metadata_Well",),
    ("Metadata_Plate",),
    ("Metadata_Perturbation",),
)
NARROWER = ("Metadata_Source", "Metadata_Batch")


def join_platemap(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add to every well what a table beside the profiles says of it.

    Parameters
    ----------
    table : DataFrame
        Profiles with canonical metadata.
    path
        ``barcode_platemap.csv`` (``Assay_Plate_Barcode``, ``Plate_Map_Name``) with its folder
        ``platemap/`` beside it, or a folder of such folders, as the Cell Painting Gallery has
        them; or one table with a row per plate and well, per well (the same on all plates), per
        plate or per perturbation.

    Returns
    -------
    DataFrame
        Columns that the table lacks are added and those that it has are filled where they are
        empty; where both say something else the table's word stays, with a log line. So do wells
        that the map does not know.

    Raises
    ------
    InputError
        Not such a table; a map that is not there; a well in it twice; no well is known to it.
    """
    known = read_platemap(path)
    for keys in KEYS:
        if set(keys) <= set(table) & set(known) and not _says_nothing(table, known, keys):
            break
    else:
        raise InputError(
            f"{path}: has no column that says which wells it is about (plate and well, or a "
            f"perturbation) and that the profiles have as well; it has {first_few(known)}"
        )
    extra = [name for name in NARROWER if not _says_nothing(table, known, (name,))]
    on = [*(extra if "Metadata_Plate" in keys else []), *keys]
    twice = known.duplicated(on)
    if twice.any():
        key = "/".join(known.loc[twice, on].iloc[0])
        raise InputError(f"{path}: {key} is there more than once ({', '.join(on)} of a row)")
    found = table[on].merge(known, how="left", on=on, indicator="_merge", validate="many_to_one")
    found = found.set_index(table.index)
    missing = (found.pop("_merge") != "both").to_numpy()
    if missing.all():
        raise InputError(
            f"{path}: knows none of {counted(len(table), 'well')} by {', '.join(on)}; it has "
            f"{first_few('/'.join(row) for row in known[on].head(2).to_numpy())}, the profiles "
            f"{first_few('/'.join(row) for row in table[on].head(2).to_numpy())}"
        )
    if missing.any():
        first = "/".join(table.loc[missing, on].iloc[0])
        wells = counted(len(table), "well")
        log.warning("%s: lacks %d of %s (first: %s)", path, missing.sum(), wells, first)
    return _filled(table, found.fillna(""), on, path)


def _filled(table: pd.DataFrame, found: pd.DataFrame, on: list[str], path: Path) -> pd.DataFrame:
    """The table with what was found; its own words stay."""
    new = {}
    for name in (name for name in found if name not in on):
        if name not in table:
            new[name] = found[name]
            continue
        own, other = table[name], found[name]
        differ = (own != "") & (other != "") & (own != other)
        if differ.any():
            at = int(differ.to_numpy().argmax())
            log.warning(
                "%s: %s of %s is another in it and stays as it is in the profiles (%s: %r, not %r)",
                *(path, name, counted(differ.sum(), "well"), "/".join(table[on].iloc[at])),
                *(own.iloc[at], other.iloc[at]),
            )
        new[name] = own.where(own != "", other)
    rest = [name for name in table if name not in new]
    head = [name for name in rest if str(name).startswith("Metadata_")]
    values = [name for name in rest if name not in set(head)]
    return pd.concat([table[head], pd.DataFrame(new, table.index), table[values]], axis=1)


def _says_nothing(table: pd.DataFrame, known: pd.DataFrame, names: tuple[str, ...]) -> bool:
    """Whether one of these columns is missing or empty on either side."""
    return any(
        name not in side or (side[name] == "").all() for side in (table, known) for name in names
    )


def read_platemap(path: Path, wanted: Collection[str] | None = None) -> pd.DataFrame:
    """Read a map, or all maps that the barcodes in a table or under a folder name.

    Parameters
    ----------
    path
        As for `join_platemap`.
    wanted
        Only the maps of these plates [all]; the others need not be there.
    """
    if path.is_dir():
        files = sorted(path.rglob(BARCODES))
        if not files:
            raise InputError(f"{path}: no {BARCODES} in this folder")
        return pd.concat([read_platemap(file, wanted) for file in files], ignore_index=True).fillna(
            ""
        )
    if not path.is_file():
        raise InputError(f"{path}: no such plate map")
    known = _metadata(path)
    if MAP not in known or "Metadata_Well" in known:
        return known
    if "Metadata_Plate" not in known:
        raise InputError(
            f"{path}: says no plate (Assay_Plate_Barcode) of a map; it has {first_few(known)}"
        )
    if wanted is not None:
        known = known[known["Metadata_Plate"].isin(set(wanted))]
    maps = []
    for name, plates in known.groupby(MAP):
        where = path.parent / "platemap"
        files = [where / f"{name}{end}" for end in (".txt", ".tsv", ".csv", ".parquet")]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            plate = plates["Metadata_Plate"].iloc[0]
            raise InputError(f"{files[0]}: no such plate map (that of plate {plate} in {path})")
        wells = _metadata(file)
        if "Metadata_Well" not in wells:
            raise InputError(f"{file}: says no well (well_position); it has {first_few(wells)}")
        wells = wells.drop(columns=[MAP, "Metadata_Plate"], errors="ignore")
        plates = plates.drop(columns=[c for c in plates if c in wells and (plates[c] == "").all()])
        maps.append(plates.merge(wells, how="cross", suffixes=("", "_of_map")))
    return pd.concat(maps, ignore_index=True).fillna("")


def read_barcodes(path: Path) -> dict[str, str]:
    """Name of the map of each plate, by ``barcode_platemap.csv``."""
    known = _metadata(path)
    if lost := {"Metadata_Plate", MAP} - set(known):
        raise InputError(f"{path}: says no {min(lost)} of a map; it has {first_few(known)}")
    return dict(zip(known["Metadata_Plate"], known[MAP], strict=True))


def _metadata(file: Path) -> pd.DataFrame:
    """A table of which every column is metadata, whatever it is called."""
    table = same_words(read_table(file))
    if table.empty:
        raise InputError(f"{file}: has no rows")
    known = {str(c).lower(): c for c in table}
    if {"broad_sample", "solvent"} <= set(known):
        # A well without a sample is a control where the solvent says so; others stay nameless.
        sample, solvent = (text_of(table[known[c]]) for c in ("broad_sample", "solvent"))
        table[known["broad_sample"]] = sample.where(sample != "", solvent.where(solvent == "DMSO"))
    if "assay_plate_barcode" in known:
        barcode = known["assay_plate_barcode"]
        table[barcode] = text_of(table[barcode]).map(_plain)
    names = {c: c if is_metadata(c) else f"Metadata_{c}" for c in map(str, table)}
    table = table.rename(columns=names)
    names = {c: MAP for c in map(str, table) if c.lower() == MAP.lower()}
    return canonical_metadata(table.rename(columns=names))


def _plain(barcode: str) -> str:
    """A barcode without the thousands separators that a spreadsheet put in.

    Examples
    --------
    >>> _plain("24,277")
    '24277'
    """
    text = str(barcode).strip()
    return text.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+", text) else text
