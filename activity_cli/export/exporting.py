"""Export a model: convert it, compare each file with torch, and keep only what passes."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activity_cli.common.files import new_folder, output_error, write_json, write_text_atomically
from activity_cli.common.optional_dependencies import import_nncf, require_onnx
from activity_cli.errors import ExportError, ModelError
from activity_cli.export.parity import Parity, ParityInputs, compare, make_inputs, read_clips
from activity_cli.export.quantize import pick_images
from activity_cli.export.readme import write_readme
from activity_cli.model.folder import Model
from activity_cli.predict.exported import open_exported, read_exported
from activity_cli.predict.exported.metadata import Format, Precision
from activity_cli.settings import ClipSettings
from activity_cli.types import ClipFrames, Images, OnProgress, no_progress
from activity_cli.video.clips import make_streams

if TYPE_CHECKING:
    from activity_cli.export.formats import Converter

REPORT_FILE = "report.json"
_TORCH_FORMATS = ("torchscript", "torch-export")
_SUMMARY = ("largest_difference", "mean_difference", "num_clips", "num_same_label", "failure")
"""Properties of a `Parity` that the report has beside its fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """How a model is exported."""

    formats: Sequence[Format]
    precision: Precision = "fp32"
    """How weights are stored. int8 also computes the CNN in 8-bit integers."""
    dynamic: bool = True
    """Whether an export takes any number of clips and frames, or 1 clip of T frames."""
    split: bool = False  # whether the CNN and the classifier become two graphs

    def check(self) -> None:
        """Check what can be checked before minutes of work.

        Raises:
            ExportError: a format does not have that precision.
            MissingExtraError: packages for a format or precision are not installed.
        """
        refused = [one for one in self.formats if one in _TORCH_FORMATS]
        if self.precision != "fp32" and refused:
            raise ExportError(
                f"The format {refused[0]} has no precision {self.precision}.",
                hint="onnx and openvino have fp16 and int8; export torch's formats with fp32.",
            )
        if "onnx" in self.formats:
            require_onnx()
        if self.precision == "int8":
            import_nncf()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported, and how it compares with torch."""

    folder: Path
    model: str
    config: ExportConfig
    num_clips: int  # number of clips that the exports were compared on
    verified_on: str  # where these clips came from
    parities: tuple[Parity, ...]  # one per format

    @property
    def failures(self) -> dict[Format, str]:
        """What is beyond tolerance, by format."""
        return {p.format: p.failure for p in self.parities if p.failure}

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "folder": str(self.folder),
            "model": self.model,
            **{name: getattr(self.config, name) for name in ("precision", "dynamic", "split")},
            "num_clips": self.num_clips,
            "verified_on": self.verified_on,
            "exports": [
                asdict(parity) | {name: getattr(parity, name) for name in _SUMMARY}
                for parity in self.parities
            ],
        }


class ParityError(ExportError):
    """An export computes other scores than the model. Nothing of it was kept."""

    def __init__(self, report: ExportReport) -> None:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in report.failures.items())
        super().__init__(
            f"The export differs from the model ({reasons}). Nothing was written.",
            hint="Try --precision fp32, or calibrate int8 with your own clips: --calibrate CLIPS."
            if report.config.precision != "fp32"
            else "Leave this format out, and report it with the versions of torch and its runtime.",
        )
        self.report = report


def export_model(
    model: Model,
    output: Path,
    config: ExportConfig,
    *,
    verify: Sequence[Path],
    calibrate: Sequence[Path] | None = None,
    verified_on: str = "clips",
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
    on_prepare: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Export a model, each format into `output/FORMAT`, if every file agrees with torch.

    Args:
        model: to export.
        output: new or empty, unless `overwrite` replaces the folders of these formats.
        config: formats, precision and shape.
        verify: clips to compare with torch on.
        calibrate: clips to calibrate int8 with; those of `verify` if None.
        verified_on: describes the clips of `verify`, for the report.
        overwrite: see `output`.
        on_progress: called with the number of formats that are done.
        on_prepare: called with what is going on.

    Raises:
        ParityError: an export is beyond tolerance. Nothing was written.
    """
    config.check()
    if "action" in model.description.clip.streams and (config.split or config.precision == "int8"):
        raise ExportError(
            "A model with the action network has no split form and no int8.",
            hint="One graph in fp32 or fp16 works: leave out --split and --precision int8.",
        )
    from activity_cli.export.formats import Converter
    from activity_cli.export.graphs import build_network

    clip = model.description.clip
    with _staging_folder(output, overwrite=overwrite) as staging:
        clips = read_clips(verify, clip)
        images = None
        if config.precision == "int8":
            samples = clips if calibrate is None else read_clips(calibrate, clip)
            images = _calibration_images(samples, clip)
        on_prepare(f"Scoring {len(clips)} clips in torch, to compare with")
        network = build_network(model)
        inputs = make_inputs(clips, network, clip, dynamic=config.dynamic)
        converter = Converter(network, model, config, calibration=images)
        parities = []
        for number, one in enumerate(config.formats):
            on_progress("export", number, len(config.formats))
            parities.append(_export_format(converter, one, staging / one, inputs))
        on_progress("export", len(config.formats), len(config.formats))
        report = ExportReport(
            folder=output,
            model=model.description.name,
            config=config,
            num_clips=len(clips),
            verified_on=verified_on,
            parities=tuple(parities),
        )
        if report.failures:
            raise ParityError(report)
        _keep(staging, output, report)
    return report


def _calibration_images(clips: Sequence[ClipFrames], clip: ClipSettings) -> Images:
    """Return pictures of all streams of the clips, to calibrate int8 with."""
    streams = [make_streams(one, clip).images.values() for one in clips]
    return pick_images([images for stacks in streams for images in stacks])


def _export_format(
    converter: "Converter", format: Format, folder: Path, inputs: Sequence[ParityInputs]
) -> Parity:
    """Write one format, read it back, compare it with torch and write its README."""
    try:
        folder.mkdir()
        files = converter.write(format, folder)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        exported = read_exported(folder)
        num_bytes = sum(file.stat().st_size for file in folder.iterdir())
        parity = compare(inputs, open_exported(exported), exported, num_bytes=num_bytes)
    except ModelError as error:
        raise ExportError(
            f"The file for {format} was written, but cannot be read back. Nothing was kept.",
            hint="Leave this format out, and report it with the versions of torch and its runtime.",
        ) from error
    part = next(iter(files))
    names = {part: file.name for part, file in files.items()}
    readme = write_readme(converter.metadata(part, format), names, parity)
    write_text_atomically(folder / "README.md", readme)
    return parity


@contextmanager
def _staging_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder inside the output; afterwards an empty output is removed."""
    new_folder(output, overwrite=overwrite)
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output) as staging:
            yield Path(staging)
    finally:
        with suppress(OSError):  # it is not empty: there is something to keep
            output.rmdir()


def _keep(staging: Path, output: Path, report: ExportReport) -> None:
    """Move the formats' folders to their place; older ones of the same format are removed."""
    try:
        for parity in report.parities:
            place = output / parity.format
            if place.exists():
                place.rename(staging / f"{parity.format}.old")
            (staging / parity.format).rename(place)
    except OSError as error:
        raise output_error(output, error) from error
    write_json(output / REPORT_FILE, report.to_json())
