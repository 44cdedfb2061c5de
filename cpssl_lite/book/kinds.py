"""What features are (learned, measured, ...), who made them and where they came from.

It travels with a table: in the provenance of those made here, in the authors' layout, in a card
beside others. What a table is called is for people and decides nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.yamls import read_mapping, shown
from cpssl_lite.book.figures import architecture
from cpssl_lite.data.archives import member_of
from cpssl_lite.data.manifests import FOLDER, load_manifest
from cpssl_lite.profiles.find import RELEASE_SETS
from cpssl_lite.profiles.table import feature_columns, read_provenance

# Kinds, and the normalisation that the paper chose for each (Methods, Supplementary Fig. 2). A
# baseline is treated as what it stands beside; drawn parameters have nothing to be sphered from.
KINDS = {
    "learned": "sphere+mad_robustize",
    "baseline": "sphere+mad_robustize",
    "transferred": "mad_robustize",
    "measured": "mad_robustize",
    "drawn": "mad_robustize",
}
# Ways of normalising that the authors' code knows.
WAYS = (
    "none",
    "mad_robustize",
    "standardize",
    "sphere",
    "sphere+mad_robustize",
    "sphere+standardize",
    "mad_robustize+sphere",
    "standardize+sphere",
)
RELEASE, GALLERY, HERE, GIVEN = "release", "gallery", "here", "given"
MULTISOURCE = "jump_multisource"  # manifest of what the paper's networks were trained on
# The authors' folders, by how they begin: kind and method.
FOLDERS = {
    r"dino": ("learned", "DINO"),
    r"mae": ("learned", "MAE"),
    r"simclr": ("learned", "SimCLR"),
    r"transfer": ("transferred", "Transfer"),
    r"random": ("baseline", "random features"),
    r"shuffle": ("baseline", "shuffled"),
    r"cellprofiler": ("measured", "CellProfiler"),
}
MEASURED = re.compile("Cells_|Nuclei_|Cytoplasm_")  # how CellProfiler's features are called
WIDTHS = {"ViT-S": 384, "ViT-B": 768}  # features of a network; a transferred one has five times
# Methods as cards write them.
CARDS = {"dino": "DINO", "mae": "MAE", "simclr": "SimCLR", "transfer": "Transfer"}


@dataclass(frozen=True)
class FeatureType:
    """What the features of a table are."""

    kind: str  # one of `KINDS`
    method: str = ""  # DINO, MAE, SimCLR, Transfer, CellProfiler, ...; "" where nothing says it
    architecture: str = ""  # ViT-S, ViT-B, ViT lite, ... as in `figures.ARCHITECTURES`
    trained_on: str = ""  # manifest of the images that a network learned from, where that is known
    origin: str = GIVEN  # release: the authors' very files; gallery: fetched; here: made by this


def short_way(way: str) -> str:
    """A way of normalising as tables and ticks write it.

    Examples
    --------
    >>> short_way("sphere+mad_robustize")
    'sphere + MAD'
    """
    words = {"mad_robustize": "MAD", "standardize": "stand.", "inverse_normal": "ranks"}
    for long, short in {**words, "well_position": "position", "+": " + "}.items():
        way = way.replace(long, short)
    return way


def best_method(kind: str) -> str:
    """Normalisation that the paper chose for a kind of features.

    Raises
    ------
    InputError
        No such kind: a name is none.

    Examples
    --------
    >>> best_method("learned"), best_method("measured")
    ('sphere+mad_robustize', 'mad_robustize')
    """
    if kind not in KINDS:
        raise InputError(f"kind of features {kind!r} is not one of {', '.join(KINDS)}")
    return KINDS[kind]


def type_of(paths: Sequence[str | Path], wells: pd.DataFrame) -> FeatureType:
    """What the features of a profile table are, from its files and columns.

    Parameters
    ----------
    paths
        The table's files; they must agree, or nothing but the kind is known.
    wells
        What was read from them.

    Raises
    ------
    InputError
        A card beside a table that says what is not known.
    """
    columns = feature_columns(wells)
    found = [_type_of_file(Path(path), columns) for path in paths]
    same = all(one == found[0] for one in found)
    return found[0] if same else FeatureType(found[0].kind)


def type_of_card(card: Mapping[str, Any]) -> FeatureType:
    """What features of a network are, by the card of its checkpoint."""
    method = str(card.get("method", ""))
    shape = architecture(card["architecture"]) if card.get("architecture") else ""
    if method == "random":
        return FeatureType("baseline", "random", shape, origin=HERE)
    name = CARDS.get(method.lower(), method)
    kind = "transferred" if method == "transfer" else "learned"
    return FeatureType(kind, name, shape, trained_on(card), HERE)


def _type_of_file(path: Path, columns: list[str]) -> FeatureType:
    made = read_provenance(path)
    if isinstance(card := made.get("checkpoint"), dict):
        return type_of_card(card)
    if made.get("step") == "cellprofiler_style":
        return FeatureType("measured", "CellProfiler-style", origin=HERE)
    if "feature_type" in made:
        said = _stated(made["feature_type"], str(path))
        # What the authors released is known by its digest, not by what a table says of itself.
        return replace(said, origin=GIVEN) if said.origin == RELEASE else said
    beside = path.with_suffix(".yaml")
    if beside.is_file():
        given = read_mapping(beside, "card")
        if "feature_type" in given:
            return replace(_stated(given["feature_type"], str(beside)), origin=GIVEN)
    if path.name == "well_features.csv" and (known := _of_release(path, columns)):
        return known
    if MEASURED.match(columns[0]):
        return FeatureType("measured", "CellProfiler")
    return FeatureType("learned")


def _stated(said: Any, where: str) -> FeatureType:
    allowed = FeatureType.__dataclass_fields__
    if (
        not isinstance(said, Mapping)
        or str(said.get("kind")) not in KINDS
        or set(said) - set(allowed)
    ):
        raise InputError(
            f"{where}: feature_type must be a mapping with kind ({', '.join(KINDS)}) and, "
            f"if you like, {', '.join(list(allowed)[1:4])}; got {shown(said)}"
        )
    return FeatureType(**{key: str(value) for key, value in said.items()})


def _of_release(path: Path, columns: list[str]) -> FeatureType | None:
    """By the authors' layout ``<set>/<METHOD>/well_features.csv``; None for other folders."""
    folder = path.parent.name
    found = next((t for start, t in FOLDERS.items() if re.match(start, folder, re.I)), None)
    if found is None:
        return None
    kind, method = found
    if kind in ("learned", "transferred") and MEASURED.match(columns[0]):
        return None  # no network's features, whatever the folder says
    shape = architecture(folder) if kind in ("learned", "transferred") else ""
    if shape:  # the features may say it where the folder does not, and must not contradict it
        channels = 5 if kind == "transferred" else 1
        width = 1 + max(int(number) for number in re.findall(r"\d+", " ".join(columns)) or [0])
        if shape == "other":
            shape = next(
                (n for n, w in WIDTHS.items() if 0.9 * w * channels < width <= w * channels), ""
            )
        elif width > WIDTHS.get(shape, 0) * channels:
            shape = ""
    which = path.parent.parent.name
    archives = {file["path"] for file in load_manifest("authors_release")["files"]}
    origin = RELEASE if member_of(path) in archives else GIVEN
    # Genes were shown to the networks of the multisource set: the text, "Results".
    trained = kind == "learned" and origin == RELEASE and which in RELEASE_SETS
    from_many = trained and which != "singlesource"
    return FeatureType(kind, method, shape, MULTISOURCE if from_many else "", origin)


def trained_on(card: Mapping[str, Any]) -> str:
    """The training images by content, or as a card says that somebody wrote for a foreign file."""
    if isinstance(said := card.get("trained_on"), str):
        return said
    data = card.get("data")
    if not isinstance(data, Mapping) or not data.get("plates"):
        return ""
    whole = load_manifest(MULTISOURCE)
    table = pd.read_parquet(FOLDER / whole["index"], columns=["Metadata_Plate"])
    index = set(table["Metadata_Plate"])
    plates = set(map(str, data["plates"]))
    # The paper's own list of plates is not public: nearly all of the derived ones, nearly no other.
    covered = len(plates & index) >= 0.9 * len(index) and len(plates - index) <= 0.1 * len(plates)
    enough = data.get("fields", 0) >= 0.9 * whole["n_fields"]
    return MULTISOURCE if covered and enough else ""
