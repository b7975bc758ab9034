"""`activity merge`: the results of several machines as one file."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options

EXAMPLE = "activity merge shards/*.csv --output all.csv"

EXIT_SOME_WITHOUT_SCORE = 3


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES", help="Results of predict: .csv, .jsonl or .parquet."),
    ],
    *,
    output: Annotated[
        Path, typer.Option(help="File for the rows of all: .csv, .jsonl or .parquet.")
    ],
    partial: Annotated[
        bool, typer.Option("--partial", help="Merge though a shard is missing.")
    ] = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Join files of results into one, with one row per path, sorted by path.

    Checks that they belong together: the same columns, model, engine and precision, every shard
    there. The same row twice counts once; a row with a score comes before one without, and one of
    a later version of a video before an earlier one. Journals beside the files are merged as
    well, so that predict goes on from the output.
    """
    from activity_cli.predict.results.merging import merge_results
    from activity_cli.report.terminal.console import messages_console, show_merged

    merged = merge_results(files, output, overwrite=overwrite, partial=partial)
    if json:
        typer.echo(jsonlib.dumps(merged.to_json(), indent=2))
    elif not quiet:
        messages_console().print(show_merged(merged, output))
    if merged.num_without_score:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
