"""`activity merge`: join the results of several machines."""

from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, options


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Results of predict: .csv, .jsonl or .parquet."),
    ],
    *,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="File for all rows: .csv, .jsonl or .parquet.")
    ],
    partial: Annotated[
        bool, typer.Option("--partial", help="Merge even if a shard is missing.")
    ] = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Join files of results into one, with one row per path, sorted by path.

    The files must have the same columns, model, engine and precision, and no shard may be missing.
    Equal rows count once. A row with a score replaces one without, and the row of a later version
    of a video replaces an earlier one. Journals beside the files are merged as well, so that
    predict can resume from the output.

    Example:  activity merge shards/*.csv --output all.csv
    """
    from activity_cli.predict.results.merging import merge_results
    from activity_cli.report.terminal.console import messages_console, show_merged

    merged = merge_results(files, output, overwrite=overwrite, partial=partial)
    if json:
        options.print_result(merged.to_json(), lambda: "", json=True)
    elif not quiet:
        messages_console().print(show_merged(merged, output))
    if merged.num_without_score:
        raise typer.Exit(EXIT_SOME_WITHOUT_SCORE)
