"""The paper's claims: what it said, what this run measured, and a verdict by rule."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.provenance import current_run
from cpssl_lite.book.rules import UNTESTABLE, check_rule, judge
from cpssl_lite.book.where import find_root

MIME = "application/vnd.cpssl.claim+json"
FIELDS = ("id", "where", "sentence", "metric", "paper_value", "judge", "testable_on")
UNCHECKABLE = ("id", "where", "sentence", "reason")

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
    testable_on: tuple[str, ...] = ()
    unit: str = ""
    chapter: str = ""  # notebook that measures it, without its number
    reason: str = ""  # why nobody can check it from public files


@dataclass(frozen=True)
class Measured:
    """What one run measured for one claim."""

    id: str
    value: Any
    data: str
    notebook: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

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

    An entry with a ``reason`` has no rule: nobody can check it from public files.

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
    for number, entry in enumerate(entries, 1):
        where = f"{path.name}: claim {number}"
        if not isinstance(entry, Mapping):
            raise InputError(f"{where} must be a mapping, got {entry!r}")
        where += f" ({entry.get('id', 'no id')})"
        needed, more = (UNCHECKABLE, ()) if "reason" in entry else (FIELDS, ("unit",))
        missing = [name for name in needed if name not in entry]
        unknown = [name for name in entry if name not in (*needed, *more, "chapter")]
        if missing or unknown:
            raise InputError(f"{where}: missing keys {missing}, unknown keys {unknown}")
        if entry["id"] in claims:
            raise InputError(f"{where}: id is there twice")
        if "judge" in entry:
            check_rule(entry["judge"], entry["paper_value"], where)
        testable = tuple(map(str, entry.get("testable_on", ())))
        claims[entry["id"]] = Claim(**{**entry, "testable_on": testable})
    return claims


def record(
    id: str,
    value: float | Mapping[str, float],
    data: str = "simulated",
    claims: Mapping[str, Claim] | None = None,
    **detail: object,
) -> Measured:
    """Record what this run measured for a claim; leave the result as the cell's output.

    Parameters
    ----------
    id
        The claim's id in ``book/claims.yml``.
    value
        A number, or for an order or several values the number of every name.
    data
        What it was measured on: ``simulated``, or the name of the real data set.
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
    if id not in known:
        raise InputError(f"claims.yml: no claim {id}. There are: {', '.join(known)}")
    if known[id].reason:
        raise InputError(f"claim {id}: nobody can check it ({known[id].reason})")
    plain: float | dict[str, float]
    if isinstance(value, Mapping):
        plain = {str(name): float(number) for name, number in value.items()}
        numbers = list(plain.values())
    else:
        plain = float(value)
        numbers = [plain]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"claim {id}: measured value must be finite, got {value}")
    text = {
        name: item if isinstance(item, str | int | float | None) else str(item)
        for name, item in detail.items()
    }
    notebook = current_run().get("notebook", "")
    _recorded[id] = Measured(id, plain, data, notebook, text)
    return _recorded[id]


def read_recorded(cells: Iterable[Mapping[str, Any]]) -> dict[str, Measured]:
    """Read what the cells of an executed notebook recorded, by claim id."""
    outputs = (output for code in cells for output in code.get("outputs", []))
    kept = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
    return {one["id"]: Measured(**one) for one in kept}


def verdict(claim: Claim, measured: Measured | None) -> str:
    """One of `rules.VERDICTS`, computed from the claim's rule; nobody types it.

    Data the claim does not list, a claim nobody measured and an order or a row with a name
    missing are *not testable on this data*.

    Examples
    --------
    >>> rule = {"kind": "value", "relative": 0.1}
    >>> claim = Claim("gain", "Fig. 2", "...", "mAP gain", 29.0, rule, ("simulated",))
    >>> [verdict(claim, Measured("gain", v, "simulated")) for v in (27.0, 5.0, -5.0)]
    ['reproduced', 'direction holds', 'differs']
    >>> verdict(claim, Measured("gain", 27.0, "something else"))
    'not testable on this data'
    """
    if measured is None or not {measured.data, "any"} & set(claim.testable_on):
        return UNTESTABLE
    return judge(claim.judge, claim.paper_value, measured.value, f"claim {claim.id}")


def show_claims(
    chapter: str = "",
    claims: Mapping[str, Claim] | None = None,
    measured: Mapping[str, Measured] | None = None,
) -> Html:
    """Table of the paper's number beside this run's, for a chapter.

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
    shown = [known[id] for id in have]
    if chapter:
        shown = [c for c in known.values() if c.chapter == chapter and not c.reason]
    rows = []
    for claim in shown:
        got = have.get(claim.id)
        run: object = "not measured"
        if got is not None:
            run = Html(f"{cell(number(got.value, claim))} <small>{cell(got.data)}</small>")
        where = Html(f"{cell(claim.sentence)} <small>{cell(claim.where)}</small>")
        rows.append((where, number(claim.paper_value, claim), run, badge(verdict(claim, got))))
    header = ("Claim", "Paper", "This run", "Verdict")
    return table(header, rows, caption="The paper's numbers beside this run's", kind="cpssl-claims")


def badge(status: str) -> Html:
    """A verdict as its coloured label."""
    return Html(f'<span class="cpssl-verdict cpssl-{status.split()[0]}">{cell(status)}</span>')


def number(value: object, claim: Claim) -> str:
    """The paper's or a run's value of a claim, as tables show it."""
    if isinstance(value, Mapping):
        parts = list(value.items())
        if claim.judge.get("kind") == "values":  # as the paper's row; JSON has sorted them
            parts = [(name, value[name]) for name in claim.paper_value if name in value]
        if claim.judge.get("kind") == "order":
            parts.sort(key=lambda item: -item[1])
        return ", ".join(f"{name} {_short(part)}" for name, part in parts)
    if isinstance(value, list):
        return " > ".join(map(str, value))
    if isinstance(value, str):  # above or below
        return f"{value} {_short(claim.judge.get('neutral', 0))}"
    gap = " " if claim.unit and claim.unit != "%" else ""
    return f"{_short(value)}{gap}{claim.unit}"


def _short(value: Any) -> str:
    """Three digits, or all of a whole number.

    Examples
    --------
    >>> _short(0.12345), _short(564272), _short(119.0)
    ('0.123', '564,272', '119')
    """
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
