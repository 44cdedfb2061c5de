"""Train an encoder on an image table: one command, resumable, one checkpoint with its card."""

import logging
import os
import platform
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from torch.utils.data import DataLoader

from cpssl_lite.base.errors import InputError
from cpssl_lite.base.files import atomic_path
from cpssl_lite.base.made import Recipe, code_digest
from cpssl_lite.base.provenance import provenance
from cpssl_lite.base.quiet import quiet
from cpssl_lite.base.yamls import read_mapping
from cpssl_lite.images.table import read_image_table
from cpssl_lite.models.checkpoints import input_rules, save_encoder
from cpssl_lite.models.crops_data import CropBatches, EpochBatches, Fields, crop_specs
from cpssl_lite.models.curves import draw_curves
from cpssl_lite.models.dino import DINO
from cpssl_lite.models.keeper import Keeper, is_whole
from cpssl_lite.models.mae import MAE
from cpssl_lite.models.objective import Objective
from cpssl_lite.models.precision import name_of, native_precisions
from cpssl_lite.models.recipes import load_recipe
from cpssl_lite.models.simclr import SimCLR

log = logging.getLogger(__name__)
# What can change a weight; not what reads files or writes checkpoints.
SOURCES = (
    *(f"images/{name}" for name in ("augment", "crops", "otsu", "scale")),
    *(f"models/{name}" for name in ("crops_data", "dino", "mae", "objective", "recipes")),
    *(f"models/{name}" for name in ("schedules", "simclr", "train", "vit")),
)
METHODS: dict[str, type[Objective]] = {"dino": DINO, "mae": MAE, "simclr": SimCLR}


def train(
    method: str,
    table: str | Path,
    out: str | Path,
    config: str | Path | None = None,
    seed: int = 0,
    devices: int = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    curves: bool = True,
) -> Path:
    """Train `method` on the fields of `table`; the same call resumes a run that was stopped.

    A resumed run ends with the same weights as one that was never stopped: everything random
    is drawn from the seed, the epoch and the field or step.

    Parameters
    ----------
    method
        "dino", "mae" or "simclr".
    table
        Image table with merged fields; labels are not looked at.
    out
        Folder for `last.ckpt` (to resume), `metrics.csv`, `curves.png`, `recipe.yaml`, the
        checkpoint and, every `keep_every` epochs of the recipe, the network of then
        (`<recipe name>.epoch0020.safetensors`).
    config
        Name of a recipe or YAML file with changes; see `recipes.load_recipe`.
    devices, nodes, accelerator
        As Lightning's Trainer takes them; more than one process is trained with DDP.
    curves
        Draw `curves.png`. For the smallest networks that takes a tenth of the whole time.

    Returns
    -------
    Path of `<out>/<recipe name>.safetensors`, with a YAML card beside it.

    Raises
    ------
    InputError
        The table, recipe or folder cannot be used; the loss is not a number; or the network
        says the same of every crop.
    """
    out = Path(out)
    recipe = {**load_recipe(method, config), "seed": seed}
    final = out / f"{recipe['name']}.safetensors"
    images = read_image_table(table)
    fields = Fields(images)
    if _claim(out, recipe, fields, final):
        log.info("%s is complete", final)
        return final
    if recipe["precision"] == "bf16-mixed":
        _need_bf16(accelerator)
    crops = crop_specs(recipe)
    given = recipe["normalisation"]
    mean, sd = given["mean"], given["sd"]
    if mean is None or sd is None:
        mean, sd = fields.statistics(crops[0].size, seed)
    if fields.fit:
        _ = fields.cached  # before workers start, so that they share it
    keeper = Keeper(out, recipe["checkpoint_every"], recipe["keep_every"])
    many = devices * nodes > 1
    with quiet("lightning.pytorch", "lightning.fabric"):
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if many else "auto",
            max_epochs=recipe["epochs"],
            precision=recipe["precision"],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            use_distributed_sampler=False,
            callbacks=[keeper],
        )
        team = trainer.global_rank, trainer.world_size
        sampler = EpochBatches(len(fields), recipe["batch_size"], seed, *team)
        torch.manual_seed(seed)  # first weights
        objective = METHODS[method](recipe, len(sampler))
        objective.set_input(mean, sd)

        def keep(path: Path, epoch: int) -> None:
            card = {
                "method": method.upper() if method != "simclr" else "SimCLR",
                "architecture": recipe["architecture"],
                "input": input_rules(objective.encoder.shape, mean, sd, objective.pooling),
                "recipe": recipe,
                "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                "data": {
                    "table": Path(table).name,
                    "fields": len(fields),
                    "plates": sorted(set(images["Metadata_Plate"])),
                    "digest": fields.digest(),
                },
                "seed": seed,
                "epochs": epoch,
                "wall_minutes": round(keeper.seconds / 60, 1),
                "cpu_minutes": round(keeper.cpu_seconds / 60, 1),
                "machine": machine(trainer),
                "metrics": keeper.last_epoch(),
                "licence": recipe["licence"],
                "provenance": provenance("train"),
            }
            save_encoder(path, objective.encoder, card)

        keeper.keep = lambda epoch: keep(final.with_stem(f"{final.stem}.epoch{epoch:04d}"), epoch)
        data = DataLoader(
            CropBatches(fields, crops, seed),
            sampler=sampler,
            batch_size=None,  # they are whole batches already
            num_workers=recipe["workers"],
            persistent_workers=recipe["workers"] > 0,
            pin_memory=torch.cuda.is_available(),
        )
        last = out / "last.ckpt"
        resume = last if last.is_file() and is_whole(last, objective) else None
        try:
            trainer.fit(objective, data, ckpt_path=resume, weights_only=True)
        except SystemExit as stop:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from stop
    if trainer.global_step < recipe["epochs"] * len(sampler):  # Ctrl-C ends fit quietly
        raise InputError(f"{out}: training was stopped early; the same command resumes it")
    if trainer.is_global_zero:
        if curves:
            draw_curves(out / "metrics.csv", out / "curves.png")
        keep(final, recipe["epochs"])
    return final


def _need_bf16(accelerator: str) -> None:
    """Refuse mixed precision on a device that would only imitate it."""
    device = "cpu" if accelerator == "cpu" else "cuda" if torch.cuda.is_available() else "cpu"
    if "bf16" not in native_precisions(device):
        raise InputError(
            f"precision bf16-mixed: {name_of(device)} has no bf16 instructions and would take many "
            "times as long; put `precision: 32-true` into --config"
        )


def machine(trainer: lightning.Trainer) -> str:
    """The kind of machine that a run took: accelerator, number, architecture."""
    if trainer.strategy.root_device.type == "cuda":
        return f"{trainer.world_size} x {torch.cuda.get_device_name(0)}"
    return f"{trainer.world_size} process(es) on {os.cpu_count()} CPU cores ({platform.machine()})"


def _claim(out: Path, recipe: dict[str, Any], fields: Fields, final: Path) -> bool:
    """Write down what runs in this folder; True if it is finished, refused if it is another run.

    A run of older code begins anew; the network that it left, days of work maybe, is put aside.
    """
    path = out / "recipe.yaml"
    mine = Recipe("train", recipe, {"data": fields.digest()}, _code())
    if path.is_file():
        there = read_mapping(path, "recipe")
        changed = mine.changed(there)
        if changed not in ("", "code"):
            raise InputError(
                f"{out}: holds another run ({changed}); choose another folder or remove it"
            )
        if not changed:
            return final.is_file()
        log.warning("%s: this run was made by other code and begins anew", out)
        (out / "last.ckpt").unlink(missing_ok=True)
        for old in (final, final.with_suffix(".yaml")):
            if old.is_file():
                os.replace(old, old.with_stem(f"{old.stem}.before"))
    with atomic_path(path) as scratch:
        scratch.write_text(yaml.safe_dump(mine.record(), sort_keys=False))
    return False


def _code() -> str:
    """Digest of the sources that can change a weight."""
    package = Path(__file__).parents[1]
    return code_digest(*(package / f"{name}.py" for name in SOURCES))
