"""CellProfiler itself beside its style, on wells of the drawn screen that both have measured."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cpssl_lite.book.features import normalized
from cpssl_lite.book.figures import WIDTH, color, marker
from cpssl_lite.models.checkpoints import SHIPPED, load_encoder
from cpssl_lite.profiles.agreement import in_style_names
from cpssl_lite.profiles.evaluate import compare
from cpssl_lite.profiles.extract import extract
from cpssl_lite.profiles.intervals import scores_with_intervals
from cpssl_lite.profiles.kept import few_fields, kept_profiles
from cpssl_lite.profiles.table import read_profiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("Nuclei", "Cells", "Cytoplasm")
ITSELF, STYLE = "CellProfiler", "CellProfiler-style"
SCORES = ("perturbation_map", "label_map")
TONES = {STYLE: "#F0A77C"}  # beside CellProfiler's own, which the style has elsewhere


def kept_beside(images: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Raw profiles of the same wells by CellProfiler, in its style and by DINO.

    Returns
    -------
    dict
        Empty unless both tables are kept for these very images (`make cellprofiler-wells`).
    """
    if not {"Metadata_Target", "Metadata_Control", "Metadata_Batch"} <= set(images):
        return {}
    fields = few_fields(images)
    tables = {name: kept_profiles(fields, name) for name in (ITSELF, STYLE)}
    found = {name: table for name, table in tables.items() if table is not None}
    if len(found) < len(tables):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        out = extract(fields, load_encoder(SHIPPED["DINO"]), Path(folder, "DINO.parquet"))
        return {**found, "DINO": read_profiles(out)}


def alike(raw: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Pearson's r over wells of every feature that CellProfiler and its style both have.

    Returns
    -------
    DataFrame
        A row per feature: its ``group`` (Intensity, Texture, ...) and ``r``, NaN where one of the
        two does not vary. Wells differ between plates and by what was done to them: both count.
    """
    key = ["Metadata_Plate", "Metadata_Well"]
    one, other = (raw[name].set_index(key).sort_index() for name in (ITSELF, STYLE))
    rows = []
    for part in PARTS:
        mine, theirs = (
            table.filter(regex=f"^{part}_").rename(columns=lambda c: str(c).split("_", 1)[1])
            for table in (one, other)
        )
        mine = in_style_names(mine)
        both = [name for name in mine if name in set(theirs)]
        r = mine[both].corrwith(theirs[both])
        rows.append(
            pd.DataFrame({"group": [str(n).split("_")[0] for n in both], "r": r.to_numpy()})
        )
    found = pd.concat(rows, ignore_index=True)
    return found.assign(r=found["r"].where(np.isfinite(found["r"])))


def draw(
    raw: dict[str, pd.DataFrame], seed: int = 0
) -> "tuple[Figure, pd.DataFrame, dict[str, float]]":
    """Both mAPs of each table and r by group of features.

    Returns
    -------
    figure
    DataFrame
        What `alike` found.
    dict
        CellProfiler's mAPs minus the style's, as `compare` has them.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    wells = {
        name: normalized(table, "learned" if name == "DINO" else "measured", "mad_robustize")
        for name, table in raw.items()
    }
    found = {name: scores_with_intervals(table, seed=seed) for name, table in wells.items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.6))
    for shift, (name, of) in enumerate(found.items()):
        value, low, high = np.array([of[score] for score in SCORES]).T
        at = np.arange(len(SCORES)) + 0.2 * (shift - 1)
        how = {"color": TONES.get(name) or color(name), "marker": marker(name), "label": name}
        left.errorbar(at, value, [value - low, high - value], linestyle="", **how)
    left.set_xticks(range(len(SCORES)), ["perturbation\nmAP", "target\nmAP"])
    left.set_xlim(-0.5, 1.5)
    left.set_ylim(0, 1)
    figure.legend(loc="outside upper center", ncols=3)
    r = alike(raw)
    order = r.groupby("group")["r"].median().sort_values().index
    tones = {"color": color(ITSELF), "linecolor": "#26303A"}
    sns.boxplot(r, y="group", x="r", order=order, fliersize=2, ax=right, **tones)
    right.set(xlabel="r over wells", ylabel="")
    return figure, r, compare(wells[ITSELF], wells[STYLE], seed=seed)


def told(raw: dict[str, pd.DataFrame], r: pd.DataFrame, gap: dict[str, float]) -> str:
    """Whether the style stands in for the program, in words that follow from the numbers."""
    cells = {
        name: pd.to_numeric(raw[name]["Metadata_Cells_Per_Field"]).mean()
        for name in (ITSELF, STYLE)
    }
    parts = []
    for score, name in zip(SCORES, ("perturbation", "target"), strict=True):
        value, low, high = (gap[f"{score}_{part}"] for part in ("difference", "low", "high"))
        tells = "no difference that shows" if low <= 0 <= high else "a difference that shows"
        parts.append(f"{name} mAP {value:+.3f} ({low:+.3f} to {high:+.3f}), {tells}")
    return (
        f"CellProfiler minus its style: {'; '.join(parts)}. It found {cells[ITSELF]:.1f} cells a "
        f"field, its style {cells[STYLE]:.1f}. Half of the features that both have correlate above "
        f"{r['r'].median():.2f} over wells, one in ten below {r['r'].quantile(0.1):.2f}."
    )
