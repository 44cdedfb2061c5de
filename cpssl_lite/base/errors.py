"""The exceptions that a user is meant to read."""


class InputError(ValueError):
    """Something that was given to us cannot be used.

    The message is one line: which file, which row or key, what was got, what is allowed
    or what to do. The command line prints it without a traceback and exits with 2.

    Examples
    --------
    >>> raised = "Caught InputError in worker 0.\\nTraceback:\\n  a.InputError: x.tif: cut off\\n"
    >>> str(InputError(raised))
    'x.tif: cut off'
    """

    def __init__(self, message: str = "") -> None:
        # Of an error in a process that reads for it PyTorch makes one with the whole traceback as
        # its message, which our line ends.
        if message.startswith("Caught InputError in "):
            message = message.rpartition("InputError: ")[2].strip()
        super().__init__(message)


class StepFailed(RuntimeError):
    """A notebook or the book ran and did not pass; the message says where, in a few lines.

    The command line prints it without a traceback of its own and exits with 1.
    """


def full_memory(kind: str, text: str) -> str:
    """What to say of an error, by its type's name and its words, if memory is full; else "".

    Examples
    --------
    >>> full_memory("MemoryError", ""), full_memory("RuntimeError", "shapes differ")
    ('out of memory (of this machine)', '')
    """
    # Python's, NumPy's _ArrayMemoryError, PyTorch's OutOfMemoryError of a GPU; that of a CPU is a
    # RuntimeError which says so in its words only.
    if kind.endswith("MemoryError") or (kind == "RuntimeError" and "memory" in text):
        return f"out of memory ({' '.join(text.split())[:200] or 'of this machine'})"
    return ""
