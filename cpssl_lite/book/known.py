"""Which of the paper's data a table holds, known by its plates, batches and compounds."""

from functools import cache
from pathlib import Path

import pandas as pd

from cpssl_lite.base.files import sha256
from cpssl_lite.data.manifests import FOLDER, load_manifest
from cpssl_lite.images.metadata import NEGATIVE_CONTROLS
from cpssl_lite.profiles.find import read_gene_groups

# The paper's sets by the names that claims use, and the manifest whose index lists their wells.
TARGET2, ORF, CPG0012 = "JUMP-CP Target2", "JUMP-CP ORF", "cpg0012"
METADATA = "JUMP metadata"
INDEXES = {TARGET2: "jump_target2", ORF: "jump_orf"}
# Three of the 24 Target2 plates are a guess (all of source_2): other ones of it may stand there.
GUESSED = 0.15
LEAST_ORFS = 1770  # nine tenths of the 1,970 reagents that the text counts
NEARLY_ALL = 0.97  # five identifiers of Target2 stand for two samples each
PLATE, WELL, BATCH = "Metadata_Plate", "Metadata_Well", "Metadata_Batch"
NAMES = ("Metadata_JCP2022", "Metadata_Compound", "Metadata_Gene")
TARGET, GENE = "Metadata_Target", "Metadata_Gene"
MEMBERSHIPS = 25_000  # 29,872 in a table of 2023
GROUPS = {
    "Interferons": {"IFNA2", "IFNB1", "IFNG", "IFNK", "IFNL1", "IFNW1"},
    "HOXL subclass homeoboxes": {"HOXA1", "HOXB4", "HOXC8", "HOXD13", "CDX2", "GSX1"},
    "MAP kinase phosphatases": {"DUSP1", "DUSP2", "DUSP4", "DUSP6", "DUSP10", "DUSP16"},
}
# Of the wells with a label here and in the index, how many must agree: targets may have other names
# (one for each) and differ between annotations, symbols of genes are corrected now and then.
SAME_TARGET, SAME_GENE = 0.7, 0.8


def recognise(wells: pd.DataFrame) -> tuple[str, str]:
    """Name of the set that a table of wells (or fields) holds, or "" and what does not fit.

    Names of files, folders and columns do not matter: the plates must be those of the set's index,
    nearly all of them, in the same batches (under whatever names), and each well must hold the
    compound or reagent that the index has there.

    Parameters
    ----------
    wells
        A profile table with its roles (`assign_roles`), or an image table.
    """
    lacking = [name for name in (PLATE, WELL, BATCH, "Metadata_Perturbation") if name not in wells]
    if lacking:
        return "", f"no column {lacking[0]}"
    head = wells[[PLATE, WELL, BATCH, "Metadata_Perturbation"]].astype(str)
    nothing = pd.Series("", wells.index)
    head = head.assign(control=wells.get("Metadata_Control", nothing))
    head = head.assign(target=wells.get(TARGET, nothing), gene=wells.get(GENE, nothing))
    head = head.drop_duplicates([PLATE, WELL])
    reasons = []
    for name in INDEXES:
        index = _index(name)
        share = float(head[PLATE].isin(set(index[PLATE])).mean())
        why = _misfit(name, head, index, share)
        if not why:
            return name, ""
        reasons.append((share, why))
    share, why = max(reasons)
    return "", why if share else f"no plate of {' or '.join(INDEXES)} is in it"


def recognise_labels(path: str | Path, found: pd.DataFrame) -> tuple[str, str]:
    """The same for activity labels: the published matrix, and profiles of nearly all its compounds.

    Parameters
    ----------
    path
        The file (or its folder) that the labels were read from.
    found
        Labels of the compounds that have profiles: a row for each, a column for each assay.
    """
    path, known = Path(path), load_manifest("cpg0012_bioactives")["label_matrix"]
    path = path / known["file"] if path.is_dir() else path
    if not path.is_file() or sha256(path) != known["sha256"]:
        return "", f"labels are not those of {CPG0012} (by sha256)"
    compounds, assays = found.shape
    if compounds < 0.9 * known["compounds"] or assays < known["assays"]:
        whole = f"{known['compounds']:,} compounds and {known['assays']} assays"
        return "", f"{compounds:,} compounds and {assays} assays of {CPG0012}'s {whole}"
    return CPG0012, ""


def recognise_families(path: str | Path) -> str:
    """What keeps a table of gene groups from being HGNC's; "" where nothing does.

    No digest of the release that the paper took is known here, so a few well-kept groups and the
    size of the whole stand for it.
    """
    groups = read_gene_groups(path)
    if len(groups) < MEMBERSHIPS:
        return f"{len(groups):,} memberships of genes in groups, HGNC has {MEMBERSHIPS:,} and more"
    members = groups.groupby("gene_group")["symbol"].agg(set)
    for group, symbols in GROUPS.items():
        if len(symbols & members.get(group, set())) < 0.75 * len(symbols):
            return f"its {group!r} are not HGNC's"
    return ""


@cache
def _index(name: str) -> pd.DataFrame:
    return pd.read_parquet(FOLDER / load_manifest(INDEXES[name])["index"])


def _misfit(name: str, head: pd.DataFrame, index: pd.DataFrame, share: float) -> str:
    """What keeps a table from being the set; "" where nothing does."""
    if share < (1 - GUESSED if name == TARGET2 else NEARLY_ALL):
        return f"{share:.0%} of its wells are on plates of {name}"
    both = head.merge(index, on=[PLATE, WELL], suffixes=("", "_index"))
    on_plates = head[PLATE].isin(set(index[PLATE])).sum()
    if len(both) < NEARLY_ALL * on_plates:
        return f"{1 - len(both) / on_plates:.0%} of its wells are not in the index of {name}"
    if name == TARGET2:
        rest = set(head[PLATE]) - set(index[PLATE])
        if not rest <= _plates_of("source_2"):
            return f"its other plates are no plates of source_2: {', '.join(sorted(rest)[:3])}"
        sure = set(index[PLATE][index["chosen_by"] == "training batch"])
        if len(sure & set(head[PLATE])) < 0.95 * len(sure):
            return f"only {len(sure & set(head[PLATE]))} of {len(sure)} plates of {name}"
        here = index[index[PLATE].isin(set(head[PLATE]))]
        if len(both) < 0.9 * len(here):
            return f"{len(both):,} of the {len(here):,} wells of its plates of {name}"
    else:
        batches = both[f"{BATCH}_index"].nunique(), index[BATCH].nunique()
        if batches[0] < 0.9 * batches[1]:
            return f"only {batches[0]} of {batches[1]} batches of {name}"
        if (n := both["Metadata_JCP2022"].nunique()) < LEAST_ORFS:
            return f"only {n:,} reagents of {name}"
    # Two sources may both have a "Batch_1".
    wanted = both["Metadata_Source"] + "/" + both[f"{BATCH}_index"]
    given = both["Metadata_Source"] + "/" + both[BATCH]
    if _one_to_one(given, wanted) < 1:
        return f"its batches are not those of {name}"
    treated = both[both["control"] != "negcon"]
    if treated.empty or _same_names(treated) < NEARLY_ALL:
        return f"its wells do not hold what those of {name} do"
    controls = both["Metadata_JCP2022"].isin(NEGATIVE_CONTROLS)
    if ((both["control"] == "negcon") == controls).mean() < NEARLY_ALL:
        return f"its negative controls are not those of {name}"
    if TARGET in both:
        named = treated[(treated["target"] != "") & (treated[TARGET] != "")]
        if len(named) and _one_to_one(named["target"], named[TARGET]) < SAME_TARGET:
            return f"its targets are not those of {name}"
    if GENE in both:
        named = treated[(treated["gene"] != "") & (treated[GENE] != "")]
        if len(named) and (named["gene"] == named[GENE]).mean() < SAME_GENE:
            return f"its genes are not those of {name}"
    return ""


def _same_names(wells: pd.DataFrame) -> float:
    """Share of wells whose perturbation is the index's: by the same name, or by one for each."""
    given = wells["Metadata_Perturbation"]
    for column in NAMES:
        if column in wells and given.isin(set(wells[column])).mean() > 0.9:
            return float((given == wells[column]).mean())
    return _one_to_one(given, wells["Metadata_JCP2022"])


def _one_to_one(a: pd.Series, b: pd.Series) -> float:
    """Share of rows in which each name of `a` goes with one of `b` and the other way round."""
    pairs = pd.DataFrame({"a": a, "b": b}).value_counts().reset_index()
    keep = pairs.drop_duplicates("a").merge(pairs.drop_duplicates("b")[["a", "b"]], on=["a", "b"])
    return float(keep["count"].sum() / len(a))


@cache
def _plates_of(source: str) -> set[str]:
    plates = pd.read_parquet(FOLDER / load_manifest("jump_all")["index"])
    return set(plates[PLATE][plates["Metadata_Source"] == source])
