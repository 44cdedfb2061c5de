"""Tables that a reader names: files and patterns, the authors' release, genes and their groups."""

from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.tables import reading_errors

RELEASE_SETS = ("multisource", "singlesource", "ORF")


def find_tables(profiles: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """Files by feature type: paths as they are, patterns as what they match.

    Raises
    ------
    InputError
        Not a mapping of names to paths, or nothing there under a name.
    """
    found = {}
    for name, given in profiles.items():
        patterns = [given] if isinstance(given, str | Path) else list(map(str, given))
        # The name itself first: a bracket in a file's name is no pattern.
        found_by = [[str(p)] if Path(p).is_file() else sorted(glob(str(p))) for p in patterns]
        paths = [
            path for p, them in zip(patterns, found_by, strict=True) for path in them or [str(p)]
        ]
        missing = [path for path in paths if not Path(path).is_file()]
        if missing or not paths:
            raise InputError(
                f"profiles {name}: no such file: {', '.join(missing[:3]) or 'none given'}"
            )
        found[name] = paths
    return found


def release_tables(folder: str | Path, which: str) -> dict[str, list[str]]:
    """Find every method of the authors' release, by its name.

    ``<which>/<METHOD>/well_features.csv`` is looked for under ``embeddings/``, directly in the
    folder, and in both below ``SSL_data/``, as the archive unpacks; then
    ``<METHOD>/well_features.csv`` in the folder itself.

    Raises
    ------
    InputError
        An unknown set, no such folder, nothing found.
    """
    if which not in RELEASE_SETS:
        raise InputError(f"release_set {which!r} is not one of {', '.join(RELEASE_SETS)}")
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"release {folder}: no such folder")
    tops = (folder, folder / "SSL_data")
    for place in (*(t / e / which for t in tops for e in ("embeddings", "")), *tops):
        found = sorted(place.glob("*/well_features.csv"))
        if found:
            return {path.parent.name: [str(path)] for path in found}
    raise InputError(
        f"release {folder}: no embeddings/{which}/METHOD/well_features.csv in it; name the folder "
        "that holds embeddings/"
    )


def name_genes(wells: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """Gene symbol and control type of every well, by its perturbation.

    Parameters
    ----------
    wells : DataFrame
        As `read_profiles` returns them. The authors' gene embeddings name neither (their code
        has them joined by hand).
    path
        The consortium's ``orf.csv.gz`` (``crispr.csv.gz``), or any table with `Metadata_Symbol`
        and a column of ids; the one that knows most perturbations counts.

    Returns
    -------
    DataFrame
        A copy with ``Metadata_Gene`` ("" where unknown); ``negcon`` and ``poscon`` of the table's
        ``Metadata_pert_type`` where the wells do not say.

    Raises
    ------
    InputError
        Not such a table, or one that knows none of the perturbations.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"genes {path}: no such table of genes")
    with reading_errors(path):
        table = pd.read_csv(path, dtype=str).fillna("")
    if "Metadata_Symbol" not in table:
        raise InputError(
            f"genes {path}: no column Metadata_Symbol; it has {', '.join(map(str, table))}"
        )
    ids = wells["Metadata_Perturbation"]
    names = [c for c in ("JCP2022", "broad_sample", "Name", "Symbol") if f"Metadata_{c}" in table]
    best = max((f"Metadata_{c}" for c in names), key=lambda c: ids.isin(table[c]).sum())
    if not ids.isin(table[best]).any():
        raise InputError(
            f"genes {path}: knows none of the perturbations; it has {table[best].iloc[0]}, ..., "
            f"the profiles have {ids.iloc[0]}, ..."
        )
    known = table[table[best] != ""].drop_duplicates(best).set_index(best, drop=False)
    wells = wells.assign(Metadata_Gene=ids.map(known["Metadata_Symbol"]).fillna(""))
    if "Metadata_pert_type" in known:
        kind = ids.map(known["Metadata_pert_type"]).where(
            lambda k: k.isin(["negcon", "poscon"]), ""
        )
        wells["Metadata_Control"] = wells["Metadata_Control"].where(
            wells["Metadata_Control"] != "", kind
        )
    return wells


def read_gene_groups(path: str | Path) -> pd.DataFrame:
    """Gene groups of symbols, a row for each membership: columns ``symbol`` and ``gene_group``.

    Parameters
    ----------
    path
        HGNC's complete set as it is published (``.txt``, tab-separated; the groups of a gene in one
        cell, ``|`` between them), or any CSV or TSV with these two columns.

    Raises
    ------
    InputError
        Not there, not readable, without these columns, or without any group.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"families {path}: no such table of gene groups")
    name = path.name.lower().removesuffix(".gz")
    with reading_errors(path):
        table = pd.read_csv(
            path,
            sep="," if name.endswith(".csv") else "\t",
            dtype=str,
            usecols=lambda column: column.strip().lower() in ("symbol", "gene_group"),
            keep_default_na=False,
        )
    table.columns = [column.strip().lower() for column in table.columns]
    if lacking := sorted({"symbol", "gene_group"} - set(table)):
        raise InputError(f"families {path}: has no column {lacking[0]}; needs symbol, gene_group")
    groups = table.assign(gene_group=table["gene_group"].str.split("|")).explode("gene_group")
    groups = groups.apply(lambda column: column.str.strip())
    groups = groups[(groups != "").all(axis=1)].drop_duplicates(ignore_index=True)
    if groups.empty:
        raise InputError(f"families {path}: no gene is in a group")
    return groups[["symbol", "gene_group"]]
