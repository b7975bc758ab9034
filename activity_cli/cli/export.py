"""`activity export`: a model as files for other programs, checked against torch."""

import importlib.util
import json as jsonlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report

if TYPE_CHECKING:
    pass

EXAMPLE = "activity export runs/gym --format onnx --format openvino --verify clips"


class FormatChoice(StrEnum):
    """`signature.Format` as Typer takes several of: a list of literals it does not know."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Run folder, model folder, or shipped model."),
    ],
    *,
    formats: Annotated[
        list[FormatChoice] | None,
        typer.Option(
            "--format",
            help="May be given several times.",
            show_default="openvino, and onnx where it is installed",
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8", "bf16"],
        typer.Option(help="fp16 halves the file; int8 quarters the CNN and speeds it up."),
    ] = "fp32",
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic/--static", help="Any number of clips and frames, or 1 clip of fixed length."
        ),
    ] = True,
    split: Annotated[
        bool, typer.Option("--split", help="Two graphs, CNN and classifier, in place of one.")
    ] = False,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="CLIPS",
            help="Video, folder, pattern or list to compare with torch on.",
            show_default="drawn clips",
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="CLIPS",
            help="The same, to calibrate int8 with.",
            show_default="those of --verify",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for a folder per format.", show_default="exports/NAME"),
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model as ONNX, OpenVINO, TorchScript or torch.export files.

    Labels, settings and preprocessing are inside each file, a README with an example lies beside
    it. Every export is run against torch at several lengths and batch sizes; if it says anything
    else, nothing is written. `activity predict --model` takes exports like any model.
    """
    from activity_cli.errors import ExportError
    from activity_cli.export.exporting import ParityError, export_model
    from activity_cli.model.folder import load_model
    from activity_cli.predict.exported.loading import is_exported
    from activity_cli.report.terminal.console import messages_console, results_console
    from activity_cli.report.terminal.exports import show_export

    if precision == "bf16":
        raise ExportError(
            "Files are not stored in bf16.",
            hint="Export fp32 and choose bf16 when it runs: activity predict --precision bf16",
        )
    if is_exported(Path(model)):
        raise ExportError(
            f"{model} is an exported model already.",
            hint="Give the model that it was exported from, such as runs/NAME.",
        )
    chosen = load_model(model)
    name = chosen.description.name + ("" if precision == "fp32" else f"-{precision}")
    with progress_report(quiet=quiet) as report:
        try:
            done = export_model(
                chosen,
                output or Path("exports") / name,
                formats=[one.value for one in dict.fromkeys(formats or _default())],
                precision=precision,
                dynamic=dynamic,
                split=split,
                verify=verify,
                calibrate=calibrate,
                overwrite=overwrite,
                on_progress=report,
                on_prepare=report.note,
            )
        except ParityError as error:
            messages_console().print(show_export(error.report))
            raise
    if json:
        typer.echo(jsonlib.dumps(done.to_json(), indent=2))
        return
    results_console().print(show_export(done))
    if not quiet:
        first = done.folder / done.parities[0].format
        messages_console().print(
            f"Written to {done.folder}. Try: activity predict VIDEO --model {first}",
            style="dim",
            markup=False,
        )


def _default() -> list[FormatChoice]:
    has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    return [FormatChoice.ONNX, FormatChoice.OPENVINO] if has_onnx else [FormatChoice.OPENVINO]
