"""Post-processing that others use: PCA, TVN, inverse normal transform, well position.

Functions on arrays: profiles (n, d), and which plate, batch or position a well is of. `normalize`
does them, and the paper's own, for a table.
"""

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.linalg import eigh
from scipy.special import ndtri

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted

log = logging.getLogger(__name__)

EXPLAINED = 0.98  # share of the variance that components are kept for
SHRINK = 0.5  # is added to the diagonal of the covariances of TVN
LARGEST = 3456  # wells that a plate can have
EDGE = 1e-7  # values so near to the smallest and largest are at the ends of the normal curve


def by_plate(
    plates: np.ndarray, reference: np.ndarray | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Per plate: its name, its rows, and which of these rows are reference wells."""
    names, codes = np.unique(plates, return_inverse=True)
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        if len(rows) > LARGEST:
            raise InputError(
                f"plate {name} has {len(rows):,} wells, more than any plate ({LARGEST:,}); do "
                "plates of several experiments share a name? --batch COLUMN tells them apart"
            )
        fit = np.ones(len(rows), dtype=bool) if reference is None else reference[rows]
        if not fit.any():
            raise InputError(
                f"plate {name} has no reference wells (negative controls, or those with a "
                f"perturbation name) among its {len(rows)}; leave it out"
            )
        yield str(name), rows, fit


def inverse_normal(
    profiles: np.ndarray, plates: np.ndarray, reference: np.ndarray | None = None
) -> np.ndarray:
    """Per plate: each feature's ranks among the reference wells, as places of a normal curve.

    Parameters as for `mad_robustize`. Values at or beyond the smallest and largest of the reference
    become -5.2 and 5.2; what lies between two of them is interpolated.

    Notes
    -----
    The numbers of scikit-learn's QuantileTransformer with as many quantiles as wells, 1,000 at most
    (pycytominer's ``inverse_normal``), which looks at features one by one: here a plate of
    thousands of features takes a second and not a minute.
    """
    out = np.empty(profiles.shape)
    ends = ndtri([EDGE - np.spacing(1), 1 - (EDGE - np.spacing(1))])
    for _, rows, fit in by_plate(plates, reference):
        here = np.ascontiguousarray(profiles[rows].T, dtype=np.float64)  # (d, wells of plate)
        places = np.linspace(0, 1, min(int(fit.sum()), 1000))
        known = np.percentile(here[:, fit], 100 * places, axis=1).T
        known = np.ascontiguousarray(known)
        low, high = here - EDGE < known[:, :1], here + EDGE > known[:, -1:]
        for values, points in zip(here, known, strict=True):  # from both sides: equal values
            up = np.interp(values, points, places)
            down = np.interp(-values, -points[::-1], -places[::-1])
            values[:] = 0.5 * (up - down)
        here[high], here[low] = 1, 0
        out[rows] = np.clip(ndtri(here), *ends).T
    return out


def pca(
    profiles: np.ndarray,
    plates: np.ndarray,
    reference: np.ndarray | None = None,
    explained: float = EXPLAINED,
) -> np.ndarray:
    """Principal components of profiles that are standardised per plate.

    Parameters
    ----------
    profiles : (n, d)
    plates : (n,)
    reference : (n,) bool, optional
        Wells that both are fitted on [default: all].
    explained : float
        As many components are kept as explain this share of the variance.

    Returns
    -------
    (n, k) float64, not whitened
    """
    from sklearn.decomposition import PCA  # a second's import, which few commands need
    from sklearn.preprocessing import StandardScaler

    fitted = np.ones(len(profiles), dtype=bool) if reference is None else reference
    values = np.empty(profiles.shape)
    for _, rows, fit in by_plate(plates, fitted):
        values[rows] = StandardScaler().fit(profiles[rows][fit]).transform(profiles[rows])
    return PCA(explained, svd_solver="full").fit(values[fitted]).transform(values)


def tvn(profiles: np.ndarray, controls: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Typical variation normalisation: components of the controls, alike in every batch.

    Features are standardised by all negative controls, turned to the controls' principal
    components, standardised by the controls of each batch, and each batch is given the covariance
    that all controls have (CORAL).

    Parameters
    ----------
    profiles : (n, d)
    controls : (n,) bool
        Negative controls.
    batches : (n,)

    Returns
    -------
    (n, k) float64, k the smaller of d and the number of controls

    Raises
    ------
    InputError
        A batch with fewer than two controls.

    Notes
    -----
    Ando et al. 2017, as in EFAAR's benchmarks (Celik et al. 2024).
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    names, codes = np.unique(batches, return_inverse=True)
    few = np.flatnonzero(np.bincount(codes[controls], minlength=len(names)) < 2)
    if len(few):
        raise InputError(f"batch {names[few[0]]}: TVN needs at least 2 negative controls in it")
    values = StandardScaler().fit(profiles[controls]).transform(profiles)
    values = PCA(svd_solver="full").fit(values[controls]).transform(values)
    for code in range(len(names)):
        mine = codes == code
        values[mine] = StandardScaler().fit(values[mine & controls]).transform(values[mine])
    target = _power(values[controls], 0.5)
    out = np.empty(values.shape)
    for code in range(len(names)):
        mine = codes == code
        out[mine] = values[mine] @ _power(values[mine & controls], -0.5) @ target
    return out


def well_position(
    profiles: np.ndarray, wells: np.ndarray, reference: np.ndarray | None = None
) -> np.ndarray:
    """Subtract from every well the mean of the reference wells at its position on all plates.

    As in the JUMP consortium's recipe. Where a perturbation stands at one position on all plates,
    its effect is subtracted too. A position without reference wells is left as it is.
    """
    fit = np.ones(len(profiles), dtype=bool) if reference is None else reference
    out = profiles.astype(np.float64)
    codes = np.unique(wells, return_inverse=True)[1]
    for code in range(codes.max(initial=-1) + 1):
        here = codes == code
        if (here & fit).any():
            out[here] -= profiles[here & fit].mean(axis=0)
    return out


def say_who_stays(head: pd.DataFrame) -> None:
    """Warn where the correction of positions takes the effect of a perturbation with it."""
    treated = head[(head.get("Metadata_Control", "") != "negcon")]
    places = treated.groupby("Metadata_Perturbation")["Metadata_Well"].agg(["nunique", "size"])
    staying = int(((places["nunique"] == 1) & (places["size"] > 1)).sum())
    if staying:
        log.warning(
            "well_position: %d of %s at one position on all plates, whose effect is subtracted too",
            *(staying, counted(len(places), "perturbation")),
        )


def _power(controls: np.ndarray, power: float) -> np.ndarray:
    """A power of the covariance of the controls with `SHRINK` on its diagonal."""
    covariance = np.atleast_2d(np.cov(controls, rowvar=False))
    values, vectors = eigh(covariance + SHRINK * np.eye(len(covariance)))
    return (vectors * values**power) @ vectors.T
