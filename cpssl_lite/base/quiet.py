"""Other libraries' advice, left out while they work for us."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*names: str, level: int = logging.ERROR) -> Iterator[None]:
    """Show warnings of no kind, and of the loggers `names` only what reaches `level`.

    Examples
    --------
    >>> with quiet("somewhere.chatty"):
    ...     logging.getLogger("somewhere.chatty").warning("12 hints about workers")
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)
