"""The processes that make one table together, and the device that each computes on."""

from datetime import timedelta

import torch

from cpssl_lite.base.errors import InputError, StepFailed
from cpssl_lite.base.memory import keep_freed_memory
from cpssl_lite.base.quiet import quiet


class Team:
    """The processes that share the plates: this one alone, or as many as Lightning launches."""

    def __init__(self, device: str, devices: int, nodes: int) -> None:
        self.device, self.rank, self.size, self.fabric = device, 0, 1, None
        keep_freed_memory()  # each batch needs as much as the one before
        if devices * nodes == 1:
            return
        from lightning.fabric import Fabric
        from lightning.fabric.strategies import DDPStrategy
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        # Plates differ: whoever is done first waits for the others, for days if need be.
        strategy = DDPStrategy(timeout=timedelta(days=7))
        kind = device.partition(":")[0]
        try:
            with quiet("lightning.fabric", "lightning.pytorch"):  # their banners
                self.fabric = Fabric(
                    accelerator=kind, strategy=strategy, devices=devices, num_nodes=nodes
                )
                self.fabric.launch()
        except MisconfigurationException as error:  # fewer GPUs than that
            reason = " ".join(str(error).split())
            raise InputError(
                f"--devices {devices} --nodes {nodes} cannot run ({reason})"
            ) from error
        self.device = str(self.fabric.device)
        self.rank, self.size = self.fabric.global_rank, self.fabric.world_size

    def takes(self, position: int) -> bool:
        """Whether the plate at a position is this process's."""
        return position % self.size == self.rank

    def wait(self) -> None:
        """Until all processes are here."""
        try:
            if self.fabric:
                self.fabric.barrier()
        except RuntimeError as error:
            raise StepFailed(
                "another process of this run stopped; its own line says why"
            ) from error


def usable(device: str) -> str:
    """`device`, or a line that says why nothing can be computed on it."""
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
        reason = str(error).split("\n")[0].partition(". Please")[0]
        raise InputError(
            f"device {device!r} cannot be used here ({reason}); take cpu, or cuda with a GPU"
        ) from error
    return device
