"""How a page was made: the table that a notebook shows in its last cell."""

import json
import os
import platform
import shlex
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cpssl_lite.base.files import sha256
from cpssl_lite.base.provenance import commit, versions
from cpssl_lite.book.digest import data_digest
from cpssl_lite.book.html import Html, table

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
    inputs = [*_inputs("dataset", data, data_digest), *_inputs("file", checkpoint, sha256)]
    rows = {}
    if run:
        rows["Make this page again"] = command(run["notebook"], overrides)
    for item in inputs:
        kind = "Data" if item["kind"] == "dataset" else "Checkpoint"
        label = f"{kind}: {item['name']}" if item["name"] else kind
        rows[label] = f"{item['file']}, {item['how']} {item['digest']}".strip()
    if seed is not None:
        rows["Seed"] = str(seed)
    if run:
        started = datetime.fromisoformat(run["started"])
        seconds = (datetime.now(UTC) - started).total_seconds()
        rows["Run"] = f"{started:%Y-%m-%d %H:%M} UTC, {seconds:.0f} s to this cell"
    rows["Machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    rows["Code"] = f"commit {commit()}" if commit() else "not a git checkout"
    rows["Versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
    rows |= {name: str(value) for name, value in more.items()}
    made_by, kind = list(rows.items()), "cpssl-provenance"
    shown = table(("What", "Value"), made_by, "How this page was made", kind, fold=True)
    if parameters := [
        (name, json.dumps(value), "given" if name in overrides else "default")
        for name, value in run.get("parameters", {}).items()
    ]:
        header = ("Parameter", "Value", "Where from")
        shown = Html(table(header, parameters, "Parameters of this run", fold=True) + shown)
    made = Shown(shown)
    made.record = {
        "inputs": [item for item in inputs if item["digest"]],
        "seed": seed,
        "commit": commit(),
        "versions": versions(),
    }
    return made


def _inputs(kind: str, given: Any, digest: Callable[[Path], str]) -> list[dict[str, str]]:
    """Each input as a record: kind, name, file, how it was digested and the digest."""
    named = given if isinstance(given, Mapping) else {"": given} if given else {}
    found = []
    for name, path in named.items():
        path = Path(path)
        how, value = "not there", ""
        if path.exists():
            whole = path.is_file() or (path / "dataset.yaml").is_file()
            how = "sha256" if whole else "digest of names, sizes and times"
            value = digest(path)
        found.append(
            {"kind": kind, "name": str(name), "file": path.name, "how": how, "digest": value}
        )
    return found
