"""`activity predict`: recognize the action in a video, or score many videos."""

import json as jsonlib
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, options
from activity_cli.cli.predict_options import BatchOptions, ClusterOptions, WindowOptions
from activity_cli.cli.progress import ProgressReport, progress_report, stop_on_signals
from activity_cli.setting_fields import setting
from activity_cli.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from activity_cli.predict.predictor import OnSeconds
    from activity_cli.predict.results import RowSchema
    from activity_cli.types import FileResult, VideoSegments


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The model, and what is reported."""

    model: str = setting(DEFAULT_MODEL)
    """Run folder, model folder, exported file, or name of a shipped model."""
    top_k: int = setting(3, at_least=1)
    """Labels to report per video."""
    all_scores: bool = setting(False)
    """Put the score of every label into the rows."""
    no_cache: bool = setting(False)
    """Neither read features from the cache nor write them."""
    output: Path | None = setting(None)
    """File for one row per video: .csv, .jsonl or .parquet."""


def predict(
    sources: options.Sources,
    *,
    own: PredictOptions,
    machine: options.MachineOptions,
    batch: BatchOptions,
    windows: WindowOptions,
    cluster: ClusterOptions,
    reject: options.Reject = "off",
    tta: options.TestTimeAugmentation = 1,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Recognize the action in a video and when it happens, or score many videos.

    Every file gets one row with one status. Unreadable files are reported without a score. Run
    again to resume: only new, changed or unfinished files are scored. Put two dashes before a name
    that begins with a dash: activity predict -- -odd.mp4

    Example:  activity predict footage/ --model runs/gym --output scores.csv
    """
    from activity_cli.predict.batch import (
        SHARD,
        FailureLimit,
        ResultFile,
        ResumePolicy,
        score_files,
    )
    from activity_cli.predict.rejection import with_rejection
    from activity_cli.predict.results import RowSchema
    from activity_cli.predict.results.segment_files import (
        SegmentOutputs,
    )
    from activity_cli.report.overlay.outputs import VisualOptions, VisualWriter
    from activity_cli.report.terminal import console
    from activity_cli.video.sources import Shard, find_sources, select

    started = time.perf_counter()
    shard = Shard.parse(batch.shard) if batch.shard else None
    paths = select(
        find_sources(sources), patterns=batch.pattern, exclude=batch.exclude, shard=shard
    )
    if batch.dry_run:
        console.results_console().print(console.show_plan(paths, own.output))
        return
    segment_files = SegmentOutputs(windows.segments, paths, output=own.output, overwrite=overwrite)
    visuals = VisualOptions(
        save_video=windows.save_video,
        storyboard=windows.storyboard,
        clips_dir=windows.clips_dir,
        overwrite=overwrite,
    )
    visuals.check(paths)
    policy = ResumePolicy(
        overwrite=overwrite, retry_failed=batch.retry_failed, verify_content=batch.verify_content
    )
    with ExitStack() as stack:
        report = stack.enter_context(progress_report(quiet=quiet))
        stop = stack.enter_context(stop_on_signals(signal.SIGINT, note=report.note))
        config = replace(
            machine.predict_config(report.note),
            windows=windows.window_config(_watch_seconds(report, is_alone=len(paths) == 1)),
            tta=tta,
            use_cache=not own.no_cache,
        )
        scoring = cluster.load_predictor(
            stack, own.model, config, machine, hash_content=batch.verify_content
        )
        predictor = with_rejection(scoring, reject, on_rule=report.note)
        model = predictor.description
        schema = RowSchema(top_k=own.top_k, labels=model.labels if own.all_scores else ())
        results = None
        if own.output:
            provenance = {**predictor.provenance, **({SHARD: str(shard)} if shard else {})}
            opened = ResultFile(
                own.output,
                paths,
                schema,
                provenance=provenance,
                policy=policy,
                outputs=segment_files.files,
            )
            results = stack.enter_context(opened)
        num_kept = results.num_kept if results else 0
        printer = _Printer(report, schema, as_json=json, has_rows=results is not None)
        if len(paths) > 1:
            printer.num_left = len(paths) - num_kept
            kept = f", {num_kept} scored before: {printer.num_left}" if num_kept else ""
            report.note(f"{len(paths)} files{kept} to score.")
        visual_writer = VisualWriter(visuals, paths, model=model.name)
        for result in score_files(
            predictor,
            paths,
            results=results,
            limit=FailureLimit.parse(batch.max_failures) if batch.max_failures else None,
            look=not cluster.cluster,
            before_row=partial(visual_writer.make, on_progress=report, on_note=report.note),
            stop=stop,
        ):
            printer.add(result)
        written = segment_files.write(
            results.videos() if results else printer.segmented, model.labels
        )
    if printer.shown:
        console.results_console().print(console.show_predictions(printer.shown, top_k=own.top_k))
    failed_before = results.num_kept_without_score if results else 0
    if not quiet:
        summary = console.show_tally(
            printer.tally,
            time.perf_counter() - started,
            own.output,
            segment_files=written,
            num_kept=num_kept,
            num_kept_without_score=failed_before,
        )
        scored_by = console.show_model(model, is_default=own.model == DEFAULT_MODEL)
        console.messages_console().print(scored_by, summary, sep="\n")
    if stop.is_set():
        raise KeyboardInterrupt
    if printer.tally.num_without_score or failed_before:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)


class _Printer:
    """Counts results as they come, and prints them as JSON or keeps them for the end."""

    def __init__(
        self, report: ProgressReport, schema: "RowSchema", *, as_json: bool, has_rows: bool
    ) -> None:
        from activity_cli.predict.batch import Tally

        self.tally = Tally()
        self.shown: list[FileResult] = []
        self.segmented: list[VideoSegments] = []
        self._report, self._schema = report, schema
        self.num_left = 0  # a single file needs no progress
        self._as_json, self._has_rows = as_json, has_rows

    def add(self, result: "FileResult") -> None:
        """Count, print or keep a result."""
        from activity_cli.predict.results.segment_files import segment_values, video_segments

        self.tally.add(result)
        if self._as_json:
            segments = [segment_values(segment) for segment in result.segments]
            typer.echo(jsonlib.dumps(self._schema.row(result) | {"segments": segments}))
        elif not self._has_rows:
            self.shown.append(result)
        if not self._has_rows and (video := video_segments(result)):
            self.segmented.append(video)
        if self.num_left:
            failed = self.tally.num_without_score
            self._report.detail(f"{failed} without a score" if failed else "")
            self._report("predict", self.tally.num_files, self.num_left)


def _watch_seconds(report: ProgressReport, *, is_alone: bool) -> "OnSeconds":
    """Return what shows the progress of a long video: a bar, or text beside the batch's bar."""
    from activity_cli.report.terminal import printable

    def on_seconds(path: Path, done: float, total: float) -> None:
        if is_alone:
            report("video", round(done), round(total))
        else:
            share = f"{done / total:.0%}" if total else f"{done:.0f} s"
            report.detail(f"{printable(path.name)}: {share}")

    return on_seconds
