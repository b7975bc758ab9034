"""Imported annotations -> what the terminal shows."""

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.data.annotations.imported import Imported
from activity_cli.report.terminal import new_table, printable


def show_imported(imported: Imported) -> RenderableType:
    """Show the number of events per file, then the number that was imported per label."""
    files = new_table("file", "format", "events", "points", "other subjects", "problems")
    for source in imported.sources:
        numbers = (source.num_events, source.num_points, source.num_other_subjects)
        problems = sum(one.count for one in source.problems.values())
        cells = (printable(str(source.path)), source.format, *numbers, problems)
        files.add_row(*(Text(str(cell)) for cell in cells))
    labels = new_table("label", "events", "videos")
    for label, counts in imported.labels().items():
        labels.add_row(*(Text(str(cell)) for cell in (printable(label), *counts)))
    summary = f"{count_of(len(imported), 'event')} imported"
    if imported.num_repeated:
        summary += f", after {count_of(imported.num_repeated, 'repetition')} were merged"
    return Group(files, Text(), labels, Text(), Text(f"{summary}."))
