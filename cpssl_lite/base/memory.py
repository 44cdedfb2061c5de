"""Memory that was freed and will be wanted again in a moment stays with the process."""

import ctypes
import os
import sys
from typing import Any

# Bytes: the largest block that is kept when it is freed, and how much is kept in all.
BATCHES = 2**30, 2**30  # the intermediate results of a network
COMMAND = 2**25, 2**28  # of a command, whatever it does
AS_IT_IS = 2**25, 2**26  # what glibc keeps by itself, at most
# The two numbers as parameters of mallopt(3), and as variables of a process that starts.
_NAMES = ((-3, "MALLOC_MMAP_THRESHOLD_"), (-1, "MALLOC_TRIM_THRESHOLD_"))


def keep_freed_memory(sizes: tuple[int, int] = BATCHES, children: bool = False) -> bool:
    """Tell the C library how much of what is freed it keeps.

    A batch's intermediate results are large, freed and asked for again at once. glibc returns such
    blocks to the system and fetches fresh pages, which the kernel has to clear: thousands of page
    faults for every layer of a network, up to half of its time. What the process takes at most does
    not change; it keeps that until it ends.

    Parameters
    ----------
    sizes
        Largest block, and how much in all.
    children
        Also of the processes that this one starts. A number that the environment has already is
        the user's, and stays.

    Returns
    -------
    bool
        Whether it was done; other systems than Linux with glibc have other rules.
    """
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    known = hasattr(library, "mallopt")  # not in musl
    for (option, name), size in zip(_NAMES, sizes, strict=True):
        if children and name in os.environ:
            continue
        if children:
            os.environ[name] = str(size)
        known = known and bool(library.mallopt(option, size))
    return known
