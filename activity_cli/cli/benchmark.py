"""`activity benchmark`: every engine and precision of this machine on one model."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report
from activity_cli.setting_fields import setting
from activity_cli.settings import DEFAULT_MODEL

_MOST_CLIPS = 16


# Typer takes a list of an enum's values, but not of a Literal's.
Precision = StrEnum("Precision", ["fp32", "fp16", "bf16", "int8"])


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured, and where it is written."""

    precisions: tuple[Precision, ...] = setting((), option="precision", derived="all")
    """Only this precision; can be given several times."""
    output: Path | None = setting(None, metavar="FOLDER")
    """Folder for benchmark.json and benchmark.png."""


def benchmark(
    model: options.Model = DEFAULT_MODEL,
    clips: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLIPS", help="Videos, folders or lists.", show_default="drawn clips"
        ),
    ] = None,
    *,
    own: BenchmarkOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure every engine and precision of this machine on one model.

    Each runs in its own process. The table shows frames per second, time per clip, start-up time,
    size, memory, and the difference of scores to those of torch. Precisions that the machine only
    emulates are skipped.

    Example:  activity benchmark runs/gym clips/ --output speed
    """
    from activity_cli.common.files import new_folder, write_json
    from activity_cli.export.benchmark import run_benchmark
    from activity_cli.report.terminal.exports import plot_benchmark, show_benchmark
    from activity_cli.sampledata import draw_dataset
    from activity_cli.video.sources import expand_sources

    if own.output is not None:
        new_folder(own.output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report, TemporaryDirectory() as folder:
        if not clips:
            draw_dataset(Path(folder, "clips"), clips_per_label=1, on_progress=report)
        paths = expand_sources(clips or [folder])
        step = max(1, len(paths) // _MOST_CLIPS)
        rows = run_benchmark(
            model,
            paths[::step][:_MOST_CLIPS],
            precisions=[one.value for one in own.precisions or Precision],
            on_progress=report,
        )
    values = [asdict(row) for row in rows]
    if own.output is not None:
        write_json(own.output / "benchmark.json", values)
        plot_benchmark(rows, own.output / "benchmark.png")
    options.print_result(values, lambda: show_benchmark(rows, own.output), json=json)
