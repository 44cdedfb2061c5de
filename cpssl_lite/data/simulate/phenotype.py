"""What a cell can look like: named parameters, and the directions that treatments move them in."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np


def _ratio(control: float, step: float, low: float, high: float, cell: float = 0.0) -> float:
    """Declare a parameter that a treatment multiplies: one step is a factor of 2**step."""
    return field(
        default=control, metadata={"ratio": True, "step": step, "range": (low, high), "cell": cell}
    )


def _shift(control: float, step: float, low: float, high: float, cell: float = 0.0) -> float:
    """Declare a parameter that a treatment adds to: one step is `step`."""
    return field(
        default=control, metadata={"ratio": False, "step": step, "range": (low, high), "cell": cell}
    )


@dataclass(frozen=True)
class Phenotype:
    """Cells of one well; the defaults are those of untreated cells.

    Each declaration reads: value in control wells, what one step of a treatment does (a
    doubling exponent for ratios, a difference for shifts), lowest and highest value, and
    the spread from cell to cell in the same unit as the step.

    Sizes are relative areas, amounts are relative intensities, elongations are long over
    short axis, shares are fractions of cells, and `cell_count` is cells per 256 x 256 px.
    """

    nucleus_size: float = _ratio(1.0, 0.35, 0.4, 3.0, 0.18)
    nucleus_elongation: float = _ratio(1.36, 0.25, 1.0, 2.6, 0.15)
    nucleus_irregularity: float = _shift(0.045, 0.06, 0.0, 0.3, 0.015)
    dna_amount: float = _ratio(1.0, 0.40, 0.3, 3.0, 0.16)
    chromatin_contrast: float = _ratio(0.17, 0.80, 0.02, 1.0, 0.12)
    chromatin_grain: float = _ratio(1.0, 0.50, 0.4, 2.5, 0.08)
    nucleolus_count: float = _ratio(5.0, 0.70, 0.2, 12.0, 0.30)
    nucleolus_size: float = _ratio(1.0, 0.60, 0.3, 4.0, 0.20)
    nucleolus_rna: float = _ratio(1.0, 0.80, 0.0, 3.5, 0.15)
    cell_size: float = _ratio(1.0, 0.45, 0.35, 3.0, 0.25)
    cell_elongation: float = _ratio(2.05, 0.40, 1.0, 5.0, 0.35)
    cell_irregularity: float = _ratio(1.0, 0.60, 0.2, 2.2, 0.25)
    clumping: float = _shift(1.5, 1.0, 0.0, 4.0)
    er_amount: float = _ratio(1.0, 0.60, 0.2, 4.0, 0.20)
    er_spread: float = _ratio(1.0, 0.60, 0.3, 4.0, 0.12)
    er_texture: float = _ratio(0.20, 0.90, 0.02, 1.5, 0.15)
    rna_amount: float = _ratio(1.0, 0.60, 0.2, 4.0, 0.18)
    rna_texture: float = _ratio(0.09, 1.00, 0.01, 0.9, 0.15)
    agp_amount: float = _ratio(1.0, 0.50, 0.2, 4.0, 0.16)
    actin_edge: float = _ratio(1.0, 0.90, 0.0, 5.0, 0.25)
    actin_fibres: float = _ratio(1.0, 1.00, 0.0, 6.0, 0.40)
    golgi_amount: float = _ratio(1.0, 0.80, 0.0, 4.0, 0.35)
    golgi_spread: float = _ratio(1.0, 0.80, 0.3, 5.0, 0.20)
    mito_amount: float = _ratio(1.0, 0.70, 0.1, 4.0, 0.24)
    mito_spread: float = _ratio(1.0, 0.70, 0.3, 4.0, 0.20)
    mito_fragmentation: float = _shift(0.25, 0.35, 0.0, 1.0, 0.12)
    vacuoles: float = _shift(0.03, 0.35, 0.0, 1.0, 0.05)
    binucleate_share: float = _shift(0.03, 0.18, 0.0, 0.8)
    mitotic_share: float = _shift(0.03, 0.10, 0.0, 0.5)
    dead_share: float = _shift(0.012, 0.06, 0.0, 0.5)
    cell_count: float = _ratio(8.5, 0.55, 1.0, 22.0)

    def moved(self, steps: Mapping[str, float]) -> "Phenotype":
        """Return this phenotype with each named parameter moved by so many steps."""
        meta = {f.name: f.metadata for f in fields(self)}
        values = {}
        for name, steps_taken in steps.items():
            m, now = meta[name], getattr(self, name)
            change = m["step"] * float(steps_taken)
            value = now * 2.0**change if m["ratio"] else now + change
            values[name] = float(min(max(value, m["range"][0]), m["range"][1]))
        return replace(self, **values)

    def cells(self, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw each parameter for `n` cells: name to float64 array of shape (n,)."""
        drawn = {}
        for f in fields(self):
            low, high = f.metadata["range"]
            noise = rng.standard_normal(n) * f.metadata["cell"]
            mean = getattr(self, f.name)
            values = mean * np.exp2(noise) if f.metadata["ratio"] else mean + noise
            drawn[f.name] = np.clip(values, low, high)
        return drawn


NAMES: tuple[str, ...] = tuple(f.name for f in fields(Phenotype))
# All but the number of cells, which is an axis of its own: some treatments move it, most do not.
SHAPE: tuple[str, ...] = tuple(name for name in NAMES if name != "cell_count")
CONTROL = Phenotype()

# Mechanism-like directions, in steps. The names say what a microscopist would guess; they
# are plausible caricatures, not measurements.
MECHANISMS: dict[str, dict[str, float]] = {
    "microtubules": {
        "nucleus_irregularity": 1.5, "mitotic_share": 1.0, "golgi_spread": 1.2,
        "mito_spread": -1.0, "cell_elongation": -1.0,
    },
    "actin polymerisation": {
        "actin_fibres": -2.0, "actin_edge": 1.0, "cell_irregularity": 1.3, "cell_size": -0.5,
    },
    "DNA damage": {
        "nucleus_size": 1.3, "chromatin_contrast": -0.8, "nucleolus_count": -1.0, "cell_size": 0.8,
    },
    "ER stress": {
        "er_texture": 1.5, "er_amount": 0.6, "er_spread": -1.0, "vacuoles": 0.6,
        "rna_amount": -0.4,
    },
    "mitochondrial uncoupling": {
        "mito_fragmentation": 1.8, "mito_spread": -0.8, "mito_amount": -0.6,
    },
    "Golgi transport": {"golgi_spread": 2.0, "golgi_amount": -0.8, "er_amount": 0.5},
    "transcription": {
        "nucleolus_count": -1.5, "nucleolus_size": 0.8, "nucleolus_rna": -1.0, "rna_amount": -0.7,
        "chromatin_grain": 0.8,
    },
    "ribosome": {"rna_amount": -0.8, "nucleolus_size": 1.5, "rna_texture": 0.8},
    "histone deacetylation": {
        "chromatin_contrast": -1.3, "chromatin_grain": 1.0, "nucleus_size": 0.7,
        "cell_elongation": 1.0, "actin_fibres": 0.8,
    },
    "cytokinesis": {
        "binucleate_share": 2.0, "nucleus_size": 0.8, "cell_size": 1.2,
    },
    "proteasome": {
        "rna_texture": 1.4, "golgi_spread": -1.2, "nucleus_irregularity": 0.8, "dead_share": 0.7,
    },
    "lysosome": {"vacuoles": 1.8, "er_texture": -0.6, "golgi_amount": 0.6},
    "Rho kinase": {
        "actin_fibres": -1.4, "cell_elongation": 1.5, "cell_irregularity": 1.0, "actin_edge": -0.7,
    },
    "growth factor receptor": {
        "cell_size": -0.8, "rna_amount": -0.5, "mito_spread": 1.0, "golgi_amount": -0.7,
    },
    "lipid synthesis": {
        "er_spread": 1.4, "er_texture": -1.0, "actin_edge": -0.8, "agp_amount": 0.6,
    },
    "mTOR": {
        "cell_size": -0.7, "nucleolus_size": -1.2, "mito_fragmentation": -0.8, "mito_amount": 0.7,
        "nucleus_size": -0.5,
    },
}  # fmt: skip


def random_direction(rng: np.random.Generator, n_parameters: int = 4) -> dict[str, float]:
    """Draw a direction that moves a few of SHAPE, with length 2.2 steps (like MECHANISMS)."""
    chosen = rng.choice(len(SHAPE), size=n_parameters, replace=False)
    steps = rng.standard_normal(n_parameters)
    steps = steps * (2.2 / max(float(np.sqrt(np.sum(steps**2))), 0.3))
    return {SHAPE[i]: float(s) for i, s in zip(chosen, steps, strict=True)}


def add(*directions: tuple[float, Mapping[str, float]]) -> dict[str, float]:
    """Weighted sum of directions; parameters that nobody moves are left out."""
    total: dict[str, float] = {}
    for weight, direction in directions:
        for name, steps in direction.items():
            total[name] = total.get(name, 0.0) + weight * steps
    return {name: steps for name, steps in total.items() if steps != 0.0}
