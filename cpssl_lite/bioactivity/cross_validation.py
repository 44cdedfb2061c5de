"""Bioactivity from profiles or images: train on some compounds, predict the others."""

import logging

import numpy as np
import pandas as pd
import torch

from cpssl_lite.base.errors import InputError
from cpssl_lite.bioactivity.labels import PARTS
from cpssl_lite.bioactivity.presets import PRESETS, Preset, build
from cpssl_lite.bioactivity.scores import roc_auc
from cpssl_lite.bioactivity.train import fit, predict

log = logging.getLogger(__name__)


def cross_validate(
    method: str,
    inputs: np.ndarray,
    compounds: np.ndarray,
    labels: pd.DataFrame,
    splits: pd.DataFrame,
    preset: str = "small",
    share: float = 1.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict the activity of every split's test compounds.

    Replicate wells (or fields, or cells) of a compound are separate examples in training;
    their probabilities are averaged, so that validation and test count compounds.

    Parameters
    ----------
    method : str
        FNN on profiles; GapNet, ResNet, DenseNet, MIL-Net, M-CNN or SC-CNN on images.
    inputs : (n, D) float or (n, C, H, W) uint8
        Profiles, which are standardised with mean and SD of the training rows, or images.
    compounds : (n,)
        Compound of each row; rows of compounds without labels are not used.
    labels, splits : DataFrame
        As `match_labels` and `draw_splits` return them.
    preset : {"small", "full"}
        Sizes and settings of `bioactivity.presets`.
    share : float
        Of the training compounds whose labels are used (for learning curves).

    Returns
    -------
    DataFrame
        ``split``, ``Metadata_Perturbation`` and a column of probabilities per assay; a row for
        each test compound of each split. Its ``attrs`` say how it was trained: optimiser
        ``steps`` and ``best_epoch``, a number per split.

    Raises
    ------
    InputError
        An unknown method or preset, or test compounds without any input.
    """
    settings = settings_of(method, preset)
    log.info("%s: training, %d splits", method, splits.shape[1])
    code = labels.index.get_indexer(pd.Index(np.asarray(compounds, dtype=str)))  # -1: no labels
    empty = labels.index[np.bincount(code[code >= 0], minlength=len(labels)) == 0]
    if len(empty):
        raise InputError(f"{len(empty)} labelled compounds have no input ({empty[0]} ...)")
    targets = labels.to_numpy(np.int8)
    found: list[pd.DataFrame] = []
    steps: list[int] = []
    best: list[int] = []
    for number, (name, part) in enumerate(splits.loc[labels.index].items()):
        rng = np.random.default_rng([seed, number])
        train = rng.permutation(np.flatnonzero(part == "train"))
        train = train[: max(round(share * len(train)), 1)]
        rows = {what: np.flatnonzero(np.isin(code, np.flatnonzero(part == what))) for what in PARTS}
        rows["train"] = np.flatnonzero(np.isin(code, train))
        values = inputs
        if inputs.ndim == 2:
            here = inputs[rows["train"]]
            values = ((inputs - here.mean(0)) / (here.std(0) + 1e-7)).astype(np.float32)

        def validate(probability: np.ndarray, rows: np.ndarray = rows["validation"]) -> float:
            mean, which = _by_compound(probability, code[rows])
            aucs = np.array([roc_auc(*p) for p in zip(mean.T, targets[which].T, strict=True)])
            return float(np.nan_to_num(aucs, nan=0.5).mean())

        network = build(method, settings, torch.Size(inputs.shape[1:]), len(labels.columns), seed)
        model = fit(
            *(network, settings, values, targets[code], rows["train"], rows["validation"]),
            validate,
            seed=seed,
        )
        log.info("%s, %s: best of %d epochs: %d", method, name, settings.epochs, model.best_epoch)
        steps.append(model.steps)
        best.append(model.best_epoch)
        mean, which = _by_compound(predict(network, values[rows["test"]]), code[rows["test"]])
        table = pd.DataFrame(mean.astype(np.float32), columns=labels.columns)
        table.insert(0, "Metadata_Perturbation", labels.index[which])
        table.insert(0, "split", str(name))
        found.append(table)
    predictions = pd.concat(found, ignore_index=True)
    predictions.attrs["steps"], predictions.attrs["best_epoch"] = steps, best
    return predictions


def settings_of(method: str, preset: str) -> Preset:
    """Settings of a method in a preset; one that is not there is an `InputError`."""
    if preset not in PRESETS or method not in PRESETS[preset]:
        raise InputError(
            f"method {method!r} with preset {preset!r}: methods are "
            f"{', '.join(PRESETS['full'])}, presets {', '.join(PRESETS)}"
        )
    return PRESETS[preset][method]


def _by_compound(values: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the rows of each compound, and the compounds' codes."""
    which, place = np.unique(code, return_inverse=True)
    total = np.zeros((len(which), values.shape[1]))
    np.add.at(total, place, values)
    return total / np.bincount(place)[:, None], which
