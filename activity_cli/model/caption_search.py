"""Beam search: a decoder that gives the probability of the next word -> the best sentences.

B hypotheses, T frames, V words. Without imports of torch: exported decoders are searched too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from activity_cli.settings import CaptionSettings

Floats = NDArray[np.float32]
Next = Callable[[NDArray[np.int64], Sequence[Floats]], tuple[Floats, Floats, Sequence[Floats]]]
"""From words (B,) and the states (B, ...) before them to log-probabilities of the next word (B, V),
attention (B, T) and the states after them."""

_END, _UNKNOWN = 0, 1  # positions in the vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A sentence as positions in the vocabulary, without its end."""

    words: tuple[int, ...]
    probabilities: tuple[float, ...]  # of each word, given those before
    attention: Floats  # (len(words), T)
    log_probability: float  # of the whole sentence with its end
    score: float  # the log-probability, normalised by length


def search(begin: Sequence[Floats], step: Next, settings: CaptionSettings) -> list[Hypothesis]:
    """Return the best sentences of one clip, best first, at most as many as the beam is wide.

    `begin` are the states before the first word, (1, ...) each. Scores are normalised by length as
    in Wu et al., "Google's Neural Machine Translation System", 2016. No three words come twice.
    """
    beams: list[tuple[list[int], list[float], list[Floats]]] = [([], [], [])]
    states: Sequence[Floats] = begin
    words = np.zeros(1, np.int64)
    finished: list[Hypothesis] = []
    for length in range(settings.max_words + 1):
        logs, attention, states = step(words, states)
        logs = logs.astype(np.float64)
        logs[:, _UNKNOWN] = -np.inf
        if not length:
            logs[:, _END] = -np.inf  # a sentence has a word
        if length == settings.max_words:
            logs[:, 1:] = -np.inf
        for row, (sentence, _, _) in enumerate(beams):
            logs[row, _repeating(sentence)] = -np.inf
        totals = np.array([sum(one) for _, one, _ in beams])[:, None] + logs
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * settings.beam]
        grown: list[tuple[list[int], list[float], list[Floats]]] = []
        rows: list[int] = []
        for place in best.tolist():
            row, word = divmod(place, logs.shape[1])
            if not np.isfinite(totals[row, word]):
                break
            sentence, each, attended = beams[row]
            if word == _END:
                total, count = float(totals[row, word]), length + 1
                norm = ((5 + count) / 6) ** settings.length_penalty
                finished.append(_finished(sentence, each, attended, total, total / norm))
            elif len(grown) < settings.beam:
                more = float(logs[row, word])
                grown.append(([*sentence, word], [*each, more], [*attended, attention[row]]))
                rows.append(row)
        if not grown or len(finished) >= 2 * settings.beam:
            break
        beams, states = grown, [state[rows] for state in states]
        words = np.array([sentence[-1] for sentence, _, _ in beams])
    return sorted(finished, key=lambda one: -one.score)[: settings.beam]


def _finished(
    words: list[int], logs: list[float], attended: list[Floats], total: float, score: float
) -> Hypothesis:
    return Hypothesis(
        words=tuple(words),
        probabilities=tuple(np.exp(logs).tolist()),
        attention=np.stack(attended),
        log_probability=total,
        score=score,
    )


def _repeating(words: Sequence[int]) -> list[int]:
    """Return the words that would repeat three words of the sentence."""
    last = tuple(words[-2:])
    if len(last) < 2:
        return []
    return [words[i + 2] for i in range(len(words) - 2) if tuple(words[i : i + 2]) == last]
