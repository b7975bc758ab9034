"""`activity explain`: which moments, image regions and parts of the network decided."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import describing, options
from activity_cli.cli.progress import progress_report
from activity_cli.setting_fields import setting
from activity_cli.settings import DEFAULT_MODEL


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What is explained, and where the explanation is written."""

    model: str = setting(DEFAULT_MODEL, envvar="ACTIVITY_MODEL")
    """Run folder, model folder, or name of a shipped model."""
    label: str | None = setting(None, derived="the predicted label")
    """Label to explain."""
    start: float | None = setting(None, at_least=0, metavar="SECONDS")
    """Start of the piece to explain, in seconds."""
    end: float | None = setting(None, at_least=0, metavar="SECONDS")
    """End of the piece to explain, in seconds."""
    output: Path | None = setting(None, metavar="FOLDER")
    """Folder for explanation.png and explanation.json."""
    details: bool = setting(False)
    """Show the gates of the LSTM in the picture, too."""
    save_video: Path | None = setting(None, metavar="FILE")
    """File for the clip with the heat map drawn in, .mp4."""


def explain(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")],
    *,
    own: ExplainOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show why a model predicts a label: when, where, and by which part of it.

    The video, or the piece from --start to --end, is one clip. Contributions add up to the label's
    logit minus the mean of the others'; with two labels, and for a multi-label model, to the
    log-odds of its score. The score
    comes from torch and may differ from that of `predict` in the third digit. Exports cannot be
    explained.

    Of a model that describes: the frames that each word attended to.

    Example:  activity explain video.mp4 --output why --save-video why.mp4
    """
    from activity_cli.common.files import new_folder
    from activity_cli.evaluation.explanation.explainer import check_request, explain_video
    from activity_cli.features.extraction import ClipRequest
    from activity_cli.report.terminal.explanation import explanation_values, show_explanation

    request = ClipRequest(path=video, start_seconds=own.start, end_seconds=own.end)
    if describing.is_captioner(own.model):
        with progress_report(quiet=quiet) as report:
            done = describing.explain_captions(own, request, report, overwrite=overwrite)
        options.print_result(*done, json=json)
        return
    loaded = check_request(request, own.model, label=own.label)
    if own.save_video is not None:
        from activity_cli.report.overlay.video import check_output

        check_output(own.save_video, ".mp4", video, overwrite=overwrite)
    if own.output is not None:
        new_folder(own.output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report:
        explanation = explain_video(loaded, request, label=own.label, on_note=report.warn)
        if own.output is not None:
            from activity_cli.report.figures.explanation import write_explanation

            write_explanation(explanation, own.output, details=own.details)
        if own.save_video is not None:
            from activity_cli.report.figures.explanation import save_heat_video

            save_heat_video(explanation, own.save_video, overwrite=overwrite, on_progress=report)
    options.print_result(
        explanation_values(explanation), lambda: show_explanation(explanation), json=json
    )
    if own.output is None:
        options.print_note("Add --output FOLDER for a picture of it.", quiet=quiet)
    for path in (own.output and own.output / "explanation.png", own.save_video):
        if path is not None:
            options.print_note(f"Written: {path}", quiet=quiet)
