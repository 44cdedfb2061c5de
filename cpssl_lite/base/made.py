"""Is it made already? One rule for every output: by the digests of what it was made from.

An output is known by its inputs, its parameters and the code that made it, as far as that code
does something (comments and docstrings do not). Same digests: it is kept. Others: made again.

The libraries for this were looked at: joblib.Memory keeps pickles and knows one function's
source, not what it calls; doit and DVC want every file named before anything runs; jupyter-cache
knows a notebook's cells, not its modules or data. What is needed is a digest to store beside the
output, so that is all there is here.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpssl_lite.base.files import stamp
from cpssl_lite.base.provenance import provenance
from cpssl_lite.base.sources import PACKAGE, behaviour_digest, modules_used, read
from cpssl_lite.base.yamls import shown


@dataclass(frozen=True)
class Recipe:
    """What an output is made from.

    Parameters
    ----------
    step
        What makes it: extract, prepare, simulate, ...
    parameters
        Everything that was chosen. Anything JSON can write, paths and arrays as text.
    inputs
        A digest for each thing that is read.
    code
        As `code_digest` gives it.

    Examples
    --------
    >>> before = Recipe("normalize", {"method": "sphere"}, {"wells": "1f0c"}, "77aa")
    >>> after = Recipe("normalize", {"method": "tvn"}, {"wells": "1f0c"}, "77aa")
    >>> after.made(before.record()), after.changed(before.record())
    (False, "parameter method: 'sphere', now 'tvn'")
    """

    step: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    @property
    def digest(self) -> str:
        """One digest of it all."""
        parts = [self.step, _plain(self.parameters), dict(self.inputs), self.code]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def record(self, **facts: Any) -> dict[str, Any]:
        """Provenance to store with the output: all of this, versions, commit and more `facts`."""
        made_from = {"inputs": dict(self.inputs), "code": self.code, "digest": self.digest}
        return provenance(self.step, **_plain(self.parameters), **made_from, **facts)

    def made(self, there: Mapping[str, Any]) -> bool:
        """Whether the output that carries the record `there` is what this would give."""
        return there.get("digest") == self.digest

    def changed(self, there: Mapping[str, Any]) -> str:
        """The first thing that differs from the record `there`, in a few words; "" if nothing.

        Parameters lie in the record itself, as `record` puts them, or under ``parameters``. A
        record without inputs is of older code, and says nothing of them.
        """
        if self.made(there):
            return ""
        inputs, more = (there.get(part) for part in ("inputs", "parameters"))
        if isinstance(inputs, dict):
            for name in sorted({*self.inputs, *inputs}):
                if inputs.get(name) != self.inputs.get(name):
                    return f"input {name}"
        old = {**there, **more} if isinstance(more, dict) else there
        for name, value in _plain(self.parameters).items():
            if old.get(name) != value:
                return f"parameter {name}: {shown(old.get(name))}, now {shown(value)}"
        return "code"


def code_digest(*files: str | Path, rooms: Sequence[str] = ()) -> str:
    """Digest of what `files` do, and of the modules they use that lie in `rooms`.

    Rooms are named so that a line about how a table is written does not make a plate be
    extracted again: code counts where it can change the numbers.
    """
    own = [Path(file) for file in files]
    used = {module for file in own for module in modules_used(read(file))}
    inside = {m for m in used if m.suffix == ".py" and m.relative_to(PACKAGE).parts[0] in rooms}
    return behaviour_digest(sorted({*own, *inside}))


def files_digest(files: Iterable[str | Path]) -> str:
    """Digest of files by name, size and time of change: for images, too many to read twice.

    Names count from the folder that holds them all, so that it can be moved.
    """
    paths = [os.path.abspath(file) for file in files]
    above = 0
    with suppress(ValueError):  # no files; drives of Windows have nothing above them
        above = len(os.path.commonpath([os.path.dirname(path) for path in paths]))
    facts = [[path[above:], *stamp(path)] for path in paths]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON would give it back."""
    return json.loads(json.dumps(dict(values), sort_keys=True, default=str))
