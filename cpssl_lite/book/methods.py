"""Which normalisation each feature type gets, asked before anything is computed."""

import json
from collections.abc import Mapping

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.kinds import FeatureType, best_method
from cpssl_lite.profiles.normalize import parse_method

ON_CONTROLS = ("sphere", "standardize", "tvn")


def methods_of(
    raw: Mapping[str, pd.DataFrame], types: Mapping[str, FeatureType], method: str
) -> dict[str, str]:
    """Method of each feature type.

    Parameters
    ----------
    raw
        Wells by feature type, roles assigned.
    method
        One for all, a JSON object with methods by feature type, or "": `best_method`. What was
        drawn keeps its own.

    Raises
    ------
    InputError
        Not a method or a feature type; one that needs more negative controls than a table has.
    """
    said: dict[str, str] = dict.fromkeys(types, method)
    if method.lstrip().startswith("{"):
        try:
            given = json.loads(method)
        except ValueError as error:
            raise InputError(f"method {method}: not JSON ({error})") from error
        if odd := sorted(set(given) - set(types)):
            raise InputError(f"method: no feature type {odd[0]!r}; there are {', '.join(types)}")
        if bad := [name for name, one in given.items() if not isinstance(one, str)]:
            raise InputError(f"method of {bad[0]} must be text, got {given[bad[0]]!r}")
        said = {name: given.get(name, "") for name in types}
    methods = {
        name: said[name] if said[name] and one.kind != "drawn" else best_method(one.kind)
        for name, one in types.items()
    }
    for name, how in methods.items():
        needy = [s for s in parse_method(how) if s in ON_CONTROLS or s.endswith("@negcon")]
        control = raw[name].get("Metadata_Control", pd.Series(dtype=str))
        if needy and (n := int((control == "negcon").sum())) < 2:
            other = json.dumps({name: "none"})
            raise InputError(
                f"{name}: {needy[0]} needs at least 2 negative controls, its table has {n}; say "
                f"which they are (-p control=COLUMN=VALUE), or another method (-p method='{other}')"
            )
    return methods
