"""`activity sample`, `merge`, `models` and `cache`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import EXIT_SOME_WITHOUT_SCORE, options
from activity_cli.cli.progress import progress_report
from activity_cli.common.cache import default_cache_dir


def sample(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the clips.")],
    clips_per_label: Annotated[int, typer.Option(help="Clips of each action.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="The same seed draws the same clips.", min=0)] = 0,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Draw only this action; can be given several times."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw labelled clips of a moving figure, to try training with.

    Example:  activity sample clips --clips-per-label 12
    """
    from activity_cli.sampledata import ACTIONS, draw_dataset

    labels = tuple(label) if label else ACTIONS
    with progress_report(quiet=quiet) as report:
        table = draw_dataset(
            output,
            clips_per_label=clips_per_label,
            seed=seed,
            labels=labels,
            on_progress=report,
        )
    typer.echo(f"{clips_per_label * len(labels)} clips of {len(labels)} actions in {output}")
    typer.echo(f"Labels and persons: {table}", err=True)
    typer.echo(f"Next:  activity train {output}", err=True)


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES", help="Results of predict: .csv, .jsonl or .parquet."),
    ],
    *,
    output: Annotated[Path, typer.Option(help="File for all rows: .csv, .jsonl or .parquet.")],
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


def models(json: options.Json = False) -> None:
    """List the shipped models and the pretrained CNNs (backbones).

    Example:  activity models
    """
    from activity_cli.features.backbones import list_backbones
    from activity_cli.model.folder import load_model, shipped_models
    from activity_cli.report.terminal.console import messages_console, show_models

    with messages_console().status("Reading the catalogue of CNNs"):
        shipped = [load_model(folder).description for folder in shipped_models()]
        backbones = list_backbones()
    values = {
        "models": [{"name": m.name, **m.to_json()} for m in shipped],
        "backbones": [asdict(backbone) for backbone in backbones],
    }
    options.print_result(values, lambda: show_models(shipped, backbones), json=json)


def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all of it. It is made again when needed.")
    ] = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(envvar="ACTIVITY_CACHE_DIR", help="Cache folder.", show_default="the user's"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show the size of the cache of features and prepared CNNs, or clear it.

    Example:  activity cache --clear
    """
    from activity_cli.common.cache import cache_sizes, clear_cache
    from activity_cli.report.terminal.console import show_cache

    folder = cache_dir or default_cache_dir()
    sizes = clear_cache(folder) if clear else cache_sizes(folder)
    values = {"folder": str(folder), "cleared": clear, **sizes}
    options.print_result(values, lambda: show_cache(folder, sizes, cleared=clear), json=json)
