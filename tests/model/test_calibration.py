"""Scores that mean what they say, what is called unknown, and the same in every engine."""

import json
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.data.loading import load_dataset
from activity_cli.errors import DataError, ModelError, SettingsError
from activity_cli.evaluation.measurement import evaluate_model
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import Engine, EngineName, load_classifier
from activity_cli.features.extraction import ClipRequest
from activity_cli.features.labelled import DataConfig
from activity_cli.model.calibration import (
    Calibration,
    RejectRule,
    calibrate_out_of_fold,
    choose_rule,
    expected_calibration_error,
    fit_temperature,
    tempered,
)
from activity_cli.model.folder import MODEL_FILE, OOD_FILES, Model, ModelDescription, load_model
from activity_cli.model.network import load_scorer
from activity_cli.model.ood import fit_ood_detector
from activity_cli.predict.predictor import PredictConfig, Predictor, load_predictor
from activity_cli.predict.rejection import decide, is_event, read_rule, with_rejection
from activity_cli.predict.results import RowSchema
from activity_cli.settings import (
    DEFAULT_MODEL,
    ClipSettings,
    SegmentSettings,
    TrainSettings,
)
from activity_cli.training.fitting import Plan, fit_plan
from activity_cli.training.head import HeadConfig
from activity_cli.training.run import save_run
from activity_cli.types import FileResult, Prediction
from tests.media import noise_pictures, write_video

LABELS = ("jump", "walk", "wave")
ENGINE = Engine(name="openvino", device="cpu", precision="fp32")


def sure_scores(
    num_clips: int, sharpness: float, num_labels: int = 4, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores whose logits are `sharpness` times what the targets were really drawn from."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_clips, num_labels)) * 2
    truth = tempered(np.exp(logits), 1.0)
    targets = np.array([rng.choice(num_labels, p=p / p.sum()) for p in truth.astype(np.float64)])
    return tempered(truth, 1 / sharpness), targets


def test_calibration_error_by_hand() -> None:
    # Two bins are used: 0.9 (one of two right, off by 0.4) and 0.6 (right, off by 0.4).
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert expected_calibration_error(scores, np.array([0, 1, 1])) == pytest.approx(0.4)
    # Too sure and too unsure in the same bin make up for each other.
    scores = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert expected_calibration_error(scores, np.array([0, 1])) == pytest.approx(0)
    assert expected_calibration_error(np.eye(2), np.array([0, 1])) == 0


@pytest.mark.parametrize("sharpness", [0.4, 2.5])
def test_a_temperature_undoes_what_made_scores_too_sure_or_too_unsure(sharpness: float) -> None:
    scores, targets = sure_scores(2000, sharpness)

    temperature = fit_temperature(scores, targets)

    assert temperature == pytest.approx(sharpness, rel=0.1)
    after = tempered(scores, temperature)
    assert (after.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert expected_calibration_error(scores, targets) > 0.1
    assert expected_calibration_error(after, targets) < 0.03


def test_few_clips_move_the_temperature_little() -> None:
    # All right at 0.7: without a prior the temperature would go to 0.
    scores = np.tile(np.array([[0.7, 0.3]], np.float32), (200, 1))
    at = {n: fit_temperature(scores[:n], np.zeros(n, np.int64)) for n in (0, 3, 20, 200)}

    assert at[0] == pytest.approx(1)
    assert 0.75 < at[3] < 1
    assert at[3] > at[20] > at[200]
    assert at[20] < 0.65


def test_a_rule_loses_no_more_known_clips_than_promised() -> None:
    lost = []
    for seed in range(20):  # chosen on 60 clips, measured on 2000 others of the same kind
        scores, _ = sure_scores(2060, 1, seed=seed)
        ood_score = np.random.default_rng(seed).gamma(9, 1 / 9, 2060).astype(np.float32)
        rule = choose_rule(scores[:60], ood_score[:60])
        assert rule is not None
        assert rule.rejects(scores[:60], ood_score[:60]).mean() <= 0.05
        lost.append(rule.rejects(scores[60:], ood_score[60:]).mean())
    assert 0.01 < np.mean(lost) < 0.06


def test_a_rule_takes_enough_clips_and_two_labels_go_by_the_ood_score_alone() -> None:
    scores, _ = sure_scores(300, 1)
    ood_score = np.linspace(0.5, 1.5, 300)
    two = tempered(scores[:, :2] + 1e-3, 1)

    assert choose_rule(scores[:18], ood_score[:18]) is None
    assert choose_rule(scores[:19], ood_score[:19]) is not None
    by_both, by_ood = choose_rule(scores, ood_score), choose_rule(two, ood_score)
    by_score = choose_rule(two, None)
    assert by_both is not None
    assert by_both.min_score is not None
    assert by_both.max_ood_score is not None
    assert by_ood is not None
    assert by_ood.min_score is None
    # 11 of 300 are one standard error below 5%; the threshold is the last one that stays.
    assert by_ood.max_ood_score == pytest.approx(np.sort(ood_score)[-12])
    assert by_score is not None
    assert by_score.min_score == pytest.approx(np.sort(two.max(axis=1))[11])


def test_out_of_fold_figures_are_not_of_the_clips_that_they_were_fitted_to() -> None:
    scores, targets = sure_scores(400, 0.4)
    folds = np.arange(400) % 4
    ood_score = np.where(folds == 3, 5.0, 1.0) + np.linspace(0, 0.1, 400)

    calibration, after, _ = calibrate_out_of_fold(scores, targets, ood_score, folds)

    assert calibration.ece_after < 0.06 < calibration.ece_before
    # Nothing in the other folds is like fold 3, so what they say rejects all of it.
    assert calibration.known_lost == pytest.approx(0.25, abs=0.04)
    for fold in range(4):
        own = fit_temperature(scores[folds != fold], targets[folds != fold])
        np.testing.assert_allclose(after[folds == fold], tempered(scores[folds == fold], own))
    back = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    assert back.rule == calibration.rule
    assert back.temperature == calibration.temperature


def test_the_ood_score_is_what_the_training_clips_cannot_express() -> None:
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(4, 2 * 60))  # training clips differ in four ways, and a little noise

    def clips(count: int, away: float) -> NDArray[np.float16]:
        means = rng.normal(size=(count, 4)) @ ways + rng.normal(size=(count, 120)) * 0.3
        means[:, :10] += away
        frames = means.reshape(count, 2, 1, 60) + rng.normal(size=(count, 2, 5, 60)) * 0.1
        return frames.astype(np.float16)

    train = clips(200, 0)
    known = fit_ood_detector(train, np.arange(150))

    new, strange = known.ood_score(train[150:]), known.ood_score(clips(50, 3))
    assert strange.min() > new.max()
    # Far along a way in which training clips differ as well is nothing new.
    far = (train[:20] - train.mean(axis=0)) * 3 + train.mean(axis=0)
    assert known.ood_score(far.astype(np.float16)).max() < strange.min()
    alone = [known.ood_score(train[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(known.ood_score(train[:70])[:3], alone, rtol=1e-5)
    assert known.ood_score(train[:0]).shape == (0,)


def test_one_meaning_of_unknown_and_of_an_event() -> None:
    prediction = Prediction(labels=LABELS, scores=np.array([0.2, 0.2, 0.6], np.float32))
    rule = RejectRule(min_score=0.5, max_ood_score=1.5)

    assert decide(prediction, 2.0, None) == "wave"
    assert decide(prediction, 1.5, rule) == "wave"
    assert decide(prediction, 1.6, rule) == "unknown"
    assert decide(prediction, None, rule) == "wave"
    assert decide(prediction, None, RejectRule(min_score=0.61)) == "unknown"
    many = np.array([[0.2, 0.2, 0.6], [0.4, 0.3, 0.3], [0.9, 0.1, 0.0]], np.float32)
    assert rule.rejects(many, np.array([1.0, 1.0, 2.0])).tolist() == [False, True, True]

    description = replace(load_model(DEFAULT_MODEL).description, background="noFight")
    assert [is_event(x, description) for x in ("fight", "noFight", "unknown")] == [
        *(True, False, False)
    ]
    with pytest.raises(ModelError, match="background label 'rest'"):
        replace(description, background="rest")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    """A folder with `clips`, 14 per label, each label with a colour of its own, and a cache."""
    folder = tmp_path_factory.mktemp("calibration")
    (folder / "cache").symlink_to(prepared)
    for number, label in enumerate(LABELS):
        for clip in range(14):
            pictures = noise_pictures(6, seed=100 * number + clip)
            for picture in pictures:
                picture[..., number] //= 2
            write_video(folder / "clips" / label / f"{clip}.avi", pictures, 10)
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> Model:
    """A model of these labels, `wave` its background, with half of the clips to validate."""
    (place / "run").mkdir()
    plan = Plan(
        data=place / "clips",
        data_config=data_config(place),
        head=HeadConfig(training=TrainSettings(epochs=3)),
        val_fraction=0.5,
        background="wave",
    )
    run = save_run(fit_plan(plan), place / "run")
    model = load_model(place / "run")
    assert model.description.to_json() == run.model.description.to_json()
    return model


def data_config(place: Path) -> DataConfig:
    clip = ClipSettings(num_frames=4, frame_size=64, streams=("rgb",))
    return DataConfig(backbone=find_backbone(), clip=clip, cache_dir=place / "cache", engine=ENGINE)


@pytest.mark.slow
def test_training_calibrates_names_the_background_and_remembers_its_clips(trained: Model) -> None:
    calibration = trained.description.calibration

    assert trained.description.background == "wave"
    assert calibration is not None
    assert calibration.temperature != 1
    assert calibration.fitted_on == "out-of-fold predictions"  # few clips: by inner folds
    assert calibration.measured_on == "test clips"
    assert calibration.rule is not None
    assert calibration.ece_after <= calibration.ece_before
    assert trained.ood_detector() is not None
    assert is_event("walk", trained.description)


def test_a_background_label_without_clips_is_an_error(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="background label 'rest'") as error:
        fit_plan(
            Plan(
                data=place / "clips",
                data_config=data_config(tmp_path),
                head=HeadConfig(),
                background="rest",
            )
        )
    assert "jump, walk, wave" in (error.value.hint or "")


@pytest.mark.parametrize("name", ["openvino", "torch"])  # onnx is in the exports' tests
def test_every_engine_applies_the_temperature(
    trained: Model, name: EngineName, tmp_path: Path
) -> None:
    weights, found = trained.weights(), trained.description.calibration
    assert found is not None
    calibration = replace(found, temperature=2.0)
    trained = replace(trained, description=replace(trained.description, calibration=calibration))
    noise = np.random.default_rng(0).normal(size=(3, *trained.description.feature_shape))
    features = weights["mean"][:, :1] + weights["scale"][:, :1] * noise
    plain = replace(trained, description=replace(trained.description, calibration=None))
    assert plain.identity != trained.identity  # or an engine would find the wrong one prepared

    given = {}
    for model in (plain, trained):
        classifier = load_classifier(
            lambda model=model: load_scorer(model),  # type: ignore[misc]
            Engine(name=name, device="cpu", precision="fp32"),
            key=model.identity,
            cache_dir=tmp_path,
            example_shape=(1, *model.description.feature_shape),
        )
        given[model.identity] = classifier.classify(features)

    expected = tempered(given[plain.identity], trained.description.temperature)
    np.testing.assert_allclose(given[trained.identity], expected, atol=1e-5)
    assert np.abs(expected - given[plain.identity]).max() > 0.01


def config_of(place: Path) -> PredictConfig:
    return PredictConfig(cache_dir=place / "cache", engine="openvino", precision="fp32")


@pytest.fixture(scope="module")
def predictor(trained: Model, place: Path) -> Predictor:
    """The trained model, ready."""
    return load_predictor(trained.folder, config_of(place))


def test_rejecting_keeps_scores_and_statuses_and_says_why(
    predictor: Predictor, place: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    clip = next((place / "clips" / "walk").glob("*.avi"))
    requests = [ClipRequest(path=path) for path in (clip, broken)]
    plain = list(predictor.predict(requests))
    assert plain[0].prediction is not None
    judged = with_rejection(predictor, f"{plain[0].prediction.score + 1e-3:.6f}")

    results = list(judged.predict(requests))

    row, before = RowSchema().row(results[0]), RowSchema().row(plain[0])
    assert before["label"] in LABELS
    assert row["label"] == "unknown"
    assert f"closest: {before['label']}" in row["reason"]
    same = set(row) - {"label", "reason"}
    assert {key: row[key] for key in same} == {key: before[key] for key in same}
    assert results[1] == plain[1]
    assert judged.provenance != predictor.provenance  # rows of both are never mixed
    assert with_rejection(predictor, "off") is predictor


def test_evaluating_with_rejection_measures_those_that_are_left(
    predictor: Predictor, place: Path
) -> None:
    dataset = load_dataset(place / "clips")
    plain = evaluate_model(predictor, dataset)
    best = plain.predictions.scores.max(axis=1)
    middle = float(np.median(best))
    judged = with_rejection(predictor, str(middle))

    measured = evaluate_model(judged, dataset, rejects=True)

    assert plain.rejected is None
    assert measured.rejected is not None
    np.testing.assert_array_equal(measured.rejected, best < middle)
    np.testing.assert_array_equal(measured.predictions.scores, plain.predictions.scores)
    right = plain.predictions.is_correct
    assert measured.accuracy_of_accepted == pytest.approx(right[best >= middle].mean())


def test_the_shipped_model_knows_what_it_does_not_know(place: Path) -> None:
    # Noise is like no surveillance video, whatever its score.
    shipped = load_predictor(DEFAULT_MODEL, config_of(place))
    noise = write_video(place / "noise.mp4", noise_pictures(20, (96, 72)), 10)

    (result,) = with_rejection(shipped, "auto").predict([ClipRequest(path=noise)])

    assert result.label == "unknown"
    assert "unlike the training clips" in result.rejected


def test_a_folder_of_before_calibration_loads_and_says_what_is_missing(
    trained: Model, place: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(trained.folder, tmp_path / "old")
    values = json.loads((old / MODEL_FILE).read_text())
    for name in ("calibration", "background", "ood_sha256"):
        del values[name]
    (old / MODEL_FILE).write_text(json.dumps(values))
    (old / OOD_FILES[0]).unlink()

    predictor = load_predictor(old, config_of(place))

    clip = next((place / "clips" / "walk").glob("*.avi"))
    (result,) = predictor.predict([ClipRequest(path=clip)])
    assert result.prediction is not None
    assert result.ood_score is None
    with pytest.raises(SettingsError, match="no thresholds for unknown"):
        read_rule("auto", predictor.description, gives_ood_score=predictor.gives_ood_score)


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_damaged_memory_of_the_clips_is_an_error(
    trained: Model, tmp_path: Path, damage: str
) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "damaged")
    if damage == "gone":
        (folder / OOD_FILES[0]).unlink()
    else:
        content = bytearray((folder / OOD_FILES[0]).read_bytes())
        content[-1] ^= 1
        (folder / OOD_FILES[0]).write_bytes(content)

    with pytest.raises(ModelError, match=OOD_FILES[0]):
        load_model(folder).ood_detector()


class ScoresOnly:
    """A predictor that gives no out-of-distribution score, as an exported file does."""

    gives_ood_score = False
    segments = SegmentSettings()

    def __init__(self, description: ModelDescription) -> None:
        self.provenance: Mapping[str, str] = {}
        self.description = description

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("most", "is not possible"),
        ("1.5", "is not possible"),
        ("nan", "is not possible"),
        ("0.3", "is never below"),
        ("auto", "features"),
    ],
)
def test_what_cannot_be_asked_for_is_said(trained: Model, asked: str, says: str) -> None:
    calibration = trained.description.calibration
    assert calibration is not None
    only_ood = replace(calibration, rule=RejectRule(max_ood_score=1.0))
    description = replace(trained.description, calibration=only_ood)

    with pytest.raises(SettingsError, match=says):
        read_rule(asked, description, gives_ood_score=False)


def test_too_few_clips_for_a_rule_are_said_with_their_number(trained: Model) -> None:
    calibration = trained.description.calibration
    assert calibration is not None
    few = replace(calibration, rule=None, num_clips=7)
    with pytest.raises(
        SettingsError, match="choosing one takes 19 out-of-fold predictions, and there were 7"
    ):
        read_rule("auto", replace(trained.description, calibration=few), gives_ood_score=False)
