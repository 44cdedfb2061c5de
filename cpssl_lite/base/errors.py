"""The exceptions that a user is meant to read."""


class InputError(ValueError):
    """Something that was given to us cannot be used.

    The message is one line: which file, which row or key, what was got, what is allowed
    or what to do. The command line prints it without a traceback and exits with 2.
    """


class StepFailed(RuntimeError):
    """A notebook or the book ran and did not pass; the message says where, in a few lines.

    The command line prints it without a traceback of its own and exits with 1.
    """
