"""What a measurement comes to: one sentence, the biggest problem, the next command."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from shlex import quote
from typing import TYPE_CHECKING

from activity_cli.common import count_of
from activity_cli.evaluation.intervals import Estimate, Groups, accuracy_with_interval
from activity_cli.evaluation.quality_checks import Check, Findings
from activity_cli.model.metrics import Evaluation, correct_clips

if TYPE_CHECKING:
    from activity_cli.features.labelled import LabelledClips
    from activity_cli.training.crossval import CrossValidation, CrossvalRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The first lines of the terminal and the report; `conclusion` in metrics.json."""

    problem: str  # the biggest one; empty where no check warns
    sentence: str  # the accuracy with its interval, and on what it was measured
    next_command: str  # empty where there is nothing to do

    def to_json(self) -> dict[str, str]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Accuracy and macro F1 of the same clips in one kind of folds."""

    name: str
    accuracy: Estimate
    macro_f1: float
    mean_average_precision: float | None = None  # of multi-label data


def state_accuracy(
    accuracy: Estimate, measured_on: str, evaluation: Evaluation | None = None
) -> str:
    """Return the sentence without its full stop; of a multi-label `evaluation` its mAP first."""
    if evaluation is not None and evaluation.multi_label:
        timelines, windows = evaluation.timelines, measured_on.replace("clip", "window")
        precision = f"mAP {evaluation.mean_average_precision or 0:.1%} of windows"
        if timelines is not None:
            precision = (
                f"Frame mAP {timelines.frame_map:.1%}, {precision[0].lower()}{precision[1:]}"
            )
        return f"{precision}; all labels right in {accuracy.value:.1%} of {windows}"
    return f"Accuracy {accuracy.value:.1%} ({describe_interval(accuracy)}) on {measured_on}"


def describe_interval(found: Estimate) -> str:
    """Return the interval of a share: 95% CI 81.0 to 89.6%."""
    return f"95% CI {100 * found.low:.1f} to {found.high:.1%}"


def biggest_problem(checks: Sequence[Check]) -> str:
    """Return the text of the first warning; checks are in the order of their weight."""
    return next((check.text for check in checks if check.level == "warning"), "")


def conclude_crossval(
    run: "CrossvalRun",
    findings: Findings,
    figures: Sequence[Figures],
    source: str,
    evaluation: Evaluation,
) -> Conclusion:
    """Conclude by the accuracy on groups that were not in training, where it could be measured."""
    clips, other = count_of(len(run.data.targets), "clip"), run.other
    next_command, problem = f"activity train {source}", biggest_problem(findings.checks)
    if not findings.estimates.by_group:
        measured_on = f"{clips} in random folds"
    elif run.leakage.split_groups:
        num_split = len(run.leakage.split_groups)
        measured_on = (
            f"{clips} of {findings.estimates.units}, {num_split} of which are in several folds"
        )
    else:
        measured_on = f"{clips} of {findings.estimates.units}, held out by group"
    sentence = state_accuracy(findings.estimates.accuracy, measured_on, evaluation)
    if other is not None:
        option = quote(other.groups.pattern) if other.groups.pattern else "auto"
        next_command += f" --groups {option}"
        kind = "groups" if other.groups.pattern else "scenes"
        if other.result is None:
            sentence += f", which share {kind} with training. On new {kind} it was not measured: "
            return Conclusion(
                problem=problem,
                sentence=sentence + other.problem,
                next_command=f"activity check {source}",
            )
        random, grouped = figures
        new = f"{clips} of {kind} that were not in training (suggested groups)"
        sentence = state_accuracy(grouped.accuracy, new)
        sentence += f"; {random.accuracy.value:.1%} in random folds"
    elif run.leakage.found_lines():
        next_command = f"activity check {source}"
    return Conclusion(problem=problem, sentence=f"{sentence}.", next_command=next_command)


def figures_of_folds(run: "CrossvalRun") -> tuple[Figures, ...]:
    """Return the figures of random folds and of those by suggested groups, side by side."""
    other = run.other
    if other is None or other.result is None:
        return ()
    first, second = run.result, other.result
    random, grouped = (first, second) if other.by_group else (second, first)
    return (
        figures_of("random folds", random, run.data, None),
        figures_of(f"by {other.groups.describe()}", grouped, run.data, other.groups.numbers),
    )


def figures_of(
    name: str, result: "CrossValidation", data: "LabelledClips", groups: Groups | None
) -> Figures:
    """Return the figures of a cross-validation, with the interval by groups (N,)."""
    correct = correct_clips(result.scores, data.targets, result.thresholds)
    accuracy = accuracy_with_interval(correct, groups)
    found = result.evaluation
    return Figures(
        name=name,
        accuracy=accuracy,
        macro_f1=found.macro_f1,
        mean_average_precision=found.mean_average_precision,
    )
