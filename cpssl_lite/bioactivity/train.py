"""Train a network on activity labels of which most are missing."""

import copy
import sys
from collections.abc import Callable
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

from cpssl_lite.base.quiet import quiet
from cpssl_lite.bioactivity.presets import Preset


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over measured entries.

    Parameters
    ----------
    logits, labels : (N, A)
        Labels are 1 active, -1 inactive, 0 not measured. Without any measured entry the loss
        is 0, and so is its gradient.
    """
    measured = labels != 0
    losses = binary_cross_entropy_with_logits(logits, (labels > 0).to(logits), reduction="none")
    return losses.where(measured, 0.0).sum() / measured.sum().clamp(min=1)


class ActivityModel(lightning.LightningModule):
    """A network that learns activity; remembers its weights of the best validation score."""

    def __init__(
        self, network: nn.Module, preset: Preset, validate: Callable[[np.ndarray], float]
    ) -> None:
        super().__init__()
        self.network, self.preset, self.validate = network, preset, validate
        self.best_score, self.best_epoch, self.steps = -np.inf, 0, 0
        self.best = copy.deepcopy(network.state_dict())
        self.seen: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of a batch; a network with several outputs learns from the sum of their losses."""
        inputs, labels = batch
        outputs = self.network(inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return torch.stack([masked_loss(output, labels) for output in outputs]).sum()

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Collect probabilities of a batch."""
        self.seen.append(_probability(self.network(batch[0])).cpu())

    def on_validation_epoch_end(self) -> None:
        """Keep the weights if this epoch is the best so far (the first of equals)."""
        score = self.validate(torch.cat(self.seen).numpy())
        self.seen.clear()
        if score > self.best_score:
            self.best_score, self.best_epoch = score, self.current_epoch + 1
            self.best = copy.deepcopy(self.network.state_dict())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum 0.9."""
        p = self.preset
        return torch.optim.SGD(
            self.parameters(), lr=p.lr, momentum=0.9, weight_decay=p.weight_decay
        )


def fit(
    network: nn.Module,
    preset: Preset,
    inputs: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    validate: Callable[[np.ndarray], float],
    seed: int = 0,
) -> ActivityModel:
    """Train a network; afterwards it has the weights of the epoch with the best validation.

    Parameters
    ----------
    inputs : (n, D) float or (n, C, H, W) uint8
        Profiles, or images, which are standardised channel by channel (memory-mapped files
        are read batch by batch).
    labels : (n, A)
        1, -1, 0.
    train, validation : (k,)
        Rows of `inputs`. Rows of `train` without any label are left out.
    validate : callable
        Gives a score (more is better) to the validation rows' probabilities (k, A).
    """
    train = train[(labels[train] != 0).any(axis=1)]

    def batch(rows: list[int]) -> tuple[Tensor, Tensor]:
        return to_tensor(inputs[rows]), torch.from_numpy(labels[rows])

    def loader(rows: np.ndarray, **how: Any) -> DataLoader:
        return DataLoader(rows.tolist(), preset.batch_size, collate_fn=batch, **how)

    model = ActivityModel(network, preset, validate)
    order = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout
    with quiet("lightning.pytorch"):  # hints about workers
        trainer = lightning.Trainer(
            devices=1,  # by itself Lightning takes every GPU, and splits the batches among them
            max_epochs=preset.epochs,
            gradient_clip_val=5.0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty(),
            num_sanity_val_steps=0,
        )
        trainer.fit(model, loader(train, shuffle=True, generator=order), loader(validation))
    network.load_state_dict(model.best)
    model.steps = trainer.global_step
    return model


def predict(network: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Probabilities of activity (n, A) of profiles (n, D) or images (n, C, H, W)."""
    network.eval()
    with torch.inference_mode():
        parts = [
            _probability(network(to_tensor(inputs[start : start + 128])))
            for start in range(0, len(inputs), 128)
        ]
    return torch.cat(parts).numpy()


def to_tensor(inputs: np.ndarray) -> Tensor:
    """Profiles as they are; images with mean 0 and SD 1 in every channel of every image."""
    x = torch.from_numpy(np.asarray(inputs)).float()
    if x.ndim == 2:
        return x
    sd, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
    # Channels last: the same numbers, and convolutions on a CPU take about 2/3 of the time.
    return ((x - mean) / (sd + 1e-7)).contiguous(memory_format=torch.channels_last)


def _probability(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return torch.sigmoid(output[0] if isinstance(output, tuple) else output)
