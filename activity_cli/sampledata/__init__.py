"""Draws labelled clips of a person who does something, for demos and tests.

The people, their clothes, the places, the light and the camera differ from clip to clip and have
nothing to do with the label. Two pairs of actions, sit_down / stand_up and pick_up / put_down, are
the same movement forwards and backwards: only the order in time tells which it is.
"""

import csv
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from activity_cli.errors import OutputError, SettingsError
from activity_cli.sampledata.actions import ACTIONS
from activity_cli.sampledata.camera import FRAME_HEIGHT, FRAME_WIDTH
from activity_cli.sampledata.canvas import Picture
from activity_cli.sampledata.clip import make_up_clip
from activity_cli.sampledata.person import Person
from activity_cli.types import OnProgress, no_progress

__all__ = ["ACTIONS", "draw_dataset"]


def draw_dataset(
    output: Path,
    *,
    clips_per_label: int = 12,
    seed: int = 0,
    labels: Sequence[str] = ACTIONS,
    on_progress: OnProgress = no_progress,
) -> Path:
    """Draw clips to `output/<label>/` and list them in `output/labels.csv`.

    The CSV has columns path, label and group; the group is the person, and each person does
    everything. The same seed gives the same files, and more clips keep those that fewer give.

    Args:
        output: A folder that does not exist or is empty.
        clips_per_label: How many clips of each action.
        seed: 0 or more.
        labels: Which of `ACTIONS`.
        on_progress: Hears of every clip that is done.

    Returns:
        The CSV, which is written last.

    Raises:
        SettingsError: a label is not known, or a number is out of range.
        OutputError: the folder has something in it or cannot be written.
    """
    _check(clips_per_label, seed, labels)
    total = len(labels) * clips_per_label
    rows = []
    try:
        _claim(output)
        with tempfile.TemporaryDirectory(prefix=".drawing-", dir=output) as scratch:
            on_progress("draw", 0, total)
            for index in range(clips_per_label):
                for label in labels:
                    person = _person_of_clip(index)
                    name = f"{label}/person{person:02d}_{index:03d}.mp4"
                    unfinished = Path(scratch) / "clip.mp4"
                    _draw_file(unfinished, label, person, index, seed)
                    (output / label).mkdir(exist_ok=True)
                    unfinished.replace(output / name)
                    rows.append((name, label, f"person{person:02d}"))
                    on_progress("draw", len(rows), total)
            return _write_table(output, Path(scratch), sorted(rows))
    except OSError as error:
        raise OutputError(
            f"The clips cannot be written to {output}: {error.strerror or error}.",
            hint="Choose another folder with --output, or free some space.",
        ) from error


def _check(clips_per_label: int, seed: int, labels: Sequence[str]) -> None:
    if clips_per_label < 1:
        raise SettingsError(f"clips_per_label must be at least 1, got {clips_per_label}.")
    if seed < 0:
        raise SettingsError(f"seed must be at least 0, got {seed}.")
    if unknown := [label for label in labels if label not in ACTIONS]:
        raise SettingsError(
            f"No sample clips can be drawn of {', '.join(unknown)}.",
            hint=f"Choose from {', '.join(ACTIONS)}.",
        )
    if not labels or len(set(labels)) < len(labels):
        raise SettingsError("labels must name each action once, and at least one.")


def _claim(output: Path) -> None:
    """Make the folder, or see that it is empty."""
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise OutputError(
            f"{output} already has files in it.", hint="Choose a folder that is empty or new."
        )


def _person_of_clip(index: int) -> int:
    """Two people take turns for four clips, then the next two: everybody is in every label."""
    return 2 * (index // 4) + index % 2


def _draw_file(path: Path, label: str, person: int, index: int, seed: int) -> None:
    # A label's own number, so that its clips do not depend on which others are drawn.
    stream = zlib.crc32(label.encode())
    rng = np.random.default_rng([seed, stream, index])
    who = Person.draw(np.random.default_rng([seed, person]))
    clip = make_up_clip(label, who, rng)
    _write_video(path, clip.frame_rate, clip.frames())


def _write_video(path: Path, frame_rate: float, frames: Iterator[Picture]) -> None:
    """Encode frames as MPEG-4.

    Raises:
        OSError: there is no encoder, or the file did not come out whole.
    """
    import cv2

    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, frame_rate, (FRAME_WIDTH, FRAME_HEIGHT))
    if not writer.isOpened():
        raise OSError("OpenCV cannot write MPEG-4 video there")
    try:
        for frame in frames:
            writer.write(frame)
    finally:
        writer.release()
    # OpenCV does not say when the disk is full; then the index that ends a file is missing.
    if b"moov" not in path.read_bytes():
        raise OSError("a clip did not come out whole")


def _write_table(output: Path, scratch: Path, rows: list[tuple[str, str, str]]) -> Path:
    unfinished, table = scratch / "labels.csv", output / "labels.csv"
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "group"))
        writer.writerows(rows)
    unfinished.replace(table)
    return table
