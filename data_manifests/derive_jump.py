"""Derive the JUMP subsets of the paper from the consortium's public metadata tables.

Run again after a change:  python data_manifests/derive_jump.py ../shared/real
The folder holds jump_metadata/ and jump_target/ (repositories jump-cellpainting/datasets and
jump-cellpainting/JUMP-Target), hgnc/ (gene groups) and profiles/cpjump1/ (targets of compounds).

Writes a table of wells for each set, one of all plates, and jump_counts.csv: what the paper
counts beside what these rules give. The paper's own lists (Supplementary Data 1 to 3) are not
among the tables.
"""

import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
SOURCES = ["source_2", "source_3", "source_6", "source_8"]  # of the multisource sets
NAMELESS = ["JCP2022_999999", "JCP2022_UNKNOWN"]  # empty well; compound not known
DMSO = "JCP2022_033924"
KEYS = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate", "Metadata_Well"]


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """All tables, every value as text."""
    names = {
        "plate": "jump_metadata/plate.csv.gz",
        "well": "jump_metadata/well_81fd6c6_2022-12-22.csv.gz",
        "orf": "jump_metadata/orf.csv.gz",
        "crispr": "jump_metadata/crispr.csv.gz",
        "control": "jump_metadata/perturbation_control.csv",
        "compound": "jump_metadata/compound_source.csv.gz",
        "microscope": "jump_metadata/microscope_config.csv",
        "target2": "jump_target/JUMP-Target-2_compound_metadata.tsv",
        "platemap": "jump_target/JUMP-Target-2_compound_platemap.tsv",
        "group": "hgnc/hgnc_symbol_gene_group.csv.gz",
    }
    tables = {
        name: pd.read_csv(
            folder / file, dtype=str, keep_default_na=False, sep="\t" if "tsv" in file else ","
        )
        for name, file in names.items()
    }
    gene = folder / "profiles/cpjump1/BR00117010_normalized_feature_select_negcon_batch.csv.gz"
    columns = ["Metadata_broad_sample", "Metadata_gene"]
    tables["gene"] = pd.read_csv(gene, dtype=str, usecols=columns, keep_default_na=False)
    return tables


def all_plates(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Every plate of JUMP-CP."""
    return tables["plate"][KEYS[:3]].sort_values(KEYS[:3], ignore_index=True)


def derive(tables: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Wells of each set, and the table of counts."""
    wells = tables["well"].merge(tables["plate"], on=["Metadata_Source", "Metadata_Plate"])
    sites = tables["microscope"].set_index("Metadata_Source")["Metadata_Sites_Per_Well"].astype(int)
    controls = set(tables["control"]["Metadata_JCP2022"])
    wells["treated"] = ~wells["Metadata_JCP2022"].isin(controls)
    wells["named"] = ~wells["Metadata_JCP2022"].isin(NAMELESS)
    four = wells[wells["Metadata_Source"].isin(SOURCES)]

    library = _library_plates(four)
    training = library[library["named"]]
    nameless = (library["Metadata_JCP2022"] == NAMELESS[1]).sum()
    target2 = _target2(four, training, tables)
    orf = wells[(wells["Metadata_Source"] == "source_4") & (wells["Metadata_PlateType"] == "ORF")]
    orf = orf.merge(
        tables["orf"][["Metadata_JCP2022", "Metadata_Symbol"]], on="Metadata_JCP2022", how="left"
    ).rename(columns={"Metadata_Symbol": "Metadata_Gene"})
    grouped = _in_groups(orf[orf["treated"]], tables["group"])

    def images(table: pd.DataFrame) -> int:
        return int(table["Metadata_Source"].map(sites).sum())

    def count(table: pd.DataFrame, column: str) -> int:
        return table[column].nunique()

    samples = tables["target2"].query("control_type != 'negcon'")
    compounds = training[training["treated"]]
    rows = [
        ("JUMP-CP", "compounds", 116_750, count(tables["compound"], "Metadata_JCP2022"),
         "rows of the table of compounds and their sources, each compound once"),
        ("JUMP-CP", "genes knocked out", 7_975, len(tables["crispr"]) - 2,
         "two of the rows are the controls"),
        ("JUMP-CP", "genes overexpressed", 12_602,
         count(orf[orf["treated"] & (orf["Metadata_Gene"] != "")], "Metadata_Gene"),
         "without the four control genes (BFP, HcRed, luciferase, LacZ); with them it is equal"),
        ("training", "images", 564_272, images(training),
         "wells times sites as planned; images that are missing upstream are not known here"),
        ("training", "compounds", 10_057, count(compounds, "Metadata_JCP2022"),
         f"the well table of Dec 2022 has {nameless:,} wells of unknown compounds on these plates;"
         " and one identifier may stand for several samples, as five do on Target2"),
        ("training", "replicates of a compound (median)", 5,
         int(compounds.groupby("Metadata_JCP2022").size().median()), ""),
        ("training", "of these in source 3 (median)", 2,
         int(compounds[compounds["Metadata_Source"] == "source_3"]
             .groupby("Metadata_JCP2022").size().median()), ""),
        ("training", "batches", None, count(training, "Metadata_Batch"),
         "listed in Supplementary Data 1 only"),
        ("training", "plates", None, count(training, "Metadata_Plate"),
         "listed in Supplementary Data 1 only"),
        ("Target2", "compounds", 306, count(samples, "broad_sample"), "samples, controls but DMSO"),
        ("Target2", "compounds by identifier", 306,
         count(target2[target2["Metadata_JCP2022"] != DMSO], "Metadata_JCP2022"),
         "five identifiers stand for two samples each"),
        ("Target2", "batches", 16, count(target2, "Metadata_Batch"),
         "13 follow from the training batches; three of source_2 are filled up to the paper's 16"),
        ("Target2", "plates (replicates of a compound)", 24, count(target2, "Metadata_Plate"),
         "as for batches"),
        ("Target2", "images", 75_545, images(target2),
         "wells times sites as planned; images that are missing upstream are not known here"),
        ("ORF", "reagents", 5_198, count(orf[orf["treated"]], "Metadata_JCP2022"),
         "all of source_4; the paper keeps those whose replicates correlate in CellProfiler"
         " profiles, by a threshold that its text has as a picture"),
        ("ORF", "reagents in gene groups of four or more", 1_970,
         count(grouped, "Metadata_JCP2022"), "all of source_4, as above; an upper bound"),
    ]  # fmt: skip
    counts = pd.DataFrame(rows, columns=["set", "quantity", "paper", "derived", "why"])
    counts["paper"] = counts["paper"].astype("Int64")
    counts.insert(4, "difference", counts["derived"] - counts["paper"])
    counts.insert(5, "percent", (100.0 * counts["difference"] / counts["paper"]).round(2))

    columns = [*KEYS, "Metadata_JCP2022"]
    labels = [*columns, "Metadata_Compound", "Metadata_Target", "chosen_by"]
    sets = {
        "jump_multisource": training[columns],
        "jump_target2": target2[labels],
        "jump_orf": orf[[*columns, "Metadata_Gene"]].fillna(""),
    }
    return {name: t.sort_values(KEYS, ignore_index=True) for name, t in sets.items()}, counts


def _library_plates(four: pd.DataFrame) -> pd.DataFrame:
    """All wells on the plates of the library that all four sources imaged.

    The library: compounds that each of the four sources has on COMPOUND plates. A plate is one
    of the library's if more than half of its treated wells hold its compounds; shares are at most
    0.10 or at least 0.54, so the threshold does not matter.
    """
    plates = four[four["Metadata_PlateType"] == "COMPOUND"]
    treated = plates[plates["treated"]]
    by_source = treated.groupby("Metadata_Source")["Metadata_JCP2022"]
    library = set.intersection(*(set(names) for _, names in by_source))
    share = treated["Metadata_JCP2022"].isin(library).groupby(treated["Metadata_Plate"]).mean()
    return plates[plates["Metadata_Plate"].isin(share[share > 0.5].index)]


def _target2(
    four: pd.DataFrame, training: pd.DataFrame, tables: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """Target2 plates of the training batches, and three batches of source_2 to make 16.

    24 plates in 16 batches with 75,545 images fit the sites per well only with six plates of
    source_2 (six sites) and 18 of the others (nine). The training batches have three and 18.
    Which three more of source_2's seven the paper took is not known here; the first ones by
    name are taken.
    """
    plates = four[four["Metadata_PlateType"] == "TARGET2"]
    batch = ["Metadata_Source", "Metadata_Batch"]
    used = set(map(tuple, training[batch].drop_duplicates().to_numpy()))
    by_rule = pd.Series([tuple(b) in used for b in plates[batch].to_numpy()], plates.index)
    spare = sorted(plates["Metadata_Batch"][~by_rule & (plates["Metadata_Source"] == "source_2")])
    filled = plates["Metadata_Batch"].isin(list(dict.fromkeys(spare))[:3])
    plates = plates.assign(chosen_by=by_rule.map({True: "training batch", False: "filled up"}))
    samples = tables["target2"].query("broad_sample != ''").drop_duplicates("broad_sample")
    genes = tables["gene"].query("Metadata_gene != ''")
    samples["BRD"] = samples["broad_sample"].str[:13]  # the compound; what follows is the batch
    genes = genes.assign(BRD=genes["Metadata_broad_sample"].str[:13]).drop_duplicates("BRD")
    labels = (
        tables["platemap"][["well_position", "broad_sample"]]
        .merge(samples.merge(genes, on="BRD", how="left"), on="broad_sample", how="left")
        .rename(columns={"well_position": "Metadata_Well", "pert_iname": "Metadata_Compound",
                         "Metadata_gene": "Metadata_Target"})
    )  # fmt: skip
    labels = labels[["Metadata_Well", "Metadata_Compound", "Metadata_Target"]].fillna("")
    return plates[by_rule | filled].merge(labels, on="Metadata_Well", how="left")


def _in_groups(orf: pd.DataFrame, group: pd.DataFrame, least: int = 4) -> pd.DataFrame:
    """Wells whose gene is in a gene group with at least `least` reagents."""
    pairs = orf[["Metadata_JCP2022", "Metadata_Gene"]].drop_duplicates()
    pairs = pairs.merge(group, left_on="Metadata_Gene", right_on="symbol")
    sizes = pairs.groupby("family_id")["Metadata_JCP2022"].transform("nunique")
    return orf[orf["Metadata_JCP2022"].isin(pairs["Metadata_JCP2022"][sizes >= least])]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tables = read(Path(sys.argv[1]))
    sets, counts = derive(tables)
    for name, table in {**sets, "jump_all": all_plates(tables)}.items():
        table.to_parquet(HERE / f"{name}.parquet", index=False, compression="zstd")
    counts.to_csv(HERE / "jump_counts.csv", index=False)
    sys.stdout.write(counts.drop(columns="why").to_string(index=False) + "\n")
