"""A whole tuning: read the clips, search among all of them, and say what searching is worth."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from activity_cli.common.optional_dependencies import import_optuna
from activity_cli.data.dataset import Dataset, Sample
from activity_cli.data.loading import load_dataset
from activity_cli.data.name_groups import group_by_name
from activity_cli.data.splits import Folds
from activity_cli.features.audit import announce, audit_parts
from activity_cli.features.labelled import DataConfig, LabelledFeatures
from activity_cli.settings import DEFAULT_AUDIT, AuditSettings
from activity_cli.training.crossval import VAL_FRACTION
from activity_cli.training.tuning.fitter import Fitter
from activity_cli.training.tuning.folder import digest, open_folder, open_study
from activity_cli.training.tuning.folds import Rows
from activity_cli.training.tuning.importance import importance_of
from activity_cli.training.tuning.material import Material, read_material
from activity_cli.training.tuning.nested import NestedResult, nested_score
from activity_cli.training.tuning.search import Limits, Search, SearchResult, Trial, best_of
from activity_cli.training.tuning.space import Space
from activity_cli.types import OnProgress, no_progress

Deal = Callable[[Dataset], Folds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is searched, how long, and by which clips it is judged."""

    space: Space
    deal: Deal
    """The folds that judge a candidate, of whichever clips take part in a search."""
    deal_outer: Deal | None = None
    """The folds that judge searching itself; None leaves that out."""
    num_trials: int = 40
    """Of each search."""
    max_seconds: float | None = None
    """For all searches; each gets an equal share."""
    num_workers: int = 1
    audit: AuditSettings = DEFAULT_AUDIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears of a tuning as it goes on."""

    on_progress: OnProgress = no_progress
    on_best: Callable[[Trial], None] = lambda _: None
    """The best trial so far of whichever search is going on."""
    on_main: Callable[[tuple[Trial, ...]], None] = lambda _: None
    """All trials of the search among all clips, after each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRun:
    """What a tuning found."""

    folder: Path
    material: Material
    space: Space
    folds: Folds
    result: SearchResult
    importance: dict[str, float]
    """Share of each setting in what made the difference; empty for few trials."""
    nested: NestedResult | None
    seconds: float
    """Of the searches, without the reading."""


def tune(
    data: Path,
    data_config: DataConfig,
    folder: Path,
    plan: Plan,
    *,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> TuningRun:
    """Search for settings on labelled data, in a folder where it can go on.

    Args:
        data: folder or CSV of labelled clips.
        data_config: how videos are read; streams and frames are the space's.
        folder: for the study. It holds features while the search is going on.
        plan: what is searched.
        overwrite: begin again.
        listener: hears of it.

    Raises:
        DataError: the data cannot be used, has too few clips for the folds, or leaks and must not.
        OutputError: the folder is of another search, in use, or cannot be written.
        MissingExtraError: Optuna is not installed.
        BackboneError: the CNN's weights are not to be had.
    """
    import_optuna()  # that it is missing is said first
    listener = listener or Listener()
    dataset = group_by_name(load_dataset(data), plan.audit.groups)
    announce(dataset, data_config, plan.space.base.training)
    folds = plan.deal(dataset)  # what cannot be dealt is said before minutes of decoding
    if plan.deal_outer is not None:
        _check_inner_folds(dataset, plan.deal_outer(dataset), plan.deal)
    identity = _identity(dataset, folds, data_config, plan.space)
    with open_folder(folder, identity, overwrite=overwrite) as work:

        def audit(labelled: LabelledFeatures) -> None:
            dealt = plan.deal(labelled.dataset)
            audit_parts(
                labelled, dealt.index, dealt.names, audit=plan.audit, data_config=data_config
            )

        material = read_material(dataset, data_config, plan.space, work, check=audit)
        started = time.monotonic()
        with Fitter(
            material.readings,
            material.targets,
            num_labels=len(dataset.labels),
            num_workers=plan.num_workers,
        ) as fitter:
            searches = _Searches(folder, material, plan, fitter, listener)
            result = searches.among_all()
            nested = searches.nested()
    return TuningRun(
        folder=folder,
        material=material,
        space=plan.space,
        folds=plan.deal(material.dataset),
        result=result,
        importance=importance_of(result, plan.space),
        nested=nested,
        seconds=time.monotonic() - started,
    )


@dataclass(slots=True)
class _Searches:
    """The searches of one tuning, one after the other, and their time."""

    folder: Path
    material: Material
    plan: Plan
    fitter: Fitter
    listener: Listener
    started: float = field(default_factory=time.monotonic)
    num_done: int = 0

    def among_all(self) -> SearchResult:
        """The search that gives the settings."""
        rows = np.arange(len(self.material.targets))
        return self._search(rows, name="all", title="Search", on_trials=self.listener.on_main)

    def nested(self) -> NestedResult | None:
        """The searches that say what it is worth."""
        if self.plan.deal_outer is None:
            return None
        outer = self.plan.deal_outer(self.material.dataset)
        return nested_score(self.material, outer, self.plan.space, self.fitter, self._without)

    def _without(self, rows: Rows, fold: str) -> SearchResult:
        names = [_describe(self.material.dataset.samples[row]) for row in rows]
        # Other outer folds make another study, in the same database.
        return self._search(rows, name=f"outer-{digest(names)}", title=f"Without {fold}")

    def _search(
        self,
        rows: Rows,
        *,
        name: str,
        title: str,
        on_trials: Callable[[tuple[Trial, ...]], None] = lambda _: None,
    ) -> SearchResult:
        plan = self.plan

        def on_trial(trials: tuple[Trial, ...]) -> None:
            if trials:
                self.listener.on_best(best_of(trials))
                on_trials(trials)
            self.listener.on_progress(title, min(len(trials), plan.num_trials), plan.num_trials)

        folds = self.material.folds(rows, plan.deal(self.material.part(rows)), name=name)
        search = Search(
            open_study(self.folder, name),
            plan.space,
            folds,
            self.material.targets,
            self.fitter,
            seed=plan.space.base.training.seed,
        )
        result = search.run(Limits(num_trials=plan.num_trials, deadline=self._deadline()), on_trial)
        self.num_done += 1
        self.material.readings.forget(folds)
        return result

    def _deadline(self) -> float | None:
        """When the search that comes next has had its share of the time that is left."""
        if self.plan.max_seconds is None:
            return None
        outer = self.plan.deal_outer
        num_searches = 1 + (len(outer(self.material.dataset).names) if outer else 0)
        now = time.monotonic()
        left = self.started + self.plan.max_seconds - now
        return now + left / (num_searches - self.num_done)


def _check_inner_folds(dataset: Dataset, outer: Folds, deal: Deal) -> None:
    """See that the clips outside of every outer fold can be dealt again.

    Raises:
        DataError: they cannot.
    """
    for number in range(len(outer.names)):
        samples = tuple(
            sample
            for sample, index in zip(dataset.samples, outer.index, strict=True)
            if index != number
        )
        deal(Dataset(root=dataset.root, samples=samples, labels=dataset.labels))


def _identity(
    dataset: Dataset, folds: Folds, data_config: DataConfig, space: Space
) -> dict[str, object]:
    """What makes a search the same one, by what a user would call it."""
    return {
        "data set": digest([_describe(sample) for sample in dataset.samples]),
        "set of folds": digest([folds.index.tolist(), VAL_FRACTION]),
        "way of reading": {
            "backbone": data_config.backbone.name,
            "engine": f"{data_config.engine.name}-{data_config.engine.precision}",
            "window": data_config.window_seconds,
        },
        "search space": space.to_json(),
    }


def _describe(sample: Sample) -> list[object]:
    """What a clip is, without looking into it; size tells a file that was replaced."""
    size = sample.path.stat().st_size
    piece = [sample.start_seconds, sample.end_seconds]
    return [sample.name, size, *piece, sample.label, sample.group]
