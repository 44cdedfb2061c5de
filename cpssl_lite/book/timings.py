"""What CellProfiler itself costs, as it was measured once: for readers who do not have it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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

    @property
    def nuclei(self) -> np.ndarray:
        """Number of nuclei that CellProfiler found in each field."""
        return np.array([of_field[0] for of_field in self.about["agreement"]["counts"]])

    @property
    def data(self) -> str:
        """What figures call the fields."""
        fields = str(self.about["fields"]).removeprefix("real fields (").removesuffix(")")
        return "simulated" if "simulated" in fields else fields

    def by_nuclei(self) -> tuple[float, float]:
        """CellProfiler's seconds for one more nucleus, and for a field without any: a line."""
        slope, base = np.polyfit(self.nuclei, self.seconds.iloc[:, 0], 1)
        return float(slope), float(base)

    def likeness(self) -> str:
        """How many nuclei CellProfiler and its style found, and how large, in words."""
        agreed = self.about["agreement"]
        itself, style, same = np.sum(agreed["counts"], axis=0)
        areas = [f"{part.lower()} {a:,.0f} and {b:,.0f} px" for part, (a, b) in
                 agreed["areas"].items()]  # fmt: skip
        return (
            f"CellProfiler found {itself} nuclei in these fields and its style {style} "
            f"({itself / style - 1:+.1%}), {same} of them the same. Median areas of the same "
            f"objects, CellProfiler's first: {', '.join(areas)}."
        )

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


@contextmanager
def reading_kept(file: str | Path, script: str) -> Iterator[dict[str, Any]]:
    """Read what `script` kept; what is not there, or no such measurement, is one line."""
    try:
        yield json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{file}: no kept measurement; {script} --keep {file} makes one"
        raise InputError(message) from error


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
    with reading_kept(path or find_root() / KEPT, "benchmarks/cellprofiler.py") as kept:
        seconds = pd.DataFrame(kept.pop("seconds"))
        modules = pd.Series(kept.pop("modules"), dtype=float)
    ratio = seconds.iloc[:, 0] / seconds.iloc[:, -1]
    return Timing(seconds, ratio, modules, kept)


def quoted(results: str | Path, name: str, begins: str) -> str:
    """A line of a table that ``make bench`` kept, with its machine and date; "" without one.

    Parameters
    ----------
    results
        Folder of the tables.
    name
        Of the benchmark.
    begins
        How the line begins.
    """
    file = Path(results) / f"{name}.txt"
    text = file.read_text(encoding="utf-8").splitlines() if file.is_file() else ["", ""]
    date, machine, *lines = text
    found = [" ".join(line.split()) for line in lines if line.startswith(begins)]
    return f"{found[0]} ({machine}, {date})" if found else ""
