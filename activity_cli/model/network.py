"""The sequence classifier: CNN features of a clip -> one logit per label.

    (B, S, T, D) CNN features
      |- summary: mean over time, standardised -> linear                      what, and how much
      |           (B, S, D)                       (B, C)
      '- order:   deviation from that mean -> PCA -> project -> fuse          what happens when
                  (B, S, T, D)      (B, S, T, R)  (B, T, P) each  (B, T, S * P)
                  -> LSTM -> attention over time -> dropout -> linear
                     (B, T, 2 * H)  (B, 4 * H)               (B, C)
    logits = summary + order

B clips, S streams, T frames, D CNN features, R principal components, P projected features, H LSTM
units per direction, C labels.

A clip's mean says which place and people it shows and how much moves; it is most of a CNN feature,
and an LSTM that reads it drowns in it. What is left when it is taken away is what changes, and
that is what the LSTM reads. The CNN + LSTM shape follows Donahue et al., "Long-term Recurrent
Convolutional Networks" (2015); a linear path beside a deep one follows Cheng et al., "Wide & Deep
Learning" (2016); attention that the last state asks, joined to it, follows Luong et al. (2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from activity_cli.settings import NetworkSettings

_ATTENTION_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStatistics:
    """What is known of the training clips' features before any weight is learned."""

    mean: Tensor
    """(S, D) of each feature."""
    scale: Tensor
    """(S, D) spread of each feature, never 0."""
    components: Tensor
    """(S, D, R) principal directions of what changes within a clip, scaled to unit spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Features as the trained part of the network reads them; fixed by `FeatureStatistics`."""

    summary: Tensor
    """(B, S, D)"""
    changes: Tensor
    """(B, S, T, R)"""

    def rows(self, index: Tensor) -> "Encoded":
        """The clips at these positions."""
        return Encoded(summary=self.summary[index], changes=self.changes[index])

    @classmethod
    def joined(cls, parts: Sequence["Encoded"]) -> "Encoded":
        """Some after others; a single one as it is."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            summary=torch.cat([part.summary for part in parts]),
            changes=torch.cat([part.changes for part in parts]),
        )


class AttentionPooling(nn.Module):
    """A weighted mean over time; what the LSTM ended with asks, every frame's output answers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.of_output = nn.Linear(size, _ATTENTION_SIZE, bias=False)
        self.of_state = nn.Linear(size, _ATTENTION_SIZE)
        self.score = nn.Linear(_ATTENTION_SIZE, 1, bias=False)

    def weights(self, outputs: Tensor, state: Tensor) -> Tensor:
        """(B, T, F) outputs and (B, F) state -> (B, T), positive and summing to 1 over time."""
        asked = torch.tanh(self.of_output(outputs) + self.of_state(state).unsqueeze(1))
        return torch.softmax(self.score(asked).squeeze(-1), dim=1)

    def forward(self, outputs: Tensor, state: Tensor) -> Tensor:
        """(B, T, F) and (B, F) -> (B, 2 * F): what attention found, and the state."""
        found = torch.einsum("bt,btf->bf", self.weights(outputs, state), outputs)
        return torch.cat([found, state], dim=-1)


class ComponentDropout(nn.Module):
    """Drops whole components of a clip, the same ones in all of its frames.

    Independent dropout per frame would leave a component readable from its neighbours in time.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout1d(share)

    def forward(self, changes: Tensor) -> Tensor:
        """(B, S, T, R), each (B, S, R) kept or dropped for all T."""
        if not self.training:
            return changes
        columns = changes.transpose(2, 3)  # (B, S, R, T)
        kept: Tensor = self.dropout(columns.flatten(0, 1)).view(columns.shape)
        return kept.transpose(2, 3)


class TemporalHead(nn.Module):
    """Reads what changes in a clip, in the order in which it happens."""

    def __init__(
        self, settings: NetworkSettings, *, num_streams: int, num_components: int, num_labels: int
    ) -> None:
        super().__init__()
        self.pooling = settings.pooling
        self.bidirectional = settings.bidirectional
        self.hidden_size = settings.hidden_size
        self.component_dropout = ComponentDropout(settings.dropout)
        self.projections = nn.ModuleList(
            nn.Linear(num_components, settings.projection_size) for _ in range(num_streams)
        )
        self.lstm = nn.LSTM(
            num_streams * settings.projection_size,
            settings.hidden_size,
            num_layers=settings.num_layers,
            bidirectional=settings.bidirectional,
            batch_first=True,
            dropout=settings.dropout if settings.num_layers > 1 else 0.0,
        )
        size = settings.hidden_size * (2 if settings.bidirectional else 1)
        if settings.pooling == "attention":
            self.attention = AttentionPooling(size)
            size *= 2
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = nn.Linear(size, num_labels)
        # It begins as nothing, so that it has to earn every change to what the summary says.
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, changes: Tensor) -> Tensor:
        """(B, S, T, R) -> (B, C)."""
        outputs, _ = self.lstm(self.fuse(changes))  # (B, T, 2H)
        return self.decide(outputs)

    def fuse(self, changes: Tensor) -> Tensor:
        """(B, S, T, R) -> (B, T, S * P): what the LSTM reads."""
        changes = self.component_dropout(changes)
        projected = [torch.relu(p(changes[:, s])) for s, p in enumerate(self.projections)]
        fused: Tensor = self.dropout(torch.cat(projected, dim=-1))
        return fused

    def decide(self, outputs: Tensor) -> Tensor:
        """(B, T, 2H) outputs of the LSTM -> (B, C)."""
        logits: Tensor = self.classifier(self.dropout(self._pool(outputs)))
        return logits

    def ends(self, outputs: Tensor) -> Tensor:
        """Each direction's output after it has read the whole clip: (B, T, 2H) -> (B, 2H).

        It is also the LSTM's second result, but OpenVINO's converter (2026.4) crashes on that.
        """
        if not self.bidirectional:
            return outputs[:, -1]
        last = [outputs[:, -1, : self.hidden_size], outputs[:, 0, self.hidden_size :]]
        return torch.cat(last, dim=-1)

    def _pool(self, outputs: Tensor) -> Tensor:
        """(B, T, 2H) -> (B, F): what the LSTM made of the sequence, as one vector."""
        match self.pooling:
            case "attention":
                pooled: Tensor = self.attention(outputs, self.ends(outputs))
                return pooled
            case "mean":
                return torch.mean(outputs, dim=1)
            case "last":
                return self.ends(outputs)


class SequenceClassifier(nn.Module):
    """CNN features of a clip to one logit per label."""

    mean: Tensor
    scale: Tensor
    components: Tensor

    def __init__(
        self, settings: NetworkSettings, *, num_labels: int, statistics: FeatureStatistics
    ) -> None:
        super().__init__()
        num_streams, feature_size, num_components = statistics.components.shape
        self.temporal = settings.temporal
        self.register_buffer("mean", statistics.mean)
        self.register_buffer("scale", statistics.scale)
        self.register_buffer("components", statistics.components)
        # The single-frame baseline is an image classifier: one picture, no motion image.
        self.num_summarised = 1 if settings.temporal == "frame" else num_streams
        self.summary = nn.Linear(self.num_summarised * feature_size, num_labels)
        nn.init.zeros_(self.summary.weight)
        nn.init.zeros_(self.summary.bias)
        if settings.temporal == "lstm":
            self.order = TemporalHead(
                settings,
                num_streams=num_streams,
                num_components=num_components,
                num_labels=num_labels,
            )

    def encode(self, features: Tensor) -> Encoded:
        """(B, S, T, D) features to what the trained part reads."""
        mean = features.mean(dim=2)  # (B, S, D)
        read = features[:, :, features.shape[2] // 2] if self.temporal == "frame" else mean
        changes = (features - mean.unsqueeze(2)) @ self.components
        return Encoded(summary=(read - self.mean) / self.scale, changes=changes)

    def summary_logits(self, encoded: Encoded) -> Tensor:
        """(B, C) logits of the summary alone."""
        logits: Tensor = self.summary(encoded.summary[:, : self.num_summarised].flatten(1))
        return logits

    def logits(self, encoded: Encoded) -> Tensor:
        """(B, C) logits of the whole network."""
        logits = self.summary_logits(encoded)
        if self.temporal == "lstm":
            logits = logits + self.order(encoded.changes)
        return logits

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) logits."""
        return self.logits(self.encode(features))


class Ensemble(nn.Module):
    """Networks of one shape that learned from different clips, as one: their mean logits."""

    def __init__(self, members: Sequence[SequenceClassifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) logits."""
        return torch.stack([member(features) for member in self.members]).mean(dim=0)


class ClipScorer(nn.Module):
    """The classifier as engines and exports run it: features in, scores that sum to 1 out."""

    def __init__(
        self, classifier: SequenceClassifier | Ensemble, *, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) scores."""
        return torch.softmax(self.classifier(features) / self.temperature, dim=-1)
