"""Worker processes that do not outlive the command that started them."""

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """End this process when its parent has ended, however it ended.

    For ``ProcessPoolExecutor(initializer=...)``: the workers of a killed command would otherwise
    wait for work for ever.
    """
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
