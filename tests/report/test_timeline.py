"""What the terminal shows of segments, at any width, with colours and without."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import Console

from activity_cli.report.figures import label_colours
from activity_cli.report.terminal import clock
from activity_cli.report.terminal.timeline import show_timeline
from activity_cli.types import Segment, Timeline


def scores(end: float, labels: Sequence[str] = ("run", "wave"), sure: float = 0.9) -> Timeline:
    rows = np.full((round(end), len(labels)), (1 - sure) / (len(labels) - 1), np.float32)
    rows[:, 0] = sure
    starts = np.arange(len(rows), dtype=np.float64)
    return Timeline(
        labels=tuple(labels),
        starts_seconds=starts,
        window_seconds=2,
        end_seconds=end,
        scores=rows,
    )


def segment(start: float, end: float, label: str) -> Segment:
    return Segment(
        start_seconds=start, end_seconds=end, label=label, mean_score=0.875, peak_score=0.99
    )


def lines(timeline: Timeline, segments: Sequence[Segment], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), no_color=True, color_system=None)
    with console.capture() as capture:
        console.print(show_timeline(timeline, segments))
    return capture.get().splitlines()


THREE = [segment(0, 20, "wave"), segment(20, 50, "run"), segment(60, 80, "wave")]


@pytest.mark.parametrize("width", [24, 40, 80, 120])
def test_without_colours_letters_say_what_happens_when(width: int) -> None:
    _, bar, marks, *_ = lines(scores(80), THREE, width)

    eighth = width // 8
    expected = "W" * 2 * eighth + "R" * 3 * eighth + "·" * eighth + "W" * 2 * eighth
    assert bar == expected
    assert all(len(line) <= width for line in lines(scores(80), THREE, width))
    # Each mark stands under the column of its time.
    for column in (i for i, letter in enumerate(marks) if letter == "╵"):
        minutes, seconds = marks[column + 1 :].split("╵")[0].split(":")
        assert (60 * int(minutes) + int(seconds)) / 80 * width == pytest.approx(column, abs=1)
    assert marks.startswith("╵0:00")


def test_the_rest_says_how_long_and_how_sure() -> None:
    shown = lines(scores(80), THREE, 80)

    assert "W  wave 0:40.0" in shown[3]
    assert "R  run 0:30.0" in shown[3]
    assert "unknown 0:10.0" in shown[3]
    assert shown[-1].split() == ["1:00.0", "1:20.0", "0:20.0", "W", "wave", "87.5%", "99.0%"]


def test_bars_are_as_high_as_scores() -> None:
    high = lines(scores(80, sure=0.99), [segment(0, 40, "run"), segment(40, 60, "wave")], 80)[0]

    assert high == "█" * 40 + "▁" * 20 + " " * 20


def test_with_colours_each_label_has_its_own_and_a_letter_where_it_begins() -> None:
    console = Console(width=80, force_terminal=True, color_system="truecolor", file=io.StringIO())
    rendered = console.render_lines(show_timeline(scores(80), THREE))
    bar = [(cell.text, cell.style) for cell in rendered[1]]

    text = "".join(text for text, _ in bar)
    assert text == "W" + " " * 19 + "R" + " " * 29 + "·" * 10 + "W" + " " * 19
    colours = [style.bgcolor.name if style and style.bgcolor else None for _, style in bar]
    wave, run = (label_colours(scores(1).labels)[label] for label in ("wave", "run"))
    assert colours == [wave] * 20 + [run] * 30 + [None] * 10 + [wave] * 20


def test_what_is_shorter_than_a_column_is_shown_all_the_same() -> None:
    blip = [segment(0, 400, "run"), segment(400, 401, "wave"), segment(401, 800, "run")]

    bar = lines(scores(800), blip, 40)[1]

    assert bar == "R" * 20 + "W" + "R" * 19
    # Where every column is the only one of another, they stay.
    crowded = [segment(i, i + 1, "run" if i % 2 else "wave") for i in range(100)]
    assert len(lines(scores(100), crowded, 20)[1]) == 20


def test_no_segments_and_odd_labels() -> None:
    assert lines(scores(5), [], 30)[-1] == "No segments."
    odd = ("[bold]", "two\nlines", "走る", "\udcff", "Run", "run")
    segments = [segment(10 * i, 10 * i + 10, label) for i, label in enumerate(odd)]

    shown = lines(scores(60, odd), segments, 100)

    assert r"\udcff 0:10.0" in " ".join(shown[3:-6])
    assert "[bold]" in shown[-6]
    assert "two lines" in shown[-5]
    assert "走る" in shown[-4]
    assert "\\udcff" in shown[-3]
    letters = set(shown[1])
    assert len(letters) == len(odd)
    assert {"B", "T", "R"} <= letters


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00.0"),
        (12.44, "0:12.4"),
        (59.96, "1:00.0"),
        (3599.94, "59:59.9"),
        (3599.96, "1:00:00"),
        (3723.4, "1:02:03"),
        (90000, "25:00:00"),
    ],
)
def test_times_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
