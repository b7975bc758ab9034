"""Options that several commands share, so that they are spelled and explained once."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from activity_cli.cli.option_groups import option, with_option_groups
from activity_cli.common.paths import default_cache_dir
from activity_cli.features.engines.choice import Engine, Precision, choose_engine

if TYPE_CHECKING:
    from activity_cli.video.decoder_pool import Decoders

__all__ = ["with_option_groups"]

Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Folder with one folder of clips per label, or a CSV."),
]
MODEL_HELP = "Run folder, model folder, exported file, or a shipped model's name."

_OUTPUT = "Output"
Overwrite = Annotated[
    bool, option("--overwrite", panel=_OUTPUT, text="Replace an existing output.")
]
Json = Annotated[bool, option("--json", panel=_OUTPUT, text="Print the result as JSON.")]
Quiet = Annotated[bool, option("--quiet", "-q", panel=_OUTPUT, text="No progress, no notes.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.", min=0)]

Background = Annotated[
    str | None,
    typer.Option("--background-label", help="Label of the clips in which nothing happens."),
]
Reject = Annotated[
    str,
    typer.Option(
        help="What is called unknown: auto (the model's own rule), off, or a lowest score.",
        metavar="auto|off|SCORE",
    ),
]

TestViews = Annotated[
    int,
    typer.Option(
        help="Views of each clip, mirrored and at other times, whose scores are averaged.", min=1
    ),
]

READING = "Reading videos"


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What computes here: no effect on what a model is."""

    engine: Annotated[
        Literal["auto", "openvino", "onnx", "torch"],
        option(panel=READING, text="What computes; auto: torch on a GPU, else OpenVINO."),
    ] = "auto"
    device: Annotated[
        str, option(panel=READING, text="auto, cpu, cuda, cuda:1 or mps.", metavar="DEVICE")
    ] = "auto"
    precision: Annotated[
        Precision,
        option(panel=READING, text="Of the CNN; auto takes the fastest that is safe here."),
    ] = "auto"
    cache_dir: Annotated[
        Path | None,
        option(
            panel=READING,
            text="Where features and prepared networks are kept.",
            envvar="ACTIVITY_CACHE_DIR",
            show_default="the user's cache folder",
        ),
    ] = None

    @property
    def cache(self) -> Path:
        """The cache folder to use."""
        return self.cache_dir or default_cache_dir()

    def choose_engine(self) -> Engine:
        """The engine to use.

        Raises:
            SettingsError: the wishes do not go together, or there is no such device.
        """
        return choose_engine(self.engine, device=self.device, precision=self.precision)

    def asked_engine(self) -> Engine | None:
        """The engine to use, or None where no option asks for anything.

        Raises:
            SettingsError: as `choose_engine`.
        """
        wishes = (self.engine, self.device, self.precision)
        return None if set(wishes) == {"auto"} else self.choose_engine()


@dataclass(frozen=True, kw_only=True)
class MachineOptions(EngineOptions):
    """How this machine reads videos: no effect on what a model is."""

    workers: Annotated[
        int | None,
        option(panel=READING, text="Videos decoded at a time.", min=1, show_default="one per core"),
    ] = None
    decoder_threads: Annotated[
        int | None,
        option(
            panel=READING,
            text="Decoder threads per video.",
            min=1,
            show_default="1, and all cores for a single video",
        ),
    ] = None
    timeout: Annotated[
        float | None,
        option(
            panel=READING,
            text="Seconds that the decoding of one file may take.",
            show_default="600, and 4 per MB",
        ),
    ] = None

    def decoders(self, *, num_cores: int | None = None) -> "Decoders":
        """How videos are decoded.

        Args:
            num_cores: that they are to keep to, if this process has not the whole machine.
        """
        from activity_cli.video.decoder_pool import Decoders

        num_workers = self.workers or num_cores
        own = {} if num_workers is None else {"num_workers": num_workers}
        # A video that is alone would take all cores of the machine.
        num_threads = self.decoder_threads or (None if num_cores is None else 1)
        return Decoders(**own, num_threads=num_threads, timeout_seconds=self.timeout)
