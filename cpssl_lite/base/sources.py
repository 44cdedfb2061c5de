"""Which of the package's files a piece of Python depends on: kept results know their code."""

import ast
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from cpssl_lite.base.files import sha256, stamp

PACKAGE = Path(__file__).resolve().parents[1]
# A string (its first group is the quote), or a comment with the blanks before it: as Python's own
# tokenizer finds them, in a fiftieth of its time.
_TEXTS = re.compile(r"""('''|\"""|'|")(?:\\.|(?!\1).)*\1|[ \t]*#[^\n]*""", re.DOTALL)


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
    queue = [source]
    while queue:
        for file in _imported(queue.pop(), package) - seen:
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
    return behaviour_digest([file]) if ours else _bytes_digest(file, stamp(file))


@cache  # the chapters of a book use the same weights
def _bytes_digest(file: Path, _: tuple[int, int]) -> str:
    return sha256(file)


def read(file: Path) -> str:
    """Text of a source file."""
    return file.read_text(encoding="utf-8")


@cache
def _behaviour(source: str) -> str:
    """The lines of a piece of Python that do something."""
    lines = _TEXTS.sub(lambda found: found[0] if found[1] else "", source).splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            for number in range(text.lineno - 1, text.end_lineno or text.lineno):
                lines[number] = ""
    does = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(does)


@cache
def _imported(source: str, package: Path) -> frozenset[Path]:
    """Files of the package that a piece of Python imports itself."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    ours = {name for name in names if name.split(".")[0] == package.name}
    return frozenset(file for name in ours for file in _files(name, package))


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
