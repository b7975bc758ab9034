"""Features -> the encoding that the classifier reads, computed once and in batches.

N is all clips, K augmented views of each, B clips in a batch; S, T, D, R as in `network`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.errors import TrainingError
from activity_cli.model.network import (
    Encoded,
    FeatureStatistics,
    SequenceClassifier,
    time_basis,
)

ENCODING_BATCH = 64
NUM_COEFFICIENTS = 3  # over time; more lost accuracy on all data sets that were tried
_MAX_FRAMES = 2048

Features = NDArray[np.float16]
Rows = NDArray[np.int64]


def measure_features(
    features: Features, rows: Rows, num_components: int, *, num_coefficients: int
) -> FeatureStatistics:
    """Measure the pooled coefficients of clips, and the principal deviations within a clip.

    There are at most two components for three clips: more would describe single clips. They are
    those of at most `_MAX_FRAMES` frames. Without an LSTM nothing reads them: `num_components` 0.

    Raises:
        TrainingError: a feature is NaN or infinite.
    """
    num_streams, num_frames, size = features.shape[1:]
    basis = time_basis(num_frames, num_coefficients) / num_frames
    total = torch.zeros(num_streams, num_coefficients, size, dtype=torch.float64)
    squares = torch.zeros_like(total)
    step = len(rows) * num_frames // _MAX_FRAMES | 1  # odd: not always the same moment
    deviations: list[torch.Tensor] = []
    for batch in batches_of(rows, ENCODING_BATCH):
        clips = torch.from_numpy(features[batch]).float()  # (B, S, T, D)
        pooled = (basis @ clips).double()
        total += pooled.sum(dim=0)
        squares += pooled.square().sum(dim=0)
        if num_components:
            centred = (clips - clips.mean(dim=2, keepdim=True)).transpose(0, 1).flatten(1, 2)
            deviations.append(centred[:, ::step])
    mean = total / len(rows)
    if not mean.isfinite().all():
        raise TrainingError(
            "The CNN's features are not finite.",
            hint="Try --precision fp32, or another --backbone.",
        )
    spread = (squares / len(rows) - mean.square()).clamp(min=0).sqrt().float()
    components = torch.zeros(num_streams, size, 0)
    if num_components:
        most = min(num_components, size, max(1, 2 * len(rows) // 3))
        components = _principal_directions(torch.cat(deviations, dim=1), most)
    return FeatureStatistics(
        mean=mean.float(),
        scale=spread + 0.05 * spread.mean(dim=2, keepdim=True).clamp(min=1e-6),
        components=components,
    )


def _principal_directions(centred: torch.Tensor, count: int) -> torch.Tensor:
    """Return (S, D, R) directions of deviations (S, M, D), the main one first."""
    most = min(count, centred.shape[1])
    # Halko, Martinsson and Tropp, "Finding structure with randomness", 2011.
    _, values, directions = torch.svd_lowrank(centred, q=min(most + 8, *centred.shape[1:]))
    variances = values[:, :most].square() / centred.shape[1]
    # Unit spread over all components together: the main ones stay the larger ones.
    unit = variances.mean(dim=1).clamp(min=1e-12).sqrt()
    return directions[..., :most] / unit[:, None, None]


@torch.no_grad()
def encode_rows(network: SequenceClassifier, features: Features, rows: Rows) -> Encoded:
    """Encode rows of (N, S, T, D) features as the trained part reads them."""
    return Encoded.joined(
        [
            network.encode(torch.from_numpy(features[batch]).float())
            for batch in batches_of(rows, ENCODING_BATCH)
        ]
    )


@dataclass(frozen=True, slots=True)
class ViewIndex:
    """Positions of clips and their augmented views in one tensor: all clips, then view by view."""

    num_clips: int
    num_views: int = 0  # K

    @property
    def clips(self) -> torch.Tensor:
        """(N * (K + 1),) the clip at each position."""
        return torch.arange(self.num_clips).repeat(1 + self.num_views)

    def draw(self, clips: torch.Tensor) -> torch.Tensor:
        """Return positions of clips, each in a random one of its K + 1 views."""
        if not self.num_views:
            return clips
        return clips + self.num_clips * torch.randint(self.num_views + 1, clips.shape)


def encode_views(
    network: SequenceClassifier, features: Features, views: Features | None, rows: Rows
) -> tuple[Encoded, ViewIndex]:
    """Encode clips and their views as the trained part reads them, and index their positions.

    `features` are (N, S, T, D) of the unchanged clips, `views` (N, K, S, T, D), if there are any.
    """
    num_views = 0 if views is None else views.shape[1]
    parts = [encode_rows(network, features, rows)]
    if views is not None:
        parts += [encode_rows(network, views[:, number], rows) for number in range(num_views)]
    return Encoded.joined(parts), ViewIndex(len(rows), num_views)


def batches_of(rows: Rows, size: int) -> Iterator[Rows]:
    """Split rows into batches of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
