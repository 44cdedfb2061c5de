"""Notebook sources: py:percent files, and the one cell in them that holds the parameters."""

import ast
import difflib
import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, stamp
from cpssl_lite.base.yamls import shown


@dataclass(frozen=True)
class Parameter:
    """One name that a reader may change: its default and the comment behind it."""

    name: str
    default: Any
    help: str


class PercentHandler:
    """Let plain ``papermill notebooks/NN_x.py out.ipynb -p seed 9`` read py:percent sources.

    Papermill finds this class by the entry point ``papermill.io`` for every path that starts
    with ``notebooks/`` and uses the class itself, never an instance; other files under that
    prefix are read and written as they are.
    """

    @staticmethod
    def read(path: str) -> str:
        """Return the notebook as JSON text.

        What papermill's ``-p`` takes for text (``'{"Mine": "a.csv"}'``) becomes what the
        parameter is by a cell behind those of the parameters.
        """
        if str(path).endswith(".py"):
            return nbformat.writes(_typed(read_percent(path), Path(path).name))
        return Path(path).read_text(encoding="utf-8")

    @staticmethod
    def write(buf: str, path: str) -> None:
        """Write notebook JSON (papermill's own output when it is put beside the sources)."""
        with atomic_path(path) as scratch:
            scratch.write_text(buf, encoding="utf-8")

    @staticmethod
    def listdir(path: str) -> list[str]:
        """List a folder, the way papermill asks for it."""
        return [str(entry) for entry in sorted(Path(path).iterdir())]

    @staticmethod
    def pretty_path(path: str) -> str:
        """Name the path in papermill's log."""
        return str(path)


def read_percent(path: str | Path) -> nbformat.NotebookNode:
    """Read a py:percent source as a notebook that names a Python kernel.

    Raises
    ------
    InputError
        The file is not there or is not valid Python in percent form.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        ast.parse(text)
    except OSError as error:
        raise InputError(f"{path}: notebook cannot be read ({error.strerror})") from error
    except SyntaxError as error:
        raise InputError(f"{path}: line {error.lineno} is not Python ({error.msg})") from error
    except ValueError as error:
        raise InputError(f"{path}: is not a text file ({error})") from error
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    # Random cell ids would make two runs of one notebook differ.
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
    return notebook


def has_tag(path: Path, tag: str) -> bool:
    """Whether a source has a cell with this tag; one that cannot be read has none."""
    try:
        return any(tag in cell.metadata.get("tags", []) for cell in read_percent(path).cells)
    except InputError:  # is told when it is run
        return False


def read_parameters(notebook: nbformat.NotebookNode, name: str) -> dict[str, Parameter]:
    """Names, defaults and help of the cell tagged ``parameters`` (empty without one).

    Raises
    ------
    InputError
        A default is not a plain literal: it could neither be typed nor put in a table.
    """
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if not tagged:
        return {}
    source = tagged[0].source
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if not isinstance(target, ast.Name):
            continue
        try:
            default = ast.literal_eval(value)
        except ValueError as error:
            raise InputError(
                f"{name}: default of parameter {target.id} must be a plain literal, "
                f"got {ast.unparse(value)}"
            ) from error
        text = comments.get(statement.end_lineno or statement.lineno, "")
        found[target.id] = Parameter(target.id, default, text)
    return found


def parameters_of(source: Path) -> dict[str, Parameter]:
    """A chapter's parameters, by name; the file is read again only when it changed."""
    return _parameters_of(source, stamp(source))


@cache
def _parameters_of(source: Path, _: tuple[int, int]) -> dict[str, Parameter]:
    return read_parameters(read_percent(source), source.name)


def check_parameters(
    given: Mapping[str, Any], allowed: Mapping[str, Parameter], notebook: str
) -> dict[str, Any]:
    """Given parameters with the types of their defaults.

    Text (as it comes from the command line) is parsed by the type of the default: a text
    default stays text, numbers are read as numbers, lists and dicts as JSON.

    Raises
    ------
    InputError
        A name that the notebook does not have, or a value that does not fit its default.
    """
    checked = {}
    for name, value in given.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f", did you mean {near[0]}?" if near else "."
            raise InputError(
                f"{notebook}: no parameter named {name}{hint} "
                f"Allowed: {', '.join(allowed) or 'none'}"
            )
        known = allowed[name]
        what = f"{notebook}: parameter {name}" + (f" ({known.help})" if known.help else "")
        checked[name] = fit(value, known.default, what)
        if name == "seed" and not 0 <= checked[name] < 2**32:
            raise InputError(f"{what} must be 0 or more, below 2**32, got {checked[name]}")
    return checked


def _typed(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The notebook with a cell that gives parameters handed over as text their type."""
    known = read_parameters(notebook, name).values()
    lines = [
        f"{p.name} = fit({p.name}, {p.default!r}, {f'{name}: parameter {p.name}'!r})"
        for p in known
        if not isinstance(p.default, str)
    ]
    if lines:
        tagged = ["parameters" in c.metadata.get("tags", []) for c in notebook.cells]
        source = "\n".join(["from cpssl_lite.book.percent import fit", "", *lines])
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["remove-cell"]})
        cell["id"] = "cell-typed"
        notebook.cells.insert(tagged.index(True) + 1, cell)
    return notebook


def fit(value: Any, default: Any, where: str) -> Any:
    """`value` as the type of `default`, or an InputError that names both.

    What is in a list has the type of what is in its default; of an empty one it is text or
    numbers. In a dictionary are texts, lists of these and dictionaries.
    """
    if isinstance(default, str):
        if isinstance(value, str | Path):
            return str(value)
    elif isinstance(value, str):
        value = _parse(value)
    boolean = isinstance(value, bool)
    if default is None or (
        isinstance(value, type(default)) and boolean == isinstance(default, bool)
    ):
        if isinstance(value, list):
            items = [(v, f"{where}: item {n}") for n, v in enumerate(value, start=1)]
            return [fit(v, default[0], at) if default else _plain(v, at) for v, at in items]
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, list):
                    fit(item, [], f"{where}: {key}")
                elif not isinstance(item, dict):
                    fit(item, "", f"{where}: {key}")
        return value
    if isinstance(default, float) and isinstance(value, int) and not boolean:
        return float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    kind = _KINDS.get(type(default), type(default).__name__)
    raise InputError(f"{where} must be {kind}, got {shown(value)}")


def _plain(value: Any, where: str) -> Any:
    """A value that is text or a number, as it is; InputError for any other."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return value if plain else fit(value, "", where)


_KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list as JSON",
    dict: "a dictionary as JSON",
}


def _parse(text: str) -> Any:
    """Read command-line text as JSON, with Python's spelling of true, false and none."""
    plain = {"true": True, "false": False, "none": None}
    if text.lower() in plain:
        return plain[text.lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a number of thousands of digits, too
        return text
