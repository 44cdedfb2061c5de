"""Names of files made from names in data: two of them never meet, on any file system."""

import hashlib
import json
import re
from collections import Counter

import pandas as pd

from cpssl_lite.images.metadata import PLATE


def safe(name: str) -> str:
    """A name as part of a file name: no separators, never hidden, never a step upwards.

    Examples
    --------
    >>> safe("../B 1"), safe("P1")
    ('_B_1', 'P1')
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "_"


def plate_names(rows: pd.DataFrame) -> list[str]:
    """A folder name for the plate of each row, of the columns `PLATE`.

    A digest tells plates apart that would have one name, also where case does not count: on macOS
    and Windows `P1` and `p1` are one folder.
    """
    keys = list(rows[PLATE].itertuples(index=False, name=None))
    plates = dict.fromkeys(keys)
    shared = Counter(safe(plate[-1]).casefold() for plate in plates)
    names = {}
    for plate in plates:
        name = safe(plate[-1])
        digest = hashlib.sha256(json.dumps(plate).encode()).hexdigest()[:8]
        names[plate] = f"{name}-{digest}" if shared[name.casefold()] > 1 else name
    return [names[plate] for plate in keys]
