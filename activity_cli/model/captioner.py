"""The captioner: CNN features of a clip -> a sentence, one word at a time.

    (B, S, T, D) CNN features
      |- word detectors: cosine coefficients over time, standardised -> linear     which words fit
      |                  (B, S, K, D)                                   (B, E)
      '- encoder: deviations from the mean -> PCA -> project -> LSTM               what happens when
                  (B, S, T, D)     (B, T, S * R)    (B, T, P)   (B, T, F)
    decoder: word before, detectors, attention over the encoder's outputs -> LSTM -> next word
             (B,)         (B, E)     (B, T) -> (B, F)                  (B, H)  (B, V)

B clips, S streams, T frames, D CNN features, K coefficients, R principal components, P projected
features, F encoder outputs, E detected words, H decoder units, V words of the vocabulary.

An LSTM that speaks over CNN features: Donahue et al., "Long-term Recurrent Convolutional Networks"
(2015), and Vinyals et al., "Show and Tell" (2015); an encoder LSTM over frames before it:
Venugopalan et al., "Sequence to Sequence - Video to Text" (2015); attention over time: Yao et al.,
"Describing Videos by Exploiting Temporal Structure" (2015). Detectors of words, which the decoder
reads and which raise the words they detect: Fang et al., "From Captions to Visual Concepts and
Back" (2015), and You et al., "Image Captioning with Semantic Attention" (2016).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from activity_cli.errors import ModelError
from activity_cli.model.encoding import ENCODING_BATCH, Features, Rows, batches_of
from activity_cli.model.folder import MODEL_FILE, Model, Weights
from activity_cli.model.network import (
    AttentionPooling,
    ComponentDropout,
    FeatureStatistics,
    pool_over_time,
)
from activity_cli.settings import CaptionSettings, NetworkSettings


class Seen(NamedTuple):
    """What the trained part reads of clips; without training the CNN it is computed once."""

    evidence: Tensor  # (B, E) of the word detectors, standardised
    centred: Tensor  # (B, T, S * R) principal components of the deviations from the mean

    def rows(self, index: Tensor) -> "Seen":
        """Return the clips at these positions."""
        return Seen(self.evidence[index], self.centred[index])


class State(NamedTuple):
    """The decoder's LSTM between two words."""

    hidden: Tensor  # (B, H)
    cell: Tensor  # (B, H)


class Step(NamedTuple):
    """What the decoder makes of one word."""

    log_probabilities: Tensor  # (B, V) of the next word
    attention: Tensor  # (B, T) weights of the frames, which sum to 1
    state: State


class CaptionEncoder(nn.Module):
    """Features to what the decoder reads: evidence of words, and outputs over time."""

    mean: Tensor
    scale: Tensor
    components: Tensor

    def __init__(
        self, network: NetworkSettings, *, statistics: FeatureStatistics, num_detected: int
    ) -> None:
        super().__init__()
        self.register_buffer("mean", statistics.mean)
        self.register_buffer("scale", statistics.scale)
        self.register_buffer("components", statistics.components)
        num_streams, feature_size, num_components = statistics.components.shape
        self.num_coefficients = statistics.mean.shape[1]
        self.detectors = nn.Linear(num_streams * self.num_coefficients * feature_size, num_detected)
        self.component_dropout = ComponentDropout(network.dropout)
        self.projection = nn.Linear(num_streams * num_components, network.projection_size)
        self.lstm = nn.LSTM(
            network.projection_size,
            network.hidden_size,
            num_layers=network.num_layers,
            bidirectional=network.bidirectional,
            batch_first=True,
        )
        self.size = network.hidden_size * (2 if network.bidirectional else 1)  # F

    def pool(self, features: Tensor) -> Tensor:
        """(B, S, T, D) -> (B, S * K * D): what the detectors read."""
        pooled = (pool_over_time(features, self.num_coefficients) - self.mean) / self.scale
        return pooled.flatten(1)

    @torch.no_grad()
    def pool_rows(self, features: Features, rows: Rows) -> Tensor:
        """Return `pool` of some rows (n,) of (N, S, T, D) features, in batches."""
        batches = batches_of(rows, ENCODING_BATCH)
        return torch.cat([self.pool(torch.from_numpy(features[b]).float()) for b in batches])

    def see(self, features: Tensor) -> Seen:
        """Compute from (B, S, T, D) features what the trained part reads."""
        centred = (features - features.mean(dim=2, keepdim=True)) @ self.components
        return Seen(self.detectors(self.pool(features)), centred.transpose(1, 2).flatten(2))

    def read(self, seen: Seen) -> Tensor:
        """Return the LSTM's outputs over time, (B, T, F)."""
        kept = self.component_dropout(seen.centred.unsqueeze(1)).squeeze(1)
        outputs: Tensor = self.lstm(torch.relu(self.projection(kept)))[0]
        return outputs

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, T, D) -> (B, T, F) outputs over time and (B, E) evidence, as exports have it."""
        seen = self.see(features)
        return self.read(seen), seen.evidence


class CaptionDecoder(nn.Module):
    """One word after the other, from the encoder's outputs and the evidence of words."""

    detected: Tensor

    def __init__(
        self,
        captions: CaptionSettings,
        *,
        dropout: float,
        memory_size: int,
        num_words: int,
        detected: Sequence[int],
    ) -> None:
        super().__init__()
        size, num_detected = captions.decoder_size, len(detected)
        self.size = size
        # (E, V): where each detector's word is in the vocabulary.
        self.register_buffer("detected", torch.eye(num_words)[list(detected)])
        self.embedding = nn.Embedding(num_words, size // 2)
        self.attention = AttentionPooling(memory_size, query_size=size)
        self.begin = nn.Linear(num_detected, size)
        self.cell = nn.LSTMCell(size // 2 + memory_size + num_detected, size)
        self.dropout = nn.Dropout(dropout)
        self.words = nn.Linear(size + memory_size, num_words)
        self.trust = nn.Linear(size, num_detected)

    def start(self, evidence: Tensor) -> State:
        """Return the state before the first word of clips, from (B, E) evidence."""
        hidden = torch.tanh(self.begin(evidence))
        return State(hidden, 0.0 * hidden)  # zeros_like becomes a constant that exports warn of

    def step(self, word: Tensor, state: State, memory: Tensor, evidence: Tensor) -> Step:
        """Read the words (B,) before, and return the probabilities of the next ones."""
        keys, heard = self.attention.of_output(memory), self.embedding(word)
        attention, context, state = self.advance(heard, state, (keys, memory), evidence)
        return Step(self.speak(state.hidden, context, evidence), attention, state)

    def advance(
        self, heard: Tensor, state: State, memory: tuple[Tensor, Tensor], evidence: Tensor
    ) -> tuple[Tensor, Tensor, State]:
        """Read embedded words (B, W), and return attention (B, T), context (B, F) and state.

        `memory` are the keys of the attention and the encoder's outputs.
        """
        attention = self.attention.weights_of_keys(memory[0], state.hidden)
        context = torch.einsum("bt,btf->bf", attention, memory[1])
        after = self.cell(torch.cat([heard, context, evidence], dim=-1), tuple(state))
        return attention, context, State(*after)

    def speak(self, hidden: Tensor, context: Tensor, evidence: Tensor) -> Tensor:
        """Return log-probabilities (..., V) of the next word."""
        spoken = self.dropout(hidden)
        logits = self.words(torch.cat([spoken, context], dim=-1))
        logits = logits + (self.trust(spoken) * evidence) @ self.detected
        return torch.log_softmax(logits, dim=-1)

    def forward(
        self, word: Tensor, hidden: Tensor, cell: Tensor, memory: Tensor, evidence: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take one step, as exports have it: log-probabilities, attention, hidden and cell."""
        step = self.step(word, State(hidden, cell), memory, evidence)
        return step.log_probabilities, step.attention, *step.state


class Captioner(nn.Module):
    """Encoder and decoder."""

    def __init__(
        self,
        network: NetworkSettings,
        captions: CaptionSettings,
        *,
        statistics: FeatureStatistics,
        num_words: int,
        detected: Sequence[int],
    ) -> None:
        super().__init__()
        self.encoder = CaptionEncoder(network, statistics=statistics, num_detected=len(detected))
        self.decoder = CaptionDecoder(
            captions,
            dropout=network.dropout,
            memory_size=self.encoder.size,
            num_words=num_words,
            detected=detected,
        )

    def spoken(self, seen: Seen, words: Tensor) -> Tensor:
        """Return log-probabilities (B, L, V) of each of (B, L) words after the right ones before.

        Williams and Zipser, 1989.
        """
        memory, state = self.encoder.read(seen), self.decoder.start(seen.evidence)
        before = torch.cat([torch.zeros_like(words[:, :1]), words[:, :-1].clamp(min=0)], dim=1)
        keys = self.decoder.attention.of_output(memory)
        heard = self.decoder.dropout(self.decoder.embedding(before))  # (B, L, W)
        hidden, contexts = [], []
        for one in heard.unbind(dim=1):
            _, context, state = self.decoder.advance(one, state, (keys, memory), seen.evidence)
            hidden.append(state.hidden)
            contexts.append(context)
        # All words at once: only the state goes step by step.
        evidence = seen.evidence.unsqueeze(1)
        return self.decoder.speak(torch.stack(hidden, 1), torch.stack(contexts, 1), evidence)

    def weights(self) -> Weights:
        """Return the tensors by name, for the model folder."""
        return {name: t.detach().cpu().numpy() for name, t in self.state_dict().items()}


def load_captioner(model: Model) -> Captioner:
    """Build the captioner of a saved model in eval mode; a ModelError if weights do not fit."""
    description = model.description
    assert description.captions is not None
    tensors = {name: torch.from_numpy(tensor) for name, tensor in model.weights().items()}
    try:
        statistics = FeatureStatistics(
            mean=tensors["encoder.mean"],
            scale=tensors["encoder.scale"],
            components=tensors["encoder.components"],
        )
        captioner = Captioner(
            description.network,
            description.captions,
            statistics=statistics,
            num_words=len(description.labels),
            detected=tensors["decoder.detected"].argmax(dim=1).tolist(),
        )
        captioner.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"The weights in {model.folder} do not fit the captioner in {MODEL_FILE}.",
            hint="Restore the folder from a copy, or train again.",
        ) from error
    return captioner.eval()
