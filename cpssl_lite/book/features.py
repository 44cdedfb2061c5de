"""What the chapters compare: raw well profiles of several feature types of one screen.

They come from images (each network's features are made here and kept beside the images), from
profile tables, or from the authors' release.
"""

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.book.evidence import Evidence, find, gather, in_order
from cpssl_lite.book.figures import architecture
from cpssl_lite.book.kinds import HERE, FeatureType, best_method, type_of, type_of_card
from cpssl_lite.book.methods import ask_first, methods_of, named
from cpssl_lite.book.truth import true_phenotype
from cpssl_lite.book.wells import complete
from cpssl_lite.data.simulate.layout import SCREENS
from cpssl_lite.data.simulate.screen import simulate
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder, random_like
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.transfer import load_transfer
from cpssl_lite.profiles.cellprofiler_style import cellprofiler_style
from cpssl_lite.profiles.extract import extract_many
from cpssl_lite.profiles.find import find_tables, name_genes, release_tables
from cpssl_lite.profiles.normalize import normalize
from cpssl_lite.profiles.select import drop_missing, drop_outliers
from cpssl_lite.profiles.table import assign_roles, feature_columns, read_profiles

log = logging.getLogger(__name__)

RANDOM_WEIGHTS = "Random weights"
MEASURED = "CellProfiler-style"
CEILING = "True phenotype (ceiling)"
_RESERVED = (RANDOM_WEIGHTS, MEASURED, CEILING, "Random features", "Shuffled labels")


@dataclass
class Features:
    """Raw profiles by feature type, and what a chapter has to say about them."""

    raw: dict[str, pd.DataFrame]  # as `read_profiles` returns them, roles assigned
    methods: dict[str, str]  # how each one is normalised
    types: dict[str, FeatureType]  # what each one is, whatever it is called
    simulated: bool
    data_kind: str  # "simulated", or the name of the real data: what figures say
    made_from: dict[str, Any]  # data and checkpoints, for `provenance.show(**made_from)`
    label: str = ""  # column of labels that was asked for, "" for the usual one
    image_table: Path | None = None  # None where profiles were given
    images: pd.DataFrame | None = None

    def normalized(self) -> dict[str, pd.DataFrame]:
        """Every feature type normalised in its way (`normalized`)."""
        return {
            name: normalized(wells, self.types[name].kind, self.methods[name])
            for name, wells in self.raw.items()
        }

    def find(self, role: str) -> str | None:
        """Name of the feature type that fills a role of `evidence.ROLES` best, if there is one."""
        return find(self.types, role)

    def measured(self) -> str | None:
        """Name of CellProfiler's table, else of another one of measured features, if any."""
        rest = (name for name, one in self.types.items() if one.kind == "measured")
        return self.find("CellProfiler") or next(rest, None)

    def shape(self, name: str) -> str:
        """Which of `figures.ARCHITECTURES` made a feature type, or a chapter's own baseline."""
        one = self.types.get(name)
        if one is None:
            return architecture(name)
        fixed = {"measured": "segmentation", "drawn": "truth"}
        nameless = "chance" if one.kind == "baseline" else "other"
        return fixed.get(one.kind) or one.architecture or nameless

    def evidence(self, convention: str = "", **options: Any) -> Evidence:
        """What numbers from these features rest on; `raw` and `families` as for `gather`."""
        about = (self.raw, self.types, self.data_kind, self.simulated)
        options |= {"methods": self.methods, "label": self.label}
        return gather(*about, convention=convention, **options)


def load_features(
    data: str | Path = "lite",
    profiles: Mapping[str, str | Sequence[str]] | str | None = None,
    release: str | Path = "",
    release_set: str = "multisource",
    *,
    checkpoints: Mapping[str, str] | str | None = None,
    transfer: str = "",
    measured: bool = False,
    ceiling: bool = False,
    method: str | Mapping[str, str] = "",
    perturbation: str = "",
    batch: str = "",
    label: str = "",
    control: str = "",
    genes: str | Path = "",
    counts: str | Sequence[str] = "",
    data_name: str = "",
    seed: int = 0,
) -> Features:
    """Raw profiles of every feature type that a chapter's parameters ask for.

    Parameters
    ----------
    data : str or path
        A simulated screen (`SCREENS`; drawn into ``data/`` where it is missing) or an image table.
    profiles : mapping, optional
        Profile tables in the place of images: a path, a pattern or several by name (or JSON text).
    release : path, optional
        Folder of the authors' release in the place of images (see `release_tables`).
    release_set : {"multisource", "singlesource", "ORF"}
        Which of its embeddings.
    checkpoints : mapping, optional
        Networks beside the shipped DINO, MAE and SimCLR; one of their names replaces it.
    transfer : {"", "stand-in", "ViT-S/16", "ViT-B/16"}
        Network that knows photographs only; "" leaves it out.
    measured : bool
        Also features measured on segmented cells (minutes where they are not kept).
    ceiling : bool
        Also what the wells were drawn with (`true_phenotype`), where the data are drawn.
    method : str or mapping
        One normalisation for all, or one by name (`methods_of`; or JSON text) [default:
        `best_method` of each; of the release, which its authors normalised, none].
    perturbation, batch, label, control : str
        Columns, if they have other names (`assign_roles`).
    genes : path, optional
        Table that names the gene of each perturbation, for tables that do not (`name_genes`).
    counts : path or paths, optional
        Tables that count cells, for tables that do not (`wells.complete`).
    data_name : str
        What to call real data [default: the folder of the table; JUMP-CP and the set's name for
        the release]. Simulated tables say so themselves and are always called simulated.
    seed : int
        Of the random weights.

    Raises
    ------
    InputError
        Two places to take features from, names that are not there or taken, unreadable input.
    """
    if profiles and release:
        raise InputError("profiles and release: give one of them, not both")
    if release:
        tables: dict[str, list[str]] = release_tables(release, release_set)
        method, data_name = method or "none", data_name or f"JUMP-CP {release_set}"
    else:
        tables = find_tables(named(profiles, "profiles"))
    images, table = None, None
    roles = {"perturbation": perturbation, "batch": batch, "label": label, "control": control}
    given = {role: column or None for role, column in roles.items()}
    if tables:
        raw = {name: read_profiles(paths) for name, paths in tables.items()}
        types = {name: type_of(paths, raw[name]) for name, paths in tables.items()}
        if release:  # the paper's main networks first, whatever the alphabet says
            types = in_order(types)
            raw = {name: raw[name] for name in types}
        made_from: dict[str, Any] = {
            "data": {name: Path(paths[0]).parent for name, paths in tables.items()}
        }
    else:
        files = _networks(named(checkpoints, "checkpoints"))
        networks = networks_of(files, transfer, seed)
        table = _image_table(data)  # last: a screen may be drawn for it
        images, folder = read_image_table(table), _profiles_of(table)
        others = {MEASURED: FeatureType("measured")} if measured else {}
        others |= {CEILING: FeatureType("drawn", origin=HERE)} if ceiling else {}
        ask_first(images, networks, method, others, **given)
        raw, types = extracted(images, folder, networks)
        if measured:
            out = folder / f"{MEASURED}.parquet"
            raw[MEASURED] = read_profiles(cellprofiler_style(images, out))
            types[MEASURED] = type_of([out], raw[MEASURED])
        truth = true_phenotype(table) if ceiling else None
        if truth is not None:
            raw[CEILING], types[CEILING] = truth, FeatureType("drawn", origin=HERE)
        made_from = {"data": table, "checkpoint": files}
    raw = {name: assign_roles(wells, **given) for name, wells in raw.items()}
    if genes:
        raw = {name: name_genes(wells, genes) for name, wells in raw.items()}
    raw = complete(raw, counts)
    # Simulated tables say so in a column that goes along into every table made from them. One
    # among others is enough: its numbers must not pass for those of real cells.
    simulated = any("simulated" in set(t.get("Metadata_Origin", ())) for t in raw.values())
    if simulated and table and (table.parent / "dataset.yaml").is_file():
        made_from["data"] = table.parent / "dataset.yaml"
    if not data_name:
        folder = Path(table or next(iter(tables.values()))[0]).resolve().parent
        # The authors' layout has a folder for each method.
        data_name = (folder.parent if folder.name in raw else folder).name
    return Features(
        raw=raw,
        methods=methods_of(raw, types, method),
        types=types,
        simulated=simulated,
        data_kind="simulated" if simulated else data_name,
        made_from=made_from,
        label=label,
        image_table=table,
        images=images,
    )


def normalized(wells: pd.DataFrame, kind: str, method: str = "") -> pd.DataFrame:
    """Raw profiles of a kind of features, normalised [default: as the paper chose for it].

    Measured and transferred features that run away when they are divided by a tiny MAD are left
    out (`drop_outliers`): a handful of them would be all that a distance sees. Other steps
    leave no scale on which a number is too large. Measured features that are not defined in every
    well (`drop_missing`) are left out first; nothing is guessed in their place.
    """
    method = method or best_method(kind)
    if kind == "measured":
        before, wells = len(feature_columns(wells)), drop_missing(wells)
        if lost := before - len(feature_columns(wells)):
            features = counted(before, "feature")
            log.warning("%d of %s left out, not defined in every well", lost, features)
    table = normalize(wells, method)
    last = method.split("+")[-1].partition("@")[0]
    runs_away = kind in ("measured", "transferred") and last == "mad_robustize"
    return drop_outliers(table) if runs_away else table


def random_features(wells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The same wells with features that cannot know anything (standard normal)."""
    wells, features = wells.copy(), feature_columns(wells)
    wells[features] = rng.normal(size=wells[features].shape)
    return wells


def networks_of(
    files: Mapping[str, str | Path], transfer: str = "", seed: int = 0
) -> dict[str, Encoder]:
    """Networks by name: those of the files, the one called DINO with random weights, transfer."""
    networks = {name: load_encoder(path) for name, path in files.items()}
    networks[RANDOM_WEIGHTS] = random_like(networks["DINO"], seed)
    if transfer:
        natural = load_transfer(transfer)
        networks[natural.card["name"]] = natural
    return networks


def _image_table(data: str | Path) -> Path:
    """Path of an image table; a simulated screen is drawn where it is missing."""
    if data in SCREENS:
        return simulate(str(data), Path("data") / data)
    if not Path(data).is_file():
        raise InputError(
            f"data {str(data)!r}: is neither an image table nor a simulated screen "
            f"({', '.join(SCREENS)})"
        )
    return Path(data)


def _profiles_of(table: Path) -> Path:
    """Where profiles of an image table are kept: beside it, or in runs/ where that is read-only."""
    beside = table.parent / "profiles"
    if os.access(beside if beside.is_dir() else table.parent, os.W_OK):
        return beside
    key = hashlib.sha256(str(table.resolve()).encode()).hexdigest()[:8]
    return Path("runs") / "profiles" / f"{table.resolve().parent.name}-{key}"


def _networks(checkpoints: Mapping[str, str]) -> dict[str, str | Path]:
    for name, file in checkpoints.items():
        if name in _RESERVED:
            raise InputError(f"checkpoints: the name {name!r} is taken; choose another")
        if not isinstance(file, str | Path):
            raise InputError(f"checkpoints {name}: is {file!r}, expected the name of a file")
    return {**SHIPPED, **checkpoints}


def extracted(
    images: pd.DataFrame, folder: Path, networks: Mapping[str, Encoder]
) -> tuple[dict[str, pd.DataFrame], dict[str, FeatureType]]:
    """Profiles by network and what they are; finished tables are kept in the folder."""
    for name, network in networks.items():
        for note in network.card.get("notes", []):
            log.warning("%s: %s", name, note)
    outs: dict[Path, Encoder] = {}
    for name, network in networks.items():
        out = folder / (re.sub(r"[^\w.-]+", "_", name).strip("_") + ".parquet")
        if out.name.casefold() in (other.name.casefold() for other in outs):
            raise InputError(f"checkpoints: {name!r} and another name both give {out.name}")
        outs[out] = network
    raw = dict(zip(networks, map(read_profiles, extract_many(images, outs)), strict=True))
    return raw, {name: type_of_card(network.card) for name, network in networks.items()}
