"""From a chapter's parameters to the features that it compares."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from cpssl_lite.book.features import Features, load_features


def features_of(parameters: Mapping[str, Any], **more: Any) -> Features:
    """`load_features` with those of a chapter's parameters that it takes.

    Parameters
    ----------
    parameters
        A notebook's ``globals()``, before anything but its parameters and imports is in it.
    more
        What the chapter sets itself.
    """
    taken = signature(load_features).parameters
    given = {name: value for name, value in parameters.items() if name in taken}
    return load_features(**(given | more))
