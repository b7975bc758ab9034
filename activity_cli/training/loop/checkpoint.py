"""The state of a training on disk: one safetensors file whose header carries the rest as JSON.

    module/NAME, best/NAME                 weights of the last epoch and of the best one
    optimizer/INDEX/NAME                   what the optimizer remembers of each parameter
    random/cpu, random/cuda                (P, ...) state of the generators of P processes

One file, replaced as a whole after every epoch: whenever the program is killed, the state of one
epoch is there completely. Nothing is pickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from activity_cli.common.files import write_bytes_atomically
from activity_cli.errors import CheckpointError
from activity_cli.training.loop.progress import Progress
from activity_cli.training.loop.task import Epoch
from activity_cli.training.loop.trainer import Trainer

_FORMAT = 1


def save_checkpoint(path: Path, learner: Trainer, progress: Progress) -> None:
    """Write the state as it is between two epochs. All processes take part, the main one writes.

    Raises:
        OutputError: it cannot be written; that of the epoch before is still there.
    """
    optimizer = learner.optimizer.state_dict()
    tensors = {
        **_named("module", learner.lesson.module.state_dict()),
        **_named("best", progress.best_weights),
        **{
            f"optimizer/{index}/{name}": value
            for index, values in optimizer["state"].items()
            for name, value in values.items()
        },
        **_random_states(learner),
    }
    state = {
        "format": _FORMAT,
        "history": [asdict(epoch) for epoch in progress.history],
        "best_epoch": progress.best.epoch,
        "parameter_groups": optimizer["param_groups"],
        "schedule": learner.schedule.state_dict(),
        "halved": learner.halved,
        "notes": learner.notes,
    }
    if learner.team.is_main:
        copies = {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}
        content = save(
            {name: t.contiguous() for name, t in copies.items()}, {"state": json.dumps(state)}
        )
        write_bytes_atomically(path, content)


def load_checkpoint(path: Path, learner: Trainer) -> Progress | None:
    """Bring a training to where a checkpoint left it; None where there is none.

    All processes take part; only the main one has to see the file.

    Raises:
        CheckpointError: the file is damaged, or of another network.
    """
    team = learner.team
    content = path.read_bytes() if team.is_main and path.exists() else None
    content = team.agree_on_bytes(content)
    if content is None:
        return None
    try:
        return _restore(load(content), _state_of(content), learner)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not the state of this training: {str(error).splitlines()[0]}.",
            hint="Train again without --resume; the features come from the cache.",
        ) from error


def _restore(tensors: Mapping[str, Tensor], state: Mapping[str, Any], learner: Trainer) -> Progress:
    if state["format"] != _FORMAT:
        raise ValueError(f"it has format {state['format']}, this activity reads {_FORMAT}")
    learner.lesson.module.load_state_dict(_part(tensors, "module"))
    remembered: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer").items():
        index, _, what = name.partition("/")
        remembered.setdefault(int(index), {})[what] = value
    learner.optimizer.load_state_dict(
        {"state": remembered, "param_groups": state["parameter_groups"]}
    )
    learner.schedule.load_state_dict(state["schedule"])
    learner.halved = state["halved"]
    learner.notes = list(state["notes"])
    history = [Epoch(**values) for values in state["history"]]
    learner.epoch = history[-1].epoch
    _set_random_states(tensors, learner)
    return Progress(
        history=history, best=history[state["best_epoch"]], best_weights=_part(tensors, "best")
    )


def _random_states(learner: Trainer) -> dict[str, Tensor]:
    """(P, ...) of every process: each has its own dropout."""
    states = {"random/cpu": learner.team.collect(torch.get_rng_state())}
    if learner.device.type == "cuda":
        states["random/cuda"] = learner.team.collect(torch.cuda.get_rng_state(learner.device))
    return states


def _set_random_states(tensors: Mapping[str, Tensor], learner: Trainer) -> None:
    rank = learner.team.rank
    if rank < len(tensors["random/cpu"]):  # more processes than before: their own seed stands
        torch.set_rng_state(tensors["random/cpu"][rank])
    if learner.device.type == "cuda" and rank < len(tensors.get("random/cuda", ())):
        torch.cuda.set_rng_state(tensors["random/cuda"][rank], learner.device)


def _state_of(content: bytes) -> dict[str, Any]:
    """The JSON in the header of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    state = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["state"])
    if not isinstance(state, dict):
        raise TypeError("its header holds no state")
    return state


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}/"
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
