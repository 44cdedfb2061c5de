"""Which number formats a device computes in itself; the others are imitated, very slowly."""

import torch

from cpssl_lite.base.errors import InputError

PRECISIONS = ("fp32", "bf16")


def native_precisions(device: str = "cpu") -> tuple[str, ...]:
    """Precisions that a device has instructions for: fp32 always, bf16 where there are.

    A processor is asked through oneDNN, which multiplies its matrices; an NVIDIA GPU from
    compute capability 8.0 on has bf16, and so has Apple's since macOS 14.

    Examples
    --------
    >>> native_precisions()[0]
    'fp32'
    """
    return PRECISIONS if _has_bf16(torch.device(device).type) else PRECISIONS[:1]


def _has_bf16(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def name_of(device: str) -> str:
    """What messages and tables call a device: ``this processor``, ``this GPU``."""
    return "this processor" if torch.device(device).type == "cpu" else "this GPU"


def choose_precision(asked: str, device: str = "cpu") -> str:
    """The precision to use: what was asked for, or for ``auto`` the fastest native one.

    Raises
    ------
    InputError
        An unknown precision, or bf16 on a device without it.
    """
    if asked not in (*PRECISIONS, "auto"):
        raise InputError(f"precision {asked!r} is not one of {', '.join(PRECISIONS)}, auto")
    native = native_precisions(device)
    if asked == "auto":
        return native[-1]
    if asked not in native:
        raise InputError(
            f"precision {asked}: {name_of(device)} has no {asked} instructions and would take "
            "many times as long; use fp32 or auto"
        )
    return asked
