"""What the explorer is given: wells that every table has, what is known of them, pictures."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.book.explorer import Sheet, fit_side, sheet
from cpssl_lite.book.features import Features
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.profiles.evaluate import average_precisions, label_column
from cpssl_lite.profiles.evidence import evidence
from cpssl_lite.profiles.roles import WELL_KEY
from cpssl_lite.profiles.table import profile_matrix

KINDS = {"": "treated", "negcon": "negative control", "poscon": "positive control"}


class Card(NamedTuple):
    """What the card of a well lists."""

    wells: pd.DataFrame  # a row for each well, columns as the card names them
    label: str | None  # the column of labels, if there is one
    grey: list[str]  # values that no colour is spent on
    colors: list[str]  # columns to colour by


def wells_in_all(
    features: Features, tables: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, NDArray]]:
    """Wells that every feature type has.

    Parameters
    ----------
    features
    tables
        Their wells, normalised.

    Returns
    -------
    head : DataFrame
        Metadata, by the columns that name a well.
    values : dict
        Profiles (n, d) by feature type; also of the first one as it came out of the network,
        for batches show there.
    """
    first = next(iter(tables))
    key = [c for c in WELL_KEY if all(c in table for table in tables.values())]
    every = dict(tables)
    if features.methods[first] != "none":
        every[f"{first}, raw"] = features.raw[first]
    matrices = {}
    for name, table in every.items():
        head, profiles = profile_matrix(table)
        matrices[name] = pd.DataFrame(profiles, pd.MultiIndex.from_frame(head[key]))
    common = matrices[first].index
    for matrix in matrices.values():
        common = common[common.isin(matrix.index)]
    head, _ = profile_matrix(tables[first])
    head = head.set_index(pd.MultiIndex.from_frame(head[key])).loc[common]
    return head, {name: m.loc[common].to_numpy() for name, m in matrices.items()}


def card(
    features: Features, tables: Mapping[str, pd.DataFrame], head: pd.DataFrame, label: str | None
) -> Card:
    """What is known of each well: names, and of drawn wells cells and strength; AP and q.

    Parameters
    ----------
    features, tables, head
        As for `wells_in_all`, and what it gives.
    label
        Column of labels [the usual one].
    """
    first, one = next(iter(tables.items()))
    column = label_column(one, label)
    shown = {"Well": "Metadata_Well", "Perturbation": "Metadata_Perturbation"}
    what = column.removeprefix("Metadata_") if column else None
    if column and what:
        shown[what] = column
    shown |= {name: f"Metadata_{name}" for name in ("Plate", "Batch", "Source")}
    wells = pd.DataFrame({n: head[c].to_numpy(str) for n, c in shown.items() if c in head})
    status = head["Metadata_Control"].map(KINDS).to_numpy(str)
    wells.insert(3 if what else 2, "Control", status)
    grey = ["negative control", f"no {what.lower()}" if what else ""]
    if what:
        wells[what] = wells[what].replace("", grey[1])
    treated = (head["Metadata_Control"] == "").to_numpy()
    grey += sorted(set(wells["Perturbation"][~treated]))
    truth = features.image_table.parent / "truth.parquet" if features.image_table else None
    if features.simulated and truth and truth.is_file():  # known of drawn wells only
        drawn = pd.read_parquet(truth).set_index(list(head.index.names)).loc[head.index]
        wells["Cells"] = drawn["cells"].to_numpy()
        wells["Strength"] = drawn["strength"].to_numpy(float)
    try:
        ap = average_precisions(one, label)["perturbation_ap"]
        if ap.notna().any():
            wells[f"AP ({first})"] = wells["Perturbation"].map(ap)
        rows = evidence(one)[1].set_index("Metadata_Perturbation")
        wells[f"q ({first})"] = wells["Perturbation"].map(rows["activity_q"])
    except InputError:  # no controls to be told from
        pass
    numbers = wells.select_dtypes("number").columns
    offered = [what, *numbers, "Perturbation", "Batch", "Source", "Plate", "Control"]
    colors = [c for c in offered if c in wells and wells[c].nunique() > 1]
    return Card(wells, what, grey, colors)


def pictures(
    wells: pd.DataFrame, head: pd.DataFrame, images: pd.DataFrame | None, most: int, source: str
) -> list[Sheet]:
    """A sheet of small pictures for each plate; none without images.

    Parameters
    ----------
    wells
        The card's.
    head
        As `wells_in_all` gives it.
    images
        Image table.
    most
        Side of a picture in px at most, 0 for none.
    source
        What an error calls the image table.

    Raises
    ------
    InputError
        A well without an image.
    """
    side = fit_side(len(wells), len(CHANNELS), most)
    if images is None or not side:
        return []
    key = list(head.index.names)
    fields = images.drop_duplicates(key).set_index(key)
    lost = head.index[~head.index.isin(fields.index)]
    if len(lost):
        about = f"{len(lost)} of {counted(len(head), 'well')}"
        raise InputError(f"{source}: no image of well {'/'.join(lost[0])} ({about})")
    sheets = []
    for _, part in wells.groupby("Plate"):
        records = fields.loc[head.index[part.index]].to_dict("records")
        planes = np.stack([_small(record, side) for record in records])
        sheets.append(sheet(planes, CHANNELS, list(part.index)))
    return sheets


def _small(record: dict[Any, Any], side: int) -> NDArray:
    """The middle square of a field, five channels, `side` px wide."""
    from PIL import Image

    planes = read_field(record, CHANNELS).pixels.astype(np.float32)
    _, height, width = planes.shape
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    box = (left, top, left + edge, top + edge)
    small = [Image.fromarray(p).resize((side, side), Image.Resampling.BOX, box) for p in planes]
    return np.stack([np.asarray(picture) for picture in small])
