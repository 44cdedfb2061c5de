"""Make an edition of the book: fetch what it needs, run what changed, render, put it in place."""

import logging
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.book.build import BookError, build, check_contents, unfit
from cpssl_lite.book.claims import load_claims
from cpssl_lite.book.coverage import can_test, coverage
from cpssl_lite.book.editions import Edition, load_edition
from cpssl_lite.book.percent import parameters_of
from cpssl_lite.book.runner import run_all
from cpssl_lite.book.scorecard import judged, read_page, tested
from cpssl_lite.book.shelf import check_shelf, put_on_shelf
from cpssl_lite.book.where import executed_folder, find_root, list_notebooks
from cpssl_lite.data.plan import Plan
from cpssl_lite.data.simulate.screen import simulate

log = logging.getLogger(__name__)

CHAPTER_MEMORY = 2 * 2**30  # bytes; the largest took 1.3 GB


def make_book(
    out: str | Path = "html",
    edition: Edition | None = None,
    force: bool = False,
    runs: Sequence[str | Path] = (),
    strict: bool = False,
    student: bool = False,
) -> Path:
    """Fetch and draw what is missing, run what changed, render an edition of the book.

    Parameters
    ----------
    out
        Folder of all editions; the book goes to a folder in it that is called like the edition.
    edition
        From `load_edition`; the default one if None.
    force
        Run every notebook, changed or not.
    runs
        Notebooks executed with other data, to be shown after the chapters and on the scorecard.
    strict
        Render nothing when a chapter failed. Otherwise a notice stands in its place, as it does
        where a chapter's data could not be had.
    student
        Leave out the answers of questions and exercises; the folder's name says so.

    Returns
    -------
    The file to open.

    Raises
    ------
    InputError
        Claims that cannot be judged, or runs that are no executed notebooks.
    BookError
        A notebook failed (the book is there all the same, unless `strict`), or the book did not
        pass its checks.
    """
    root, workers = find_root(), chapters_at_once()
    edition, out = edition or load_edition(root=root), Path(out)
    # Not after minutes, in a chapter's last cell or when all have run.
    coverage(load_claims(root / "book" / "claims.yml"), root, edition)
    if problems := unfit({str(run): Path(run) for run in runs}):
        raise InputError(problems[0])
    check_contents(root)
    check_shelf(out)
    failed = _lacking(edition, _fetched(edition, root))
    # Before notebooks that need them run side by side; finished ones are left as they are.
    for name in edition.drawn():
        simulate(name, root / "data" / name, workers=workers)
    parameters, real = edition.parameters(root), _real_images(root)
    results = run_all(
        workers=workers,
        force=force,
        root=root,
        parameters={name: {**real.get(name, {}), **given} for name, given in parameters.items()},
        folder=executed_folder(root, edition.name),
        leave_out={*edition.left_out, *failed},
    )
    failed |= {result.name: result.message for result in results if result.status == "failed"}
    names = ", ".join(sorted(failed))
    if failed and strict:
        raise BookError(f"not built, these notebooks failed: {names}")
    place = out / (edition.name + "-student" * student)
    page = build(place, root, runs, failed, not force, edition, answers=not student)
    put_on_shelf(out)
    _tell_untested(edition, failed, root)
    if failed:
        raise BookError(f"{page} is there, without chapters that failed: {names}")
    return page


def chapters_at_once() -> int:
    """How many chapters run side by side: one for a core and 2 GiB of memory, four at most.

    More gain little: the longest chapter takes a fifth of the time of all.
    """
    memory = 2 * CHAPTER_MEMORY
    with suppress(AttributeError, ValueError, OSError):  # Windows does not tell
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(4, os.cpu_count() or 1, memory // CHAPTER_MEMORY))


def _tell_untested(edition: Edition, failed: Collection[str], root: Path) -> None:
    """Say which claims got no verdict although the edition's data should test them."""
    claims = load_claims(root / "book" / "claims.yml")
    folder = executed_folder(root, edition.name)
    pages = [read_page(folder / f"{stem}.ipynb") for stem in edition.chapters.keys() - failed]
    judged_here = {one.claim.id for one in tested(judged(claims, pages))}
    if lost := sorted(set(can_test(claims, edition, root)) - judged_here):
        log.warning("%s: no verdict on %s; see the scorecard", edition.name, ", ".join(lost))


def lines(edition: Edition) -> list[str]:
    """What an edition needs, what of it is there, and what it can test; nothing is fetched."""
    root = find_root()
    told = [f"{edition.name}: {edition.title} ({edition.path})"]
    told += [f"{name}: drawn on this machine" for name in edition.drawn()]
    plans = edition.plans(root)
    told += [_line(name, one) for name, one in plans.items()]
    sizes = [p.gigabytes for p in plans.values() if isinstance(p, Plan) and not p.complete]
    if sizes:
        unknown = f", and {sizes.count(None)} of unknown size" if None in sizes else ""
        told.append(f"to fetch: {sum(filter(None, sizes)):.2f} GB{unknown}")
    told += [f"left out: {name} ({why})" for name, why in sorted(edition.left_out.items())]
    claims = load_claims(root / "book" / "claims.yml")
    ids = can_test(claims, edition, root)
    told.append(
        f"can test {len(ids)} of the paper's {len(claims)} claims: {', '.join(ids) or 'none'}"
    )
    return told


def to_fetch(edition: Edition) -> list[str]:
    """A line for each data set that is missing and can be fetched."""
    plans = edition.plans(find_root()).items()
    return [_line(name, p) for name, p in plans if isinstance(p, Plan) and not p.complete]


def _line(name: str, found: Plan | str) -> str:
    if isinstance(found, str):
        return f"{name}: {found}"
    if found.complete:
        return f"{name}: is there, {found.folder}"
    return f"{name}: {found.line()}; from {found.manifest['source']}; to {found.folder}"


def _fetched(edition: Edition, root: Path) -> dict[str, str]:
    """Fetch what is missing; what could not be had, and why."""
    lacking = {}
    for name, found in edition.plans(root).items():
        if isinstance(found, str):
            lacking[name] = found
        elif not found.complete:
            log.info("%s: %s", name, found.line())
            try:
                found.fetch()
            except (InputError, StepFailed) as error:
                # It comes onto a page: where the repository lies is this machine's business.
                lacking[name] = str(error).replace(f"{root}/", "")
                log.error("%s: %s", name, error)
    return lacking


def _lacking(edition: Edition, missing: dict[str, str]) -> dict[str, str]:
    """Chapters whose data could not be had, with the reason."""
    found = {}
    for stem in edition.chapters:
        if names := sorted(edition.uses(stem) & missing.keys()):
            found[stem] = f"its data could not be had: {names[0]}: {missing[names[0]]}"
    return found


def _real_images(root: Path) -> dict[str, dict[str, str]]:
    """Notebooks with a parameter `real_images` get ``$CPSSL_REAL/images``, where it is there."""
    folder = Path(os.environ.get("CPSSL_REAL") or "nowhere") / "images"
    if not (root / folder).is_dir():
        return {}
    return {
        path.stem: {"real_images": str(folder)}
        for path in list_notebooks(root)
        if "real_images" in parameters_of(path)
    }
