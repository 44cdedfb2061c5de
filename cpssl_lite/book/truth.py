"""What drawn wells were drawn with: the truth that a real screen does not have."""

from pathlib import Path

import pandas as pd


def read_truth(image_table: str | Path | None) -> pd.DataFrame | None:
    """A row per well of a drawn screen: what it was drawn with; None of any other table.

    ``truth.parquet`` lies beside the image table (`data.simulate`): ``strength``, cells, and the
    parameters of the well's phenotype (``well_...``) beside its Metadata.
    """
    file = Path(image_table).with_name("truth.parquet") if image_table else None
    return pd.read_parquet(file) if file and file.is_file() else None


def true_phenotype(image_table: str | Path) -> pd.DataFrame | None:
    """What the wells of a drawn screen were drawn with, as raw profiles; None of any other.

    Each parameter is divided by its standard deviation over the screen, so that those of
    small numbers vary as much as others; one that nothing moves is left out.
    """
    truth = read_truth(image_table)
    if truth is None:
        return None
    values = truth[[name for name in truth if str(name).startswith("well_")]]
    spread = values.std()
    values = (values / spread).loc[:, spread > 1e-12 * values.abs().max()]
    names = [f"emb_{i:04d}" for i in range(values.shape[1])]
    head = truth[[name for name in truth if str(name).startswith("Metadata_")]]
    return pd.concat([head, values.set_axis(names, axis=1)], axis=1)
