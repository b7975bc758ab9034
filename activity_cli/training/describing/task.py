"""Captions as the training loop takes them: each word is predicted from the right words before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from activity_cli.features.cnn import FrameFeatures
from activity_cli.model.captioner import Captioner, Seen
from activity_cli.training.loop.trainer import ClipLoss, EpochMetrics, ParameterGroups

_NO_WORD = -1  # behind the end of a caption
_AT_ONCE = 128  # captions, without gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionItems:
    """Captions of clips: M of them, of at most L words with the end."""

    clips: Tensor  # (M,) row of the clip
    words: Tensor  # (M, L), _NO_WORD behind the end

    @classmethod
    def of(cls, encoded: Sequence[tuple[int, Sequence[int]]]) -> "CaptionItems":
        """Join pairs of a row and the positions of a caption's words."""
        longest = max(len(words) for _, words in encoded)
        padded = [[*words, *[_NO_WORD] * (longest - len(words))] for _, words in encoded]
        return cls(clips=torch.tensor([row for row, _ in encoded]), words=torch.tensor(padded))


class CnnCaptioner(nn.Module):
    """A CNN that is trained from scratch, (N, H, W, channels) -> (N, D), and a captioner."""

    def __init__(self, cnn: FrameFeatures, captioner: Captioner) -> None:
        super().__init__()
        self.cnn, self.captioner = cnn, captioner

    def features(self, images: Tensor) -> Tensor:
        """(B, S, T, H, W, channels) uint8 -> (B, S, T, D)."""
        features: Tensor = self.cnn(images.flatten(0, 2)).float()
        return features.view(*images.shape[:3], -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionTask:
    """A captioner, and a CNN that is trained with it, as the loop trains them."""

    module: nn.Module  # the captioner, or CNN and captioner
    captioner: Captioner
    see: Callable[[Tensor], Seen]  # from rows of clips
    train: CaptionItems
    val: CaptionItems
    label_smoothing: float

    @property
    def labels(self) -> Tensor:
        """Of the training captions, which have none."""
        return torch.zeros(len(self.train.clips), dtype=torch.long)

    @property
    def loss(self) -> ClipLoss:
        """All captions have the same weight."""
        return ClipLoss()

    def parameter_groups(self) -> ParameterGroups:
        """Return what is trained: not the word detectors, which are fitted, without a CNN."""
        return [{"params": [p for p in self.module.parameters() if p.requires_grad]}]

    def batch_loss(self, rows: Tensor) -> Tensor:
        """Return the mean loss of the words of training captions (B,)."""
        logs, words = self._spoken(self.train, rows)
        return F.nll_loss(logs, words) * (1 - self.label_smoothing) - self.label_smoothing * (
            logs.mean()
        )

    @torch.no_grad()
    def evaluate(self) -> EpochMetrics:
        """Return loss and share of right words, each after the right words before it."""
        few = torch.arange(min(len(self.train.clips), max(len(self.val.clips), _AT_ONCE)))
        train_loss, train_accuracy = self._measure(self.train, few)
        val_loss, val_accuracy = self._measure(self.val, torch.arange(len(self.val.clips)))
        return EpochMetrics(
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
        )

    def _measure(self, items: CaptionItems, rows: Tensor) -> tuple[float, float]:
        found = [self._spoken(items, part) for part in torch.split(rows, _AT_ONCE)]
        logs, words = (torch.cat(parts) for parts in zip(*found, strict=True))
        right = (logs.argmax(dim=1) == words).float().mean()
        return float(F.nll_loss(logs, words)), float(right)

    def _spoken(self, items: CaptionItems, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (n, V) and the right word (n,) of all words of captions."""
        words = items.words[rows]
        words = words[:, : int((words != _NO_WORD).sum(dim=1).max())]
        logs = self.captioner.spoken(self.see(items.clips[rows]), words)
        is_word = words != _NO_WORD
        return logs[is_word], words[is_word]
