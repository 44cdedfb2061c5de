"""Profile tables as they are given on the command line: their names, and errors about them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cpssl_lite.base.errors import InputError


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
        file = Path(path)
        stem = file.name.removesuffix(".gz").rsplit(".", 1)[0]
        if not name:  # the authors call every table well_features.csv, in a folder per method
            taken = stem in named or stem == "well_features"
            name = file.resolve().parent.name if taken else stem
        if name in named:
            raise InputError(f"two tables are called {name!r}; name them as NAME=PATH")
        named[name] = file
    return named
