"""Videos + model -> one result per file: how a model is run, and what scores with it.

No torch is imported once the CNN and the model are prepared.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from activity_cli.common.cache import default_cache_dir
from activity_cli.errors import ModelError, SettingsError
from activity_cli.features.engines.choice import Engine, Precision, choose_engine
from activity_cli.features.engines.protocol import OnPrepare
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription, load_model
from activity_cli.predict.label_selection import LabelSelection
from activity_cli.settings import SegmentSettings
from activity_cli.types import FileResult
from activity_cli.video.augmentation import describe_cost
from activity_cli.video.decoder_pool import AUTO_DECODERS, Decoders

OnSeconds = Callable[[Path, float, float], None]
"""Called with (path, done, total) seconds of a long video; a total of 0 means it is not known."""


def ignore(*message: object) -> None:
    """Ignore a note or progress; a lambda in its place could not be pickled."""
    del message


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """How windows slide over videos that are longer than a clip."""

    window_seconds: float | None = None
    """Length of a window; None takes the length of the training clips."""
    stride_seconds: float | None = None
    """From the start of a window to the start of the next; None is a quarter of a window."""
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    """How the windows' scores become segments."""
    on_seconds: OnSeconds = ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """How a model is run; `choose_engine` decides which engine, device and precision."""

    cache_dir: Path | None = None
    """Folder of prepared networks and cached features; None is the user's cache folder."""
    use_cache: bool = True  # whether features are read from the cache and written to it
    engine: Literal["auto", "openvino", "onnx", "torch"] = "auto"
    device: str = "auto"  # auto, cpu, cuda, cuda:1 or mps
    precision: Precision = "auto"  # of the CNN
    decoders: Decoders = AUTO_DECODERS
    labels: LabelSelection | None = None  # None reports all labels of the model
    windows: WindowConfig | None = None  # None scores every video as one clip, however long it is
    tta: int = 1
    """Views of each clip whose scores are averaged (test-time augmentation); 1 is the plain clip.
    Windows over longer videos are scored without it."""
    segments_from: str | None = None
    """Model whose segments of a long video a captioner describes; None describes windows."""
    beam: int | None = None  # sentences that a captioner follows; None is the model's own number
    trust_model: bool = False
    """Whether exported torch files may be loaded, which can run code that they contain."""
    first: Path | None = None
    """File that is scored first: if its features are not cached, a decoder starts at once."""
    on_prepare: OnPrepare = ignore
    """Called with one line when something slow is prepared, and with the cost of `tta`."""

    @property
    def cache_folder(self) -> Path:
        """`cache_dir`, or the user's cache folder."""
        return self.cache_dir or default_cache_dir()

    def choose_engine(self) -> Engine:
        """Return the requested engine, else the fastest; a SettingsError if it is not possible."""
        return choose_engine(self.engine, device=self.device, precision=self.precision)

    def check_export(self, path: Path, format: str) -> None:
        """Check that this exported model may be loaded as requested.

        Raises:
            ModelError: its format can run code, and the model is not trusted.
            SettingsError: an engine is requested.
        """
        if {self.engine, self.device, self.precision} != {"auto"}:
            raise SettingsError(
                f"{path} is an exported model: it runs in its own runtime and precision.",
                hint="Remove --engine, --device and --precision.",
            )
        if format in ("torchscript", "torch-export") and not self.trust_model:
            raise ModelError(
                f"{path} is a torch file: loading it can run code that it contains.",
                hint="If you trust its origin, add --trust-model. ONNX, OpenVINO and model folders "
                "run no code.",
            )


class Predictor(Protocol):
    """A model ready to score videos. Made by `load_predictor`."""

    description: ModelDescription
    provenance: Mapping[str, str]  # what its results depend on: the model, and what computes it
    gives_ood_score: bool  # whether results have an out-of-distribution score
    segments: SegmentSettings  # how scores become segments

    def predict(
        self, requests: Iterable[ClipRequest], *, stop: threading.Event | None = None
    ) -> Iterator[FileResult]:
        """Yield one result per request, in order; a video without frames has it in its status.

        Requests are read as they are needed. Once `stop` is set, no further one is begun.
        """
        ...

    def close(self) -> None:
        """End the worker processes that decode."""
        ...


def load_predictor(name: str | Path, config: PredictConfig | None = None) -> Predictor:
    """Load a model: a shipped name, a run or model folder, an exported file or its folder.

    Raises:
        ModelError: there is no such model, or it is damaged.
        BackboneError: the CNN's weights are not available, and it was not prepared before.
        SettingsError: the engine is not available here or cannot run this model; windows, views or
            labels are not possible.
        MissingExtraError: the engine is not installed.
    """
    # These modules import this one.
    from activity_cli.predict.exported import is_exported, read_exported
    from activity_cli.predict.local_predictor import export_predictor, model_predictor

    config = config or PredictConfig()
    path = Path(name)
    predictor: Predictor
    if is_exported(path):
        exported = read_exported(path)
        config.check_export(path, exported.format)
        predictor = export_predictor(exported, config)
    elif (model := load_model(name)).description.captions is not None:
        from activity_cli.predict.describing import CaptionPredictor

        return CaptionPredictor(model, config)
    elif config.segments_from is not None or config.beam is not None:
        raise SettingsError(
            "--segments-from and --beam are for models that describe.",
            hint="`activity train DATA --task describe` trains one.",
        )
    else:
        predictor = model_predictor(model, config)
    if cost := describe_cost(predictor.provenance, slides=config.windows is not None):
        config.on_prepare(cost)
    return predictor
