"""As many wells as a machine can afford, from a first short look at fewer of them."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from time import perf_counter


def wells_within(
    what: str,
    wanted: int,
    measure: Callable[[int], object],
    limit: float,
    *,
    probe: int = 1000,
    power: int = 2,
) -> int:
    """Wells whose `measure` takes about `limit` seconds, or all that are wanted; says if fewer.

    It is tried, unheard, with `probe` wells; its time grows with their number to the `power`.
    """
    if wanted <= probe:
        return wanted
    start = perf_counter()
    with redirect_stdout(io.StringIO()):
        measure(probe)
    one = perf_counter() - start
    if one * (wanted / probe) ** power <= limit:
        return wanted
    n = max(probe, int(probe * (limit / one) ** (1 / power)))
    print(f"{what}: {n} wells, not {wanted}, to stay within about {limit:g} s", flush=True)
    return n
