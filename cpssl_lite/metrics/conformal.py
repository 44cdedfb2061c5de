"""Prediction sets that hold the truth as often as asked for: split conformal prediction."""

import numpy as np


def conformal_p(
    probability: np.ndarray, known_probability: np.ndarray, known_label: np.ndarray
) -> np.ndarray:
    """How usual a prediction would be for an inactive and for an active compound.

    The labels whose value is above an error rate make a prediction set. It holds the truth with 1 -
    that rate, for inactive and active compounds alike, if they and the known are exchangeable.

    Parameters
    ----------
    probability : (n,)
        Of being active.
    known_probability, known_label : (m,)
        Predictions of compounds that the network did not learn from, and their labels, 1 or -1.

    Returns
    -------
    (n, 2) float64
        Share of the known inactive, and of the known active ones, that look at least as strange for
        their class, the compound itself counted in. Without any of a class 1.

    Notes
    -----
    Class-conditional (Mondrian) inductive conformal prediction, Vovk et al. 2005; equals
    ``crepes.ConformalClassifier`` without smoothing.

    Examples
    --------
    >>> conformal_p(np.array([0.9]), np.array([0.1, 0.2, 0.8]), np.array([-1, -1, 1])).round(2)
    array([[0.33, 1.  ]])
    """
    p = np.empty((len(probability), 2))
    for column, sign in enumerate((-1, 1)):
        strange = np.sort(-sign * known_probability[known_label == sign])
        as_strange = len(strange) - np.searchsorted(strange, -sign * probability)
        p[:, column] = (as_strange + 1) / (len(strange) + 1)
    return p
