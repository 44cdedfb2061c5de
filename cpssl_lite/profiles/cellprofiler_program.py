"""CellProfiler itself, another program: found, given its tables and images, watched, read."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.base.sources import PACKAGE
from cpssl_lite.images.channels import CHANNELS
from cpssl_lite.images.rows import file_of
from cpssl_lite.images.tiff import read_header, read_merged

# After the published Cell Painting protocol (Cimini et al. 2023), for five stains.
PIPELINE = Path(__file__).with_name("cell_painting.cppipe")
NAME = "cellprofiler.exe" if os.name == "nt" else "cellprofiler"
OWN = Path(".cellprofiler") / ("Scripts" if os.name == "nt" else "bin") / NAME
# Numbers of objects, and where they lie: nothing about a cell.
NO_FEATURES = (
    *("ImageNumber", "ObjectNumber", "Metadata_", "FileName_", "PathName_", "Number_", "Parent_"),
    *("Children_", "Location_", "AreaShape_Center_", "AreaShape_BoundingBoxM"),
    *("Neighbors_FirstClosestObjectNumber", "Neighbors_SecondClosestObjectNumber"),
)
_TIMED = re.compile(r"Image # (\d+), module (\w+) # (\d+): CPU_time = ([\d.]+) secs")
# Runs a program and ends it when our end of the pipe closes, however we ended.
_WATCHED = """
import os, subprocess, sys, threading
program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
threading.Thread(target=lambda: (os.read(0, 1), program.kill()), daemon=True).start()
os._exit(program.wait() & 255)
"""


class Measured(NamedTuple):
    """What CellProfiler made of some fields.

    Attributes
    ----------
    objects
        A row per object by what it is (``Cells``, ...): ``field`` (0, 1, ... as in the rows given),
        then everything in its table, as CellProfiler calls it.
    seconds
        CPU seconds, a row per field and a column per module.
    """

    objects: dict[str, pd.DataFrame]
    seconds: pd.DataFrame


def find_program(given: str | Path | None = None) -> Path:
    """The program: `given`, else on the path, else what ``make cellprofiler`` made.

    Raises
    ------
    InputError
        It is not there; the line says how to get it.
    """
    places = [PACKAGE.parent / OWN, Path.cwd() / OWN]
    found = shutil.which(given or NAME)
    if found or (not given and (found := next((str(p) for p in places if p.is_file()), None))):
        return Path(found)
    if given:
        raise InputError(f"--cellprofiler {given}: no such program")
    raise InputError(
        f"CellProfiler is not there: no {NAME} on the path, and no {OWN} here. `make cellprofiler` "
        "makes it (it needs Python 3.8 or 3.9 and a Java JDK); --cellprofiler FILE names another"
    )


def program_version(program: Path) -> str:
    """Its version, by asking it, with Java at hand."""
    words = [str(program), "--version"]
    done = subprocess.run(words, capture_output=True, text=True, env=_surroundings(), check=False)
    found = re.findall(r"^\d+\.\d+\S*$", done.stdout, re.M)
    if done.returncode or not found:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise InputError(f"{program}: does not tell its version; it said {said[-1]}")
    return found[-1]


def _surroundings() -> dict[str, str]:
    """Environment of the program: where Java is; one core for each process."""
    java = shutil.which("java")
    if "JAVA_HOME" not in os.environ and not java:
        raise InputError(
            "Java is not there, and CellProfiler reads images with it: install a JDK (11 or 17), "
            "or set JAVA_HOME"
        )
    home = os.environ.get("JAVA_HOME") or str(Path(java or "").resolve().parents[1])
    return {**os.environ, "JAVA_HOME": home, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def check_pipeline(pipeline: Path) -> str:
    """Text of a pipeline that loads what it is given and writes tables.

    Raises
    ------
    InputError
        No such file, no pipeline, or one that reads or writes in other ways.
    """
    try:
        text = pipeline.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{pipeline}: not a readable pipeline (.cppipe)") from error
    if not text.startswith("CellProfiler Pipeline"):
        raise InputError(f"{pipeline}: not a CellProfiler pipeline (.cppipe)")
    for module, why in (("LoadData", "the images come from"), ("ExportToSpreadsheet", "cells go")):
        if not re.search(rf"^{module}:", text, re.M):
            raise InputError(f"{pipeline}: has no module {module}, which {why} here")
    return text


def start(rows: pd.DataFrame, folder: Path, program: Path, pipeline: Path = PIPELINE) -> "Run":
    """Start CellProfiler on some rows of an image table; see `Run`.

    Parameters
    ----------
    rows
        ``FileName_Merged``, or five single channels; ``FileName_Illum<channel>`` too where there
        are illumination functions.
    folder
        For everything that it reads and writes; removed with `Run.end`.
    """
    text = check_pipeline(pipeline)
    folder.mkdir(parents=True)
    table = _load_data(rows, folder, with_illum="Illum" in text)
    out, log = folder / "out", folder / "log.txt"
    words = [str(program), "-c", "-r", "-p", str(pipeline.resolve()), "--data-file", str(table)]
    words += ["-o", str(out), "-t", str(folder / "scratch"), "-d", str(folder / "done.txt")]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _WATCHED, *words],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_surroundings(),
            start_new_session=True,  # Ctrl-C is ours
        )
    last = max(map(int, re.findall(r"\bmodule_num:(\d+)", text)))
    return Run(process, folder, len(rows), last)


class Run(NamedTuple):
    """CellProfiler at work on some fields."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    fields: int
    last_module: int

    def finished(self) -> list[int]:
        """Which of the fields (0, 1, ...) have passed the last module."""
        return [field for field, _, number, _ in self._timed() if number == self.last_module]

    def seconds(self) -> pd.DataFrame:
        """CPU seconds so far, a row per field and a column per module."""
        timed = pd.DataFrame(self._timed(), columns=["field", "module", "number", "seconds"])
        return timed.pivot_table("seconds", "field", "module", "sum", sort=False)

    def result(self) -> Measured:
        """Wait for its end and read what it wrote.

        Raises
        ------
        StepFailed
            It failed; the line says how, and where its log is.
        """
        code, done = self.process.wait(), self.folder / "done.txt"
        if code or not done.is_file() or done.read_text().strip() != "Complete":
            log = self.folder / "log.txt"
            raise StepFailed(f"CellProfiler failed (exit {code}): {_last_error(log)}; see {log}")
        return Measured(dict(_read_objects(self.folder / "out")), self.seconds())

    def end(self) -> None:
        """Stop it if it is still running."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def _timed(self) -> list[tuple[int, str, int, float]]:
        log = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        return [
            (int(image) - 1, module, int(number), float(seconds))
            for image, module, number, seconds in _TIMED.findall(log)
        ]


def _load_data(rows: pd.DataFrame, folder: Path, with_illum: bool) -> Path:
    """Write the table that LoadData wants, and a file per stain where the table has merged ones."""
    lines = []
    for number, row in enumerate(rows.to_dict("records")):
        files = {f"Orig{name}": path for name, path in _planes(row, folder, number).items()}
        if with_illum:
            files |= {f"Illum{name}": path for name, path in _functions(row, folder).items()}
        line = {f"Metadata_{name}": row[f"Metadata_{name}"] for name in ("Plate", "Well", "Site")}
        for name, path in files.items():
            line[f"FileName_{name}"], line[f"PathName_{name}"] = path.name, str(path.parent)
        lines.append(line)
    table = folder / "load_data.csv"
    pd.DataFrame(lines).to_csv(table, index=False)
    return table


def _planes(row: Mapping[Any, Any], folder: Path, number: int) -> dict[str, Path]:
    if not row.get("FileName_Merged"):
        return {name: Path(row[f"FileName_{name}"]) for name in CHANNELS}
    planes = {name: folder / f"field_{number:04d}_{name}.tiff" for name in CHANNELS}
    pixels = read_merged(row["FileName_Merged"]).pixels
    for path, plane in zip(planes.values(), pixels, strict=True):
        tifffile.imwrite(path, plane, photometric="minisblack")
    return planes


def _functions(row: Mapping[Any, Any], folder: Path) -> dict[str, Path]:
    """Illumination functions of a row, else ones of its size: the pipeline divides by them."""
    if row.get(f"FileName_Illum{CHANNELS[0]}"):
        return {name: Path(row[f"FileName_Illum{name}"]) for name in CHANNELS}
    height, width = read_header(file_of(row))[0][-2:]
    ones = folder / f"ones_{height}x{width}.npy"
    if not ones.is_file():
        np.save(ones, np.ones((height, width), np.float32))
    return dict.fromkeys(CHANNELS, ones)


def _read_objects(out: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield every table of objects among what ExportToSpreadsheet wrote, by what they are."""
    files = sorted(out.rglob("*.csv"))
    about = [file.stem.removesuffix("Image") for file in files if file.stem.endswith("Image")]
    before = about[0] if about else ""  # a pipeline may put something before its files' names
    for file in files:
        if {"ImageNumber", "ObjectNumber"} <= set(pd.read_csv(file, nrows=0)):
            table = pd.read_csv(file, dtype={"ImageNumber": int}, na_values=["nan"])
            table.insert(0, "field", table["ImageNumber"] - 1)
            yield file.stem.removeprefix(before), table


def features_in(table: pd.DataFrame) -> list[str]:
    """Columns of a table of objects that say something about a cell."""
    numbers = map(str, table.select_dtypes("number"))
    return [name for name in numbers if name != "field" and not name.startswith(NO_FEATURES)]


def _last_error(log: Path) -> str:
    """The last line of a log that names an error, else its last line."""
    said = log.read_text(errors="replace").splitlines()
    # It always misses MySQL, which it does not need here.
    lines = [line.strip() for line in said if line.strip() and "MySQLdb" not in line]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (errors or lines or ["it said nothing"])[-1][:300]
