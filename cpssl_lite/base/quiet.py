"""What is not said: other libraries' advice while they work for us, and a line twice."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class Once(logging.Filter):
    """Lets each warning through once in the life of a handler, any other line once in a row.

    Lines of progress come again: two screens of one size are drawn with the same words.

    Examples
    --------
    >>> import sys
    >>> handler = logging.StreamHandler(sys.stdout)
    >>> handler.addFilter(Once())
    >>> for number in (3, 3, 4):
    ...     line = logging.makeLogRecord({"levelno": logging.WARNING, "msg": f"{number} wells"})
    ...     _ = handler.handle(line)
    3 wells
    4 wells
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: set[str] = set()
        self.last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line says something that was not said before."""
        text = record.getMessage()
        again = text in self.told if record.levelno >= logging.WARNING else text == self.last
        if again:
            return False
        self.told.add(text)
        self.last = text
        return True


def log_lines() -> None:
    """Send the package's lines to standard error, and warnings of others; each warning once."""
    lines = logging.StreamHandler()
    lines.addFilter(Once())
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[lines])
    logging.getLogger("cpssl_lite").setLevel(logging.INFO)


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
