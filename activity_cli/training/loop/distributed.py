"""The processes that train together, on one machine or several: who takes which clips, who writes.

Started by `accelerate launch -m activity_cli train ...` or `torchrun -m activity_cli train ...`.
Every process draws the same batch and takes its share of it; gradients are added up. Nothing is
averaged, so shares of unequal sizes, or empty ones, count as they should.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, distributed

from activity_cli.errors import MissingExtraError, TrainingError

_PATIENCE = timedelta(days=7)
"""The first process may decode for days while the others wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedContext:
    """This process and how many there are; the defaults are a process that works alone."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Of this process: what the processes tell each other goes through it."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a batch."""
        return rows[self.rank :: self.size]

    def agree(self, values: Tensor) -> Tensor:
        """The main process's values, in all processes; they have to be of one shape."""
        if self.size == 1:
            return values
        sent = values.to(self.device, copy=True)
        with _talking():
            distributed.broadcast(sent, src=0)
        return sent.to(values.device)

    def agree_on_bytes(self, content: bytes | None) -> bytes | None:
        """The main process's bytes, in all processes."""
        if self.size == 1:
            return content
        size = int(self.agree(torch.tensor(-1 if content is None else len(content))))
        if size < 0:
            return None
        mine = bytearray(content if self.is_main and content is not None else bytes(size))
        return self.agree(torch.frombuffer(mine, dtype=torch.uint8)).numpy().tobytes()

    def collect(self, values: Tensor) -> Tensor:
        """(size, ...) the values of all processes, in all processes."""
        if self.size == 1:
            return values.unsqueeze(0)
        sent = values.to(self.device).contiguous()
        collected = [torch.empty_like(sent) for _ in range(self.size)]
        with _talking():
            distributed.all_gather(collected, sent)
        return torch.stack(collected).to(values.device)

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the sum of all processes' gradients, in one message."""
        if self.size == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:  # an empty share
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in trained if p.grad is not None]
        message = torch.cat([g.flatten() for g in gradients]).to(self.device)
        with _talking():
            distributed.all_reduce(message)
        totals = torch.split(message, [g.numel() for g in gradients])
        for gradient, total in zip(gradients, totals, strict=True):
            gradient.copy_(total.view_as(gradient))

    def part_ways(self, seed: int) -> None:
        """Begin other chances than the main process's: each drops out what it likes."""
        if not self.is_main:
            torch.manual_seed(seed + self.rank)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process does what is in the block, then the others do."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def wait(self) -> None:
        """Until all processes are here."""
        self.collect(torch.zeros(1))


SINGLE_PROCESS = DistributedContext()


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "Another process of the training has ended.",
            hint="Mend what it said; --resume goes on after the last epoch.",
        ) from error


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """The processes that a launcher started together, or this one where there was none.

    Raises:
        MissingExtraError: accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise MissingExtraError(
            "Training in several processes", package="accelerate", extra="distributed"
        ) from error
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
    try:
        yield DistributedContext(
            rank=state.process_index, size=state.num_processes, device=state.device
        )
    finally:
        state.destroy_process_group()
