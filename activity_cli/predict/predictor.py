"""Videos + model -> one result per file. No torch once the CNN and the model are prepared."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription, load_model
from activity_cli.predict.config import PredictConfig
from activity_cli.predict.exported.loading import is_exported, read_exported
from activity_cli.predict.exported_predictor import ExportPredictor
from activity_cli.predict.model_predictor import ModelPredictor
from activity_cli.settings import SegmentSettings
from activity_cli.types import FileResult
from activity_cli.video.augmentation import describe_cost


class Predictor(Protocol):
    """A model ready to score videos. Made by `load_predictor`."""

    description: ModelDescription
    provenance: Mapping[str, str]
    """What its results depend on: the model, and what computes it."""
    gives_novelty: bool
    """Whether results have an out-of-distribution score."""
    segments: SegmentSettings
    """How scores become segments."""

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request, in order; a video without frames has it in its status.

        Args:
            requests: read as they are needed.
            stop: once it is set, requests that are not begun are left out.
        """
        ...

    def close(self) -> None:
        """End the worker processes that decode."""
        ...


def load_predictor(name: str | Path, config: PredictConfig | None = None) -> Predictor:
    """Load a model, ready to score videos.

    Args:
        name: a shipped model's name, a run folder, a model folder, an exported file or its folder.
        config: how it is run.

    Raises:
        ModelError: there is no such model, or it is damaged.
        BackboneError: the CNN's weights are not available, and it was not prepared before.
        SettingsError: the engine is not available here or cannot run this model; windows or views
            are not possible.
        MissingExtraError: the engine is not installed.
    """
    config = config or PredictConfig()
    path = Path(name)
    predictor: Predictor
    if is_exported(path):
        config.check_no_engine(path)
        predictor = ExportPredictor(read_exported(path), config)
    else:
        predictor = ModelPredictor(load_model(name), config)
    if cost := describe_cost(predictor.provenance, slides=config.windows is not None):
        config.on_prepare(cost)
    return predictor
