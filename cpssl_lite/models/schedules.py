"""How learning rate, weight decay, temperatures and momentum move during training."""

import numpy as np
from numpy.typing import NDArray


def warmup_cosine(
    steps: int,
    peak: float,
    final: float,
    warmup: int = 0,
    start: float = 0.0,
    reach_peak: bool = True,
) -> NDArray[np.float64]:
    """Linear warm-up from `start` to `peak`, then half a cosine to `final` (constant if equal).

    The released code has one for each method. DINO steps per batch (start 0), SimCLR per epoch
    (start 1e-6, so the whole first epoch runs at that); in both the warm-up's last step is at
    the peak already (`reach_peak`). MAE's warm-up would reach it one step later.

    Parameters
    ----------
    steps, warmup
        Number of values in all, and of those that belong to the warm-up.

    Returns
    -------
    (steps,) values. `final` itself is never reached: it would come one step after the last.

    Examples
    --------
    >>> warmup_cosine(6, peak=1.0, final=0.0, warmup=3).round(3).tolist()
    [0.0, 0.5, 1.0, 1.0, 0.75, 0.25]
    """
    warmup = min(warmup, steps)
    rise = np.linspace(start, peak, warmup, endpoint=reach_peak)
    progress = np.arange(steps - warmup) / max(steps - warmup, 1)
    return np.concatenate([rise, final + 0.5 * (peak - final) * (1 + np.cos(np.pi * progress))])
