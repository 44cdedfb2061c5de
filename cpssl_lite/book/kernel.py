"""The process that a notebook runs in."""

import json
import logging
import sys
from typing import Any

from cpssl_lite.book.html import cell


class _OnThePage(logging.Handler):
    """Shows what the package warns of below the cell that it concerns, each warning once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from IPython.display import publish_display_data

        text = " ".join(record.getMessage().split())
        if text not in self.told:
            self.told.add(text)
            html = f'<div class="admonition warning"><p>{cell(text)}</p></div>'
            publish_display_data({"text/html": html, "text/plain": f"Warning: {text}"})


def show_warnings() -> None:
    """Let the package's warnings stand on the page: a rendered book has no standard error."""
    logging.getLogger("cpssl_lite").addHandler(_OnThePage())


def private_kernel(run: dict[str, Any], threads: int | None, home: str) -> type:
    """A kernel that is exactly this Python, whatever kernels the machine has."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    environment = {
        # Jupyter fills $NAME in these texts.
        "CPSSL_RUN": json.dumps(run, default=str).replace("$", "$$"),
        # A reader's own start-up scripts and plot settings must not change a page.
        "IPYTHONDIR": home,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    command.append("--IPKernelApp.log_level=CRITICAL")
    first = "from cpssl_lite.book.kernel import show_warnings; show_warnings()"
    command.append(f"--IPKernelApp.exec_lines={first}")

    class Private(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=command, language="python", env=environment)

    return Private
