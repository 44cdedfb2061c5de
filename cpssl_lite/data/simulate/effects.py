"""What differs between wells that is not biology: sources, batches, plates and positions."""

from dataclasses import replace

import numpy as np

from cpssl_lite.data.simulate.layout import Screen, Well
from cpssl_lite.data.simulate.library import generator
from cpssl_lite.data.simulate.optics import Optics
from cpssl_lite.data.simulate.phenotype import CONTROL, NAMES, Phenotype, add

# How far (in steps) a source, a batch, a plate and a well move every phenotype parameter, and
# how far they move the optics, at strength 1.
BIOLOGY = {"source": 0.22, "batch": 0.18, "plate": 0.05, "well": 0.10}
MICROSCOPE = {"source": 1.0, "batch": 0.5, "plate": 0.15}
DOSE = 0.25  # standard deviation of log2 of a compound's dose from batch to batch


def _shift(seed: int, level: str, name: str) -> tuple[dict[str, float], np.ndarray]:
    """Steps of the phenotype and of the optics that a source, batch or plate has for itself."""
    rng = generator(seed, level, name)
    steps = dict(
        zip(NAMES, (BIOLOGY[level] * rng.standard_normal(len(NAMES))).tolist(), strict=True)
    )
    # Density varies more between runs than anything else that lives.
    steps["cell_count"] *= 2.0
    for name in ("binucleate_share", "dead_share", "mitotic_share"):
        steps[name] *= 0.3
    return steps, MICROSCOPE[level] * rng.standard_normal(20)


def optics(
    seed: int, source: str, batch: str, plate: str, source_strength: float, batch_strength: float
) -> Optics:
    """Optics of a plate: those of its source, moved by its batch and a little by itself."""
    by_source = _shift(seed, "source", source)[1]
    moved = Optics().moved(by_source, source_strength)
    off = np.clip(
        0.12 * source_strength * generator(seed, "centre", source).standard_normal(2), -0.4, 0.4
    )
    moved = replace(moved, centre=(0.5 + float(off[0]), 0.5 + float(off[1])))
    moved = moved.moved(_shift(seed, "batch", batch)[1], batch_strength)
    return moved.moved(_shift(seed, "plate", plate)[1], batch_strength)


def technical_steps(
    seed: int, source: str, batch: str, plate: str, source_strength: float, batch_strength: float
) -> dict[str, float]:
    """Steps that all wells of a plate share: the cells of that laboratory in that week."""
    return add(
        (source_strength, _shift(seed, "source", source)[0]),
        (batch_strength, _shift(seed, "batch", batch)[0]),
        (batch_strength, _shift(seed, "plate", plate)[0]),
    )


def position(
    seed: int,
    batch: str,
    plate: str,
    at: tuple[float, float],
    edges: int,
    batch_strength: float,
) -> tuple[dict[str, float], float, float]:
    """Steps, relative stain and relative blur of a well by where it lies on the plate.

    Wells at the edge dry out (fewer, larger cells, brighter stain), pipetting leaves a
    gradient along the columns and a plate that is not level one of focus along the rows.
    Slopes belong to the batch (same robot, same day) and a little to the plate.

    Parameters
    ----------
    at
        Where the well is, down and across, -0.5 to 0.5.
    edges
        Number of plate edges that the well touches.
    """
    slope, tilt, focus = 0.55 * generator(seed, "gradient", batch).standard_normal(
        3
    ) + 0.25 * generator(seed, "gradient", plate).standard_normal(3)
    down, across = at
    steps = {
        "cell_count": batch_strength * (1.0 * slope * across + 0.5 * tilt * down - 0.25 * edges),
        "cell_size": batch_strength * (0.15 * edges - 0.2 * slope * across),
        "mito_amount": batch_strength * 0.4 * tilt * down,
    }
    stain = 2.0 ** (batch_strength * (0.5 * slope * across + 0.06 * edges))
    return steps, float(stain), float(2.0 ** (batch_strength * 0.35 * focus * down))


def well_phenotype(seed: int, plate: str, well: str, *steps: dict[str, float]) -> Phenotype:
    """Phenotype of a well: controls, moved by all `steps` and by the well's own small chance."""
    rng = generator(seed, "well", plate, well)
    own = dict(
        zip(NAMES, (BIOLOGY["well"] * rng.standard_normal(len(NAMES))).tolist(), strict=True)
    )
    own["cell_count"] *= 3.0
    for name in ("binucleate_share", "dead_share", "mitotic_share"):
        own[name] *= 0.5
    return CONTROL.moved(add((1.0, own), *((1.0, s) for s in steps)))


def of_well(screen: Screen, seed: int, well: Well) -> tuple[Phenotype, Optics]:
    """Phenotype of a well's cells, and the optics that it is seen through."""
    names = (seed, well.source, well.batch, well.plate)
    strengths = (screen.source_strength, screen.batch_strength)
    at = (well.row + 0.5) / screen.rows - 0.5, (well.column + 0.5) / screen.columns - 0.5
    edges = int(well.row in (0, screen.rows - 1)) + int(well.column in (0, screen.columns - 1))
    where, stain, blur = position(seed, well.batch, well.plate, at, edges, screen.batch_strength)
    treated: dict[str, float] = {}
    if well.perturbation:
        # No two batches see quite the same dose.
        chance = generator(seed, "dose", well.batch, well.perturbation.name).standard_normal()
        dose = float(np.exp2(DOSE * screen.batch_strength * chance))
        treated = well.perturbation.steps(screen.phenotype_strength * dose)
    shared = technical_steps(*names, *strengths)
    phenotype = well_phenotype(seed, well.plate, well.name, shared, where, treated)
    plate = optics(*names, *strengths)
    gain = tuple(g * stain for g in plate.gain)
    return phenotype, replace(plate, gain=gain, blur=tuple(b * blur for b in plate.blur))
