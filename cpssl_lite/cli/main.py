"""The front door: a thin command per step. Imports happen inside, so that --help is instant."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from cpssl_lite import __version__
from cpssl_lite.base.caches import keep_caches
from cpssl_lite.base.errors import InputError, StepFailed, full_memory
from cpssl_lite.base.memory import COMMAND, keep_freed_memory
from cpssl_lite.base.quiet import log_lines
from cpssl_lite.cli.data import CHANNELS, COUNT, OUT, SEED, data, pairs
from cpssl_lite.cli.profiles import CONVENTION, evaluate, measure, normalize, select


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="cpssl_lite")
@click.option("--debug", is_flag=True, help="Show the traceback behind a one-line error.")
def cli(debug: bool) -> None:
    """Cell Painting profiles without segmentation, step by step.

    \b
    A whole run on the simulated screen:
      cpssl data simulate lite -o data/lite
      cpssl extract data/lite/images.parquet -o raw.parquet
      cpssl normalize raw.parquet -o profiles.parquet
      cpssl evaluate profiles.parquet -o metrics.json
    """


for command in (data, measure, normalize, select, evaluate):
    cli.add_command(command)


def machines(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the steps that can be spread over processes and machines."""
    for name, what, check in (
        ("nodes", "Machines.", _launched),
        ("devices", "Processes (GPUs) a machine.", None),
    ):
        command = click.option(
            f"--{name}", type=COUNT, default=1, show_default=True, help=what, callback=check
        )(command)
    return command


def _launched(context: click.Context, option: click.Parameter, nodes: int) -> int:
    """Refuse to wait, for days, for machines on which nobody starts anything."""
    known = ("MASTER_ADDR", "SLURM_NTASKS", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")
    if nodes > 1 and not any(name in os.environ for name in known):
        raise InputError(
            f"--nodes {nodes}: srun or torchrun has to start the command on every machine; "
            "book/cluster.md shows how"
        )
    return nodes


@cli.command()
@click.argument("method", type=click.Choice(["dino", "mae", "simclr"]))
@click.argument("table", type=OUT)
@click.option("-o", "--out", type=OUT, required=True, help="Folder for checkpoints and curves.")
@click.option("--config", type=OUT, help="Recipe by name, a run's recipe.yaml, or YAML of changes.")
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Of weights, views and order."
)
@machines
def train(method: str, table: Path, out: Path, devices: int, nodes: int, **options: Any) -> None:
    """Train a self-supervised network on an image table. The same command resumes.

    \b
    Example:
      cpssl train dino data/lite-train/images.parquet -o runs/dino
    """
    from cpssl_lite.models.train import train as run_training

    path = run_training(method, table, out, devices=devices, nodes=nodes, **options)
    _tell(path, devices * nodes)


@cli.command()
@click.argument("image_table", type=OUT)
@click.option("-o", "--out", type=OUT, required=True, help="Profile table (.parquet, .h5ad).")
@click.option("--checkpoint", type=OUT, help="Network [default: the shipped DINO for `lite`].")
@click.option(
    "--transfer", help="stand-in, ViT-S/16, ViT-B/16 or timm's name (of --checkpoint, hub)."
)
@click.option("--random-weights", is_flag=True, help="Same network, fresh random weights.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of --random-weights.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "auto"]),
    default="fp32",
    show_default=True,
    help="auto: the fastest that the device has.",
)
@click.option(
    "--convention", type=CONVENTION, help="Where text and code differ [default: see above]."
)
@click.option("--level", type=click.Choice(["well", "field", "crop"]), default="well",
              show_default=True, help="What a row is.")  # fmt: skip
@click.option("--min-cells", type=COUNT, help="Leave out fields with fewer nuclei.")
@click.option("--qc", type=OUT, help="Leave out fields that this qc.csv flags.")
@CHANNELS
@click.option("--batch-size", type=COUNT, help="Crops per batch [default: 16, on a GPU 512].")
@click.option("--device", help="cpu or cuda [default: cuda where there is one].")
@machines
def extract(
    image_table: Path,
    out: Path,
    checkpoint: Path | None,
    transfer: str | None,
    random_weights: bool,
    seed: int,
    convention: Literal["paper", "released"] | None,
    channels: list[str] | None,
    qc: Path | None,
    min_cells: int | None,
    devices: int,
    nodes: int,
    **options: Any,
) -> None:
    """Write raw profiles of wells. The same command resumes with the first missing plate.

    By default all crops of a well count alike, as in the released code. --convention paper
    takes the mean of each field first, as the text says; --convention released also scales raw
    images and reads the authors' MAE as their code does. With --devices or --nodes the plates
    are shared by that many processes.

    \b
    Example:
      cpssl extract data/lite/images.parquet --checkpoint dino.safetensors -o raw.parquet
    """
    from cpssl_lite.images.table import read_image_table
    from cpssl_lite.models.checkpoints import DEFAULT, load_encoder, random_like
    from cpssl_lite.models.transfer import load_transfer
    from cpssl_lite.profiles.extract import extract as run_extraction
    from cpssl_lite.profiles.filters import without_flagged
    from cpssl_lite.profiles.table import check_output

    check_output(out, [image_table])
    images = read_image_table(image_table, channels)
    images = without_flagged(images, qc) if qc else images
    if transfer:
        encoder = load_transfer(transfer, checkpoint)
    else:
        encoder = load_encoder(checkpoint or DEFAULT, convention=convention or "paper")
    for note in encoder.card.get("notes", []):
        click.echo(f"{encoder.card['file']}: {note}", err=True)
    if random_weights:
        encoder = random_like(encoder, seed)
    options |= {"convention": convention, "devices": devices, "nodes": nodes}
    options |= {"min_cells": min_cells or 0}
    run_extraction(images, encoder, out, **options)
    _tell(out, devices * nodes)


def _tell(path: Path, processes: int) -> None:
    """Say where the result is, once: torchrun, SLURM and Lightning start many of us."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    if processes == 1 or not any(int(os.environ.get(name, 0)) for name in ranks):
        click.echo(path)


@cli.command()
@click.argument("checkpoint", type=OUT)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def inspect(checkpoint: Path, as_json: bool) -> None:
    """Say what a checkpoint file is: format, network, channels, input.

    \b
    Example:
      cpssl inspect checkpoint0200.pth --json
    """
    from cpssl_lite.models.inspected import checkpoint_facts

    facts = checkpoint_facts(checkpoint)
    if as_json:
        click.echo(json.dumps(facts, indent=1, default=str))
    else:
        for key, value in facts.items():
            click.echo(f"{key:<16} {value}")


@cli.command()
@click.argument("notebook")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Notebook parameter.")
@click.option("-o", "--out", type=OUT, help="Executed notebook [default: in book/ or runs/].")
@click.option("--force", is_flag=True, help="Run even when nothing has changed.")
@click.option("--html/--no-html", default=True, show_default=True, help="Also render the page.")
def run(
    notebook: str, parameters: tuple[str, ...], out: Path | None, force: bool, html: bool
) -> None:
    """Run a chapter, with other parameters if you like.

    The executed notebook is kept in runs/, and its page in html/ beside it. With no parameter
    it is the book's own chapter, which `cpssl book` renders.

    \b
    Example:
      cpssl run ssl_comparison -p seed=1
    """
    from cpssl_lite.book.build import build_chapter
    from cpssl_lite.book.runner import run_notebook

    executed = run_notebook(notebook, pairs(parameters), out=out, force=force)
    click.echo(executed)
    if html and (parameters or out):
        click.echo(build_chapter(executed))


@cli.command()
@click.argument("edition", default="lite")
@click.option("-o", "--out", type=OUT, default=Path("html"), show_default=True, help="Of editions.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched and could be tested.")
@click.option("--yes", is_flag=True, help="Fetch without asking.")
@click.option("--force", is_flag=True, help="Run every notebook, changed or not.")
@click.option("--with", "runs", type=OUT, multiple=True, help="Run to show, too (repeatable).")
@click.option("--strict", is_flag=True, help="Render nothing when a chapter failed.")
@click.option("--student", is_flag=True, help="Without answers, to html/EDITION-student.")
def book(
    edition: str,
    out: Path,
    dry_run: bool,
    yes: bool,
    force: bool,
    runs: tuple[Path, ...],
    strict: bool,
    student: bool,
) -> None:
    """Fetch what an edition of the book needs, run what has changed and render it.

    EDITION is lite (drawn, nothing to fetch), another name of book/editions/, or a .yml file of
    your own (copy template.yml there). It is rendered to html/EDITION. A chapter that fails, or
    whose data cannot be had, is a page that says so; the exit status is then 1.

    \b
    Example:
      cpssl book release --dry-run
      cpssl book --with runs/02_ssl_comparison-9d3cef61/02_ssl_comparison.ipynb
    """
    from cpssl_lite.book.editions import load_edition
    from cpssl_lite.book.make import lines, make_book, to_fetch

    chosen = load_edition(edition)
    if dry_run:
        click.echo("\n".join(lines(chosen)))
        return
    if not yes and (missing := to_fetch(chosen)):
        click.echo("\n".join(missing))
        click.confirm("Fetch this?", abort=True)
    click.echo(make_book(out, chosen, force, runs, strict, student))


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit status 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: spinning slows it
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2**4 cycles, not 2**26 (0.02 s)
    keep_freed_memory(COMMAND, children=True)
    keep_caches()
    log_lines()
    try:
        try:
            code = cli.main(standalone_mode=False)
        except Exception:
            if "--debug" in sys.argv[1:2]:  # before the step, where click reads it
                traceback.print_exc()
            raise
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:  # "cpssl" alone: the help, as it is
        error.show()
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "cpssl"
        message, code = f"{error.format_message()} See {command} --help.", 2
    except click.ClickException as error:
        message, code = error.format_message(), 2
    except InputError as error:
        message, code = str(error), 2
    except StepFailed as error:
        click.echo(f"cpssl: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a disk that fills up or goes away where nobody expected it
        message, code = f"{error.filename or 'input or output'}: {error.strerror or error}", 2
    except (KeyboardInterrupt, click.Abort):  # an Abort is a RuntimeError, too
        message, code = "stopped; the same command goes on from here", 130
    except (MemoryError, RuntimeError) as error:
        message, code = full_memory(type(error).__name__, str(error)), 1
        if not message:
            raise
    click.echo(f"cpssl: {' '.join(message.split())[:3000]}", err=True)
    sys.exit(code)
