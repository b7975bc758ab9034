"""Predictions -> findings: metrics with intervals, baselines, checks for common problems."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from activity_cli.common import and_more, count_of
from activity_cli.data.dataset import FEW, UNEVEN, Sample, sample_groups
from activity_cli.data.leakage import Leakage, same_content
from activity_cli.evaluation import Predictions, SplitInfo
from activity_cli.evaluation.baselines import (
    BaselineComparison,
    BaselineScores,
    compare_with_baselines,
)
from activity_cli.evaluation.intervals import Estimates, estimate_metrics
from activity_cli.model.metrics import Evaluation

Level = Literal["fine", "note", "warning"]

_LEAKAGE, _GROUPS = "Leakage", "Groups"
_BALANCE, _FEW_CLIPS = "Balance of labels", "Labels with few clips"
# Checks whose warnings are printed before training begins.
ANNOUNCED = frozenset({_LEAKAGE, _GROUPS, _BALANCE, _FEW_CLIPS})
_WIDE_INTERVAL = 0.2
_HIGH_CALIBRATION_ERROR = 0.1
_MAX_SHOWN = 3


class Check(NamedTuple):
    """The result of one check."""

    level: Level
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Metrics with intervals, baselines and checks."""

    estimates: Estimates
    baselines: BaselineComparison
    checks: tuple[Check, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what they add to metrics.json."""
        return {
            "intervals": self.estimates.to_json(),
            "does_the_lstm_help": self.baselines.to_json(),
            "checks": [check._asdict() for check in self.checks],
        }


def compute_findings(
    predictions: Predictions, baselines: BaselineScores, split: SplitInfo
) -> Findings:
    """Compute metrics with intervals, compare with baselines and run all checks."""
    samples, evaluation = [clip.sample for clip in predictions.clips], predictions.evaluation
    scores, targets, units = predictions.scores, predictions.targets, sample_groups(samples)
    thresholds = predictions.thresholds
    estimates = estimate_metrics(scores, targets, predictions.labels, units, thresholds)
    comparison = compare_with_baselines(scores, targets, baselines, units, thresholds)
    groups, leakage = _groups(estimates, split.leakage), _leakage(split)
    # Suggested groups include copies, and the accuracy by them was measured.
    is_suggested = split.leakage is not None and split.leakage.suggestion is not None
    checks = [
        *([groups, leakage] if is_suggested else [leakage, groups]),
        _majority(comparison, evaluation),
        _same_files(samples),
        _interval(estimates),
        *_label_counts(evaluation),
        _calibration(evaluation),
        _left_out(predictions),
    ]
    if split.optimistic_because:
        checks.insert(0, Check("warning", "Tested on new clips", split.optimistic_because))
    # Within a level the weightiest comes first: the first warning is in the conclusion.
    checks.sort(key=lambda check: ("warning", "note", "fine").index(check.level))
    return Findings(estimates=estimates, baselines=comparison, checks=tuple(checks))


def _leakage(split: SplitInfo) -> Check:
    leakage = split.leakage
    if leakage is None:
        text = (
            "Not checked: a model does not store its training clips. The metrics are valid only if "
            "none of these clips, or copies of them, were used for training."
        )
        return Check("note", _LEAKAGE, text)
    if lines := leakage.found_lines():
        return Check("warning" if leakage.is_found else "note", _LEAKAGE, " ".join(lines))
    text = f"No copies and no groups are shared between parts ({split.by})."
    return Check("fine", _LEAKAGE, text)


def _same_files(samples: Sequence[Sample]) -> Check:
    title = "Duplicate files"
    by_path: defaultdict[Path, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_path[sample.path].append(sample)
    sets = [[by_path[path][0] for path in paths] for paths in same_content(by_path)]
    if not sets:
        return Check("fine", title, "No two files are identical.")
    crossed = [same for same in sets if len({sample.label for sample in same}) > 1]
    shown = "; ".join(
        " = ".join(f"{s.name} ({s.label})" for s in same[:_MAX_SHOWN])
        for same in [*crossed, *(same for same in sets if same not in crossed)][:_MAX_SHOWN]
    )
    files = count_of(sum(len(same) - 1 for same in sets), "duplicate file")
    labels = f", {len(crossed)} with different labels" if crossed else ""
    text = f"{files}{labels}: {shown}. Each counts as a clip. Find all: `activity check DATA`"
    return Check("warning", title, text)


def _majority(baselines: BaselineComparison, evaluation: Evaluation) -> Check:
    title, majority = "Beats the majority baseline", baselines.of("majority")
    assert majority is not None
    text = f"Majority baseline {majority.accuracy.value:.1%}, model {evaluation.accuracy:.1%}"
    if majority.gain.low > 0:
        return Check("fine", title, f"{text}.")
    return Check("warning", title, f"{text}: no significant difference.")


def _interval(estimates: Estimates) -> Check:
    title, accuracy = "Enough clips", estimates.accuracy
    text = (
        f"95% CI of the accuracy with {estimates.units}: {accuracy.low:.1%} to {accuracy.high:.1%}"
    )
    if accuracy.low == accuracy.high:
        text = f"No confidence interval: all resamples of {estimates.units} give the same accuracy."
        return Check("note", title, text)
    if accuracy.high - accuracy.low <= _WIDE_INTERVAL:
        return Check("fine", title, f"{text}.")
    # Intervals shrink with the square root of the number of clips.
    text = f"{text}. About 4 times as many are needed to halve the interval."
    return Check("warning", title, text)


def _groups(estimates: Estimates, leakage: Leakage | None) -> Check:
    if estimates.by_group:
        text = (
            f"Confidence intervals are computed over {estimates.units}, because clips of "
            "one group are correlated."
        )
        return Check("fine", _GROUPS, text)
    if lines := leakage.group_lines() if leakage else []:
        return Check("warning", _GROUPS, lines[0])
    text = (
        "The data has no groups. If several clips show the same person, camera or source, "
        "accuracy is overestimated and intervals are too narrow: add a `group` column."
    )
    return Check("note", _GROUPS, text)


def _label_counts(evaluation: Evaluation) -> list[Check]:
    counts = {row.label: row.num_clips for row in evaluation.per_label if row.num_clips}
    rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    text = f"{commonest} has {counts[commonest]} clips, {rarest} {counts[rarest]}"
    if counts[commonest] > UNEVEN * counts[rarest]:
        advice = f"{commonest} dominates the accuracy. Use macro F1 and the metrics per label."
        checks = [Check("warning", _BALANCE, f"{text}: {advice}")]
    else:
        same = counts[rarest] == counts[commonest]
        text = f"Every label has {counts[rarest]} clips" if same else text
        checks = [Check("fine", _BALANCE, f"{text}.")]
    if few := [f"{label} {count}" for label, count in counts.items() if count < FEW]:
        text = f"Metrics for labels with fewer than {FEW} clips are unreliable: {and_more(few, 5)}."
        checks.append(Check("warning", _FEW_CLIPS, text))
    return checks


def _calibration(evaluation: Evaluation) -> Check:
    title, error = "Calibration", evaluation.calibration_error
    text = f"Scores differ from the accuracy by {100 * error:.1f} points on average"
    if error <= _HIGH_CALIBRATION_ERROR:
        return Check("fine", title, f"{text}.")
    text = f"{text}: do not read scores as probabilities. Few clips make this error larger."
    return Check("note", title, text)


def _left_out(predictions: Predictions) -> Check:
    title, count = "Clips without a score", len(predictions.left_out)
    if not count:
        return Check("fine", title, "All clips were decoded.")
    share = count / (count + len(predictions.clips))
    text = f"{count_of(count, 'clip')} ({share:.1%}) could not be decoded and are not evaluated."
    return Check("note", title, text)
