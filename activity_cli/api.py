"""Prediction from Python: `from activity_cli import load_model`.

Nothing heavy is imported before a model is loaded, and no torch where OpenVINO computes.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from activity_cli.features.engines.choice import Precision
    from activity_cli.predict.predictor import Predictor
    from activity_cli.types import FileResult


class ActionModel(AbstractContextManager["ActionModel"]):
    """A model ready to recognize actions. Made by `load_model`; a context manager.

    Worker processes decode for it until it is closed, or the program ends. For calls from one
    thread at a time.
    """

    def __init__(self, predictor: "Predictor") -> None:
        self._predictor = predictor
        self.name: str = predictor.description.name
        self.labels: tuple[str, ...] = predictor.description.labels
        """The actions that it can recognize, in the order of `Prediction.scores`."""

    def predict(self, path: str | PathLike[str]) -> "FileResult":
        """Recognize the action in a video.

        An unreadable file raises nothing: its result has a status, a reason and no prediction, as
        in a batch.

        Returns:
            `status`, `prediction` (`label`, `score`, `scores` (C,), `top(k)`) or None,
            `duration_seconds` and `num_frames` as decoded.
        """
        [result] = self.predict_many([path])
        return result

    def predict_many(self, paths: Iterable[str | PathLike[str]]) -> Iterator["FileResult"]:
        """Yield one result per path, in order, in flat memory; several are decoded at once."""
        from activity_cli.features.extraction import ClipRequest

        return self._predictor.predict(ClipRequest(path=Path(path)) for path in paths)

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes that decode."""
        self._predictor.close()


def load_model(
    model: str | PathLike[str] | None = None,
    *,
    engine: Literal["auto", "openvino", "onnx", "torch"] = "auto",
    device: str = "auto",
    precision: "Precision" = "auto",
    workers: int | None = None,
    timeout_seconds: float | None = None,
    labels: Iterable[str] | None = None,
    unknown: bool = False,
    whole: bool = False,
    window_seconds: float | None = None,
    stride_seconds: float | None = None,
    tta: int = 1,
    remember: bool = True,
    trust_model: bool = False,
    cache_dir: str | PathLike[str] | None = None,
) -> ActionModel:
    """Load a model, ready to recognize actions.

    Args:
        model: a shipped model's name, kinetics600, a run folder, a model folder or an exported
            file; None is kinetics600 if its weights are on this machine, else surveillance-fight.
        engine: auto is torch on a GPU, else OpenVINO.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: of the CNN; auto is the fastest that is safe here.
        workers: videos decoded at a time; None is one per core.
        timeout_seconds: longest time to decode a file; None is 600, and 4 per MB.
        labels: report these labels only, each `label` or `label=name`; None is all.
        unknown: with `labels`, report the score of all others as `unknown`.
        whole: score every video as one clip, however long it is.
        window_seconds: length of the windows over longer videos; None is the length of the
            training clips.
        stride_seconds: from one window to the next; None is a quarter of a window.
        tta: views of each clip whose scores are averaged (test-time augmentation).
        remember: whether features are read from the cache and written to it.
        trust_model: whether an exported torch file may be loaded: that can run code in it.
        cache_dir: for features and prepared networks; None is the user's cache folder.

    Raises:
        ActivityError: there is no such model, or it cannot run here as requested; `message` says
            why and `hint` what to do.
    """
    from activity_cli.model.kinetics600 import default_model
    from activity_cli.predict.label_selection import LabelSelection
    from activity_cli.predict.predictor import PredictConfig, WindowConfig, load_predictor
    from activity_cli.video.decoder_pool import AUTO_DECODERS

    decoders = replace(AUTO_DECODERS, timeout_seconds=timeout_seconds)
    windows = WindowConfig(window_seconds=window_seconds, stride_seconds=stride_seconds)
    config = PredictConfig(
        cache_dir=None if cache_dir is None else Path(cache_dir),
        use_cache=remember,
        engine=engine,
        device=device,
        precision=precision,
        decoders=decoders if workers is None else replace(decoders, num_workers=workers),
        labels=None if labels is None else LabelSelection(tuple(labels), unknown),
        windows=None if whole else windows,
        tta=tta,
        trust_model=trust_model,
    )
    model = default_model() if model is None else model
    return ActionModel(load_predictor(model if isinstance(model, str) else Path(model), config))
