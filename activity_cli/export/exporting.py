"""A model -> exported files that were checked: convert, run against torch, and only then keep."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activity_cli.common.files import new_folder, output_error, write_json, write_text_atomically
from activity_cli.common.optional_dependencies import import_nncf, require_onnx
from activity_cli.errors import ExportError, ModelError
from activity_cli.export.parity import Case, Parity, compare, make_cases, read_clips
from activity_cli.export.quantize import pick_images
from activity_cli.export.readme import write_readme
from activity_cli.model.folder import Model
from activity_cli.predict.exported.loading import open_exported, read_exported
from activity_cli.predict.exported.metadata import Format, Precision
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import ClipSettings
from activity_cli.types import ClipFrames, Images, OnProgress, no_progress
from activity_cli.video.clips import make_streams
from activity_cli.video.sources import expand_sources

if TYPE_CHECKING:
    from activity_cli.export.converting import Converter

REPORT_FILE = "report.json"
_TORCH_FORMATS = ("torchscript", "torch-export")
_VERIFY_SEED, _CALIBRATE_SEED = 0, 1
"""Of drawn clips: not the same to calibrate and to check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was exported, and how it compares with torch."""

    folder: Path
    model: str
    precision: Precision
    dynamic: bool
    split: bool
    num_clips: int
    """Clips that the exports were checked on."""
    verified_on: str
    """Where these came from."""
    parities: tuple[Parity, ...]
    """One per format."""

    @property
    def failures(self) -> dict[Format, str]:
        """What is beyond tolerance, by format."""
        return {p.format: p.failure for p in self.parities if p.failure}

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        exports = [
            {
                **asdict(parity),
                "largest_difference": parity.largest_difference,
                "mean_difference": parity.mean_difference,
                "num_clips": parity.num_clips,
                "num_same_label": parity.num_same_label,
                "failure": parity.failure,
            }
            for parity in self.parities
        ]
        facts = ("model", "precision", "dynamic", "split", "num_clips", "verified_on")
        return {
            "folder": str(self.folder),
            **{name: getattr(self, name) for name in facts},
            "exports": exports,
        }


class ParityError(ExportError):
    """An export does not compute what the model does; nothing of it was kept."""

    def __init__(self, report: ExportReport) -> None:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in report.failures.items())
        super().__init__(
            f"The export does not say what the model says ({reasons}). Nothing was written.",
            hint="Try --precision fp32, or calibrate int8 with your own clips: --calibrate CLIPS."
            if report.precision != "fp32"
            else "Leave this format out, and report it with the versions of torch and its runtime.",
        )
        self.report = report


def export_model(
    model: Model,
    output: Path,
    *,
    formats: Sequence[Format],
    precision: Precision = "fp32",
    dynamic: bool = True,
    split: bool = False,
    verify: str | None = None,
    calibrate: str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = no_progress,
    on_prepare: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Write a model in other formats, each into `output/FORMAT`, if all say what torch says.

    Args:
        model: what to export.
        output: folder for the exports; new or empty, unless `overwrite`.
        formats: one or more.
        precision: how weights are stored; int8 also computes the CNN in 8-bit integers.
        dynamic: whether an export takes any number of clips and frames, or 1 clip of T frames.
        split: whether the CNN and the classifier become graphs of their own.
        verify: video, folder, pattern or list of clips to check on; None draws some.
        calibrate: the same, for int8; None takes those of `verify`, or draws others.
        overwrite: replace what is in the folders of these formats.
        on_progress: told how many formats are done.
        on_prepare: told what is going on.

    Raises:
        ExportError: a format does not have that precision.
        ParityError: an export is beyond tolerance. Nothing was written.
        MissingExtraError: packages for a format or precision are not installed.
        DataError: none of the given clips can be decoded.
        OutputError: the folder cannot be used.
        BackboneError, ModelError: the weights are missing, changed or damaged.
    """
    _check_request(formats, precision)
    from activity_cli.export.converting import Converter
    from activity_cli.export.graphs import build_network

    clip = model.description.clip
    with _staging_folder(output, overwrite=overwrite) as staging:
        clips = _read_or_draw(verify, clip, seed=_VERIFY_SEED)
        images = None
        if precision == "int8":
            images = _calibration_images(clips, clip, verify, calibrate, on_prepare)
        on_prepare(f"Scoring {len(clips)} clips in torch, to compare with")
        network = build_network(model)
        cases = make_cases(clips, network, clip, dynamic=dynamic)
        converter = Converter(
            network,
            model,
            precision=precision,
            dynamic=dynamic,
            split=split,
            calibration=images,
        )
        parities = []
        for number, one in enumerate(formats):
            on_progress("export", number, len(formats))
            parities.append(_export_format(converter, one, staging / one, cases))
        on_progress("export", len(formats), len(formats))
        report = ExportReport(
            folder=output,
            model=model.description.name,
            precision=precision,
            dynamic=dynamic,
            split=split,
            num_clips=len(clips),
            verified_on=verify or "drawn clips",
            parities=tuple(parities),
        )
        if report.failures:
            raise ParityError(report)
        _keep(staging, output, report)
    return report


def _check_request(formats: Sequence[Format], precision: Precision) -> None:
    """Refuse what cannot work before minutes of work."""
    if precision != "fp32" and (refused := [f for f in formats if f in _TORCH_FORMATS]):
        raise ExportError(
            f"The format {refused[0]} has no precision {precision}.",
            hint="onnx and openvino have fp16 and int8; export torch's formats with fp32.",
        )
    if "onnx" in formats:
        require_onnx()
    if precision == "int8":
        import_nncf()


def _export_format(
    converter: "Converter",
    format: Format,
    folder: Path,
    cases: Sequence[Case],
) -> Parity:
    """Write one format, read it back, compare it with torch and write its README."""
    try:
        folder.mkdir()
        files = converter.write(format, folder)
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        exported = read_exported(folder)
        parity = compare(cases, open_exported(exported), exported, files=list(folder.iterdir()))
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


def _read_or_draw(source: str | None, clip: ClipSettings, *, seed: int) -> list[ClipFrames]:
    """The user's clips, or drawn ones."""
    if source is not None:
        return read_clips(expand_sources([source]), clip)
    with tempfile.TemporaryDirectory() as folder:
        draw_dataset(Path(folder, "clips"), clips_per_label=1, seed=seed)
        return read_clips(expand_sources([folder]), clip)


def _calibration_images(
    clips: list[ClipFrames],
    clip: ClipSettings,
    verify: str | None,
    calibrate: str | None,
    on_prepare: Callable[[str], None],
) -> Images:
    """Images for int8: from clips to calibrate with, from those to verify with, or from drawn."""
    if calibrate is not None or verify is None:
        clips = _read_or_draw(calibrate, clip, seed=_CALIBRATE_SEED)
    if calibrate is None and verify is None:
        on_prepare("int8 is calibrated on drawn clips; your own are better: --calibrate CLIPS")
    streams = [make_streams(one, clip).images.values() for one in clips]
    return pick_images([images for stacks in streams for images in stacks])


@contextmanager
def _staging_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write to inside the output, gone afterwards; so is an output left empty."""
    new_folder(output, overwrite=overwrite)
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output) as staging:
            yield Path(staging)
    finally:
        with suppress(OSError):  # not empty: there is something to keep
            output.rmdir()


def _keep(staging: Path, output: Path, report: ExportReport) -> None:
    """Move the formats' folders to their place; older ones of the same format go."""
    try:
        for parity in report.parities:
            place = output / parity.format
            if place.exists():
                place.rename(staging / f"{parity.format}.old")
            (staging / parity.format).rename(place)
    except OSError as error:
        raise output_error(output, error) from error
    write_json(output / REPORT_FILE, report.to_json())
