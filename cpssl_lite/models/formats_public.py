"""Other public checkpoints: layouts read from their projects' files and documentation."""

from collections.abc import Callable
from typing import Any

from cpssl_lite.models.formats import Found
from cpssl_lite.models.formats_authors import Convention
from cpssl_lite.models.vit import Shape, ViT


class ChannelAgnosticViT(ViT):
    """Tokens of every channel in one sequence."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)


READERS: tuple[Callable[[dict[str, Any], Convention], Found | None], ...] = ()
