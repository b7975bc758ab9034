"""What is called unknown, and what counts as an event: one meaning for clips, windows and live."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from activity_cli.errors import SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.calibration import RejectRule
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.predictor import Predictor
from activity_cli.predict.segments import find_segments
from activity_cli.types import UNKNOWN, FileResult, Prediction

_NUMBER_HINT = "Or give the lowest score that counts, such as --reject 0.7."


class Judged(Protocol):
    """What a rule is asked for: a predictor, or a model for live video."""

    @property
    def description(self) -> ModelDescription: ...  # noqa: D102 - the name says it
    @property
    def gives_novelty(self) -> bool: ...  # noqa: D102


def decide(prediction: Prediction, novelty: float | None, rule: RejectRule | None) -> str:
    """The label of a clip or window: its best one, or `unknown`.

    Args:
        prediction: the scores.
        novelty: how unlike the training clips it is, where that is known.
        rule: when it is unknown; None for never.
    """
    if rule is not None and rule.why_rejected(prediction.score, novelty):
        return UNKNOWN
    return prediction.label


def is_event(label: str, description: ModelDescription) -> bool:
    """Whether something happens: neither unknown nor the model's background label."""
    return label not in {UNKNOWN, description.background}


def read_rule(text: str, predictor: Judged) -> RejectRule | None:
    """The rule that `--reject` asks for.

    Args:
        text: `off`, `auto` for the model's own rule, or the lowest score that counts.
        predictor: what scores.

    Raises:
        SettingsError: it is none of these, the model has no rule, or it cannot be followed here.
    """
    match text.strip().lower():
        case "off":
            return None
        case "auto":
            return _own_rule(predictor)
        case number:
            return RejectRule(min_score=_read_score(number, predictor.description))


class RejectingPredictor:
    """A predictor whose results are called unknown by a rule. Scores stay as they are."""

    def __init__(self, predictor: Predictor, rule: RejectRule) -> None:
        self.description = predictor.description
        self.gives_novelty = predictor.gives_novelty
        self.provenance: Mapping[str, str] = {**predictor.provenance, "reject": str(rule)}
        self.segments = replace(
            predictor.segments, reject_below=rule.min_score, max_novelty=rule.max_novelty
        )
        self._predictor = predictor
        self._rule = rule

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, in order."""
        for result in self._predictor.predict(requests, stop=stop):
            yield self._judge(result)

    def close(self) -> None:
        """End the processes that decode."""
        self._predictor.close()

    def _judge(self, result: FileResult) -> FileResult:
        if result.prediction is None or result.timeline is None:
            return result
        segments = find_segments(result.timeline, self.segments)
        if len(result.timeline.starts_seconds) > 1:
            everything = find_segments(result.timeline, replace(self.segments, labels=()))
            why = "" if everything else "nothing in it is like what the model knows"
        else:
            why = self._rule.why_rejected(result.prediction.score, result.novelty)
        nearest = f"{why}; nearest: {result.prediction.label}" if why else ""
        return replace(result, segments=segments, rejected=nearest)


def with_rejection(
    predictor: Predictor, text: str, *, on_rule: Callable[[str], None] = lambda _: None
) -> Predictor:
    """The predictor with what `--reject` asks for; the errors are those of `read_rule`.

    Args:
        predictor: what scores.
        text: as for `read_rule`.
        on_rule: told in one line what will be called unknown, if anything.
    """
    rule = read_rule(text, predictor)
    if rule is None:
        return predictor
    on_rule(f"Called unknown: {rule}.")
    return RejectingPredictor(predictor, rule)


def _own_rule(predictor: Judged) -> RejectRule:
    calibration = predictor.description.calibration
    name = predictor.description.name
    if calibration is None:
        raise SettingsError(
            f"{name} was trained without a rule for unknown clips.",
            hint=f"Train it again. {_NUMBER_HINT}",
        )
    if calibration.rule is None:
        raise SettingsError(
            f"{name} has no rule for unknown clips: {calibration.num_clips} "
            f"{calibration.fitted_on} were too few to choose one, which takes 19.",
            hint=f"Train with more clips, or a larger --val-fraction. {_NUMBER_HINT}",
        )
    if predictor.gives_novelty:
        return calibration.rule
    if calibration.rule.min_score is None:
        raise SettingsError(
            f"The rule of {name} needs CNN features, which an exported file does not give.",
            hint=f"Predict with the model folder. {_NUMBER_HINT}",
        )
    return RejectRule(min_score=calibration.rule.min_score)


def _read_score(text: str, description: ModelDescription) -> float:
    try:
        score = float(text)
    except ValueError:
        score = np.nan
    if not 0 < score <= 1:
        raise SettingsError(
            f"{text!r} does not say what to reject.",
            hint="Use --reject auto, --reject off, or a score between 0 and 1: --reject 0.7.",
        )
    if score <= 1 / len(description.labels):
        raise SettingsError(
            f"No best score of {len(description.labels)} labels is below {score:g}.",
            hint=f"Give a score above {1 / len(description.labels):.2f}, or --reject auto.",
        )
    return score
