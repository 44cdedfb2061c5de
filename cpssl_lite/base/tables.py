"""Tables as they are stored (CSV, TSV, Parquet), whoever wrote them; roles come later."""

import csv
import gzip
import logging
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import kind_of, refuse_pointer

log = logging.getLogger(__name__)

TEXT = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
PARQUET = (".parquet", ".pq")
WHOLE = re.compile(r"-?\d+\.0")
EXACT = 2**53  # whole numbers up to here are exact as floats
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def read_table(
    path: Path, numbers: Callable[[list[str]], Collection[str]] = lambda names: ()
) -> pd.DataFrame:
    """Read a table without knowing what it is about.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv`` (also ``.gz``), ``.txt`` (with tabs, as plate maps have them),
        ``.parquet`` or ``.pq``, in any case.
    numbers
        Given the names of the columns, says which of a text file hold numbers; all others are
        text, so that leading zeros stay.

    Returns
    -------
    DataFrame
        Columns without spaces around their names; an index that pandas stored is a column like
        any other, and one without a name is left out; decimals are floats, and bytes (as Spark
        and Impala write text) the text that they stand for.

    Raises
    ------
    InputError
        Another kind of file, a Git LFS pointer, damaged, cut off, two rows of header, other
        separators than the name of the file says, a column twice.
    """
    name = path.name.lower()
    if not name.endswith((*TEXT, ".txt", *PARQUET)):
        raise InputError(
            f"{path}: a table is .parquet, .csv or .tsv (also .csv.gz, .tsv.gz); profiles may be "
            ".h5ad, .zarr or .gct as well"
        )
    with reading_errors(path):
        if name.endswith(PARQUET):
            table = _from_parquet(path)
        else:
            tab = separator_of(path)
            header = _header(path, tab)
            _check_end(path, len(header), tab)
            numeric = set(numbers(header))
            table = pd.read_csv(
                path,
                sep=tab,
                header=0,
                names=header,
                dtype={name: str for name in header if name not in numeric},
                low_memory=False,
                index_col=False,
                # Exact: the same numbers as from Parquet.
                float_precision="round_trip",
            ).dropna(how="all", ignore_index=True)  # lines of commas, which spreadsheets leave
            if table.iloc[:, -1].isna().any():
                _say_short_row(path, len(header), tab)
    return without_index(table)


def without_index(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the nameless column that a data frame saved with its index brings."""
    names = [str(name) for name in table.columns]
    return table.loc[:, [not re.fullmatch(r"Unnamed: [\d.]+|index|__index_.*|", n) for n in names]]


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turn whatever the readers of tables raise about `path` into one InputError."""
    try:
        if not path.is_dir():
            refuse_pointer(path)
        with warnings.catch_warnings():  # rows longer than the header: pandas only warns
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        bad = f"byte 0x{error.object[error.start]:02x}"
        raise InputError(f"{path}: its text is not UTF-8 ({bad}); save it as UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: is empty") from error
    except pd.errors.ParserWarning as error:
        raise InputError(f"{path}: rows have more values than the header has names") from error
    except Exception as error:  # pandas, pyarrow, gzip and HDF5 each have their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable table ({reason})") from error


def refuse_other_kinds(path: Path) -> None:
    """Refuse what stands in the place of a table in text and is none."""
    with open(path, "rb") as data:
        kind = kind_of(data.read(32))
    if kind and not path.name.lower().endswith(".gz"):
        raise InputError(f"{path}: is {kind}, not a table in text")


def separator_of(path: Path) -> str:
    """What stands between the columns of a table in text, by its name."""
    name = path.name.lower()
    return "\t" if ".tsv" in name or name.endswith(".txt") else ","


def check_once(path: Path, names: list[str]) -> None:
    """Refuse a column that is there twice: pandas would rename the second one."""
    twice = pd.Index(names)[pd.Index(names).duplicated()]
    if len(twice):
        raise InputError(f"{path}: column {twice[0]} is there more than once; keep one")


def _from_parquet(path: Path) -> pd.DataFrame:
    stored = pq.ParquetFile(path).read()
    names = [tidy(name) for name in stored.column_names]
    if pairs := [name for name in names if re.match(r"\('.*', '.*'\)$", name)]:
        raise InputError(
            f"{path}: its columns have names on two levels, such as {pairs[0]}; join them to one"
        )
    check_once(path, names)
    stored = stored.rename_columns(names)
    table = stored.to_pandas(ignore_metadata=True)
    for name, kind in zip(names, stored.schema.types, strict=True):
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            try:
                table[name] = stored[name].cast(pa.large_string()).to_pandas()
            except pa.ArrowInvalid:  # a picture, say
                log.warning("%s: column %s holds bytes that are no text; left out", path, name)
                table = table.drop(columns=name)
        elif pa.types.is_decimal(kind):
            table[name] = table[name].astype(float)  # rounds right, which Arrow's cast does not
        elif pa.types.is_integer(kind) and stored[name].null_count:
            if table[name].abs().max() >= EXACT:  # ids, which floats would round
                table[name] = stored[name].cast(pa.large_string()).to_pandas()
    return table


def same_words(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers of every column as text, each by itself, so that a table may be split into files.

    The 1 of a column is "1" whether the column also has 0.5, missing values (with which whole
    numbers are stored as floats) or words in it, and 0.1 is "0.1" in single precision too. Where
    a column of text has both "1.0" and "1", they stay two things.

    Examples
    --------
    >>> same_words(pd.DataFrame({"a": [1.0, 0.5, None], "b": ["24277.0", "DMSO", "1e5"]}))
          a      b
    0     1  24277
    1   0.5   DMSO
    2  None    1e5
    """
    return table.apply(_in_words) if len(table.columns) else table


def _in_words(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        of = values.dtype.categories.dtype
        values = values.astype(of if pd.api.types.is_float_dtype(of) else object)
    if pd.api.types.is_float_dtype(values):
        whole = ((values % 1 == 0) & (values.abs() < EXACT)).fillna(False)
        text = values.astype(str).astype(object).where(values.notna(), None)
        text[whole] = values[whole].astype("int64").astype(str)
        return text
    names = {value for value in values if isinstance(value, str)}
    bare = {name: name.removesuffix(".0") for name in names if WHOLE.fullmatch(name)}
    if not bare or names & set(bare.values()):
        return values
    return values.map(lambda v: bare.get(v, v) if isinstance(v, str) else v)


def _header(path: Path, separator: str) -> list[str]:
    """Names in the first line of a text table, which must be its only header."""
    refuse_other_kinds(path)
    with _opened(path) as file:
        rows = (row for row in csv.reader(file, delimiter=separator) if row)
        first, below = next(rows, []), next(rows, [])
    names = [tidy(name) for name in first]
    if not names:
        raise InputError(f"{path}: is empty")
    if len(names) == 1:
        _check_separator(path, first[0], separator)
    if len(names) == 1 or names[0].startswith("sep="):
        if len(below) > 1:
            raise InputError(f"{path}: its first line is no header ({first[0][:60]!r}); remove it")
    filled = [value for value in below if value.strip()]
    if len(set(names)) < len(names) and filled and not any(map(_is_number, filled)):
        pair = next((f"{a} above {b}" for a, b in zip(names, below, strict=False) if a and b), "")
        raise InputError(
            f"{path}: has two rows of header ({pair}); join them to one, such as "
            "Cells_AreaShape_Area"
        )
    check_once(path, [name for name in names if name])
    return [name or f"Unnamed: {i}" for i, name in enumerate(names)]


def _opened(path: Path) -> TextIO:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    return cast(TextIO, opened(path, "rt", encoding="utf-8-sig", newline=""))


def _say_short_row(path: Path, names: int, separator: str) -> None:
    """One line if a row has fewer values than the header has names: pandas fills it up."""
    with _opened(path) as file, suppress(csv.Error):  # a note of 200,000 characters, say
        rows = csv.reader(file, delimiter=separator)
        short = next((row for row in rows if 0 < len(row) < names), None)
        if short:
            log.warning(
                "%s: line %d has %d values, %d are named; the last ones count as missing",
                *(path, rows.line_num, len(short), names),
            )


def _check_end(path: Path, names: int, separator: str) -> None:
    """Refuse a text table that was cut off within its last row; say so where nobody can know.

    A file that is cut inside a number holds another number. Most programs end the last row with a
    line break too, gzip notices by itself.
    """
    if path.suffix.lower() == ".gz":
        return
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 2**22))
        *above, last = re.split(rb"[\r\n]", file.read())
    if not above or not last:
        return
    text = last.decode("utf-8", "replace")
    if (values := len(next(csv.reader([text], delimiter=separator)))) < names:
        raise InputError(f"{path}: cut off: its last row has {values} values, {names} are named")
    log.warning(
        "%s: no line break after its last row; if the file was cut off there, the row's end is not "
        "right: ...%s",
        *(path, text[-30:]),
    )


def _check_separator(path: Path, first: str, separator: str) -> None:
    for mark, name in _SEPARATORS.items():
        if mark != separator and mark in first:
            raise InputError(
                f"{path}: its columns are separated by {name}, got {first[:60]!r}...; put "
                f"{_SEPARATORS[separator]} between them and write decimals with a point"
            )


def tidy(name: str) -> str:
    """A column's name without spaces around it, and in no metadata column within."""
    name = name.strip()
    return re.sub(r"\s+", "_", name) if re.match(r"metadata[\s_]", name, re.IGNORECASE) else name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
