"""Telling that memory ran out: torch says it in several ways."""

import torch

from activity_cli.errors import TrainingError

_CPU_ALLOCATOR = "DefaultCPUAllocator"  # says so in a plain RuntimeError


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)


def no_memory_left(epoch: int) -> TrainingError:
    """The error for a training that does not fit."""
    return TrainingError(
        f"Memory ran out in epoch {epoch}.",
        hint="Lower --batch-size (--accumulate keeps the effective batch as it is), or --frames.",
    )
