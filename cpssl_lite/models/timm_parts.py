"""What is used of timm, imported without PyTorch's compiler.

timm and the torchvision that it wants load the compiler (torch._dynamo, sympy) to mark a few
functions for it, which is two thirds of the time that importing timm takes. Nothing here is
compiled, so the marks are left out; whoever calls torch.compile gets the real compiler.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import torch  # noqa: F401  (first, so that only what timm asks of it is left out)


def _mark(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """Stand in for torch._dynamo.disable: the function as it is."""
    return function if function is not None else _mark


def _is_compile_supported(device: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device))


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Modules in the compiler's place that know the two names which are asked for."""
    compiler, utils = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    compiler.__dict__.update(__path__=[], disable=_mark)
    utils.__dict__.update(is_compile_supported=_is_compile_supported)
    sys.modules.update({module.__name__: module for module in (compiler, utils)})
    try:
        yield
    finally:
        del sys.modules["torch._dynamo"], sys.modules["torch._dynamo.utils"]


if "timm" not in sys.modules and "torch._dynamo" not in sys.modules:
    known = set(sys.modules)
    try:
        with _without_compiler():
            import timm.models
    except (ImportError, AttributeError):  # other versions may ask for more: all of it, then
        for name in set(sys.modules) - known:
            if name.partition(".")[0] in ("timm", "torchvision"):
                with suppress(KeyError):
                    del sys.modules[name]

import timm  # noqa: E402
from timm.layers import BatchNormAct2d  # noqa: E402
from timm.models.densenet import DenseNet  # noqa: E402
from timm.models.eva import checkpoint_filter_fn  # noqa: E402
from timm.models.resnet import BasicBlock, Bottleneck, ResNet  # noqa: E402
from timm.models.vision_transformer import (  # noqa: E402
    Block,
    ParallelScalingBlock,
    VisionTransformer,
)

__all__ = [
    "BasicBlock",
    "BatchNormAct2d",
    "Block",
    "Bottleneck",
    "DenseNet",
    "ParallelScalingBlock",
    "ResNet",
    "VisionTransformer",
    "checkpoint_filter_fn",
    "timm",
]
