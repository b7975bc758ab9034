"""How long models take per clip on this machine: the CNN and the LSTM, decoding left aside."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from activity_cli.features.engines.choice import Engine
from activity_cli.features.engines.protocol import Classifier, Extractor, OnPrepare
from activity_cli.model.folder import Model, load_model
from activity_cli.predict.model_predictor import load_networks

_ROUNDS = 5


def ms_per_clip(
    folders: Sequence[Path], engine: Engine, *, cache_dir: Path, on_prepare: OnPrepare
) -> Mapping[Path, float]:
    """Milliseconds that each model takes for one clip, the best of several rounds.

    The models take turns, so that whatever else the machine does slows all of them alike.

    Args:
        folders: model folders.
        engine: what computes.
        cache_dir: where prepared networks are kept.
        on_prepare: told when a network is prepared.

    Raises:
        ModelError: a model cannot be read.
        BackboneError: a CNN's weights are not to be had.
    """
    models = {folder: load_model(folder) for folder in folders}
    networks = {
        folder: load_networks(model, engine, cache_dir=cache_dir, on_prepare=on_prepare)
        for folder, model in models.items()
    }
    best = dict.fromkeys(folders, float("inf"))
    for number in range(_ROUNDS + 1):
        for folder, model in models.items():
            seconds = _seconds(model, *networks[folder])
            if number:  # the first round warms up
                best[folder] = min(best[folder], 1000 * seconds)
    return best


def _seconds(model: Model, extractor: Extractor, classifier: Classifier) -> float:
    """Time for one clip of noise; what a picture shows makes no difference to the time."""
    num_streams, num_frames, _ = shape = model.description.feature_shape
    side = model.description.clip.frame_size
    size = (num_streams * num_frames, side, side, 3)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    started = time.perf_counter()
    features = extractor.extract(images)  # (S * T, D)
    classifier.classify(features.astype(np.float16).reshape(1, *shape))
    return time.perf_counter() - started
