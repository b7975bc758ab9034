"""`activity check`: decode every file; report damage, odd properties and duplicates."""

import signal
from dataclasses import dataclass
from pathlib import Path

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, StoppedError, options
from activity_cli.cli.progress import progress_report, stop_on_signals
from activity_cli.setting_fields import setting


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Which files are decoded, and how."""

    pattern: tuple[str, ...] = setting(())
    """Only files that match, e.g. '*.mp4'; can be given several times."""
    exclude: tuple[str, ...] = setting((), metavar="PATTERN")
    """Leave out files that match, e.g. '*/old/*'."""
    videos: Path | None = setting(None, metavar="FOLDER", rare=True)
    """Folder of the videos that a CSV or an annotation file names."""
    workers: int | None = setting(None, at_least=1, derived="one per core")
    """Videos decoded at the same time."""
    timeout: float = setting(3600.0, metavar="SECONDS")
    """Seconds that the decoding of one file may take."""
    output: Path | None = setting(None, metavar="FILE")
    """File for one row per video: .csv, .jsonl or .parquet."""


def check(
    sources: options.Sources,
    *,
    own: CheckOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Decode every file; report damage, odd properties and duplicates.

    Each file is decoded to its end in a worker process, so a file that crashes or hangs does not
    stop the others. Re-encoded, resized and trimmed copies are found as well; for labelled data
    the report lists copies across labels, groups, splits or folds.

    Example:  activity check clips/ --output check.csv
    """
    from activity_cli.data.inspection.checks import FileCheck
    from activity_cli.data.inspection.survey import find_files, survey
    from activity_cli.predict.results import check_rows_file, write_rows
    from activity_cli.report.terminal import check as report_of

    files, reasons = find_files(sources, own.pattern, own.exclude, videos=own.videos)
    if own.output is not None:
        check_rows_file(own.output, overwrite=overwrite)
    num_files, num_done, num_unsound = len(files), 0, 0
    with (
        progress_report(quiet=quiet) as report,
        stop_on_signals(signal.SIGINT, note=report.note) as stop,
    ):
        for reason in reasons:
            report.note(f"Checked without labels: {reason}")

        def on_check(one: FileCheck) -> None:
            nonlocal num_done, num_unsound
            num_done, num_unsound = num_done + 1, num_unsound + (not one.is_sound)
            report.detail(f"{num_unsound} damaged" if num_unsound else "")
            report("check", num_done, num_files)

        report("check", 0, num_files)
        found = survey(
            files,
            num_workers=own.workers,
            timeout_seconds=own.timeout,
            stop=stop,
            on_check=on_check,
            on_compare=lambda done: report("compare", done, 1),
        )
    options.print_result(
        report_of.make_document(found), lambda: report_of.show_survey(found), json=json
    )
    if own.output is not None:  # last: a full disk must not cost the report
        write_rows(own.output, report_of.COLUMNS, report_of.make_rows(found))
        options.print_note(f"Rows: {own.output}", quiet=quiet)
    if stop.is_set():
        raise StoppedError(f"Interrupted. {num_done} of {num_files} files were checked.")
    if found.overview.num_unsound:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
