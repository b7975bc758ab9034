"""`activity find`: moments in footage that are like an example."""

from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.moments import MomentOptions
from activity_cli.cli.predict_options import LengthOptions
from activity_cli.cli.progress import progress_report
from activity_cli.errors import DataError

_seconds = typer.Option(metavar="SECONDS", min=0, help="Where the example begins in its video.")
_end = typer.Option(metavar="SECONDS", min=0, help="Where it ends.")


def find(
    example: Annotated[
        Path, typer.Argument(metavar="EXAMPLE", help="A clip, or a video with --start and --end.")
    ],
    footage: options.Sources,
    *,
    start: Annotated[float | None, _seconds] = None,
    end: Annotated[float | None, _end] = None,
    own: MomentOptions,
    lengths: LengthOptions,
    machine: options.MachineOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find moments in videos that are like an example.

    Compares the features of the example with those of sliding windows, by the cosine. The features
    are cached: a second search takes seconds.

    Example:  activity find day1.mp4 footage/ --start 12 --end 14 --storyboard found.png
    """
    own.check(overwrite=overwrite)
    from activity_cli.predict.moments import find_similar
    from activity_cli.video.sources import expand_sources

    paths = expand_sources(footage)
    with (
        progress_report(quiet=quiet) as report,
        own.embedding(lengths, machine, report, may_ask=not (json or quiet)) as (_, embed),
    ):
        query = embed([example], start, end)
        if not query:
            raise DataError(f"{example} cannot be used as the example.", hint="Check the file.")
        videos = embed(paths, None, None)
    span = None if start is None and end is None else (start or 0.0, end or float("inf"))
    moments = find_similar(query[0], videos, most=own.count, span=span)
    piece = "" if span is None else f", {span[0]:g} to {span[1]:g} s"
    title = f"Most like {example.name}{piece}"
    own.give(moments, title=title, value="cosine", json=json, quiet=quiet)
