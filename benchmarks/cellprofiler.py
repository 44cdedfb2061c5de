"""CPU seconds a field of CellProfiler itself, of its style and of ViT-S, and whether cells agree.

    python benchmarks/cellprofiler.py [--images FOLDER|TABLE] [--fields 3] [--limit 1800]
                                      [--pipeline FILE] [--network NAME] [--keep FILE.json]

The same fields in the same run, one core each: CPU seconds, not wall time, so other work on the
machine counts little. FOLDER has the CPJUMP1 example images ($CPSSL_REAL/images if that is set),
TABLE is any image table; without either, fields of 1080 px are put together from drawn ones. All
three read the merged fields that `cpssl data prepare` makes. What each program's start costs stands
apart. The network's weights are random: that takes as long.

Agreement: the same cell is where a nucleus of CellProfiler has its centre in one of the style's.
Without CellProfiler (make cellprofiler) there is nothing to print, and the last table stays.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _run import machine

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, sha256
from cpssl_lite.base.provenance import versions
from cpssl_lite.data.fetch import index_of, locate, write_load_data
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.prepare import prepare
from cpssl_lite.data.simulate.mosaic import mosaics
from cpssl_lite.images.cells import measure_cells, segment
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import read_field
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.vit import build_vit
from cpssl_lite.profiles.agreement import correlations, in_style_names, same_nuclei
from cpssl_lite.profiles.cellprofiler_program import (
    PIPELINE,
    Measured,
    features_in,
    find_program,
    program_version,
    start,
)
from cpssl_lite.profiles.extract import extract

PARTS = ("Nuclei", "Cells", "Cytoplasm")
NAMES = {"vit_small_patch16": "ViT-S/16", "vit_base_patch16": "ViT-B/16"}
SHOWN = 8  # features that agree least, by name


def fields_to_measure(asked: str | None, number: int, folder: Path) -> tuple[pd.DataFrame, str]:
    """Merged fields, and what they are."""
    if not asked:
        return mosaics(folder, number), "drawn fields of 1080 px (simulated)"
    if Path(asked).is_dir():
        index = locate(index_of(load_manifest("cpjump1_examples")), asked)
        if index is None:
            sys.exit(f"{asked}: not all of the CPJUMP1 example images (cpssl data list)")
        table, what = write_load_data(index, folder), "real fields (CPJUMP1, 1080 px)"
    else:
        table, what = Path(asked), Path(asked).name
    images = read_image_table(table).head(number)
    images.to_parquet(folder / "some.parquet")
    merged = prepare(folder / "some.parquet", folder / "merged", workers=1)
    return read_image_table(merged), what


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    """What a piece of work gives, and its CPU seconds."""
    begun = time.process_time()
    return work(), time.process_time() - begun


def itself(images: pd.DataFrame, folder: Path, args: argparse.Namespace) -> tuple[Measured, float]:
    """CellProfiler on one field after the other, until the limit; what a start and end cost."""
    parts, begun = [], time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for i in range(len(images)):
        run = start(images.iloc[[i]], folder / f"cellprofiler_{i}", args.program, args.pipeline)
        try:
            parts.append(run.result())
        finally:
            run.end()
        if (time.monotonic() - begun) * (i + 2) / (i + 1) > args.limit:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    objects = {
        name: pd.concat([part.objects[name].assign(field=i) for i, part in enumerate(parts)])
        for name in parts[0].objects
    }
    objects = {name: table.reset_index(drop=True) for name, table in objects.items()}
    got = Measured(objects, pd.concat([part.seconds for part in parts], ignore_index=True))
    return got, (whole - float(got.seconds.to_numpy().sum())) / len(parts)


def in_style(rows: list[dict[Any, Any]]) -> tuple[list[float], list[tuple[np.ndarray, Any]]]:
    """Seconds of each field in CellProfiler's style, and its nuclei and cells."""

    def measure(row: dict[Any, Any], side: int | None = None) -> tuple[np.ndarray, pd.DataFrame]:
        pixels = read_field(row, CHANNELS).pixels[:, :side, :side].astype(np.float32) / 65535
        channels = dict(zip(CHANNELS, pixels, strict=True))
        nuclei, cells = segment(channels)
        return nuclei, measure_cells(channels, nuclei, cells)

    measure(rows[0], 300)  # code is compiled at its first call
    done = [cpu(lambda row=row: measure(row)) for row in rows]
    return [seconds for _, seconds in done], [found for found, _ in done]


def network(images: pd.DataFrame, name: str, folder: Path) -> list[float]:
    """Seconds of each field through a network, files to features."""
    encoder = Encoder(build_vit(name).eval(), {"architecture": name})

    def embed(i: int) -> Path:
        return extract(images.iloc[[i]], encoder, folder / f"{time.monotonic_ns()}.parquet")

    embed(0)  # a first call is slow
    return [cpu(lambda i=i: embed(i))[1] for i in range(len(images))]


def agreement(got: Measured, style: list[tuple[np.ndarray, Any]]) -> dict[str, Any]:
    """Print how the same cells look to both; counts, features and medians of r by group."""
    names = {part: in_style_names(got.objects[part]) for part in PARTS if part in got.objects}
    nuclei, owner, rows, ours = got.objects["Nuclei"], [], [], []
    counts = []
    for field, (labels, cells) in enumerate(style):
        here = nuclei[nuclei["field"] == field]
        same = same_nuclei(here, labels)
        counts.append((len(here), len(cells), int((same > 0).sum())))
        owner += [field] * counts[-1][2]
        rows.append(here.index[same > 0])
        ours.append(cells.iloc[same[same > 0] - 1])
    beside, at = pd.concat(ours, ignore_index=True), np.concatenate(rows)
    every = []
    for part, features in names.items():  # cell i has nucleus i and cytoplasm i
        mine = beside.filter(regex=f"^{part}_").rename(columns=lambda c: c.split("_", 1)[1])
        alike = correlations(features.iloc[at], mine, owner)
        every.append(alike.set_axis(f"{part}_" + alike.index))
    r = pd.concat(every)
    measured = sum(len(features_in(table)) for table in got.objects.values())
    print("\nnuclei            " + "".join(f"{f'field {i + 1}':>9}" for i in range(len(counts))))
    for name, values in zip(
        ("CellProfiler", "style", "same"), zip(*counts, strict=True), strict=True
    ):
        print(f"  {name:<16}" + "".join(f"{n:>9}" for n in values))
    found, seen, _ = np.sum(counts, axis=0)
    print(f"  all fields: CellProfiler finds {found / seen - 1:+.1%} nuclei")
    areas = {
        part: (
            float(names[part]["AreaShape_Area"].iloc[at].median()),
            float(beside[f"{part}_AreaShape_Area"].median()),
        )
        for part in PARTS[:2]
    }
    for part, pair in areas.items():
        print("median area of the same {}: {:.0f} px, style {:.0f} px".format(part.lower(), *pair))
    print(f"\nfeatures: CellProfiler {measured}, style {beside.shape[1]}, in both {len(r)}")
    print(
        f"{'r over the same cells':<24}{'features':>9}{'median':>8}{'low 10%':>9}{'by field':>10}"
    )
    groups = {}
    for group, of_group in r.groupby([name.split("_")[1] for name in r.index]):
        middle, low = of_group["cells"].median(), of_group["cells"].quantile(0.1)
        known = of_group["fields"].dropna()
        fields = float(known.median()) if len(known) else None  # JSON has no NaN
        by_field = f"{'-' if fields is None else f'{fields:.3f}':>10}"
        print(f"  {group:<22}{len(of_group):>9}{middle:>8.3f}{low:>9.3f}{by_field}")
        groups[group] = {"features": len(of_group), "cells": middle, "fields": fields}
    least = r["cells"].nsmallest(SHOWN)
    print("least alike: " + ", ".join(f"{name} {value:.2f}" for name, value in least.items()))
    features = [measured, beside.shape[1], len(r)]
    return {"counts": counts, "areas": areas, "features": features, "groups": groups}


def main() -> None:
    """Measure and print; keep it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    real = os.environ.get("CPSSL_REAL")
    parser.add_argument("--images", default=str(Path(real) / "images") if real else None)
    parser.add_argument("--fields", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=1800, help="seconds, about; then fewer fields"
    )
    parser.add_argument("--pipeline", type=Path, default=PIPELINE)
    parser.add_argument("--program", help="CellProfiler's executable")
    parser.add_argument("--network", default="vit_small_patch16")
    parser.add_argument("--keep", type=Path, help="JSON file to keep the measurement in")
    args = parser.parse_args()
    try:
        args.program = find_program(args.program)
        version = program_version(args.program)
    except InputError as error:
        print(error, file=sys.stderr)
        return
    torch.set_num_threads(1)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images, what = fields_to_measure(args.images, args.fields, folder)
        got, overhead = itself(images, folder, args)
        images = images.head(len(got.seconds))
        style_seconds, style = in_style(images.to_dict("records"))
        seconds = {
            f"CellProfiler {version}": got.seconds.sum(axis=1).tolist(),
            "CellProfiler-style": style_seconds,
            NAMES.get(args.network, args.network): network(images, args.network, folder),
        }
    first, *_, last = seconds
    print(f"{len(images)} {what}, pipeline {args.pipeline.name}; CPU seconds on one core\n")
    print(f"{'':<24}{'median':>8}{'least':>8}{'most':>8}{'x network':>11}{'least':>7}{'most':>7}")
    for name, values in seconds.items():
        ratio = np.array(values) / np.array(seconds[last])
        print(
            f"{name:<24}{np.median(values):>8.1f}{min(values):>8.1f}{max(values):>8.1f}"
            f"{np.median(ratio):>11.1f}{ratio.min():>7.1f}{ratio.max():>7.1f}"
        )
    print(f"each start and end: {first} {overhead:.1f}; imports of the others {started:.1f}")
    modules = got.seconds.mean().sort_values(ascending=False)
    print(f"\n{first} by module, mean of fields")
    for name, value in modules[modules >= 0.05].items():
        print(f"  {name:<36}{value:>6.1f}{value / modules.sum():>6.0%}")
    agreed = agreement(got, style)
    if args.keep:
        record = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine(),
            "versions": {"cellprofiler": version, **versions()},
            "fields": what,
            "pipeline": args.pipeline.name,
            "pipeline_sha256": sha256(args.pipeline),
            "seconds": {name: [round(v, 2) for v in values] for name, values in seconds.items()},
            "start": {first: round(overhead, 1), "imports of the others": round(started, 1)},
            "modules": modules.round(2).to_dict(),
            "agreement": agreed,
        }
        with atomic_path(args.keep) as whole:
            whole.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
