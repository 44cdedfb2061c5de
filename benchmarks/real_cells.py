"""What CPJUMP1's public profiles of real cells give, for the first page of every edition.

    python benchmarks/real_cells.py [FOLDER] [--keep FILE.json]

FOLDER has the tables of the manifest cpjump1_profiles, anywhere in it: their digests tell them. By
default it is data/cpjump1_profiles, as `cpssl data fetch cpjump1_profiles` fills it; without it
nothing is measured. The plates of one time, 48 h, are taken; the plate stands for the batch. Both
commands that are kept beside the numbers are those that made them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _run import machine

from cpssl_lite.base.files import atomic_path, sha256
from cpssl_lite.base.provenance import versions
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.profiles.reading import read_profiles

PLATES = "BR0011701"  # 010, 011 and 013: 48 h
JOINED = "cpjump1.parquet"
ROLES = ("--batch", "Metadata_Plate", "--label", "Metadata_gene")
SCORES = (
    "n_wells",
    "n_features",
    "n_perturbations",
    "n_labels",
    "n_batches",
    "perturbation_map",
    "label_map",
    "percent_active",
    "percent_consistent",
)


def tables_in(folder: Path) -> dict[str, Path]:
    """Tables of the plates by their path in the manifest; each must have its digest."""
    found: dict[str, Path] = {}
    for file in load_manifest("cpjump1_profiles")["files"]:
        name = Path(file["path"]).name
        if name.startswith(PLATES):
            same = [p for p in folder.rglob(name) if sha256(p) == file["sha256"]]
            if not same:
                sys.exit(f"{folder}: no {name} with the digest {file['sha256'][:12]}...")
            found[file["path"]] = same[0]
    return found


def run(*words: str | Path) -> None:
    """Run cpssl."""
    cpssl = Path(sys.executable).with_name("cpssl")
    subprocess.run([cpssl, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def measure(tables: dict[str, Path]) -> dict[str, Any]:
    """Scores of the joined tables, and how many compounds stand at one place on all plates."""
    with tempfile.TemporaryDirectory() as folder:
        joined, out = Path(folder, JOINED), Path(folder, "metrics.json")
        run("normalize", *tables.values(), "-o", joined, "--method", "none")
        run("evaluate", joined, "-o", out, *ROLES)
        scores = next(iter(json.loads(out.read_text()).values()))
        wells = read_profiles(joined)
    treated = wells[wells["Metadata_Control"] != "negcon"]
    key = ["Metadata_Perturbation", "Metadata_Plate"]
    places = treated.groupby(key)["Metadata_Well"].agg(lambda own: " ".join(sorted(own)))
    once = places.groupby(level=0).nunique() == 1
    return {name: scores[name] for name in SCORES} | {"one_place": float(once.mean())}


def main() -> None:
    """Measure, print, and keep if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path("data/cpjump1_profiles")
    if not asked.folder and not folder.is_dir():
        return  # as a benchmark among all
    tables = tables_in(folder)
    where = "data/cpjump1_profiles/profiles/*/" + PLATES + "*/*.csv.gz"
    kept = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "versions": versions(),
        "tables": {path: sha256(file) for path, file in tables.items()},
        "commands": [
            f"cpssl normalize {where} -o {JOINED} --method none",
            f"cpssl evaluate {JOINED} -o metrics.json {' '.join(ROLES)}",
        ],
        "scores": measure(tables),
    }
    print(json.dumps(kept["scores"], indent=1))
    if asked.keep:
        with atomic_path(asked.keep) as scratch:
            scratch.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
