"""Which of the package's files a piece of Python depends on: kept results know their code."""

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from cpssl_lite.base.files import sha256

PACKAGE = Path(__file__).resolve().parents[1]


def modules_used(source: str, package: Path = PACKAGE) -> list[Path]:
    """Files of the package that `source` imports, directly or through other modules.

    Imports inside functions count. Data files of a room (weights, cards, recipes) count as
    soon as one module of that room is imported.

    Examples
    --------
    >>> [p.name for p in modules_used("from cpssl_lite.base.files import sha256")]
    ['__init__.py', '__init__.py', 'errors.py', 'files.py']
    """
    seen: set[Path] = set()
    names: set[str] = set()
    queue = [source]
    while queue:
        new = _imports(queue.pop(), package.name) - names
        names |= new
        for file in {file for name in new for file in _files(name, package)} - seen:
            seen.add(file)
            queue.append(read(file))
    rooms = {file.parent for file in seen if file.name == "__init__.py"} - {package}
    data = {f for room in rooms for f in room.rglob("*") if f.suffix in (".yaml", ".safetensors")}
    return sorted(seen | data)


def behaviour_digest(files: Iterable[Path]) -> str:
    """Digest of what Python files do: without their blank lines, comments and docstrings.

    Of lines, not of syntax trees, which differ between versions of Python.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(_behaviour(read(file)).encode() + b"\0")
    return digest.hexdigest()


def content_digest(file: Path) -> str:
    """Digest of a module of the package by what it does, of any other file by its bytes."""
    ours = file.suffix == ".py" and file.is_relative_to(PACKAGE)
    return behaviour_digest([file]) if ours else sha256(file)


def read(file: Path) -> str:
    """Text of a source file."""
    return file.read_text(encoding="utf-8")


@cache
def _behaviour(source: str) -> str:
    """The lines of a piece of Python that do something."""
    lines = source.splitlines()
    if any("#" in line and not line.lstrip().startswith("#") for line in lines):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column].rstrip()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            for number in range(text.lineno - 1, text.end_lineno or text.lineno):
                lines[number] = ""
    does = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(does)


@cache  # the chapters of a book use the same modules
def _imports(source: str, package: str) -> frozenset[str]:
    """Dotted names under `package` that a piece of Python imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] == package)


def _files(name: str, package: Path) -> Iterable[Path]:
    """The module's file and its parents' ``__init__``."""
    path = package.parent
    parts = name.split(".")
    for part in parts:
        path = path / part
        if (path / "__init__.py").is_file():
            yield path / "__init__.py"
        elif path.with_suffix(".py").is_file():
            yield path.with_suffix(".py")
            return
        else:
            return
