"""Whole files or none: atomic writes and digests, used by every step that leaves a file."""

import errno
import glob
import hashlib
import os
import platform
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from cpssl_lite.base.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_POINTERS = (
    (b"version https://git-lfs", "Git LFS", "git lfs pull"),
    (b"/annex/objects/", "git-annex", "git annex get"),
)

# What stands in the place of a file now and then, by its first bytes.
_KINDS = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF",
    b"<": "a page of HTML or XML",
    b"{": "JSON",
}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; move it into place only if the block succeeds.

    A reader sees the old file or the new one, never half of it. The folder is created.
    The scratch name keeps the suffix, so that writers which look at it still work. Scratch
    files that killed runs left for the same path on this machine are removed.

    Raises
    ------
    InputError
        The folder cannot be created or written, the disk is full, or there is something other
        than a file (a folder, a device) in its place.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a" / "numbers.txt"
    >>> with atomic_path(target) as scratch:
    ...     _ = scratch.write_text("1 2 3")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('1 2 3', 1)
    """
    path = Path(path)
    _refuse_other(path)
    scratch = _scratch(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
        yield scratch
        os.replace(scratch, path)
    except OSError as error:
        about = error.filename and Path(os.path.abspath(os.fsdecode(error.filename)))
        ours = Path(os.path.abspath(path))  # writers name a file from the root
        mine = (ours.with_name(scratch.name), ours, *ours.parents)
        if about and about not in mine and error.errno not in _FULL:
            raise  # some other file that the block was reading
        raise _unwritable(path, error) from error
    finally:
        if path.parent.is_dir():
            scratch.unlink(missing_ok=True)


def check_writable(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Fail now, not after hours of work, when `path` cannot be written.

    Raises
    ------
    InputError
        The folder cannot be created or written; `path` is a folder, a device or one of `inputs`.
    """
    path = Path(path)
    # Not Path.resolve, which raises at a link that leads to itself.
    if any(os.path.realpath(path) == os.path.realpath(given) for given in inputs):
        raise InputError(f"{path}: is read as well; give another name to write to")
    _refuse_other(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own: another thread may be writing `path` at this moment.
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=_scratch(path).name).close()
    except OSError as error:
        raise _unwritable(path, error) from error


def _refuse_other(path: Path) -> None:
    """Refuse what is there and no file: a rename would put a file in the place of a device."""
    # os.path, as pathlib raises where a folder is closed to us or a name too long.
    if os.path.isdir(path):
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    device = path.parent == Path("/dev")  # links too: /dev/stdout
    if device or (os.path.exists(path) and not os.path.isfile(path)):
        raise InputError(f"{path}: is no file but a device or a pipe; give the name of a file")


def _unwritable(path: Path, error: OSError) -> InputError:
    """What to say when `path` cannot be written, and what to do about it."""
    said = f"{path}: cannot be written ({error.strerror or error})"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        there = next(filter(os.path.isdir, Path(os.path.abspath(path)).parents))
        said += f"; the folder {there} is not yours to write in: name another place"
    elif files := [*filter(os.path.isfile, Path(os.path.abspath(path)).parents)]:
        said = f"{path}: cannot be written ({files[0]} is a file, not a folder); name another place"
    elif error.errno in _FULL:
        said += "; make room, or name another place"
    return InputError(said)


@contextmanager
def one_writer(path: str | Path) -> Iterator[None]:
    """Let one process of this machine at a time make `path`; the others wait here.

    For work that leaves parts beside its output: two notebooks that need the same table would
    otherwise clear away each other's parts. What it waits on is gone afterwards.
    """
    key = hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else 0
    lock = Path(tempfile.gettempdir()) / f"cpssl-{user}-{key}.lock"
    if os.name == "nt":  # there, filelock removes its file
        with FileLock(lock):
            yield
        return
    import fcntl

    while True:
        with open(lock, "a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not _is_at(held.fileno(), lock):
                continue  # whoever had it took it away; others may already hold its successor
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _scratch(path: Path, process: int | str | None = None) -> Path:
    """A name beside `path` that says which thread of which process and machine is writing."""
    process = process or f"{os.getpid()}-{threading.get_ident()}"
    return path.with_name(f".{path.stem}.{platform.node()}.{process}.partial{path.suffix}")


def _clear(path: Path) -> None:
    """Remove what processes that no longer run left half-written for `path`."""
    if os.name == "nt":  # there, to ask for a process in this way is to end it
        return
    before, after = glob.escape(_scratch(path, "\n").name).split("\n")
    for stale in path.parent.glob(f"{before}*{after}"):
        writer = stale.name.removesuffix(f".partial{path.suffix}").rpartition(".")[2]
        try:
            os.kill(int(writer.partition("-")[0]), 0)
        except ProcessLookupError:
            stale.unlink(missing_ok=True)
        except (ValueError, OSError):
            pass  # not a name of ours, or it runs for another user


def refuse_pointer(path: str | Path) -> None:
    """Refuse the few bytes that Git LFS or git-annex leave in the place of a file.

    Raises
    ------
    InputError
        It is such a pointer; the message says how to get the file.
    """
    with open(path, "rb") as file:
        head = file.read(23)
    for start, name, how in _POINTERS:
        if head.startswith(start):
            raise InputError(f"{path}: a {name} pointer; get the file itself with {how}")


def kind_of(head: bytes) -> str:
    """What a file is by its first bytes; "" where they say nothing.

    Examples
    --------
    >>> kind_of(b"%PDF-1.7"), kind_of(b"\\n<!DOCTYPE html>"), kind_of(b"a,b")
    ('a PDF', 'a page of HTML or XML', '')
    """
    head = head.removeprefix(b"\xef\xbb\xbf")
    head = head if head[:4] in _KINDS else head.lstrip()
    return next((kind for start, kind in _KINDS.items() if head.startswith(start)), "")


def why_absent(path: str | Path) -> str:
    """What to say of a path where no file is.

    Examples
    --------
    >>> why_absent("/"), why_absent("no/where")
    ('is a folder, not a file', 'no such file')
    """
    if os.path.isdir(path):
        return "is a folder, not a file"
    if os.path.exists(path):
        return "is no file but a device or a pipe"
    if os.path.islink(path):
        return f"is a link to {os.readlink(path)}, which is not there"
    return "no such file"


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and digests of all files in it."""
    path = Path(path)
    if not path.is_dir():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def stamp(path: str | Path) -> tuple[int, int]:
    """Size and age of a file, or of all files in a folder: what changes when one is written."""
    path = Path(path)
    found = [f.stat() for f in (path.rglob("*") if path.is_dir() else [path])]
    return sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=0)
