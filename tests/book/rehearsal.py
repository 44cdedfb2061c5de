"""A release that was never released: tables of the authors' layout with effects planted in them.

Wells, plates, batches and perturbations are those of the indexes in data_manifests/, so that the
tables are taken for the paper's own; numbers are drawn, and which method finds what is decided
here. So the right verdict on every claim is known before a chapter measures it.

    python tests/book/rehearsal.py FOLDER [--reverse] [--width 1.0] [--toy] [CHAPTER ...]

writes FOLDER/SSL_data and tables of genes and gene groups, runs the chapters (ssl_comparison,
gene_clustering, batch_effects) on them and says which verdicts are not the right ones. `--reverse`
plants every effect the other way round, `--toy` takes the digests of the archive away.
"""

import argparse
import csv
import json
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from cpssl_lite.book.claims import load_claims, verdict
from cpssl_lite.book.known import GROUPS, MEMBERSHIPS
from cpssl_lite.book.rules import DIFFERS, DIRECTION, REPRODUCED, UNTESTABLE
from cpssl_lite.data.manifests import FOLDER
from cpssl_lite.images.metadata import NEGATIVE_CONTROLS
from cpssl_lite.profiles.normalize import mad_robustize

# How well each method sees compounds and what they share: strength of both, noise being 1.
STRENGTH = {
    "DINO-ViT-S": 1.0,
    "DINO-ViT-B": 1.0,
    "MAE-ViT-S": 0.5,
    "SimCLR-ViT-S": 0.5,
    "transferlearning-ViT-S": 0.5,
    "transferlearning-ViT-B": 0.5,
    "CellProfiler": 0.6,
    "Random": 0.0,
}
FEATURES = {"ViT-S": 384, "ViT-B": 768, "CellProfiler": 560, "Random": 384}
FAMILY = 6  # genes of a planted family
COLUMNS = {"Batch": "batch", "Plate": "plate", "Well": "well", "JCP2022": "perturbation_id"}


# Verdicts that follow from that: what holds as planted and differs the other way round.
TURN = {
    "ssl_comparison": (
        "dino-best", "dino-best-label", "dino-best-nsb", "dino-best-nsbp",
        "dino-cellprofiler-perturbation", "dino-cellprofiler-perturbation-p",
        "dino-cellprofiler-target", "dino-cellprofiler-sources",
        "cross-source-map", "cross-source-nsb", "vit-b-marginal", "vit-b-marginal-transfer",
        "dino-f1-perturbation", "dino-f1-target",
    ),
    "gene_clustering": (
        "genes-map", "genes-nsb", "gene-family-map", "gene-family-map-p", "gene-family-nsbp",
        "gene-family-f1", "ami-higher",
    ),
}  # fmt: skip
# Facts of the tables, whichever way the effects are.
STAY = {"ssl_comparison": ("target2-batches", "target2-per-target")}
WEAK = "source_8"  # where DINO sees less than CellProfiler: one source of four, as in the paper


def strengths(reverse: bool) -> dict[str, float]:
    """Strength of each method; reversed, DINO sees nothing and what was alike is not."""
    turned = {"DINO-ViT-S": 0.0, "DINO-ViT-B": 1.0, "transferlearning-ViT-B": 1.0}
    return STRENGTH | turned if reverse else STRENGTH


def wrong_verdicts(chapter: str, found: Mapping[str, str], reverse: bool, toy: bool) -> list[str]:
    """What is not as it must be, a line each."""
    right = {REPRODUCED, DIRECTION} if not reverse else {DIFFERS}
    expected = {id: right for id in TURN[chapter]}
    expected |= {id: {REPRODUCED} for id in STAY.get(chapter, ())}
    if toy:
        known = {"target2-per-target"}  # of the wells alone, which are the paper's
        expected = {id: {UNTESTABLE} for id in found if id not in known}
    return [
        f"{chapter}: {id}: {found.get(id, 'not measured')}, not {' or '.join(sorted(allowed))}"
        for id, allowed in expected.items()
        if found.get(id) not in allowed
    ]


def write_release(
    folder: Path, reverse: bool = False, width: float = 1.0, methods: tuple[str, ...] = ()
) -> Path:
    """Write SSL_data with multisource and ORF embeddings, and the tables that name genes.

    Parameters
    ----------
    width
        Share of the true number of features.
    methods
        Only these.

    Returns
    -------
    ``SSL_data`` in the folder; ``orf.csv.gz`` and ``hgnc.txt`` lie beside it.
    """
    rng = np.random.default_rng(0)
    target2 = pd.read_parquet(FOLDER / "jump_target2.parquet")
    write_methods(folder, "multisource", target2, "Metadata_Target", rng, reverse, width, methods)
    orf, groups = chosen_orfs(rng)
    family = orf["Metadata_Gene"].map(
        groups.drop_duplicates("symbol").set_index("symbol").iloc[:, 0]
    )
    orf["family"] = family.fillna("")
    write_methods(folder, "ORF", orf, "family", rng, reverse, width, methods)
    names = orf.drop_duplicates("Metadata_JCP2022")
    kind = names["Metadata_JCP2022"].isin(NEGATIVE_CONTROLS).map({True: "negcon", False: "trt"})
    names = names[["Metadata_JCP2022", "Metadata_Gene"]].set_axis(
        ["Metadata_JCP2022", "Metadata_Symbol"], axis=1
    )
    names.assign(Metadata_pert_type=kind).to_csv(folder / "orf.csv.gz", index=False)
    groups.groupby("symbol")["gene_group"].agg("|".join).reset_index().to_csv(
        folder / "hgnc.txt", sep="\t", index=False
    )
    return folder / "SSL_data"


def chosen_orfs(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Wells of 1,970 reagents and the controls, and gene groups as large as HGNC's."""
    wells = pd.read_parquet(FOLDER / "jump_orf.parquet")
    control = wells["Metadata_JCP2022"].isin(NEGATIVE_CONTROLS)
    named = wells[~control & (wells["Metadata_Gene"] != "")]
    one = named.drop_duplicates("Metadata_Gene")["Metadata_JCP2022"].to_numpy()
    kept = rng.choice(one, 1970, replace=False)
    wells = wells[control | wells["Metadata_JCP2022"].isin(kept)].reset_index(drop=True)
    symbol_of = named.drop_duplicates("Metadata_JCP2022").set_index("Metadata_JCP2022")
    genes = symbol_of.loc[kept, "Metadata_Gene"].to_numpy()
    planted = [(gene, f"Family {i // FAMILY:03d}") for i, gene in enumerate(genes)]
    known = [(gene, group) for group, some in GROUPS.items() for gene in some]
    rest = [(f"NOGENE{i}", f"Other group {i // 20}") for i in range(MEMBERSHIPS)]
    # A gene is in one group here, so that the planted family is the one that is measured.
    pairs = pd.DataFrame([*planted, *known, *rest], columns=["symbol", "gene_group"])
    return wells, pairs


def write_methods(
    folder: Path,
    which: str,
    wells: pd.DataFrame,
    label: str,
    rng: np.random.Generator,
    reverse: bool,
    width: float,
    methods: tuple[str, ...],
) -> None:
    """Write ``embeddings/<which>/<METHOD>/well_features.csv`` for every method."""
    control = wells["Metadata_JCP2022"].isin(NEGATIVE_CONTROLS).to_numpy()
    head = pd.DataFrame({new: wells[f"Metadata_{old}"] for old, new in COLUMNS.items()})
    if which == "multisource":
        head["target"] = wells["Metadata_Target"]
        head["perturbation_id"] = head["perturbation_id"].mask(control, "DMSO")
    for name, strength in strengths(reverse).items():
        if methods and name not in methods:
            continue
        shape = next(part for part in FEATURES if name.endswith(part))
        n = FEATURES[shape] * (5 if name.startswith("transfer") else 1)
        d = max(round(width * n), 8)
        level = np.full(len(wells), strength)
        if name.startswith("DINO") and not reverse:
            level[(wells["Metadata_Source"] == WEAK).to_numpy()] *= 0.3
        values = drawn(wells, control, label, level, d, rng)
        if shape == "CellProfiler":
            columns = [f"Cells_AreaShape_F{i}" for i in range(d)]
        else:  # most features, spread over all of them: some do not vary
            columns = [f"emb{i}" for i in np.linspace(0, n - 1, d).astype(int)]
        out = folder / "SSL_data" / "embeddings" / which / name / "well_features.csv"
        out.parent.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame(values.round(4).astype(np.float32), columns=columns)
        pd.concat([head.reset_index(drop=True), table], axis=1).to_csv(out)


def drawn(
    wells: pd.DataFrame,
    control: np.ndarray,
    label: str,
    strength: np.ndarray,
    d: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Normalised features of wells: compounds, what their labels share, batches and noise."""

    def directions(names: pd.Series) -> np.ndarray:
        codes = pd.factorize(names)[0]
        return rng.normal(size=(codes.max() + 1, d))[codes]

    scale = 2.0 / np.sqrt(d) ** 0.5  # neighbours are as hard to find in few features as in many
    own = directions(wells["Metadata_JCP2022"]) * scale
    shared = directions(wells[label]) * scale
    shared[(wells[label] == "").to_numpy()] = 0
    batch = 0.2 * directions(wells["Metadata_Source"] + wells["Metadata_Batch"])
    # Who sees little sees least of what compounds share, so that means over many wells tell, too.
    level = strength[:, None]
    values = level * (own + 2 * level * shared)
    values[control] = 0
    values += batch + rng.normal(size=values.shape)
    return mad_robustize(values, wells["Metadata_Plate"].to_numpy(dtype=str))


def list_members(folder: Path) -> None:
    """The list that `cpssl data fetch` writes when it unpacks the authors' archive."""
    with open(folder / "SSL_data.zip.contents.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "bytes", "sha256"])
        for path in sorted(folder.rglob("well_features.csv")):
            digest = sha256(path.read_bytes()).hexdigest()
            rows.writerow([path.relative_to(folder).as_posix(), path.stat().st_size, digest])


def main() -> int:
    """Write a release, run chapters on it, and say which verdicts are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("chapters", nargs="*", default=list(TURN))
    parser.add_argument("--reverse", action="store_true")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--width", type=float, default=1.0)
    given = parser.parse_args()
    from cpssl_lite.book.runner import run_notebook
    from cpssl_lite.book.scorecard import read_page

    release = write_release(given.folder, given.reverse, given.width)
    if not given.toy:
        list_members(given.folder)
    claims, wrong = load_claims(), []
    for chapter in given.chapters:
        parameters = {"release": str(release.resolve()), "convention": "released"}
        if chapter == "gene_clustering":
            for name, file in (("genes", "orf.csv.gz"), ("families", "hgnc.txt")):
                parameters[name] = str((given.folder / file).resolve())
        page = read_page(run_notebook(chapter, parameters, given.folder / f"{chapter}.ipynb"))
        found = {id: verdict(claims[id], m) for id, m in page.measured.items() if id in claims}
        for id, status in found.items():
            sys.stdout.write(f"{id:36} {status:26} {json.dumps(page.measured[id].value)}\n")
        wrong += wrong_verdicts(chapter, found, given.reverse, given.toy)
    sys.stdout.write("\n".join(wrong) + f"\n{len(wrong)} verdicts are not the right ones\n")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
