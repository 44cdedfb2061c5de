"""YAML that somebody else wrote: a small mapping without aliases, or one line that says why not."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cpssl_lite.base.errors import InputError

MOST = 1 << 16  # bytes; the cards and manifests of this project have about two thousand


class _Plain(yaml.SafeLoader):
    """YAML without aliases: ten lines of them stand for more than a memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise yaml.YAMLError(f"line {line} has an alias (*name), which is not taken here")
        return super().compose_node(parent, index)


def read_mapping(path: str | Path, what: str, most: int = MOST) -> dict[Any, Any]:
    """Read a YAML file that holds a mapping.

    Parameters
    ----------
    path
        The file.
    what
        What it is to be, for messages: "card", "manifest".
    most
        Bytes that such a file may have.

    Raises
    ------
    InputError
        The file cannot be read, is too large, no text, no YAML, has aliases or holds no mapping.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise InputError(f"{path}: a {what} has at most {most:,} bytes")
        content = yaml.load(data.decode("utf-8"), _Plain)
    except InputError:
        raise
    # ValueError: no UTF-8, or a date or number that is none.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: the {what} cannot be read ({reason})") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: the {what} is a mapping of names to values, got {type(content).__name__}"
        )
    return content


def check_mapping(found: dict[Any, Any], path: str | Path, schema: Path) -> None:
    """Hold what was read against a JSON schema; the first fault is one line (`InputError`)."""
    try:
        errors = sorted(
            _validator(schema).iter_errors(found), key=lambda e: (len(e.path), e.message)
        )
    except ValueError as error:  # a message with a number of thousands of digits in it
        raise InputError(f"{path}: a value is too long ({error})") from error
    if not errors:
        return
    first = errors[0]
    where = shown(first.json_path.removeprefix("$").removeprefix(".")).strip("'\"")
    if first.validator == "anyOf" and "required" in first.validator_value[0]:
        ways = [way["required"][0] for way in first.validator_value]
        said = f"says nowhere what to fetch; expected one of {', '.join(ways)}"
    elif first.validator in ("required", "additionalProperties", "dependentRequired"):
        said = f"{where}: {first.message}".removeprefix(": ")
    else:
        expected = f"{first.validator} {shown(first.validator_value, 200)}"
        said = f"{where} is {shown(first.instance)}, expected {expected}"
    raise InputError(f"{path}: {' '.join(said.split())[:400]}")


@cache
def _validator(schema: Path) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))


def shown(value: object, most: int = 80) -> str:
    """A value as a message shows it: not a page of it, and never an error of its own.

    Examples
    --------
    >>> shown([1, "a"]), shown("x" * 99, most=10), shown(10**5000)
    ("[1, 'a']", "'xxxxxx...", 'an int too long to show')
    """
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # Python prints no number of more than 4,300 digits
        return f"an {type(value).__name__} too long to show"
    return text if len(text) <= most else f"{text[: most - 3]}..."
