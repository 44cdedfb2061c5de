"""Where things are: the repository root, a notebook's source, an executed notebook."""

import json
import re
from collections.abc import Mapping
from glob import glob
from hashlib import sha256
from pathlib import Path
from typing import Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.sources import PACKAGE
from cpssl_lite.data.simulate.layout import SCREENS

DEFAULT = "lite"  # the edition that `cpssl run` without parameters makes pages of


def find_root(start: str | Path | None = None) -> Path:
    """Folder that holds ``notebooks/`` and ``book/``: around `start`, else this checkout.

    Raises
    ------
    InputError
        There is none: the package was installed without the repository.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents, PACKAGE.parent):
        if (folder / "notebooks").is_dir() and (folder / "book").is_dir():
            return folder
    raise InputError(f"{here}: no notebooks/ and book/ here; run this in a clone of the repository")


# Parameters of notebooks whose texts may be paths. A network, column or data set that happens to
# be called as a folder here is none.
PATHS = frozenset(
    "data profiles release checkpoint checkpoints config train_data results genes families labels "
    "splits kept pictures real_images pipeline differences table counts".split()
)


def from_here(parameters: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Make the paths in parameters absolute: they are meant from here, chapters run in `root`.

    Texts of the parameters in `PATHS`, in lists and dictionaries as well, are paths if something
    here has that name or, with ``*``, fits it. Nothing changes in `root` itself.
    """
    here = Path.cwd().resolve()
    if here == Path(root).resolve():
        return dict(parameters)
    return {
        name: _absolute(value, here) if name in PATHS else value
        for name, value in parameters.items()
    }


def _absolute(value: Any, here: Path) -> Any:
    if isinstance(value, dict):
        return {key: _absolute(part, here) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_absolute(part, here) for part in value)
    # The name itself first: a bracket in a file's name is no pattern.
    if isinstance(value, str) and value and value not in SCREENS:
        if (here / value).exists() or glob(value):
            return str(here / value)
    return value


def list_notebooks(root: Path) -> list[Path]:
    """Notebook sources in chapter order."""
    return sorted((root / "notebooks").glob("[0-9]*.py"))


def find_notebook(name: str | Path, root: Path) -> Path:
    """Source of a notebook named ``ssl_comparison``, ``02_ssl_comparison`` or by its path.

    Raises
    ------
    InputError
        No such notebook; the message lists those there are.
    """
    for path in (Path(name), root / name):
        if path.suffix == ".py" and path.is_file():
            return path.resolve()
    wanted = Path(name).stem
    sources = list_notebooks(root)
    for path in sources:
        if wanted in (path.stem, re.sub(r"^\d+_", "", path.stem)):
            return path
    names = ", ".join(path.stem for path in sources) or "none"
    raise InputError(f"{name}: no such notebook. There are: {names}")


def executed_folder(root: Path, edition: str = DEFAULT) -> Path:
    """Where the executed chapters of an edition of the book are kept."""
    return root / "book" / "executed" / edition


def output_path(source: Path, overrides: Mapping[str, Any], root: Path) -> Path:
    """Where a run is kept: the default edition's page, or a folder of its own for other parameters.

    A run with other data must not replace the page that the book shows with its defaults.

    Examples
    --------
    >>> output_path(Path("notebooks/02_x.py"), {}, Path(".")).as_posix()
    'book/executed/lite/02_x.ipynb'
    >>> output_path(Path("notebooks/02_x.py"), {"seed": 9}, Path(".")).as_posix()
    'runs/02_x-9d3cef61/02_x.ipynb'
    """
    if not overrides:
        return executed_folder(root) / f"{source.stem}.ipynb"
    key = sha256(json.dumps(overrides, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return root / "runs" / f"{source.stem}-{key}" / f"{source.stem}.ipynb"
