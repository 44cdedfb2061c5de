"""What the three ways of learning share: optimiser, schedules, clipping, collapse watch."""

from typing import Any

import lightning
import numpy as np
import torch
from torch import nn

from cpssl_lite.base.errors import InputError
from cpssl_lite.images.augment import AUGMENTATIONS
from cpssl_lite.models.schedules import warmup_cosine
from cpssl_lite.models.vit import Pooling, ViT

# Crops' features, each scaled to length 1, lie this close to their mean or closer: the network
# says the same of everything. Fresh weights start at about 0.7; runs that learn stay above 0.05.
COLLAPSED = 1e-3


class Objective(lightning.LightningModule):
    """A Lightning module whose learning rate and weight decay follow a recipe.

    Subclasses define `backbone`, `loss(views)` and, where needed, `after_step(step)`.
    """

    backbone: ViT
    mean: torch.Tensor
    sd: torch.Tensor
    pooling: Pooling = "cls"  # of the features that are used afterwards

    def __init__(self, recipe: dict[str, Any], steps_per_epoch: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        steps = recipe["epochs"] * steps_per_epoch
        # "epoch" (SimCLR): the rate moves once an epoch, as released.
        unit = steps_per_epoch if recipe["schedule_by"] == "step" else 1
        rate = warmup_cosine(
            recipe["epochs"] * unit,
            recipe["lr"] * (recipe["batch_size"] / recipe["lr_per_images"]),
            recipe["lr_final"],
            round(recipe["warmup_epochs"] * unit),
            recipe["lr_start"],
            recipe["warmup_reaches_peak"],
        )
        self.rates = rate.repeat(steps_per_epoch // unit)
        self.decays = warmup_cosine(steps, recipe["weight_decay"], recipe["weight_decay_final"])
        self.spread = float("nan")
        self.notes: dict[str, float] = {}  # what else a method wants in metrics.csv

    @property
    def encoder(self) -> ViT:
        """The network whose features are used afterwards; the rest is dropped."""
        return self.backbone

    def loss(self, views: list[torch.Tensor]) -> torch.Tensor:
        """Loss of one batch; each item of `views` is (views, images, C, s, s), normalised."""
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Called after optimiser step number `step` (from 0)."""

    def set_input(self, mean: list[float], sd: list[float]) -> None:
        """Set what happens between cut crops and the network: augmentations and constants."""
        self.transforms = [
            AUGMENTATIONS[name](**values)
            for name, values in self.recipe["augment"].items()
            if name != "resize"  # done where crops are cut: it needs the whole field
        ]
        for name, values in (("mean", mean), ("sd", sd)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32)[:, None, None])

    def on_after_batch_transfer(self, batch: list[torch.Tensor], _: int) -> list[torch.Tensor]:
        """Crops (views, n, C, s, s) uint16 to augmented, normalised float32, on the device."""
        generator = torch.Generator().manual_seed(self.draw(0))
        out = []
        for crops in batch:
            x = crops.flatten(0, 1).float().div_(65535)
            for transform in self.transforms:
                x = transform(x, generator)
            out.append((x - self.mean).div_(self.sd).unflatten(0, (len(crops), -1)))
        return out

    def draw(self, stream: int) -> int:
        """A seed that depends on the run's seed, the step, the process and `stream` alone."""
        key = [self.recipe["seed"], stream, self.global_step, self.global_rank]
        return int(np.random.SeedSequence(key).generate_state(1)[0])

    def watch(self, features: torch.Tensor) -> None:
        """Keep the spread of a batch's features (n, d): near 0 means collapse."""
        unit = nn.functional.normalize(features.detach().float(), dim=-1)
        self.spread = float((unit - unit.mean(dim=0)).square().sum(dim=-1).mean().sqrt())

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the rates of this step; seed what is random inside the network by the step."""
        step = min(self.global_step, len(self.rates) - 1)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = float(self.rates[step])
            if group["decays"]:
                group["weight_decay"] = float(self.decays[step])
        # So that a resumed run drops the same paths and masks the same patches.
        torch.manual_seed(self.draw(1))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Loss of one batch, with a clear stop when it is not a number or all is one."""
        loss = self.loss(batch)
        where = f"epoch {self.current_epoch + 1}, step {self.global_step + 1}"
        if not torch.isfinite(loss):
            raise InputError(
                f"training stopped: the loss is {loss.item()} in {where}; lower lr or check for "
                "fields without contrast (the last whole checkpoint is kept)"
            )
        if self.spread < COLLAPSED:
            raise InputError(
                f"training stopped: the features of all crops are the same in {where} "
                f"(spread {self.spread:.1e}); lower lr, or for DINO raise center_momentum or "
                "freeze_last_layer_epochs (the last whole checkpoint is kept)"
            )
        return loss

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any
    ) -> None:
        """Clip to a norm of `clip_norm` (0: not at all), each tensor by itself or all together."""
        limit = self.recipe["clip_norm"]
        parameters = [p for p in self.parameters() if p.grad is not None]
        together = self.recipe["clip_by"] == "global"
        for group in [parameters] if together else [[p] for p in parameters]:
            if limit:
                nn.utils.clip_grad_norm_(group, limit)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the objective follow, after the optimiser has stepped."""
        self.after_step(self.global_step - 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; biases, norms and other vectors do not decay."""
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "decays": True},
            {"params": [p for p in trained if p.ndim <= 1], "decays": False, "weight_decay": 0.0},
        ]
        betas = tuple(self.recipe["betas"])
        return torch.optim.AdamW(groups, lr=float(self.rates[0]), betas=betas)
