"""SimCLR: pull two views of a field together, push all other fields of the batch away.

Chen et al. 2020; hyperparameters of the paper (Model training details) are in the recipes.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from cpssl_lite.models.objective import Objective
from cpssl_lite.models.vit import build_vit


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """Normalised, temperature-scaled cross-entropy over 2 n views.

    Parameters
    ----------
    first, second
        (n, d) projections of the two views of n fields.

    Returns
    -------
    Scalar: each view must find its partner among the other 2 n - 1 by cosine similarity.
    """
    z = F.normalize(torch.cat([first, second]), dim=1)  # (2n, d)
    n = len(first)
    similarity = (z @ z.T / temperature).fill_diagonal_(float("-inf"))  # (2n, 2n)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity, partner)


class SimCLR(Objective):
    """Backbone and a two-layer projection; the loss sees one process's share of a batch.

    That is what the released code does on several GPUs as well: negatives are not gathered.
    """

    def __init__(self, recipe: dict[str, Any], steps_per_epoch: int) -> None:
        super().__init__(recipe, steps_per_epoch)
        self.backbone = build_vit(recipe["architecture"], recipe["drop_path"])
        hidden, out = recipe["projection"]["hidden"], recipe["projection"]["out"]
        self.mlp = nn.Sequential(
            nn.Linear(self.backbone.embed_dim, hidden), nn.ReLU(), nn.Linear(hidden, out)
        )

    def loss(self, views: list[torch.Tensor]) -> torch.Tensor:
        """One group of two views, (2, n, C, s, s)."""
        features = self.backbone(views[0].flatten(0, 1))
        self.watch(features)
        first, second = self.mlp(features).float().chunk(2)
        return nt_xent(first, second, self.recipe["temperature"])
