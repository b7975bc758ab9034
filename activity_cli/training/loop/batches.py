"""Which clips a step learns from. N is all training clips, B those of a batch.

All chance comes from torch's global generator, whose state a checkpoint keeps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from activity_cli.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some of the training clips, each mixed with another one where mixup is asked for."""

    rows: Tensor
    """(B,) positions among the training clips."""
    partners: Tensor | None = None
    """(B,) the clip that each is mixed with."""
    shares: Tensor | None = None
    """(B,) how much of the partner is in the mixture."""

    def __len__(self) -> int:
        """B."""
        return len(self.rows)

    def take(self, values: Tensor) -> Tensor:
        """What the network is to read of (N, ...) values: (B, ...), mixed where asked for."""
        own = values[self.rows]
        if self.partners is None:
            return own
        return self.mix(own, values[self.partners])

    def mix(self, own: Tensor, partners: Tensor) -> Tensor:
        """(B, ...) of the clips and (B, ...) of their partners -> (B, ...).

        Mixup: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018).
        """
        if self.shares is None:
            return own
        shares = self.shares.to(own.device).view(-1, *[1] * (own.dim() - 1))
        return own + shares * (partners - own)

    def split(self, size: int) -> "Iterator[Batch]":
        """The batch in parts of at most `size` clips."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def __getitem__(self, part: slice) -> "Batch":
        """Some of its clips."""
        if self.partners is None or self.shares is None:
            return Batch(rows=self.rows[part])
        return Batch(rows=self.rows[part], partners=self.partners[part], shares=self.shares[part])


def draw_epoch(labels: Tensor, settings: TrainSettings) -> Batch:
    """All clips that an epoch learns from, in a new order.

    Args:
        labels: (N,) of the training clips.
        settings: `mixup` sets how they are mixed.
    """
    rows = torch.randperm(len(labels))
    if not settings.mixup:
        return Batch(rows=rows)
    strength = torch.full((len(rows),), settings.mixup)
    shares = torch.distributions.Beta(strength, strength).sample()
    return Batch(rows=rows, partners=rows[torch.randperm(len(rows))], shares=shares)
