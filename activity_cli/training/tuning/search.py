"""One Optuna study: propose settings, score them by cross-validation, stop those that fall behind.

The objective is the log-loss of all held-out clips, after temperature scaling fitted to the same
clips, because every saved model is calibrated. Accuracy changes in steps of one clip, so many
trials would tie. Each trial has a sampler whose seed follows from the search's seed and the number
of finished trials, so an interrupted search resumes to the same trials and numbers.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import import_optuna
from activity_cli.errors import TrainingError
from activity_cli.model.calibration import choose_thresholds, fit_temperature, tempered
from activity_cli.model.metrics import evaluate_scores
from activity_cli.setting_fields import SearchRange
from activity_cli.training.tuning.data import Fold
from activity_cli.training.tuning.folds import FoldScorer
from activity_cli.training.tuning.space import Point, Space, Value, rounded

if TYPE_CHECKING:
    import optuna

TrialState = Literal["whole", "pruned"]

_FOLDS_BEFORE_PRUNING = 2
_TRIALS_BEFORE_PRUNING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A candidate and its scores."""

    number: int  # from 1, in the order in which trials finished
    state: TrialState  # `pruned`: stopped after some folds, behind the median of the others
    point: Point
    log_loss: float  # of the clips of the folds that were run, after temperature scaling
    accuracy: float
    num_folds: int  # folds that were run
    temperature: float  # fitted to the held-out clips of these folds
    seconds: float
    mean_average_precision: float | None = None  # of multi-label data
    thresholds: tuple[float, ...] | None = None  # (C,) of these clips, for multi-label data

    @property
    def figure(self) -> str:
        """Return the figure that people read: accuracy 91.2%; of multi-label data the mAP."""
        if self.mean_average_precision is not None:
            return f"mAP {self.mean_average_precision:.1%}"
        return f"accuracy {self.accuracy:.1%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """All finished trials of a search."""

    trials: tuple[Trial, ...]
    study: "optuna.Study"
    is_out_of_time: bool = False

    @property
    def default(self) -> Trial:
        """The first trial, with the base settings."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The whole trial with the lowest log-loss."""
        return best_of(self.trials)


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the whole trial with the lowest log-loss, the first of equals."""
    return min((t for t in trials if t.state == "whole"), key=lambda t: t.log_loss)


@dataclass(slots=True, kw_only=True)
class Search:
    """A study, new or to be resumed, and the folds that its trials are scored on."""

    study: "optuna.Study"
    space: Space
    folds: Sequence[Fold]
    targets: NDArray[Any]  # (N,) of all clips, or (N, C) of multi-label ones
    scorer: FoldScorer
    seed: int
    deadline: float | None = None
    """Time of `time.monotonic` after which no fold starts, once a trial is whole."""
    _states: Any = field(init=False)

    def __post_init__(self) -> None:
        self._states = import_optuna().trial.TrialState
        for unfinished in self._trials_in(self._states.RUNNING):
            self.study.tell(unfinished.number, state=self._states.FAIL)  # its process was killed

    def _trials_in(self, *states: Any) -> list[Any]:
        return list(self.study.get_trials(deepcopy=False, states=states))

    def run(
        self, num_trials: int, on_trials: Callable[[tuple[Trial, ...]], None] = lambda _: None
    ) -> SearchResult:
        """Run until so many trials are finished, counting earlier calls, or the time is up.

        `on_trials` is called at the start and after each trial, with all finished trials.

        Raises:
            TrainingError: the base settings cannot be fitted.
        """
        on_trials(trials := self.trials())
        is_out_of_time = False
        while len(trials) < num_trials and not is_out_of_time:
            is_out_of_time = not self._run_trial(trials)
            on_trials(trials := self.trials())
        return SearchResult(trials=trials, study=self.study, is_out_of_time=is_out_of_time)

    def trials(self) -> tuple[Trial, ...]:
        """Return all finished trials."""
        finished = self._trials_in(self._states.COMPLETE, self._states.PRUNED)
        return tuple(
            Trial(
                number=number,
                state="whole" if trial.state == self._states.COMPLETE else "pruned",
                point={name: rounded(value) for name, value in trial.params.items()},
                log_loss=float(trial.value),
                accuracy=trial.user_attrs["accuracy"],
                num_folds=len(trial.intermediate_values),
                temperature=trial.user_attrs["temperature"],
                seconds=trial.user_attrs["seconds"],
                mean_average_precision=trial.user_attrs.get("mean_average_precision"),
                thresholds=tuple(trial.user_attrs.get("thresholds", ())) or None,
            )
            for number, trial in enumerate(finished, start=1)
        )

    def _run_trial(self, before: tuple[Trial, ...]) -> bool:
        """Run a trial; return False if the time is up. An exception marks the trial as failed."""
        has_whole = any(trial.state == "whole" for trial in before)
        if has_whole and self._is_over():
            return False
        trial = self._ask(len(before))
        state, value, started = self._states.FAIL, None, time.monotonic()
        try:
            state, value = self._score(trial, has_whole=has_whole)
        except TrainingError:
            if not has_whole:  # not even the base settings can be fitted
                raise
            self._report(trial, len(self.folds), _Score(math.inf, 0.0, 1.0))
            state = self._states.PRUNED
        finally:
            trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
            self.study.tell(trial, value, state=state)
        return bool(state != self._states.FAIL)

    def _ask(self, num_before: int) -> Any:
        """Return the next trial, from a sampler that depends only on the trials before."""
        seed = np.random.SeedSequence([self.seed, num_before]).generate_state(1)[0]
        self.study.sampler = import_optuna().samplers.TPESampler(seed=int(seed))
        if num_before == 0 and not self._trials_in(self._states.WAITING):
            self.study.enqueue_trial(self.space.default_point())
        return self.study.ask()

    def _score(self, trial: Any, *, has_whole: bool) -> tuple[Any, float | None]:
        """Run fold after fold; return the state (FAIL: out of time), and a whole trial's value."""
        candidate = self.space.base.at(_suggest(trial, self.space))
        scores: list[NDArray[np.float32]] = []
        for fold_scores in self.scorer.scores(candidate, self.folds):
            scores.append(fold_scores)
            rows = np.concatenate([fold.held_out for fold in self.folds[: len(scores)]])
            score = _score_of(np.concatenate(scores), self.targets[rows])
            self._report(trial, len(scores), score)
            if len(scores) == len(self.folds):
                break
            if has_whole and self._is_over():
                return self._states.FAIL, None
            if self._is_behind(score.log_loss, len(scores)):
                return self._states.PRUNED, None
        return self._states.COMPLETE, score.log_loss

    def _report(self, trial: Any, num_folds: int, score: "_Score") -> None:
        trial.report(score.log_loss, num_folds)
        for name, value in score._asdict().items():
            if name != "log_loss" and value is not None:
                trial.set_user_attr(name, value)

    def _is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _is_behind(self, log_loss: float, num_folds: int) -> bool:
        """Return whether half of the whole trials were better after the same folds.

        Optuna's MedianPruner compares the best value that a trial had so far. Here each value
        covers one more fold, so an easy first fold would protect every trial from pruning.
        """
        others = self._trials_in(self._states.COMPLETE)
        if num_folds < _FOLDS_BEFORE_PRUNING or len(others) < _TRIALS_BEFORE_PRUNING:
            return False
        return bool(log_loss > median(o.intermediate_values[num_folds] for o in others))


class _Score(NamedTuple):
    log_loss: float
    accuracy: float
    temperature: float
    mean_average_precision: float | None = None
    thresholds: tuple[float, ...] | None = None


def _score_of(scores: NDArray[np.float32], targets: NDArray[Any]) -> _Score:
    """Fit a temperature, and thresholds, to held-out clips, (H, C) and (H,), and score them."""
    temperature, multi_label = fit_temperature(scores, targets), targets.ndim == 2
    after = tempered(scores, temperature, multi_label=multi_label)
    thresholds = choose_thresholds(after, targets) if multi_label else None
    labels = list(map(str, range(scores.shape[1])))
    each = None if thresholds is None else np.array(thresholds)
    found = evaluate_scores(after, targets, labels, each)
    return _Score(
        log_loss=found.log_loss,
        accuracy=found.accuracy,
        temperature=temperature,
        mean_average_precision=found.mean_average_precision,
        thresholds=thresholds,
    )


def _suggest(trial: Any, space: Space) -> dict[str, Value]:
    """Let an Optuna trial choose a value for each setting that has an effect."""
    point: dict[str, Value] = {}
    for dimension in space.active(point):
        name, values = dimension.name, dimension.values
        if isinstance(values, SearchRange):
            number = trial.suggest_float(name, values.low, values.high, log=values.log)
            point[name] = rounded(number)
        else:
            point[name] = trial.suggest_categorical(name, values)
    return point
