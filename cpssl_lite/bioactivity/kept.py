"""Predictions of slow methods, kept: made once, taken as long as they would come out the same."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from cpssl_lite.base.made import Recipe, code_digest
from cpssl_lite.bioactivity.cross_validation import settings_of
from cpssl_lite.profiles.table import read_provenance, write_profiles

# What can change a prediction; how labels are read shows in their digest.
CODE = ("cross_validation.py", "networks.py", "presets.py", "scores.py", "train.py")


def recipe_of_run(
    method: str,
    data: str,
    labels: pd.DataFrame,
    splits: pd.DataFrame,
    preset: str = "small",
    share: float = 1.0,
    seed: int = 0,
    **more: Any,
) -> Recipe:
    """Everything that a run of `cross_validate` depends on.

    Parameters
    ----------
    data
        Digest of the inputs.
    labels, splits, preset, share, seed
        As `cross_validate` takes them.
    more
        What else was chosen, such as the size of images.
    """
    settings = settings_of(method, preset)
    said = repr({**vars(settings), "build": settings.build.__name__})
    text = labels.to_csv() + splits.loc[labels.index].to_csv()
    return Recipe(
        "cross_validate",
        {"method": method, "settings": said, "share": share, "seed": seed, **more},
        {"data": data, "labels_and_splits": hashlib.sha256(text.encode()).hexdigest()},
        code_digest(*map(Path(__file__).with_name, CODE)),
    )


def keep(
    path: str | Path, name: str, recipe: Recipe, make: Callable[[], pd.DataFrame] | None
) -> pd.DataFrame | None:
    """Predictions of run `name` from the file at `path`, or made and added to it.

    Parameters
    ----------
    recipe : Recipe
        A run that was kept with another one does not count.
    make : callable or None
        Makes the predictions where they are missing; None gives None then.
    """
    path = Path(path)
    runs, there = _kept(path)
    if recipe.made(runs.get(name, {})):
        return there[there["run"] == name].drop(columns="run").reset_index(drop=True)
    if make is None:
        return None
    start = perf_counter()
    made = make()
    seconds = round(perf_counter() - start, 1)
    runs, there = _kept(path)  # another process may have added a run meanwhile
    said = {str(key): value for key, value in made.attrs.items()}
    runs[name] = recipe.record(**said, seconds=seconds)
    old = [there[there["run"] != name]] if len(there) else []
    table = pd.concat([*old, made.assign(run=name)], ignore_index=True)
    table.attrs = {}
    write_profiles(table, path, {"runs": runs})
    return made


def _kept(path: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    if not path.is_file():
        return {}, pd.DataFrame({"run": []})
    return read_provenance(path).get("runs", {}), pd.read_parquet(path)
