"""How a model is run: one object from the command line, Python or a cluster to the predictor."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from activity_cli.common.cache import default_cache_dir
from activity_cli.errors import SettingsError
from activity_cli.features.engines.choice import Engine, Precision, choose_engine
from activity_cli.features.engines.protocol import OnPrepare
from activity_cli.predict.long_video import OnSeconds, no_seconds
from activity_cli.settings import SegmentSettings
from activity_cli.video.decoder_pool import AUTO_DECODERS, Decoders


def no_note(note: str) -> None:
    """Ignore a note. A module-level function, so that a config can be pickled."""
    del note


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """How windows slide over videos that are longer than a clip."""

    window_seconds: float | None = None
    """Length of a window; None takes the length of the training clips."""
    stride_seconds: float | None = None
    """From the start of a window to the start of the next; None is a quarter of a window."""
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    """How the windows' scores become segments."""
    on_seconds: OnSeconds = no_seconds
    """Called with how far a long video has been scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """How a model is run. It can be pickled unless a callback prevents it.

    `engine`, `device` and `precision` are requests: `choose_engine` decides what is possible.
    """

    cache_dir: Path | None = None
    """Folder of prepared networks and cached features; None is the user's cache folder."""
    use_cache: bool = True
    """Whether features are read from the cache and written to it."""
    engine: Literal["auto", "openvino", "onnx", "torch"] = "auto"
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Precision = "auto"
    """Of the CNN."""
    decoders: Decoders = AUTO_DECODERS
    windows: WindowConfig | None = None
    """None scores every video as one clip, however long it is."""
    tta: int = 1
    """Views of each clip whose scores are averaged (test-time augmentation); 1 is the plain clip.
    Windows over longer videos are scored without it."""
    on_prepare: OnPrepare = no_note
    """Called with one line when something slow is prepared, and with the cost of `tta`."""

    @property
    def cache_folder(self) -> Path:
        """The folder to use, also where none was given."""
        return self.cache_dir or default_cache_dir()

    def choose_engine(self) -> Engine:
        """Return the engine to use: the requested one, else the fastest of this machine.

        Raises:
            SettingsError: the requests contradict each other, or there is no such device.
        """
        return choose_engine(self.engine, device=self.device, precision=self.precision)

    def check_no_engine(self, path: Path) -> None:
        """Check that no engine is requested for an exported model.

        Raises:
            SettingsError: one is requested.
        """
        if {self.engine, self.device, self.precision} != {"auto"}:
            raise SettingsError(
                f"{path} is an exported model: it runs in its own runtime and precision.",
                hint="Remove --engine, --device and --precision.",
            )
