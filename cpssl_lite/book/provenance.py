"""How a page was made: the table that a notebook shows in its last cell."""

import json
import os
import platform
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cpssl_lite.book.digest import data_digest
from cpssl_lite.book.html import Html, table
from cpssl_lite.files import sha256
from cpssl_lite.provenance import commit, versions

MIME = "application/vnd.cpssl.provenance+json"


class Shown(Html):
    """The tables of `show`, which carry what they say for machines as well (crate.py)."""

    record: dict[str, Any]

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return {"text/html": str(self), "text/plain": "How this page was made", MIME: self.record}


def current_run() -> dict[str, Any]:
    """What the runner told this kernel: notebook, parameters, overrides, start (else empty)."""
    return json.loads(os.environ.get("CPSSL_RUN", "{}"))


def command(notebook: str, overrides: Mapping[str, Any]) -> str:
    """Build the line that makes this page again.

    Examples
    --------
    >>> command("02_ssl_comparison", {"seed": 9, "checkpoints": {"Mine": "a b.pth"}})
    'cpssl run 02_ssl_comparison -p seed=9 -p \\'checkpoints={"Mine": "a b.pth"}\\''
    """
    words = ["cpssl", "run", notebook]
    for name, value in overrides.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += ["-p", f"{name}={text}"]
    return shlex.join(words)


def facts(
    data: str | Path | Mapping[str, str | Path] | None = None,
    checkpoint: str | Path | Mapping[str, str | Path] | None = None,
    seed: int | None = None,
    **more: object,
) -> dict[str, str]:
    """Everything that made this page, by name (the rows of `show`)."""
    run = current_run()
    rows = {}
    if run:
        rows["Make this page again"] = command(run["notebook"], run["overrides"])
    for kind, given, digest in (("Data", data, data_digest), ("Checkpoint", checkpoint, sha256)):
        for name, path in _named(given).items():
            label = f"{kind}: {name}" if name else kind
            rows[label] = f"{Path(path).name}, {_digest(Path(path), digest)}"
    if seed is not None:
        rows["Seed"] = str(seed)
    if run:
        started = datetime.fromisoformat(run["started"])
        seconds = (datetime.now(UTC) - started).total_seconds()
        rows["Run"] = f"{started:%Y-%m-%d %H:%M} UTC, {seconds:.0f} s to this cell"
    rows["Machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    rows["Code"] = f"commit {commit()}" if commit() else "not a git checkout"
    rows["Versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
    return rows | {name: str(value) for name, value in more.items()}


def _digest(path: Path, digest: Callable[[Path], str]) -> str:
    if not path.exists():
        return "not there"
    whole = path.is_file() or (path / "dataset.yaml").is_file()
    return f"{'sha256' if whole else 'digest of names, sizes and times'} {digest(path)}"


def show(
    data: str | Path | Mapping[str, str | Path] | None = None,
    checkpoint: str | Path | Mapping[str, str | Path] | None = None,
    seed: int | None = None,
    **more: object,
) -> Shown:
    """Tables of this run's parameters and of all that made it, for a notebook's last cell.

    Parameters
    ----------
    data, checkpoint
        A path, or paths by name; each is shown with its digest.
    seed
        The seed, when the notebook has one.
    **more
        Further rows, shown as text. Everything is escaped.
    """
    run = current_run()
    overrides = run.get("overrides", {})
    parameters = [
        (name, json.dumps(value), "given" if name in overrides else "default")
        for name, value in run.get("parameters", {}).items()
    ]
    made = table(
        ("What", "Value"),
        list(facts(data, checkpoint, seed, **more).items()),
        caption="How this page was made",
        kind="cpssl-provenance",
    )
    header = ("Parameter", "Value", "Where from")
    if parameters:
        made = Html(table(header, parameters, caption="Parameters of this run") + made)
    shown = Shown(made)
    shown.record = {
        "inputs": [*_inputs("dataset", data, data_digest), *_inputs("file", checkpoint, sha256)],
        "seed": seed,
        "commit": commit(),
        "versions": versions(),
    }
    return shown


def _inputs(kind: str, given: Any, digest: Callable[[Path], str]) -> list[dict[str, str]]:
    """Each input as a record: kind, name, file and digest."""
    return [
        {"kind": kind, "name": name, "file": Path(path).name, "digest": digest(Path(path))}
        for name, path in _named(given).items()
        if Path(path).exists()
    ]


def _named(given: Any) -> Mapping[str, str | Path]:
    return given if isinstance(given, Mapping) else {"": given} if given else {}
