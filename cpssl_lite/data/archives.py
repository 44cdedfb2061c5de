"""Archives from elsewhere: looked through first, unpacked inside their folder or not at all."""

import csv
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path, sha256
from cpssl_lite.data.remote import place

# An archive that unpacks to more than this many times its own size is a bomb, not data:
# uncompressed TIFFs shrink to a half, tables of numbers to a third.
MOST = 100


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip or tar archive; a member that is not a plain file inside stops it before any.

    Beside the archive ``<name>.contents.csv`` is written (path, bytes and sha256 of every member):
    an archive that is packed anew for each download has no digest of its own.

    Raises
    ------
    InputError
        It is no archive, is damaged or encrypted, holds a link, a path that leaves the folder or
        one file twice, unpacks to more than `MOST` times its size, or the disk is too small.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with _members(archive) as members:
            targets = [place(folder, name) for name, _, _ in members]
            if len(set(targets)) < len(targets):
                twice = next(t for t in targets if targets.count(t) > 1)
                raise InputError(
                    f"{archive}: holds {twice.relative_to(folder)} twice; not unpacked"
                )
            _check_room(archive, folder, sum(size for _, size, _ in members))
            for target, (_, _, source) in zip(targets, members, strict=True):
                packed = source()
                assert packed is not None  # only plain files are members here
                with packed, atomic_path(target) as scratch, open(scratch, "wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
    except InputError:
        raise
    # RuntimeError: an encrypted member; NotImplementedError: a compression nobody uses.
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{archive}: not a readable archive ({error})") from error
    with atomic_path(contents(archive)) as scratch, open(scratch, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "bytes", "sha256"])
        for target in targets:
            path = target.relative_to(folder).as_posix()
            rows.writerow([path, target.stat().st_size, sha256(target)])
    return targets


def contents(archive: Path) -> Path:
    """Where the list of an unpacked archive's members is."""
    return archive.with_name(f"{archive.name}.contents.csv")


def unpacked(archive: Path) -> list[tuple[str, int]]:
    """Path and bytes of every file that an archive held; empty where it was never unpacked."""
    if not contents(archive).is_file():
        return []
    with open(contents(archive), newline="") as file:
        return [(row["path"], int(row["bytes"])) for row in csv.DictReader(file)]


def is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether every file that the archive held is in place, by its size."""
    files = [(place(folder, path), size) for path, size in unpacked(archive)]
    return bool(files) and all(f.is_file() and f.stat().st_size == size for f, size in files)


def member_of(path: str | Path) -> str:
    """Name of the fetched archive that held this very file (by its sha256), or ""."""
    path = Path(path).resolve()
    for folder in path.parents:
        for listed in folder.glob("*.contents.csv"):
            with open(listed, newline="") as file:
                digests = {row["path"]: row["sha256"] for row in csv.DictReader(file)}
            wanted = digests.get(path.relative_to(folder).as_posix())
            if wanted and path.is_file() and sha256(path) == wanted:
                return listed.name.removesuffix(".contents.csv")
    return ""


Member = tuple[str, int, Callable[[], IO[bytes] | None]]  # path, bytes, opens it


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """Files of the archive; links, devices and bombs are refused."""
    room = MOST * archive.stat().st_size
    members: list[Member] = []

    def add(name: str, size: int, plain: bool, source: Callable[[], IO[bytes] | None]) -> None:
        nonlocal room
        if not plain:
            raise InputError(f"{archive}: holds a link or device ({name}); not unpacked")
        room -= size
        if room < 0:
            raise InputError(f"{archive}: unpacks to over {MOST} times its size; not unpacked")
        members.append((name, size, source))

    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():  # Dropbox adds a folder named "/"
                    plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                    add(info.filename, info.file_size, plain, partial(zipped.open, info))
            yield members
    else:
        with tarfile.open(archive) as tarred:
            for entry in tarred:  # one by one: the sum is known before the rest is read
                if not entry.isdir():
                    source = partial(tarred.extractfile, entry)
                    add(entry.name, entry.size, entry.isfile(), source)
            yield members


def _check_room(archive: Path, folder: Path, size: int) -> None:
    place_there = next(p for p in (folder, *folder.resolve().parents) if p.is_dir())
    free = shutil.disk_usage(place_there).free
    if size > free:
        raise InputError(
            f"{archive}: unpacks to {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free"
        )
