"""DINO: a student learns to predict, from any crop, what its own slow average says of another.

Caron et al. 2021; hyperparameters of the paper (Model training details) and of the released
code are in the recipes.
"""

import copy
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from cpssl_lite.models.objective import Objective
from cpssl_lite.models.schedules import warmup_cosine
from cpssl_lite.models.vit import ViT, build_vit


class DINOHead(nn.Module):
    """Three layers, an L2-normalised bottleneck, and a last layer with rows of unit length.

    `batch_norm` (an option of the released code for the hidden layers, not used in the paper;
    here for the bottleneck too) keeps small batches of few steps from drifting to a teacher
    that says the same of every crop.
    """

    def __init__(
        self, width: int, hidden: int, bottleneck: int, out: int, batch_norm: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in (hidden, hidden):
            layers.append(nn.Linear(width, size))
            layers.extend([nn.BatchNorm1d(size)] if batch_norm else [])
            layers.append(nn.GELU())
            width = size
        layers.append(nn.Linear(width, bottleneck))
        layers.extend([nn.BatchNorm1d(bottleneck, affine=False)] if batch_norm else [])
        self.mlp = nn.Sequential(*layers)
        self.last_layer = nn.Linear(bottleneck, out, bias=False)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (n, d) to unnormalised prototype scores (n, K), each in -1..1."""
        x = F.normalize(self.mlp(x), dim=-1)  # (n, bottleneck)
        return F.linear(x, F.normalize(self.last_layer.weight, dim=-1))


def dino_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    center: torch.Tensor,
    teacher_temperature: float,
    student_temperature: float = 0.1,
) -> torch.Tensor:
    """Mean cross-entropy over all pairs of a teacher view and another student view.

    Parameters
    ----------
    student
        (V, n, K) scores of V views; the first two are the global ones.
    teacher
        (2, n, K) scores of the two global views, without gradient.
    center
        (1, K) running mean of the teacher's scores: without it one prototype takes all.

    Returns
    -------
    Scalar: mean over images and over the 2 * V - 2 pairs of different views.

    References
    ----------
    Equation 1 and 2 of Caron et al. 2021; the paper's Model training details.
    """
    views = len(student)
    target = F.softmax((teacher - center) / teacher_temperature, dim=-1)  # (2, n, K)
    log_p = F.log_softmax(student / student_temperature, dim=-1)  # (V, n, K)
    pairs = torch.einsum("ank,bnk->ab", target, log_p) / student.shape[1]  # (2, V)
    same_view = pairs.diagonal().sum()
    return -(pairs.sum() - same_view) / (2 * views - 2)


def of_all_processes(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, K) of every process, one after the other; equally many of each."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    parts = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, rows)
    return torch.cat(parts)


def moved_center(center: torch.Tensor, teacher: torch.Tensor, momentum: float) -> torch.Tensor:
    """Running mean (1, K) moved towards the mean of the teacher's scores over all processes."""
    mean = of_all_processes(teacher.flatten(0, -2).mean(dim=0, keepdim=True))
    return center * momentum + mean.mean(dim=0, keepdim=True) * (1 - momentum)


def balanced_center(teacher: torch.Tensor, temperature: float, rounds: int) -> torch.Tensor:
    """Center (1, K) with which the batch uses all prototypes alike: Sinkhorn-Knopp's rounds.

    A running mean balances prototypes over many steps only. With few images and few steps they
    sort what all crops of a field share most plainly, such as its staining batch.

    References
    ----------
    Caron et al. 2020 (SwAV); in DINO's place of the running mean: Oquab et al. 2023 (DINOv2).
    """
    scores = of_all_processes(teacher.flatten(0, -2) / temperature)  # (n, K)
    center = torch.zeros_like(scores[:1])
    for _ in range(rounds):
        each = torch.logsumexp(scores - center, dim=1, keepdim=True)  # (n, 1)
        center = torch.logsumexp(scores - each, dim=0, keepdim=True)
    return center * temperature


def undecided(scores: torch.Tensor) -> float:
    """Mean entropy of scores (..., K), 0..1: near 1 they say nothing, near 0 they are certain."""
    entropy = torch.special.entr(F.softmax(scores, dim=-1)).sum(dim=-1).mean()
    return float(entropy) / math.log(scores.shape[-1])


class DINO(Objective):
    """Student, teacher and their schedules."""

    center: torch.Tensor

    def __init__(self, recipe: dict[str, Any], steps_per_epoch: int) -> None:
        super().__init__(recipe, steps_per_epoch)
        head, r = recipe["head"], recipe
        self.backbone = build_vit(r["architecture"], r["drop_path"])
        self.head = DINOHead(self.backbone.embed_dim, **head)
        # Same start for both; the teacher has no stochastic depth and never gets a gradient.
        self.teacher = build_vit(r["architecture"])
        self.teacher.load_state_dict(self.backbone.state_dict())
        self.teacher_head = copy.deepcopy(self.head)
        self.teacher.requires_grad_(False)
        self.teacher_head.requires_grad_(False)
        self.register_buffer("center", torch.zeros(1, head["out"]))
        steps = r["epochs"] * steps_per_epoch
        self.momenta = warmup_cosine(steps, r["teacher_momentum"], 1.0)
        final = r["teacher_temperature"]  # reached linearly, then constant
        warmup, start = r["teacher_temperature_warmup_epochs"], r["teacher_temperature_start"]
        self.temperatures = warmup_cosine(r["epochs"], final, final, warmup, start)

    @property
    def encoder(self) -> ViT:
        """The part whose features are used afterwards: the teacher's backbone."""
        return self.teacher

    def loss(self, views: list[torch.Tensor]) -> torch.Tensor:
        """Views of equal size are stacked: [(2, n, C, s, s) global, (L, n, C, t, t) local]."""
        temperature = float(self.temperatures[min(self.current_epoch, len(self.temperatures) - 1)])
        with torch.no_grad():
            teacher_features = self.teacher(views[0].flatten(0, 1))
            teacher = self.teacher_head(teacher_features).unflatten(0, (2, -1)).float()
        rounds = self.recipe["sinkhorn_rounds"]
        if rounds:
            self.center = balanced_center(teacher, temperature, rounds)
        features = torch.cat([self.backbone(group.flatten(0, 1)) for group in views])
        student = self.head(features).unflatten(0, (-1, views[0].shape[1])).float()
        temperatures = temperature, self.recipe["student_temperature"]
        loss = dino_loss(student, teacher, self.center, *temperatures)
        self.watch(teacher_features)
        self.notes = {"teacher_entropy": undecided((teacher - self.center) / temperature)}
        if not rounds:
            self.center = moved_center(self.center, teacher, self.recipe["center_momentum"])
        return loss

    def on_after_backward(self) -> None:
        """Hold the last layer still at first: it helps against collapse."""
        if self.current_epoch < self.recipe["freeze_last_layer_epochs"]:
            self.head.last_layer.weight.grad = None

    def after_step(self, step: int) -> None:
        """Move the teacher towards the student."""
        keep = float(self.momenta[min(step, len(self.momenta) - 1)])
        with torch.no_grad():
            for slow, fast in ((self.teacher, self.backbone), (self.teacher_head, self.head)):
                for mine, theirs in zip(slow.parameters(), fast.parameters(), strict=True):
                    mine.lerp_(theirs, 1 - keep)
