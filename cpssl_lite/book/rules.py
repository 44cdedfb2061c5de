"""How a claim is judged: the kinds of rules in claims.yml, and the verdict that each gives."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cpssl_lite.base.errors import InputError

REPRODUCED = "reproduced"
DIRECTION = "direction holds"
DIFFERS = "differs"
UNTESTABLE = "not testable on this data"
SHOWN = "no verdict"  # a number beside the paper's that cannot judge it
VERDICTS = (REPRODUCED, DIRECTION, DIFFERS, UNTESTABLE, SHOWN)

KINDS = {
    "value": {"kind", "relative", "absolute", "neutral"},
    "direction": {"kind", "neutral"},
    "order": {"kind", "margin"},
    "values": {"kind", "absolute", "neutral"},
    "test": {"kind", "threshold", "difference"},
}
# A figure shows which side of neutral it is on where the text gives no number.
SIDES = {"above": 1.0, "below": -1.0}


def check_rule(judge: Any, paper: Any, where: str) -> None:
    """Raise InputError, which starts with `where`, for a rule that cannot judge `paper`."""
    kind = judge.get("kind") if isinstance(judge, Mapping) else None
    if kind not in KINDS:
        raise InputError(f"{where}: judge.kind must be one of {sorted(KINDS)}, got {judge!r}")
    unknown = set(judge) - KINDS[kind]
    if unknown:
        raise InputError(f"{where}: judge has unknown keys {sorted(unknown)}")
    if kind == "value" and len({"relative", "absolute"} & set(judge)) != 1:
        raise InputError(f"{where}: judge of kind value needs relative or absolute")
    neutral = judge.get("neutral", 0)
    if kind in ("value", "direction") and not isinstance(neutral, int | float):
        if kind == "direction" or neutral != "none":
            raise InputError(f"{where}: judge.neutral must be a number, got {neutral!r}")
    if kind == "test":
        fits = {str(paper), str(judge.get("difference"))} <= set(SIDES)
        fits = fits and isinstance(judge.get("threshold"), int | float)
    elif kind == "order":
        fits = isinstance(paper, list) and len(paper) > 1
    elif kind == "values":
        named = isinstance(paper, Mapping) and isinstance(judge.get("absolute"), Mapping)
        fits = named and set(judge["absolute"]) == set(paper) >= set(judge.get("neutral", ()))
    else:
        fits = isinstance(paper, int | float) and not isinstance(paper, bool)
        fits = fits or (kind == "direction" and paper in SIDES)
    if not fits:
        wanted = {
            "order": "a list of names, best first",
            "values": "numbers by name, with a tolerance under absolute for each",
            "test": "above or below, with the threshold of p and the side of the difference",
        }.get(kind, "a number")
        raise InputError(f"{where}: paper_value must be {wanted}, got {paper!r}")


def judge(rule: Mapping[str, Any], paper: Any, value: Any, where: str = "") -> str:
    """Verdict on a measured value by a rule of claims.yml.

    value: within the tolerance is *reproduced*, else on the paper's side of `neutral` (0 if not
    given; ``none`` for a count, which has no sides) is *direction holds*. direction: on the
    paper's side is *direction holds*. order: the same order with gaps of more than `margin` is
    *reproduced*, the same first place (not tied) *direction holds*. values: all within their
    tolerance is *reproduced*, those with a `neutral` on the paper's side *direction holds*. test:
    p on the paper's side of `threshold` and the difference on its own side is *direction holds*.
    Otherwise *differs*; an order or a row with a name missing is *not testable on this data*.

    Examples
    --------
    >>> [judge({"kind": "value", "absolute": 5}, 29, value) for value in (27, 12, -5)]
    ['reproduced', 'direction holds', 'differs']
    """
    if rule["kind"] == "order":
        return _judge_order(paper, value, float(rule.get("margin", 0.0)))
    if rule["kind"] == "test":
        return _judge_test(rule, paper, value, where)
    if rule["kind"] == "values":
        return _judge_values(paper, value, rule["absolute"], rule.get("neutral", {}))
    if isinstance(value, Mapping):
        raise InputError(f"{where}: needs one number, got {dict(value)}")
    if rule["kind"] == "value":
        allowed = rule.get("absolute", abs(paper) * rule.get("relative", 0.0))
        if abs(value - paper) <= allowed:
            return REPRODUCED
    neutral = rule.get("neutral", 0.0)
    if neutral == "none":
        return DIFFERS
    side = SIDES[paper] if isinstance(paper, str) else paper - neutral
    same_side = (value - neutral) * side > 0
    return DIRECTION if same_side else DIFFERS


def _judge_test(rule: Mapping[str, Any], paper: str, value: object, where: str) -> str:
    if not isinstance(value, Mapping) or set(value) != {"p", "difference"}:
        raise InputError(f"{where}: a test needs p and difference, got {value!r}")
    same = (value["p"] - rule["threshold"]) * SIDES[paper] > 0
    same = same and value["difference"] * SIDES[rule["difference"]] > 0
    return DIRECTION if same else DIFFERS


def _judge_order(paper: Sequence[str], value: object, margin: float) -> str:
    if not isinstance(value, Mapping) or any(name not in value for name in paper):
        return UNTESTABLE
    numbers = [value[name] for name in paper]
    gaps = [better - worse for better, worse in pairwise(numbers)]
    if all(gap > margin for gap in gaps):
        return REPRODUCED
    return DIRECTION if numbers[0] - max(numbers[1:]) > margin else DIFFERS


def _judge_values(
    paper: Mapping[str, float],
    value: object,
    absolute: Mapping[str, float],
    neutral: Mapping[str, float],
) -> str:
    if not isinstance(value, Mapping) or any(name not in value for name in paper):
        return UNTESTABLE
    if all(abs(value[name] - number) <= absolute[name] for name, number in paper.items()):
        return REPRODUCED
    sides = [(value[name] - level) * (paper[name] - level) > 0 for name, level in neutral.items()]
    return DIRECTION if sides and all(sides) else DIFFERS
