"""One file over HTTP: resumed where it stopped, checked, and in place whole or not at all."""

import errno
import hashlib
import logging
import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import requests
from filelock import FileLock, Timeout

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256

# What a server says when trying again may help; any other refusal is final.
PASSING = {408, 425, 429, 500, 502, 503, 504}
CHUNK = 1 << 18


@dataclass(frozen=True)
class Remote:
    """A file to fetch: its place in the data set, its address, and what is known of its bytes."""

    path: str
    url: str
    bytes: int | None = None
    sha256: str | None = None


class Absent(InputError):
    """The server has no such file (or, as S3 does for strangers, will not say)."""


log = logging.getLogger(__name__)


class Stopped(Exception):
    """The caller has asked to stop."""


class _Again(Exception):
    """Something that may be better at the next try."""


class Downloader:
    """Fetches files into a folder.

    Bytes gather in a ``.part`` file under ``<folder>/.fetch``, which a later call continues by a
    range request if the server still has the same version. Only when size and SHA-256 (as far as
    they are known) are right is it moved to its place; what Amazon S3 sends is held against the
    MD5 that it announces as ETag. Two processes that fetch the same file take turns.

    Parameters
    ----------
    folder
        The data set's folder.
    tries, pause
        Attempts for a file, and seconds before the second one; later pauses double.
    timeout
        Seconds without a byte after which a server counts as hung.
    on_bytes
        Called with the number of bytes that have arrived.
    """

    def __init__(
        self,
        folder: str | Path,
        tries: int = 5,
        pause: float = 1.0,
        timeout: float = 30.0,
        on_bytes: Callable[[int], object] = lambda n: None,
    ) -> None:
        self.folder, self.tries, self.pause = Path(folder), tries, pause
        self.timeout, self.on_bytes = timeout, on_bytes
        self.session = requests.Session()
        self.told = False  # that something has to be tried again
        self.stop = threading.Event()  # when set, downloads end with Stopped and can go on later

    def get(self, remote: Remote) -> Path:
        """Fetch one file, or return the one that is there.

        Raises
        ------
        InputError
            The path leaves the folder, the server refuses, sends wrong bytes or fails in all
            `tries`, or the disk is full. The message names the file.
        """
        target = place(self.folder, remote.path)
        key = hashlib.sha256(remote.path.encode()).hexdigest()[:16]
        part = self.folder / ".fetch" / f"{key}.part"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.parent.mkdir(exist_ok=True)
            # Shared by a few files, so that a million of them do not leave a million locks.
            with self._locked(part.with_name(f"{key[:3]}.lock")):
                if not is_there(target, remote):
                    self._fetch(remote, target, part)
        except requests.RequestException:
            raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else error.strerror or error
            raise InputError(f"{target}: cannot be written ({reason})") from error
        return target

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        lock = FileLock(path, mode=0o666)  # the folder may be shared by several users
        while True:
            try:
                lock.acquire(timeout=0.5)
                break
            except Timeout:  # somebody else fetches it
                if self.stop.is_set():
                    raise Stopped from None
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, remote: Remote, target: Path, part: Path) -> None:
        reason = ""
        for attempt in range(self.tries):
            wait = self.pause * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
            if attempt and self.stop.wait(wait):
                raise Stopped
            try:
                md5 = ""
                if not (remote.bytes and part.is_file() and part.stat().st_size == remote.bytes):
                    md5 = self._receive(remote, target, part)
                _check(remote, part, md5)
                part.replace(target)
                _tag(part).unlink(missing_ok=True)
                return
            except (_Again, requests.RequestException) as error:
                reason = str(error) if isinstance(error, _Again) else self._plain(error)
                if not self.told:  # once, not for every file
                    self.told = True
                    log.warning("%s: %s; trying again", target.name, reason)
        raise InputError(
            f"{target}: not fetched in {self.tries} tries ({reason}) from {remote.url}"
        )

    def _receive(self, remote: Remote, target: Path, part: Path) -> str:
        """Bring the part file to its full length; return the MD5 that the server gave, or ""."""
        version = _tag(part).read_text() if _tag(part).is_file() else ""
        have = part.stat().st_size if part.is_file() and (version or remote.sha256) else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if version:
                headers["If-Range"] = version
        timeout = (min(10.0, self.timeout), self.timeout)
        get = self.session.get(remote.url, headers=headers, stream=True, timeout=timeout)
        with get as answer:
            if answer.status_code == 416:
                part.unlink(missing_ok=True)
                raise _Again("the server has fewer bytes than had come")
            said = f"the server says {answer.status_code} {answer.reason}"
            if answer.status_code in PASSING:
                raise _Again(said)
            if answer.status_code not in (200, 206):
                gone = answer.status_code in (403, 404, 410)
                raise (Absent if gone else InputError)(f"{target}: {said} for {remote.url}")
            begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            goes_on = answer.status_code == 206 and begins and int(begins[1]) == have
            if answer.status_code == 206 and not goes_on:
                part.unlink(missing_ok=True)
                raise _Again("the server sent another range than was asked for")
            have = have if goes_on else 0
            length = answer.headers.get("Content-Length")
            whole = have + int(length) if length else None
            if remote.bytes and whole and whole != remote.bytes:
                part.unlink(missing_ok=True)
                raise _Again(f"the server has {whole:,} bytes, the manifest says {remote.bytes:,}")
            etag = answer.headers.get("ETag", "")
            strong = "" if etag.startswith("W/") else etag
            if not have:  # first: a tag of this version beside bytes of another would be resumed
                part.unlink(missing_ok=True)
            _tag(part).write_text(strong or answer.headers.get("Last-Modified", ""))
            with open(part, "ab") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    self.on_bytes(len(chunk))
                    if self.stop.is_set():
                        raise Stopped
        if whole and part.stat().st_size < whole:
            raise _Again(f"cut off after {part.stat().st_size:,} of {whole:,} bytes")
        if answer.headers.get("Server") == "AmazonS3" and re.fullmatch(r'"[0-9a-f]{32}"', etag):
            if answer.headers.get("x-amz-server-side-encryption", "AES256") == "AES256":
                return etag.strip('"')  # of a file that was uploaded in one piece
        return ""

    def _plain(self, error: requests.RequestException) -> str:
        """A network error in a few words."""
        text = str(error)
        if isinstance(error, requests.Timeout) or "timed out" in text:
            return f"nothing came for {self.timeout:g} s"
        if any(word in text for word in ("IncompleteRead", "broken", "aborted", "reset")):
            return "the connection was cut"
        if any(word in text for word in ("refused", "resolve", "unreachable")):
            return "the server cannot be reached"
        return text.split("\n")[0][:200]


@contextmanager
def downloads(
    folder: str | Path, workers: int, **options: Any
) -> Iterator[tuple[Downloader, ThreadPoolExecutor]]:
    """A downloader, made with `options`, and threads to call it from.

    However the block ends, Ctrl-C too, every thread leaves its part file and ends.
    """
    loader, pool = Downloader(folder, **options), ThreadPoolExecutor(workers)
    try:
        yield loader, pool
    finally:
        loader.stop.set()
        pool.shutdown(cancel_futures=True)
        loader.session.close()


def place(folder: str | Path, path: str) -> Path:
    """Where a file of a data set lies; a path that would leave the folder is refused."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith(("/", "\\")) or ".." in parts or re.match(r"^\w:", path):
        raise InputError(f"{path!r}: a file of a data set must lie inside its folder")
    return Path(folder).joinpath(*parts)


def is_there(target: Path, remote: Remote) -> bool:
    """Whether a file is in place, by its size: what is in place was checked when it came."""
    return target.is_file() and remote.bytes in (None, target.stat().st_size)


def _check(remote: Remote, part: Path, md5: str) -> None:
    """Size and digests, where they are known; wrong bytes are thrown away."""
    size = part.stat().st_size
    wrong = ""
    if remote.bytes is not None and size != remote.bytes:
        wrong = f"{size:,} bytes came, the manifest says {remote.bytes:,}"
    elif remote.sha256 and (found := sha256(part)) != remote.sha256.lower():
        wrong = f"sha256 is {found[:16]}..., the manifest says {remote.sha256[:16]}..."
    elif md5 and (found := _md5(part)) != md5:
        wrong = f"md5 is {found}, the server says {md5}"
    if wrong:
        part.unlink()
        raise _Again(f"wrong bytes: {wrong}")


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def _tag(part: Path) -> Path:
    """Where the server's version of a half-fetched file is written down."""
    return part.with_name(f"{part.name}.version")
