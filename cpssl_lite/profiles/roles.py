"""Which column of a profile table plays which part, and whether the parts are filled."""

import logging
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.images.metadata import PLATE, canonical_metadata, text_of

log = logging.getLogger(__name__)

ROLES = ("source", "batch", "plate", "well", "perturbation")
# Columns that tell one well from another; tables differ in how many of them they have.
# Columns that group perturbations, in the order in which they are looked for.
LABELS = ("Metadata_Target", "Metadata_GeneGroup", "Metadata_Gene")
WELL_KEY = (*PLATE, "Metadata_Well")


def assign_roles(
    table: pd.DataFrame,
    *,
    source: str | None = None,
    batch: str | None = None,
    plate: str | None = None,
    well: str | None = None,
    perturbation: str | None = None,
    label: str | None = None,
    control: str | None = None,
    dose: str | None = None,
    time: str | None = None,
) -> pd.DataFrame:
    """Say which column of a profile table plays which part.

    Each value is the name of a column, as it is in the table or in the file it came from
    (``Metadata_GeneGroup`` or ``gene_group``). `control` is a column with ``negcon`` in it, or
    ``COLUMN=VALUE``. With `dose` or `time` each dose (time) of a perturbation is a perturbation
    of its own (``c1 | 0.5``), but not of a negative control. `label` keeps its name; pass the
    same one to `evaluate`.

    Returns
    -------
    DataFrame
        A copy whose ``Metadata_Source``, ``Metadata_Batch``, ... are the columns named.

    Raises
    ------
    InputError
        A column does not exist (the message lists those that do), or no well has the value.

    Examples
    --------
    >>> table = pd.DataFrame({"Metadata_Plate": ["P1"], "Metadata_Well": ["A01"], "emb_0": [1.0]})
    >>> assign_roles(table, batch="Metadata_Plate")["Metadata_Batch"].tolist()
    ['P1']
    """
    names = dict(zip(ROLES, (source, batch, plate, well, perturbation), strict=True))
    found = {f"Metadata_{role.title()}": find_column(table, n) for role, n in names.items() if n}
    # Read all columns before any is written: batch and plate may be swapped, for instance.
    columns = {role: table[column] for role, column in found.items()}
    new = dict(canonical_metadata(pd.DataFrame(columns, index=table.index)))
    dmso = new.pop("Metadata_Control")  # by the name of the perturbation
    if label:
        label = find_column(table, label)
        new[label] = text_of(table[label])
    known = table["Metadata_Control"] if "Metadata_Control" in table else dmso.replace("negcon", "")
    if control:
        name, _, value = control.partition("=")
        try:
            words = given_words(table, find_column(table, name))
        except InputError as error:
            raise InputError(f"control {control}: {error}; a value is COLUMN=VALUE") from error
        named = words == value
        if not named.any():  # True, TRUE and true are one
            named = words.str.lower() == value.lower()
        if not value:
            known = canonical_metadata(words.to_frame("Metadata_Control"))["Metadata_Control"]
            named = known == "negcon"
        if not named.any():
            what = "no well has it" if value else "no well is negcon (use COLUMN=VALUE)"
            raise InputError(f"control {control}: {what}; {name} holds {first_few(words)}")
        new["Metadata_Control"] = known.replace("negcon", "").mask(named, "negcon")
    elif perturbation:
        new["Metadata_Control"] = known.mask(known == "", dmso)
    if dose or time:
        require(table.assign(**new), "Metadata_Perturbation")
        treatment = table.assign(**new)["Metadata_Perturbation"]
        treated = new.get("Metadata_Control", known) != "negcon"
        for column in [name for name in (dose, time) if name]:
            words = text_of(table[find_column(table, column)])
            treatment = treatment.mask(
                treated & (treatment != "") & (words != ""), treatment + " | " + words
            )
        new["Metadata_Perturbation"] = treatment
    if not new:
        return table
    head = [name for name in table.columns if name.startswith("Metadata_") and name not in new]
    rest = [name for name in table.columns if not name.startswith("Metadata_") and name not in new]
    assigned = pd.concat([pd.DataFrame(new), table[head], table[rest]], axis=1)
    assigned = name_controls(assigned)
    check_wells(assigned, "the table with these roles")
    return assigned


def find_column(table: pd.DataFrame, name: str) -> str:
    """Find the column that `name` means: exactly, or by its canonical name.

    Raises
    ------
    InputError
        There is none (the message lists the Metadata columns), or it is a feature.
    """
    if name in table.columns:
        if is_numeric_dtype(table[name]) and not name.startswith(("Metadata_", "Image_")):
            raise InputError(f"{name!r} is a feature; the table has {_known(table)}")
        return name
    canonical = list(canonical_metadata(pd.DataFrame({name: pd.Series(dtype=str)})).columns)
    if len(canonical) > 1:  # the control column is always made, whatever the name meant
        canonical.remove("Metadata_Control")
    for column in table.columns:
        if column.startswith("Metadata_") and (
            column in canonical or _plain(column) in (_plain(name), _plain(f"Metadata_{name}"))
        ):
            return str(column)
    raise InputError(f"no column {name!r}; the table has {_known(table)}")


def given_words(table: pd.DataFrame, column: str) -> pd.Series:
    """A column in the words of its file, where the reader has put its own in their place."""
    words = text_of(table[column])
    given = table.get(f"{column}_Given")
    return words if given is None else given.where(given != "", words)


def require(table: pd.DataFrame, *columns: str) -> None:
    """Raise InputError for the first of `columns` that the table lacks or has empty.

    What tells one well from another must be filled in every row; the rest in some.
    """
    for name in columns:
        if name not in table.columns or (table[name] == "").all():
            state = "no column" if name not in table.columns else "nothing in column"
            option = name.removeprefix("Metadata_").lower()
            value = "[=VALUE]" if option == "control" else ""
            given = table.get(f"{name}_Given")
            words = "" if given is None else f" (it was {first_few(given[given != ''])})"
            raise InputError(
                f"{state} {name}{words}; say which column it is with {option}=COLUMN{value} "
                f"(--{option}); the table has {_known(table)}"
            )
        empty = (table[name] == "").to_numpy()
        if name in WELL_KEY and empty.any():
            raise InputError(
                f"well {well_name(table, int(empty.argmax()))}: {name} is empty "
                f"({counted(empty.sum(), 'such well')}); fill it or drop these wells"
            )


def well_name(head: pd.DataFrame, row: int) -> str:
    """Plate and well of a row, for messages."""
    parts = [str(head.iloc[row][name]) for name in WELL_KEY[2:] if name in head]
    return "/".join(parts) or f"row {row + 1}"


def say_mixed(wells: pd.DataFrame, control: pd.Series) -> None:
    """One line if a perturbation is a negative control in some wells and none in others."""
    names = wells["Metadata_Perturbation"]
    mixed = control & names.isin(set(names[~control]) - {""})
    if mixed.any():
        given = wells.get("Metadata_Control_Given", pd.Series("", wells.index))
        others = ~control & names.isin(names[mixed])
        words = [word for word in given[others] if word]
        says = f" (the column of controls says {first_few(words)})" if words else ""
        log.warning(
            "%s: negative control in %s, treated in %s%s; --control says which wells are controls",
            *(first_few(names[mixed]), counted(mixed.sum(), "well")),
            *(counted(others.sum(), "other"), says),
        )


def joined(head: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    r"""One name for each row from several columns, such as source/batch/plate.

    Other values never give the same name, whatever is in them.

    Examples
    --------
    >>> joined(pd.DataFrame({"a": ["s1", "s/1"], "b": ["1/x", "x"]}), "ab").tolist()
    ['s1/1\\/x', 's\\/1/x']
    """
    marks = str.maketrans({"/": r"\/", "\\": r"\\"})
    parts = [head[name].astype(str).str.translate(marks) for name in columns]
    return np.array(["/".join(row) for row in zip(*parts, strict=True)], dtype=str)


def say_nameless(head: pd.DataFrame, nameless: np.ndarray, what: str) -> None:
    """Log what happens to wells without a perturbation, and which words stood there."""
    if not nameless.any():
        return
    column = head.get("Metadata_Perturbation_Given", pd.Series("", index=head.index))
    given = [str(word) for word in column[nameless] if word]
    words = f" (empty, untreated or unknown: {first_few(given)})" if given else ""
    wells = counted(nameless.sum(), "well")
    log.warning("%s without a perturbation name%s: %s", wells, words, what)


def name_controls(table: pd.DataFrame) -> pd.DataFrame:
    """Give negative controls that have no perturbation name one (JUMP leaves DMSO's empty)."""
    needed = {"Metadata_Perturbation", "Metadata_Control"}
    if not needed <= set(table.columns):
        return table
    control = table["Metadata_Control"] == "negcon"
    nameless = control & (table["Metadata_Perturbation"] == "")
    if nameless.any():
        names = table.get("Metadata_pert_iname", pd.Series("", index=table.index))
        names = names.where(names != "", "negcon")
        table = table.copy()
        table["Metadata_Perturbation"] = table["Metadata_Perturbation"].mask(nameless, names)
    return table


def check_wells(table: pd.DataFrame, where: str) -> None:
    """A well is there once, and so is each position of a plate.

    Where plates of several experiments have one name, the message says which column may tell
    them apart.
    """
    key = [name for name in WELL_KEY if name in table.columns]
    if not {"Metadata_Plate", "Metadata_Well"} <= set(key):
        return
    wells = table[key]
    if not (known := table["Metadata_Well"] != "").any():
        return
    if not (double := wells.duplicated(keep=False)).any():
        # Whole addresses ("exp1_2_A01") are as good as their last part.
        at = table["Metadata_Well"].str.extract(r"[^A-Za-z0-9]([A-Za-z]{1,2}\d{1,2})$")[0]
        wells = wells.assign(Metadata_Well=at)
        if at.isna().any() or not (double := wells.duplicated(keep=False)).any():
            return
    if not known[double].all():
        require(table, "Metadata_Well")
    row = int(np.flatnonzero(double.to_numpy())[0])
    n = int(wells.duplicated().sum())
    same = table[(wells == wells.iloc[row]).all(axis=1)]
    text = [c for c in map(str, table.select_dtypes(exclude="number")) if c not in key]
    apart = [
        c for c in text if same[c].is_unique and not wells.assign(c=table[c]).duplicated().any()
    ]
    sites = [c for c in ("Metadata_Site", "Metadata_Crop") if c in table and same[c].nunique() > 1]
    hint = ""
    if sites:
        hint = f"; its rows differ in {sites[0]}: take profiles of wells, not of fields or crops"
    elif apart:
        hint = f"; do plates of several experiments share a name? {first_few(apart)} would tell "
        hint += f"them apart: --batch {apart[0]}"
    raise InputError(
        f"{where}: well {well_name(table, row)} is there more than once ({counted(n, 'row')} too "
        f"many); a well has one row{hint}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _known(table: pd.DataFrame) -> str:
    """The columns that can play a part, for messages: those that hold text, and any at all."""
    text = table.select_dtypes(exclude="number")
    return ", ".join(text.columns[(text != "").any()]) or "no such columns"


def first_few(names: Iterable[Any]) -> str:
    """The first few distinct names, for messages; long ones cut."""
    distinct = [repr(n if len(n) <= 60 else f"{n[:57]}...") for n in dict.fromkeys(map(str, names))]
    return ", ".join(distinct[:8]) + (f", ... ({len(distinct)})" if len(distinct) > 8 else "")
