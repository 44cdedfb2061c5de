"""Which well of which plate holds what: the parameters of a screen and its layout."""

from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

from cpssl_lite.base.errors import InputError
from cpssl_lite.data.simulate.library import Perturbation, compounds, generator, genes


@dataclass(frozen=True)
class Screen:
    """Parameters of a simulated screen; the defaults are those of `lite`."""

    library: str = "lite"
    n_sources: int = 2
    n_batches: int = 2  # per source
    n_plates: int = 2  # per batch
    first_plate: int = 1  # number of a batch's first plate: other numbers are other plates
    rows: int = 8
    columns: int = 12
    control_columns: tuple[int, ...] = (1, 5, 8, 12)  # DMSO wells, the same on every plate
    n_sites: int = 2  # fields a well
    size: int = 256  # px
    n_targets: int = 32
    n_compounds: int = 2  # per target (reagents per gene in library "orf")
    families: tuple[int, ...] = (4, 4, 5, 5, 6, 8)  # genes per family, library "orf" only
    labelled: bool = True  # False: the image table does not tell targets
    batch_strength: float = 1.0  # batches, plates and well positions; 0 is none
    source_strength: float = 1.0
    phenotype_strength: float = 1.0
    count_strength: float = 0.7  # of what treatments do to the number of cells
    raw_wells: int = 0  # so many wells a plate are also stored as raw single channels

    @property
    def sites(self) -> range:
        """Numbers of a well's fields."""
        return range(1, self.n_sites + 1)


SCREENS = {
    "lite": Screen(),
    "lite-train": Screen(
        library="train",
        first_plate=11,
        n_targets=128,
        count_strength=1.0,
        labelled=False,
    ),
    "lite-orf": Screen(library="orf", first_plate=21),
    "tiny": Screen(
        n_sources=1, n_plates=1, rows=2, columns=6, control_columns=(1, 5), n_sites=1, n_targets=4
    ),
}


@dataclass(frozen=True)
class Well:
    """A well of a plate and what is in it."""

    source: str
    batch: str
    plate: str
    row: int
    column: int
    perturbation: Perturbation | None  # None is DMSO
    raw: bool  # also stored as raw single channels

    @property
    def name(self) -> str:
        """Row letter and two-digit column, A01 first."""
        return f"{'ABCDEFGHIJKLMNOP'[self.row]}{self.column + 1:02d}"


def choose(name: str, seed: int, workers: int, overrides: dict[str, Any]) -> Screen:
    """Return the named screen with its overrides, checked."""
    if name not in SCREENS:
        raise InputError(f"no simulated screen {name!r}; there are {', '.join(SCREENS)}")
    known = [f.name for f in fields(Screen)]
    if unknown := sorted(set(overrides) - set(known)):
        raise InputError(
            f"screen {name}: no parameter {unknown[0]!r}; there are {', '.join(known)}"
        )
    for key, value, least in (("seed", seed, 0), ("workers", workers, 1)):
        if type(value) is not int or value < least:
            raise InputError(
                f"screen {name}: {key} must be an integer of {least} or more, got {value!r}"
            )
    overrides = {k: tuple(v) if isinstance(v, list) else v for k, v in overrides.items()}
    for key, value in overrides.items():
        if wanted := _wanted(key, value):
            raise InputError(f"screen {name}: {key} must be {wanted}, got {value!r}")
    screen = replace(SCREENS[name], **overrides)
    if screen.size % 4:
        raise InputError(f"screen {name}: size must be a multiple of 4, got {screen.size}")
    if not set(screen.control_columns) < set(range(1, screen.columns + 1)):
        raise InputError(
            f"screen {name}: control_columns must be some of 1 to {screen.columns},"
            f" got {screen.control_columns}"
        )
    return screen


LIMITS = {"size": (64, 2048), "rows": (1, 16), "columns": (1, 99), "raw_wells": (0, 1536)}


def _wanted(key: str, value: Any) -> str:
    """What a parameter has to be, where it is something else; "" where it is right."""
    if key == "library":
        return "" if isinstance(value, str) and value else "a word"
    if key == "labelled":
        return "" if isinstance(value, bool) else "true or false"
    if key in ("control_columns", "families"):
        numbers = isinstance(value, tuple) and all(type(v) is int and v > 0 for v in value)
        return "" if numbers and (value or key != "families") else "a list of numbers"
    kind = (int, float) if key.endswith("_strength") else (int,)
    if isinstance(value, bool) or not isinstance(value, kind):
        return "a number"
    low, high = LIMITS.get(key, (0, 10) if float in kind else (1, 1000))
    return "" if low <= value <= high else f"{low} to {high}"


def as_parameters(screen: Screen) -> dict[str, Any]:
    """Parameters as YAML has them (lists, no tuples)."""
    return {
        k: list(v) if isinstance(v, tuple) else float(v) if k.endswith("_strength") else v
        for k, v in asdict(screen).items()
    }


def library(screen: Screen, seed: int) -> list[Perturbation]:
    """All perturbations that the screen tests."""
    if screen.library == "orf":
        return genes(seed, screen.families, screen.n_compounds)
    return compounds(seed, screen.n_targets, screen.n_compounds, screen.library)


def layout(screen: Screen, seed: int) -> list[Well]:
    """All wells, plate by plate.

    Controls lie in the same columns everywhere; treated wells are shuffled anew for every
    batch, and the plates of a batch share that layout, as replicate plates do. If the
    library has more compounds than a plate has room for, plates take turns; if it has
    fewer, compounds have several wells.
    """
    tested = library(screen, seed)
    places = list(product(range(screen.rows), range(screen.columns)))
    treated = [(r, c) for r, c in places if c + 1 not in screen.control_columns]
    wells, number = [], 0
    for s in range(1, screen.n_sources + 1):
        for b in range(1, screen.n_batches + 1):
            source, batch = f"source_{s}", f"S{s}-B{b}"
            order = generator(seed, "layout", screen.library, batch).permutation(len(treated))
            for p in range(screen.first_plate, screen.first_plate + screen.n_plates):
                first = number * len(treated)
                number += 1
                at = {treated[k]: tested[(first + i) % len(tested)] for i, k in enumerate(order)}
                for i, (r, c) in enumerate(places):
                    raw = i < screen.raw_wells
                    plate = f"{batch}-P{p:02d}"
                    wells.append(Well(source, batch, plate, r, c, at.get((r, c)), raw))
    return wells


def merged_file(well: Well, site: int) -> str:
    """Path of a field, relative to the data set."""
    return f"images/{well.plate}/{well.name}_s{site}.tiff"


def raw_file(well: Well, site: int, channel: str) -> str:
    """Path of a raw single-channel image, relative to the data set."""
    return f"raw/{well.plate}/{well.name}_s{site}_{channel}.tiff"
