"""Segments as files of annotation programs that count events or frames: BORIS, CVAT, DeepEthogram.

BORIS: its user guide and project format 7.0; BORIS 8.27 opens the files without a complaint. CVAT:
"CVAT for images 1.1", in which each frame has tags. Frames are counted from 0.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

from activity_cli.data.annotations.tables import BACKGROUND
from activity_cli.predict.results import SCORE_DIGITS, SECONDS_DIGITS
from activity_cli.predict.results.segment_formats import absolute_path, frame_range, one_line
from activity_cli.types import VideoSegments

_NUM_PLAYERS = 8


def boris_project(videos: Sequence[VideoSegments], labels: Sequence[str]) -> dict[str, Any]:
    """Return a project to open in BORIS, or to import observations from; one for each video."""
    now = datetime.now().isoformat(timespec="milliseconds")
    observations: dict[str, Any] = {}
    for video in videos:
        name, number = Path(video.path).stem, 1
        while name in observations:
            number += 1
            name = f"{Path(video.path).stem}-{number}"
        observations[name] = _observation(video, now)
    free = iter([*ascii_lowercase, *digits, *[""] * len(labels)])
    behaviours = {
        str(number): {
            "type": "State event",
            "key": next(free),
            "code": one_line(label),
            "description": "",
            "color": "",
            "category": "",
            "modifiers": {},
            "excluded": "",
            "coding map": "",
        }
        for number, label in enumerate(labels)
    }
    return {
        "time_format": "hh:mm:ss",
        "project_date": now,
        "project_name": "activity",
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {},
        "behaviors_conf": behaviours,
        "observations": observations,
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }


def _observation(video: VideoSegments, now: str) -> dict[str, Any]:
    """Return an observation: each second event of a behaviour ends it."""
    path = absolute_path(video.path)
    events = [
        [round(seconds, SECONDS_DIGITS), "", one_line(segment.label), "", comment, frame]
        for segment in video.segments
        for seconds, comment in (
            (segment.start_seconds, f"score {segment.mean_score:.{SCORE_DIGITS}g}"),
            (segment.end_seconds, ""),
        )
        for frame in [int(seconds * video.fps)]
    ]
    return {
        "file": {"1": [path]} | {str(n): [] for n in range(2, _NUM_PLAYERS + 1)},
        "type": "MEDIA",
        "date": now,
        "description": "",
        "time offset": 0.0,
        "events": sorted(events, key=lambda event: event[0]),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "media_creation_date_as_offset": False,
        "media_scan_sampling_duration": 0,
        "image_display_duration": 1,
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {path: video.duration_seconds},
            "fps": {path: round(video.fps, 6)},
            "hasVideo": {path: True},
            "hasAudio": {path: False},
            "offset": {"1": 0.0},
        },
    }


def cvat_document(video: VideoSegments, labels: Sequence[str]) -> str:
    """Return the annotations of a CVAT task of the video: the tags of each frame."""
    from xml.sax.saxutils import escape, quoteattr  # imports what talks to the network

    offered = "".join(
        f"\n        <label><name>{escape(one_line(label))}</name><type>tag</type></label>"
        for label in labels
    )
    images = []
    for frame, found in enumerate(_labels_by_frame(video)):
        if found:
            tags = "".join(
                f'\n    <tag label={quoteattr(one_line(label))} source="auto"></tag>'
                for label in found
            )
            name = f"frame_{frame:06}"
            images.append(f'\n  <image id="{frame}" name="{name}">{tags}\n  </image>')
    source = escape(one_line(Path(video.path).name))
    return f"""\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>{source}</name>
      <size>{_num_frames(video)}</size>
      <mode>interpolation</mode>
      <source>{source}</source>
      <labels>{offered}
      </labels>
    </task>
  </meta>{"".join(images)}
</annotations>
"""


def deepethogram_table(video: VideoSegments, labels: Sequence[str]) -> str:
    """Return a row per frame, 1 where a behaviour holds; `background` where none does.

    DeepEthogram expects it beside the video as VIDEO_labels.csv, with the classes of its project.
    """
    names = [label for label in labels if label != BACKGROUND]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["", BACKGROUND, *map(one_line, names)])
    for frame, found in enumerate(_labels_by_frame(video)):
        held = [int(label in found) for label in names]
        rows.writerow([frame, int(not any(held)), *held])
    return text.getvalue()


def _num_frames(video: VideoSegments) -> int:
    return max(1, round(video.duration_seconds * video.fps))


def _labels_by_frame(video: VideoSegments) -> Iterator[list[str]]:
    """Give the labels of each frame, in the order of the segments."""
    frames: list[list[str]] = [[] for _ in range(_num_frames(video))]
    for segment in video.segments:
        first, last = frame_range(segment, video)
        for frame in range(first - 1, last):
            frames[frame].append(segment.label)
    yield from frames
