"""The process that a notebook runs in."""

import json
import sys
from typing import Any


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

    class Private(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=command, language="python", env=environment)

    return Private
