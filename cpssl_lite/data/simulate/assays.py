"""Assay read-outs of simulated compounds, whose best reachable AUC is known."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from cpssl_lite.data.simulate.library import Perturbation, generator
from cpssl_lite.data.simulate.phenotype import NAMES

N_ASSAYS = 24
REDRAWS = 200  # of the noise, to know what the best possible predictor gets on average


def draw_assays(perturbations: list[Perturbation], seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw activity labels: each assay responds to a few phenotype parameters, with noise.

    A compound's response is a weighted sum of its phenotype steps; it is active when response
    plus normal noise is above the assay's cut. Assays differ in noise (0 for every sixth), in
    share of actives and in how many compounds they tested.

    Parameters
    ----------
    perturbations
        The library.
    seed
        Of the screen.

    Returns
    -------
    labels : DataFrame
        ``Metadata_Perturbation`` and a column per assay, int8: 1 active, -1 inactive, 0 not
        measured (the coding of Hofmarcher et al. 2019).
    card : DataFrame
        A row per assay: parameters, ``noise`` (in standard deviations of the response),
        ``n_active``, ``n_inactive`` and ``best_auc``, what a predictor that knows the response
        gets on these compounds, averaged over redraws of the noise. NaN if one class is empty.
    """
    names = [p.name for p in perturbations]
    steps = np.array([[p.steps().get(name, 0.0) for name in NAMES] for p in perturbations])
    labels: dict[str, object] = {"Metadata_Perturbation": names}
    cards = []
    for a in range(N_ASSAYS):
        rng = generator(seed, "assay", a)
        chosen = rng.choice(len(NAMES), size=4, replace=False)
        response = np.sum(steps[:, chosen] * rng.standard_normal(4), axis=1)
        response = (response - response.mean()) / max(float(response.std()), 1e-9)
        noise = 0.3 * (a % 6)
        share = 0.15 + 0.35 * rng.random()
        tested = rng.random(len(names)) < 0.4 + 0.6 * rng.random()
        cut = np.quantile(response, 1 - share)
        drawn = response + noise * rng.standard_normal((REDRAWS + 1, len(names))) > cut
        active = drawn[0]
        aucs = _aucs(response[tested], drawn[1:, tested])
        labels[f"assay_{a + 1:02d}"] = np.where(tested, np.where(active, 1, -1), 0).astype(np.int8)
        cards.append(
            {
                "assay": f"assay_{a + 1:02d}",
                "parameters": ", ".join(NAMES[i] for i in chosen),
                "noise": noise,
                "n_active": int(np.sum(active & tested)),
                "n_inactive": int(np.sum(~active & tested)),
                "best_auc": float(aucs.mean()) if len(aucs) else float("nan"),
            }
        )
    return pd.DataFrame(labels), pd.DataFrame(cards)


def _aucs(score: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Areas under the ROC curve of one score for each row of labels that has both classes.

    By the sum of the actives' ranks (Mann and Whitney): the share of pairs of an active and an
    inactive compound in which the active one scores higher, ties counted half.
    """
    n, m = active.sum(axis=1), (~active).sum(axis=1)
    higher = active @ rankdata(score) - n * (n + 1) / 2
    both = n * m > 0
    return higher[both] / (n * m)[both]
