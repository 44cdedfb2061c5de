"""Which normalisation each feature type gets, asked before anything is computed."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.kinds import FeatureType, best_method, type_of_card
from cpssl_lite.book.percent import fit
from cpssl_lite.images.metadata import PLATE
from cpssl_lite.profiles.normalize import parse_method
from cpssl_lite.profiles.roles import assign_roles, name_controls

if TYPE_CHECKING:
    from cpssl_lite.models.encoder import Encoder

ON_CONTROLS = ("sphere", "standardize", "tvn")


def named(value: Any, what: str) -> Any:
    """What a parameter gives by name: plain papermill hands JSON text over.

    Raises
    ------
    InputError
        Text that is no JSON object.

    Examples
    --------
    >>> named('{"Mine": "a.csv"}', "profiles"), named("", "profiles"), named(None, "profiles")
    ({'Mine': 'a.csv'}, {}, {})
    """
    return fit(value, {}, what) if value and isinstance(value, str) else value or {}


def methods_of(
    raw: Mapping[str, pd.DataFrame],
    types: Mapping[str, FeatureType],
    method: str | Mapping[str, str],
) -> dict[str, str]:
    """Method of each feature type.

    Parameters
    ----------
    raw
        Wells by feature type, roles assigned.
    method
        One for all, methods by feature type (or JSON text of that), or "": `best_method`. What
        was drawn keeps its own.

    Raises
    ------
    InputError
        Not a method or a feature type; one that needs more negative controls than a table has.
    """
    if isinstance(method, str) and not method.lstrip().startswith("{"):
        said = dict.fromkeys(types, method)
    else:
        given = named(method, "method")
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


def ask_first(
    images: pd.DataFrame,
    networks: Mapping[str, "Encoder"],
    method: str | Mapping[str, str],
    others: Mapping[str, FeatureType] | None = None,
    **roles: str | None,
) -> None:
    """Raise what `methods_of` and `assign_roles` would, before networks see the first image.

    Parameters
    ----------
    images
        Image table.
    networks
        By feature type.
    method
        As for `methods_of`.
    others
        Feature types that come from no network.
    **roles
        As for `assign_roles`.
    """
    wells = images.drop_duplicates([*PLATE, "Metadata_Well"]).filter(like="Metadata_")
    wells = assign_roles(name_controls(wells.reset_index(drop=True)), **roles)
    types = {name: type_of_card(network.card) for name, network in networks.items()}
    types |= others or {}
    methods_of(dict.fromkeys(types, wells), types, method)
