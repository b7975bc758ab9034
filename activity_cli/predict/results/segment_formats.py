"""Segments as subtitles (SRT, WebVTT), and as files of Audacity, ELAN, FiftyOne and Label Studio.

Labels are folder names and may hold any character. Formats that are made of lines get a space in
place of whatever would end a line; bytes that are not text become escapes. Frames are counted from
1 and both ends belong to a segment, as in FiftyOne and Label Studio; neighbours share no frame.
"""

import html
import mimetypes
import os
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from activity_cli.predict.results import SCORE_DIGITS
from activity_cli.types import Segment, VideoSegments

_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")
_TIER = "activity"
_CONTROL, _OBJECT = "actions", "video"
"""Names of the labels and the video in Label Studio's configuration; predictions refer to them."""


def srt_text(video: VideoSegments) -> str:
    """Return subtitles that players show when they are beside the video: `run 93%`.

    SRT has no escapes. Only the arrow is replaced, by which readers recognize a line with times.
    """
    blocks = [
        f"{number}\n{_times(segment, ',')}\n{_caption(segment).replace('-->', '->')}\n"
        for number, segment in enumerate(video.segments, start=1)
    ]
    return "\n".join(blocks)


def vtt_text(video: VideoSegments) -> str:
    """Return subtitles for browsers (`<track>`), escaped as W3C WebVTT requires."""
    blocks = [
        f"{_times(segment, '.')}\n{html.escape(_caption(segment), quote=False)}\n"
        for segment in video.segments
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def audacity_text(video: VideoSegments) -> str:
    """Return a label track for Audacity (File, Import, Labels): start, end and label with tabs."""
    return "".join(
        f"{segment.start_seconds:.6f}\t{segment.end_seconds:.6f}\t{one_line(segment.label)}\n"
        for segment in video.segments
    )


def elan_document(video: VideoSegments, target: Path) -> str:
    """Return an ELAN file (EAF 3.0); it refers to the video relative to `target`.

    It has one tier, and one for each label where segments overlap: those of a tier must not.
    """
    from xml.sax.saxutils import escape, quoteattr  # imports what talks to the network

    segments = video.segments  # in order of their starts
    overlap = any(later.start_seconds < one.end_seconds for one, later in pairwise(segments))
    slots: list[str] = []
    tiers: dict[str, list[str]] = {} if overlap else {_TIER: []}
    for number, segment in enumerate(video.segments, start=1):
        first, last = f"ts{2 * number - 1}", f"ts{2 * number}"
        for slot, ms in zip((first, last), _milliseconds(segment), strict=True):
            slots.append(f'\n    <TIME_SLOT TIME_SLOT_ID="{slot}" TIME_VALUE="{ms}"/>')
        tiers.setdefault(one_line(segment.label) if overlap else _TIER, []).append(
            f'\n    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}"'
            f' TIME_SLOT_REF1="{first}" TIME_SLOT_REF2="{last}">'
            f"<ANNOTATION_VALUE>{escape(one_line(segment.label))}</ANNOTATION_VALUE>"
            "</ALIGNABLE_ANNOTATION></ANNOTATION>"
        )
    media = " ".join(f"{key}={quoteattr(text)}" for key, text in _media(video.path, target).items())
    written = "\n  ".join(
        f'<TIER TIER_ID={quoteattr(name)} LINGUISTIC_TYPE_REF="{_TIER}">{"".join(found)}</TIER>'
        for name, found in tiers.items()
    )
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="{datetime.now().astimezone().isoformat(timespec="seconds")}"
    FORMAT="3.0" VERSION="3.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR {media}/>
    <PROPERTY NAME="lastUsedAnnotationId">{len(video.segments)}</PROPERTY>
  </HEADER>
  <TIME_ORDER>{"".join(slots)}</TIME_ORDER>
  {written}
  <LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="{_TIER}" TIME_ALIGNABLE="true" GRAPHIC_REFERENCES="false"/>
</ANNOTATION_DOCUMENT>
"""


def fiftyone_labels(videos: Sequence[VideoSegments], labels: Sequence[str]) -> dict[str, Any]:
    """Return the labels.json of a FiftyOneTemporalDetectionDataset.

    Videos are named by absolute path, so that FiftyOne needs no folder:

        fo.Dataset.from_dir(labels_path="x.fiftyone.json",
                            dataset_type=fo.types.FiftyOneTemporalDetectionDataset)

    A detection refers to its label by position.
    """
    positions = {label: position for position, label in enumerate(labels)}
    return {
        "classes": list(labels),
        "labels": {
            absolute_path(video.path): [
                {
                    "label": positions[segment.label],
                    "support": list(frame_range(segment, video)),
                    "confidence": round(segment.mean_score, SCORE_DIGITS),
                    "attributes": {"peak": round(segment.peak_score, SCORE_DIGITS)},
                }
                for segment in video.segments
            ]
            for video in videos
        },
    }


def label_studio_tasks(videos: Sequence[VideoSegments]) -> list[dict[str, Any]]:
    """Return tasks with predictions to import into a project with `label_studio_config`.

    Label Studio serves the videos from the root of the disk: start it with
    LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/ and
    add their folder as a local storage. Addresses (http://...) stay as they are.
    """
    tasks = []
    for video in videos:
        regions = [
            _region(number, segment, video) for number, segment in enumerate(video.segments, 1)
        ]
        # Tasks are sorted by the score, so that doubtful ones can be reviewed first.
        scores = [segment.mean_score for segment in video.segments]
        score = round(sum(scores) / len(scores), SCORE_DIGITS) if scores else None
        prediction = {"model_version": "activity", "score": score, "result": regions}
        served = video.path
        if not _is_address(served):
            served = "/data/local-files/?d=" + _quoted(absolute_path(served).lstrip("/"))
        data = {"video": served, "fps": round(video.fps, 3)}
        tasks.append({"data": data, "predictions": [prediction]})
    return tasks


def label_studio_config(labels: Sequence[str]) -> str:
    """Return the labelling configuration of a project for these tasks (Settings, Code).

    It has no XML declaration: Label Studio refuses text that names an encoding.
    """
    from xml.sax.saxutils import quoteattr

    offered = "".join(f"\n    <Label value={quoteattr(one_line(label))}/>" for label in labels)
    return f"""\
<View>
  <TimelineLabels name="{_CONTROL}" toName="{_OBJECT}">{offered}
  </TimelineLabels>
  <Video name="{_OBJECT}" value="$video" frameRate="$fps" timelineHeight="120"/>
</View>
"""


def frame_range(segment: Segment, video: VideoSegments) -> tuple[int, int]:
    """Return the first and last frame shown during a segment, counted from 1."""
    num_frames = max(1, round(video.duration_seconds * video.fps))
    # The tolerance keeps a boundary that is a frame's time from being rounded past it.
    first = min(ceil(segment.start_seconds * video.fps - 1e-3) + 1, num_frames)
    last = min(ceil(segment.end_seconds * video.fps - 1e-3), num_frames)
    return first, max(first, last)


def _region(number: int, segment: Segment, video: VideoSegments) -> dict[str, Any]:
    first, last = frame_range(segment, video)
    return {
        "id": f"segment-{number}",
        "from_name": _CONTROL,
        "to_name": _OBJECT,
        "type": "timelinelabels",
        "score": round(segment.mean_score, SCORE_DIGITS),
        "value": {
            "ranges": [{"start": first, "end": last}],
            "timelinelabels": [one_line(segment.label)],
        },
    }


def _media(path: str, target: Path) -> dict[str, str]:
    mime = {"MIME_TYPE": mimetypes.guess_type(path)[0] or "unknown"}
    if _is_address(path):
        return {"MEDIA_URL": path, **mime}
    media = {"MEDIA_URL": Path(absolute_path(path)).as_uri(), **mime}
    try:
        relative = os.path.relpath(path, target.parent)
    except ValueError:  # on another drive
        return media
    return {**media, "RELATIVE_MEDIA_URL": "./" + _quoted(relative)}


def absolute_path(path: str) -> str:
    """Return an absolute path; an address as it is."""
    return path if _is_address(path) else os.path.abspath(path)  # noqa: PTH100 - links stay


def _quoted(path: str) -> str:
    return quote(os.fsencode(path.replace(os.sep, "/")))


def _is_address(path: str) -> bool:
    return "://" in path


def one_line(text: str) -> str:
    """Return text that can be in a line, and in XML."""
    printable = text.encode("utf-8", "backslashreplace").decode()
    return _NOT_TEXT.sub(" ", printable).strip()


def _milliseconds(segment: Segment) -> tuple[int, int]:
    """Return start and end of a segment, at least 1 ms apart: readers drop empty ones."""
    start = round(1000 * segment.start_seconds)
    return start, max(round(1000 * segment.end_seconds), start + 1)


def _caption(segment: Segment) -> str:
    label = one_line(segment.label)
    return label if segment.is_sentence else f"{label} {segment.mean_score:.0%}".strip()


def _times(segment: Segment, point: str) -> str:
    """Return the line of a subtitle with its times: `00:00:01.500 --> 00:00:03.000`."""
    return " --> ".join(
        f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
        for ms in _milliseconds(segment)
    )
