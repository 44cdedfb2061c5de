"""The commands under `cpssl data`."""

import json
from pathlib import Path
from typing import Any

import click

from cpssl_lite.errors import InputError

OUT = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Data sets: list, simulate, fetch, prepare."""


@data.command("list")
def data_list() -> None:
    """List the data sets that have a manifest.

    \b
    Example:
      cpssl data list
    """
    from cpssl_lite.data.manifests import list_manifests

    for item in list_manifests():
        click.echo(f"{item['name']:<22} {item.get('kind', ''):<10} {item.get('title', '')}")


@data.command("simulate")
@click.argument("dataset", default="lite")
@click.option("-o", "--out", type=OUT, help="Folder to write [default: data/DATASET].")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Processes.")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Screen parameter.")
def data_simulate(
    dataset: str, out: Path | None, seed: int, workers: int, parameters: tuple[str, ...]
) -> None:
    """Draw a simulated screen (lite, lite-train, tiny).

    \b
    Example:
      cpssl data simulate lite -o data/lite --seed 1 -p batch_strength=2
    """
    from cpssl_lite.data.simulate.screen import simulate

    values = {name: _number(value) for name, value in pairs(parameters).items()}
    table = simulate(dataset, out or Path("data") / dataset, seed=seed, workers=workers, **values)
    click.echo(table)


@data.command("fetch")
@click.argument("dataset")
@click.option("-o", "--out", type=OUT, help="Folder; may be shared [default: data/DATASET].")
@click.option("--plates", help="Only these plates, with commas between.")
@click.option("--wells", help="Only these wells.")
@click.option("--sites", help="Only these sites.")
@click.option("--max-gb", default=5.0, show_default=True, help="Ask before fetching more.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and how much.")
@click.option("--workers", default=8, show_default=True, help="Files at a time.")
def data_fetch(
    dataset: str,
    out: Path | None,
    max_gb: float,
    yes: bool,
    dry_run: bool,
    workers: int,
    **wanted: str | None,
) -> None:
    """Fetch a public data set, or part of it. The same command goes on where it stopped.

    \b
    Example:
      cpssl data fetch cpjump1_examples
    """
    from cpssl_lite.data.fetch import choose, fetch, index_of, missing
    from cpssl_lite.data.manifests import load_manifest

    manifest, folder = load_manifest(dataset), out or Path("data") / dataset
    names = {k: v.split(",") for k, v in wanted.items() if v}
    index = choose(index_of(manifest), **names)
    todo = missing(index, folder)
    gigabytes = sum(r.bytes or 0 for r in todo) / 1e9
    unsized = sum(r.bytes is None for r in todo)
    more = f", and {unsized} files of unknown size" if unsized else ""
    licence = f"licence: {manifest.get('licence', 'unknown')}"
    click.echo(f"{len(todo)} of {len(index)} files to fetch, {gigabytes:.2f} GB{more}; {licence}")
    if dry_run:
        return
    if gigabytes > max_gb and not yes:
        click.confirm(f"That is more than {max_gb:g} GB. Fetch it?", abort=True)
    click.echo(fetch(index, folder, workers=workers))


@data.command("prepare")
@click.argument("table", type=OUT)
@click.option("-o", "--out", type=OUT, required=True, help="Folder to write.")
@click.option("--low", default=0.01, show_default=True, help="Low percentile (released code: 0.1).")
@click.option("--high", default=99.9, show_default=True, help="High percentile.")
@click.option("--workers", default=2, show_default=True, help="Processes.")
def data_prepare(table: Path, out: Path, low: float, high: float, workers: int) -> None:
    """Merge single-channel images into scaled 5-channel TIFFs with their Otsu threshold.

    \b
    Example:
      cpssl data prepare load_data.csv.gz -o data/mine
    """
    from cpssl_lite.data.prepare import prepare

    click.echo(prepare(table, out, low=low, high=high, workers=workers))


def pairs(items: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE strings as a dictionary."""
    for item in items:
        if "=" not in item:
            raise InputError(f"-p {item}: expected NAME=VALUE")
    return dict(item.split("=", 1) for item in items)


def _number(value: str) -> Any:
    """A number where it reads as one, else the string."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
