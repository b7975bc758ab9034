"""What cross-validations, training runs and evaluations found -> the evidence for a report."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.wording import describe_parts
from activity_cli.data.dataset import Dataset, sample_groups
from activity_cli.evaluation.baselines import Kind, RivalScores, most_frequent
from activity_cli.model.frame_order_ablation import OrderScores, join_orders
from activity_cli.model.metrics import Evaluation
from activity_cli.report.data import Answers, Case, Evidence, Findings, Fold, LeftOut, Parting
from activity_cli.report.metadata import (
    background_facts,
    data_facts,
    facts_of,
    model_facts,
    model_settings,
    plain,
    rejection_facts,
    speed_of,
    stages,
)
from activity_cli.types import UNKNOWN

if TYPE_CHECKING:
    from activity_cli.evaluation.measurement import Measurement
    from activity_cli.features.labelled import LabelledFeatures
    from activity_cli.features.pictures import LabelledPictures
    from activity_cli.training.crossval import CrossvalRun
    from activity_cli.training.run import TrainingRun

Tables = Mapping[str, Mapping[str, Any]]


def crossval_evidence(run: "CrossvalRun", *, command: str, settings: Tables) -> Evidence:
    """What a cross-validation says.

    Args:
        run: the cross-validation.
        command: what was typed.
        settings: tables of them.
    """
    from activity_cli.training.crossval import majority_baseline

    data, result, orders = run.data, run.result, run.result.orders
    rows = np.arange(len(data.targets))
    answers = _answers(data, rows, result.scores, result.evaluation, orders)
    majority = majority_baseline(data, run.folds).scores.argmax(axis=1)
    rivals = _rivals(majority, orders)
    if run.rounds:  # the same, fitted with all care
        frame, mean = (run.rounds[head].scores for head in ("single frame", "mean-pool"))
        rivals = replace(rivals, frame=frame, mean=mean)
    by, number = f"folds by {run.folds.by}", len(result.folds)
    return Evidence(
        title=data.dataset.root.name or str(data.dataset.root),
        subtitle=f"Cross-validation, {number} {by}",
        how=f"Each clip was scored once, by a network trained on the other {number - 1} folds.",
        answers=answers,
        findings=Findings.of(answers, rivals, Parting(by=by, leakage=run.leakage)),
        facts={**facts_of(data), **background_facts(run)},
        speed=speed_of(data, {"training, all folds": result.seconds}),
        settings=plain(settings),
        command=command,
        folds=tuple(
            Fold(
                name=fold.name,
                num_clips=fold.num_clips,
                accuracy=fold.accuracy,
                best_epoch=fold.best_epoch,
            )
            for fold in result.folds
        ),
    )


def training_evidence(run: "TrainingRun", *, command: str, settings: Tables) -> Evidence:
    """What a training run says of the clips that it held out; arguments as above."""
    data, rows, description = run.data, run.measured_rows, run.model.description
    orders = _training_orders(run)
    answers = _answers(data, rows, run.scores, run.evaluation, orders)
    learned = np.bincount(data.targets[run.split.train], minlength=len(description.labels))
    rivals = _rivals(most_frequent(learned.tolist(), len(rows)), orders)
    flatters = "These clips chose the best epoch, so the figures flatter: there were none to spare."
    parting = Parting(
        by=f"split by {run.split.by}",
        leakage=run.leakage,
        flatters=flatters if run.measured_on == "val" else "",
    )
    return Evidence(
        title=description.name,
        subtitle=f"Training run, measured on {len(rows)} {run.measured_on} clips",
        how=f"{describe_parts(len(run.split.train), len(run.split.val), len(run.split.test))}; "
        f"{parting.by}.",
        answers=answers,
        findings=Findings.of(answers, rivals, parting),
        facts={**facts_of(data), **model_facts(description)},
        speed=speed_of(data, {stage: run.stage_seconds[stage] for stage in _AFTER_READING}),
        settings=plain(settings),
        command=command,
    )


_AFTER_READING = ("training", "measuring")


def measurement_evidence(
    measurement: "Measurement",
    dataset: Dataset,
    *,
    engine: str,
    orders: OrderScores | None,
    command: str,
) -> Evidence:
    """What an evaluation says.

    Args:
        measurement: of a model.
        dataset: its clips.
        engine: what computed.
        orders: what the model said of the clips in other orders; None where that cannot be had.
        command: what was typed.
    """
    description, samples = measurement.description, measurement.samples
    labels, durations = description.labels, [r.duration_seconds or 0.0 for r in measurement.results]
    cases = tuple(
        Case(
            sample=sample,
            status=result.status,
            reason=result.reason,
            duration_seconds=seconds,
            named=result.label or UNKNOWN,
        )
        for sample, result, seconds in zip(samples, measurement.results, durations, strict=True)
    )
    answers = Answers(
        cases=cases,
        scores=measurement.scores,
        targets=np.array([labels.index(sample.label) for sample in samples], np.int64),
        left_out=tuple(
            LeftOut(name=sample.name, status=result.status, reason=result.reason)
            for sample, result in measurement.left_out
        ),
        evaluation=measurement.evaluation,
        orders=orders,
    )
    facts = data_facts(samples, durations, labels, sample_groups(samples))
    told = {**facts, **model_facts(description), **rejection_facts(measurement), "Engine": engine}
    return Evidence(
        title=description.name,
        subtitle=f"Evaluation on {dataset.root.name or dataset.root}, {len(samples)} clips",
        how="The figures hold for clips that the model was not trained on.",
        answers=answers,
        findings=Findings.of(
            answers, _rivals_of_model(measurement, orders), Parting(by="", leakage=None)
        ),
        facts=told,
        speed=stages([result.stage_seconds for result in measurement.results]),
        settings=model_settings(description),
        command=command,
    )


def _rivals(majority: NDArray[np.int64], orders: OrderScores | None) -> RivalScores:
    """Those of a network that was fitted just now; without `orders` it has no LSTM."""
    return RivalScores(
        majority=majority,
        frame=orders.frame if orders else None,
        mean=orders.summary if orders else None,
        orders=orders,
        has_lstm=orders is not None,
        missing={} if orders else _WITHOUT_LSTM,
    )


def _rivals_of_model(measurement: "Measurement", orders: OrderScores | None) -> RivalScores:
    """Those that can be had of a finished model, without training."""
    description = measurement.description
    has_lstm = description.network.temporal == "lstm"
    learned = description.data.get("clips_per_label", {})
    counts = [learned.get(label, 0) for label in description.labels]
    missing: dict[Kind, str] = {} if has_lstm else dict(_WITHOUT_LSTM)
    missing["frame"] = "it takes training, as `activity crossval` does"
    if has_lstm and orders is None:
        why = "it takes a model folder, without test views"
        missing |= {"mean": why, "shuffled": why, "reversed": why}
    elif has_lstm:
        missing["mean"] = "the model is not made of one summary and one LSTM"
    return RivalScores(
        majority=most_frequent(counts, len(measurement.samples)),
        mean=orders.summary if orders else None,
        orders=orders,
        has_lstm=has_lstm,
        missing=missing,
    )


_WITHOUT_LSTM: dict[Kind, str] = {
    "frame": "it is measured beside an LSTM only",
    "mean": "the model is that itself",
    "shuffled": "without an LSTM the order makes no difference",
    "reversed": "without an LSTM the order makes no difference",
}


def _training_orders(run: "TrainingRun") -> OrderScores | None:
    from activity_cli.training.head import score_in_other_orders, score_single_frames

    if run.model.description.network.temporal != "lstm":
        return None
    data, inner = run.data, run.fitted.inner
    learned = np.concatenate([run.split.train, run.split.val])
    parts = [(run.fitted.network, learned, run.measured_rows)]
    if inner and run.measured_on == "inner-fold":
        parts = list(inner.parts(learned))
    found = []
    for network, rows, held_out in parts:
        frames = score_single_frames(
            network,
            data.features,
            data.targets,
            learn_rows=rows,
            rows=held_out,
            streams=data.clip.streams,
            settings=run.settings,
        )
        orders = score_in_other_orders(network, data.features, held_out)
        found.append(replace(orders, frame=frames))
    return join_orders(found)


def _answers(
    data: "LabelledFeatures | LabelledPictures",
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    evaluation: Evaluation,
    orders: OrderScores | None,
) -> Answers:
    """Scores (N, C) of some rows of labelled features."""
    cases = []
    for row, label in zip(rows.tolist(), scores.argmax(axis=1).tolist(), strict=True):
        clip = data.clips[row]
        cases.append(
            Case(
                sample=data.dataset.samples[row],
                status=clip.status,
                reason=clip.reason,
                duration_seconds=clip.decoded.duration_seconds if clip.decoded else 0.0,
                named=data.dataset.labels[label],
            )
        )
    return Answers(
        cases=tuple(cases),
        scores=scores,
        targets=data.targets[rows],
        left_out=tuple(
            LeftOut(name=sample.name, status=clip.status, reason=clip.reason)
            for sample, clip in data.left_out
        ),
        evaluation=evaluation,
        orders=orders,
    )
