"""Options that several commands share."""

import json as jsonlib
import shlex
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from activity_cli.cli.completion import complete_model
from activity_cli.features.engines.choice import Precision
from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from activity_cli.data.dataset import Dataset
    from activity_cli.features.engines.protocol import OnPrepare
    from activity_cli.predict.predictor import PredictConfig
    from activity_cli.video.decoder_pool import Decoders

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Folder with one folder of clips per label, a CSV, or an annotation file.",
    ),
]
Videos = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of the videos that a CSV or an annotation file names.",
        hidden=True,
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE", help="Videos, folders, globs, lists (.txt, .csv), or - for stdin."
    ),
]
_model = partial(typer.Argument, metavar="MODEL", autocompletion=complete_model)
Model = Annotated[str, _model(help="Run folder, model folder, or name of a shipped model.")]
ModelOrExport = Annotated[
    str, _model(help="Run folder, model folder, exported file, or name of a shipped model.")
]

_output = partial(typer.Option, rich_help_panel="Output")
Overwrite = Annotated[bool, _output("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, _output("--json", help="Print the result as JSON.")]
Quiet = Annotated[
    int,
    _output(
        "--quiet",
        "-q",
        count=True,
        show_default=False,
        help="Show no progress and no notes; -qq no warnings either.",
    ),
]
Open = Annotated[bool, _output("--open", help="Open report.html in the browser.")]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Folder for report.html, metrics.json, predictions.csv and pictures."
    ),
]
TrustModel = Annotated[
    bool,
    typer.Option(
        "--trust-model",
        hidden=True,
        help="Load an exported torch file, which can run code that it contains.",
    ),
]
_reject = partial(
    typer.Option,
    help="Clips reported as unknown: by the model's thresholds (auto), none, or those below a"
    " score (multi-label: above an OOD score).",
    metavar="auto|off|SCORE",
)
Reject = Annotated[str, _reject()]
RejectByModel = Annotated[str | None, _reject(show_default="off; auto for the included model")]
TestTimeAugmentation = Annotated[
    int,
    typer.Option(
        "--tta",
        help="Test-time augmentation: average the scores of so many versions of each clip, mirrored"
        " and shifted in time.",
        min=1,
        hidden=True,
    ),
]


def print_result(values: Any, show: "Callable[[], RenderableType]", *, json: bool) -> None:
    """Print a result to stdout: its values as JSON, or for people."""
    if json:
        typer.echo(jsonlib.dumps(values, indent=2))
        return
    from activity_cli.report.terminal.console import results_console

    shown = show()
    if isinstance(shown, str):
        typer.echo(shown)  # a path stays on one line
    else:
        results_console().print(shown)


def check_data(
    data: Path,
    *,
    background: str | None = None,
    min_labels: int = 2,
    videos: Path | None = None,
    multi_label: bool | None = False,
) -> "Dataset":
    """Read labelled data before anything heavy is imported; a DataError if it cannot be used."""
    from activity_cli.data.loading import load_dataset

    dataset = load_dataset(data, min_labels=min_labels, videos=videos, multi_label=multi_label)
    dataset.check_label(background)
    return dataset


def check_model(name: str) -> None:
    """Raise a ModelError where there is no such model, before anything heavy is imported."""
    from activity_cli.model.folder import find_model
    from activity_cli.predict.exported import is_exported
    from activity_cli.settings import KINETICS600

    if name != KINETICS600 and not is_exported(Path(name)):
        find_model(name)


def open_report(folder: Path | None, *, wanted: bool) -> None:
    """Open the report in the browser, if there is one."""
    if wanted and folder is not None:
        import webbrowser

        from activity_cli.report.terminal.evaluation import REPORT_FILE

        webbrowser.open((folder / REPORT_FILE).absolute().as_uri())


def print_note(line: str, *, quiet: int) -> None:
    """Print a line about a result to stderr."""
    from activity_cli.report.terminal.console import messages_console

    if not quiet:
        messages_console().print(line, style="dim", markup=False)


def this_command() -> str:
    """Return the command line of this process, quoted for a shell."""
    return shlex.join(["activity", *sys.argv[1:]])


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What computes the CNN. It has no effect on what a model is."""

    engine: Literal["auto", "openvino", "onnx", "torch"] = setting("auto", rare=True)
    """Inference engine; auto is torch on a GPU, else OpenVINO."""
    device: str = setting("auto", metavar="DEVICE", envvar="ACTIVITY_DEVICE")
    """Device: cpu, cuda, cuda:1 or mps."""
    precision: Precision = setting("auto", rare=True)
    """Precision of the CNN; auto is the fastest one that is safe on this machine."""
    cache_dir: Path | None = setting(
        None,
        envvar="ACTIVITY_CACHE_DIR",
        is_local=True,
        derived="the user's cache folder",
        metavar="FOLDER",
        rare=True,
    )
    """Folder for cached features and prepared networks."""

    def predict_config(self, on_prepare: "OnPrepare") -> "PredictConfig":
        """Return how a model is run here; further settings by `dataclasses.replace`."""
        from activity_cli.predict.predictor import PredictConfig

        return PredictConfig(
            cache_dir=self.cache_dir,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            on_prepare=on_prepare,
        )


@dataclass(frozen=True, kw_only=True)
class MachineOptions(EngineOptions):
    """How this machine reads videos. It has no effect on what a model is."""

    workers: int | None = setting(None, at_least=1, derived="one per core", rare=True)
    """Videos decoded at the same time."""
    decoder_threads: int | None = setting(
        None, at_least=1, derived="1, and all cores for a single video", rare=True
    )
    """Decoder threads per video."""
    timeout: float | None = setting(None, derived="600, and 4 per MB", metavar="SECONDS", rare=True)
    """Seconds that the decoding of one file may take."""

    def predict_config(self, on_prepare: "OnPrepare") -> "PredictConfig":
        """Return how a model is run here, and how videos are decoded for it."""
        return replace(super().predict_config(on_prepare), decoders=self.decoders())

    def decoders(self, *, num_cores: int | None = None) -> "Decoders":
        """Return how videos are decoded."""
        from activity_cli.video.decoder_pool import Decoders

        num_workers = self.workers or num_cores
        own = {} if num_workers is None else {"num_workers": num_workers}
        # Without a number, the only video of a batch takes all cores of the machine.
        num_threads = self.decoder_threads or (None if num_cores is None else 1)
        return Decoders(**own, num_threads=num_threads, timeout_seconds=self.timeout)
