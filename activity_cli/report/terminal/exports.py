"""Exports and benchmarks -> tables for the terminal, and a chart of a benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.report.figures import new_figure, save_figure
from activity_cli.report.terminal import new_table

if TYPE_CHECKING:
    from activity_cli.export.benchmark import BenchmarkRow
    from activity_cli.export.exporting import ExportReport


def show_export(report: "ExportReport") -> RenderableType:
    """Show one line per format and case, then one per format with size and time."""
    numbers = slice(1, None)
    columns = ("format", "clips", "frames", "compared", "max difference", "same label")
    cases = new_table(*columns, right=numbers)
    files = new_table("format", "MB", "ms per clip", "mean difference", "", right=numbers)
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


_COLOURS = {"openvino": "#3465a4", "onnx": "#d9822b", "torch": "#6b7280"}


def show_benchmark(rows: "Sequence[BenchmarkRow]", output: Path | None) -> RenderableType:
    """Show the rows, the fastest first; 80 columns wide."""
    columns = ("engine", "frames/s", "ms/clip", "start s", "size MB", "MiB", "differs", "agrees")
    table = new_table(*columns, right=slice(1, None))
    fastest = _fastest_first(rows)
    for rank, row in enumerate(fastest):
        name = Text(row.name, "bold" if rank == 0 else "")
        table.add_row(
            name,
            f"{row.frames_per_second:.0f}",
            f"{row.ms_per_clip:.0f}",
            f"{row.cold_start_seconds:.1f}",
            f"{row.size_mb:.1f}",
            "" if row.peak_mib is None else f"{row.peak_mib:.0f}",
            f"{row.max_difference:.1e}" if row.max_difference else "0",
            f"{row.label_agreement:.1%}",
        )
    failures = [Text(f"Skipped {row.name}: {row.failure}", "dim") for row in rows if row.failure]
    legend = Text(
        "frames/s: CNN only · ms/clip: with decoding · start: from process start to first result\n"
        "differs: largest score difference from torch fp32 · agrees: clips with the same label",
        "dim",
    )
    where = [Text(f"Written to {output}", "dim")] if output is not None else []
    return Group(table, *failures, legend, *where)


def plot_benchmark(rows: "Sequence[BenchmarkRow]", path: Path) -> None:
    """Draw frames per second as bars, the fastest on top.

    Raises:
        OutputError: the chart cannot be written.
    """
    ranked = _fastest_first(rows)[::-1]
    figure = new_figure(8, 1.1 + 0.42 * len(ranked))
    axes = figure.subplots()
    rates = [row.frames_per_second or 0.0 for row in ranked]
    colours = [_COLOURS[row.engine] for row in ranked]
    bars = axes.barh([row.name for row in ranked], rates, color=colours, height=0.62)
    labels = [
        f"{rate:.0f}  ·  {row.ms_per_clip:.0f} ms per clip  ·  {row.label_agreement:.1%} agree"
        for rate, row in zip(rates, ranked, strict=True)
    ]
    axes.bar_label(bars, labels, padding=5, fontsize=8.5, color="#374151")
    axes.set_xlim(0, 1.55 * max(rates))  # room for the labels
    axes.set_title("Frames per second through the CNN", loc="left", fontsize=11)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    save_figure(figure, path)


def _fastest_first(rows: "Sequence[BenchmarkRow]") -> "list[BenchmarkRow]":
    measured = [row for row in rows if not row.failure]
    return sorted(measured, key=lambda row: -(row.frames_per_second or 0.0))
