"""The commands under `cpssl data`."""

import json
from pathlib import Path
from typing import Any

import click

from cpssl_lite.errors import InputError

OUT = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Data sets: list, simulate, prepare."""


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
