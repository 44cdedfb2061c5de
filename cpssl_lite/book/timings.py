"""What CellProfiler itself costs, as it was measured once: for readers who do not have it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cpssl_lite.base.errors import InputError
from cpssl_lite.book.where import find_root

KEPT = Path("book") / "kept" / "cellprofiler.json"


class Timing(NamedTuple):
    """A kept run of ``benchmarks/cellprofiler.py``: CPU seconds of one core, in one run.

    Attributes
    ----------
    seconds
        A row per field; a column per way to features: CellProfiler with its version, the style,
        the network.
    ratio
        CellProfiler's seconds over the network's, of each field.
    modules
        CellProfiler's seconds a field by module, most first.
    about
        ``date``, ``machine``, ``versions``, ``fields`` (which images: real or drawn), ``pipeline``,
        ``start`` (seconds once), ``agreement``.
    """

    seconds: pd.DataFrame
    ratio: pd.Series
    modules: pd.Series
    about: dict[str, Any]

    def sentence(self) -> str:
        """The measurement in one sentence, with its machine and date."""
        first, last = self.seconds.columns[0], self.seconds.columns[-1]
        middle = self.seconds.median()
        return (
            f"{first} took {middle[first]:.0f} CPU seconds a field and {last} {middle[last]:.1f}, "
            f"on the same core: {self.ratio.median():.0f} times as long (from "
            f"{self.ratio.min():.0f} to {self.ratio.max():.0f}, n = {len(self.ratio)}, "
            f"{self.about['fields']}; "
            f"{self.about['machine']}, {self.about['date']})"
        )


def kept_timing(path: str | Path | None = None) -> Timing:
    """Read the kept measurement; chapter 06 and the first page need one call of this.

    ``kept_timing().sentence()`` says it with machine and date. ``kept_timing().ratio.median()`` is
    CellProfiler over ViT-S on equal hardware, before any GPU: the paper's factor of fifty is of
    other machines, so this is no verdict on it. ``kept_timing().modules`` is where CellProfiler's
    time goes. ``python benchmarks/cellprofiler.py --keep FILE`` makes it again.

    Raises
    ------
    InputError
        It is not there, or not such a measurement.
    """
    file = Path(path) if path else find_root() / KEPT
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        seconds = pd.DataFrame(kept.pop("seconds"))
        modules = pd.Series(kept.pop("modules"), dtype=float)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: no kept measurement; benchmarks/cellprofiler.py --keep {file} makes one"
        ) from error
    ratio = seconds.iloc[:, 0] / seconds.iloc[:, -1]
    return Timing(seconds, ratio, modules, kept)
