"""The rendered book as an RO-Crate: pages, runs, inputs and versions, for machines."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cpssl_lite import __version__
from cpssl_lite.book.provenance import MIME
from cpssl_lite.book.scorecard import Page

PAPER = "https://doi.org/10.1038/s41598-025-88825-4"
CODE_LICENCE = "https://spdx.org/licenses/BSD-3-Clause"


def write_crate(html: Path, pages: Sequence[Page]) -> None:
    """Write ``ro-crate-metadata.json`` into the rendered book.

    Everything in it was recorded when the notebooks ran: parameters, start and duration by the
    runner, inputs and versions by `provenance.show`. Two books of the same runs have the same file.

    Parameters
    ----------
    html
        The rendered book; pages that are not there are left out.
    pages
        Its executed notebooks.
    """
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name = "CP-SSL lite: the paper, re-run"
    crate.description = (
        "Executable companion to Kim, Adaloglou et al., Self-supervision advances morphological "
        "profiling by unlocking powerful image representations (Scientific Reports, 2025)."
    )
    crate.license = _add(crate, "CreativeWork", CODE_LICENCE, name="BSD-3-Clause")
    title = "Self-supervision advances morphological profiling"
    crate.root_dataset["citation"] = _add(crate, "ScholarlyArticle", PAPER, name=title)
    started = max((page.run.get("started", "") for page in pages), default="")
    if started:
        crate.datePublished = datetime.fromisoformat(started)
    for page in pages:
        files = {
            f"chapters/{page.name}.html": ("page", "text/html"),
            f"_sources/chapters/{page.name}.ipynb": (
                "executed notebook",
                "application/x-ipynb+json",
            ),
        }
        results = [
            crate.add_file(
                html / file,
                file,
                properties={"name": f"{page.name} ({what})", "encodingFormat": form},
            )
            for file, (what, form) in files.items()
            if (html / file).is_file()
        ]
        if page.run:
            _add_run(crate, page)["result"] = results
    crate.root_dataset["mentions"] = crate.get_by_type("CreateAction")
    text = json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, default=str)
    (html / "ro-crate-metadata.json").write_text(text + "\n", encoding="utf-8")


def _add(crate: Any, kind: str, identity: str, **facts: Any) -> Any:
    """One entity; what is there already is the same thing."""
    from rocrate.model.contextentity import ContextEntity

    plain = {key: value for key, value in facts.items() if value not in (None, "", [])}
    made = ContextEntity(crate, identity, properties={"@type": kind, **plain})
    return crate.get(identity) or crate.add(made)


def _add_run(crate: Any, page: Page) -> Any:
    """The run that made a page: inputs, parameters and, where the page tells, software."""
    record: dict[str, Any] = {}  # what the page says about itself (`provenance.show`)
    for output in (output for code in page.cells for output in code.get("outputs", [])):
        record = output.get("data", {}).get(MIME, record)
    inputs = [
        _add(
            crate,
            {"dataset": "Dataset", "file": "CreativeWork"}[item["kind"]],
            f"#sha256-{item['digest']}",
            name=item["name"] or item["file"],
            alternateName=item["file"],
            identifier=f"sha256:{item['digest']}",
        )
        for item in record.get("inputs", [])
    ]
    values = [
        _add(
            crate,
            "PropertyValue",
            f"#{page.name}-{key}",
            name=key,
            value=value if isinstance(value, str) else json.dumps(value),
        )
        for key, value in page.run.get("parameters", {}).items()
    ]
    end = datetime.fromisoformat(page.run["started"]) + timedelta(
        seconds=page.run.get("seconds", 0)
    )
    action = _add(
        crate,
        "CreateAction",
        f"#run-{page.name}",
        name=f"cpssl run {page.name}",
        startTime=page.run["started"],
        endTime=end.isoformat(timespec="seconds"),
    )
    if record:
        commit = record["commit"]
        action["instrument"] = _add(
            crate,
            "SoftwareApplication",
            f"#cpssl_lite-{commit or __version__}",
            name="cpssl_lite",
            softwareVersion=f"{__version__}{f' (commit {commit})' if commit else ''}",
            softwareRequirements=[f"{name} {v}" for name, v in record["versions"].items()],
        )
    action["object"] = [*inputs, *values]
    return action
