"""The sequence classifier: CNN features of a clip -> one logit per label.

    (B, S, T, D) features
      -> per stream: normalise, project          (B, T, P) each
      -> fuse: concatenate                       (B, T, S * P)
      -> LSTM (Hochreiter & Schmidhuber, 1997)   (B, T, 2 * H)
      -> attention pooling over time             (B, 2 * H)
      -> dropout, linear                         (B, C)

B clips, S streams, T frames, D CNN features, P projected features, H LSTM units per direction,
C labels. The CNN + LSTM shape follows Donahue et al., "Long-term Recurrent Convolutional
Networks" (2015); the attention pooling follows Bahdanau et al. (2015) with a learned query.
"""

import torch
from torch import Tensor, nn

from activity_cli.settings import NetworkSettings


class StreamProjection(nn.Module):
    """One stream's CNN features to the size that the streams are fused at."""

    def __init__(self, feature_size: int, projection_size: int, dropout: float) -> None:
        super().__init__()
        self.normalise = nn.LayerNorm(feature_size)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(feature_size, projection_size)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, P)."""
        return torch.relu(self.linear(self.dropout(self.normalise(features))))


class AttentionPooling(nn.Module):
    """A weighted mean over time, the weights learned from the vectors themselves."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 1, bias=False))

    def weights(self, sequence: Tensor) -> Tensor:
        """(B, T, F) -> (B, T), positive and summing to 1 over time."""
        return torch.softmax(self.score(sequence).squeeze(-1), dim=1)

    def forward(self, sequence: Tensor) -> Tensor:
        """(B, T, F) -> (B, F)."""
        return torch.einsum("bt,btf->bf", self.weights(sequence), sequence)


class SequenceClassifier(nn.Module):
    """Reads a clip's features in order and gives one logit per label."""

    def __init__(
        self, settings: NetworkSettings, *, num_streams: int, feature_size: int, num_labels: int
    ) -> None:
        super().__init__()
        self.settings = settings
        size = settings.projection_size
        # The single-frame baseline is an image classifier: one picture, no motion image.
        streams_read = 1 if settings.temporal == "frame" else num_streams
        self.projections = nn.ModuleList(
            StreamProjection(feature_size, size, settings.dropout) for _ in range(streams_read)
        )
        size *= streams_read
        if settings.temporal == "lstm":
            self.lstm = nn.LSTM(
                size,
                settings.hidden_size,
                num_layers=settings.num_layers,
                bidirectional=settings.bidirectional,
                batch_first=True,
                dropout=settings.dropout if settings.num_layers > 1 else 0.0,
            )
            size = settings.hidden_size * (2 if settings.bidirectional else 1)
            if settings.pooling == "attention":
                self.attention = AttentionPooling(size)
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = nn.Linear(size, num_labels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) logits."""
        if self.settings.temporal == "frame":
            middle = features.shape[2] // 2
            features = features[:, :1, middle : middle + 1]
        projected = [project(features[:, s]) for s, project in enumerate(self.projections)]
        pooled = self._pool(torch.cat(projected, dim=-1))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits

    def _pool(self, sequence: Tensor) -> Tensor:
        """(B, T, S * P) -> (B, F): what the sequence says, as one vector."""
        if self.settings.temporal != "lstm":
            return sequence.mean(dim=1)
        outputs, (hidden, _) = self.lstm(sequence)  # (B, T, 2H), (layers * directions, B, H)
        match self.settings.pooling:
            case "attention":
                pooled: Tensor = self.attention(outputs)
                return pooled
            case "mean":
                return torch.mean(outputs, dim=1)
            case "last":  # each direction's state after it has read the whole clip
                directions = 2 if self.settings.bidirectional else 1
                return torch.cat(hidden[-directions:].unbind(0), dim=-1)


class ClipScorer(nn.Module):
    """The classifier as engines run it: features in, scores that sum to 1 out."""

    def __init__(self, classifier: SequenceClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) scores."""
        return torch.softmax(self.classifier(features), dim=-1)
