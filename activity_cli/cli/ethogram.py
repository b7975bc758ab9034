"""`activity ethogram`: how often and how long actions happen, per video."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from activity_cli.cli import options
from activity_cli.errors import DataError
from activity_cli.setting_fields import setting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activity_cli.evaluation.agreement import Agreement
    from activity_cli.evaluation.recordings import Recording


@dataclass(frozen=True, kw_only=True)
class EthogramOptions:
    """What is compared, and where the tables go."""

    output: Path | None = setting(None, metavar="FOLDER")
    """Folder for the tables (CSV) and the Gantt picture (PNG, SVG)."""
    videos: Path | None = setting(None, metavar="FOLDER", derived="beside the file")
    """Folder of the videos, for their lengths where no result file has them."""
    bin: float | None = setting(None, above=0, metavar="SECONDS")
    """Also write the figures of each part of so many seconds."""
    group_by: str | None = setting(None, metavar="COLUMN")
    """Compare the groups of videos that this column of a given table states."""
    against: Path | None = setting(None, metavar="FILE")
    """Annotations of a person to compare with, in any format of `activity import`."""


def ethogram(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS", help="Files of segments, results or annotations, or their folder."
        ),
    ],
    *,
    own: EthogramOptions,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show how often and how long actions happen: time budgets, agreement.

    Reads what predict --segments and --output write, and every format of activity import.
    Intervals of groups come from the bootstrap over videos.

    Example:  activity ethogram segments.csv scores.csv --output ethogram
    """
    from activity_cli.cli.progress import progress_report
    from activity_cli.common.files import new_folder
    from activity_cli.evaluation.ethogram import (
        compare_groups,
        labels_of,
        time_budgets,
        transitions,
    )
    from activity_cli.evaluation.recordings import group_names, read_recordings
    from activity_cli.report.terminal.ethogram import show_ethogram

    with progress_report(quiet=quiet) as report:
        recordings = read_recordings(
            results, videos=own.videos, group_by=own.group_by, on_warning=report.warn
        )
        labels = labels_of(recordings)
        groups = group_names(recordings) if own.group_by else {}
        figures = list(compare_groups(groups, labels))
        agreement = None
        if own.against is not None:
            agreement = _compare(recordings, own.against, own.videos, report.warn)
    if own.output is not None:
        from activity_cli.report.ethogram_folder import write_ethogram

        write_ethogram(
            new_folder(own.output, overwrite=overwrite),
            recordings,
            labels,
            bin_seconds=own.bin,
            figures=figures,
            agreement=agreement,
        )
    bins = time_budgets(recordings, bin_seconds=own.bin)
    values = {
        "videos": [{"path": one.path, "seconds": one.duration_seconds} for one in recordings],
        "labels": labels,
        "budgets": [
            {"path": b.path, "label": b.label, "start": b.start_seconds, "end": b.end_seconds}
            | b.values()
            for b in bins
        ],
        "transitions": transitions(recordings, labels).tolist(),
        "agreement": agreement.to_json() if agreement else None,
    }
    shown = show_ethogram
    options.print_result(values, lambda: shown(recordings, labels, figures, agreement), json=json)
    if own.output is not None:
        options.print_note(f"Tables and gantt.png: {own.output}", quiet=quiet)


def _compare(
    recordings: "Sequence[Recording]",
    path: Path,
    videos: Path | None,
    on_warning: "Callable[[str], None]",
) -> "Agreement":
    """Compare with the annotations of a person; videos that these lack are left out."""
    from activity_cli.common import and_more
    from activity_cli.evaluation.agreement import measure_agreement
    from activity_cli.evaluation.ethogram import labels_of
    from activity_cli.evaluation.recordings import match_recordings, read_recordings

    others = read_recordings([path], videos=videos, needs_lengths=False, on_warning=on_warning)
    matched = match_recordings(recordings, others)
    pairs = [(one, other) for one, other in matched if other is not None]
    if missing := [one.path for one, other in matched if other is None]:
        on_warning(f"Not in {path}, left out of the agreement: {and_more(missing, 3)}.")
    labels = sorted({*labels_of(recordings), *labels_of(others)})
    common = set(labels_of(recordings)) & set(labels_of(others))
    if not pairs or not common:
        what = "label" if pairs else "video"
        raise DataError(
            f"{path} has no {what} in common with the results.",
            hint=f"Labels there: {and_more(labels_of(others), 10)}. Videos there: "
            f"{and_more([other.path for other in others], 3)}.",
        )
    return measure_agreement(pairs, labels)
