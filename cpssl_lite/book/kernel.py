"""The process that a notebook runs in."""

import json
import logging
import os
import re
import sys
from itertools import count
from pathlib import Path
from typing import Any

from cpssl_lite.base.quiet import Once
from cpssl_lite.book.html import cell
from cpssl_lite.book.warm import WORKS, Forker

DRAWING = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
# What is read when a kernel starts, or later; all else libraries may read while they are imported.
ITS_OWN = re.compile("CPSSL_|JPY_|IPYTHONDIR$|PYTEST_CURRENT_TEST$")


class _OnThePage(logging.Handler):
    """Shows what the package warns of below the cell that it concerns, each warning once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(Once())

    def emit(self, record: logging.LogRecord) -> None:
        from IPython.display import publish_display_data

        text = " ".join(record.getMessage().split())
        html = f'<div class="admonition warning"><p>{cell(text)}</p></div>'
        publish_display_data({"text/html": html, "text/plain": f"Warning: {text}"})


def show_warnings() -> None:
    """Let the package's warnings stand on the page: a rendered book has no standard error."""
    logging.getLogger("cpssl_lite").addHandler(_OnThePage())


_forkers: list[tuple[Forker, dict[str, str]]] = []  # none, or the one with what it imported under
_asked = count()


def many_follow(threads: int | None = None) -> None:
    """Say that this process will run several notebooks: their kernels then share their imports.

    Only kernels that are asked for with the same environment and number of threads do.
    """
    if WORKS and not _forkers:
        environment = _environment(threads)
        _forkers.append((Forker(environment), _shared(environment)))


def _environment(threads: int | None) -> dict[str, str]:
    return {**os.environ, **DRAWING, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}


def _shared(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not ITS_OWN.match(name)}


def private_kernel(run: dict[str, Any], threads: int | None, home: str) -> type:
    """A kernel that is exactly this Python, whatever kernels the machine has."""
    if next(_asked):  # where there are two, there will be more
        many_follow(threads)
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning import LocalProvisioner

    environment = {
        # Jupyter fills $NAME in these texts.
        "CPSSL_RUN": json.dumps(run, default=str).replace("$", "$$"),
        # A reader's own start-up scripts and plot settings must not change a page.
        "IPYTHONDIR": home,
        **DRAWING,
    }
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    command.append("--IPKernelApp.log_level=CRITICAL")
    first = "from cpssl_lite.book.kernel import show_warnings; show_warnings()"
    command.append(f"--IPKernelApp.exec_lines={first}")

    class Forked(LocalProvisioner):
        """A kernel that was forked where everything is imported; an ordinary one elsewhere."""

        async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
            forker, imported_under = _forkers[0] if _forkers else (None, None)
            if not forker or not forker.alive() or _shared(kwargs["env"]) != imported_under:
                return await super().launch_kernel(cmd, **kwargs)
            self.cwd = kwargs.get("cwd", Path.cwd())
            fork = forker.fork(cmd[3:], kwargs["env"], str(self.cwd))
            self.process = fork  # type: ignore[assignment]  # what is asked of a Popen, it has
            self.pid = self.pgid = fork.pid  # it leads a session of its own
            return self.connection_info

    class Private(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=command, language="python", env=environment)

        async def _async_pre_start_kernel(self, **kw: Any) -> Any:
            if self.provisioner is None:
                self.provisioner = Forked(
                    kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
                )
            return await super()._async_pre_start_kernel(**kw)

    return Private
