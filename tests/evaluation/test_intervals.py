"""Intervals, rivals of the LSTM and checks: promises that can be worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from activity_cli.data.dataset import Sample
from activity_cli.evaluation.baselines import Rivalry, RivalScores, meet_rivals, most_frequent
from activity_cli.evaluation.intervals import figures_with_intervals, mean_with_interval
from activity_cli.evaluation.quality_checks import Check
from activity_cli.model.folder import load_model
from activity_cli.model.frame_order_ablation import (
    OrderProbe,
    OrderScores,
    join_folds,
    score_orders,
    summary_of,
)
from activity_cli.model.metrics import evaluate_scores, wilson_interval
from activity_cli.model.network import SequenceClassifier
from activity_cli.model.rebuilding import load_scorer
from activity_cli.report.data import Answers, Case, Findings, Parting
from activity_cli.settings import STREAMS, TrainSettings
from activity_cli.training.head import (
    score_in_other_orders,
    score_rows,
    score_single_frames,
)
from activity_cli.types import Status
from tests.training.test_head import fit_and_score, in_the_mean, in_the_order
from tests.workplace import Workplace

TEST = np.arange(80, 120)


def scores_of(named: list[int], num_labels: int) -> np.ndarray:
    return 0.1 + 0.7 * np.eye(num_labels)[named]


def test_figures_are_those_of_scikit_learn_and_intervals_about_wilsons() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 400)
    named = np.where(random.random(400) < 0.8, targets, (targets + 1) % 3)
    scores = scores_of(named.tolist(), 3)

    figures = figures_with_intervals(scores, targets, ("a", "b", "c"), None)

    expected = evaluate_scores(scores, targets, ("a", "b", "c"))
    assert figures.accuracy.value == pytest.approx(expected.accuracy)
    assert figures.macro_f1.value == pytest.approx(expected.macro_f1)
    for row, label in zip(figures.per_label, expected.per_label, strict=True):
        assert row.precision is not None
        assert row.precision.value == pytest.approx(label.precision)
        assert row.recall is not None
        assert row.recall.value == pytest.approx(label.recall)
        assert row.f1 is not None
        assert row.f1.value == pytest.approx(label.f1)
    low, high = wilson_interval(round(400 * expected.accuracy), 400)
    assert (figures.accuracy.low, figures.accuracy.high) == pytest.approx((low, high), abs=0.01)
    # Equal scores of both wrong labels: the first of them counts as the better one.
    assert figures.top_k[2].value > figures.accuracy.value


def test_copies_of_clips_in_a_group_add_no_certainty() -> None:
    right = np.random.default_rng(1).random(100) < 0.7
    once = mean_with_interval(right.astype(float), None)
    groups = np.repeat(np.arange(100), 9)

    ninefold = mean_with_interval(np.repeat(right, 9).astype(float), groups)
    believed = mean_with_interval(np.repeat(right, 9).astype(float), None)

    assert (ninefold.low, ninefold.high) == pytest.approx((once.low, once.high))
    assert believed.high - believed.low < 0.5 * (ninefold.high - ninefold.low)


def test_few_clips_that_are_all_right_are_not_sure() -> None:
    figures = figures_with_intervals(
        scores_of([0, 0, 1], 3), np.array([0, 0, 1]), ("a", "b", "never"), None
    )

    assert figures.accuracy.value == figures.accuracy.high == 1
    assert figures.accuracy.low == pytest.approx(wilson_interval(3, 3)[0])
    assert figures.per_label[2].recall is None


def rivals_in(data: tuple[np.ndarray, np.ndarray]) -> Rivalry:
    features, targets = data
    fitted, scores, _ = fit_and_score(data)
    orders = score_in_other_orders(fitted.network, features, TEST)
    return meet_rivals(
        scores,
        targets[TEST],
        RivalScores(
            majority=most_frequent([30, 30], len(TEST)),
            mean=orders.summary,
            orders=orders,
            has_lstm=True,
        ),
        None,
    )


def test_the_answer_is_yes_where_only_the_order_tells_labels_apart() -> None:
    rivalry = rivals_in(in_the_order())

    accuracies = {rival.kind: rival.accuracy.value for rival in rivalry.rivals}
    assert accuracies["mean"] < 0.7
    assert accuracies["shuffled"] < 0.7
    assert accuracies["reversed"] < 0.1  # what rises falls
    assert rivalry.answer().startswith("Yes: reading the frames in order adds")
    assert "so the model does use their order" in rivalry.answer()


def test_the_answer_is_no_where_the_lstm_was_left_out() -> None:
    rivalry = rivals_in(in_the_mean())

    assert {rival.gain.value for rival in rivalry.rivals if rival.kind != "majority"} == {0}
    assert rivalry.answer().startswith("No: mean-pooling")


def test_the_single_frame_is_that_of_compare() -> None:
    features, targets = in_the_mean()
    fitted, _, _ = fit_and_score((features, targets))
    _, expected, _ = fit_and_score((features, targets), "frame")

    scores = score_single_frames(
        fitted.network,
        features,
        targets,
        learn_rows=np.arange(80),
        rows=TEST,
        streams=STREAMS,
        settings=TrainSettings(),
    )

    np.testing.assert_allclose(scores, expected, atol=0.02)


def test_a_probe_hears_what_a_whole_array_says() -> None:
    features, targets = in_the_order()
    network = fit_and_score((features, targets))[0].network

    def classify(clips: np.ndarray) -> np.ndarray:
        return score_rows(network, clips, np.arange(len(clips)))

    probe = OrderProbe(classify)
    for clip in features[:40]:
        probe(clip)

    heard, whole = probe.scores(), score_orders(classify, features, np.arange(40))
    assert heard is not None
    np.testing.assert_allclose(heard.shuffled, whole.shuffled, atol=1e-6)
    np.testing.assert_allclose(heard.reversed, classify(features[:40, :, ::-1]), atol=1e-6)
    # A part alone is what it would be as a clip: the first two of eight frames.
    np.testing.assert_allclose(heard.parts[:, 0], classify(features[:40, :, :2]), atol=1e-6)


def test_folds_go_back_to_the_order_of_the_clips() -> None:
    index = np.array([2, 0, 1, 0, 2, 1])

    def orders(clips: np.ndarray) -> OrderScores:
        scores = clips[:, None].astype(np.float32)
        each = scores[:, None]
        return OrderScores(reversed=scores, shuffled=each, parts=each, summary=scores)

    joined = join_folds([orders(np.flatnonzero(index == fold)) for fold in range(3)], index)

    assert joined.reversed[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert joined.summary is not None
    assert joined.summary[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert joined.frame is None


def test_a_models_summary_is_that_of_torch(shared: Workplace) -> None:
    model = load_model(shared.folder / "runs" / "first")
    network = load_scorer(model).classifier
    shape = (5, *model.description.feature_shape)
    features = np.random.default_rng(0).random(shape).astype(np.float16)
    summary = summary_of(model)

    assert summary is not None
    assert isinstance(network, SequenceClassifier)
    with torch.no_grad():
        encoded = network.encode(torch.from_numpy(features.astype(np.float32)))
        logits = network.summary_logits(encoded) / model.description.temperature
    np.testing.assert_allclose(summary(features), logits.softmax(-1).numpy(), atol=1e-4)


def checks_of(answers: Answers, majority: int = 0) -> dict[str, Check]:
    named = np.full(len(answers.targets), majority)
    rivals = RivalScores(majority=named, has_lstm=False)
    findings = Findings.of(answers, rivals, Parting(by="", leakage=None))
    return {check.title: check for check in findings.checks}


def answers_of(folder: Path, true: list[int], named: list[int]) -> Answers:
    labels = ("fall", "stand")
    targets, scores = np.array(true), scores_of(named, 2).astype(np.float32)
    cases = []
    for number, (label, called) in enumerate(zip(true, named, strict=True)):
        path = folder / f"{number}.mp4"
        path.write_bytes(number.to_bytes(4, "big"))
        sample = Sample(path=path, name=path.name, label=labels[label])
        case = Case(
            sample=sample, status=Status.OK, reason="", duration_seconds=1, named=labels[called]
        )
        cases.append(case)
    evaluation = evaluate_scores(scores, targets, labels)
    return Answers(
        cases=tuple(cases), scores=scores, targets=targets, left_out=(), evaluation=evaluation
    )


def test_checks_find_what_makes_figures_say_less_than_they_seem_to(tmp_path: Path) -> None:
    # 90% are right, and so would be whoever always says "stand".
    answers = answers_of(tmp_path, [0] * 4 + [1] * 36, [1] * 40)
    (tmp_path / "3.mp4").write_bytes((tmp_path / "39.mp4").read_bytes())

    checks = checks_of(answers, majority=1)

    warned = {title for title, check in checks.items() if check.level == "warning"}
    assert warned == {
        "Better than always the same answer",
        "Equal files",
        "Balance of labels",
        "Labels with few clips",
        "Enough clips",
    }
    assert "3.mp4 (fall) = 39.mp4 (stand)" in checks["Equal files"].text
    assert checks["Leakage"].level == checks["Groups"].level == "note"


def test_checks_are_content_with_what_is_good(tmp_path: Path) -> None:
    true = [0, 1] * 60
    answers = answers_of(tmp_path, true, [*true[:110], *(1 - label for label in true[110:])])
    groups = [
        replace(case, sample=replace(case.sample, group=f"camera {i // 2}"))
        for i, case in enumerate(answers.cases)
    ]
    scores = np.where(answers.scores > 0.5, 0.92, 0.08).astype(np.float32)
    evaluation = evaluate_scores(scores, answers.targets, answers.labels)

    good = replace(answers, cases=tuple(groups), scores=scores, evaluation=evaluation)

    assert {title for title, c in checks_of(good).items() if c.level != "fine"} == {"Leakage"}
