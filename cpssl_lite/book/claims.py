"""The paper's claims: what it said, what this run measured, and a verdict by rule."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.book.html import Html, cell, table
from cpssl_lite.book.provenance import current_run
from cpssl_lite.book.where import find_root
from cpssl_lite.errors import InputError

REPRODUCED = "reproduced"
DIRECTION = "direction holds"
DIFFERS = "differs"
UNTESTABLE = "not testable on this data"
VERDICTS = (REPRODUCED, DIRECTION, DIFFERS, UNTESTABLE)

MIME = "application/vnd.cpssl.claim+json"
KINDS = {
    "value": {"kind", "relative", "absolute", "neutral"},
    "direction": {"kind", "neutral"},
    "order": {"kind", "margin"},
}
SIDES: dict[Any, float] = {"above": 1.0, "below": -1.0}
FIELDS = ("id", "where", "sentence", "metric", "paper_value", "judge", "testable_on")

# A figure shows which side of neutral it is on where the text gives no number.
SIDES = {"above": 1.0, "below": -1.0}

# What `record` was told in this kernel, so that a chapter's table can show it.
_recorded: dict[str, "Measured"] = {}


@dataclass(frozen=True)
class Claim:
    """One checkable sentence of the paper."""

    id: str
    where: str
    sentence: str
    metric: str
    paper_value: Any
    judge: dict[str, Any]
    testable_on: tuple[str, ...]
    unit: str = ""


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
        return {
            MIME: {k: v for k, v in vars(self).items()},
            "text/plain": text,
            "text/html": f'<span class="cpssl-claim" id="claim-{cell(self.id)}"></span>',
        }


def load_claims(path: str | Path | None = None) -> dict[str, Claim]:
    """Claims by id from ``book/claims.yml`` (a list of mappings), each one checked.

    ``judge`` is one of::

        {kind: value, relative: 0.1}      within 10 % of the paper's number (or `absolute`)
        {kind: direction, neutral: 1}     on the paper's side of 1 (0 if not given); where the
                                          text has no number, paper_value is above or below
        {kind: order, margin: 0.01}       the paper's order, best first; nearer is a tie

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
        missing = [name for name in FIELDS if name not in entry]
        unknown = [name for name in entry if name not in (*FIELDS, "unit")]
        if missing or unknown:
            raise InputError(f"{where}: missing keys {missing}, unknown keys {unknown}")
        if entry["id"] in claims:
            raise InputError(f"{where}: id is there twice")
        _check_rule(entry["judge"], entry["paper_value"], where)
        testable = tuple(map(str, entry["testable_on"]))
        claims[entry["id"]] = Claim(**{**entry, "testable_on": testable})
    return claims


def _check_rule(judge: Any, paper: Any, where: str) -> None:
    kind = judge.get("kind") if isinstance(judge, Mapping) else None
    if kind not in KINDS:
        raise InputError(f"{where}: judge.kind must be one of {sorted(KINDS)}, got {judge!r}")
    unknown = set(judge) - KINDS[kind]
    if unknown:
        raise InputError(f"{where}: judge has unknown keys {sorted(unknown)}")
    if kind == "value" and len({"relative", "absolute"} & set(judge)) != 1:
        raise InputError(f"{where}: judge of kind value needs relative or absolute")
    if kind == "order":
        fits = isinstance(paper, list) and len(paper) > 1
    else:
        fits = isinstance(paper, int | float) and not isinstance(paper, bool)
        fits = fits or (kind == "direction" and paper in SIDES)
    if not fits:
        wanted = "a list of names, best first" if kind == "order" else "a number"
        raise InputError(f"{where}: paper_value must be {wanted}, got {paper!r}")


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
        A number, or for an order the number of every name (more is better).
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
    plain: float | dict[str, float]
    if isinstance(value, Mapping):
        plain = {str(name): float(number) for name, number in value.items()}
        numbers = list(plain.values())
    else:
        plain = float(value)
        numbers = [plain]
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"claim {id}: measured value must be finite, got {value}")
    notebook = current_run().get("notebook", "")
    text = {name: item if _json(item) else str(item) for name, item in detail.items()}
    _recorded[id] = Measured(id, plain, data, notebook, text)
    return _recorded[id]


def _json(item: object) -> bool:
    return item is None or isinstance(item, str | int | float | bool)


def read_recorded(paths: Iterable[str | Path]) -> dict[str, Measured]:
    """Read what executed notebooks recorded, by claim id."""
    import nbformat

    found = {}
    for path in paths:
        for code in nbformat.read(path, as_version=4).cells:
            for output in code.get("outputs", []):
                if MIME in output.get("data", {}):
                    kept = output["data"][MIME]
                    found[kept["id"]] = Measured(**kept)
    return found


def verdict(claim: Claim, measured: Measured | None) -> str:
    """One of `VERDICTS`, computed from the claim's rule; nobody types it.

    value: within the tolerance is *reproduced*, else on the paper's side of `neutral` is
    *direction holds*. direction: on the paper's side is *direction holds*. order: the same
    order with gaps of more than `margin` is *reproduced*, the same first place (not tied)
    *direction holds*. Otherwise *differs*.

    Data the claim does not list, a claim nobody measured and an order with a name missing
    are *not testable on this data*.

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
    rule, paper, value = claim.judge, claim.paper_value, measured.value
    if rule["kind"] == "order":
        return _judge_order(paper, value, float(rule.get("margin", 0.0)))
    if isinstance(value, Mapping):
        raise InputError(f"claim {claim.id}: needs one number, got {dict(value)}")
    neutral = float(rule.get("neutral", 0.0))
    side = SIDES[paper] if isinstance(paper, str) else paper - neutral
    same_side = (value - neutral) * side > 0
    if rule["kind"] == "value":
        allowed = rule.get("absolute", abs(paper) * rule.get("relative", 0.0))
        if abs(value - paper) <= allowed:
            return REPRODUCED
    return DIRECTION if same_side else DIFFERS


def _judge_order(paper: Sequence[str], value: object, margin: float) -> str:
    if not isinstance(value, Mapping) or any(name not in value for name in paper):
        return UNTESTABLE
    numbers = [value[name] for name in paper]
    gaps = [better - worse for better, worse in pairwise(numbers)]
    if all(gap > margin for gap in gaps):
        return REPRODUCED
    return DIRECTION if numbers[0] - max(numbers[1:]) > margin else DIFFERS


def show_claims(
    ids: Sequence[str] | None = None,
    claims: Mapping[str, Claim] | None = None,
    measured: Mapping[str, Measured] | None = None,
) -> Html:
    """Table of the paper's number beside this run's, for a chapter.

    Parameters
    ----------
    ids
        Claims to show, in this order; by default those recorded in this kernel.
    claims, measured
        Other than ``book/claims.yml`` and what this kernel recorded.
    """
    known = load_claims() if claims is None else claims
    have = _recorded if measured is None else measured
    rows = []
    for id in ids or list(have):
        if id not in known:
            raise InputError(f"claims.yml: no claim {id}. There are: {', '.join(known)}")
        claim, got = known[id], have.get(id)
        status = verdict(claim, got)
        badge = f'<span class="cpssl-verdict cpssl-{status.split()[0]}">{cell(status)}</span>'
        run: object = "not measured"
        if got is not None:
            run = Html(f"{cell(_number(got.value, claim.unit))} <small>{cell(got.data)}</small>")
        where = Html(f"{cell(claim.sentence)} <small>{cell(claim.where)}</small>")
        rows.append(
            (
                where,
                _number(claim.paper_value, claim.unit),
                run,
                Html(badge),
            )
        )
    header = ("Claim", "Paper", "This run", "Verdict")
    return table(header, rows, caption="The paper's numbers beside this run's", kind="cpssl-claims")


def _number(value: object, unit: str) -> str:
    if isinstance(value, Mapping):
        ranked = sorted(value.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {number:.3g}" for name, number in ranked)
    if isinstance(value, list):
        return " > ".join(map(str, value))
    if isinstance(value, str):
        return value
    if isinstance(value, str):
        return f"{value} (no number in the text)"
    return f"{value:.3g}{unit if unit == '%' else ' ' + unit if unit else ''}"
