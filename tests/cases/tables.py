"""Small screens made up for the cases: profiles with a known answer, fields of noise."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpssl_lite.images.channels import CHANNELS

POINTERS = {  # what stands in the place of a file
    "Git LFS": "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5\n",
    "git-annex": "/annex/objects/SHA256E-s5--1234.tif\n",
}


def wells(perturbations=6, replicates=4, features=8, seed=0, prefix="emb_"):
    """A table of wells on two plates in two batches, each perturbation far from the others."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 10, (perturbations, features))
    rows = []
    for batch in ("b1", "b2"):
        names = ["DMSO"] * 8 + [f"c{i}" for i in range(perturbations) for _ in range(replicates)]
        for place, name in enumerate(names):
            centre = 0 if name == "DMSO" else centres[int(name[1:])]
            row = {
                "Metadata_Source": "s1",
                "Metadata_Batch": batch,
                "Metadata_Plate": f"0{batch}",
                "Metadata_Well": f"{'ABCDEFGH'[place // 12]}{place % 12 + 1:02d}",
                "Metadata_Perturbation": name,
                "Metadata_Target": "" if name == "DMSO" else f"t{int(name[1:]) // 2}",
            }
            values = centre + rng.normal(0, 1, features)
            rows.append(row | {f"{prefix}{i}": v for i, v in enumerate(values)})
    return pd.DataFrame(rows)


def field(folder, stem, shape=(40, 50), names=CHANNELS, seed=0):
    """Write five planes of noise; returns their names by channel."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in names:
        files[name] = f"{stem}_{name}.tif"
        tifffile.imwrite(folder / files[name], rng.integers(0, 4000, shape, dtype=np.uint16))
    return files


def load_data(folder, plates=("P1",), wells=("A01", "A02"), **options):
    """A load_data table (not yet written) of fields that are there, one a well."""
    rows = []
    for seed, (plate, well) in enumerate((p, w) for p in plates for w in wells):
        files = field(folder, f"{plate}_{well}", seed=seed, **options)
        row = {
            "Metadata_Source": "s1",
            "Metadata_Batch": "b1",
            "Metadata_Plate": plate,
            "Metadata_Well": well,
            "Metadata_Site": "1",
            "Metadata_Perturbation": f"c{seed}",
        }
        rows.append(row | {f"FileName_Orig{name}": file for name, file in files.items()})
    return pd.DataFrame(rows)


def saved(table, path):
    """Write a table in the form that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    return path


def close(one, other):
    """The same metrics, undefined ones too."""
    assert one.keys() == other.keys()
    for metric in one:
        assert one[metric] == pytest.approx(other[metric], abs=1e-9, nan_ok=True), metric
