"""Checks for common evaluation problems."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from activity_cli.data.dataset import Sample
from activity_cli.evaluation import ClipPrediction, Predictions, SplitInfo
from activity_cli.evaluation.baselines import BaselineScores
from activity_cli.evaluation.quality_checks import Check, compute_findings
from activity_cli.model.metrics import evaluate_scores
from activity_cli.types import Status


def checks_of(predictions: Predictions, majority: int = 0) -> dict[str, Check]:
    always = np.full(len(predictions.targets), majority)
    baselines = BaselineScores(majority=always, has_lstm=False)
    findings = compute_findings(predictions, baselines, SplitInfo())
    return {check.title: check for check in findings.checks}


def predictions_of(folder: Path, true: list[int], predicted: list[int]) -> Predictions:
    labels = ("fall", "stand")
    targets, scores = np.array(true), (0.1 + 0.7 * np.eye(2)[predicted]).astype(np.float32)
    clips = []
    for number, (label, answer) in enumerate(zip(true, predicted, strict=True)):
        path = folder / f"{number}.mp4"
        path.write_bytes(number.to_bytes(4, "big"))
        sample = Sample(path=path, name=path.name, label=labels[label])
        clip = ClipPrediction(
            sample=sample, status=Status.OK, reason="", duration_seconds=1, label=labels[answer]
        )
        clips.append(clip)
    evaluation = evaluate_scores(scores, targets, labels)
    return Predictions(
        clips=tuple(clips), scores=scores, targets=targets, left_out=(), evaluation=evaluation
    )


def test_checks_find_common_problems(tmp_path: Path) -> None:
    # 90% are correct, and so is the majority baseline.
    predictions = predictions_of(tmp_path, [0] * 4 + [1] * 36, [1] * 40)
    (tmp_path / "3.mp4").write_bytes((tmp_path / "39.mp4").read_bytes())

    checks = checks_of(predictions, majority=1)

    warned = {title for title, check in checks.items() if check.level == "warning"}
    assert warned == {
        "Beats the majority baseline",
        "Duplicate files",
        "Balance of labels",
        "Labels with few clips",
        "Enough clips",
    }
    assert "3.mp4 (fall) = 39.mp4 (stand)" in checks["Duplicate files"].text
    assert checks["Leakage"].level == checks["Groups"].level == "note"


def test_checks_pass_on_good_data(tmp_path: Path) -> None:
    true = [0, 1] * 60
    predictions = predictions_of(
        tmp_path, true, [*true[:110], *(1 - label for label in true[110:])]
    )
    groups = [
        replace(clip, sample=replace(clip.sample, group=f"camera {i // 2}"))
        for i, clip in enumerate(predictions.clips)
    ]
    scores = np.where(predictions.scores > 0.5, 0.92, 0.08).astype(np.float32)
    evaluation = evaluate_scores(scores, predictions.targets, predictions.labels)

    good = replace(predictions, clips=tuple(groups), scores=scores, evaluation=evaluation)

    assert {title for title, c in checks_of(good).items() if c.level != "fine"} == {"Leakage"}
