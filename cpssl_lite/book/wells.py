"""What a table leaves unsaid about its wells and others know: their source, how many cells."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from cpssl_lite.book.known import ORF, recognise
from cpssl_lite.data.manifests import FOLDER, load_manifest
from cpssl_lite.profiles.counts import CELLS, count_cells
from cpssl_lite.profiles.find import find_tables
from cpssl_lite.profiles.table import read_profiles

log = logging.getLogger(__name__)
SOURCE, PLATE, WELL = "Metadata_Source", "Metadata_Plate", "Metadata_Well"
SELECTED_ORFS = 5198  # reagents whose replicates correlate, as the text counts them


def complete(
    tables: Mapping[str, pd.DataFrame], counts: str | Sequence[str] = ()
) -> dict[str, pd.DataFrame]:
    """Tables of one screen with the source and the number of cells of every well, where known.

    Parameters
    ----------
    tables
        Profiles with their roles assigned.
    counts
        Tables that count cells (CellProfiler's well profiles), for those that do not: paths or
        patterns.
    """
    tables = {name: _with_source(wells) for name, wells in tables.items()}
    own = {name: count_cells(wells) for name, wells in tables.items()}
    made = {
        name: wells if cells is None or CELLS in wells else wells.assign(**{CELLS: cells})
        for (name, wells), cells in zip(tables.items(), own.values(), strict=True)
    }
    if not counts:
        return made
    others = read_profiles(find_tables({"counts": counts})["counts"])
    others[CELLS] = count_cells(others)
    known = others.drop_duplicates([PLATE, WELL]).set_index([PLATE, WELL])[CELLS]
    for name, wells in made.items():
        if own[name] is None:
            here = pd.MultiIndex.from_frame(wells[[PLATE, WELL]])
            cells = known.reindex(here)
            if not cells.notna().any():
                log.warning(
                    "%s: cell counts are of other wells (first: plate %s, here %s)",
                    *(name, known.index[0][0], here[0][0]),
                )
            made[name] = wells.assign(**{CELLS: cells.to_numpy()})
    return made


def replicates_filtered(wells: pd.DataFrame) -> bool:
    """Whether these are the ORFs that the paper chose by how well their replicates correlate.

    Choosing again would choose twice: the released tables hold 1,970 of 15,127 reagents.
    """
    if recognise(wells)[0] != ORF:
        return False
    treated = wells[wells["Metadata_Control"] != "negcon"]
    return bool(treated["Metadata_Perturbation"].nunique() <= 1.02 * SELECTED_ORFS)


def _with_source(wells: pd.DataFrame) -> pd.DataFrame:
    """The source of each plate, where the table has none and JUMP-CP has every plate."""
    if PLATE not in wells or (SOURCE in wells and (wells[SOURCE] != "").any()):
        return wells
    source = wells[PLATE].map(_sources())
    return wells if source.isna().any() else wells.assign(**{SOURCE: source})


@cache
def _sources() -> dict[str, str]:
    """Source of every plate of JUMP-CP; no two plates have one name."""
    plates = pd.read_parquet(Path(FOLDER) / load_manifest("jump_all")["index"])
    return dict(zip(plates[PLATE], plates[SOURCE], strict=True))
