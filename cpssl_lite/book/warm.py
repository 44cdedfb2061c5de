"""Kernels that begin with everything imported: one Python imports, each kernel is a fork of it.

Importing torch, timm, scikit-learn and matplotlib costs 7 to 12 CPU seconds, and every chapter
needs them. Where many notebooks run, one process pays once. It computes nothing itself and so has
no threads that a fork would lose.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from cpssl_lite.base.errors import StepFailed

# What most chapters import, with all that these import in turn.
IMPORTED = (
    "cpssl_lite.book.chapter",
    "cpssl_lite.book.features",
    "cpssl_lite.book.panels",
    "cpssl_lite.profiles.maps",
    "ipykernel.ipkernel",
    "matplotlib_inline.backend_inline",
    "seaborn",
    "sklearn.decomposition",
    "umap",
)
WORKS = sys.platform == "linux"  # elsewhere system libraries do not survive a fork


class Forker:
    """The process that imports and forks; ended with this one, so that its CPU time counts.

    Parameters
    ----------
    environment
        Its environment. What libraries read when they are imported (threads, matplotlib's
        backend) is that of every fork.
    imported
        Modules.
    """

    def __init__(self, environment: dict[str, str], imported: tuple[str, ...] = IMPORTED) -> None:
        self.process = subprocess.Popen(
            # As in other kernels the package is the installed one, not what lies in the folder.
            [sys.executable, "-P", "-m", __name__, *imported],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the command, which ends its kernels
            text=True,
        )
        atexit.register(self.end)

    def fork(self, arguments: list[str], environment: dict[str, str], folder: str) -> "Fork":
        """Start a kernel with these arguments of its own."""
        assert self.process.stdin and self.process.stdout  # pipes, see above
        job = {"arguments": arguments, "environment": environment, "folder": folder}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise StepFailed("the process that forks kernels has ended (out of memory?)")
        return Fork(int(answer))

    def alive(self) -> bool:
        """Whether it can still fork."""
        return self.process.poll() is None

    def end(self) -> None:
        """Close it and wait until it has gone."""
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()
        self.process.wait()


class Fork:
    """A kernel's process, with what Jupyter asks of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it runs. How it ended, only the forker knows; nobody asks."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 1
        return None

    def wait(self) -> int | None:
        """Jupyter waits only for what `poll` called ended."""
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def main() -> None:
    """Import, then fork a kernel for each line of standard input, until it is closed."""
    # Answers have a way of their own: whatever prints must not mix with them.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        import_module(name)
    signal.signal(signal.SIGCHLD, _collect)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            answers.close()
            _become_kernel(**json.loads(line))
        answers.write(f"{pid}\n")
        answers.flush()


def _collect(*_: Any) -> None:
    """Let kernels that have ended go."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become_kernel(arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    from ipykernel.kernelapp import IPKernelApp

    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = ["ipykernel_launcher", *arguments]
        # It ends itself when its parent, the forker, has gone.
        kernel = IPKernelApp.instance(parent_handle=os.getppid())
        kernel.initialize(arguments)
        _as_if_imported_here()
        kernel.start()
        status = 0
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def _as_if_imported_here() -> None:
    """Do what these do when a kernel imports them: figures are shown, tables have 20 columns."""
    import pandas as pd
    from matplotlib_inline.backend_inline import _enable_matplotlib_integration

    _enable_matplotlib_integration()
    pd.set_option("display.max_columns", 20)


if __name__ == "__main__":
    main()
