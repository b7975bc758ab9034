"""A captioner with its vocabulary: features of a clip -> sentences, with a probability per word."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from activity_cli.data.vocabulary import Vocabulary
from activity_cli.features.engines.torch import torch_threads
from activity_cli.model.caption_search import Floats, Hypothesis, search
from activity_cli.model.captioner import Captioner, Seen, State, load_captioner
from activity_cli.model.folder import Model
from activity_cli.settings import CaptionSettings
from activity_cli.types import Caption


class Describer:
    """Writes sentences about clips."""

    def __init__(
        self, captioner: Captioner, vocabulary: Vocabulary, settings: CaptionSettings
    ) -> None:
        self._captioner, self.vocabulary, self.settings = captioner, vocabulary, settings

    @classmethod
    def of(cls, model: Model, *, beam: int | None = None) -> Self:
        """Load a saved captioner; `beam` takes the place of its own."""
        description = model.description
        assert description.captions is not None
        settings = replace(description.captions, beam=beam or description.captions.beam)
        return cls(
            load_captioner(model), Vocabulary(description.labels, settings.lower_case), settings
        )

    def describe(self, features: NDArray[np.float16]) -> tuple[Caption, ...]:
        """Return the best sentences of a clip, best first, from its features (S, T, D)."""
        with torch.inference_mode():
            seen = self._captioner.encoder.see(torch.from_numpy(features[None]).float())
        return self._write(seen)

    def describe_blindly(self, num_frames: int) -> tuple[Caption, ...]:
        """Return the sentences of a captioner that was trained without pictures."""
        encoder = self._captioner.encoder
        return self._write(
            Seen(
                torch.zeros(1, encoder.detectors.out_features),
                torch.zeros(1, num_frames, encoder.projection.in_features),
            )
        )

    @torch.inference_mode()
    def _write(self, seen: Seen) -> tuple[Caption, ...]:
        decoder = self._captioner.decoder
        memory, evidence = self._captioner.encoder.read(seen), seen.evidence

        def step(
            words: NDArray[np.int64], states: Sequence[Floats]
        ) -> tuple[Floats, Floats, Sequence[Floats]]:
            size = len(words)
            state = State(*map(torch.from_numpy, states))
            each = memory.expand(size, -1, -1), evidence.expand(size, -1)
            found = decoder.step(torch.from_numpy(words), state, *each)
            after = [*map(_array, found.state)]
            return _array(found.log_probabilities), _array(found.attention), after

        with torch_threads(1):
            start = [_array(one) for one in decoder.start(evidence)]
            return as_captions(search(start, step, self.settings), self.vocabulary)


def as_captions(found: Sequence[Hypothesis], vocabulary: Vocabulary) -> tuple[Caption, ...]:
    """Turn hypotheses into sentences; their shares are those of their scores among the beam."""
    scores = np.array([one.score for one in found])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    return tuple(
        Caption(
            text=vocabulary.sentence(one.words),
            words=tuple(vocabulary.words[word] for word in one.words),
            probabilities=one.probabilities,
            attention=one.attention,
            share=float(share),
        )
        for one, share in zip(found, shares, strict=True)
    )


def _array(tensor: Tensor) -> Floats:
    found: Floats = tensor.numpy()
    return found
