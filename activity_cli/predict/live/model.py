"""A model for live video: it scores windows of timesteps, without decoders of its own."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from activity_cli.model.calibration import RejectRule
from activity_cli.model.folder import ModelDescription, load_model
from activity_cli.predict.exported import is_exported, open_exported, read_exported
from activity_cli.predict.file_results import Scan
from activity_cli.predict.local_predictor import export_scan, load_networks, model_scan
from activity_cli.predict.predictor import PredictConfig
from activity_cli.settings import ClipSettings, Stream
from activity_cli.types import FrameRole, Images


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A model that is ready to watch. Use it from one thread at a time."""

    description: ModelDescription
    scan: Scan
    rule: RejectRule | None = None
    """When a window is unknown; None: never."""

    @property
    def gives_ood_score(self) -> bool:
        """Whether it can say how unlike the training clips a window is."""
        return self.scan.ood_score is not None


def load_live_model(name: str | Path, config: PredictConfig | None = None) -> LiveModel:
    """Load a model, ready for live video.

    Args:
        name: a shipped model's name, a run folder, a model folder, an exported file or its folder.
        config: how it is run.

    Raises:
        ActivityError: as `load_predictor`.
    """
    config = config or PredictConfig()
    if is_exported(Path(name)):
        config.check_no_engine(Path(name))
        return _load_export(Path(name))
    model = load_model(name)
    extractor, classifier = load_networks(model, config)
    return LiveModel(
        description=model.description,
        scan=model_scan(extractor, classifier, model.description.labels, model.ood_detector()),
    )


def _load_export(path: Path) -> LiveModel:
    exported = read_exported(path)
    scan = export_scan(open_exported(exported), exported.description)
    return LiveModel(description=exported.description, scan=scan)


def warm_up(model: LiveModel) -> float:
    """Run a model once, because its first run is slow.

    Returns:
        Seconds to compute the features of T timesteps.
    """
    blank = _Blank(model.description.clip)
    model.scan.score(model.scan.see(blank)[None])
    began = time.perf_counter()
    model.scan.see(blank)
    return time.perf_counter() - began


class _Blank:
    """T grey timesteps."""

    def __init__(self, clip: ClipSettings) -> None:
        grey = np.full((clip.num_frames, *clip.picture_shape), 128, np.uint8)
        roles: tuple[FrameRole, ...] = ("frames", "earlier", "later", "flow")
        self.num_timesteps = clip.num_frames
        self.frames: Mapping[FrameRole, Images] = dict.fromkeys(roles, grey)
        self.streams: Mapping[Stream, Images] = dict.fromkeys(clip.streams, grey)
