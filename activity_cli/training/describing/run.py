"""Save a captioner as a model folder, and describe the clips that it was not fitted to."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from activity_cli.data.leakage import Leakage
from activity_cli.data.splits import PARTS, Split
from activity_cli.features.labelled import LabelledClips
from activity_cli.model.describer import Describer
from activity_cli.model.encoding import Rows
from activity_cli.model.folder import MODEL_SUBFOLDER, Model, ModelDescription, save_model
from activity_cli.model.ood import fit_ood_detector
from activity_cli.training.describing.fitting import (
    CaptionFit,
    FittedCaptioner,
    count_captions,
    fit_captioner,
    schedule_of,
)
from activity_cli.training.fitting import Plan
from activity_cli.training.loop.loop import TrainResult
from activity_cli.types import Caption

Sentences = tuple[str, ...]
FREQUENT, NEAREST, BLIND = "most frequent", "nearest clip", "without pictures"
"""Names of the baselines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRun:
    """The result of a run: the model, and its sentences for clips that were held out."""

    folder: Path
    model: Model
    data: LabelledClips
    split: Split
    result: TrainResult
    measured_on: str  # test, or val, which also chose the epoch
    rows: Rows  # (N,) of the clips that were described
    captions: tuple[tuple[Caption, ...], ...]  # (N,), the best sentence first
    baselines: Mapping[str, Sentences]  # (N,) sentences each
    leakage: Leakage | None
    stage_seconds: Mapping[str, float]


def save_captioner(fit: CaptionFit, folder: Path) -> CaptionRun:
    """Save the model (an earlier one of the run is replaced), and describe the test clips.

    Raises:
        OutputError: the model folder cannot be written.
    """
    plan, data, split, started = fit.plan, fit.data, fit.split, time.perf_counter()
    measured_on, rows = ("test", split.test) if len(split.test) else ("val", split.val)
    sizes = {part: len(getattr(split, part)) for part in PARTS}
    training = schedule_of(plan.head.training, count_captions(data, split.train)).to_json()
    baselines = describe_simply(data, plan, (split.train, split.val), rows, fit.fitted)
    description = ModelDescription(
        name=folder.name,
        labels=fit.fitted.vocabulary.words,
        clip=data.clip,
        network=plan.head.network,
        backbone=data.backbone,
        engine=data.engine,
        captions=plan.captions,
        data={
            "source": data.dataset.root.name,
            "num_clips": len(data.targets),
            "num_captions": sum(len(sample.captions) for sample in data.dataset.samples),
            "clip_seconds": data.clip_seconds(),
            "num_left_out": len(data.left_out),
            "split": {**sizes, "by": split.by},
            "leakage": fit.leakage.lines() if fit.leakage else [],
            # The same for every clip, so `evaluate` needs no training clips for them.
            "baselines": {name: baselines[name][0] for name in (FREQUENT, BLIND)},
        },
        training={**training, "best_epoch": fit.fitted.result.best_epoch},
    )
    model = save_model(
        folder / MODEL_SUBFOLDER,
        description,
        fit.fitted.captioner.weights(),
        fit_ood_detector(data.features.values, split.train),
        cnn=fit.fitted.cnn,
        overwrite=True,
    )
    return CaptionRun(
        folder=folder,
        model=model,
        data=data,
        split=split,
        result=fit.fitted.result,
        measured_on=measured_on,
        rows=rows,
        captions=describe_rows(Describer.of(model), data, rows),
        baselines=baselines,
        leakage=fit.leakage,
        stage_seconds={
            **data.stage_seconds,
            "training": fit.seconds,
            "measuring": time.perf_counter() - started,
        },
    )


def describe_rows(
    describer: Describer, data: LabelledClips, rows: Rows
) -> tuple[tuple[Caption, ...], ...]:
    """Describe rows of the clips."""
    return tuple(describer.describe(data.features.values[row]) for row in rows)


def describe_simply(
    data: LabelledClips,
    plan: Plan,
    learned: tuple[Rows, Rows],
    rows: Rows,
    fitted: FittedCaptioner,
) -> dict[str, Sentences]:
    """Describe rows in three ways that a captioner must beat; `learned` are training, validation.

    The most frequent caption; the first caption of the training clip whose features are nearest;
    and the sentence of a decoder that was trained in the same way, but without pictures: it has the
    grammar alone, so nobody can mistake grammar for seeing.
    """
    train_rows, val_rows = learned
    samples = data.dataset.samples
    counts = Counter(caption for row in train_rows for caption in samples[row].captions)
    pool = partial(fitted.captioner.encoder.pool_rows, data.features.values)
    nearest = torch.cdist(pool(rows), pool(train_rows)).argmin(dim=1).tolist()
    blind = fit_captioner(data, plan, train_rows, val_rows, sees=False)
    describer = Describer(blind.captioner, blind.vocabulary, plan.captions)
    [sentence, *_] = describer.describe_blindly(data.clip.num_frames)
    return {
        FREQUENT: (counts.most_common(1)[0][0],) * len(rows),
        NEAREST: tuple(samples[train_rows[row]].captions[0] for row in nearest),
        BLIND: (sentence.text,) * len(rows),
    }
