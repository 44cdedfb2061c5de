"""Post-processing of well profiles: variance filter, sphering, MAD robustize, standardize.

Paper, "SSL inference and postprocessing" and Supplementary Fig. 2. All of it in float64.
Functions on arrays take profiles (n, d), and controls or plates of wells; `normalize` a table.
"""

import logging

import numpy as np
import pandas as pd
from scipy.linalg import eigh, svd

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.words import counted
from cpssl_lite.images.metadata import PLATE
from cpssl_lite.profiles import steps as more
from cpssl_lite.profiles.roles import joined, say_nameless
from cpssl_lite.profiles.table import feature_columns, first_few, profile_matrix, require

log = logging.getLogger(__name__)

EPSILON = 1e-6
MAD_TO_SD = 1.4826  # rounded as in the paper; the MAD of a normal variable is sd / this
PER_PLATE = ("mad_robustize", "standardize", "inverse_normal")
STEPS = ("sphere", *PER_PLATE, "pca", "tvn", "well_position")
WELLS = ("all", "negcon")


def variance_filter(profiles: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Which features vary: population variance above 1e-5 in treated AND in control wells.

    Parameters
    ----------
    profiles : (n, d)
    controls : (n,) bool
        Negative controls. The paper's text does not say "both"; the released code does it.

    Returns
    -------
    (d,) bool

    Examples
    --------
    >>> profiles = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 4.0], [5.0, 1.0, 3.0], [7.0, 2.0, 3.0]])
    >>> variance_filter(profiles, np.array([True, True, False, False]))
    array([ True, False, False])
    """
    # A table may be all treated wells, or all controls.
    groups = [group for group in (profiles[~controls], profiles[controls]) if len(group)]
    return np.all([group.var(axis=0) > 1e-5 for group in groups], axis=0)


def sphere(profiles: np.ndarray, controls: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Whiten all profiles so that the negative controls have identity correlation (ZCA-cor).

    With C the covariance of the controls (divided by n) and R its correlation matrix, the
    result is (x - mean of controls) diag(C)^-1/2 R^-1/2.

    Parameters
    ----------
    profiles : (n, d)
    controls : (n,) bool
        The negative controls of the whole data set.
    epsilon : float
        Smallest eigenvalue that R may have; smaller ones are raised to it. With no more
        controls than features, R has null directions: with the default they are amplified
        1 / sqrt(1e-6) = 1000-fold, as in the released code, and a warning says so. Something
        like 0.01 to 0.1 keeps them in bounds.

    Returns
    -------
    (n, d) float64

    Raises
    ------
    InputError
        Fewer than two controls, or a feature that is constant among them.

    Notes
    -----
    Ando et al. 2017; reference implementation pycytominer (commit aee7100).
    """
    reference = profiles[controls].astype(np.float64)
    n, d = reference.shape
    if n < 2:
        raise InputError(f"sphering needs at least 2 negative controls, got {n}")
    centre = reference.mean(axis=0)
    scale = reference.std(axis=0)
    if not scale.all():
        flat = counted((scale == 0).sum(), "feature")
        raise InputError(f"{flat} constant among {n} negative controls; run variance_filter first")
    reference = (reference - centre) / scale
    if n > d:
        values, vectors = eigh(reference.T @ reference / n)
    else:  # at most n directions with spread: no matrix of d x d is needed
        _, singular, rows = svd(reference, full_matrices=False)
        values, vectors = singular**2 / n, rows.T
    scaled = (profiles - centre) / scale
    # Eigenvalues that are zero come out as rounding errors around 1e-15 times the largest.
    kept = values >= epsilon
    values, vectors = values[kept], vectors[:, kept]
    if len(values) == d:
        return scaled @ ((vectors / np.sqrt(values)) @ vectors.T)
    # All other directions share the eigenvalue epsilon: what is left outside those kept.
    inside = scaled @ vectors
    outside = scaled - inside @ vectors.T
    # A layer norm makes features add up to a constant, in treated wells too: no harm.
    if outside.var(axis=0).sum() > 100 * epsilon:
        log.warning(
            "sphering: %d negative controls for %s leave %s without spread, amplified %.0f-fold: "
            "distances see little else. The released code does the same. More than %d controls, "
            "fewer features (pca) or an epsilon of 0.01 and more prevent it",
            *(n, counted(d, "feature"), counted(d - len(values), "direction"), epsilon**-0.5, d),
        )
    return (inside / np.sqrt(values)) @ vectors.T + outside / np.sqrt(epsilon)


def mad_robustize(
    profiles: np.ndarray, plates: np.ndarray, reference: np.ndarray | None = None
) -> np.ndarray:
    """Per plate: subtract the median and divide by 1.4826 x MAD + 1e-18.

    Parameters
    ----------
    profiles : (n, d)
    plates : (n,)
        Plate of each well.
    reference : (n,) bool, optional
        Wells whose median and MAD are taken [default: all]; all wells are transformed.

    Returns
    -------
    (n, d) float64. Where a feature has MAD 0 on a plate (more than half of its wells have
    the same value) there is no scale; its values there are NaN, and `normalize` then leaves
    the feature out. (The released code divides by 1e-18.)

    Raises
    ------
    InputError
        A plate without reference wells.
    """
    out = np.empty(profiles.shape)
    for name, rows, fit in more.by_plate(plates, reference):
        # Medians along the fast axis: several times faster than down the columns.
        here = np.ascontiguousarray(profiles[rows].T, dtype=np.float64)  # (d, wells of plate)
        base = here if fit.all() else here[:, fit]
        centre = np.median(base, axis=1)[:, None]
        scale = np.median(np.abs(base - centre), axis=1)[:, None] * MAD_TO_SD
        if not scale.any():
            raise InputError(
                f"plate {name}: no feature has any spread over its {counted(fit.sum(), 'well')}; "
                "MAD robustize needs plates of several different wells"
            )
        scale[scale == 0] = np.nan
        out[rows] = ((here - centre) / (scale + 1e-18)).T
    return out


def standardize(
    profiles: np.ndarray, plates: np.ndarray, reference: np.ndarray | None = None
) -> np.ndarray:
    """Per plate: subtract the mean of its reference wells and divide by their sd (over n).

    Parameters and errors as for `mad_robustize`; (n, d) float64. A feature that is constant among
    the reference wells of a plate is only centred there.
    """
    out = np.empty(profiles.shape)
    for _, rows, fit in more.by_plate(plates, reference):
        here = profiles[rows].astype(np.float64)
        scale = here[fit].std(axis=0)
        # A constant can have a standard deviation of rounding errors.
        scale[scale <= 1e-12 * np.abs(here[fit]).max(axis=0)] = 1.0
        out[rows] = (here - here[fit].mean(axis=0)) / scale
    return out


def normalize(
    table: pd.DataFrame, method: str = "sphere+mad_robustize", *, epsilon: float = EPSILON
) -> pd.DataFrame:
    """Normalise a table of raw well profiles.

    Parameters
    ----------
    table : DataFrame
        As `read_profiles` returns it.
    method : str
        Steps joined by ``+``, done from left to right: ``sphere`` (negative controls of the
        whole table), ``mad_robustize`` (per plate, all wells that have a perturbation name),
        ``standardize`` (per plate, its negative controls), ``inverse_normal`` (per plate, all),
        ``pca`` (standardised per plate), ``tvn`` (per batch, negative controls),
        ``well_position``; or ``none``. A step per plate can be told its wells:
        ``mad_robustize@negcon``, ``standardize@all``. Before each step the features that do not
        vary are dropped, as in the released code; components are named ``emb_0000``, ...
    epsilon : float
        For `sphere`.

    Returns
    -------
    DataFrame
        Same wells in the same order and the same Metadata columns, features float64, those
        without variance gone. Wells without any value are left out. ``none`` changes nothing
        else.

    Raises
    ------
    InputError
        An unknown step; no controls or, for `standardize`, a plate without them; no feature
        left; the rules of `profile_matrix`.
    """
    steps = parse_method(method)
    features = np.array(feature_columns(table))
    head, values = profile_matrix(table)
    if not 0 < epsilon < np.inf:
        raise InputError(f"epsilon {epsilon:g} is not above 0")
    controls = _text(head, "Metadata_Control") == "negcon"
    for step in steps:
        name, _, wells = step.partition("@")
        wells = wells or ("negcon" if name in ("sphere", "standardize", "tvn") else "all")
        if wells == "negcon":
            require(table, "Metadata_Control")
        if name != "sphere":
            needed = {"tvn": "Batch", "well_position": "Well"}.get(name, "Plate")
            require(table, f"Metadata_{needed}")
        keep = variance_filter(values, controls)
        groups = f"{(~controls).sum()} treated and {counted(controls.sum(), 'control well')}"
        values, features = _keep(values, features, keep, f"variance above 1e-5 among {groups}")
        named = _text(head, "Metadata_Perturbation") != ""
        if name == "sphere":
            values = sphere(values, controls, epsilon)
        elif name == "well_position":
            more.say_who_stays(head)
            values = more.well_position(values, _text(head, "Metadata_Well").astype(str), named)
        elif name in ("pca", "tvn"):
            if name == "pca":
                values = more.pca(values, plate_names(head), named)
            else:
                batch = plate_names(head.drop(columns="Metadata_Plate", errors="ignore"))
                values = more.tvn(values, controls, batch)
            features = np.array([f"emb_{i:04d}" for i in range(values.shape[1])])
        if name not in PER_PLATE:
            continue
        reference = controls
        if wells == "all":
            reference = named
            say_nameless(head, ~reference, f"not fitted on in {name}")
        fits = {"mad_robustize": mad_robustize, "standardize": standardize}
        values = fits.get(name, more.inverse_normal)(values, plate_names(head), reference)
        spread = ~np.isnan(values).any(axis=0)
        if not spread.all():
            log.warning(
                "mad_robustize: %d of %s dropped, with MAD 0 on a plate (%s)",
                *((~spread).sum(), counted(len(features), "feature"), first_few(features[~spread])),
            )
        values, features = _keep(values, features, spread, "a MAD above 0 on every plate")
    return pd.concat([head, pd.DataFrame(values, head.index, features)], axis=1)


def parse_method(method: str) -> list[str]:
    """Split a method string into its steps.

    Examples
    --------
    >>> parse_method("sphere+mad_robustize"), parse_method("none")
    (['sphere', 'mad_robustize'], [])
    """
    # The authors' command line says spherize_mad_robustize, mad_robustize_spherize, no_post_proc.
    known = method.replace("spherize", "sphere").replace("no_post_proc", "none")
    known = known.replace("sphere_", "sphere+").replace("_sphere", "+sphere")
    steps = [step.strip() for step in known.split("+")]
    if steps == ["none"]:
        return []
    allowed = {*STEPS, *(f"{step}@{wells}" for step in PER_PLATE for wells in WELLS)}
    for step in steps:
        if step not in allowed:
            raise InputError(
                f"unknown step {step!r} in method {method!r}; allowed are {', '.join(STEPS)}, "
                f"joined by +, or none; steps per plate may end in @{' or @'.join(WELLS)}"
            )
    return steps


def plate_names(head: pd.DataFrame) -> np.ndarray:
    """Name of each well's plate; plates of different batches never share one."""
    parts = [n for n in PLATE if n in head]
    require(head, *(n for n in parts if (head[n] != "").any()))  # in all rows, or in none
    return joined(head, parts)


def _text(head: pd.DataFrame, column: str) -> np.ndarray:
    """Values of a column; of one that the table lacks, "unknown"."""
    return np.array(head.get(column, ["unknown"] * len(head)), dtype=object)


def _keep(
    values: np.ndarray, features: np.ndarray, keep: np.ndarray, what: str
) -> tuple[np.ndarray, np.ndarray]:
    if not keep.any():
        raise InputError(f"no feature (of {len(features)}) has {what}; nothing is left")
    return (values, features) if keep.all() else (values[:, keep], features[keep])
