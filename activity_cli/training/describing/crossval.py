"""Cross-validation of captioners: every clip is described by one that was not fitted to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from activity_cli.data.dataset import Dataset
from activity_cli.data.leakage import Leakage
from activity_cli.data.splits import Folds, inner_split
from activity_cli.errors import DataError
from activity_cli.features.grouping import audit_parts, settle_groups
from activity_cli.features.labelled import LabelledClips
from activity_cli.model.describer import Describer
from activity_cli.training.crossval import VAL_FRACTION
from activity_cli.training.describing.fitting import check_plan, fit_captioner, load_described
from activity_cli.training.describing.run import (
    BLIND,
    FREQUENT,
    NEAREST,
    describe_rows,
    describe_simply,
)
from activity_cli.training.fitting import Plan, extract_again, read_clips_for
from activity_cli.types import Caption


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionCrossval:
    """Sentences for all clips (N,), out of fold."""

    data: LabelledClips
    folds: Folds
    captions: tuple[tuple[Caption, ...], ...]
    baselines: dict[str, tuple[str, ...]]
    leakage: Leakage
    seconds: float


def crossval_captions(plan: Plan, deal: Callable[[Dataset], Folds]) -> CaptionCrossval:
    """Fit a captioner and the baselines for each fold, and describe the clips that it holds out.

    Raises:
        DataError: the data cannot be used, or cannot be dealt to folds.
    """
    check_plan(plan)
    dataset, config = load_described(plan), plan.data_config
    deal(dataset)  # before minutes of decoding
    data, _ = settle_groups(read_clips_for(dataset, config, plan.cnn), plan.audit, config)
    folds = deal(data.dataset)
    leakage = audit_parts(data, folds.index, folds.names, audit=plan.audit, data_config=config)
    started = time.perf_counter()
    captions: dict[int, tuple[Caption, ...]] = {}
    baselines: dict[str, dict[int, str]] = {name: {} for name in (FREQUENT, NEAREST, BLIND)}
    config.on_progress("folds", 0, len(folds.names))
    for number in range(len(folds.names)):
        others, held_out = (np.flatnonzero((folds.index == number) == side) for side in (0, 1))
        groups = None if data.features.groups is None else data.features.groups[others]
        train, val = inner_split(
            data.targets[others], groups, fraction=VAL_FRACTION, seed=plan.head.training.seed
        )
        if not len(val):
            raise DataError("No clips are left to choose the best epoch.", hint="Add clips.")
        fitted = fit_captioner(data, plan, others[train], others[val])
        seen = data
        if fitted.cnn is not None:
            seen = extract_again(data.backbone, fitted.cnn, data, config)
        describer = Describer(fitted.captioner, fitted.vocabulary, plan.captions)
        captions |= dict(
            zip(held_out.tolist(), describe_rows(describer, seen, held_out), strict=True)
        )
        learned = others[train], others[val]
        for name, said in describe_simply(seen, plan, learned, held_out, fitted).items():
            baselines[name] |= dict(zip(held_out.tolist(), said, strict=True))
        config.on_progress("folds", number + 1, len(folds.names))
    rows = range(len(data.targets))
    return CaptionCrossval(
        data=data,
        folds=folds,
        captions=tuple(captions[row] for row in rows),
        baselines={name: tuple(said[row] for row in rows) for name, said in baselines.items()},
        leakage=leakage,
        seconds=time.perf_counter() - started,
    )
