"""Run notebooks: parameters checked, unchanged ones skipped, whole files or none."""

import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import nbformat

from cpssl_lite.base.errors import InputError, StepFailed, full_memory
from cpssl_lite.base.files import atomic_path, check_writable
from cpssl_lite.base.made import Recipe
from cpssl_lite.base.quiet import quiet
from cpssl_lite.base.workers import in_processes
from cpssl_lite.book.digest import code_digest, notebook_recipe
from cpssl_lite.book.kernel import many_follow, private_kernel
from cpssl_lite.book.notices import last_line
from cpssl_lite.book.percent import check_parameters, has_tag, parameters_of, read_percent
from cpssl_lite.book.where import (
    executed_folder,
    find_notebook,
    find_root,
    from_here,
    list_notebooks,
    output_path,
)

logger = logging.getLogger(__name__)

KERNEL = "cpssl-run"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class NotebookFailed(StepFailed):
    """A cell raised; the message holds the cell and the end of its traceback."""


@dataclass(frozen=True)
class Result:
    """What became of one notebook in `run_all`."""

    name: str
    seconds: float
    status: str  # "ran", "unchanged" or "failed"
    message: str = ""  # what had changed, or how it failed


def run_notebook(
    name: str | Path,
    parameters: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    force: bool = False,
    root: str | Path | None = None,
) -> Path:
    """Execute one notebook and return the path of the executed ``.ipynb``.

    Nothing is run when it is there already and its source, parameters, the package modules it uses
    and the files it names are unchanged. The kernel is this Python, in the repository's root.

    Parameters
    ----------
    name
        ``ssl_comparison``, ``02_ssl_comparison`` or a path to a py:percent file.
    parameters
        Values by name; text is read by the type of the default (see `check_parameters`).
    out
        Executed notebook; default ``book/executed/`` for the defaults, ``runs/`` otherwise.
    force
        Run even if nothing changed.
    root
        Repository root, found from the current folder by default.

    Raises
    ------
    InputError
        Unknown notebook or parameter, or a notebook that refused its input.
    NotebookFailed
        A cell raised; what was run is kept beside as ``*.failed.ipynb``.
    """
    plan = _planned(name, parameters or {}, out, find_root(root))
    if force or plan.changed():
        _run(plan)
    return plan.target


@dataclass(frozen=True)
class _Plan:
    """A notebook's parameters, and where it goes when it is executed."""

    source: Path
    values: dict[str, Any]  # of all parameters
    overrides: dict[str, Any]  # of those that are not the defaults
    target: Path
    root: Path

    @property
    def recipe(self) -> Recipe:
        """With the inputs as they are at this moment."""
        return notebook_recipe(self.source.read_text(encoding="utf-8"), self.values, self.root)

    def changed(self) -> str:
        """What differs from the notebook that is there; "" if it was made from the very same."""
        if not self.target.is_file():
            return "not there yet"
        try:
            there = json.loads(self.target.read_text(encoding="utf-8"))["metadata"]["cpssl"]
        except (OSError, ValueError, LookupError, TypeError):
            return "damaged"
        return self.recipe.changed(there)


def _planned(
    name: str | Path, parameters: Mapping[str, Any], out: str | Path | None, root: Path
) -> _Plan:
    source = find_notebook(name, root)
    allowed = parameters_of(source)
    given = from_here(check_parameters(parameters, allowed, source.name), root)
    overrides = {k: v for k, v in given.items() if v != allowed[k].default}
    values = {k: p.default for k, p in allowed.items()} | overrides
    target = Path(out).resolve() if out else output_path(source, overrides, root)
    return _Plan(source, values, overrides, target, root)


def _run(plan: _Plan, threads: int | None = None) -> None:
    """Execute a notebook; its record goes into its metadata."""
    source, target, root = plan.source, plan.target, plan.root
    check_writable(target)
    started = time.time()
    run: dict[str, Any] = {
        "notebook": source.stem,
        "parameters": plan.values,
        "overrides": plan.overrides,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
    }
    code = code_digest(source.read_text(encoding="utf-8"), root)
    failed = target.with_suffix(".failed.ipynb")
    with atomic_path(target) as scratch:
        try:
            executed = _execute(read_percent(source), plan.overrides, scratch, root, run, threads)
        except NotebookFailed:
            if scratch.is_file():
                shutil.move(scratch, failed)
            raise
        # Inputs are digested after the run: a notebook may have left its cache among them.
        made = replace(plan.recipe, code=code)
        run |= {"inputs": dict(made.inputs), "code": code, "digest": made.digest}
        executed.metadata["cpssl"] = {**run, "seconds": round(time.time() - started, 1)}
        # Papermill notes where it read and wrote; that is this machine's business.
        executed.metadata.pop("papermill", None)
        nbformat.write(executed, scratch)
    failed.unlink(missing_ok=True)


def _execute(
    notebook: nbformat.NotebookNode,
    overrides: dict[str, Any],
    scratch: Path,
    root: Path,
    run: dict[str, Any],
    threads: int | None,
) -> nbformat.NotebookNode:
    """Execute with papermill; translate what a cell raised."""
    # Papermill takes a second to import and is needed only when something runs.
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    # Papermill's four lines a notebook would drown our one; that a kernel died is our line, too.
    others = quiet("papermill", "traitlets", level=logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="cpssl-kernel-") as home, others:
        try:
            return papermill.execute_notebook(
                notebook,
                # Papermill fills braces in a path as a template.
                str(scratch).replace("{", "{{").replace("}", "}}"),
                parameters=overrides,
                kernel_name=KERNEL,
                kernel_manager_class=private_kernel(run, threads, home),
                progress_bar=sys.stderr.isatty(),
                cwd=str(root),
            )
        except DeadKernelError as error:
            ended = "its kernel was ended by the system (out of memory?)"
            raise NotebookFailed(f"{run['notebook']}: {ended}") from error
        except PapermillExecutionError as error:
            unwritable = r"\[Errno (13|28|30|122)\] "  # EACCES, ENOSPC, EROFS, EDQUOT
            if error.ename == "InputError" or re.match(unwritable, error.evalue):
                raise InputError(f"{run['notebook']}: {error.evalue}") from error
            if said := full_memory(error.ename, error.evalue):
                raise NotebookFailed(f"{run['notebook']}: {said}") from error
            lines = ANSI.sub("", "\n".join(error.traceback or [])).splitlines()[-15:]
            first = next((s for s in error.source.splitlines() if s.strip()), "")
            where = f"cell [{error.exec_count}] failed (it starts with {first!r})"
            raise NotebookFailed(f"{run['notebook']}: {where}\n" + "\n".join(lines)) from error


def run_all(
    workers: int = 1,
    force: bool = False,
    root: str | Path | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    folder: Path | None = None,
    leave_out: Collection[str] = (),
) -> list[Result]:
    """Run the notebooks of the book, `workers` at a time; one log line for each.

    A notebook that fails does not stop the others: look at `Result.status`.

    Parameters
    ----------
    workers
        Notebooks at a time, each in a process with its share of the cores. One with a cell tagged
        ``alone`` runs after the others, by itself.
    force
        Run even if nothing changed.
    root
        Repository root, found from the current folder by default.
    parameters
        Values by notebook stem; the page in the book is made with these.
    folder
        For the executed notebooks; that of the default edition by default.
    leave_out
        Stems of notebooks that are not run.
    """
    root = find_root(root)
    given, folder = parameters or {}, folder or executed_folder(root)
    # Here, as a process only to find that there is nothing to do costs seconds.
    every = [source for source in list_notebooks(root) if source.stem not in leave_out]
    found = {} if force else {source: _kept(source, given, folder, root) for source in every}
    kept = [_report(result) for result in found.values() if result]
    sources = [source for source in every if not found.get(source)]
    alone = [s for s in sources if workers == 1 or len(sources) < 2 or has_tag(s, "alone")]
    shared = [s for s in sources if s not in alone]
    # Processes, not threads: papermill and the kernel's environment are per process.
    run = partial(_run_one, given=given, folder=folder, force=force, root=root)
    threads = max(1, (os.cpu_count() or 1) // workers)
    share = partial(run, threads=threads, many=len(shared) > workers)
    one = partial(run, many=len(alone) > 1)
    return [
        *kept,
        *map(_report, in_processes(share, shared, workers)),
        *map(_report, map(one, alone)),
    ]


def _kept(
    source: Path, given: Mapping[str, Mapping[str, Any]], folder: Path, root: Path
) -> Result | None:
    """The result of a notebook that need not run; None also for one that cannot be judged."""
    started, out = time.time(), folder / f"{source.stem}.ipynb"
    try:
        changed = _planned(source, given.get(source.stem, {}), out, root).changed()
    except Exception:  # is told when it is run
        return None
    return None if changed else Result(source.stem, time.time() - started, "unchanged")


def _run_one(
    source: Path,
    given: Mapping[str, Mapping[str, Any]],
    folder: Path,
    force: bool,
    root: Path,
    threads: int | None = None,
    many: bool = False,
) -> Result:
    """Run one notebook and never raise what belongs to that notebook alone."""
    name, started, out = source.stem, time.time(), folder / f"{source.stem}.ipynb"
    if many:
        many_follow(threads)
    try:
        plan = _planned(source, given.get(name, {}), out, root)
        changed = "forced" if force else plan.changed()
        if changed:
            _run(plan, threads)
    except Exception as error:  # what is no failed step is a bug: the other chapters go on
        told = isinstance(error, InputError | NotebookFailed)
        said = str(error) if told else f"{name}: {type(error).__name__}: {error}"
        return Result(name, time.time() - started, "failed", said)
    return Result(name, time.time() - started, "ran" if changed else "unchanged", changed)


def _report(result: Result) -> Result:
    if result.status == "failed":
        error = last_line(result.message).removeprefix(f"{result.name}: ")
        logger.error("%s: failed after %.1f s: %s", result.name, result.seconds, error)
    else:
        why = f" ({result.message})" if result.message else ""
        logger.info("%s: %s, %.1f s%s", result.name, result.status, result.seconds, why)
    return result
