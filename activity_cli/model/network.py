"""The sequence classifier: CNN features of a clip -> one logit per label.

    (B, S, T, D) CNN features
      |- pooled linear head: cosine coefficients over time, standardised -> linear
      |                      (B, S, K, D)                                   (B, C)
      '- temporal head: deviation from that mean -> PCA -> project -> fuse     what happens when
                        (B, S, T, D)      (B, S, T, R)  (B, T, P) each  (B, T, S * P)
                        -> LSTM -> attention over time -> dropout -> linear
                           (B, T, 2 * H)  (B, 4 * H)               (B, C)
    logits = pooled + temporal

B clips, S streams, T frames, D CNN features, K coefficients, R principal components, P projected
features, H LSTM units per direction, C labels.

The first coefficient is the mean over time: the place, the people and how much moves. Two more
describe slow changes: from start to end, and between the middle and both ends. The mean dominates a
CNN feature: an LSTM that reads it learns little else. So it reads deviations from it. The CNN +
LSTM shape follows Donahue et al., "Long-term Recurrent Convolutional Networks" (2015); a linear
path beside a deep one follows Cheng et al., "Wide & Deep Learning" (2016); attention with the last
state as the query, and the state joined to its result, follows Luong et al. (2015).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from activity_cli.errors import ModelError
from activity_cli.features.movinet import build_kinetics600_classifier
from activity_cli.model.folder import MODEL_FILE, Model, ModelDescription, member_name
from activity_cli.settings import NetworkSettings

_ATTENTION_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStatistics:
    """Statistics of the training clips' features, measured before any weight is trained."""

    mean: Tensor  # (S, K, D) of each coefficient over the clips
    scale: Tensor  # (S, K, D) spread of each coefficient, never 0
    components: Tensor
    """(S, D, R) principal directions of the deviations from a clip's mean, in unit spread."""

    @classmethod
    def unmeasured(
        cls, num_streams: int, size: int, *, num_coefficients: int
    ) -> "FeatureStatistics":
        """Return those that leave features (S, T, D) as they are: there are none to measure yet."""
        return cls(
            mean=torch.zeros(num_streams, num_coefficients, size),
            scale=torch.ones(num_streams, num_coefficients, size),
            components=torch.eye(size).repeat(num_streams, 1, 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Features as the trained part of the network reads them; fixed by `FeatureStatistics`."""

    pooled: Tensor  # (B, S, K, D) coefficients over time, standardised
    centred: Tensor  # (B, S, T, R) principal components of the deviations from the mean over time

    def rows(self, index: Tensor) -> "Encoded":
        """Return the clips at these positions."""
        return Encoded(pooled=self.pooled[index], centred=self.centred[index])

    @classmethod
    def joined(cls, parts: Sequence["Encoded"]) -> "Encoded":
        """Concatenate clips; a single part is returned as it is."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            pooled=torch.cat([part.pooled for part in parts]),
            centred=torch.cat([part.centred for part in parts]),
        )


class AttentionPooling(nn.Module):
    """A weighted mean over time. The LSTM's last state is the query, its outputs are the keys."""

    def __init__(self, size: int, *, query_size: int | None = None) -> None:
        super().__init__()
        self.of_output = nn.Linear(size, _ATTENTION_SIZE, bias=False)
        self.of_state = nn.Linear(query_size or size, _ATTENTION_SIZE)
        self.score = nn.Linear(_ATTENTION_SIZE, 1, bias=False)

    def weights(self, outputs: Tensor, state: Tensor) -> Tensor:
        """(B, T, F) outputs and (B, F) state -> (B, T), positive and summing to 1 over time."""
        return self.weights_of_keys(self.of_output(outputs), state)

    def weights_of_keys(self, keys: Tensor, state: Tensor) -> Tensor:
        """Return `weights` from (B, T, K) keys, `of_output(outputs)`, for several states."""
        hidden = torch.tanh(keys + self.of_state(state).unsqueeze(1))
        return torch.softmax(self.score(hidden).squeeze(-1), dim=1)

    def forward(self, outputs: Tensor, state: Tensor) -> Tensor:
        """(B, T, F) and (B, F) -> (B, 2 * F): the weighted mean, and the state."""
        mean = torch.einsum("bt,btf->bf", self.weights(outputs, state), outputs)
        return torch.cat([mean, state], dim=-1)


class ComponentDropout(nn.Module):
    """Drops whole components of a clip, the same ones in all of its frames.

    Independent dropout per frame would leave a component readable from its neighbours in time.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(share)

    def forward(self, centred: Tensor) -> Tensor:
        """(B, S, T, R), each (B, S, R) kept or dropped for all T."""
        if not self.training:
            return centred
        kept: Tensor = self.dropout(torch.ones_like(centred[:, :, :1]))
        return centred * kept


class TemporalHead(nn.Module):
    """The LSTM's path: reads the deviations from a clip's mean in their order."""

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
        # Starts at 0: untrained, it leaves the logits of the pooled linear head as they are.
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, centred: Tensor) -> Tensor:
        """(B, S, T, R) -> (B, C)."""
        outputs, _ = self.lstm(self.fuse(centred))  # (B, T, 2H)
        return self.decide(outputs)

    def fuse(self, centred: Tensor) -> Tensor:
        """(B, S, T, R) -> (B, T, S * P): the input of the LSTM."""
        centred = self.component_dropout(centred)
        projected = [torch.relu(p(centred[:, s])) for s, p in enumerate(self.projections)]
        fused: Tensor = self.dropout(torch.cat(projected, dim=-1))
        return fused

    def decide(self, outputs: Tensor) -> Tensor:
        """(B, T, 2H) outputs of the LSTM -> (B, C)."""
        logits: Tensor = self.classifier(self.dropout(self._pool(outputs)))
        return logits

    def ends(self, outputs: Tensor) -> Tensor:
        """Return each direction's output after the whole clip: (B, T, 2H) -> (B, 2H)."""
        # It is also the LSTM's second result, but OpenVINO's converter (2026.4) crashes on that.
        if not self.bidirectional:
            return outputs[:, -1]
        last = [outputs[:, -1, : self.hidden_size], outputs[:, 0, self.hidden_size :]]
        return torch.cat(last, dim=-1)

    def _pool(self, outputs: Tensor) -> Tensor:
        """(B, T, 2H) -> (B, F): the outputs over time as one vector."""
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
        # The single-frame baseline is an image classifier: one frame, no motion image.
        self.num_pooled = 1 if settings.temporal == "frame" else num_streams
        self.num_coefficients = statistics.mean.shape[1]
        size = self.num_pooled * self.num_coefficients * feature_size
        self.pooled_head = nn.Linear(size, num_labels)
        nn.init.zeros_(self.pooled_head.weight)
        nn.init.zeros_(self.pooled_head.bias)
        if settings.temporal == "lstm":
            self.temporal_head = TemporalHead(
                settings,
                num_streams=num_streams,
                num_components=num_components,
                num_labels=num_labels,
            )

    def encode(self, features: Tensor) -> Encoded:
        """Compute from (B, S, T, D) features what the trained part reads."""
        if self.temporal == "frame":
            middle = features.shape[2] // 2
            read = features[:, :, middle : middle + 1]
        else:
            read = pool_over_time(features, self.num_coefficients)
        pooled = (read - self.mean) / self.scale
        if self.temporal != "lstm":
            return Encoded(pooled=pooled, centred=features[..., :0])
        centred = features - features.mean(dim=2, keepdim=True)
        # Stream by stream: as one product it takes five times as long.
        parts = [centred[:, s] @ self.components[s] for s in range(self.num_pooled)]
        return Encoded(pooled=pooled, centred=torch.stack(parts, dim=1))

    def pooled_logits(self, encoded: Encoded) -> Tensor:
        """(B, C) logits of the pooled linear head alone."""
        logits: Tensor = self.pooled_head(encoded.pooled[:, : self.num_pooled].flatten(1))
        return logits

    def logits(self, encoded: Encoded) -> Tensor:
        """(B, C) logits of the whole network."""
        logits = self.pooled_logits(encoded)
        if self.temporal == "lstm":
            logits = logits + self.temporal_head(encoded.centred)
        return logits

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) logits."""
        return self.logits(self.encode(features))


def time_basis(num_frames: int, num_coefficients: int) -> Tensor:
    """Return (K, T) cosines over time, the first constant, with a mean square of 1: a DCT-II."""
    angles = (torch.arange(num_frames) + 0.5) * (math.pi / num_frames)  # (T,)
    cosines = [math.sqrt(2) * torch.cos(k * angles) for k in range(1, num_coefficients)]
    return torch.stack([torch.ones_like(angles), *cosines])


def pool_over_time(features: Tensor, num_coefficients: int) -> Tensor:
    """(B, S, T, D) -> (B, S, K, D): the mean over time, and the coefficients of slow changes."""
    mean, num_frames = features.mean(dim=2, keepdim=True), features.shape[2]
    if num_coefficients == 1:
        return mean
    changes = time_basis(num_frames, num_coefficients)[1:] @ features / num_frames
    return torch.cat([mean, changes], dim=2)


class Ensemble(nn.Module):
    """Networks of one shape, trained on different clips; the result is the mean of their logits."""

    def __init__(self, members: Sequence[SequenceClassifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) logits."""
        return torch.stack([member(features) for member in self.members]).mean(dim=0)


class ClipScorer(nn.Module):
    """The classifier as engines and exports run it: features in, scores out.

    Scores sum to 1; those of a multi-label model are independent.
    """

    def __init__(
        self, classifier: nn.Module, *, temperature: float = 1.0, multi_label: bool = False
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature
        self.multi_label = multi_label

    def forward(self, features: Tensor) -> Tensor:
        """(B, S, T, D) float features -> (B, C) scores."""
        logits: Tensor = self.classifier(features) / self.temperature
        return torch.sigmoid(logits) if self.multi_label else torch.softmax(logits, dim=-1)


def load_scorer(model: Model) -> ClipScorer:
    """Build the network of a saved model in eval mode; a ModelError if its weights do not fit."""
    description = model.description
    if description.captions is not None:
        raise ModelError(
            f"{description.name} writes sentences; this needs a model with labels.",
            hint="predict, evaluate, explain and export take models that describe.",
        )
    if model.is_kinetics600:
        return ClipScorer(build_kinetics600_classifier()).eval()
    tensors = {name: torch.from_numpy(tensor) for name, tensor in model.weights().items()}
    prefixes = [""]
    if description.num_members > 1:
        prefixes = [member_name(number, "") for number in range(description.num_members)]
    try:
        networks = [
            _rebuild(
                description,
                {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)},
            )
            for prefix in prefixes
        ]
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"The weights in {model.folder} do not fit the network in {MODEL_FILE}.",
            hint="Restore the folder from a copy, or train again.",
        ) from error
    classifier = Ensemble(networks) if len(networks) > 1 else networks[0]
    return ClipScorer(
        classifier, temperature=description.temperature, multi_label=description.multi_label
    ).eval()


def _rebuild(description: ModelDescription, tensors: Mapping[str, Tensor]) -> SequenceClassifier:
    """Build a network from its tensors."""
    tensors = dict(tensors)
    for name in ("mean", "scale"):
        if tensors[name].ndim == 2:  # of models that read the mean alone: (S, D)
            tensors[name] = tensors[name].unsqueeze(1)
    statistics = FeatureStatistics(
        **{field.name: tensors[field.name] for field in fields(FeatureStatistics)}
    )
    network = SequenceClassifier(
        description.network, num_labels=len(description.labels), statistics=statistics
    )
    network.load_state_dict(tensors)
    return network
