"""`activity predict`: name the action in a video, or score many."""

import json as jsonlib
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.interrupts import finish_on_interrupt
from activity_cli.cli.progress import progress_report
from activity_cli.settings import DEFAULT_MODEL

EXAMPLE = "activity predict footage/ --model runs/gym --output scores.csv"

EXIT_SOME_WITHOUT_SCORE = 3


@options.with_option_groups
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE", help="Videos, folders, globs, a list (.txt, .csv), or - for stdin."
        ),
    ],
    *,
    machine: options.MachineOptions,
    batch: options.BatchOptions,
    model: Annotated[str, typer.Option(help=options.MODEL_HELP)] = DEFAULT_MODEL,
    top_k: Annotated[int, typer.Option(help="Labels to give per video.", min=1)] = 3,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Rows give the score of every label.")
    ] = False,
    reject: options.Reject = "off",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither look features up nor keep them.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="File for one row per video: .csv, .jsonl or .parquet.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Name the action in a video, or score many.

    Every file gets one row with one status, and no score is made up for a file that cannot be
    read. The same command again does only what is missing, changed or was not finished. A name
    that begins with a dash comes after two dashes: activity predict -- -odd.mp4
    """
    from activity_cli.batch import score_files
    from activity_cli.prediction import Tally, load_predictor
    from activity_cli.rejection import with_rejection
    from activity_cli.report import console
    from activity_cli.report.result_file import RowShape, open_results
    from activity_cli.sources import find_sources

    started = time.perf_counter()
    paths = batch.select(find_sources(sources))
    if batch.dry_run:
        console.results_console().print(console.show_plan(paths, output))
        return
    tally, shown = Tally(), []
    with progress_report(quiet=quiet) as report, finish_on_interrupt(report.note) as stop:
        predictor = load_predictor(
            model,
            cache_dir=machine.cache,
            engine=machine.asked_engine(),
            remember=not no_cache,
            decoders=machine.decoders(),
            on_prepare=report.note,
        )
        predictor = with_rejection(predictor, reject, on_rule=report.note)
        labels = predictor.description.labels
        shape = RowShape(top_k=top_k, labels=labels if all_scores else ())
        with (
            open_results(
                output,
                paths,
                shape,
                made_with=predictor.made_with,
                going_on=batch.going_on(overwrite=overwrite),
            )
            if output
            else nullcontext()
        ) as results:
            num_kept = results.count_kept(paths) if results else 0
            if len(paths) > 1:
                report.note(console.describe_plan(len(paths), num_kept))
                report("predict", 0, len(paths) - num_kept)
            for result in score_files(
                predictor, paths, results=results, limit=batch.failure_limit(), stop=stop
            ):
                tally.add(result)
                if json:
                    typer.echo(jsonlib.dumps(shape.row(result)))
                elif results is None:
                    shown.append(result)
                if len(paths) > 1:
                    report.detail(console.describe_failures(tally))
                    report("predict", tally.num_files, len(paths) - num_kept)
    if shown:
        out = console.results_console()
        one = len(shown) == 1
        out.print(
            console.show_result(shown[0], top_k=top_k) if one else console.show_results(shown)
        )
    if not quiet:
        notes = console.messages_console()
        notes.print(console.show_model(predictor.description, is_default=model == DEFAULT_MODEL))
        failed_before = results.num_kept_without_score if results else 0
        seconds = time.perf_counter() - started
        notes.print(
            console.show_tally(
                tally,
                seconds,
                output,
                num_kept=num_kept,
                num_kept_without_score=failed_before,
            )
        )
    if stop.is_set():
        raise KeyboardInterrupt
    if tally.num_without_score or (results and results.num_kept_without_score):
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
