"""A row per video: coloured bars where actions happen. Bars that overlap lie in lanes."""

from collections.abc import Sequence
from pathlib import Path

from activity_cli.evaluation.recordings import Recording
from activity_cli.evaluation.segment_metrics import Bout
from activity_cli.report.figures import label_colours, new_figure, save_figure
from activity_cli.report.terminal import clock, printable

MOST_VIDEOS = 60  # in one picture
_MOST_IN_LEGEND = 21  # colours that differ
_MOST_CHARACTERS = 32  # of a name
_INK, _GREY, _EMPTY = "#1f2937", "#6b7280", "#f3f4f6"
_STEPS = (*(1, 2, 5, 10, 15, 30), *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200))


def plot_gantt(
    recordings: Sequence[Recording], labels: Sequence[str], paths: Sequence[Path]
) -> None:
    """Draw the first 60 videos into files, .png or .svg, with a legend of the labels."""
    from matplotlib.patches import Patch

    shown = recordings[:MOST_VIDEOS]
    colours = label_colours(labels)
    row = 0.6 if len(shown) <= 6 else 0.34  # inches
    figure = new_figure(10, 1.1 + row * len(shown))
    axes = figure.subplots()
    for number, one in enumerate(shown):
        axes.broken_barh([(0, one.duration_seconds)], (number - 0.39, 0.78), facecolors=_EMPTY)
        lanes = _lanes(one.bouts)
        height = 0.78 / max(len(lanes), 1)
        for lane, bouts in enumerate(lanes):
            axes.broken_barh(
                [(b.start_seconds, b.end_seconds - b.start_seconds) for b in bouts],
                (number - 0.39 + lane * height, height),
                facecolors=[colours[bout.label] for bout in bouts],
                edgecolors=[colours[bout.label] for bout in bouts],  # short bouts stay visible
                linewidth=0.4,
            )
    names = [printable(Path(one.path).name) for one in shown]
    short = [n if len(n) <= _MOST_CHARACTERS else f"...{n[-_MOST_CHARACTERS:]}" for n in names]
    axes.set_yticks(range(len(shown)), short, color=_INK, fontsize=9)
    longest = max(one.duration_seconds for one in shown)
    step = next((step for step in _STEPS if longest / step <= 10), longest / 10)
    ticks = [number * step for number in range(int(longest / step + 1e-9) + 1)]
    axes.set_xticks(ticks, [clock(tick, tenths=False) for tick in ticks], color=_GREY, fontsize=8.5)
    axes.set(xlim=(0, longest), ylim=(len(shown) - 0.5, -0.5))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    if len(recordings) > len(shown):
        text = f"first {len(shown)} of {len(recordings)} videos"
        axes.set_title(text, loc="left", fontsize=9, color=_GREY)
    figure.legend(
        handles=[Patch(color=colours[label], label=label) for label in labels[:_MOST_IN_LEGEND]],
        loc="outside lower center",
        ncols=min(len(labels), 7),
        frameon=False,
        fontsize=9,
    )
    for path in paths:
        save_figure(figure, path)


def _lanes(bouts: Sequence[Bout]) -> list[list[Bout]]:
    """Put each bout into the first lane where it overlaps no other; bouts are by start."""
    lanes: list[list[Bout]] = []
    for bout in bouts:
        free = (lane for lane in lanes if lane[-1].end_seconds <= bout.start_seconds + 1e-3)
        lane = next(free, None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(bout)
    return lanes
