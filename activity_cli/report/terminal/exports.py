"""Exports -> tables for the terminal: each format beside torch."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.report.terminal import new_table

if TYPE_CHECKING:
    from activity_cli.export.exporting import ExportReport


def show_export(report: "ExportReport") -> RenderableType:
    """Show one line per format and case, then one per format with size and time."""
    cases = new_table("format", "clips", "frames", "compared", "max difference", "same label")
    files = new_table("format", "MB", "ms per clip", "mean difference", "")
    for table in (cases, files):
        for column in table.columns[1:]:
            column.justify = "right"
    for parity in report.parities:
        for number, row in enumerate(parity.rows):
            share = f"{row.num_same_label} of {row.num_clips}"
            cases.add_row(
                parity.format if number == 0 else "",
                str(row.batch_size),
                str(row.num_frames),
                str(row.num_clips),
                f"{row.largest_difference:.1e}",
                Text(share, "red" if row.num_wrong_label else ""),
            )
        verdict = Text("beyond tolerance", "red") if parity.failure else Text("passed", "green")
        time, mean = f"{parity.milliseconds:.0f}", f"{parity.mean_difference:.1e}"
        files.add_row(Text(parity.format, "bold"), f"{parity.megabytes:.1f}", time, mean, verdict)
    torch_time = f"{report.parities[0].torch_milliseconds:.0f}"
    files.add_row(Text("torch", "dim"), "", torch_time, "", "")
    source = f"Compared with torch on {report.num_clips} clips: {report.verified_on}."
    return Group(Text(source, "dim"), cases, Text(), files)
