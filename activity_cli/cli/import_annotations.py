"""`activity import`: annotations of other programs as a CSV of labelled pieces of videos."""

from pathlib import Path
from typing import Annotated

import typer

from activity_cli.cli import options
from activity_cli.cli.progress import progress_report
from activity_cli.data.annotations.formats import ImportOptions
from activity_cli.errors import OutputError


def import_annotations(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE", help="Files of BORIS, ELAN, CVAT, Label Studio and others."
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV for train: path,label,start,end.")
    ],
    own: ImportOptions,
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Leave out or repair what cannot be used, with a warning."),
    ] = False,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Convert annotations of other programs into a CSV of labelled pieces of videos.

    Reads BORIS, ELAN, CVAT, Label Studio, ActivityNet, VIA 3, DeepEthogram, FERAL, FiftyOne,
    Audacity, SRT, WebVTT, and tables with video,label,start,end. The content of a file decides
    which it is. Every event is imported, or counted with its place and the reason.

    Example:  activity import day1.boris --videos footage --output labels.csv
    """
    from activity_cli.common.files import check_new
    from activity_cli.data.annotations import importing
    from activity_cli.data.annotations.imported import write_labels
    from activity_cli.report.terminal.imported import show_imported

    if output.suffix.lower() != ".csv":
        raise OutputError(f"{output} does not end in .csv.", hint="Name it labels.csv.")
    check_new(output, overwrite=overwrite)
    with progress_report(quiet=quiet) as report:
        found = importing.import_annotations(
            sources,
            own,
            lenient=lenient,
            on_source=lambda done: report("import", done, len(sources)),
        )
        write_labels(found, output)
        for line in [*found.problems(), *found.overlaps()]:
            report.warn(line)
    options.print_result(found.to_json(), lambda: show_imported(found), json=json)
    options.print_note(f"Labels: {output}", quiet=quiet)
