"""`activity benchmark`: measure speed and agreement of engines and precisions on this machine."""

import json as jsonlib
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report
from activity_cli.settings import DEFAULT_MODEL

EXAMPLE = "activity benchmark runs/gym clips/ --output speed"

_MOST_CLIPS = 16


class PrecisionChoice(StrEnum):
    """Precisions. Typer accepts a list of an enum, but not of a Literal."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"


def benchmark(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Run folder, model folder, or shipped model.")
    ] = DEFAULT_MODEL,
    clips: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIPS]", help="Videos, folders or lists.", show_default="drawn clips"
        ),
    ] = None,
    *,
    precisions: Annotated[
        list[PrecisionChoice] | None,
        typer.Option(
            "--precision", help="Only this one; can be given several times.", show_default="all"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for benchmark.json and benchmark.png.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure every engine and precision of this machine on one model.

    Each runs in its own process. The table shows frames per second, time per clip, start-up time,
    size, memory, and the difference of scores to those of torch.
    """
    from activity_cli.common.files import new_folder, write_json
    from activity_cli.export.benchmark import run_benchmark
    from activity_cli.report.terminal.benchmark import plot_benchmark, show_benchmark
    from activity_cli.report.terminal.console import results_console
    from activity_cli.sampledata import draw_dataset
    from activity_cli.video.sources import expand_sources

    if output is not None:
        new_folder(output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report, TemporaryDirectory() as folder:
        if not clips:
            draw_dataset(Path(folder, "clips"), clips_per_label=1, on_progress=report)
        paths = expand_sources(clips or [folder])
        step = max(1, len(paths) // _MOST_CLIPS)
        rows = run_benchmark(
            model,
            paths[::step][:_MOST_CLIPS],
            precisions=[one.value for one in precisions or PrecisionChoice],
            on_progress=report,
        )
    values = [asdict(row) for row in rows]
    if output is not None:
        write_json(output / "benchmark.json", values)
        plot_benchmark(rows, output / "benchmark.png")
    if json:
        typer.echo(jsonlib.dumps(values, indent=2))
    else:
        results_console().print(show_benchmark(rows, output))
