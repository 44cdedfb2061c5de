"""A place for what numba and Matplotlib keep, where the home is none."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def keep_caches() -> None:
    """Give numba and Matplotlib a folder of their own where the home cannot be written.

    Numba otherwise raises, where the packages are not ours to write in either (containers do
    both); Matplotlib says two lines about it. Numba runs what it finds there: the folder is used
    only if nobody else can write in it.
    """
    if os.name == "nt" or os.access(os.path.expanduser("~"), os.W_OK):
        return
    folder = Path(tempfile.gettempdir()) / f"cpssl-caches-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if ours and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.environ.setdefault("NUMBA_CACHE_DIR", str(folder / "numba"))
            os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
