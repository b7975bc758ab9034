"""`activity predict`: name the action in a video, or score many."""

import json as jsonlib
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, options
from activity_cli.cli.interrupts import finish_on_interrupt
from activity_cli.cli.predict_options import BatchOptions, ClusterOptions, WindowOptions
from activity_cli.cli.progress import ProgressReport, progress_report
from activity_cli.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from activity_cli.predict.predictor import OnSeconds
    from activity_cli.types import FileResult

EXAMPLE = "activity predict footage/ --model runs/gym --output scores.csv"


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE", help="Videos, folders, globs, a list (.txt, .csv), or - for stdin."
        ),
    ],
    *,
    machine: options.MachineOptions,
    batch: BatchOptions,
    windows: WindowOptions,
    cluster: ClusterOptions,
    model: Annotated[str, typer.Option(help=options.MODEL_HELP)] = DEFAULT_MODEL,
    top_k: Annotated[int, typer.Option(help="Labels to report per video.", min=1)] = 3,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Put the score of every label into the rows.")
    ] = False,
    reject: options.Reject = "off",
    tta: options.TestTimeAugmentation = 1,
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Neither read features from the cache nor write them."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="File for one row per video: .csv, .jsonl or .parquet.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Recognize the action in a video and when it happens, or score many videos.

    Every file gets one row with one status. Unreadable files are reported without a score. Run
    again to resume: only new, changed or unfinished files are scored. Put two dashes before a name
    that begins with a dash: activity predict -- -odd.mp4
    """
    from activity_cli.predict.batch import Tally, open_results, score_files
    from activity_cli.predict.rejection import with_rejection
    from activity_cli.predict.results.rows import RowSchema
    from activity_cli.predict.results.segment_files import SegmentOutputs, video_segments
    from activity_cli.report.overlay.outputs import VisualWriter
    from activity_cli.report.terminal import console
    from activity_cli.video.sources import find_sources

    started = time.perf_counter()
    paths = batch.select(find_sources(sources))
    if batch.dry_run:
        console.results_console().print(console.show_plan(paths, output))
        return
    segment_files = SegmentOutputs(windows.segments, paths, output=output, overwrite=overwrite)
    wishes = windows.pictures(overwrite=overwrite)
    wishes.check(paths)
    tally, shown, found = Tally(), [], []

    with (
        progress_report(quiet=quiet) as report,
        finish_on_interrupt(report.note) as stop,
        cluster.connected(report.note),
        closing(
            cluster.load_predictor(
                model,
                replace(
                    machine.predict_config(report.note),
                    windows=windows.window_config(_watch_seconds(report, is_alone=len(paths) == 1)),
                    tta=tta,
                    use_cache=not no_cache,
                ),
                machine,
                verify_content=batch.verify_content,
            )
        ) as scoring,
    ):
        predictor = with_rejection(scoring, reject, on_rule=report.note)
        description = predictor.description
        schema = RowSchema(top_k=top_k, labels=description.labels if all_scores else ())
        pictures = VisualWriter(wishes, paths, model=description.name)

        with (
            open_results(
                output,
                paths,
                schema,
                provenance={**predictor.provenance, **batch.provenance},
                policy=batch.resume_policy(overwrite=overwrite),
                outputs=segment_files.files,
            )
            if output
            else nullcontext()
        ) as results:
            num_kept = results.count_kept(paths) if results else 0
            if len(paths) > 1:
                report.note(console.describe_plan(len(paths), num_kept))
                report("predict", 0, len(paths) - num_kept)
            for result in score_files(
                predictor,
                paths,
                results=results,
                limit=batch.failure_limit(),
                look=not cluster.cluster,
                before_row=partial(pictures.make, on_progress=report, on_note=report.note),
                stop=stop,
            ):
                tally.add(result)
                if json:
                    typer.echo(jsonlib.dumps(schema.row(result) | _segments_of(result)))
                elif results is None:
                    shown.append(result)
                if results is None and (video := video_segments(result)):
                    found.append(video)
                if len(paths) > 1:
                    report.detail(console.describe_failures(tally))
                    report("predict", tally.num_files, len(paths) - num_kept)
            written = segment_files.write(
                results.videos(paths) if results else found, description.labels
            )
    if shown:
        console.results_console().print(console.show_predictions(shown, top_k=top_k))
    failed_before = results.num_kept_without_score if results else 0
    if not quiet:
        notes = console.messages_console()
        notes.print(console.show_model(description, is_default=model == DEFAULT_MODEL))
        notes.print(
            console.show_tally(
                tally,
                time.perf_counter() - started,
                output,
                segment_files=written,
                num_kept=num_kept,
                num_kept_without_score=failed_before,
            )
        )
    if stop.is_set():
        raise KeyboardInterrupt
    if tally.num_without_score or failed_before:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)


def _watch_seconds(report: ProgressReport, *, is_alone: bool) -> "OnSeconds":
    """Return what shows the progress of a long video: a bar, or text beside the batch's bar."""
    from activity_cli.report.terminal.console import describe_long_video

    def on_seconds(path: Path, done: float, total: float) -> None:
        if is_alone:
            report("video", round(done), round(total))
        else:
            report.detail(describe_long_video(path, done, total))

    return on_seconds


def _segments_of(result: "FileResult") -> dict[str, Any]:
    from activity_cli.predict.results.segment_files import segment_values

    return {"segments": [segment_values(segment) for segment in result.segments]}
