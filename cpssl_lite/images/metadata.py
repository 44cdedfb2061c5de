"""Names and values of metadata columns, whoever wrote the table: of fields or of wells."""

import re

import pandas as pd

NEGATIVE_CONTROLS = frozenset(
    ["DMSO", "JCP2022_033924"]  # compound screens; the second is DMSO in JUMP
    + [f"JCP2022_91512{n}" for n in (8, 9)]  # ORF: BFP, HcRed
    + [f"JCP2022_91513{n}" for n in (0, 1)]  # ORF: LUCIFERASE, LacZ
    + [f"JCP2022_80000{n}" for n in (1, 2)]  # CRISPR: no guide, non-targeting
)
"""Perturbations that are negative controls whatever else the table says."""

IMAGE_METADATA = tuple(
    f"Metadata_{name}"
    for name in ("Source", "Batch", "Plate", "Well", "Site", "Perturbation", "Control")
)

PLATE = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate"]
"""What tells plates apart: two sources may both have a "Plate1"."""

# Canonical name: accepted names in order of preference, lower case and without "Metadata_" and "_".
_SYNONYMS = {
    "Metadata_Source": ("source",),
    "Metadata_Batch": ("batch", "experiment", "experimentname"),  # the latter: Recursion's
    "Metadata_Plate": ("plate", "assayplatebarcode"),
    "Metadata_Well": ("well", "wellposition", "address"),
    "Metadata_Site": ("site", "field", "fieldid", "fov"),
    "Metadata_Perturbation": (
        "perturbation", "perturbationid", "jcp2022", "broadsample", "pertiname",
    ),
    "Metadata_Control": ("control", "controltype", "perttype"),
    "Metadata_Target": ("target",),
    "Metadata_GeneGroup": ("genegroup",),
    "Metadata_Gene": ("gene",),
}  # fmt: skip
# Columns that count as metadata without a "Metadata_" in front, in any case: the authors' names.
_BARE = frozenset(
    "batch plate well field site source perturbation perturbation_id target gene gene_group"
    " control_type experiment experiment_name address".split()
)
# What R, pandas and spreadsheets write where there is nothing; the same from every kind of file.
_MISSING = frozenset("nan NaN -nan -NaN None <NA> NaT NA N/A n/a #N/A #NA NULL null".split())
# Wells that no perturbation was put into, or nobody knows which: JUMP's two ids, and words.
_PLACEHOLDERS = frozenset(
    "jcp2022999999 jcp2022unknown empty emptywell untreated unknown blank unassigned notreatment"
    " nontreated nottreated nocompound nocells mediaonly none na".split()
)


def canonical_metadata(df: pd.DataFrame) -> pd.DataFrame:
    """Rename the metadata columns of an image or profile table to this project's names.

    Known from any of the authors' tables (``batch``, ``plate``, ``well``, ``field``, ...), JUMP's
    (``Metadata_JCP2022``, ...) and this project's, in any case; the other ``Metadata_*`` columns
    and all columns that are not metadata stay as they are. Where two columns mean the same, the
    first one that is filled counts, row by row (CPJUMP1: ``broad_sample``, then ``pert_iname``,
    which stays as well).

    Every metadata value becomes text and a missing one ``""``. Well positions ``a1``, ``A-1`` and
    ``r01c01`` become ``A01``; a name that is no such position is kept. Without wells those of
    ``Metadata_Row`` (``Metadata_WellRow``) and its column are taken.

    ``Metadata_Control`` is always there: ``negcon`` and ``poscon`` from a control column
    (``negcon*``, ``poscon*``), ``negcon`` also for the perturbations in `NEGATIVE_CONTROLS`,
    ``""`` for the rest. Placeholders for empty, untreated and unknown wells are no perturbation
    (``""``), unless the control column calls the well ``negcon``. Where this loses words, a
    column ``Metadata_Control_Given`` or ``Metadata_Perturbation_Given`` keeps them.
    ``Image_Metadata_*`` counts as ``Metadata_*``.

    Returns
    -------
    A new table, metadata first.

    Examples
    --------
    >>> table = pd.DataFrame({"plate": [7], "well": ["b2"], "perturbation_id": ["DMSO"]})
    >>> canonical_metadata(table).iloc[0].tolist()
    ['7', 'B02', 'DMSO', 'negcon']
    """
    by_key: dict[str, list[str]] = {}
    names = [str(c) for c in df if str(c).startswith("Image_Metadata_")]
    of_image = {name: name[len("Image_") :] for name in names}
    df = df.rename(columns={c: new for c, new in of_image.items() if new not in df})
    for column in sorted(map(str, df.columns), key=_bare):  # "Metadata_*" first
        if _bare(column) or column.lower().startswith("metadata_"):
            key = re.sub("[ _]", "", column.lower().removeprefix("metadata_"))
            by_key.setdefault(key, []).append(column)
    meta: dict[str, pd.Series] = {}
    for name, keys in _SYNONYMS.items():
        for column in (column for key in keys for column in by_key.pop(key, [])):
            values = text_of(df[column])
            if name in meta:
                meta[name] = meta[name].where(meta[name] != "", values)
                meta |= {column: values} if column.startswith("Metadata_") else {}
            else:
                meta[name] = values
    for column in (column for columns in by_key.values() for column in columns):
        meta[column] = text_of(df[column])
    if (wells := meta.get("Metadata_Well", _of_row_and_column(meta))) is not None:
        meta["Metadata_Well"] = wells.map(_well)
    meta |= _roles(meta, df.index)
    order = [name for name in IMAGE_METADATA if name in meta]
    order += [name for name in meta if name not in order]
    used = {column for column in map(str, df.columns) if _bare(column)}
    rest = [c for c in df if str(c) not in used and not str(c).lower().startswith("metadata_")]
    return pd.concat([pd.DataFrame({name: meta[name] for name in order}), df[rest]], axis=1)


def is_metadata(name: str) -> bool:
    """Whether a column counts as metadata by its name, whatever it holds."""
    return _bare(name) or "metadata_" in name.lower()


def text_of(values: pd.Series) -> pd.Series:
    """Text of each value; missing values become ``""``.

    Where all numbers of a column are whole they lose their ``.0``, those of a CSV too: pandas
    writes whole numbers so as soon as one is missing.
    """
    known = values.dropna()
    if (
        pd.api.types.is_float_dtype(values)
        and (known % 1 == 0).all()
        and (known.abs() < 2**53).all()
    ):
        values = values.astype("Int64")
    text = values.astype(object).where(values.notna(), "").astype(str).str.strip()
    text = text.where(~is_missing(text), "")
    filled = text[text != ""]
    if len(filled) and filled.iloc[0].endswith(".0") and filled.str.fullmatch(r"-?\d+\.0").all():
        text = text.str.removesuffix(".0")
    return text


def is_missing(text: pd.Series) -> pd.Series:
    """Which texts stand for nothing, whoever wrote them."""
    return text.isin(["", *_MISSING])


def _well(name: str) -> str:
    if match := re.fullmatch(r"([A-Za-z]{1,2})(?:[:_-]| - | )?0*([1-9]\d?)", name):
        return f"{match[1].upper()}{int(match[2]):02d}"
    if match := re.fullmatch(r"[Rr](\d{1,2})[Cc](\d{1,2})", name):
        row, column = int(match[1]), int(match[2])
        if 1 <= row <= 52:  # AA follows Z on plates of 1,536 wells
            return "A" * (row > 26) + chr(65 + (row - 1) % 26) + f"{column:02d}"
    return name


def _of_row_and_column(meta: dict[str, pd.Series]) -> pd.Series | None:
    """Wells from a row (letter or number) and a column, as CellProfiler takes them from names."""
    known = {re.sub("_|well", "", n.lower().removeprefix("metadata_")): v for n, v in meta.items()}
    row, column = known.get("row"), known.get("column", known.get("col"))
    if row is None or column is None:
        return None
    wells = (row + column).mask(row.str.isdecimal(), "r" + row + "c" + column)
    return wells.where((row != "") & (column != ""), "")


def _bare(column: str) -> bool:
    return column.lower().replace(" ", "_") in _BARE


def _roles(meta: dict[str, pd.Series], index: pd.Index) -> dict[str, pd.Series]:
    """Controls and perturbations in this project's words, and the words that this loses."""
    nothing = pd.Series("", index=index, dtype=object)
    said = meta.get("Metadata_Control", nothing)
    kind = said.str.lower()
    control = nothing.copy()
    control[kind.str.startswith("poscon")] = "poscon"
    control[kind.str.startswith("negcon")] = "negcon"
    roles = {"Metadata_Control": control}
    if "Metadata_Perturbation" in meta:
        names = meta["Metadata_Perturbation"]
        control[names.str.upper().isin(NEGATIVE_CONTROLS) & (control == "")] = "negcon"
        # A type that is unknown is that of a compound, maybe.
        no_type = is_placeholder(said) & ~kind.isin(["unknown", "unassigned", "none", "na"])
        empty = is_placeholder(names) | no_type
        roles["Metadata_Perturbation"] = names.mask(empty & (control != "negcon"), "")
    for name in list(roles):
        given = meta.get(name, nothing)
        if not given.isin({"", *roles[name]}).all():
            roles[f"{name}_Given"] = given
    return roles


def is_placeholder(names: pd.Series) -> pd.Series:
    """Which names stand for an empty, untreated or unknown well.

    Examples
    --------
    >>> is_placeholder(pd.Series(["JCP2022_999999", "No treatment", "DMSO"])).tolist()
    [True, True, False]
    """
    return names.str.lower().str.replace(r"[ _-]", "", regex=True).isin(_PLACEHOLDERS)
