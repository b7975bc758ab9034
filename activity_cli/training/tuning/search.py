"""One search: Optuna proposes settings, cross-validation judges them, fold by fold.

What is minimised is the log-loss of all held-out clips together, after the temperature that suits
them best. Accuracy moves in steps of a whole clip, so on a few hundred clips many candidates tie
and the best of them is the luckiest; the log-loss also says how near a mistake was, and is steady
enough after two folds to give up what is behind. The temperature is taken out because every model
gets one anyhow: a candidate should not win by being less sure of itself.

Each trial's sampler has a seed of its own, made from the search's seed and the number of trials
that came to an end before it. So a search that was killed goes on to the trials, and the numbers,
of one that was not.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import import_optuna
from activity_cli.errors import TrainingError
from activity_cli.model.calibration import fit_temperature, tempered
from activity_cli.training.tuning.fitter import Fitter
from activity_cli.training.tuning.folds import Fold
from activity_cli.training.tuning.space import Choice, Point, Space, Value, rounded

if TYPE_CHECKING:
    import optuna

TrialState = Literal["whole", "pruned"]

_FOLDS_BEFORE_PRUNING = 2
_TRIALS_BEFORE_PRUNING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A candidate and what it is worth."""

    number: int
    """From 1, in the order in which they came to an end."""
    state: TrialState
    """`pruned`: given up after some folds, behind half of the others."""
    point: Point
    log_loss: float
    """Of the clips of the folds that were run."""
    accuracy: float
    running: tuple[float, ...]
    """Log-loss after the first fold, after two, and so on."""
    temperature: float
    """That suits the held-out clips of all these folds best."""
    seconds: float

    @property
    def num_folds(self) -> int:
        """Folds that were run."""
        return len(self.running)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """All trials of a search that came to an end."""

    trials: tuple[Trial, ...]
    is_out_of_time: bool = False

    @property
    def default(self) -> Trial:
        """What the search begins with: the settings that it was started with."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The whole trial of the lowest log-loss."""
        return best_of(self.trials)

    def expected_loss(self, trial: Trial) -> float:
        """The log-loss, as if a trial had stayed as far from the first one as when it ended.

        Folds differ, so the losses of different numbers of folds say nothing side by side.
        """
        first = self.default
        return first.log_loss + trial.log_loss - first.running[trial.num_folds - 1]


def best_of(trials: Sequence[Trial]) -> Trial:
    """The whole trial of the lowest log-loss; the first of equals."""
    return min((t for t in trials if t.state == "whole"), key=lambda t: t.log_loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a search goes on."""

    num_trials: int
    """In all, with those of earlier calls."""
    deadline: float | None = None
    """Of `time.monotonic`; one whole trial is run whatever it says."""

    def is_over(self, num_whole: int) -> bool:
        """Whether time is up."""
        return self.deadline is not None and num_whole > 0 and time.monotonic() > self.deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What some folds' clips say together."""

    log_loss: float
    """After the temperature."""
    accuracy: float
    temperature: float


def running_score(
    scores: Sequence[NDArray[np.float32]], targets: Sequence[NDArray[np.int64]]
) -> Score:
    """How good scores are, once the temperature that suits them best is taken out.

    Args:
        scores: (H, C) of each fold.
        targets: (H,) of each fold.
    """
    pooled, true = np.concatenate(scores), np.concatenate(targets)
    temperature = fit_temperature(pooled, true)
    after = tempered(pooled, temperature)
    own = after[np.arange(len(true)), true].astype(np.float64)
    accuracy = float((pooled.argmax(axis=1) == true).mean())
    log_loss = float(-np.log(np.clip(own, 1e-12, None)).mean())
    return Score(log_loss=log_loss, accuracy=accuracy, temperature=temperature)


class Search:
    """A study and what its trials are judged by.

    Args:
        study: of Optuna, new or one that goes on.
        space: what may vary.
        folds: what judges.
        targets: (N,) of all clips.
        fitter: fits the folds.
        seed: draws the candidates.
    """

    def __init__(
        self,
        study: "optuna.Study",
        space: Space,
        folds: Sequence[Fold],
        targets: NDArray[np.int64],
        fitter: Fitter,
        *,
        seed: int,
    ) -> None:
        self._study, self._space, self._folds = study, space, folds
        self._targets, self._fitter, self._seed = targets, fitter, seed
        self._optuna = import_optuna()
        states = self._optuna.trial.TrialState
        for half in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            study.tell(half.number, state=states.FAIL)  # its process is gone

    def run(
        self, limits: Limits, on_trial: Callable[[tuple[Trial, ...]], None] = lambda _: None
    ) -> SearchResult:
        """Go on until a limit is reached; `on_trial` is told of all trials after each."""
        trials, is_out_of_time = self.trials(), False
        on_trial(trials)
        while len(trials) < limits.num_trials and not is_out_of_time:
            is_out_of_time = not self._try_one(trials, limits)
            trials = self.trials()
            on_trial(trials)
        return SearchResult(trials=trials, is_out_of_time=is_out_of_time)

    def trials(self) -> tuple[Trial, ...]:
        """All trials that came to an end."""
        states = self._optuna.trial.TrialState
        finished = self._study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
        return tuple(
            Trial(
                number=number + 1,
                state="whole" if trial.state == states.COMPLETE else "pruned",
                point={name: rounded(value) for name, value in trial.params.items()},
                log_loss=float(trial.value),
                accuracy=trial.user_attrs["accuracy"],
                running=tuple(loss for _, loss in sorted(trial.intermediate_values.items())),
                temperature=trial.user_attrs["temperature"],
                seconds=trial.user_attrs["seconds"],
            )
            for number, trial in enumerate(finished)
        )

    def _try_one(self, before: tuple[Trial, ...], limits: Limits) -> bool:
        """Run a trial; False if the time was up before its end. Whatever stops it fails it."""
        num_whole = sum(trial.state == "whole" for trial in before)
        if limits.is_over(num_whole):
            return False
        states = self._optuna.trial.TrialState
        trial = self._ask(len(before))
        state, started = states.FAIL, time.monotonic()
        try:
            state = self._judge(trial, limits, num_whole)
        except TrainingError:
            if not num_whole:  # not even the settings that it begins with can be fitted
                raise
            trial.report(math.inf, len(self._folds))
            trial.set_user_attr("accuracy", 0.0)
            trial.set_user_attr("temperature", 1.0)
            state = states.PRUNED
        finally:
            trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
            value = self._last_value(trial) if state == states.COMPLETE else None
            self._study.tell(trial, value, state=state)
        return bool(state != states.FAIL)

    def _ask(self, num_before: int) -> Any:
        """The next trial, with a sampler that depends on nothing but the trials before."""
        seed = np.random.SeedSequence([self._seed, num_before]).generate_state(1)[0]
        self._study.sampler = self._optuna.samplers.TPESampler(seed=int(seed))
        waiting = self._optuna.trial.TrialState.WAITING
        if num_before == 0 and not self._study.get_trials(deepcopy=False, states=(waiting,)):
            self._study.enqueue_trial(self._space.default_point())
        return self._study.ask()

    def _judge(self, trial: Any, limits: Limits, num_whole: int) -> Any:
        """Fold after fold, until the end, or until it is behind; FAIL when the time is up."""
        states = self._optuna.trial.TrialState
        candidate = self._space.base.at(suggest(trial, self._space))
        scores: list[NDArray[np.float32]] = []
        targets: list[NDArray[np.int64]] = []
        with closing(self._fitter.scores(candidate, self._folds)) as fitted:
            for fold, fold_scores in zip(self._folds, fitted, strict=True):
                scores.append(fold_scores)
                targets.append(self._targets[fold.held_out])
                score = running_score(scores, targets)
                trial.report(score.log_loss, len(scores))
                trial.set_user_attr("accuracy", score.accuracy)
                trial.set_user_attr("temperature", score.temperature)
                if len(scores) == len(self._folds):
                    break
                if limits.is_over(num_whole):
                    return states.FAIL
                if self._is_behind(score.log_loss, len(scores)):
                    return states.PRUNED
        return states.COMPLETE

    def _is_behind(self, log_loss: float, num_folds: int) -> bool:
        """Whether half of the whole trials were better after the same folds.

        Optuna's own MedianPruner takes the best of a trial's values so far; here these are of ever
        more folds, and the first alone, if it is an easy one, would let everything pass.
        """
        complete = (self._optuna.trial.TrialState.COMPLETE,)
        others = self._study.get_trials(deepcopy=False, states=complete)
        if num_folds < _FOLDS_BEFORE_PRUNING or len(others) < _TRIALS_BEFORE_PRUNING:
            return False
        return bool(log_loss > median(o.intermediate_values[num_folds] for o in others))

    def _last_value(self, trial: Any) -> float:
        values = self._study.get_trials(deepcopy=False)[trial.number].intermediate_values
        return float(values[max(values)])


def suggest(trial: Any, space: Space) -> dict[str, Value]:
    """What Optuna says for each setting that matters."""
    point: dict[str, Value] = {}
    for dimension in space.matter(point):
        name = dimension.name
        if isinstance(dimension, Choice):
            point[name] = trial.suggest_categorical(name, dimension.values)
        else:
            number = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
            point[name] = rounded(number)
    return point
