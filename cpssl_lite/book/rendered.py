"""Whether a rendered book is still what rendering would give: then it is kept."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from cpssl_lite.base.sources import PACKAGE, content_digest, modules_used
from cpssl_lite.data.manifests import FOLDER

# In the book's folder, so that both move into place at once.
NOTE = ".rendered.json"


def rendering_digest(
    root: Path,
    executed: Iterable[Path],
    runs: Iterable[Path],
    absent: Mapping[str, str],
    edition: Path | None = None,
) -> str:
    """Digest of all that pages are made from.

    Executed notebooks and runs; prose, claims, styles, contents and editions; the configuration;
    manifests; what is said of chapters that are absent; this package's code that renders; every
    installed distribution, as themes and extensions have dependencies of their own.
    """
    used = modules_used((PACKAGE / "book" / "build.py").read_text(encoding="utf-8"), PACKAGE)
    code = {*used, *(PACKAGE / "book").rglob("*.*")}  # the Sphinx extension is named in the config
    book = [path for path in (root / "book").rglob("*") if _is_source(path, root / "book")]
    lines = [f"Python {sys.version}"]
    lines += sorted({f"{d.name} {d.version}" for d in distributions()})
    lines += [f"absent {name} {message}" for name, message in sorted(absent.items())]
    for kind, files in {
        "code": sorted(path for path in code if "__pycache__" not in path.parts),
        "book": sorted(book),
        "config": [root / "_config.yml", *([edition] if edition else [])],
        "manifest": sorted(FOLDER.glob("*.yaml")),  # what an edition can test
        # Their order is the one of the pages.
        "notebook": [*sorted((root / "notebooks").glob("*.py")), *executed],
        "run": list(runs),
    }.items():
        lines += [f"{kind} {path.parent.name}/{path.name} {content_digest(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_note(html: Path, digest: str, title: str = "") -> None:
    """Write down what a rendered book was made from, which files it has and what it is."""
    known = {"digest": digest, "title": title, "files": _files(html)}
    (html / NOTE).write_text(json.dumps(known))


def noted(html: Path) -> dict[str, Any]:
    """What was written down; empty where this is no book."""
    try:
        known = json.loads((html / NOTE).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and "digest" in known else {}


def is_rendered(html: Path, digest: str) -> bool:
    """Whether `html` was rendered from what `digest` stands for, and is whole."""
    known = noted(html)
    return known.get("digest") == digest and known.get("files") == _files(html)


def _files(html: Path) -> dict[str, int]:
    """Size by name."""
    return {
        path.relative_to(html).as_posix(): path.stat().st_size
        for path in sorted(html.rglob("*"))
        if path.is_file() and path.name != NOTE
    }


def _is_source(path: Path, book: Path) -> bool:
    return path.is_file() and path.relative_to(book).parts[0] not in ("executed", "_build")
