"""Tables of a simulated screen: image table, truth, perturbations, raw files."""

from dataclasses import asdict
from itertools import product
from pathlib import Path

import pandas as pd

from cpssl_lite.base.files import atomic_path
from cpssl_lite.data.simulate import effects
from cpssl_lite.data.simulate.assays import draw_assays
from cpssl_lite.data.simulate.layout import Screen, Well, library, merged_file, raw_file
from cpssl_lite.data.simulate.library import Perturbation
from cpssl_lite.data.simulate.phenotype import CONTROL
from cpssl_lite.images.channels import CHANNELS

NAMES = (
    "images.parquet",
    "truth.parquet",
    "compounds.parquet",
    "assays.parquet",
    "assays_truth.parquet",
    "load_data.csv",
)


def write_all(
    out: Path, screen: Screen, seed: int, wells: list[Well], cells: list[list[int]]
) -> None:
    """Write every table; the image table last, as it is what people look for."""
    if screen.raw_wells:
        _write(load_data(screen, wells), out / "load_data.csv")
    _write(perturbations(screen, seed), out / "compounds.parquet")
    if screen.library != "orf":
        labels, card = draw_assays(library(screen, seed), seed)
        _write(labels, out / "assays.parquet")
        _write(card, out / "assays_truth.parquet")
    _write(truth(screen, seed, wells, cells), out / "truth.parquet")
    _write(images(screen, wells), out / "images.parquet")


def images(screen: Screen, wells: list[Well]) -> pd.DataFrame:
    """Image table: a row per field."""
    return pd.DataFrame(
        {**_field(well, site, screen), "FileName_Merged": merged_file(well, site)}
        for well in wells
        for site in screen.sites
    )


def truth(screen: Screen, seed: int, wells: list[Well], cells: list[list[int]]) -> pd.DataFrame:
    """Truth table: a row per well.

    ``strength``; ``compound_*``, the phenotype that the perturbation alone gives; ``well_*``,
    the one that the well was drawn with (source, batch, plate, position and chance
    included); ``cells``, living cells drawn in all its fields.
    """
    return pd.DataFrame(
        {
            **_metadata(well, screen),
            **_nominal(well.perturbation, screen),
            **_prefixed("well_", asdict(effects.of_well(screen, seed, well)[0])),
            "cells": sum(counts),
        }
        for well, counts in zip(wells, cells, strict=True)
    )


def perturbations(screen: Screen, seed: int) -> pd.DataFrame:
    """One row per perturbation: names, strength and phenotype without anything technical."""
    return pd.DataFrame(
        {"Metadata_Perturbation": p.name, **_labels(p, screen), **_nominal(p, screen)}
        for p in library(screen, seed)
    )


def load_data(screen: Screen, wells: list[Well]) -> pd.DataFrame:
    """Raw single-channel images in the form of JUMP's load_data.csv (paths relative to it)."""
    rows = []
    for well, site in product((well for well in wells if well.raw), screen.sites):
        paths = {c: Path(raw_file(well, site, c)) for c in CHANNELS}
        rows.append(
            {
                **_field(well, site, screen),
                **{f"FileName_Orig{c}": path.name for c, path in paths.items()},
                **{f"PathName_Orig{c}": str(path.parent) for c, path in paths.items()},
            }
        )
    return pd.DataFrame(rows)


def _field(well: Well, site: int, screen: Screen) -> dict[str, str]:
    """What an image table tells of a field: all labels, or their columns empty."""
    known = _metadata(well, screen)
    hidden = {} if screen.labelled else dict.fromkeys(_labels(well.perturbation, screen), "")
    return {**known, **hidden, "Metadata_Site": str(site)}


def _metadata(well: Well, screen: Screen) -> dict[str, str]:
    p = well.perturbation
    return {
        "Metadata_Source": well.source,
        "Metadata_Batch": well.batch,
        "Metadata_Plate": well.plate,
        "Metadata_Well": well.name,
        "Metadata_Perturbation": p.name if p else "DMSO",
        "Metadata_Control": "" if p else "negcon",
        # Goes along into every table made from these, so that no figure can call them real.
        "Metadata_Origin": "simulated",
        **_labels(p, screen),
    }


def _labels(p: Perturbation | None, screen: Screen) -> dict[str, str]:
    target, group = ("Gene", "GeneGroup") if screen.library == "orf" else ("Target", "Mechanism")
    return {
        f"Metadata_{target}": p.target if p else "",
        f"Metadata_{group}": p.group if p else "",
    }


def _nominal(p: Perturbation | None, screen: Screen) -> dict[str, float]:
    steps = p.steps(screen.phenotype_strength, screen.count_strength) if p else {}
    strength = p.strength if p else 0.0
    return {"strength": strength, **_prefixed("compound_", asdict(CONTROL.moved(steps)))}


def _prefixed(prefix: str, values: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in values.items()}


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as scratch:
        if path.suffix == ".csv":
            table.to_csv(scratch, index=False)
        else:
            table.to_parquet(scratch, index=False)
