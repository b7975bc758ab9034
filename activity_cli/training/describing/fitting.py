"""Captions -> a fitted captioner that is not saved yet."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from activity_cli.data.captions import check_trainable, load_captions, mixed_languages
from activity_cli.data.dataset import Dataset
from activity_cli.data.leakage import Leakage
from activity_cli.data.name_groups import group_by_name
from activity_cli.data.splits import Split, split_train_val_test
from activity_cli.data.vocabulary import Vocabulary
from activity_cli.errors import DataError, SettingsError
from activity_cli.features.cnn import scratch_features
from activity_cli.features.labelled import LabelledClips
from activity_cli.model.captioner import Captioner, Seen
from activity_cli.model.encoding import (
    ENCODING_BATCH,
    NUM_COEFFICIENTS,
    Rows,
    batches_of,
    measure_features,
)
from activity_cli.model.network import FeatureStatistics
from activity_cli.settings import CaptionSettings, TrainSettings
from activity_cli.training.describing.detectors import detectable, fit_detectors
from activity_cli.training.describing.task import CaptionItems, CaptionTask, CnnCaptioner
from activity_cli.training.fitting import Plan, extract_again, read_and_split
from activity_cli.training.head import one_thread, seeded
from activity_cli.training.loop.loop import NO_SESSION, Session, TrainResult, train
from activity_cli.training.resuming import check_same, describe_run, digest_of, write_run_file

_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 800, 30, 300  # of a decoder, unless others are given


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCaptioner:
    """The best captioner of a training, and the epochs."""

    captioner: Captioner  # in eval mode
    vocabulary: Vocabulary
    result: TrainResult
    num_detected: int
    cnn: bytes | None = None  # weights file of a CNN that was trained with it


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionFit:
    """A fitted captioner that is not saved yet, and its data."""

    plan: Plan
    data: LabelledClips
    split: Split
    fitted: FittedCaptioner
    seconds: float
    leakage: Leakage | None = None


def check_plan(plan: Plan) -> None:
    """Raise a SettingsError for options that captions have no use for."""
    for is_set, option in (
        (plan.cnn.mode == "finetune", "--cnn finetune"),
        (plan.data_config.augment.num_views > 0, "--views"),
        (plan.background is not None, "--background-label"),
    ):
        if is_set:
            raise SettingsError(
                f"{option} is for labels; --task describe learns sentences.",
                hint=f"Remove {option}, or --task describe.",
            )


def load_described(plan: Plan) -> Dataset:
    """Load captions, take groups from names, and announce them; a DataError if they do not do."""
    dataset = load_captions(plan.data, videos=plan.data_config.videos)
    check_trainable(dataset)
    dataset = group_by_name(dataset, plan.audit.groups)
    captions = [caption for sample in dataset.samples for caption in sample.captions]
    config = plan.data_config
    config.on_prepare(f"{len(dataset.samples)} clips with {len(captions)} captions.")
    if languages := mixed_languages(captions):
        config.on_warning(
            f"Captions in several languages: {languages}. A model mixes them: train one for each."
        )
    return dataset


def fit_captions(
    plan: Plan, session: Session = NO_SESSION, *, on_begin: Callable[[], None] = lambda: None
) -> CaptionFit:
    """Read, split and fit; call `on_begin` before the fit. Errors are those of `fit_plan`."""
    check_plan(plan)
    dataset = load_described(plan)
    settings = {k: v for k, v in plan.captions.to_json().items() if k not in CaptionSettings.AFTER}
    texts = [sample.captions for sample in dataset.samples]
    parts = {
        **describe_run(dataset, _split(plan, dataset), plan),
        "captions": {**settings, "texts": digest_of(texts)},
    }
    if session.folder:
        check_same(session.folder, parts)
    labelled, split, leakage = read_and_split(plan, dataset, partial(_split, plan))
    if session.folder:
        write_run_file(session.folder, parts)
        on_begin()
    started = time.perf_counter()
    num_captions = count_captions(labelled, split.train)
    num_epochs = schedule_of(plan.head.training, num_captions).most_epochs
    session = session.reporting(plan.data_config.on_progress, num_epochs)
    fitted = fit_captioner(labelled, plan, split.train, split.val, session)
    last = fitted.result.history[-1].epoch
    plan.data_config.on_progress("epochs", last, last)  # early stopping is an end as well
    seconds = time.perf_counter() - started
    if fitted.cnn is not None:
        labelled = extract_again(labelled.backbone, fitted.cnn, labelled, plan.data_config)
    return CaptionFit(
        plan=plan, data=labelled, split=split, fitted=fitted, seconds=seconds, leakage=leakage
    )


def _split(plan: Plan, dataset: Dataset) -> Split:
    """Split the clips; captions that are held out choose the epoch, so val is never empty."""
    shares = {"val_fraction": plan.val_fraction, "test_fraction": plan.test_fraction}
    split = split_train_val_test(dataset, **shares, seed=plan.head.training.seed)
    if not len(split.val):
        raise DataError(
            "No clips are left to choose the best epoch.",
            hint="Add clips, or raise --val-fraction.",
        )
    return split


def schedule_of(training: TrainSettings, num_captions: int) -> TrainSettings:
    """Return the settings with the epochs that a decoder needs, unless others are given."""
    steps = math.ceil(num_captions / (training.batch_size * training.accumulate))
    usual = min(max(math.ceil(_STEPS / steps), _FEWEST_EPOCHS), _MOST_EPOCHS)
    epochs = training.epochs or usual
    return replace(training, epochs=epochs, patience=training.patience or max(10, epochs // 4))


def count_captions(data: LabelledClips, rows: Rows) -> int:
    """Return the number of captions of some clips."""
    return sum(len(data.dataset.samples[row].captions) for row in rows)


def fit_captioner(
    data: LabelledClips,
    plan: Plan,
    train_rows: Rows,
    val_rows: Rows,
    session: Session = NO_SESSION,
    *,
    sees: bool = True,
) -> FittedCaptioner:
    """Fit a captioner to the captions of some clips, stop by those of others.

    With `sees` False it gets no features: it learns the grammar and the frequent words alone.
    """
    captions = plan.captions
    training = schedule_of(plan.head.training, count_captions(data, train_rows))
    texts = [sample.captions for sample in data.dataset.samples]
    vocabulary = Vocabulary.of(
        (caption for row in train_rows for caption in texts[row]),
        min_count=captions.min_count,
        lower_case=captions.lower_case,
    )
    if len(vocabulary.words) < 3:
        raise DataError(
            f"No word is in {captions.min_count} captions of the training clips.",
            hint="Lower --min-count, or add captions.",
        )
    encoded = {
        int(row): [vocabulary.encode(text, max_words=captions.max_words) for text in texts[row]]
        for row in (*train_rows, *val_rows)
    }
    items = [
        CaptionItems.of([(n, words) for n, row in numbered for words in encoded[int(row)]])
        for numbered in (
            list(enumerate(train_rows)),
            list(enumerate(val_rows, start=len(train_rows))),
        )
    ]
    presence = _presence([encoded[int(row)] for row in train_rows], len(vocabulary.words))
    with one_thread(), seeded(training.seed):
        make = _see_frames if data.features.holds_frames else _see_features
        captioner, module, see = make(data, plan, train_rows, val_rows, presence)
        if not sees:
            see = _blind(see)
        task = CaptionTask(
            module=module,
            captioner=captioner,
            see=see,
            train=items[0],
            val=items[1],
            label_smoothing=training.label_smoothing,
        )
        result = train([task], task.evaluate, training, session, name="captioner")
    return FittedCaptioner(
        captioner=captioner.cpu().eval(),
        vocabulary=vocabulary,
        result=result,
        num_detected=captioner.encoder.detectors.out_features,
        cnn=module.cnn.to_file() if isinstance(module, CnnCaptioner) else None,
    )


_See = Callable[[torch.Tensor], Seen]


def _see_features(
    data: LabelledClips, plan: Plan, train_rows: Rows, val_rows: Rows, presence: NDArray[np.float32]
) -> tuple[Captioner, Captioner, _See]:
    """Return a captioner with fitted word detectors, and what it sees of training and validation.

    The evidence of training clips is that of detectors that were fitted to others.
    """
    values, rows = data.features.values, np.concatenate([train_rows, val_rows])
    detected = detectable(presence)
    captioner = Captioner(
        plan.head.network,
        plan.captions,
        statistics=measure_features(
            values,
            train_rows,
            plan.head.network.num_components,
            num_coefficients=NUM_COEFFICIENTS,
        ),
        num_words=presence.shape[1],
        detected=detected.tolist(),
    )
    encoder, groups = captioner.encoder, data.features.groups
    with torch.no_grad():
        pooled = encoder.pool_rows(values, train_rows).numpy()
        found = fit_detectors(
            pooled.reshape(len(train_rows), values.shape[1], -1),
            presence[:, detected],
            None if groups is None else groups[train_rows],
            seed=plan.head.training.seed,
        )
        encoder.detectors.weight.copy_(torch.from_numpy(found.weights))
        encoder.detectors.bias.copy_(torch.from_numpy(found.bias))
        encoder.detectors.requires_grad_(False)
        parts = [
            encoder.see(torch.from_numpy(values[batch]).float())
            for batch in batches_of(rows, ENCODING_BATCH)
        ]
    evidence, centred = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    evidence[: len(train_rows)] = torch.from_numpy(found.evidence)
    seen = Seen(evidence, centred)
    return captioner, captioner, seen.rows


def _see_frames(
    data: LabelledClips, plan: Plan, train_rows: Rows, val_rows: Rows, presence: NDArray[np.float32]
) -> tuple[Captioner, CnnCaptioner, _See]:
    """Return a captioner behind a CNN with random weights: both are trained, detectors too."""
    features, config = data.features, plan.data_config
    size, streams = config.backbone.feature_size, len(features.streams)
    captioner = Captioner(
        plan.head.network,
        plan.captions,
        statistics=FeatureStatistics.unmeasured(streams, size, num_coefficients=NUM_COEFFICIENTS),
        num_words=presence.shape[1],
        detected=detectable(presence).tolist(),
    )
    network = CnnCaptioner(scratch_features(config.backbone), captioner)
    network.to(torch.device(config.engine.device))
    rows = np.concatenate([train_rows, val_rows])

    def see(positions: torch.Tensor) -> Seen:
        images = torch.from_numpy(features.read(rows[positions.numpy()]))
        device = next(captioner.parameters()).device
        return captioner.encoder.see(network.features(images.to(device)))

    return captioner, network, see


def _blind(see: _See) -> _See:
    """Return what a captioner without pictures sees: zeros, the same of all clips."""

    def nothing(rows: torch.Tensor) -> Seen:
        seen = see(rows)
        return Seen(torch.zeros_like(seen.evidence), torch.zeros_like(seen.centred))

    return nothing


def _presence(encoded: list[list[list[int]]], num_words: int) -> NDArray[np.float32]:
    """Return (N, V) the share of each clip's captions that a word is in; not of END and unknown."""
    presence = np.zeros((len(encoded), num_words), np.float32)
    for row, captions in enumerate(encoded):
        for words in captions:
            presence[row, sorted(set(words))] += 1 / len(captions)
    presence[:, :2] = 0
    return presence
