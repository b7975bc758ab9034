"""A benchmark's rows -> a table for the terminal, and a chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.report.figures import new_figure, save_figure
from activity_cli.report.terminal import new_table

if TYPE_CHECKING:
    from activity_cli.export.benchmark import BenchmarkRow

_COLOURS = {"openvino": "#3465a4", "onnx": "#d9822b", "torch": "#6b7280"}


def show_benchmark(rows: "Sequence[BenchmarkRow]", output: Path | None) -> RenderableType:
    """Show the rows, the fastest first; 80 columns wide."""
    table = new_table(
        "engine", "frames/s", "ms/clip", "start s", "size MB", "MiB", "differs", "agrees"
    )
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    fastest = _fastest_first(rows)
    for rank, row in enumerate(fastest):
        name = Text(row.name, "bold" if rank == 0 else "")
        table.add_row(
            name,
            f"{row.frames_per_second:.0f}",
            f"{row.ms_per_clip:.0f}",
            f"{row.cold_start_seconds:.1f}",
            f"{row.size_mb:.1f}",
            f"{row.peak_mib:.0f}",
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
        f"{rate:.0f}  ·  {row.ms_per_clip:.0f} ms per clip  ·  {row.label_agreement:.0%} agree"
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
