"""What differs between wells that is not biology: sources, batches, plates and positions."""

from dataclasses import replace

import numpy as np

from cpssl_lite.data.simulate.layout import Screen, Well
from cpssl_lite.data.simulate.library import generator
from cpssl_lite.data.simulate.optics import Optics
from cpssl_lite.data.simulate.phenotype import CONTROL, NAMES, Phenotype, add

# How far (in steps) a source, a batch, a plate and a well move every phenotype parameter, and
# how far they move the optics, at strength 1.
BIOLOGY = {"source": 0.22, "batch": 0.18, "plate": 0.05, "well": 0.07}
MICROSCOPE = {"source": 1.0, "batch": 0.5, "plate": 0.15}
DOSE = 0.15  # standard deviation of log2 of a compound's dose from batch to batch


def _steps(
    rng: np.random.Generator, spread: float, density: float, shares: float
) -> dict[str, float]:
    """Random steps of every parameter; density varies more between wells and runs, shares less."""
    steps = dict(zip(NAMES, (spread * rng.standard_normal(len(NAMES))).tolist(), strict=True))
    steps["cell_count"] *= density
    for name in ("binucleate_share", "dead_share", "mitotic_share"):
        steps[name] *= shares
    return steps


def _shift(seed: int, level: str, name: str) -> tuple[dict[str, float], np.ndarray]:
    """Steps of the phenotype and of the optics that a source, batch or plate has for itself."""
    rng = generator(seed, level, name)
    return _steps(rng, BIOLOGY[level], 2.0, 0.3), MICROSCOPE[level] * rng.standard_normal(20)


def optics(screen: Screen, seed: int, well: Well) -> Optics:
    """Optics of a plate: those of its source, moved by its batch and a little by itself."""
    moved = Optics().moved(_shift(seed, "source", well.source)[1], screen.source_strength)
    off = generator(seed, "centre", well.source).standard_normal(2)
    off = np.clip(0.12 * screen.source_strength * off, -0.4, 0.4)
    moved = replace(moved, centre=(0.5 + float(off[0]), 0.5 + float(off[1])))
    moved = moved.moved(_shift(seed, "batch", well.batch)[1], screen.batch_strength)
    return moved.moved(_shift(seed, "plate", well.plate)[1], screen.batch_strength)


def position(screen: Screen, seed: int, well: Well) -> tuple[dict[str, float], float, float]:
    """Steps, relative stain and relative blur of a well by where it lies on the plate.

    Wells at the edge dry out (fewer, larger cells, brighter stain), pipetting leaves a
    gradient along the columns and a plate that is not level one of focus along the rows.
    Slopes belong to the batch (same robot, same day) and a little to the plate.
    """
    by_batch, by_plate = (
        generator(seed, "gradient", name).standard_normal(3) for name in (well.batch, well.plate)
    )
    slope, tilt, focus = 0.55 * by_batch + 0.25 * by_plate
    strength = screen.batch_strength
    # From the middle of the plate, -0.5 to 0.5, and how many of its edges the well touches.
    down, across = (well.row + 0.5) / screen.rows - 0.5, (well.column + 0.5) / screen.columns - 0.5
    edges = int(well.row in (0, screen.rows - 1)) + int(well.column in (0, screen.columns - 1))
    steps = {
        "cell_count": strength * (1.0 * slope * across + 0.5 * tilt * down - 0.25 * edges),
        "cell_size": strength * (0.15 * edges - 0.2 * slope * across),
        "mito_amount": strength * 0.4 * tilt * down,
    }
    stain = 2.0 ** (strength * (0.5 * slope * across + 0.06 * edges))
    return steps, float(stain), float(2.0 ** (strength * 0.35 * focus * down))


def of_well(screen: Screen, seed: int, well: Well) -> tuple[Phenotype, Optics]:
    """Phenotype of a well's cells, and the optics that it is seen through."""
    where, stain, blur = position(screen, seed, well)
    treated: dict[str, float] = {}
    if well.perturbation:
        # No two batches see quite the same dose.
        chance = generator(seed, "dose", well.batch, well.perturbation.name).standard_normal()
        dose = float(np.exp2(DOSE * screen.batch_strength * chance))
        treated = well.perturbation.steps(screen.phenotype_strength * dose, screen.count_strength)
    shared = add(  # the cells of that laboratory in that week
        (screen.source_strength, _shift(seed, "source", well.source)[0]),
        (screen.batch_strength, _shift(seed, "batch", well.batch)[0]),
        (screen.batch_strength, _shift(seed, "plate", well.plate)[0]),
    )
    own = _steps(generator(seed, "well", well.plate, well.name), BIOLOGY["well"], 3.0, 0.5)
    phenotype = CONTROL.moved(add((1.0, own), (1.0, shared), (1.0, where), (1.0, treated)))
    plate = optics(screen, seed, well)
    gain = tuple(g * stain for g in plate.gain)
    return phenotype, replace(plate, gain=gain, blur=tuple(b * blur for b in plate.blur))
