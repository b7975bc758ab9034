"""How far a training has come: its epochs, the best of them, and whether it is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from activity_cli.settings import TrainSettings
from activity_cli.training.loop.task import Epoch

Ending = Literal["epochs", "patience", "time limit", "nothing to train"]
"""Why a training ended."""


@dataclass(kw_only=True)
class Progress:
    """The epochs so far. The best is that of the lowest validation loss, the first of equals."""

    history: list[Epoch]
    best: Epoch
    best_weights: Mapping[str, Tensor]

    @classmethod
    def begin(cls, before: Epoch, module: nn.Module) -> "Progress":
        """Before the first epoch."""
        return cls(history=[before], best=before, best_weights=_weights_of(module))

    def add(self, epoch: Epoch, module: nn.Module) -> None:
        """Add an epoch; `module` has the weights that were evaluated."""
        self.history.append(epoch)
        if epoch.val_loss < self.best.val_loss:
            self.best, self.best_weights = epoch, _weights_of(module)

    def ending(self, settings: TrainSettings) -> Ending | None:
        """Why no other epoch is to follow, or None."""
        last = self.history[-1].epoch
        if last >= settings.most_epochs:
            return "epochs"
        return "patience" if last - self.best.epoch >= settings.most_patience else None


def _weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
