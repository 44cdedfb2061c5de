"""Profile tables on the command line: options that say how they are read, names, errors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cpssl_lite.base.errors import InputError
from cpssl_lite.cli.data import OUT


def filled(_: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Refuse an empty name: that of a variable of the shell that is not set, mostly."""
    if text is not None and not text.strip():
        raise InputError(f"{option.opts[0]} {text!r}: is empty; give a name, or leave it out")
    return text


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say how profile tables are read."""
    features = "Columns that are features [default: the known family]."
    platemap = "What is in the wells: barcode_platemap.csv, its folder, or a table (repeatable)."
    command = click.option("--features", metavar="REGEX", callback=filled, help=features)(command)
    maps = click.option("--platemap", "platemaps", type=OUT, multiple=True, help=platemap)
    return maps(command)


def roles(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that name the columns of a table that has other names than ours."""
    for name, what in [
        ("control", "negative controls: a column with negcon in it, or COLUMN=VALUE"),
        ("time", "time; each is then a perturbation of its own"),
        ("dose", "dose; each is then a perturbation of its own"),
        ("source", "laboratory"),
        ("well", "position on the plate"),
        ("plate", "plate"),
        ("batch", "experimental batch"),
        ("perturbation", "perturbation"),
    ]:
        command = click.option(
            f"--{name}", metavar="COLUMN", callback=filled, help=f"Column: {what}."
        )(command)
    return command


@contextmanager
def about(paths: Sequence[Path]) -> Iterator[None]:
    """Make errors about a table name its file."""
    try:
        yield
    except InputError as error:
        if any(str(path) in str(error) for path in paths):
            raise
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        raise InputError(f"{paths[0]}{more}: {error}") from error


def named_tables(items: tuple[str, ...]) -> dict[str, Path]:
    """Name each profile table: NAME=PATH, else the file's stem, else its folder's name."""
    named: dict[str, Path] = {}
    for item in items:
        name, _, path = item.rpartition("=") if not Path(item).exists() else ("", "", item)
        if not path.strip():
            raise InputError(f"{item!r}: names no table; give its file, or NAME=PATH")
        file = Path(path)
        stem = file.name.removesuffix(".gz").rsplit(".", 1)[0]
        if not name:  # the authors call every table well_features.csv, in a folder per method
            taken = stem in named or stem == "well_features"
            name = file.resolve().parent.name if taken else stem
        if name in named:
            raise InputError(f"two tables are called {name!r}; name them as NAME=PATH")
        named[name] = file
    return named
