"""Features -> the encoding that the classifier reads, computed once and in batches.

N is all clips, K augmented views of each, B clips in a batch; S, T, D, R as in `network`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.model.network import Encoded, FeatureStatistics, SequenceClassifier

ENCODING_BATCH = 64

Features = NDArray[np.float16]
Rows = NDArray[np.int64]


def measure_features(features: Features, rows: Rows, num_components: int) -> FeatureStatistics:
    """Measure mean and spread of all features, and the principal deviations within a clip.

    There are at most two components for three clips: more would describe single clips.
    """
    num_streams, num_frames, size = features.shape[1:]
    count = len(rows) * num_frames
    total = torch.zeros(num_streams, size, dtype=torch.float64)
    squares = torch.zeros_like(total)
    most = min(num_components, size, max(1, 2 * len(rows) // 3))
    few: list[torch.Tensor] = []  # all deviations, where they are fewer than the features
    covariance = torch.zeros(num_streams, size, size)
    for batch in batches_of(rows, ENCODING_BATCH):
        clips = torch.from_numpy(features[batch].astype(np.float32))  # (B, S, T, D)
        total += clips.sum(dim=(0, 2), dtype=torch.float64)
        squares += clips.double().square().sum(dim=(0, 2))
        centred = (clips - clips.mean(dim=2, keepdim=True)).transpose(0, 1).flatten(1, 2)
        if count < size:
            few.append(centred)
        else:
            covariance += centred.transpose(1, 2) @ centred / count  # (S, D, D)
    mean = total / count
    spread = (squares / count - mean.square()).clamp(min=0).sqrt().float()
    if few:
        variances, directions = _directions_of_few(torch.cat(few, dim=1), most)
    else:
        variances, directions = (found[..., -most:] for found in _eigh(covariance))  # ascending
    # Unit spread over all components together: the main ones stay the larger ones.
    unit = variances.mean(dim=1).clamp(min=1e-12).sqrt()
    return FeatureStatistics(
        mean=mean.float(),
        scale=spread + 0.05 * spread.mean(dim=1, keepdim=True).clamp(min=1e-6),
        components=directions / unit[:, None, None],
    )


def _directions_of_few(
    centred: torch.Tensor, num_components: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `_eigh` finds in the covariance of (S, M, D) deviations, faster where M < D.

    (S, R) variances and (S, D, R) directions, ascending.
    """
    count = centred.shape[1]
    variances, shares = _eigh(centred @ centred.transpose(1, 2) / count)  # (S, M), (S, M, M)
    variances, shares = variances[:, -num_components:], shares[..., -num_components:]
    lengths = (count * variances).clamp(min=1e-12).sqrt()
    return variances, centred.transpose(1, 2) @ shares / lengths[:, None]


def _eigh(covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return eigenvalues and eigenvectors, in double precision where single does not converge."""
    try:
        variances, directions = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        variances, directions = torch.linalg.eigh(covariance.double())
    return variances.float(), directions.float()


@torch.no_grad()
def encode_rows(network: SequenceClassifier, features: Features, rows: Rows) -> Encoded:
    """Encode rows of (N, S, T, D) features as the trained part reads them."""
    return Encoded.joined(
        [
            network.encode(torch.from_numpy(features[batch].astype(np.float32)))
            for batch in batches_of(rows, ENCODING_BATCH)
        ]
    )


@dataclass(frozen=True, slots=True)
class ViewIndex:
    """Positions of clips and their augmented views in one tensor.

    First all clips unchanged, the training clips before the validation clips; then the training
    clips view by view; then the validation clips view by view.
    """

    num_train: int
    num_clips: int
    num_views: int = 0  # K

    @property
    def train(self) -> torch.Tensor:
        """Positions of the training clips, unchanged and in every view."""
        views = torch.arange(self.num_train * self.num_views)
        return torch.cat([torch.arange(self.num_train), self.num_clips + views])

    @property
    def clips(self) -> torch.Tensor:
        """(N * (K + 1),) the clip at each position."""
        train, val = torch.arange(self.num_train), torch.arange(self.num_train, self.num_clips)
        return torch.cat([train, val, train.repeat(self.num_views), val.repeat(self.num_views)])

    def draw(self, rows: torch.Tensor) -> torch.Tensor:
        """Return positions of training clips, each in a random one of its K + 1 views."""
        if not self.num_views:
            return rows
        views = torch.randint(self.num_views + 1, rows.shape)
        among_views = self.num_clips + (views - 1) * self.num_train + rows
        return torch.where(views == 0, rows, among_views)


def encode_views(
    network: SequenceClassifier,
    features: Features,
    views: Features | None,
    *,
    train_rows: Rows,
    val_rows: Rows,
) -> tuple[Encoded, ViewIndex]:
    """Encode clips and their views as the trained part reads them, and index their positions.

    `features` are (N, S, T, D) of the unchanged clips, `views` (N, K, S, T, D), if there are any.
    """
    num_views = 0 if views is None else views.shape[1]
    parts = [encode_rows(network, features, np.concatenate([train_rows, val_rows]))]
    if views is not None:
        parts += [
            encode_rows(network, views[:, number], rows)
            for rows in (train_rows, val_rows)
            if len(rows)
            for number in range(num_views)
        ]
    index = ViewIndex(len(train_rows), len(train_rows) + len(val_rows), num_views)
    return Encoded.joined(parts), index


def batches_of(rows: Rows, size: int) -> Iterator[Rows]:
    """Split rows into batches of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
