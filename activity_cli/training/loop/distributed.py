"""Training in several processes, started by `accelerate launch` or `torchrun -m activity_cli ...`.

Every process draws the same batch and computes its share of it. Gradients are summed, not averaged,
so shares of unequal size, or empty ones, have the right weight.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from activity_cli.errors import MissingExtraError, TrainingError

_TIMEOUT = timedelta(days=7)  # the main process may decode videos for days while others wait

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedContext:
    """The rank of this process and the exchange with the others. The default is one process."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device of this process, through which values are exchanged."""

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes files."""
        return self.rank == 0

    def broadcast(self, value: _Value) -> _Value:
        """Return the main process's value in every process."""
        if self.size == 1:
            return value
        from accelerate.utils import broadcast_object_list

        values = [value]
        with _translate_errors():
            broadcast_object_list(values)
        return values[0]

    def all_gather(self, values: Tensor) -> Tensor:
        """Return the values of all processes, (size, ...), in every process."""
        if self.size == 1:
            return values.unsqueeze(0)
        from accelerate.utils import gather

        with _translate_errors():
            gathered: Tensor = gather(values.to(self.device).unsqueeze(0))
        return gathered.to(values.device)

    def all_reduce_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes."""
        if self.size == 1:
            return
        from accelerate.utils import reduce

        for parameter in (p for p in parameters if p.requires_grad):
            if parameter.grad is None:  # this process's share of the batch was empty
                parameter.grad = torch.zeros_like(parameter)
            with _translate_errors():
                parameter.grad.copy_(reduce(parameter.grad.to(self.device), reduction="sum"))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, then in the others."""
        if not self.is_main:
            self.broadcast(None)
        yield
        if self.is_main:
            self.broadcast(None)


SINGLE_PROCESS = DistributedContext()


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "Another process of the training ended.",
            hint="See its message. --resume continues after the last complete epoch.",
        ) from error


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """Join the processes that a launcher started, with accelerate; without one yield only this."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise MissingExtraError(
            "Training in several processes", package="accelerate", extra="distributed"
        ) from error
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=_TIMEOUT)
    try:
        yield DistributedContext(
            rank=state.process_index, size=state.num_processes, device=state.device
        )
    finally:
        state.destroy_process_group()
