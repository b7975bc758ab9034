"""A training on disk: its metrics (history.csv, TensorBoard) and its state.

The state is one safetensors file, replaced after epochs; its header holds the rest as JSON.

    module/NAME, best/NAME     weights of the last epoch and of the best one
    optimizer/INDEX/NAME       state of the optimizer for each parameter
    random/cpu, random/cuda    (P, ...) state of the random generators of P processes

With several trainers the first two lines have the number of the trainer in front: `0/module/NAME`.
"""

import json
import shutil
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from activity_cli.common.files import LineFile, write_bytes_atomically
from activity_cli.errors import CheckpointError
from activity_cli.training.loop.distributed import DistributedContext
from activity_cli.training.loop.trainer import EpochMetrics, Trainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_FORMAT = 2
_FORMAT_OF_ONE = 1  # of earlier versions: one trainer, or networks trained as one module
_HINT = "Train again without --resume; the features come from the cache."


@dataclass(kw_only=True)
class Checkpoint:
    """The epochs so far and the best weights. The rest of the state is in the trainers."""

    history: list[EpochMetrics]
    best: EpochMetrics  # of the lowest validation loss, the first of equals
    best_weights: list[dict[str, Tensor]]  # for each trainer


def save_checkpoint(
    path: Path, trainers: Sequence[Trainer], checkpoint: Checkpoint, context: DistributedContext
) -> None:
    """Write the state between two epochs. All processes take part, the main one writes.

    Raises:
        OutputError: it cannot be written; the checkpoint of the epoch before stays.
    """
    device, states = trainers[0].device, []
    tensors = {"random/cpu": context.all_gather(torch.get_rng_state())}
    if device.type == "cuda":
        tensors["random/cuda"] = context.all_gather(torch.cuda.get_rng_state(device))
    for trainer, prefix, best in zip(
        trainers, _prefixes(trainers), checkpoint.best_weights, strict=True
    ):
        optimizer = trainer.optimizer.state_dict()
        tensors |= _named(f"{prefix}module", trainer.task.module.state_dict())
        tensors |= _named(f"{prefix}best", best)
        for index, values in optimizer["state"].items():
            tensors |= _named(f"{prefix}optimizer/{index}", values)
        states.append(
            {
                "parameter_groups": optimizer["param_groups"],
                "schedule": trainer.schedule.state_dict(),
                "halved": trainer.halved,
                "notes": trainer.notes,
            }
        )
    if context.is_main:
        state = {
            "format": _FORMAT,
            "history": [asdict(epoch) for epoch in checkpoint.history],
            "best_epoch": checkpoint.best.epoch,
            "trainers": states,
        }
        copies = {n: t.detach().to("cpu", copy=True).contiguous() for n, t in tensors.items()}
        write_bytes_atomically(path, save(copies, {"state": json.dumps(state)}))


def load_checkpoint(
    path: Path, trainers: Sequence[Trainer], context: DistributedContext
) -> Checkpoint | None:
    """Restore trainers from a checkpoint that the main process reads; None without a file.

    Raises:
        CheckpointError: the file is damaged, or of another network or version.
    """
    content = path.read_bytes() if context.is_main and path.exists() else None
    content = context.broadcast(content)
    if content is None:
        return None
    try:
        tensors, state = load(content), _state_of(content)
        if state["format"] == _FORMAT_OF_ONE:
            if len(trainers) > 1:
                raise CheckpointError(
                    f"{path} is from an earlier version of activity, which trained the inner "
                    "folds in another way.",
                    hint=_HINT,
                )
            state["trainers"] = [state]
        elif state["format"] != _FORMAT:
            raise ValueError(f"it has format {state['format']}, this version reads {_FORMAT}")
        return _restore(tensors, state, trainers, context)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of this training: {str(error).splitlines()[0]}.",
            hint=_HINT,
        ) from error


def _restore(
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    trainers: Sequence[Trainer],
    context: DistributedContext,
) -> Checkpoint:
    history = [EpochMetrics(**values) for values in state["history"]]
    best_weights = []
    for trainer, prefix, own in zip(trainers, _prefixes(trainers), state["trainers"], strict=True):
        trainer.task.module.load_state_dict(_part(tensors, f"{prefix}module"))
        of_parameters: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in _part(tensors, f"{prefix}optimizer").items():
            index, _, what = name.partition("/")
            of_parameters[int(index)][what] = value
        groups = own["parameter_groups"]
        trainer.optimizer.load_state_dict({"state": dict(of_parameters), "param_groups": groups})
        trainer.schedule.load_state_dict(own["schedule"])
        trainer.halved, trainer.notes = own["halved"], list(own["notes"])
        trainer.epoch = history[-1].epoch
        best_weights.append(_part(tensors, f"{prefix}best"))
    device, rank = trainers[0].device, context.rank
    if rank < len(tensors["random/cpu"]):  # processes that are new keep their seed
        torch.set_rng_state(tensors["random/cpu"][rank])
    if device.type == "cuda" and rank < len(tensors.get("random/cuda", ())):
        torch.cuda.set_rng_state(tensors["random/cuda"][rank], device)
    return Checkpoint(history=history, best=history[state["best_epoch"]], best_weights=best_weights)


def _prefixes(trainers: Sequence[Trainer]) -> list[str]:
    """Return what stands in front of the tensor names of each trainer."""
    return [""] if len(trainers) == 1 else [f"{number}/" for number in range(len(trainers))]


def _state_of(content: bytes) -> dict[str, Any]:
    """Return the JSON in the header of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["state"]))


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}/"
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


HISTORY_FILE = "history.csv"
TENSORBOARD_FOLDER = "tensorboard"


class TrainingLog:
    """A context manager that writes epochs; quiet, in all processes but the main one, nothing."""

    def __init__(self, folder: Path, *, tensorboard: bool, quiet: bool = False) -> None:
        self.last: EpochMetrics | None = None
        self._folder, self._quiet = folder, quiet
        self._wants_board = tensorboard and find_spec("tensorboard") is not None
        self._file: LineFile | None = None
        self._board: SummaryWriter | None = None

    def __call__(self, epoch: EpochMetrics) -> None:
        """Write an epoch. A resumed training repeats the earlier ones.

        Raises:
            OutputError: the file cannot be written.
        """
        self.last = epoch
        if self._quiet:
            return
        values = asdict(epoch)
        if self._file is None:
            self._file = LineFile(self._folder / HISTORY_FILE, "w")
            self._file.write((",".join(values) + "\n").encode())
            if self._wants_board:
                from torch.utils.tensorboard import SummaryWriter

                board = self._folder / TENSORBOARD_FOLDER
                shutil.rmtree(board, ignore_errors=True)  # it may be ahead of the checkpoint
                self._board = SummaryWriter(str(board))
        self._file.write((",".join(map(str, values.values())) + "\n").encode())
        if self._board is not None:
            with _interrupt_afterwards():
                self._write_to_board(self._board, values)

    @staticmethod
    def _write_to_board(board: "SummaryWriter", values: Mapping[str, Any]) -> None:
        epoch = values["epoch"]
        for part in ("train", "val"):
            for what in ("loss", "accuracy"):
                board.add_scalar(f"{what}/{part}", values[f"{part}_{what}"], epoch)
        board.add_scalar("learning rate", values["learning_rate"], epoch)
        board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for output in (self._file, kind is None and self._board):  # after an error it may deadlock
            if output:
                output.close()


@contextmanager
def _interrupt_afterwards() -> Iterator[None]:
    """Handle a Ctrl-C that comes in the block at its end: locks of queues may not survive it."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(came[0], None)
