"""A file to fetch: its place, what is known of its bytes, and whether they are the right ones."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import sha256

_ZIP, _PICKLE, _GZIP = b"PK\x03\x04", b"\x80", b"\x1f\x8b"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".png": (b"\x89PNG",),
    ".npy": (b"\x93NUMPY",),
    ".npz": (_ZIP,),
    ".zip": (_ZIP, b"PK\x05\x06"),
    ".gz": (_GZIP,),
    ".tgz": (_GZIP,),
    ".parquet": (b"PAR1",),
    ".h5": (b"\x89HDF",),
    ".h5ad": (b"\x89HDF",),
    ".pth": (_ZIP, _PICKLE),
    ".pt": (_ZIP, _PICKLE),
    ".ckpt": (_ZIP, _PICKLE),
}
PAGES = (b"<!doctype html", b"<html", b"<head", b"<body")
HEAD = 512  # bytes that are looked at


@dataclass(frozen=True)
class Remote:
    """A file to fetch: its place in the data set, its address, and what is known of its bytes."""

    path: str
    url: str
    bytes: int | None = None
    sha256: str | None = None


class Again(Exception):
    """Something that may be better at the next try."""


def place(folder: str | Path, path: str) -> Path:
    """Where a file of a data set lies; a path that would leave the folder is refused."""
    parts = PurePosixPath(path).parts
    # Control characters and halves of characters: no file system has use for them.
    odd = any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in path)
    if odd or not parts or path.startswith(("/", "\\")) or ".." in parts or re.match(r"^\w:", path):
        raise InputError(f"{path!r}: a file of a data set must lie inside its folder")
    return Path(folder).joinpath(*parts)


def is_there(target: Path, remote: Remote) -> bool:
    """Whether a file is in place, by its size: what is in place was checked when it came."""
    return target.is_file() and remote.bytes in (None, target.stat().st_size)


def check(remote: Remote, part: Path, md5: str) -> None:
    """Size and digests, where they are known; wrong bytes are thrown away."""
    size = part.stat().st_size
    wrong = ""
    if not size:
        wrong = "none came"
    elif remote.bytes is not None and size != remote.bytes:
        wrong = f"{size:,} bytes came, the manifest says {remote.bytes:,}"
    elif remote.sha256 and (found := sha256(part)) != remote.sha256.lower():
        wrong = f"sha256 is {found[:16]}..., the manifest says {remote.sha256[:16]}..."
    elif md5 and (found := _md5(part)) != md5:
        wrong = f"md5 is {found}, the server says {md5}"
    elif not (md5 or remote.sha256):
        with open(part, "rb") as file:
            head = file.read(HEAD)
        if reason := misfit(remote.path, head):
            part.unlink()
            raise InputError(f"{remote.path}: {reason} (from {remote.url})")
    if wrong:
        part.unlink()
        raise Again(f"wrong bytes: {wrong}")


def misfit(path: str, head: bytes) -> str:
    """What speaks against a file's first bytes; "" if nothing does.

    Examples
    --------
    >>> misfit("a/net.pth", b"<!DOCTYPE html><html>"), misfit("a.tif", b"II*\\0")
    ('a page of HTML came, not a .pth file', '')
    >>> misfit("a.parquet", b"oops"), misfit("notes.txt", b"oops")
    ("its first bytes b'oops' are not a .parquet file's", '')
    """
    suffix = PurePosixPath(path).suffix.lower()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if suffix not in (".html", ".htm") and text.startswith(PAGES):
        return f"a page of HTML came, not a {suffix or 'binary'} file"
    # 8 bytes say how long the header is; OpenPhenom's is a pickle under this name.
    if suffix == ".safetensors" and not head.startswith((_ZIP, _PICKLE)) and head[8:9] != b"{":
        return f"its first bytes {head[:8]!r} are not a {suffix} file's"
    if suffix in BEGINNINGS and not head.startswith(BEGINNINGS[suffix]):
        return f"its first bytes {head[:8]!r} are not a {suffix} file's"
    return ""


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()
