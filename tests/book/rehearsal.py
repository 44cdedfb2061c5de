"""A release that was never released: tables of the authors' layout with effects planted in them.

Wells, plates, batches and perturbations are those of the indexes in data_manifests/, so that the
tables are taken for the paper's own; numbers are drawn, and which method finds what is decided
here. So the right verdict on every claim is known before a chapter measures it.

    python tests/book/rehearsal.py FOLDER [--reverse] [--wrong-plates] [--width 1.0]

writes what the edition `release` fetches, serves it on this machine, says `cpssl book release` in
the repository with an empty cache in FOLDER, and tells which verdicts are not the right ones and
what each chapter took. `--reverse` plants every effect the other way round, with `--wrong-plates`
no claim may get a verdict, `--width` is the share of features. What tables from elsewhere get under
the same names, the test beside this file says.
"""

import argparse
import csv
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from cpssl_lite.book.known import GROUPS, MEMBERSHIPS
from cpssl_lite.book.rules import DIFFERS, DIRECTION, REPRODUCED, SHOWN, UNTESTABLE
from cpssl_lite.data.manifests import FOLDER
from cpssl_lite.images.metadata import NEGATIVE_CONTROLS
from cpssl_lite.profiles.normalize import mad_robustize


class Planted(NamedTuple):
    """What a method sees; noise being 1."""

    strength: float  # of compounds, and of what those of one label share
    apart: bool = False  # compounds of a label lie opposite to each other
    batch: float = 0.2  # of batches and sources
    controls: bool = True  # batches differ among the controls, too
    counted: float = 0.0  # how far controls follow the number of cells
    clear: tuple[str, ...] = ()  # targets that are seen well
    loud: bool = False  # all that it sees are seen well
    local: float = 0.0  # share of what a compound does that is another thing in every source
    targets: tuple[float, float] = (0, 1)  # those it sees, from and to this share of them
    alike: int = 1  # so many targets look the same
    families: tuple[int, ...] = ()  # of twenty gene families: so many apart, from there in crowds
    features: int = 0  # how many it has, where it is not the usual number
    genes: float = 0.0  # what it sees of genes, where that is another strength


CLEAR = ("NAMPT", "PAK1", "RET")
SIX = ("KRAS", "AKT1", "DNMT3A", "TGFBR1", "CDK2", "CDK7")
# A quarter of the targets is seen by DINO alone; CellProfiler sees other ones, and four at a time
# as the same: fewer are matched, but as many go up as go down, so no test calls it significant.
DINO, PROGRAM = (0, 0.25), (0.25, 0.65)
PLANTED = {
    # Compounds that DINO sees well lie as islands on its map, each with wells of all batches. So it
    # sees a quarter of the targets well and the other compounds so little that batches show there.
    "DINO-ViT-S": Planted(
        0.52, batch=0.55, counted=0.5, loud=True, targets=DINO, families=(10,), genes=1.0
    ),
    "DINO-ViT-B": Planted(0.52, batch=0.55, loud=True, targets=DINO, genes=0.92),
    "MAE-ViT-S": Planted(0.3, targets=(0, 0.1), genes=0.5),
    "SimCLR-ViT-S": Planted(0.3, targets=(0, 0.1), genes=0.5),
    "transferlearning-ViT-S": Planted(1.0),
    "transferlearning-ViT-B": Planted(1.0),
    "CellProfiler": Planted(
        0.4, batch=0.0, clear=CLEAR, local=0.7, targets=PROGRAM, alike=4, families=(3, 7)
    ),
    "Random": Planted(0.0, batch=0.0),
}
TURNED = PLANTED | {
    "DINO-ViT-S": Planted(0.12, apart=True, batch=1.8, controls=False),
    "DINO-ViT-B": Planted(0.92, batch=0.55, targets=DINO),
    "MAE-ViT-S": Planted(0.5, targets=(0, 0.1)),
    "SimCLR-ViT-S": Planted(0.5, targets=(0, 0.1)),
    "transferlearning-ViT-S": Planted(0.35),
    "CellProfiler": Planted(1.0, batch=4.7, clear=CLEAR + SIX, families=(10,), features=480),
}
FEATURES = {"ViT-S": 384, "ViT-B": 768, "CellProfiler": 560, "Random": 384}
FAMILY = 6  # genes of a planted family
COLUMNS = {"Batch": "batch", "Plate": "plate", "Well": "well", "JCP2022": "perturbation_id"}
# Where DINO sees less than CellProfiler (one source of four, as in the paper), and more of batches.
WEAK, DIM = "source_8", 0.3
# Their genes are most alike, so these are the twenty families that chapter 03 takes.
CHOSEN = [f"Family {i:03d}" for i in range(20)]

HOLDS, FAILS = {REPRODUCED, DIRECTION}, {DIFFERS}
# Verdicts that follow from that: what holds as planted and differs the other way round.
TURN = {
    "ssl_comparison": (
        "above-chance-perturbation", "above-chance-label",
        "dino-best", "dino-best-label", "dino-best-nsb", "dino-best-nsbp",
        "dino-cellprofiler-perturbation", "dino-cellprofiler-perturbation-p",
        "dino-cellprofiler-target", "dino-cellprofiler-target-p", "dino-cellprofiler-sources",
        "cross-source-map", "cross-source-nsb", "vit-b-marginal", "vit-b-marginal-transfer",
        "dino-f1-perturbation", "dino-f1-target", "cellprofiler-features",
    ),
    "gene_clustering": (
        "genes-above-chance", "genes-map", "genes-nsb", "gene-family-map", "gene-family-map-p",
        "gene-family-nsbp", "gene-family-f1", "ami-above-chance", "ami-higher", "ami-dino",
        "ami-cellprofiler", "gene-groups-dino", "gene-groups-cellprofiler",
    ),
    "batch_effects": (
        "batch-cell-count", "batch-features-dino-cellprofiler", "batch-features-source",
        "batch-map-dino-cellprofiler", "batch-map-source", "batch-controls",
        "batch-six-targets", "batch-three-targets", "batch-targets-group",
    ),
}  # fmt: skip
# The same whichever way the effects are.
STAY = {
    # The consortium's tables lie beside the manifests and are not planted; they hold 9,802
    # training compounds, the paper's text 10,057.
    "data": dict.fromkeys(
        (
            "count-jump-compounds", "count-jump-overexpressed", "count-jump-knocked-out",
            "count-training-images", "count-target2-compounds",
        ),
        HOLDS,
    )
    | {"count-training-compounds": FAILS},
    "ssl_comparison": {
        # What makes a table the paper's: with other batches or targets nothing gets a verdict.
        "target2-batches": HOLDS,
        "target2-per-target": HOLDS,
    },
    # Harmony mixes batches more than they were, whatever they were.
    "confounders": {"batch-harmony": HOLDS},
}  # fmt: skip
# With fewer features their number is not the paper's, and on a map compounds crowd batches out.
NARROW = {"cellprofiler-features": FAILS} | dict.fromkeys(
    ("batch-map-dino-cellprofiler", "batch-map-source"), HOLDS | FAILS
)


def wrong_verdicts(
    chapter: str, found: Mapping[str, str], reverse: bool, others: bool, width: float = 1.0
) -> list[str]:
    """What is not as it must be, a line each."""
    expected = dict.fromkeys(TURN.get(chapter, ()), FAILS if reverse else HOLDS)
    expected |= STAY.get(chapter, {})
    if width < 1:
        expected |= {id: allowed for id, allowed in NARROW.items() if id in expected}
    if others:
        expected = {id: {UNTESTABLE, SHOWN} for id in found if id not in STAY["data"]}
    return [
        f"{chapter}: {id}: {found.get(id, 'not measured')}, not {' or '.join(sorted(allowed))}"
        for id, allowed in expected.items()
        if found.get(id) not in allowed
    ]


def write_release(
    folder: Path,
    reverse: bool = False,
    width: float = 1.0,
    methods: tuple[str, ...] = (),
    mark: str = "",
) -> Path:
    """Write SSL_data with multisource and ORF embeddings, and the tables that name genes.

    Parameters
    ----------
    width
        Share of the true number of features.
    methods
        Only these.
    mark
        Put before the names of plates: other plates.

    Returns
    -------
    ``SSL_data`` in the folder; ``orf.csv.gz``, ``hgnc_complete_set_2022-10-01.txt`` and the plates'
    cell counts (``cpg0016-jump``) lie beside it.
    """
    rng = np.random.default_rng(0)
    target2 = pd.read_parquet(FOLDER / "jump_target2.parquet")
    dense = density(target2, rng)
    write_counts(folder, target2, dense)
    orf, groups = chosen_orfs(rng)
    for wells in (target2, orf):
        wells["Metadata_Plate"] = mark + wells["Metadata_Plate"]
    family = orf["Metadata_Gene"].map(
        groups.drop_duplicates("symbol").set_index("symbol").iloc[:, 0]
    )
    orf["family"] = family.fillna("")
    for name, plan in (TURNED if reverse else PLANTED).items():
        if not methods or name in methods:
            weak = name.startswith("DINO") and not reverse
            for which, wells, label in (
                ("multisource", target2, "Metadata_Target"),
                ("ORF", orf, "family"),
            ):
                to = folder / "SSL_data" / "embeddings" / which / name / "well_features.csv"
                count = dense if which == "multisource" else np.zeros(len(wells))
                # No claim is about batches of genes.
                genes = plan._replace(batch=0.2, loud=False, strength=plan.genes or plan.strength)
                what = plan if which == "multisource" else genes
                write_method(to, name, wells, label, count, what, weak, width)
    names = orf.drop_duplicates("Metadata_JCP2022")
    kind = names["Metadata_JCP2022"].isin(NEGATIVE_CONTROLS).map({True: "negcon", False: "trt"})
    names = names[["Metadata_JCP2022", "Metadata_Gene"]].set_axis(
        ["Metadata_JCP2022", "Metadata_Symbol"], axis=1
    )
    names.assign(Metadata_pert_type=kind).to_csv(folder / "orf.csv.gz", index=False)
    groups.groupby("symbol")["gene_group"].agg("|".join).reset_index().to_csv(
        folder / "hgnc_complete_set_2022-10-01.txt", sep="\t", index=False
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


def density(wells: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """How many cells a well has, in standard deviations: batches differ, wells scatter."""
    codes, names = pd.factorize(wells["Metadata_Source"] + wells["Metadata_Batch"])
    centre = rng.permutation(np.linspace(-1.5, 1.5, len(names)))[codes]
    return centre + 0.05 * rng.normal(size=len(wells))


def write_counts(folder: Path, wells: pd.DataFrame, dense: np.ndarray) -> None:
    """CellProfiler's well profiles of the plates, as far as they count cells."""
    plates = ["Metadata_Source", "Metadata_Batch", "Metadata_Plate"]
    counted = wells[[*plates, "Metadata_Well"]].assign(
        Metadata_Count_Cells=(200 + 40 * dense).round(), Cells_AreaShape_Area=1.0
    )
    for (source, batch, plate), part in counted.groupby(plates):
        place = folder / "cpg0016-jump" / source / "workspace" / "profiles" / batch / plate
        place.mkdir(parents=True, exist_ok=True)
        part.drop(columns="Metadata_Batch").to_parquet(place / f"{plate}.parquet", index=False)


def write_method(
    to: Path,
    name: str,
    wells: pd.DataFrame,
    label: str,
    dense: np.ndarray,
    plan: Planted,
    weak: bool,
    width: float,
) -> None:
    """Write one method's ``well_features.csv``, normalised as the authors did."""
    rng = np.random.default_rng([crc32(name.encode()), len(wells)])
    control = wells["Metadata_JCP2022"].isin(NEGATIVE_CONTROLS).to_numpy()
    head = pd.DataFrame({new: wells[f"Metadata_{old}"] for old, new in COLUMNS.items()})
    if "Metadata_Target" in wells:
        head["target"] = wells["Metadata_Target"]
        head["perturbation_id"] = head["perturbation_id"].mask(control, "DMSO")
    shape = next(part for part in FEATURES if name.endswith(part))
    n = plan.features or FEATURES[shape] * (5 if name.startswith("transfer") else 1)
    d = max(round(width * n), 8)
    level = np.full(len(wells), plan.strength)
    if weak:
        level[(wells["Metadata_Source"] == WEAK).to_numpy()] *= DIM
    values = drawn(wells, control, label, level, dense, plan, d, rng)
    if shape == "CellProfiler":
        columns = [f"Cells_AreaShape_F{i}" for i in range(d)]
    else:  # most features, spread over all of them: some do not vary
        columns = [f"emb{i}" for i in np.linspace(0, n - 1, d).astype(int)]
    table = pa.table(
        {"": np.arange(len(wells)), **{c: head[c].to_numpy(str) for c in head}}
        | dict(zip(columns, values.T.round(3).astype(np.float32), strict=True))
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.csv.write_csv(table, to)


def alike(wells: pd.DataFrame, label: str, plan: Planted) -> pd.Series:
    """What wells share with others, by a method: their label, or less, or more."""
    names = wells[label]
    if label != "Metadata_Target":
        place = names.map({name: i for i, name in enumerate(CHOSEN if plan.families else [])})
        crowd = np.searchsorted(plan.families, place, side="right")
        return names.mask(
            place.notna() & (crowd > 0), "crowd " + pd.Series(crowd, names.index).astype(str)
        )
    known = sorted(set(names) - {"", *CLEAR}, key=lambda name: (name not in SIX, name))
    place = names.map({name: i for i, name in enumerate(known)})
    seen = (place / len(known)).between(*plan.targets, inclusive="left")
    several = ("targets " + (place // plan.alike).astype(str)) if plan.alike > 1 else names
    return names.where(names.isin(CLEAR), several.where(seen, wells["Metadata_JCP2022"]))


def from_their_mean(own: np.ndarray, wells: pd.DataFrame, label: str) -> np.ndarray:
    """What compounds do, less what those of their label do on average: so they lie apart."""
    one = (~wells["Metadata_JCP2022"].duplicated()).to_numpy()
    codes, of = pd.factorize(wells[label])[0], pd.factorize(wells.loc[one, label])[0]
    total = np.zeros((of.max() + 1, own.shape[1]))
    np.add.at(total, of, own[one])
    size = np.bincount(of)[:, None]
    return (own - (total / size)[codes]) * np.sqrt(size / np.maximum(size - 1, 1))[codes]


def drawn(
    wells: pd.DataFrame,
    control: np.ndarray,
    label: str,
    strength: np.ndarray,
    dense: np.ndarray,
    plan: Planted,
    d: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Normalised features of wells: compounds, what their labels share, batches and noise."""

    def directions(names: pd.Series) -> np.ndarray:
        codes = pd.factorize(names)[0]
        return rng.normal(size=(codes.max() + 1, d))[codes]

    scale = 2.0 / np.sqrt(d) ** 0.5  # neighbours are as hard to find in few features as in many
    own = np.sqrt(1 - plan.local) * directions(wells["Metadata_JCP2022"])
    own += np.sqrt(plan.local) * directions(wells["Metadata_Source"] + wells["Metadata_JCP2022"])
    own *= scale
    seen = alike(wells, label, plan)
    shared = directions(seen) * scale
    if plan.apart:
        shared = from_their_mean(own, wells, label)
        own = 0 * own
    well = wells[label].isin(plan.clear) | ((seen == wells[label]) & plan.loud)
    shared[well.to_numpy()] *= 3
    shared[(wells[label] == "").to_numpy()] = 0
    if plan.families:  # genes that do nothing but what they share, and much of it
        chosen = wells[label].isin(CHOSEN).to_numpy()
        own[chosen], shared[chosen] = 0, 3 * shared[chosen] / plan.strength**2
    # Who sees little sees least of what compounds share, so that means over many wells tell, too.
    level = strength[:, None]
    values = level * (own + (2 if plan.apart else 2 * level) * shared)
    values[control] = 0
    values += rng.normal(size=values.shape)
    values = mad_robustize(values, wells["Metadata_Plate"].to_numpy(dtype=str))
    # What normalisation left of the batches.
    places = directions(wells["Metadata_Source"] + wells["Metadata_Batch"])
    places = plan.batch * scale * (places + directions(wells["Metadata_Source"])) / np.sqrt(2)
    places[strength < plan.strength] /= DIM
    if not plan.controls:
        places[control] = 0
    values += places
    along = plan.counted * rng.normal(size=d) * control[:, None]
    return values + along * dense[:, None]


def list_members(folder: Path) -> None:
    """The list that `cpssl data fetch` writes when it unpacks the authors' archive."""
    with open(folder / "SSL_data.zip.contents.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "bytes", "sha256"])
        for path in sorted(folder.rglob("well_features.csv")):
            digest = sha256(path.read_bytes()).hexdigest()
            rows.writerow([path.relative_to(folder).as_posix(), path.stat().st_size, digest])


def served(folder: Path, reverse: bool, wrong_plates: bool, width: float) -> Path:
    """Write what the edition fetches into a folder, under the names that it has there."""
    folder.mkdir(parents=True, exist_ok=True)
    release = write_release(folder, reverse, width, mark="x" if wrong_plates else "")
    with zipfile.ZipFile(folder / "SSL_data.zip", "w") as archive:
        for file in sorted(p for p in release.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder))
    shutil.rmtree(release)
    for name in ("plate", "well", "compound", "crispr"):
        pd.DataFrame({"Metadata_JCP2022": ["JCP2022_000001"]}).to_csv(
            folder / f"{name}.csv.gz", index=False
        )
    (folder / "perturbation_control.csv").write_text("Metadata_JCP2022\nJCP2022_033924\n")
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *args: object) -> None:
        pass


def main() -> int:
    """Serve a release, make the edition from it, and say which verdicts are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reverse", action="store_true")
    parser.add_argument("--wrong-plates", action="store_true")
    parser.add_argument("--width", type=float, default=1.0)
    given = parser.parse_args()
    from cpssl_lite.book.claims import load_claims, verdict
    from cpssl_lite.book.scorecard import read_page
    from cpssl_lite.book.where import executed_folder, find_root

    folder, root = given.folder.resolve(), find_root()
    place = functools.partial(
        Quiet, directory=served(folder / "served", given.reverse, given.wrong_plates, given.width)
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), place)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = {"CPSSL_BASE_URL": f"http://127.0.0.1:{server.server_port}"}
    where["CPSSL_CACHE"] = str(folder / "cache")
    command = [str(Path(sys.executable).with_name("cpssl")), "book", "release", "--yes"]
    for old in executed_folder(root, "release").glob("*.ipynb"):
        old.unlink()  # a chapter that fails must not be judged by its page of before
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--force", "-o", str(folder / "html")], env={**os.environ, **where}, cwd=root
    )
    minutes = (time.monotonic() - began) / 60
    server.shutdown()
    claims, wrong = load_claims(), []
    for executed in sorted(executed_folder(root, "release").glob("*.ipynb")):
        page = read_page(executed)
        found = {id: verdict(claims[id], m) for id, m in page.measured.items() if id in claims}
        sys.stdout.write(f"{page.name}: {page.run.get('seconds', 0):.0f} s\n")
        for id, status in found.items():
            sys.stdout.write(f"  {id:36} {status:26} {json.dumps(page.measured[id].value)}\n")
        chapter = page.name.partition("_")[2]
        wrong += wrong_verdicts(chapter, found, given.reverse, given.wrong_plates, given.width)
    sys.stdout.write("\n".join(wrong) + f"\n{len(wrong)} verdicts are not the right ones; ")
    sys.stdout.write(f"cpssl book release: exit {done.returncode}, {minutes:.1f} minutes\n")
    return int(len(wrong) > 0 or done.returncode > 0)


if __name__ == "__main__":
    sys.exit(main())
