"""The drawn screens that several chapters share, beside `lite` itself."""

from pathlib import Path
from typing import Any

from cpssl_lite.data.simulate.screen import simulate

# 20 compounds a target, strong effects: chosen after trials (end of the chapter on bioactivity).
ACTIVITY: dict[str, Any] = {
    "n_sources": 1,
    "n_batches": 1,
    "n_plates": 4,
    "control_columns": (4, 9),
    "n_sites": 1,
    "n_targets": 8,
    "n_compounds": 20,
    "batch_strength": 0.5,
}
# 128 genes in 25 families, every gene once in each of four batches.
GENES: dict[str, Any] = {
    "families": (*(4,) * 12, *(5,) * 6, *(6,) * 4, *(7,) * 2, 12),
    "n_compounds": 1,
    "n_sites": 1,
}


def drawn_in(name: str, seed: int = 0) -> Path:
    """Folder of a drawn screen: every seed has its own, so that a second one finds room.

    Examples
    --------
    >>> drawn_in("lite").as_posix(), drawn_in("lite", 1).as_posix()
    ('data/lite', 'data/lite-seed1')
    """
    return Path("data") / (f"{name}-seed{seed}" if seed else name)


def activity_screen(seed: int = 0) -> Path:
    """Image table of a screen of 160 compounds with assays; drawn where it is missing."""
    return simulate("lite", drawn_in("lite-activity", seed), seed, **ACTIVITY)


def gene_screen() -> Path:
    """Image table of a screen of 128 genes in families; drawn where it is missing."""
    return simulate("lite-orf", drawn_in("lite-genes"), **GENES)
