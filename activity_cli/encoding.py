"""Features -> what the classifier reads of them, measured once and in batches.

N is all clips, B clips in a batch; S, T, D, R as in `network`.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.network import Encoded, FeatureStatistics, SequenceClassifier

ENCODING_BATCH = 64

Features = NDArray[np.float16]
Rows = NDArray[np.int64]


def measure_features(features: Features, rows: Rows, num_components: int) -> FeatureStatistics:
    """Mean and spread of all features, and the main directions of change within a clip."""
    num_streams, num_frames, size = features.shape[1:]
    count = len(rows) * num_frames
    total = torch.zeros(num_streams, size, dtype=torch.float64)
    squares = torch.zeros_like(total)
    covariance = torch.zeros(num_streams, size, size)
    for batch in batches_of(rows, ENCODING_BATCH):
        clips = torch.from_numpy(features[batch].astype(np.float32))  # (B, S, T, D)
        total += clips.sum(dim=(0, 2), dtype=torch.float64)
        squares += clips.double().square().sum(dim=(0, 2))
        changes = (clips - clips.mean(dim=2, keepdim=True)).transpose(0, 1).flatten(1, 2)
        covariance += changes.transpose(1, 2) @ changes / count  # (S, D, D)
    mean = total / count
    spread = (squares / count - mean.square()).clamp(min=0).sqrt().float()
    variances, directions = _eigh(covariance)  # ascending
    kept = slice(-min(num_components, size), None)
    # Unit spread over all components together: the main ones stay the larger ones.
    unit = variances[:, kept].mean(dim=1).clamp(min=1e-12).sqrt()
    return FeatureStatistics(
        mean=mean.float(),
        scale=spread + 0.05 * spread.mean(dim=1, keepdim=True).clamp(min=1e-6),
        components=directions[:, :, kept] / unit[:, None, None],
    )


def _eigh(covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues and -vectors; of few clips most are 0, and single precision may not settle."""
    try:
        variances, directions = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        variances, directions = torch.linalg.eigh(covariance.double())
    return variances.float(), directions.float()


@torch.no_grad()
def encode_rows(network: SequenceClassifier, features: Features, rows: Rows) -> Encoded:
    """Rows of (N, S, T, D) features as the trained part reads them, a tenth of their size."""
    encoded = [
        network.encode(torch.from_numpy(features[batch].astype(np.float32)))
        for batch in batches_of(rows, ENCODING_BATCH)
    ]
    return Encoded(
        summary=torch.cat([part.summary for part in encoded]),
        changes=torch.cat([part.changes for part in encoded]),
    )


def batches_of(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows in runs of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
