"""Views as a user meets them: training on them, and scores that are the mean of several."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import load_model
from activity_cli.predict.local_predictor import load_networks
from activity_cli.predict.predictor import PredictConfig, load_predictor
from activity_cli.video.augmentation import PLAIN, tta_views
from activity_cli.video.clips import read_clips
from tests.workplace import QUICK, Workplace


@pytest.mark.slow
def test_views_train_end_to_end(shared: Workplace, workplace: Workplace) -> None:
    for path in sorted((shared.folder / "clips").glob("wa*/*.mp4"))[::3]:  # walk and wave
        copy = workplace.folder / "clips" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())  # plain features are found by the content
    workplace.run("train", "clips", "--name", "with", "--views", "1", *QUICK)

    description = json.loads((workplace.folder / "runs/with/model/model.json").read_text())
    assert description["training"]["augment"]["num_views"] == 1
    assert description["training"]["augment"]["flip"] is True
    settings = (workplace.folder / "runs/with/settings.toml").read_text()
    assert "\nviews = 1\n" in settings
    # The features are there: the same again decodes nothing, and gives the same weights.
    workplace.run("train", "clips", "--settings", "runs/with", "--name", "again", *QUICK)
    weights = [
        (workplace.folder / f"runs/{name}/model/weights.safetensors").read_bytes()
        for name in ("with", "again")
    ]
    assert weights[0] == weights[1]


def test_scores_of_views_are_the_mean_of_the_single_ones(shared: Workplace) -> None:
    model = load_model(shared.folder / "runs" / "first")
    path = sorted((shared.folder / "clips").rglob("*.mp4"))[0]
    labels, settings = model.description.labels, model.description.clip
    views = tta_views(5, labels)
    assert views[0] == PLAIN
    assert len(set(views)) == 5
    config = PredictConfig(cache_dir=shared.cache)
    extractor, classifier = load_networks(model, config)
    single = []
    for clip in read_clips(path, settings, views):
        [seen] = extractor.extract([clip.images])
        stacked = np.stack([seen[stream] for stream in settings.streams])
        single.append(classifier.classify(stacked[None])[0])
    assert np.ptp(single, axis=0).max() > 1e-3  # they differ, so that a mean is something

    notes: list[str] = []
    predictor = load_predictor(model.folder, replace(config, tta=5, on_prepare=notes.append))
    [result] = predictor.predict([ClipRequest(path=path)])
    predictor.close()

    assert result.prediction is not None
    np.testing.assert_allclose(result.prediction.scores, np.mean(single, axis=0), atol=1e-5)
    assert any("mean of 5 views" in note and "5 times the CNN" in note for note in notes)
    with pytest.raises(SettingsError, match="1 to 8 views, not 9"):
        load_predictor(model.folder, replace(config, tta=9))


def test_rows_of_other_views_are_not_mixed(shared: Workplace, workplace: Workplace) -> None:
    model = str(shared.folder / "runs" / "first")
    path = sorted((shared.folder / "clips").rglob("*.mp4"))[0]
    command = ("predict", str(path), "--model", model, "--output", "rows.csv")

    workplace.run(*command)
    refused = workplace.run(*command, "--tta", "2", code=1)
    assert "test-time views" in refused.stderr
    first = Path(workplace.folder / "rows.csv").read_text()

    workplace.run(*command, "--tta", "2", "--overwrite")
    assert Path(workplace.folder / "rows.csv").read_text() != first
    assert "1 scored before" in workplace.run(*command, "--tta", "2").stderr
