"""Which results are rejected as unknown, by one rule for clips, windows and live video."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from activity_cli.errors import SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.calibration import RejectRule
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.predictor import Predictor
from activity_cli.predict.segments import find_segments
from activity_cli.settings import DEFAULT_MODEL
from activity_cli.types import UNKNOWN, FileResult, Prediction

_OOD_HINT = "Or give the highest accepted OOD score, such as --reject 1.3."
_NUMBER_HINT = "Or give the lowest accepted score, such as --reject 0.7."


def decide(prediction: Prediction, ood_score: float | None, rule: RejectRule | None) -> str:
    """Return the label of a clip or window: the best one, or `unknown` if the rule rejects it."""
    if rule is not None and rule.why_rejected(prediction.score, ood_score):
        return UNKNOWN
    return prediction.label


def is_event(label: str, description: ModelDescription) -> bool:
    """Return whether a label is an event: neither unknown nor the model's background label."""
    return label not in {UNKNOWN, description.background}


def read_rule(
    text: str | None, description: ModelDescription, *, gives_ood_score: bool
) -> RejectRule | None:
    """Return the rule for `off`, `auto` (the model's) or a lowest score; or a SettingsError.

    For a multi-label model a number is the highest OOD score. None is `auto` for the shipped model,
    which meets videos of everything, and `off` for others.
    """
    if text is None:
        has_rule = description.calibration is not None and description.calibration.rule is not None
        is_shipped = description.name == DEFAULT_MODEL and has_rule and gives_ood_score
        text = "auto" if is_shipped else "off"
    match text.strip().lower():
        case "off":
            return None
        case "auto":
            return _own_rule(description, gives_ood_score=gives_ood_score)
        case number if description.multi_label:
            return RejectRule(max_ood_score=_read_ood_score(number, gives_ood_score))
        case number:
            return RejectRule(min_score=_read_score(number, len(description.labels)))


class RejectingPredictor:
    """A predictor whose results are rejected as unknown by a rule. Scores stay as they are."""

    def __init__(self, predictor: Predictor, rule: RejectRule) -> None:
        self.description = predictor.description
        self.gives_ood_score = predictor.gives_ood_score
        # Journals of earlier versions have this word; such a batch must resume.
        stored_rule = str(rule).replace("OOD score", "novelty")
        self.provenance: Mapping[str, str] = {**predictor.provenance, "reject": stored_rule}
        self.segments = replace(
            predictor.segments, reject_below=rule.min_score, max_ood_score=rule.max_ood_score
        )
        self._predictor = predictor
        self._rule = rule
        self.close = predictor.close

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request, in order."""
        for result in self._predictor.predict(requests, stop=stop):
            yield self._apply(result)

    def _apply(self, result: FileResult) -> FileResult:
        if result.prediction is None or result.timeline is None:
            return result
        segments = find_segments(result.timeline, self.segments)
        if len(result.timeline.starts_seconds) > 1:
            everything = find_segments(result.timeline, replace(self.segments, labels=()))
            why = "" if everything else "no part is like the training clips"
        else:
            why = self._rule.why_rejected(result.prediction.score, result.ood_score)
        rejected = f"{why}; closest: {result.prediction.label}" if why else ""
        return replace(result, segments=segments, rejected=rejected)


def with_rejection(
    predictor: Predictor, text: str | None, *, on_rule: Callable[[str], None] = lambda _: None
) -> Predictor:
    """Apply `--reject`, as `read_rule` reads it; `on_rule` gets one line if there is a rule."""
    if predictor.description.captions is not None and text is None:
        return predictor
    rule = read_rule(text, predictor.description, gives_ood_score=predictor.gives_ood_score)
    if rule is None:
        return predictor
    on_rule(f"Rejection on: clips with {rule} are reported as unknown.")
    return RejectingPredictor(predictor, rule)


def _own_rule(description: ModelDescription, *, gives_ood_score: bool) -> RejectRule:
    calibration, name = description.calibration, description.name
    if calibration is None:
        raise SettingsError(
            f"{name} has no thresholds for unknown clips, or --labels changes its scores.",
            hint="Give the lowest accepted score, such as --reject 0.7. A model trained here has "
            "thresholds for all of its labels.",
        )
    number_hint = _OOD_HINT if description.multi_label else _NUMBER_HINT
    if calibration.rule is None:
        raise SettingsError(
            f"{name} has no rule for unknown clips: choosing one takes 19 "
            f"{calibration.fitted_on}, and there were {calibration.num_clips}.",
            hint=f"Train with more clips, or a larger --val-fraction. {number_hint}",
        )
    if gives_ood_score:
        return calibration.rule
    if calibration.rule.min_score is None:
        raise SettingsError(
            f"The rule of {name} needs CNN features, which an exported file does not provide.",
            hint="Predict with the model folder."
            + (f" {_NUMBER_HINT}" if not description.multi_label else ""),
        )
    return RejectRule(min_score=calibration.rule.min_score)


def _read_ood_score(text: str, gives_ood_score: bool) -> float:
    """Read the highest accepted OOD score: each label has a threshold of its own for its score."""
    bound = _read_number(text)
    if not 0 < bound < np.inf:
        raise SettingsError(
            f"--reject {text} is not possible.",
            hint="Use --reject auto, --reject off, or, as the model is multi-label, the highest "
            "accepted OOD score: --reject 1.3.",
        )
    if not gives_ood_score:
        raise SettingsError(
            "OOD scores need CNN features, which an exported file does not provide.",
            hint="Predict with the model folder, or --reject off.",
        )
    return bound


def _read_number(text: str) -> float:
    """Read a number; NaN, which is in no range, where it is none."""
    try:
        return float(text)
    except ValueError:
        return np.nan


def _read_score(text: str, num_labels: int) -> float:
    score = _read_number(text)
    if not 0 < score <= 1:
        raise SettingsError(
            f"--reject {text} is not possible.",
            hint="Use --reject auto, --reject off, or a score between 0 and 1: --reject 0.7.",
        )
    if score <= 1 / num_labels:
        raise SettingsError(
            f"The best score of {num_labels} labels is never below {score:g}.",
            hint=f"Give a score above {1 / num_labels:.2f}, or --reject auto.",
        )
    return score
