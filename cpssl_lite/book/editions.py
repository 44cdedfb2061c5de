"""Editions of the book: which data it is made from, and every chapter's parameters.

One small YAML file each, in ``book/editions/`` or anywhere else, as ``schema.json`` there says::

    title: my screen            # what it is
    about: Plates of ...        # a sentence or two for the first page
    data: [jump_metadata]       # manifests; {mine} in a parameter is the folder of the data set
    parameters: {seed: 1}       # for every chapter that has a parameter of this name
    chapters:
      ssl_comparison: {label: Metadata_Target}
    leave_out: {timing: nothing is timed here}
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.yamls import check_mapping, read_mapping
from cpssl_lite.book.percent import check_parameters, parameters_of
from cpssl_lite.book.where import DEFAULT, find_notebook, find_root, list_notebooks
from cpssl_lite.data.manifests import load_manifest
from cpssl_lite.data.plan import Plan, cache_folder, plan

TEMPLATE = "template"  # to copy; not an edition of its own
_DATA = re.compile(r"\{(\w[\w-]*)\}")


@dataclass(frozen=True)
class Edition:
    """What one build of the book is made from."""

    name: str  # of its folder in html/
    path: Path
    title: str
    about: str
    data: Mapping[str, Mapping[str, Any]]  # by manifest: which part of it
    chapters: Mapping[str, Mapping[str, Any]]  # parameters of every chapter that is run, by stem
    left_out: Mapping[str, str]  # why, by stem

    @property
    def shipped(self) -> bool:
        """Whether the book comes with it, so that its name is enough."""
        return self.path.parent.name == "editions" and self.path.stem != TEMPLATE

    def parameters(self, root: Path) -> dict[str, dict[str, Any]]:
        """Parameters of every chapter, with the folders of data sets in them."""
        # Chapters run in the root; from there a short path is enough, and the page shows it.
        cache = cache_folder() if Path.cwd().resolve() == root else root / cache_folder()
        folders = {name: str(cache / name) for name in self.data}
        return {stem: _filled(given, folders) for stem, given in self.chapters.items()}

    def uses(self, stem: str) -> set[str]:
        """Data sets that a chapter's parameters name."""
        return {name for text in _texts(self.chapters[stem]) for name in _DATA.findall(text)}

    def drawn(self) -> list[str]:
        """Screens to draw before chapters that share them run side by side."""
        return [name for name in self.data if load_manifest(name)["kind"] == "simulated"]

    def plans(self, root: Path) -> dict[str, Plan | str]:
        """What each data set to fetch lacks; a text says why one cannot be fetched at all."""
        found: dict[str, Plan | str] = {}
        for name in self.data.keys() - self.drawn():
            folder = root / cache_folder() / name
            try:
                found[name] = plan(name, folder, **self.data[name])
            except InputError as error:
                if not (folder.is_dir() and any(folder.iterdir())):  # put there by hand
                    found[name] = str(error)
        return dict(sorted(found.items()))


def list_editions(root: Path | None = None) -> list[str]:
    """Names of the editions that the book comes with."""
    found = (path.stem for path in (find_root(root) / "book" / "editions").glob("*.yml"))
    return sorted(set(found) - {TEMPLATE})


def load_edition(name: str | Path = DEFAULT, root: Path | None = None) -> Edition:
    """Read an edition by its name or from a file, and check it against chapters and manifests.

    Raises
    ------
    InputError
        No such edition; a key, chapter, parameter or data set that does not exist, a value that
        its parameter does not take.
    """
    root = find_root(root)
    shipped = list_editions(root)
    path = Path(name)
    if path.suffix not in (".yml", ".yaml"):
        path = root / "book" / "editions" / f"{name}.yml"
        if str(name) not in shipped:
            raise InputError(
                f"no edition {str(name)!r}; there are: {', '.join(shipped) or 'none'} (or the path "
                "of a .yml file)"
            )
    elif path.stem in shipped and path.resolve().parent != root / "book" / "editions":
        raise InputError(f"{path}: the book has an edition {path.stem} already; rename the file")
    if not re.fullmatch(r"\w[\w-]*", path.stem):
        raise InputError(f"{path}: an edition's name has letters, digits, - and _ only")
    given = {
        key: value for key, value in read_mapping(path, "edition").items() if value is not None
    }
    if isinstance(data := given.get("data", []), list):
        given["data"] = [{"name": part} if isinstance(part, str) else part for part in data]
    check_mapping(given, path, root / "book" / "editions" / "schema.json")
    try:
        return _edition(path, given, root)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _edition(path: Path, given: Mapping[str, Any], root: Path) -> Edition:
    data = {part["name"]: {k: v for k, v in part.items() if k != "name"} for part in given["data"]}
    for name in data:
        load_manifest(name)
    known = {source.stem: parameters_of(source) for source in list_notebooks(root)}
    left_out, chapters = (
        {find_notebook(str(name), root).stem: said for name, said in given.get(key, {}).items()}
        for key in ("leave_out", "chapters")
    )
    if both := sorted(left_out.keys() & chapters):
        raise InputError(f"{both[0]} has parameters and is left out")
    everywhere = given.get("parameters", {})
    for name in everywhere:
        if not any(name in parameters for parameters in known.values()):
            raise InputError(f"no chapter has a parameter {name}")
    full = {}
    for stem in known.keys() - left_out.keys():
        common = {name: value for name, value in everywhere.items() if name in known[stem]}
        full[stem] = check_parameters(common | chapters.get(stem, {}), known[stem], f"{stem}.py")
    found = Edition(path.stem, path, given["title"], given["about"], data, full, left_out)
    for stem in full:
        if unknown := sorted(found.uses(stem) - data.keys()):
            raise InputError(
                f"{stem}: {{{unknown[0]}}} is none of the edition's data sets: "
                f"{', '.join(data) or 'it has none'}"
            )
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def _filled(value: Any, folders: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _DATA.sub(lambda found: folders[found[1]], value)
    if isinstance(value, Mapping):
        return {key: _filled(part, folders) for key, part in value.items()}
    return [_filled(part, folders) for part in value] if isinstance(value, list) else value
