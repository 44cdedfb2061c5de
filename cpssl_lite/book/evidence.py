"""What a number rests on: the data, known by content, and features that are the paper's or not.

A claim names the features that it is about by a role (`ROLES`). A role is filled by what a feature
type is (`kinds.FeatureType`), never by what somebody called it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from cpssl_lite.book.figures import architecture
from cpssl_lite.book.kinds import (
    GALLERY,
    GIVEN,
    MULTISOURCE,
    RELEASE,
    FeatureType,
    best_method,
    trained_on,
)
from cpssl_lite.book.known import CPG0012, METADATA, recognise, recognise_families
from cpssl_lite.profiles.table import feature_columns

DATA = "data"  # role of a claim about the wells alone
ABLATION = "ablation"  # role of networks that a chapter trains itself
RELEASED = "released tables"  # role of a claim about the tables themselves
# Features that claims name: method and architecture.
ROLES = {
    "DINO": ("DINO", "ViT-S"),
    "MAE": ("MAE", "ViT-S"),
    "SimCLR": ("SimCLR", "ViT-S"),
    "DINO ViT-B": ("DINO", "ViT-B"),
    "Transfer": ("Transfer", "ViT-S"),
    "Transfer ViT-B": ("Transfer", "ViT-B"),
    "CellProfiler": ("CellProfiler", ""),
}
LABELS = ("", "Metadata_Target", "target", "Metadata_GeneGroup", "gene_group")  # the paper's
MOST_SELECTED = 560  # CellProfiler's features that the paper uses


@dataclass(frozen=True)
class Evidence:
    """What the numbers of a page rest on."""

    shown: str = "simulated"  # what pages call the data
    known: Mapping[str, str] = field(default_factory=dict)  # role: data set, where both fit
    unfit: Mapping[str, str] = field(default_factory=dict)  # role: why it cannot test the paper
    convention: str = ""  # of the metrics: paper (its text), released (its code)


# The counts beside the manifests, which derive_jump.py made of the consortium's tables.
METADATA_TABLES = Evidence(METADATA, {DATA: METADATA})


def find(types: Mapping[str, FeatureType], role: str) -> str | None:
    """Name of the feature type that fills a role best, whether or not it is the paper's own.

    The paper's comes first, then the right architecture, then any other; a ViT-B does not stand in
    for a ViT-S where there is another choice, and nothing stands in for a ViT-B.

    Examples
    --------
    >>> find({"Mine": FeatureType("learned", "DINO", "ViT lite")}, "DINO")
    'Mine'
    """
    method, shape = ROLES[role]
    fits = [name for name, one in types.items() if one.method == method]
    if shape == "ViT-B":
        fits = [name for name in fits if types[name].architecture == shape]

    def distance(name: str) -> tuple[bool, bool, bool]:
        one = types[name]
        return bool(misfit(one, role)), one.architecture != shape, one.architecture == "ViT-B"

    return min(fits, key=distance, default=None)


def in_order(types: Mapping[str, FeatureType]) -> dict[str, FeatureType]:
    """Feature types in the order of `ROLES`, the rest as they come after them.

    Examples
    --------
    >>> [small, large] = [FeatureType("learned", "DINO", f"ViT-{size}") for size in "SB"]
    >>> list(in_order({"DINO-ViT-B": large, "Mine": FeatureType("learned"), "DINO-ViT-S": small}))
    ['DINO-ViT-S', 'DINO-ViT-B', 'Mine']
    """

    def place(name: str) -> int:
        one = types[name]
        fits = [method == one.method and shape in ("", one.architecture)
                for method, shape in ROLES.values()]  # fmt: skip
        return [*fits, True].index(True)

    return {name: types[name] for name in sorted(types, key=place)}


def misfit(one: FeatureType, role: str) -> str:
    """Why features are not those that the paper means by a role; "" where they are."""
    method, shape = ROLES[role]
    if one.method != method:
        return f"{one.method or 'unknown'} features"
    if one.kind == "measured":
        real = one.origin in (RELEASE, GALLERY)
        return "" if real else "nothing says that CellProfiler's own table was fetched"
    if one.origin == GIVEN:
        return "nothing says where these features come from"
    if one.architecture != shape:
        return f"{one.architecture or 'unknown network'} in the place of {shape}"
    if one.kind == "learned" and one.trained_on != MULTISOURCE:
        return f"trained on {one.trained_on or 'what nothing tells'}, not on {MULTISOURCE}"
    return ""


def gather(
    tables: Mapping[str, pd.DataFrame],
    types: Mapping[str, FeatureType],
    shown: str,
    simulated: bool,
    *,
    convention: str = "",
    raw: bool = False,
    methods: Mapping[str, str] | None = None,
    label: str = "",
    families: str | Path = "",
    data: tuple[str, str] | None = None,
    trained: Iterable[str] = (),
) -> Evidence:
    """What the numbers of a page rest on.

    Parameters
    ----------
    tables, types
        Raw profiles with their roles assigned, and what they are, by name.
    shown
        What pages call the data.
    simulated
        Drawn data test nothing that the paper says, whatever their plates are called.
    convention
        Of the metrics.
    raw
        The page needs features that nobody has normalised yet, and normalises them in every way.
    methods
        How each table is normalised [default: as the paper did]; another way is another number.
    label
        Column of labels that was asked for; one that the paper did not use is another question.
    families
        Table of gene groups that labels come from, where they do.
    data
        The data set and what does not fit, where more than the wells was looked at.
    trained
        Networks on images that were trained here as they were published.
    """
    if simulated:
        return Evidence(shown, {}, {}, convention)
    known: dict[str, str] = {}
    unfit: dict[str, str] = {}
    sets = {name: data or recognise(wells) for name, wells in tables.items()}
    other = "" if label in LABELS else f"labels are those of the column {label}"
    if why := other or (recognise_families(families) if families else ""):
        sets = dict.fromkeys(sets, ("", why))
    for role in ROLES:
        name = find(types, role)
        if name is None:
            unfit[role] = f"no {role} features"
            continue
        what, why = sets[name]
        why = why or misfit(types[name], role)
        if not why and role == "CellProfiler" and types[name].origin == GALLERY:
            n = len(feature_columns(tables[name]))
            if what != CPG0012 and n > MOST_SELECTED:
                why = f"{n:,} features, not the selected {MOST_SELECTED}"
        if not why and raw and types[name].origin == RELEASE:
            why = "normalised by the authors already"
        done = best_way(types[name])
        if not why and not raw and methods and methods.get(name, done) != done:
            why = f"normalised by {methods[name]}, not by {done}"
        if why:
            unfit[role] = why
        else:
            known[role] = what
    for role, of in ((DATA, list(tables)), (RELEASED, _released(types))):
        found = [sets[name] for name in of if sets[name][0]]
        if found:
            known[role] = found[0][0]
        else:
            unfit[role] = next((sets[name][1] for name in of), "no table of the authors' release")
    known |= {role: known[DATA] for role in trained if DATA in known}
    return Evidence(shown, known, unfit, convention)


def best_way(one: FeatureType) -> str:
    """How the paper normalised such features; the released ones come normalised."""
    return "none" if one.origin == RELEASE else best_method(one.kind)


def of_training(scored: pd.DataFrame, training: pd.DataFrame, network: str, shown: str) -> Evidence:
    """What a training rests on: images it was scored on, those it learned from, its network."""
    drawn = any("simulated" in set(t.get("Metadata_Origin", ())) for t in (scored, training))
    if drawn or shown.startswith("simulated"):
        return Evidence(shown)
    what, why = recognise(scored)
    plates = {"plates": set(training["Metadata_Plate"]), "fields": len(training)}
    if not why and trained_on({"data": plates}) != MULTISOURCE:
        why = f"not trained on {MULTISOURCE}"
    if not why and (shape := architecture(network)) != "ViT-S":
        why = f"{shape} in the place of ViT-S"
    return Evidence(shown, {} if why else {ABLATION: what}, {ABLATION: why} if why else {})


def _released(types: Mapping[str, FeatureType]) -> list[str]:
    return [name for name, one in types.items() if one.origin == RELEASE]
