"""A whole tuning: read the clips, search among all of them, and run nested searches if asked.

The score of the best of many trials is optimistic. Nested cross-validation (Varma and Simon, 2006)
scores each outer fold once, with the best settings of a search among the other clips.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.optional_dependencies import import_optuna
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.scene_groups import require_groups, suggest_groups
from activity_cli.data.splits import Folds
from activity_cli.features.grouping import audit_parts
from activity_cli.features.labelled import DataConfig, LabelledClips, announce
from activity_cli.model.calibration import tempered
from activity_cli.settings import AUTO_GROUPS, DEFAULT_AUDIT, AuditSettings
from activity_cli.training.crossval import VAL_FRACTION
from activity_cli.training.fitting import load_grouped
from activity_cli.training.tuning.data import Rows, TuningData, read_tuning_data
from activity_cli.training.tuning.folder import digest, open_folder, open_study
from activity_cli.training.tuning.folds import FoldScorer
from activity_cli.training.tuning.search import Search, SearchResult, Trial, best_of
from activity_cli.training.tuning.space import Space
from activity_cli.types import OnProgress, no_progress

if TYPE_CHECKING:
    import optuna

MakeFolds = Callable[[Dataset], Folds]
_MIN_TRIALS_FOR_IMPORTANCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedResult:
    """Predictions for all N clips, each by models that were searched and fitted without it."""

    outer: Folds
    searches: dict[str, SearchResult]
    """For each outer fold, the search among the clips of the others."""
    tuned: NDArray[np.float32]  # (N, C) probabilities with the settings of each fold's search
    default: NDArray[np.float32]  # (N, C) probabilities with the base settings
    tuned_thresholds: NDArray[np.float64] | None = None  # (N, C) of multi-label data
    default_thresholds: NDArray[np.float64] | None = None


def run_nested(
    data: TuningData,
    outer: Folds,
    space: Space,
    scorer: FoldScorer,
    search_among: Callable[[Rows, str], SearchResult],
) -> NestedResult:
    """Search once per outer fold, among the clips of the others, and predict the fold's clips.

    `search_among` gets these rows, and the name of the held-out fold.
    """
    rows = np.arange(len(data.targets))
    tuned = np.zeros((len(rows), len(data.dataset.labels)), np.float32)
    default, searches = np.zeros_like(tuned), dict[str, SearchResult]()
    multi_label = data.dataset.multi_label
    chosen = [np.full(tuned.shape, 0.5) for _ in range(2)]  # thresholds
    for number, name in enumerate(outer.names):
        others, held_out = rows[outer.index != number], rows[outer.index == number]
        search = searches[name] = search_among(others, name)
        fold = data.fold(fitted=others, held_out=held_out, name=f"outer-{number}")
        for probabilities, thresholds, trial, candidate in (
            (tuned, chosen[0], search.best, space.base.at(search.best.point)),
            (default, chosen[1], search.default, space.base),
        ):
            scores = next(scorer.scores(candidate, [fold]))
            # Temperature and thresholds are of the search's clips; the outer fold takes no part.
            probabilities[held_out] = tempered(scores, trial.temperature, multi_label=multi_label)
            thresholds[held_out] = trial.thresholds or 0.5
    return NestedResult(
        outer=outer,
        searches=searches,
        tuned=tuned,
        default=default,
        tuned_thresholds=chosen[0] if multi_label else None,
        default_thresholds=chosen[1] if multi_label else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningConfig:
    """What is searched, for how long, and on which folds trials are scored."""

    space: Space
    make_folds: MakeFolds  # makes the folds of a search, from the clips that take part in it
    make_outer_folds: MakeFolds | None = None
    """Makes the outer folds of nested cross-validation; None skips it."""
    num_trials: int = 40  # of each search
    max_seconds: float | None = None  # for all searches; each gets an equal share
    num_workers: int = 1
    audit: AuditSettings = DEFAULT_AUDIT
    multi_label: bool | None = False  # as for `load_dataset`


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningCallbacks:
    """Functions that are called while a tuning runs."""

    on_progress: OnProgress = no_progress
    on_best: Callable[[Trial], None] = lambda _: None
    """Called with the best trial so far of the current search."""
    on_trials: Callable[[tuple[Trial, ...]], None] = lambda _: None
    """Called with all trials of the search among all clips, after each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRun:
    """The results of a tuning."""

    folder: Path
    data: TuningData
    space: Space
    folds: Folds
    result: SearchResult
    importance: dict[str, float]
    """Share of each setting in the differences between trials; empty for few trials."""
    nested: NestedResult | None
    seconds: float  # of the searches, without reading the videos


def tune(
    data: Path,
    data_config: DataConfig,
    folder: Path,
    config: TuningConfig,
    *,
    overwrite: bool = False,
    callbacks: TuningCallbacks | None = None,
) -> TuningRun:
    """Search for settings on labelled data, in a folder in which the search can resume.

    The folder also holds the features while the search runs. The space decides streams and frames.

    Raises:
        DataError: the data cannot be used, has too few clips for the folds, or leaks where that is
            forbidden.
        OutputError: the folder belongs to another search, is in use, or cannot be written.
        MissingExtraError: Optuna is not installed.
        BackboneError: the CNN's weights cannot be loaded.
    """
    import_optuna()  # fail before minutes of decoding, as for the folds below
    dataset = load_grouped(
        data, config.audit, None, data_config.videos, multi_label=config.multi_label
    )
    if config.audit.groups == AUTO_GROUPS:  # the folds are made before a clip is decoded
        dataset = require_groups(dataset, suggest_groups(dataset, None)).apply(dataset)
    announce(dataset, data_config, config.space.base.training, in_folds=True)
    folds = config.make_folds(dataset)
    if config.make_outer_folds:
        outer = config.make_outer_folds(dataset)
        for number in range(len(outer.names)):  # the clips outside each must have folds again
            others = tuple(compress(dataset.samples, outer.index != number))
            config.make_folds(replace(dataset, samples=others))
    identity = _identity(dataset, folds, data_config, config.space)

    def audit(labelled: LabelledClips) -> None:
        made = config.make_folds(labelled.dataset)
        audit_parts(labelled, made.index, made.names, audit=config.audit, data_config=data_config)

    with open_folder(folder, identity, overwrite=overwrite) as work:
        tuning_data = read_tuning_data(dataset, data_config, config.space, work, check=audit)
        started = time.monotonic()
        with FoldScorer(
            tuning_data.store,
            tuning_data.targets,
            num_labels=len(dataset.labels),
            num_workers=config.num_workers,
        ) as scorer:
            calls = callbacks or TuningCallbacks()
            searches = _Searches(folder, tuning_data, config, scorer, calls)
            rows = np.arange(len(tuning_data.targets))
            result = searches.search(rows, "all", title="Search", on_trials=calls.on_trials)
            nested = None
            if config.make_outer_folds:
                outer = config.make_outer_folds(tuning_data.dataset)
                nested = run_nested(tuning_data, outer, config.space, scorer, searches.without)
    return TuningRun(
        folder=folder,
        data=tuning_data,
        space=config.space,
        folds=config.make_folds(tuning_data.dataset),
        result=result,
        importance=importance_of(result.study),
        nested=nested,
        seconds=time.monotonic() - started,
    )


@dataclass(slots=True)
class _Searches:
    """Runs the searches of a tuning one after the other and divides the time among them."""

    folder: Path
    data: TuningData
    config: TuningConfig
    scorer: FoldScorer
    callbacks: TuningCallbacks

    def without(self, rows: Rows, fold: str) -> SearchResult:
        """Search among the clips outside an outer fold."""
        # Named by its clips: other outer folds make another study in the same database.
        clips = [_describe(self.data.dataset.samples[row]) for row in rows]
        return self.search(rows, f"outer-{digest(clips)}", title=f"Without {fold}")

    def search(
        self,
        rows: Rows,
        name: str,
        *,
        title: str,
        on_trials: Callable[[tuple[Trial, ...]], None] = lambda _: None,
    ) -> SearchResult:
        """Search among some clips, in the study with a name; `title` is for progress."""
        config = self.config

        def report(trials: tuple[Trial, ...]) -> None:
            if trials:
                self.callbacks.on_best(best_of(trials))
                on_trials(trials)
            done = min(len(trials), config.num_trials)
            self.callbacks.on_progress(title, done, config.num_trials)

        deadline, outer = None, config.make_outer_folds
        if config.max_seconds is not None:  # each search gets its share of the time
            num_searches = 1 + (len(outer(self.data.dataset).names) if outer else 0)
            deadline = time.monotonic() + config.max_seconds / num_searches
        folds = self.data.folds(rows, config.make_folds(self.data.subset(rows)), name=name)
        search = Search(
            study=open_study(self.folder, name),
            space=config.space,
            folds=folds,
            targets=self.data.targets,
            scorer=self.scorer,
            seed=config.space.base.training.seed,
            deadline=deadline,
        )
        return search.run(config.num_trials, report)


def importance_of(study: "optuna.Study") -> dict[str, float]:
    """Return the share of each setting in the differences between trials, largest first.

    PED-ANOVA (Watanabe et al., 2023): also ranks settings that only some trials have. Empty where
    trials are too few.
    """
    from optuna.importance import get_param_importances

    whole = study.get_trials(states=(import_optuna().trial.TrialState.COMPLETE,))
    if len(whole) < _MIN_TRIALS_FOR_IMPORTANCE:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that trials are few, which the report says as well
        shares = get_param_importances(study)
    return {str(name): float(share) for name, share in shares.items()}


def _identity(
    dataset: Dataset, folds: Folds, data_config: DataConfig, space: Space
) -> dict[str, object]:
    """Return what must be equal for a search to resume, under names that a message can use."""
    rows = [_describe(sample) for sample in dataset.events or dataset.samples]
    return {
        "data set": digest([*rows, "multi-label"] if dataset.multi_label else rows),
        "set of folds": digest([folds.index.tolist(), VAL_FRACTION]),
        "way of reading": {
            "backbone": data_config.backbone.name,
            "engine": f"{data_config.engine.name}-{data_config.engine.precision}",
            "window": data_config.window_seconds,
        },
        "search space": asdict(space),
    }


def _describe(sample: Sample) -> list[object]:
    """Return what identifies a clip without reading it; the size reveals a replaced file."""
    size, piece = sample.path.stat().st_size, [sample.start_seconds, sample.end_seconds]
    return [sample.name, size, *piece, sample.label, sample.group]
