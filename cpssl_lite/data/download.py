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
from pathlib import Path
from time import monotonic
from typing import Any

import requests
from filelock import FileLock, Timeout
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, TooManyRedirects
from urllib3.exceptions import HTTPError

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.yamls import shown
from cpssl_lite.data.connections import Lines
from cpssl_lite.data.remote import Again, Remote, check, is_there, place

# What a server says when trying again may help; any other refusal is final.
PASSING = {408, 425, 429, 500, 502, 503, 504}
CHUNK = 1 << 18
SLOWEST = 1000  # bytes a second; a server that sends fewer counts as hung


class Absent(InputError):
    """The server has no such file (or, as S3 does for strangers, will not say)."""


log = logging.getLogger(__name__)


class Stopped(Exception):
    """The caller has asked to stop."""


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
        Seconds without a byte, or with fewer than `SLOWEST` each, after which a server counts as
        hung.
    longest
        Seconds that one try may take, however steadily bytes come.
    on_bytes
        Called with the number of bytes that have arrived.
    """

    def __init__(
        self,
        folder: str | Path,
        tries: int = 5,
        pause: float = 1.0,
        timeout: float = 30.0,
        longest: float = 86_400.0,
        on_bytes: Callable[[int], object] = lambda n: None,
    ) -> None:
        self.folder, self.tries, self.pause = Path(folder), tries, pause
        self.timeout, self.longest, self.on_bytes = timeout, longest, on_bytes
        self.lines = Lines()
        self.session = self.lines.session()
        self.unverified: list[str] = []  # files that came without any digest to hold them against
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
                check(remote, part, md5)
                part.replace(target)
                _tag(part).unlink(missing_ok=True)
                if not (remote.sha256 or md5):
                    self.unverified.append(remote.path)
                return
            except (InvalidSchema, InvalidURL, MissingSchema, TooManyRedirects) as error:
                raise InputError(f"{target}: {_nowhere(remote, error)}") from error
            except (Again, requests.RequestException, HTTPError) as error:
                reason = str(error) if isinstance(error, Again) else self._plain(error)
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
        with self._ask(remote, target, headers, timeout) as answer:
            if answer.status_code == 416:
                part.unlink(missing_ok=True)
                raise Again("the server has fewer bytes than had come")
            said = f"the server says {answer.status_code} {answer.reason}"
            if answer.status_code in PASSING:
                raise Again(said)
            if answer.status_code not in (200, 206):
                gone = answer.status_code in (403, 404, 410)
                raise (Absent if gone else InputError)(f"{target}: {said} for {remote.url}")
            begins = re.match(r"bytes ([0-9]{1,15})-", answer.headers.get("Content-Range", ""))
            goes_on = answer.status_code == 206 and begins and int(begins[1]) == have
            if answer.status_code == 206 and not goes_on:
                part.unlink(missing_ok=True)
                raise Again("the server sent another range than was asked for")
            have = have if goes_on else 0
            length = answer.headers.get("Content-Length", "")
            if length and not re.fullmatch("[0-9]{1,15}", length):
                raise Again(f"the server announces {shown(length)} bytes")
            packed = answer.headers.get("Content-Encoding", "identity") != "identity"
            whole = have + int(length) if length and not packed else None
            if remote.bytes and whole and whole != remote.bytes:
                part.unlink(missing_ok=True)
                raise Again(f"the server has {whole:,} bytes, the manifest says {remote.bytes:,}")
            etag = answer.headers.get("ETag", "")
            strong = "" if etag.startswith("W/") else etag
            if not have:  # first: a tag of this version beside bytes of another would be resumed
                part.unlink(missing_ok=True)
            version = "" if packed else strong or answer.headers.get("Last-Modified", "")
            _tag(part).write_text(version)
            self._write(answer, part, have, remote.bytes)
        if whole and part.stat().st_size < whole:
            raise Again(f"cut off after {part.stat().st_size:,} of {whole:,} bytes")
        if answer.headers.get("Server") == "AmazonS3" and re.fullmatch(r'"[0-9a-f]{32}"', etag):
            if answer.headers.get("x-amz-server-side-encryption", "AES256") == "AES256":
                return etag.strip('"')  # of a file that was uploaded in one piece
        return ""

    def _ask(
        self, remote: Remote, target: Path, headers: dict[str, str], timeout: tuple[float, float]
    ) -> requests.Response:
        """Send a request; the whole head of an answer must come in a few times the timeout."""
        if self.stop.is_set():
            raise Stopped
        thread, late = threading.get_ident(), threading.Event()

        def hang_up() -> None:
            late.set()
            self.lines.hang_up(thread)

        watch = threading.Timer(4 * self.timeout, hang_up)
        watch.daemon = True
        watch.start()
        try:
            answer = self.session.get(remote.url, headers=headers, stream=True, timeout=timeout)
            if late.is_set():  # the head of the answer ends where the line was cut
                answer.close()
                raise Again(f"no answer was whole after {4 * self.timeout:g} s")
            return answer
        except requests.RequestException:
            raise
        except ValueError as error:  # an address, of a redirect say, that cannot be read as one
            raise InputError(f"{target}: {_nowhere(remote, error)}") from error
        finally:
            watch.cancel()

    def _write(self, answer: requests.Response, part: Path, have: int, most: int | None) -> None:
        """Append what comes to the part file, as long as it is neither too much nor too slow."""
        began = since = monotonic()
        lately = 0  # bytes since `since`
        with open(part, "ab") as file:
            # What is there, not a full chunk: a server that drips must not keep us inside.
            while chunk := answer.raw.read1(CHUNK, decode_content=True):
                file.write(chunk)
                self.on_bytes(len(chunk))
                if self.stop.is_set():
                    raise Stopped
                have, lately, now = have + len(chunk), lately + len(chunk), monotonic()
                if most is not None and have > most:
                    file.close()
                    part.unlink()
                    raise Again(f"more bytes came than the {most:,} that the manifest says")
                if now - began > self.longest:
                    raise Again(f"not whole after {self.longest:g} s")
                if now - since > self.timeout:
                    if lately < SLOWEST * (now - since):
                        raise Again(f"only {lately:,} bytes came in {now - since:.3g} s")
                    since, lately = now, 0

    def _plain(self, error: Exception) -> str:
        """A network error in a few words."""
        text = str(error)
        if isinstance(error, requests.Timeout) or "timed out" in text.lower():
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

    However the block ends, Ctrl-C too, every thread leaves its part file and ends at once.
    """
    loader, pool = Downloader(folder, **options), ThreadPoolExecutor(workers)
    try:
        yield loader, pool
    finally:
        loader.stop.set()
        loader.lines.hang_up()
        pool.shutdown(cancel_futures=True)
        loader.session.close()


def _nowhere(remote: Remote, error: Exception) -> str:
    """Words for an address that leads nowhere."""
    reason = " ".join(str(error).split())[:200]
    return f"{remote.url} is, or leads to, an address that cannot be used ({reason})"


def _tag(part: Path) -> Path:
    """Where the server's version of a half-fetched file is written down."""
    return part.with_name(f"{part.name}.version")
