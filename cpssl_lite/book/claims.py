"""The paper's claims: what it said, what this run measured, and a verdict by rule."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.drawn import drawn_table, load_expected
from cpssl_lite.book.evidence import DATA, Evidence
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.provenance import current_run
from cpssl_lite.book.rules import SHOWN, UNTESTABLE, check_rule, judge
from cpssl_lite.book.where import find_root
from cpssl_lite.book.wording import badge, number

MIME = "application/vnd.cpssl.claim+json"
FIELDS = ("id", "where", "sentence", "metric", "paper_value", "judge", "testable_on")
UNCHECKABLE = ("id", "where", "sentence", "reason")
UNJUDGED = ("id", "where", "sentence", "metric", "paper_value", "no_verdict")
# Whose definition of a metric made the paper's number; either where they do not differ, or the
# released code has nothing of the kind.
CONVENTIONS = ("paper", "released", "either")

# What `record` was told in this kernel, so that a chapter's table can show it.
_recorded: dict[str, "Measured"] = {}


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper that can be checked, or the reason why nobody can."""

    id: str
    where: str
    sentence: str
    metric: str = ""
    paper_value: Any = None
    judge: dict[str, Any] = field(default_factory=dict)
    testable_on: tuple[str, ...] = ()  # data sets, by the names of `known`
    features: tuple[str, ...] = (DATA,)  # roles that must be filled by the paper's own features
    convention: str = ""  # which one made the paper's number; "" where it depends on none
    unit: str = ""
    chapter: str = ""  # notebook that measures it, without its number
    reason: str = ""  # why nobody can check it from public files
    no_verdict: str = ""  # why a number beside the paper's does not judge it


@dataclass(frozen=True)
class Measured:
    """What one run measured for one claim."""

    id: str
    value: Any
    data: str  # what pages call it
    notebook: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)  # see `Evidence`
    unfit: dict[str, str] = field(default_factory=dict)
    convention: str = ""

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """Travel inside the executed notebook, and leave an anchor that the scorecard links."""
        text = f"claim {self.id}: {self.value} ({self.data})"
        # The style sheet shows the text when a link has led here.
        mark = f'id="claim-{cell(self.id)}" data-text="{cell(text)}"'
        return {
            MIME: dict(vars(self)),
            "text/plain": text,
            "text/html": f'<span class="cpssl-claim" {mark}></span>',
        }


def load_claims(path: str | Path | None = None) -> dict[str, Claim]:
    """Claims by id from ``book/claims.yml`` (a list of mappings), each one checked.

    ``judge`` is one of::

        {kind: value, relative: 0.1}      within 10 % of the paper's number (or `absolute`)
        {kind: value, absolute: 0, neutral: none}   a count: it has no sides
        {kind: direction, neutral: 1}     on the paper's side of 1 (0 if not given); where the
                                          text has no number, paper_value is above or below
        {kind: order, margin: 0.01}       the paper's order, best first; nearer is a tie
        {kind: values, absolute: {AUC: 0.02, F1: 0.04}, neutral: {AUC: 0.5}}
                                          several numbers at once, a row of a table
        {kind: test, threshold: 0.05, difference: above}
                                          p below or above the threshold (paper_value), and the
                                          tested difference on its side

    An entry with a ``reason`` has no rule: nobody can check it from public files. One with
    ``no_verdict`` has a number, shown beside the paper's, which cannot judge it.

    Raises
    ------
    InputError
        A missing or unknown key, a doubled id, a value that its rule cannot judge.
    """
    path = Path(path) if path else find_root() / "book" / "claims.yml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: claims cannot be read ({str(error).splitlines()[0]})") from error
    claims: dict[str, Claim] = {}
    for position, entry in enumerate(entries, 1):
        where = f"{path.name}: claim {position}"
        if not isinstance(entry, Mapping):
            raise InputError(f"{where} must be a mapping, got {entry!r}")
        where += f" ({entry.get('id', 'no id')})"
        needed: tuple[str, ...] = FIELDS
        more: tuple[str, ...] = ("unit", "features", "convention")
        if "reason" in entry:
            needed, more = UNCHECKABLE, ()
        elif "no_verdict" in entry:
            needed, more = UNJUDGED, ("unit",)
        missing = [name for name in needed if name not in entry]
        unknown = [name for name in entry if name not in (*needed, *more, "chapter")]
        if missing or unknown:
            raise InputError(f"{where}: missing keys {missing}, unknown keys {unknown}")
        if entry["id"] in claims:
            raise InputError(f"{where}: id is there twice")
        if "judge" in entry:
            check_rule(entry["judge"], entry["paper_value"], where)
        if entry.get("convention", "paper") not in CONVENTIONS:
            raise InputError(f"{where}: convention must be one of {', '.join(CONVENTIONS)}")
        lists = {
            key: tuple(map(str, entry[key])) for key in ("testable_on", "features") if key in entry
        }
        claims[entry["id"]] = Claim(**{**entry, **lists})
    return claims


def record(
    id: str,
    value: float | Mapping[str, float],
    evidence: Evidence | None = None,
    claims: Mapping[str, Claim] | None = None,
    **detail: object,
) -> Measured:
    """Record what this run measured for a claim; leave the result as the cell's output.

    Parameters
    ----------
    id
        The claim's id in ``book/claims.yml``, or that of an entry of ``book/drawn.yml``.
    value
        A number, or for an order, a test or several values the number of every name.
    evidence
        What it rests on [default: drawn data, which test nothing that the paper says].
    claims
        Other claims than ``book/claims.yml``.
    **detail
        Anything that helps to trace the number (wells, interval, seed).

    Raises
    ------
    InputError
        An unknown id, or a number that is not finite.
    """
    known = load_claims() if claims is None else claims
    if id not in known and id not in load_expected():
        raise InputError(f"claims.yml: no claim {id}. There are: {', '.join(known)}")
    if id in known and known[id].reason:
        raise InputError(f"claim {id}: nobody can check it ({known[id].reason})")
    measured: float | dict[str, float]
    if isinstance(value, Mapping):
        measured = {str(name): float(number) for name, number in value.items()}
        numbers = list(measured.values())
    else:
        measured = float(value)
        numbers = [measured]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"claim {id}: measured value must be finite, got {value}")
    text = {
        name: item if isinstance(item, str | int | float | None) else str(item)
        for name, item in detail.items()
    }
    on = evidence or Evidence()
    # Only what this claim asks for: a page's evidence has more.
    asked = known[id].features if id in known else ()
    found, lacking = (
        {k: v for k, v in part.items() if k in asked} for part in (on.known, on.unfit)
    )
    notebook = current_run().get("notebook", "")
    _recorded[id] = Measured(id, measured, on.shown, notebook, text, found, lacking, on.convention)
    return _recorded[id]


def read_recorded(cells: Iterable[Mapping[str, Any]]) -> dict[str, Measured]:
    """Read what the cells of an executed notebook recorded, by claim id."""
    outputs = (output for code in cells for output in code.get("outputs", []))
    kept = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    return {one["id"]: Measured(**one) for one in kept}


def verdict(claim: Claim, measured: Measured | None) -> str:
    """One of `rules.VERDICTS`, computed from the claim's rule; nobody types it.

    A claim nobody measured, or measured on anything but the data and the features that it is about
    (`missing`), and an order or a row with a name missing are *not testable on this data*.

    Examples
    --------
    >>> rule = {"kind": "value", "relative": 0.1}
    >>> claim = Claim("gain", "Fig. 2", "...", "mAP gain", 29.0, rule, ("Target2",))
    >>> on = {"known": {"data": "Target2"}}
    >>> [verdict(claim, Measured("gain", v, "mine", **on)) for v in (27.0, 5.0, -5.0)]
    ['reproduced', 'direction holds', 'differs']
    >>> verdict(claim, Measured("gain", 27.0, "Target2"))
    'not testable on this data'
    """
    if claim.no_verdict:
        return SHOWN
    if measured is None or missing(claim, measured):
        return UNTESTABLE
    return judge(claim.judge, claim.paper_value, measured.value, f"claim {claim.id}")


def missing(claim: Claim, measured: Measured) -> str:
    """What a measured number lacks to judge a claim; "" where nothing does."""
    for role in claim.features:
        there = measured.known.get(role)
        if there is None:
            return measured.unfit.get(role, "the data are drawn")
        if there not in claim.testable_on:
            return f"{role}: measured on {there}"
    # A side of zero may be seen by either convention; a number belongs to the one that made it.
    exact = claim.judge["kind"] in ("value", "values") and claim.convention in ("paper", "released")
    if exact and measured.convention and measured.convention != claim.convention:
        return f"measured by the convention {measured.convention}"
    return ""


def needs(claim: Claim) -> str:
    """What a claim is to be tested with, in words."""
    if claim.reason or claim.no_verdict:
        return "nobody can: " + (claim.reason or claim.no_verdict)
    named = [role for role in claim.features if role != DATA]
    what = f"{', '.join(named)} on " if named else ""
    return what + ", ".join(claim.testable_on)


def show_claims(
    chapter: str = "",
    claims: Mapping[str, Claim] | None = None,
    measured: Mapping[str, Measured] | None = None,
) -> Html:
    """Table of the paper's number beside this run's, for a chapter.

    What this run's data cannot test is folded; below it, where the data are drawn, what should be
    seen on those (`drawn`).

    Parameters
    ----------
    chapter
        All claims of this chapter (a notebook's name without its number) that can be checked; by
        default those recorded in this kernel.
    claims, measured
        Other than ``book/claims.yml`` and what this kernel recorded.
    """
    known = load_claims() if claims is None else claims
    have = _recorded if measured is None else measured
    shown = [known[id] for id in have if id in known]
    if chapter:
        shown = [c for c in known.values() if c.chapter == chapter and not c.reason]
    rows: list[tuple[object, ...]] = []
    others: list[tuple[object, ...]] = []
    for claim in shown:
        got = have.get(claim.id)
        run: object = "not measured"
        if got is not None:
            run = Html(f"{cell(number(got.value, claim))} <small>{cell(got.data)}</small>")
        where = Html(f"{cell(claim.sentence)} <small>{cell(claim.where)}</small>")
        status = verdict(claim, got)
        row = (where, number(claim.paper_value, claim), run, badge(status))
        (others if status == UNTESTABLE else rows).append(row)
    header = ("Claim", "Paper", "This run", "Verdict")
    kind, caption = "cpssl-claims", "The paper's numbers beside this run's"
    first = table(header, rows, caption, kind) if rows else ""
    if others:
        caption = f"Claims that these data cannot test ({len(others)})"
        first = Html(first + table(header, others, caption, kind, fold=True))
    expected = {id: e for id, e in load_expected().items() if e.chapter == chapter}
    return Html(first + drawn_table(expected, have))
