"""`activity export`: a model as files for other programs, checked against torch."""

import importlib.util
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report
from activity_cli.errors import ExportError
from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from activity_cli.model.folder import Model


class Format(StrEnum):
    """File formats. Typer takes a list of an enum's values, but not of a Literal's."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written, and how it is checked."""

    formats: tuple[Format, ...] = setting(
        (), option="format", derived="openvino, and onnx where it is installed"
    )
    """File format; can be given several times."""
    precision: Literal["fp32", "fp16", "int8", "bf16"] = setting("fp32")
    """Precision of the weights: fp16 halves the file; int8 quarters the CNN and is faster."""
    dynamic: bool = setting(True, option="dynamic/static")
    """Accept any number of clips and frames, or only one clip of fixed length."""
    split: bool = setting(False)
    """Write CNN and classifier as two graphs."""
    verify: str | None = setting(None, metavar="CLIPS", derived="drawn clips")
    """Video, folder, pattern or list on which the export is compared with torch."""
    calibrate: str | None = setting(None, metavar="CLIPS", derived="those of --verify")
    """Video, folder, pattern or list for the calibration of int8."""
    output: Path | None = setting(None, derived="exports/NAME", metavar="FOLDER")
    """Folder that gets a folder per format."""


def export(
    model: options.Model,
    *,
    own: ExportOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model as ONNX, OpenVINO, TorchScript or torch.export files.

    Each file holds labels, settings and preprocessing; a README with an example lies beside it.
    Every export is compared with torch at several lengths and batch sizes; if the results differ,
    nothing is written. `activity predict --model` takes exports like any model.

    Example:  activity export runs/gym --format onnx --format openvino --verify clips
    """
    from activity_cli.export.exporting import ExportConfig, ParityError, export_model
    from activity_cli.report.terminal.console import messages_console
    from activity_cli.report.terminal.exports import show_export

    if own.precision == "bf16":
        raise ExportError(
            "Files are not stored in bf16.",
            hint="Export fp32 and choose bf16 when it runs: activity predict --precision bf16",
        )
    chosen = _load_model(model)
    name = chosen.description.name + ("" if own.precision == "fp32" else f"-{own.precision}")
    config = ExportConfig(
        formats=[one.value for one in dict.fromkeys(own.formats or _default())],
        precision=own.precision,
        dynamic=own.dynamic,
        split=own.split,
    )
    if chosen.description.captions is not None:
        _export_captioner(chosen, own, overwrite=overwrite, json=json, quiet=quiet)
        return
    config.check()
    with progress_report(quiet=quiet) as report, TemporaryDirectory() as folder:
        to_verify = _find_clips(own.verify, Path(folder, "verify"), seed=0)
        to_calibrate = None
        if own.precision == "int8" and (own.calibrate or not own.verify):
            # Other drawn clips than those to verify on.
            to_calibrate = _find_clips(own.calibrate, Path(folder, "calibrate"), seed=1)
            if own.calibrate is None:
                report.note("int8 is calibrated on drawn clips; better: --calibrate CLIPS")
        try:
            done = export_model(
                chosen,
                own.output or Path("exports") / name,
                config,
                verify=to_verify,
                calibrate=to_calibrate,
                verified_on=own.verify or "drawn clips",
                overwrite=overwrite,
                on_progress=report,
                on_prepare=report.note,
            )
        except ParityError as error:
            messages_console().print(show_export(error.report))
            raise
    options.print_result(done.to_json(), lambda: show_export(done), json=json)
    first = done.folder / done.parities[0].format
    trust = " --trust-model" * (done.parities[0].format in ("torchscript", "torch-export"))
    note = f"Written to {done.folder}. Try: activity predict VIDEO --model {first}{trust}"
    options.print_note(note, quiet=quiet or json)


def _export_captioner(
    model: "Model", own: ExportOptions, *, overwrite: bool, json: bool, quiet: int
) -> None:
    """Write encoder and decoder step of a model that describes."""
    from dataclasses import asdict

    from activity_cli.export.captioner import export_captioner

    if own.precision != "fp32" or own.split or not own.dynamic:
        raise ExportError(
            "A model that describes is exported in fp32, as encoder and decoder step.",
            hint="Leave out --precision, --split and --static.",
        )
    output = own.output or Path("exports") / model.description.name
    with progress_report(quiet=quiet) as report, TemporaryDirectory() as folder:
        parities = export_captioner(
            model,
            output,
            [one.value for one in dict.fromkeys(own.formats or _default())],
            verify=_find_clips(own.verify, Path(folder, "verify"), seed=0),
            overwrite=overwrite,
            on_prepare=report.note,
        )
    lines = [
        f"{one.format}: the same sentence for {one.num_same_sentence} of {one.num_clips} clips, "
        f"{one.megabytes:.1f} MB"
        for one in parities
    ]
    values = {"folder": str(output), "exports": [asdict(one) for one in parities]}
    options.print_result(values, lambda: "\n".join(lines), json=json)
    note = f"Written to {output}. The README of each format has the loop between both graphs."
    options.print_note(note, quiet=quiet or json)


def _load_model(model: str) -> "Model":
    """Load a model; an ExportError if it is an export already."""
    from activity_cli.model.folder import load_model
    from activity_cli.predict.exported import is_exported

    if is_exported(Path(model)):
        raise ExportError(
            f"{model} is already an exported model.",
            hint="Give the model that it was exported from, such as runs/NAME.",
        )
    return load_model(model)


def _find_clips(source: str | None, folder: Path, *, seed: int) -> list[Path]:
    """Return the user's clips, or draw some into a folder."""
    from activity_cli.sampledata import draw_dataset
    from activity_cli.video.sources import expand_sources

    if source is None:
        draw_dataset(folder, clips_per_label=1, seed=seed)
    return expand_sources([source or str(folder)])


def _default() -> list[Format]:
    """The default formats: those whose packages are installed."""
    has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    return [Format.ONNX, Format.OPENVINO] if has_onnx else [Format.OPENVINO]
