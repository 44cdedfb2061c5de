"""Memory that was freed and will be wanted again in a moment stays with the process."""

import ctypes
import sys
from typing import Any

# Parameters of mallopt(3).
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
# What glibc gives back by itself, at most: freed blocks from here on, and twice as much at the end.
GIVEN_BACK = 2**25


def keep_freed_memory(keep: bool = True) -> bool:
    """Tell the C library to keep what is freed, or (not `keep`) what it keeps by itself.

    A batch's intermediate results are large, freed and asked for again at once. glibc returns such
    blocks to the system and fetches fresh pages, which the kernel has to clear: thousands of page
    faults for every layer of a network, a tenth of the time of an extraction. What the process
    takes at most does not change; it keeps that until it ends.

    Returns
    -------
    bool
        Whether it was done; other systems than Linux with glibc have other rules.
    """
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt"):  # as in musl
        return False
    large = 2**30 if keep else GIVEN_BACK
    return bool(
        library.mallopt(MMAP_THRESHOLD, large)
        and library.mallopt(TRIM_THRESHOLD, large if keep else 2 * large)
    )
