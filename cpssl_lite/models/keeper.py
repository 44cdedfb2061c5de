"""What a training run leaves behind to go on from, and to be looked at: checkpoint and curves."""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import lightning
import pandas as pd
import torch

from cpssl_lite.base.files import atomic_path
from cpssl_lite.models.objective import Objective

log = logging.getLogger(__name__)


def is_whole(last: Path, objective: Objective) -> bool:
    """Whether a run can go on from this file; if not, says so: the run begins anew."""
    try:
        with zipfile.ZipFile(last) as archive:
            if bad := archive.testzip():
                raise ValueError(f"wrong bytes in {bad}")
        content = torch.load(last, map_location="cpu", weights_only=True, mmap=True)
        there = {name: value.shape for name, value in content["state_dict"].items()}
        expected = {name: value.shape for name, value in objective.state_dict().items()}
        reason = "" if there == expected else "it holds another network"
        parts = {"optimizer_states", "loops", "callbacks", "epoch", "global_step"}
        if lost := parts - set(content):
            reason = f"it has no {min(lost)}"
    except Exception as error:  # damaged bytes can break the parser in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    if reason:
        log.warning("%s: damaged (%s); training begins anew", last, reason)
    return not reason


class Keeper(lightning.Callback):
    """Writes metrics and checkpoints, whole or not at all, and says how far a run is.

    Every so many epochs it writes what a run resumes from; every `keep_every` (0: never) it also
    calls `keep` with the number of epochs done, for a network that later ones do not replace.
    """

    keep: Callable[[int], None]

    def __init__(self, out: Path, every: int, keep_every: int) -> None:
        self.out, self.every, self.keep_every = out, every, keep_every
        self.rows: list[dict[str, float]] = []  # since the last writing
        self.written = 0  # rows in the file
        self.seconds = self.cpu_seconds = 0.0
        self.started = self.cpu_started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to continue the curves."""
        return {
            "written": self.written,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curves of the stopped run."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def last_epoch(self) -> dict[str, float]:
        """Means over the last epoch of what was measured, for the card."""
        table = pd.read_csv(self.out / "metrics.csv")
        last = table[table["epoch"] == table["epoch"].max()]
        means = last.drop(columns=["epoch", "step", "lr", "weight_decay"]).mean()
        return {name: round(float(value), 4) for name, value in means.items()}

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Start the clocks of an epoch."""
        self.started, self.cpu_started = perf_counter(), process_time()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, *args: Any
    ) -> None:
        """Note loss and rates of a step."""
        group = trainer.optimizers[0].param_groups[0]
        self.rows.append(
            {
                "epoch": trainer.current_epoch,
                "step": trainer.global_step - 1,
                "loss": float(outputs["loss"]),
                "lr": group["lr"],
                "weight_decay": group["weight_decay"],
                "feature_spread": pl_module.spread,
                **pl_module.notes,
            }
        )

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Say one line, and every few epochs write everything."""
        took = perf_counter() - self.started
        self.seconds += took
        self.cpu_seconds += process_time() - self.cpu_started
        epoch, epochs = trainer.current_epoch + 1, pl_module.recipe["epochs"]
        steps = pl_module.steps_per_epoch
        if trainer.is_global_zero and not trainer.progress_bar_callback:
            loss = sum(row["loss"] for row in self.rows[-steps:]) / steps
            log.info(
                "epoch %d of %d: loss %.4f, lr %.2g, spread %.3f, %.0f images/s, %.0f s left",
                *(epoch, epochs, loss, self.rows[-1]["lr"], pl_module.spread),
                *(steps * pl_module.recipe["batch_size"] / took, (epochs - epoch) * took),
            )
        kept = self.keep_every > 0 and epoch % self.keep_every == 0 and epoch != epochs
        if epoch % self.every and epoch != epochs and not kept:
            return
        last, new, self.rows = self.out / "last.ckpt", self.rows, []
        if not trainer.is_global_zero:  # takes part in collecting the state, writes nothing
            trainer.save_checkpoint(last)
            return
        self._add(new)
        with atomic_path(last) as scratch:
            trainer.save_checkpoint(scratch)
        if kept:
            self.keep(epoch)

    def _add(self, new: list[dict[str, float]]) -> None:
        """Put rows behind those that are known; what a killed run wrote after them goes."""
        path = self.out / "metrics.csv"
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        kept = lines[: 1 + self.written] if self.written else []  # the first one names columns
        with atomic_path(path) as scratch:
            text = pd.DataFrame(new).to_csv(index=False, header=not kept)
            scratch.write_text("".join(kept) + text)
        self.written += len(new)
