"""How tables of claims word a verdict and a number."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cpssl_lite.book.html import Html, cell

if TYPE_CHECKING:
    from cpssl_lite.book.claims import Claim


def badge(status: str) -> Html:
    """A verdict as its coloured label."""
    return Html(f'<span class="cpssl-verdict cpssl-{status.split()[0]}">{cell(status)}</span>')


def number(value: object, claim: "Claim") -> str:
    """The paper's or a run's value of a claim, as tables show it."""
    if isinstance(value, Mapping) and claim.judge.get("kind") == "test":
        return f"p {_short(value['p'])}, difference {_short(value['difference'])}"
    if isinstance(value, Mapping):
        parts = list(value.items())
        if claim.judge.get("kind") == "values":  # as the paper's row; JSON has sorted them
            parts = [(name, value[name]) for name in claim.paper_value if name in value]
        if claim.judge.get("kind") == "order":
            parts.sort(key=lambda item: -item[1])
        return ", ".join(f"{name} {_short(part)}" for name, part in parts)
    if isinstance(value, list):
        return " > ".join(map(str, value))
    if claim.judge.get("kind") == "test":
        rule = claim.judge
        return f"p {value} {_short(rule['threshold'])}, difference {rule['difference']} 0"
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
