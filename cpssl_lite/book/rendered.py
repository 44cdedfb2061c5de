"""Whether a rendered book is still what rendering would give: then it is kept."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path

from cpssl_lite.base.sources import PACKAGE, content_digest, modules_used

# In the book's folder, so that both move into place at once.
NOTE = ".rendered.json"


def rendering_digest(
    root: Path, executed: Iterable[Path], runs: Iterable[Path], failed: Mapping[str, str]
) -> str:
    """Digest of all that pages are made from.

    Executed notebooks and runs; prose, claims, styles and contents; the configuration; what is
    said of chapters that failed; this package's code that renders; every installed distribution,
    as themes and extensions have dependencies of their own.
    """
    used = modules_used((PACKAGE / "book" / "build.py").read_text(encoding="utf-8"), PACKAGE)
    code = {*used, *(PACKAGE / "book").rglob("*.*")}  # the Sphinx extension is named in the config
    book = [path for path in (root / "book").rglob("*") if _is_source(path, root / "book")]
    lines = [f"Python {sys.version}"]
    lines += sorted({f"{d.name} {d.version}" for d in distributions()})
    lines += [f"failed {name} {message}" for name, message in sorted(failed.items())]
    for kind, files in {
        "code": sorted(path for path in code if "__pycache__" not in path.parts),
        "book": sorted(book),
        "config": [root / "_config.yml"],
        # Their order is the one of the pages.
        "notebook": [*sorted((root / "notebooks").glob("*.py")), *executed],
        "run": list(runs),
    }.items():
        lines += [f"{kind} {path.parent.name}/{path.name} {content_digest(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def note(html: Path, digest: str) -> None:
    """Write down what a rendered book was made from and which files it has."""
    (html / NOTE).write_text(json.dumps({"digest": digest, "files": _files(html)}))


def is_rendered(html: Path, digest: str) -> bool:
    """Whether `html` was rendered from what `digest` stands for, and is whole."""
    try:
        known = json.loads((html / NOTE).read_text())
    except (OSError, ValueError):
        return False
    return known == {"digest": digest, "files": _files(html)}


def _files(html: Path) -> dict[str, int]:
    """Size by name."""
    return {
        path.relative_to(html).as_posix(): path.stat().st_size
        for path in sorted(html.rglob("*"))
        if path.is_file() and path.name != NOTE
    }


def _is_source(path: Path, book: Path) -> bool:
    return path.is_file() and path.relative_to(book).parts[0] not in ("executed", "_build")
