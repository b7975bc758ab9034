"""Videos + model -> one result per file. No torch once the CNN and the model are prepared."""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from activity_cli.features.engines.choice import Engine, choose_engine
from activity_cli.features.engines.protocol import OnPrepare
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription, load_model
from activity_cli.predict.exported.loading import is_exported, read_exported, refuse_engine
from activity_cli.predict.exported_predictor import ExportPredictor
from activity_cli.predict.model_predictor import ModelPredictor
from activity_cli.predict.sliding import Sliding
from activity_cli.settings import SegmentSettings
from activity_cli.types import FileResult, Status
from activity_cli.video.augmentation import describe_cost
from activity_cli.video.decoder_pool import AUTO_DECODERS, Decoders


class Predictor(Protocol):
    """A model ready to score videos. Made by `load_predictor`."""

    description: ModelDescription
    provenance: Mapping[str, str]
    """What its scores depend on: the model, and what computes it."""
    gives_novelty: bool
    """Whether results say how unlike the training clips a video is."""
    segments: SegmentSettings
    """How scores become segments."""

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """One result per request, in order; a video that gives no frames says so in its status.

        Args:
            requests: read as they are needed.
            stop: once it is set, requests that are not begun are left out.
        """
        ...

    def close(self) -> None:
        """End the processes that decode."""
        ...


def load_predictor(
    name: str | Path,
    *,
    cache_dir: Path,
    engine: Engine | None = None,
    remember: bool = True,
    decoders: Decoders = AUTO_DECODERS,
    sliding: Sliding | None = None,
    test_views: int = 1,
    on_prepare: OnPrepare = lambda _: None,
) -> Predictor:
    """Load a model with what computes it.

    Args:
        name: a shipped model's name, a run folder, a model folder, an exported file or its folder.
        cache_dir: folder of prepared networks and cached features.
        engine: what computes; None takes the fastest that this machine has.
        remember: whether features are looked up in the cache and kept there.
        decoders: how many videos are decoded at a time.
        sliding: how windows slide over videos that are longer than a clip; None takes every
            video as one clip.
        test_views: views of each clip whose scores are averaged: mirrored, and at other times.
            Windows over longer videos are scored as they are.
        on_prepare: told in one line when something is prepared that later runs find ready, and
            what test-time views cost.

    Raises:
        ModelError: there is no such model, or it is damaged.
        BackboneError: the CNN's weights are not to be had, and it was not prepared before.
        SettingsError: the engine does not compute that here, or not this model; or there are not
            so many views.
        MissingExtraError: what computes is not installed.
    """
    path = Path(name)
    predictor: Predictor
    if is_exported(path):
        refuse_engine(path, engine)
        predictor = ExportPredictor(
            read_exported(path), decoders=decoders, sliding=sliding, test_views=test_views
        )
    else:
        predictor = ModelPredictor(
            load_model(name),
            engine or choose_engine(),
            cache_dir=cache_dir,
            remember=remember,
            decoders=decoders,
            sliding=sliding,
            test_views=test_views,
            on_prepare=on_prepare,
        )
    if cost := describe_cost(predictor.provenance, slides=sliding is not None):
        on_prepare(cost)
    return predictor


@dataclass(slots=True)
class Tally:
    """Counts results as they come, so that none needs to be kept for the summary."""

    by_status: Counter[Status] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    first_failures: list[FileResult] = field(default_factory=list)
    """The first few files without a score."""
    num_unknown: int = 0
    """Files with a score that were called unknown."""

    _MOST_FAILURES: ClassVar[int] = 5

    def add(self, result: FileResult) -> None:
        """Count one result."""
        self.by_status[result.status] += 1
        self.stage_seconds.update(result.stage_seconds)
        self.num_unknown += bool(result.rejected)
        if not result.status.has_score and len(self.first_failures) < self._MOST_FAILURES:
            self.first_failures.append(result)

    @property
    def num_files(self) -> int:
        """All results so far."""
        return self.by_status.total()

    @property
    def num_without_score(self) -> int:
        """Results without a prediction."""
        return sum(n for status, n in self.by_status.items() if not status.has_score)
