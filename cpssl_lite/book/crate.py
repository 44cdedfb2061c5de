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
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate()

    def add(kind: str, identity: str, **facts: Any) -> Any:
        """One entity; what is there already is the same thing."""
        there = crate.get(identity)
        plain = {key: value for key, value in facts.items() if value not in (None, "", [])}
        made = ContextEntity(crate, identity, properties={"@type": kind, **plain})
        return there or crate.add(made)

    crate.name = "CP-SSL lite: the paper, re-run"
    crate.description = (
        "Executable companion to Kim, Adaloglou et al., Self-supervision advances morphological "
        "profiling by unlocking powerful image representations (Scientific Reports, 2025)."
    )
    crate.license = add("CreativeWork", CODE_LICENCE, name="BSD-3-Clause")
    add("ScholarlyArticle", PAPER, name="Self-supervision advances morphological profiling")
    crate.root_dataset["citation"] = crate.get(PAPER)
    started = max((page.run.get("started", "") for page in pages), default="")
    if started:
        crate.datePublished = datetime.fromisoformat(started)
    for page in pages:
        name, run, record = page.name, page.run, _record(page)
        results = [
            crate.add_file(
                html / file, file, properties={"name": f"{name} ({what})", "encodingFormat": form}
            )
            for file, what, form in (
                (f"chapters/{name}.html", "page", "text/html"),
                (
                    f"_sources/chapters/{name}.ipynb",
                    "executed notebook",
                    "application/x-ipynb+json",
                ),
            )
            if (html / file).is_file()
        ]
        if not run:
            continue
        commit = record.get("commit", "")
        software = add(
            "SoftwareApplication",
            f"#cpssl_lite-{commit or __version__}",
            name="cpssl_lite",
            softwareVersion=f"{__version__}{f' (commit {commit})' if commit else ''}",
            softwareRequirements=[f"{k} {v}" for k, v in record.get("versions", {}).items()],
        )
        inputs = [
            add(
                {"dataset": "Dataset", "file": "CreativeWork"}[item["kind"]],
                f"#sha256-{item['digest']}",
                name=item["name"] or item["file"],
                alternateName=item["file"],
                identifier=f"sha256:{item['digest']}",
            )
            for item in record.get("inputs", [])
        ]
        values = [
            add(
                "PropertyValue",
                f"#{name}-{key}",
                name=key,
                value=value if isinstance(value, str) else json.dumps(value),
            )
            for key, value in run.get("parameters", {}).items()
        ]
        begin = datetime.fromisoformat(run["started"])
        end = begin + timedelta(seconds=run.get("seconds", 0))
        action = add(
            "CreateAction",
            f"#run-{name}",
            name=f"cpssl run {name}",
            startTime=run["started"],
            endTime=end.isoformat(timespec="seconds"),
        )
        action["instrument"] = software
        action["object"] = [*inputs, *values]
        action["result"] = results
    crate.root_dataset["mentions"] = crate.get_by_type("CreateAction")
    target = html / "ro-crate-metadata.json"
    text = json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, default=str)
    target.write_text(text + "\n", encoding="utf-8")


def _record(page: Page) -> dict[str, Any]:
    """What the page says about itself (`provenance.show`)."""
    record: dict[str, Any] = {}
    for code in page.cells:
        for output in code.get("outputs", []):
            record = output.get("data", {}).get(MIME, record)
    return record
