"""Work shared by processes that do not outlive the command that started them."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from cpssl_lite.base.errors import InputError

Job = TypeVar("Job")
Done = TypeVar("Done")


def in_processes(
    work: Callable[[Job], Done], jobs: Sequence[Job], workers: int, chunk: int = 1
) -> Iterator[Done]:
    """Yield the result of each job in order, from so many processes (1: from this one).

    Processes are spawned, not forked: the caller may have threads (torch does), which a fork
    breaks. Scripts that ask for several need the usual ``if __name__ == "__main__"``. After a
    failure the jobs that nobody has begun are dropped.

    Parameters
    ----------
    chunk
        Jobs that are handed over at a time.

    Raises
    ------
    InputError
        A process was killed. Whatever `work` raises comes through.
    """
    workers = min(workers, len(jobs), max(8, 4 * (os.cpu_count() or 1)))  # more only wait
    if workers < 2:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent)
    try:
        yield from pool.map(work, jobs, chunksize=chunk)
    except BrokenProcessPool as error:
        raise InputError(
            'a worker process ended (out of memory? a script without if __name__ == "__main__"?);'
            " start again with fewer workers, what is finished is kept"
        ) from error
    except (KeyboardInterrupt, GeneratorExit):  # here, or where the results are used
        # Processes leave Ctrl-C to us; nobody waits for a notebook of minutes to end.
        for process in list(pool._processes.values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """End this process when its parent has ended, however it ended, and leave Ctrl-C to it.

    For ``ProcessPoolExecutor(initializer=...)``: the workers of a killed command would otherwise
    wait for work for ever, and those of an interrupted one each print a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
