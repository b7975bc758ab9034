"""`activity compare`: runs side by side, with the significance of their differences."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report
from activity_cli.errors import SettingsError


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Run folders of train, or folders of crossval or evaluate."
        ),
    ],
    *,
    speed: Annotated[
        bool, typer.Option("--speed/--no-speed", help="Measure the time per clip on this machine.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one row per run to this .csv or .json file."),
    ] = None,
    machine: options.EngineOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare runs: metrics, cost, settings and the significance of differences.

    Each run is compared with the first one, clip by clip. There is a p-value if both measured the
    same clips.

    Example:  activity compare runs/gym runs/gym-2
    """
    from activity_cli.evaluation.comparison import compare_pair, differing_settings, read_run
    from activity_cli.report.terminal import comparison as report_of

    if len(runs) < 2:
        raise SettingsError(
            "A comparison needs two runs or more.", hint="Add the folder of another run."
        )
    if output is not None:
        report_of.check_comparison_file(output, overwrite=overwrite)
    read = [read_run(folder) for folder in runs]
    models = [run.model for run in read if run.model is not None]
    if speed and models:
        from activity_cli.evaluation.measurement import ms_per_clip

        with progress_report(quiet=quiet) as report:
            times = ms_per_clip(models, machine.predict_config(report.note))
        read = [
            replace(run, ms_per_clip=times.get(run.model)) if run.model else run for run in read
        ]
    pairs, settings = [compare_pair(read[0], run) for run in read[1:]], differing_settings(read)
    rows = report_of.comparison_rows(read, pairs, settings)
    if output is not None:
        report_of.write_comparison(output, rows)
    options.print_result(rows, lambda: report_of.show_comparison(read, pairs, settings), json=json)
    if output is not None:
        options.print_note(f"Results: {output}", quiet=quiet)
