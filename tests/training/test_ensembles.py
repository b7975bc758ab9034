"""The networks of a cross-validation as one model: the mean of its members, wherever it runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from activity_cli.errors import ModelError
from activity_cli.features.engines.choice import Engine, load_classifier
from activity_cli.model.folder import Model, load_model, save_model
from activity_cli.model.network import Ensemble
from activity_cli.predict.local_predictor import load_scorer
from tests.workplace import QUICK, Workplace, rows_of

NUM_MEMBERS = 3


@pytest.fixture(scope="module")
def kept(shared: Workplace) -> Workplace:
    """The shared workplace with `runs/three`, an ensemble of the drawn clips."""
    where = ("--folds", str(NUM_MEMBERS), "--output", "runs/three")
    shared.run("crossval", "clips", *where, "--ensemble", *QUICK)
    return shared


def outspoken(model: Model, folder: Path) -> Model:
    """The same model with random weights: members that differ, LSTMs that speak."""
    rng = np.random.default_rng(0)
    weights = {
        name: tensor
        if name.endswith(("mean", "scale", "components"))
        else rng.normal(scale=0.02, size=tensor.shape).astype(np.float32)
        for name, tensor in sorted(model.weights().items())  # a file has no order
    }
    return save_model(folder, model.description, weights)


def mean_of_members(model: Model, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the model should say: each member on its own, then the mean of their logits."""
    ensemble = load_scorer(model).classifier
    assert isinstance(ensemble, Ensemble)
    assert len(ensemble.members) == NUM_MEMBERS
    with torch.no_grad():
        logits = np.stack([m(torch.from_numpy(features)).numpy() for m in ensemble.members])
    temperature = model.description.temperature
    each, mean = softmax(logits / temperature), softmax(logits.mean(axis=0) / temperature)
    for alone in each:  # or the test would pass with one of them
        assert np.abs(alone - mean).max() > 0.01
    return mean


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnx", "torch"])
def test_every_engine_gives_the_mean_of_the_members(
    kept: Workplace, tmp_path: Path, engine: str
) -> None:
    model = outspoken(load_model(kept.folder / "runs/three"), tmp_path / "model")
    shape = model.description.feature_shape
    features = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    classifier = load_classifier(
        lambda: load_scorer(model),
        Engine(name=engine, device="cpu"),  # type: ignore[arg-type]
        key=model.identity,
        cache_dir=tmp_path,
        example_shape=(1, *shape),
    )

    np.testing.assert_allclose(
        classifier.classify(features), mean_of_members(model, features), atol=1e-5
    )


@pytest.mark.slow
def test_an_ensemble_predicts_exports_and_says_what_it_is(
    kept: Workplace, workplace: Workplace
) -> None:
    run = kept.folder / "runs/three"
    clips = [str(clip) for clip in sorted((kept.folder / "clips/wave").iterdir())[:2]]
    where = ("--output", "exported", "--verify", clips[0])
    workplace.run("export", str(run), "--format", "torchscript", *where)
    # The gate let it pass; and predict says the same with both.
    scores = []
    for number, model in enumerate((str(run), "exported/torchscript")):
        rows = f"{number}.csv"
        options = ("--output", rows, "--all-scores", "--trust-model")
        workplace.run("predict", *clips, "--model", model, *options)
        scores.append(
            [
                [float(v) for k, v in row.items() if k.startswith("score:")]
                for row in rows_of(workplace.folder / rows)
            ]
        )
    assert np.abs(np.array(scores[0]) - np.array(scores[1])).max() < 1e-2

    description = load_model(run).description
    metrics = json.loads((run / "metrics.json").read_text())
    card = (run / "model" / "README.md").read_text()
    assert description.metrics["accuracy"] == metrics["accuracy"]
    assert "by the one member that was not trained on it" in " ".join(card.split())
    assert f"An ensemble of {NUM_MEMBERS} such networks" in " ".join(card.split())
    assert load_model(run).ood_detector() is not None
    assert json.loads((run / "model" / "model.json").read_text())["format_version"] == 2


@pytest.mark.slow
def test_members_that_are_missing_are_named_as_damage(tmp_path: Path, kept: Workplace) -> None:
    model = load_model(kept.folder / "runs/three")
    weights = {k: v for k, v in model.weights().items() if not k.startswith("members.1.")}
    with pytest.raises(ModelError, match="do not fit the network"):
        load_scorer(save_model(tmp_path / "model", model.description, weights))


def test_without_a_place_it_is_refused_before_the_work(workplace: Workplace) -> None:
    said = workplace.run("crossval", "nowhere", "--ensemble", code=2)
    assert "--output" in said.stderr
