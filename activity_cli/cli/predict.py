"""`activity predict`: name the action in a video, or score many."""

import json as jsonlib
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report
from activity_cli.settings import DEFAULT_MODEL

EXAMPLE = "activity predict footage/ --model runs/gym --output scores.csv"

EXIT_SOME_WITHOUT_SCORE = 3


@options.with_option_groups
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Videos, folders, globs, or a list (.txt, .csv)."),
    ],
    *,
    machine: options.MachineOptions,
    model: Annotated[str, typer.Option(help=options.MODEL_HELP)] = DEFAULT_MODEL,
    top_k: Annotated[int, typer.Option(help="Labels to give per video.", min=1)] = 3,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither look features up nor keep them.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="File for one row per video: .csv or .jsonl.")
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Name the action in a video, or score many.

    Every file gets one row with one status, and no score is made up for a file that cannot be
    read. A name that begins with a dash comes after two dashes: activity predict -- -odd.mp4
    """
    from activity_cli.bundle import load_model
    from activity_cli.features import ClipRequest
    from activity_cli.prediction import Predictor, Tally
    from activity_cli.report import console
    from activity_cli.report.writers import open_writer, result_row
    from activity_cli.sources import expand_sources

    started = time.perf_counter()
    paths = expand_sources(sources)
    chosen = load_model(model)
    tally = Tally()
    shown = []
    rows = open_writer(output, top_k=top_k, overwrite=overwrite) if output else nullcontext()
    with progress_report(quiet=quiet) as report:
        predictor = Predictor(
            chosen,
            cache_dir=machine.cache,
            engine=machine.choose_engine(),
            remember=not no_cache,
            decoders=machine.decoders(),
            on_prepare=report.note,
        )
        with rows as writer:  # only now, so that no old rows are replaced for nothing
            for result in predictor.predict(ClipRequest(path=path) for path in paths):
                tally.add(result)
                if writer is not None:
                    writer.write(result)
                if json:
                    typer.echo(jsonlib.dumps(result_row(result, top_k)))
                elif writer is None:
                    shown.append(result)
                if len(paths) > 1:
                    report("predict", tally.num_files, len(paths))

    if shown:
        out = console.results_console()
        one = len(shown) == 1
        out.print(
            console.show_result(shown[0], top_k=top_k) if one else console.show_results(shown)
        )
    if not quiet:
        notes = console.messages_console()
        notes.print(console.show_model(chosen.description, is_default=model == DEFAULT_MODEL))
        notes.print(console.show_tally(tally, time.perf_counter() - started, output))
    if tally.num_without_score:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
