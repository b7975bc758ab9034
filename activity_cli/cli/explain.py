"""`activity explain`: which moments, image regions and parts of the network decided."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report
from activity_cli.settings import DEFAULT_MODEL

EXAMPLE = "activity explain video.mp4 --output why --save-video why.mp4"


def explain(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")],
    *,
    model: Annotated[
        str, typer.Option(help="Run folder, model folder, or a shipped model's name.")
    ] = DEFAULT_MODEL,
    label: Annotated[
        str | None, typer.Option(help="What to explain.", show_default="the label it predicts")
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="Second at which the piece to explain starts.", min=0)
    ] = None,
    end: Annotated[
        float | None, typer.Option(help="Second at which the piece to explain ends.", min=0)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for explanation.png and explanation.json.")
    ] = None,
    save_video: Annotated[
        Path | None, typer.Option(help="An .mp4 of the clip with the heat map drawn in.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show why a model predicts a label: when, where, and by which part of it.

    The video, or the piece of it from --start to --end, is taken as one clip. Evidence is the
    label's logit against the mean of the others'; with two labels, the log-odds of its score.
    The score comes from torch and may differ from that of `predict` in the third digit. Exported
    models cannot be explained.
    """
    from activity_cli.common.files import new_folder
    from activity_cli.evaluation.explanation.explainer import check_request, explain_video
    from activity_cli.features.extraction import ClipRequest
    from activity_cli.report.terminal.console import results_console
    from activity_cli.report.terminal.explanation import explanation_values, show_explanation

    request = ClipRequest(path=video, start_seconds=start, end_seconds=end)
    loaded = check_request(request, model, label=label)
    if save_video is not None:
        from activity_cli.report.overlay.video import check_output

        check_output(save_video, ".mp4", video, overwrite=overwrite)
    if output is not None:
        new_folder(output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report:
        explanation = explain_video(loaded, request, label=label, on_note=report.warn)
        if output is not None:
            from activity_cli.report.figures.explanation import write_explanation

            write_explanation(explanation, output)
        if save_video is not None:
            from activity_cli.report.overlay.heat_video import save_heat_video

            save_heat_video(explanation, save_video, overwrite=overwrite, on_progress=report)
        if json:
            typer.echo(jsonlib.dumps(explanation_values(explanation), indent=2))
        else:
            results_console().print(show_explanation(explanation))
        if output is None:
            report.note("A picture of it: add --output FOLDER")
        for path in (output and output / "explanation.png", save_video):
            if path is not None:
                report.note(f"Written: {path}")
