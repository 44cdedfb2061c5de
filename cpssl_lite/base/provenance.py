"""Where a table came from: versions, parameters and digests, as one dictionary."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# The libraries whose version can change a number.
LIBRARIES = tuple(
    "cpssl_lite torch timm numpy scipy pandas scikit-learn tifffile imagecodecs".split()
)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries whose version can change a number."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str:
    """Git commit of the checkout this package runs from ('' when it is not a checkout)."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def provenance(step: str, **facts: Any) -> dict[str, Any]:
    """Describe one step: its name, what it was given (`facts`), versions and commit.

    Examples
    --------
    >>> record = provenance("normalize", method="sphere")
    >>> record["step"], record["method"], "python" in record["versions"]
    ('normalize', 'sphere', True)
    """
    return {"step": step, **facts, "versions": versions(), "commit": commit()}
