"""Many small trainings and the profiles of their networks, shared out to processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from cpssl_lite.base.made import Recipe
from cpssl_lite.base.workers import in_processes
from cpssl_lite.book.digest import data_digest
from cpssl_lite.models.checkpoints import load_encoder, random_like
from cpssl_lite.models.encoder import Encoder
from cpssl_lite.models.train import train
from cpssl_lite.profiles.extract import extract_many

RANDOM = "random weights"  # the condition of networks that are not trained
COLLAPSED = 0.99  # of the loss of guessing: a network that stays above has learned nothing


@dataclass(frozen=True)
class Run:
    """One training, or with `RANDOM` the network of a seed's first training before it."""

    condition: str
    seed: int
    folder: Path
    recipe: dict[str, Any]

    @property
    def profiles(self) -> Path:
        """Table of the network's profiles."""
        name = "random.parquet" if self.condition == RANDOM else "profiles.parquet"
        return self.folder / name

    @property
    def curve(self) -> pd.DataFrame:
        """Loss and rates of every step."""
        return pd.read_csv(self.folder / "metrics.csv")

    @property
    def last_loss(self) -> float:
        """Mean loss of the last epoch; NaN of a network that is not trained."""
        if self.condition == RANDOM:
            return float("nan")
        curve = self.curve
        return float(curve.loc[curve["epoch"] == curve["epoch"].max(), "loss"].mean())

    @property
    def collapsed(self) -> bool:
        """Whether the network ended where one ends that guesses."""
        return self.last_loss > COLLAPSED * guessing(self.recipe)


def guessing(recipe: Mapping[str, Any]) -> float:
    """Loss of a network that cannot tell its crops apart.

    For SimCLR the logarithm of the number of views that could be the partner, for DINO that of
    the number of outputs.
    """
    simclr = recipe["method"] == "simclr"
    return float(np.log(2 * recipe["batch_size"] - 1 if simclr else recipe["head"]["out"]))


def plan(
    results: str | Path,
    table: str | Path,
    recipe: Mapping[str, Any],
    augment: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
) -> list[Run]:
    """One run for each condition and seed, and one with random weights for each seed.

    Parameters
    ----------
    results
        Folder of all of them; each has a folder named by what goes into it, so that one condition
        more costs one training more.
    table
        Image table to train on.
    recipe
        What they share (`recipes.load_recipe`).
    augment
        Augmentations by condition, as recipes have them.
    seeds
        Everything else that is random is the same for all conditions of a seed.
    """
    runs, data = [], data_digest(Path(table))
    for condition, augmentations in augment.items():
        for seed in seeds:
            mine = {**recipe, "augment": {k: dict(v) for k, v in augmentations.items()}}
            key = Recipe("train", {**mine, "seed": seed}, {"data": data}).digest[:12]
            slug = condition.lower().replace(" + ", "+").replace(" ", "-")
            folder = Path(results) / f"{recipe['method']}-{slug}-{seed}-{key}"
            runs.append(Run(condition, seed, folder, mine))
    first = [next(run for run in runs if run.seed == seed) for seed in seeds]
    return runs + [Run(RANDOM, run.seed, run.folder, run.recipe) for run in first]


def run_all(runs: Sequence[Run], table: str | Path, images: pd.DataFrame, workers: int = 2) -> None:
    """Train what is not trained yet, and write the profiles of every network.

    Each process reads the fields to score once, for all of its networks.

    Parameters
    ----------
    runs
        As `plan` returns them.
    table
        Image table to train on.
    images
        Fields to score, as `read_image_table` returns them.
    workers
        Processes, with one thread each: networks this small gain more from two trainings at a time
        than from two threads.
    """
    folders = list(dict.fromkeys(run.folder for run in runs))
    shares = [
        [run for run in runs if folders.index(run.folder) % workers == number]
        for number in range(workers)
    ]
    work = partial(_share, str(table), images)
    list(in_processes(work, [share for share in shares if share], workers))


def _share(table: str, images: pd.DataFrame, runs: Sequence[Run]) -> None:
    """Train and embed what falls to one process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _train_and_embed(table, images, runs)
    finally:
        torch.set_num_threads(before)


def _train_and_embed(table: str, images: pd.DataFrame, runs: Sequence[Run]) -> None:
    networks: dict[Path, Encoder] = {}
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        changes = run.folder / "changes.yaml"
        changes.write_text(yaml.safe_dump({**run.recipe, "recipe": run.recipe["name"]}))
        made = train(run.recipe["method"], table, run.folder, changes, run.seed, curves=False)
        network = load_encoder(made)
        random = run.condition == RANDOM
        networks[run.profiles] = random_like(network, run.seed) if random else network
    # Crops this small need larger batches than usual to keep a core busy.
    extract_many(images, networks, batch_size=256)
