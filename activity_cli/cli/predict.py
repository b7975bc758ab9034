"""`activity predict`: recognize the action in a video, or score many videos."""

import json as jsonlib
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, options
from activity_cli.cli.predict_options import (
    BatchOptions,
    ClusterOptions,
    ModelOptions,
    WindowOptions,
)
from activity_cli.cli.progress import ProgressReport, progress_report, stop_on_signals
from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event

    from activity_cli.predict.batch import ResultFile
    from activity_cli.predict.predictor import OnSeconds, Predictor
    from activity_cli.predict.results.frame_files import FrameFiles
    from activity_cli.predict.results.window_file import WindowFile
    from activity_cli.report.overlay.outputs import VisualWriter
    from activity_cli.types import FileResult, VideoSegments


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ModelOptions):
    """The model, and what is reported."""

    top_k: int = setting(3, at_least=1)
    """Labels to report per video."""
    all_scores: bool = setting(False, rare=True)
    """Put the score of every label into the rows."""
    sort: Literal["name", "score"] = setting("name", rare=True)
    """Order of several videos on the screen: by name, or highest score first."""
    no_cache: bool = setting(False, rare=True)
    """Neither read features from the cache nor write them."""
    segments_from: str | None = setting(None, metavar="MODEL", rare=True)
    """With a model that describes: a sentence per segment of this other model."""
    beam: int | None = setting(None, at_least=1, at_most=100, derived="the model's", rare=True)
    """With a model that describes: sentences that are followed to find the best one."""
    output: Path | None = setting(None, metavar="FILE")
    """File for one row per video: .csv, .jsonl or .parquet."""


def predict(
    sources: options.Sources,
    *,
    own: PredictOptions,
    reject: options.RejectByModel = None,
    windows: WindowOptions,
    batch: BatchOptions,
    machine: options.MachineOptions,
    tta: options.TestTimeAugmentation = 1,
    cluster: ClusterOptions,
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
    started = time.perf_counter()
    paths = batch.find(sources)
    if batch.dry_run:
        from activity_cli.report.terminal import console

        console.results_console().print(console.show_plan(paths, own.output))
        return
    if not (own.output or own.all_scores or windows.segments) and not any(map(lexists, paths)):
        _show_missing(paths, own, json=json)
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
    from activity_cli.predict.rejection import with_rejection
    from activity_cli.predict.results import rows_suffix
    from activity_cli.predict.results.segment_files import SegmentOutputs

    if own.output:
        rows_suffix(own.output)  # a wrong format is an error before the CNN is prepared
    model = own.choose(may_ask=not (json or quiet))
    segments = SegmentOutputs(windows.segments, paths, output=own.output, overwrite=overwrite)
    visuals = windows.visual_writer(paths, overwrite=overwrite)
    frames = windows.frame_files(paths, machine.decoders(), overwrite=overwrite)
    with ExitStack() as stack:
        report = stack.enter_context(progress_report(quiet=quiet))
        stop = stack.enter_context(stop_on_signals(signal.SIGINT, note=report.note))
        config = replace(
            machine.predict_config(report.note),
            labels=own.selection(),
            trust_model=own.trust_model,
            windows=windows.window_config(_watch_seconds(report, is_alone=len(paths) == 1)),
            tta=tta,
            use_cache=not own.no_cache,
            segments_from=own.segments_from,
            beam=own.beam,
            first=None if cluster.cluster else next(iter(paths), None),
        )
        scoring = cluster.load_predictor(
            stack, model, config, machine, hash_content=batch.verify_content
        )
        predictor = with_rejection(scoring, reject, on_rule=report.note)
        run = _Run(predictor, paths, own, batch, report, as_json=json)
        more = (*segments.files, windows.window_scores) if windows.window_scores else segments.files
        is_ours = overwrite or _is_listed(own.output, windows.window_scores)
        if own.output:
            stack.enter_context(run.open_results(own.output, more, overwrite=overwrite))
        if windows.window_scores:
            kept = run.open_windows(windows.window_scores, overwrite=is_ours)
            stack.callback(kept.close)
        run.score(visuals, frames, look=not cluster.cluster, stop=stop)
        offered = () if predictor.description.captions else predictor.description.labels
        written = segments.write(run.videos(), offered)
    run.show(written, None if quiet else time.perf_counter() - started)
    if stop.is_set():
        raise KeyboardInterrupt
    if run.num_without_score:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)


def _is_listed(output: Path | None, file: Path | None) -> bool:
    """Return whether an earlier run of the same command has begun this file."""
    from activity_cli.predict.results.journal import journal_path, read_header

    if output is None or not journal_path(output).exists():
        return False
    return str(file) in read_header(journal_path(output))[1]


def _show_missing(paths: "Sequence[Path]", own: PredictOptions, *, json: bool) -> None:
    """Report files that are all missing, before any model is loaded."""
    from activity_cli.errors import did_you_mean
    from activity_cli.types import FileResult, Status

    for path in paths:
        beside = [str(file) for file in path.parent.glob("*")] if path.parent.is_dir() else []
        reason = f"There is no file at this path.{did_you_mean(str(path), beside)}"
        if json:
            from activity_cli.predict.results import RowSchema

            result = FileResult(path=str(path), status=Status.MISSING, reason=reason)
            row = RowSchema(top_k=own.top_k, labels=()).row(result)
            typer.echo(jsonlib.dumps(row | {"segments": []}))
        else:
            typer.echo(f"{path}  missing  {reason}")


class _Run:
    """The files of one call: scores them and prints the results, as JSON or all at the end."""

    def __init__(
        self,
        predictor: "Predictor",
        paths: list[Path],
        own: PredictOptions,
        batch: BatchOptions,
        report: ProgressReport,
        *,
        as_json: bool,
    ) -> None:
        from activity_cli.predict.batch import Tally
        from activity_cli.predict.results import RowSchema

        self._predictor, self._paths, self._own, self._batch = predictor, paths, own, batch
        self._report, self._as_json = report, as_json
        describes = predictor.description.captions is not None
        labels = predictor.description.labels if own.all_scores and not describes else ()
        self._schema = RowSchema(top_k=own.top_k, labels=labels, captions=describes)
        self._results: ResultFile | None = None
        self._windows: WindowFile | None = None
        self._tally = Tally()
        self._shown: list[FileResult] = []
        self._segmented: list[VideoSegments] = []

    def open_results(
        self, path: Path, outputs: "Sequence[Path]", *, overwrite: bool
    ) -> "ResultFile":
        """Begin the file for one row per video, or resume it."""
        from activity_cli.predict.batch import SHARD, ResultFile
        from activity_cli.video.sources import Shard

        batch = self._batch
        shard = {SHARD: str(Shard.parse(batch.shard))} if batch.shard else {}
        self._results = ResultFile(
            path,
            self._paths,
            self._schema,
            provenance={**self._predictor.provenance, **shard},
            outputs=outputs,
            overwrite=overwrite,
            retry_failed=batch.retry_failed,
            verify_content=batch.verify_content,
        )
        return self._results

    def open_windows(self, path: Path, *, overwrite: bool) -> "WindowFile":
        """Begin the file of the windows' scores, or add to that of a resumed run.

        `overwrite`: a file that is there may be replaced.
        """
        from activity_cli.predict.results.window_file import WindowFile

        results = self._results
        self._windows = WindowFile(
            path,
            self._predictor.description.labels,
            resumes=results is not None and results.num_kept > 0,
            overwrite=overwrite,
        )
        return self._windows

    def score(
        self,
        visuals: "VisualWriter | None",
        frames: "FrameFiles | None",
        *,
        look: bool,
        stop: "Event",
    ) -> None:
        """Score the files that have no row yet; make the pictures and the frame file of each."""
        from activity_cli.predict.batch import FailureLimit, score_files

        num_files, num_kept = len(self._paths), self._results.num_kept if self._results else 0
        num_left = num_files - num_kept
        if num_files > 1:
            kept = f", {num_kept} scored before: {num_left}" if num_kept else ""
            self._report.note(f"{num_files} files{kept} to score.")
        limit = self._batch.max_failures
        outputs: list[Callable[[FileResult], None]] = []
        if visuals:
            draw = partial(visuals.make, on_progress=self._report, on_note=self._report.note)
            outputs.append(draw)
        if frames:
            outputs.append(frames.write)
        if self._windows:
            outputs.append(self._windows.write)

        def before_row(result: "FileResult") -> None:
            for write in outputs:
                write(result)

        for result in score_files(
            self._predictor,
            self._paths,
            results=self._results,
            limit=FailureLimit.parse(limit) if limit else None,
            look=look,
            before_row=before_row,
            stop=stop,
        ):
            self._add(result)
            if num_files > 1:  # a single file needs no progress
                failed = self._tally.num_without_score
                self._report.detail(f"{failed} without a score" if failed else "")
                self._report("predict", self._tally.num_files, num_left)

    def _add(self, result: "FileResult") -> None:
        """Count, print or keep a result."""
        from activity_cli.predict.results.segment_files import segment_values, video_segments

        self._tally.add(result)
        if self._as_json:
            segments = [segment_values(segment) for segment in result.segments]
            row = self._schema.row(result) | {"segments": segments}
            if result.captions:
                best = result.captions[0]
                row["words"] = list(zip(best.words, best.probabilities, strict=True))
            typer.echo(jsonlib.dumps(row))
        elif not self._results:
            self._shown.append(result)
        if not self._results and (video := video_segments(result)):
            self._segmented.append(video)

    def videos(self) -> "Iterable[VideoSegments]":
        """Return the segments of the files that have a score."""
        return self._results.videos() if self._results else self._segmented

    @property
    def num_without_score(self) -> int:
        """Number of files without a score, also of earlier runs."""
        before = self._results.num_kept_without_score if self._results else 0
        return self._tally.num_without_score + before

    def show(self, segment_files: "Sequence[Path]", seconds: float | None) -> None:
        """Print the results that are not in a file, and the summary if there are seconds."""
        from activity_cli.report.terminal import console

        own, results = self._own, self._results
        if self._shown:
            if own.sort == "score":
                self._shown.sort(key=lambda r: -r.prediction.score if r.prediction else 1)
            shown = console.show_predictions(self._shown, top_k=own.top_k)
            console.results_console().print(shown)
        if seconds is None:
            return
        summary = console.show_tally(
            self._tally,
            seconds,
            own.output,
            segment_files=segment_files,
            num_kept=results.num_kept if results else 0,
            num_kept_without_score=results.num_kept_without_score if results else 0,
        )
        is_default = own.model is None
        scored_by = console.show_model(self._predictor.description, is_default=is_default)
        console.messages_console().print(scored_by, summary, sep="\n")


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
