"""Where a device has no bf16, nothing that measures time computes in it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cpssl_lite.book.percent import read_percent
from cpssl_lite.models import precision, vit

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"fields": 1, "size": 256, "networks": ["ViT-S/16"], "transfer": "", "segmentation": False}
SMALL |= {"batch_sizes": [2], "processes": [], "limit": 4}


class Seen(TorchDispatchMode):
    """Operations whose result is bf16, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.bfloat16:
            self.names.add(str(func))
        return result


def chapter() -> None:
    """Run 06 on one small field, in this process."""
    space: dict[str, object] = {"__name__": "chapter"}
    for cell in read_percent(ROOT / "notebooks" / "06_timing.py").cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, "06_timing", "exec"), space)
            if "parameters" in cell.metadata.get("tags", []):
                space.update(SMALL)
    plt.close("all")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"bench_{name}", ROOT / "benchmarks" / f"{name}.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def extraction(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "--fields 1 --size 256 --repeats 1 --batch-size 2 --limit 1 --device cpu --plate 1"
    words += " --architecture vit_mini_patch16"
    monkeypatch.setattr(sys, "argv", ["extract.py", *words.split()])
    script("extract").main()


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("what", ["chapter", "extraction"])
def test_bf16_runs_only_where_it_is_native(
    what: str, native: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(precision, "_has_bf16", lambda _: native)
    mini = vit.build_vit
    monkeypatch.setattr(vit, "build_vit", lambda _: mini("vit_mini_patch16"))
    with Seen() as seen:
        chapter() if what == "chapter" else extraction(monkeypatch)
    # The second case shows that the first one would have been noticed.
    assert bool(seen.names) == native, seen.names
