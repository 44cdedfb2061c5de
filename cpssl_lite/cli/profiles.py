"""The commands on profile tables, and the one that measures cells."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cpssl_lite.base.errors import InputError
from cpssl_lite.cli.data import COUNT, OUT, SEED
from cpssl_lite.cli.tables import about, filled, named_tables, reading, roles

CONVENTION = click.Choice(["paper", "released"])


@click.command()
@click.argument("image_table", type=OUT)
@click.option("-o", "--out", type=OUT, required=True, help="Profile table to write (Parquet).")
@click.option(
    "--program",
    type=click.Choice(["style", "cellprofiler"]),
    default="style",
    show_default=True,
    help="cp_measure, in CellProfiler's style, or CellProfiler itself.",
)
@click.option("--pipeline", type=OUT, help="Of CellProfiler (.cppipe) [default: the package's].")
@click.option(
    "--illum", type=OUT, help="Folder of illumination functions, <plate>/<plate>_Illum<stain>.npy."
)
@click.option("--average", type=click.Choice(["mean", "median"]), help="Of cells [default: mean].")
@click.option(
    "--cellprofiler",
    metavar="FILE",
    help="The program [default: on the path, else what `make cellprofiler` made].",
)
@click.option("--workers", type=COUNT, default=2, show_default=True, help="Processes.")
def measure(image_table: Path, out: Path, program: str, workers: int, **itself: Any) -> None:
    """Segment cells and measure them as CellProfiler does, or by CellProfiler itself.

    Writes an average per well, with a cell count. The same command resumes with the first missing
    plate; CellProfiler itself with the first missing well.

    \b
    Example:
      cpssl measure data/lite/images.parquet -o cellprofiler_style.parquet
      cpssl measure load_data.csv -o raw.parquet --program cellprofiler --illum illum/
    """
    from cpssl_lite.images.table import read_image_table
    from cpssl_lite.profiles.cellprofiler import cellprofiler
    from cpssl_lite.profiles.cellprofiler_style import cellprofiler_style
    from cpssl_lite.profiles.table import check_output

    given = {name: value for name, value in itself.items() if value is not None}
    if given and program == "style":
        raise InputError(f"--{next(iter(given))} is for --program cellprofiler")
    check_output(out, [image_table])
    images = read_image_table(image_table)
    if program == "style":
        click.echo(cellprofiler_style(images, out, workers=workers))
        return
    given["program"] = given.pop("cellprofiler", None)
    click.echo(cellprofiler(images, out, workers=workers, **given))


@click.command()
@click.argument("profiles", type=OUT, nargs=-1, required=True)
@click.option("-o", "--out", type=OUT, required=True, help="Profile table to write (Parquet).")
@click.option("--method", default="sphere+mad_robustize", show_default=True)
@click.option("--epsilon", default=1e-6, show_default=True, help="Smallest eigenvalue in sphere.")
@click.option("--min-cells", type=COUNT, help="Leave out wells with fewer cells (per field).")
@click.option("--qc", type=OUT, help="Leave out wells whose fields this qc.csv flags, all of them.")
@reading
@roles
def normalize(
    profiles: tuple[Path, ...],
    out: Path,
    method: str,
    epsilon: float,
    min_cells: int | None,
    qc: Path | None,
    features: str | None,
    platemaps: tuple[Path, ...],
    **names: str | None,
) -> None:
    """Normalise well profiles by the steps of --method.

    Steps: sphere (ZCA-cor on all negative controls), mad_robustize (per plate, on all wells),
    standardize (per plate, on its negative controls), inverse_normal (per plate, on all wells),
    pca (standardised per plate; 98% of the variance), tvn (per batch, on negative controls),
    well_position (its mean over plates subtracted); joined by +; or none. A step per plate may
    end in @all or @negcon, the wells it is fitted on. Before each step, features that do not
    vary are left out. Several tables are read as one.

    \b
    Example:
      cpssl normalize raw.parquet -o profiles.parquet --method sphere+mad_robustize
    """
    from cpssl_lite.profiles.filters import enough_cells, without_flagged
    from cpssl_lite.profiles.normalize import normalize as run_normalize
    from cpssl_lite.profiles.table import check_output, read_profiles

    others = [*platemaps, *([qc] if qc else [])]
    check_output(out, [*profiles, *others])
    with about(profiles):
        table = read_profiles(profiles, features, platemaps, **names)
        table = without_flagged(table, qc) if qc else table
        table = enough_cells(table, min_cells) if min_cells else table
        normalized = run_normalize(table, method, epsilon=epsilon)
    how = {"method": method, "epsilon": epsilon, "min_cells": min_cells, "roles": names}
    _write("normalize", normalized, out, profiles, features, others, **how)


@click.command()
@click.argument("profiles", type=OUT, nargs=-1, required=True)
@click.option("-o", "--out", type=OUT, required=True, help="Profile table to write (Parquet).")
@click.option("--rules", default="missing,variance,correlation", show_default=True)
@click.option("--correlation", default=0.9, show_default=True, help="Threshold of that rule.")
@click.option("--keep", type=OUT, help="Only these: a name per line, or a table's features.")
@click.option("--blocklist", type=OUT, help="Not these: the same.")
@reading
def select(
    profiles: tuple[Path, ...],
    out: Path,
    rules: str,
    correlation: float,
    keep: Path | None,
    blocklist: Path | None,
    features: str | None,
    platemaps: tuple[Path, ...],
) -> None:
    """Select features of profiles, before or after normalising them.

    Rules: missing (no NaN in any well), variance (above 1e-6), frequency (not mostly one value),
    outliers (none beyond 500; for normalised profiles), correlation (of each correlated pair
    one), joined by commas; or none. Several tables are read as one.

    \b
    Example:
      cpssl select cellprofiler.csv.gz -o complete.parquet --rules missing
    """
    from cpssl_lite.profiles.select import read_feature_list, select_features
    from cpssl_lite.profiles.table import check_output, read_profiles

    check_output(out, profiles)
    chosen = [] if rules == "none" else [name.strip() for name in rules.split(",")]
    lists = {"keep": keep, "block": blocklist}
    names = {key: read_feature_list(path) for key, path in lists.items() if path}
    with about(profiles):
        table = read_profiles(profiles, features, platemaps)
        table = select_features(table, chosen, correlation=correlation, **names)
    others = [*platemaps, *(path for path in lists.values() if path)]
    how = (table, out, profiles, features, others)
    _write("select", *how, rules=chosen, correlation=correlation)


@click.command()
@click.argument("profiles", nargs=-1, required=True)
@click.option("-o", "--out", type=OUT, required=True, help="METRICS.json to write.")
@click.option(
    "--label", metavar="COLUMN", callback=filled, help="Column: target, gene family, ... to match."
)
@click.option("--convention", type=CONVENTION, default="paper", show_default=True)
@click.option("--null", type=COUNT, default=100_000, show_default=True, help="Rankings for p.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of these rankings.")
@click.option("--fdr", type=click.Choice(["bh", "two-stage"]), default="bh", show_default=True)
@click.option(
    "--controls-of",
    type=click.Choice(["plate", "batch", "all"]),
    default="plate",
    show_default=True,
    help="Negative controls that activity is measured against.",
)
@click.option("--relations", type=OUT, help="Known relationships: two names a line (CSV, TSV).")
@click.option(
    "--per",
    type=click.Choice(["perturbation"]),
    help="Write a row for each instead: AP, p, q, number of positives (Parquet; AnnData: in obs).",
)
@reading
@roles
def evaluate(
    profiles: tuple[str, ...],
    out: Path,
    label: str | None,
    convention: str,
    null: int,
    seed: int,
    fdr: str,
    controls_of: str,
    relations: Path | None,
    per: str | None,
    features: str | None,
    platemaps: tuple[Path, ...],
    **names: str | None,
) -> None:
    """Measure reproducibility and relevance of normalised profiles.

    Each table is one profile, named by its file (well_features.csv: by its folder) or as
    NAME=PATH. Activity, distinctiveness and consistency come with the fraction of perturbations
    (labels) whose p, corrected for their number, is below 0.05; the ladder (_nr, _nsb, _nss,
    _nsl, _all) admits no neighbour of the same batch, source, location on the plate.

    Beside METRICS.json stands METRICS.provenance.json: inputs, options, versions.

    \b
    Example:
      cpssl evaluate dino.parquet CellProfiler=cp.parquet -o metrics.json --label Metadata_Target
      cpssl evaluate dino.parquet --per perturbation -o rows.parquet --fdr two-stage
    """
    import pandas as pd

    from cpssl_lite.base.files import atomic_path, check_writable, digest_of
    from cpssl_lite.base.provenance import provenance
    from cpssl_lite.profiles.evaluate import evaluate as run_evaluate
    from cpssl_lite.profiles.evidence import evidence
    from cpssl_lite.profiles.relations import read_relations, relation_numbers
    from cpssl_lite.profiles.table import (
        check_output,
        read_profiles,
        to_anndata,
        write_anndata,
        write_profiles,
    )

    named = named_tables(profiles)
    (check_output if per else check_writable)(out, named.values())
    in_obs = per and out.suffix == ".h5ad"
    if in_obs and len(named) > 1:
        raise InputError(f"{out}: AnnData holds the wells of one table, got {len(named)}")
    known = read_relations(relations) if relations else None
    how: dict[str, Any] = {"null": null, "seed": seed, "fdr": fdr, "controls_of": controls_of}
    results: dict[str, dict[str, float | None]] = {}
    tables = []
    for name, path in named.items():
        with about([path]):
            table = read_profiles(path, features, platemaps, label=label, **names)
            numbers = {} if per else run_evaluate(table, label=label, convention=convention)
            more, rows = evidence(table, label, **how)
            more |= {} if per else relation_numbers(table, label, known)
        rows.insert(0, "profile", name)
        tables.append(rows)
        numbers |= more
        # JSON has no NaN: a number that is not defined on these data is null.
        results[name] = {k: None if v != v else v for k, v in numbers.items()}
        click.echo(name)
        for metric, value in numbers.items():
            click.echo(f"  {metric:<32} {value:.4g}")
    given = {**how, "convention": convention, "label": label, "features": features, "roles": names}
    others = [*platemaps, *filter(None, [relations])]
    inputs = {str(path): digest_of(path) for path in (*named.values(), *others)}
    record = provenance("evaluate", **given, per=per, inputs=inputs)
    if in_obs:
        write_anndata(to_anndata(table, record, rows.drop(columns="profile")), out)
    elif per:
        write_profiles(pd.concat(tables, ignore_index=True), out, record)
    if per:
        return
    for path, content in ((out, results), (out.with_suffix(".provenance.json"), record)):
        with atomic_path(path) as scratch:
            scratch.write_text(json.dumps(content, indent=1, default=str) + "\n")


def _write(
    step: str,
    table: Any,
    out: Path,
    profiles: Sequence[Path],
    features: str | None,
    others: Sequence[Path] = (),
    **settings: Any,
) -> None:
    """Write a table that was made from `profiles` and `others`, with what it was made by."""
    from cpssl_lite.base.files import digest_of
    from cpssl_lite.base.provenance import provenance
    from cpssl_lite.profiles.families import feature_columns, named_features, pattern_of
    from cpssl_lite.profiles.table import features_of, read_provenance, write_profiles

    inputs = {str(path): digest_of(path) for path in (*profiles, *others)}
    names = feature_columns(table)
    features = features or read_provenance(profiles[0]).get("features")
    if not features or named_features(names, features) != {features: names}:
        features = pattern_of(names)  # a container called them features, or they are components
    record = provenance(step, **settings, inputs=inputs, features=features, **features_of(profiles))
    write_profiles(table, out, record)
    click.echo(out)
