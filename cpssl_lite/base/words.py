"""Words of messages that depend on a number."""


def counted(n: int, noun: str) -> str:
    """So many of something, which may be one.

    Examples
    --------
    >>> counted(1, "field"), counted(2, "such row"), counted(1200, "family"), counted(0, "batch")
    ('1 field', '2 such rows', '1,200 families', '0 batches')
    """
    if n == 1:
        return f"1 {noun}"
    if noun[-1:] == "y" and noun[-2:-1] not in "aeou":
        return f"{n:,} {noun[:-1]}ies"
    return f"{n:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"
