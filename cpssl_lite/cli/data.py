"""The commands under `cpssl data`."""

import json
import os
from pathlib import Path
from typing import Any

import click

from cpssl_lite.base.errors import InputError


class _Given(click.Path):
    """A path that somebody gave: "" is none, though to Python it is the folder we are in."""

    def convert(self, value: Any, *where: Any) -> Any:
        if not str(value).strip():
            self.fail(f"{str(value)!r} is empty; give a name, or leave it out.", *where)
        return super().convert(value, *where)


OUT = _Given(path_type=Path)
COUNT = click.IntRange(min=1)
SEED = click.IntRange(0, 2**32 - 1)
CHANNELS = click.option(
    "--channels",
    metavar="A,B,...",
    callback=lambda context, option, text: text and [name.strip() for name in text.split(",")],
    help="All channels of merged files, in their order, where the files do not name them.",
)


@click.group()
def data() -> None:
    """Data sets: list, simulate, fetch, prepare, look at."""


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
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--workers", type=COUNT, default=2, show_default=True, help="Processes.")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Screen parameter.")
def data_simulate(
    dataset: str, out: Path | None, seed: int, workers: int, parameters: tuple[str, ...]
) -> None:
    """Draw a simulated screen: lite, lite-train, lite-orf or tiny.

    \b
    Example:
      cpssl data simulate lite -o data/lite --seed 1 -p batch_strength=2
    """
    from cpssl_lite.data.simulate.screen import simulate

    values = {name: _number(value) for name, value in pairs(parameters).items()}
    if taken := sorted({"name", "out", "seed", "workers"} & set(values)):
        raise InputError(f"-p {taken[0]}: is an argument or option of its own, see --help")
    table = simulate(dataset, out or Path("data") / dataset, seed=seed, workers=workers, **values)
    click.echo(table)


@data.command("fetch")
@click.argument("dataset")
@click.option("-o", "--out", type=OUT, help="Folder [default: CACHE/DATASET].")
@click.option(
    "--cache", type=OUT, default="data", show_default=True, envvar="CPSSL_CACHE", show_envvar=True,
    help="Folder of all data sets; may be shared.",
)  # fmt: skip
@click.option("--plates", help="Only these plates, with commas between.")
@click.option("--wells", help="Only these wells.")
@click.option("--sites", help="Only these sites.")
@click.option("--illum", is_flag=True, help="The plates' illumination functions as well.")
@click.option("--profiles", is_flag=True, help="CellProfiler's well profiles instead of images.")
@click.option("--skip-absent", is_flag=True, help="Leave out fields with images that are nowhere.")
@click.option("--max-gb", default=5.0, show_default=True, help="Ask before fetching more.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and how much.")
@click.option("--workers", type=COUNT, default=8, show_default=True, help="Files at a time.")
def data_fetch(
    dataset: str,
    out: Path | None,
    cache: Path,
    illum: bool,
    profiles: bool,
    skip_absent: bool,
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
      cpssl data fetch jump_target2 --plates JCPQC051 --wells A01,B02 --sites 1
      cpssl data fetch jump_target2 --profiles
    """
    from cpssl_lite.data.plan import plan

    names = {k: listed(k, v) for k, v in wanted.items() if v is not None}
    found = plan(dataset, out or cache / dataset, illum=illum, profiles=profiles, **names)
    click.echo(found.line())
    if unsure := found.manifest.get("unverified"):
        click.echo(f"not verified when the manifest was written: {', '.join(unsure)}")
    if dry_run:
        return
    size = found.gigabytes
    if not yes and (size is None or not size <= max_gb):
        limit = f"more than {max_gb:g} GB" if size else "of unknown size"
        click.confirm(f"That is {limit}. Fetch it?", abort=True)
    click.echo(found.fetch(workers, skip_absent))


@data.command("prepare")
@click.argument("table", type=OUT)
@click.option("-o", "--out", type=OUT, required=True, help="Folder to write.")
@click.option("--low", default=0.01, show_default=True, help="Low percentile (released code: 0.1).")
@click.option("--high", default=99.9, show_default=True, help="High percentile.")
@click.option("--illum", type=OUT, help="Folder of illumination functions to divide by.")
@CHANNELS
@click.option("--qc", is_flag=True, help="Write OUT/qc.html as well: plates, focus, empty fields.")
@click.option("--workers", type=COUNT, default=2, show_default=True, help="Processes.")
def data_prepare(table: Path, out: Path, qc: bool, workers: int, **options: Any) -> None:
    """Merge channels into scaled TIFFs, with their Otsu threshold.

    TABLE is a load_data table or another image table, the folder of an OME-Zarr plate, or the
    name of a data set that was fetched into the cache (CPSSL_CACHE, or data/).

    \b
    Example:
      cpssl data prepare load_data.csv.gz -o data/mine --qc
    """
    from cpssl_lite.data.prepare import prepare
    from cpssl_lite.data.qc import quality

    made = prepare(_fetched(table), out, workers=workers, **options)
    click.echo(made)
    if qc:
        click.echo(quality(made, out / "qc.html", workers=workers))


@data.command("qc")
@click.argument("table", type=OUT)
@click.option("-o", "--out", type=OUT, required=True, help="Page to write (.html).")
@click.option("--workers", type=COUNT, default=2, show_default=True, help="Processes.")
def data_qc(table: Path, out: Path, workers: int) -> None:
    """Look at merged images: plates, what is out of focus, what is empty.

    \b
    Example:
      cpssl data qc data/mine/images.parquet -o qc.html
    """
    from cpssl_lite.data.qc import quality

    click.echo(quality(table, out, workers=workers))


def _fetched(table: Path) -> Path:
    """The table itself, or that of the fetched data set of this name."""
    from cpssl_lite.data.manifests import FOLDER

    if table.exists() or table.suffix or not (FOLDER / f"{table}.yaml").is_file():
        return table
    found = Path(os.environ.get("CPSSL_CACHE", "data")) / table / "load_data.csv"
    if not found.is_file():
        raise InputError(f"{found}: not there; fetch it first: cpssl data fetch {table}")
    return found


def listed(option: str, text: str) -> list[str]:
    """Names with commas between."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"--{option} {text!r}: is empty; give names with commas between")
    return names


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
    except (ValueError, RecursionError):  # a number of thousands of digits, too
        return value
