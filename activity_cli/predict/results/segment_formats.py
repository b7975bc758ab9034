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
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from activity_cli.predict.results.rows import SCORE_DIGITS
from activity_cli.types import Segment, VideoSegments

_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")
_TIER = "activity"
_ELAN_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_CONTROL, _OBJECT = "actions", "video"
"""What Label Studio's configuration calls the labels and the video; predictions refer to them."""


def srt_text(video: VideoSegments) -> str:
    """Subtitles that players show by themselves when they lie beside the video: `run 93%`.

    SRT has no escapes: what looks like a tag may be shown as one by a player. Only the arrow,
    by which readers know a line with times, is written differently.
    """
    blocks = []
    for number, segment in enumerate(video.segments, start=1):
        start, end = (_clock(ms, ",") for ms in milliseconds(segment))
        text = _caption(segment).replace("-->", "->")
        blocks.append(f"{number}\n{start} --> {end}\n{text}\n")
    return "\n".join(blocks)


def vtt_text(video: VideoSegments) -> str:
    """Subtitles for browsers, which `<track>` shows: `run 93%`, escaped as W3C WebVTT asks."""
    blocks = ["WEBVTT\n"]
    for segment in video.segments:
        start, end = (_clock(ms, ".") for ms in milliseconds(segment))
        blocks.append(f"{start} --> {end}\n{html.escape(_caption(segment), quote=False)}\n")
    return "\n".join(blocks)


def audacity_text(video: VideoSegments) -> str:
    """A label track for Audacity: File, Import, Labels. Start, end and label between tabs."""
    return "".join(
        f"{segment.start_seconds:.6f}\t{segment.end_seconds:.6f}\t{one_line(segment.label)}\n"
        for segment in video.segments
    )


def one_line(text: str) -> str:
    """Text that can stand in a line, and in XML."""
    printable = text.encode("utf-8", "backslashreplace").decode()
    return _NOT_TEXT.sub(" ", printable).strip()


def milliseconds(segment: Segment) -> tuple[int, int]:
    """Start and end of a segment; readers drop or refuse what lasts no time at all."""
    start = round(1000 * segment.start_seconds)
    return start, max(round(1000 * segment.end_seconds), start + 1)


def _caption(segment: Segment) -> str:
    return f"{one_line(segment.label)} {segment.mean_score:.0%}".strip()


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def elan_document(video: VideoSegments, target: Path) -> str:
    """An ELAN file (EAF 3.0) with one tier, `activity`, of time-aligned annotations.

    Args:
        video: whose segments they are. The file refers to it, absolutely and relatively.
        target: where the document will be.
    """
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _ELAN_SCHEMA,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", _media(video.path, target))
    last = ElementTree.SubElement(header, "PROPERTY", NAME="lastUsedAnnotationId")
    last.text = str(len(video.segments))
    times = ElementTree.SubElement(root, "TIME_ORDER")
    tier = ElementTree.SubElement(root, "TIER", TIER_ID=_TIER, LINGUISTIC_TYPE_REF=_TIER)
    for number, segment in enumerate(video.segments, start=1):
        slots = f"ts{2 * number - 1}", f"ts{2 * number}"
        for slot, time in zip(slots, milliseconds(segment), strict=True):
            ElementTree.SubElement(times, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time))
        annotation = ElementTree.SubElement(tier, "ANNOTATION")
        aligned = ElementTree.SubElement(
            annotation,
            "ALIGNABLE_ANNOTATION",
            ANNOTATION_ID=f"a{number}",
            TIME_SLOT_REF1=slots[0],
            TIME_SLOT_REF2=slots[1],
        )
        ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = one_line(segment.label)
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        LINGUISTIC_TYPE_ID=_TIER,
        TIME_ALIGNABLE="true",
        GRAPHIC_REFERENCES="false",
    )
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def fiftyone_labels(videos: Sequence[VideoSegments], labels: Sequence[str]) -> dict[str, Any]:
    """The labels.json of a FiftyOneTemporalDetectionDataset.

    Videos are named by absolute path, so that FiftyOne needs to be told of no folder:

        fo.Dataset.from_dir(labels_path="x.fiftyone.json",
                            dataset_type=fo.types.FiftyOneTemporalDetectionDataset)

    Args:
        videos: with their segments.
        labels: all labels; a detection refers to its label by place.
    """
    places = {label: place for place, label in enumerate(labels)}
    return {
        "classes": list(labels),
        "labels": {
            _absolute(video.path): [
                {
                    "label": places[segment.label],
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
    """Tasks with predictions (TimelineLabels) to import into a Label Studio project.

    The project needs the labelling configuration of `label_studio_config`. Videos are given as
    files that Label Studio serves itself, from the root of the disk: it must be started with
    LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/ and
    have their folder as a local storage. Addresses (http://...) stay as they are.
    """
    return [
        {
            "data": {"video": _served(video.path), "fps": round(video.fps, 3)},
            "predictions": [
                {
                    "model_version": "activity",
                    "score": _mean_score(video.segments),
                    "result": [
                        _region(number, segment, video)
                        for number, segment in enumerate(video.segments, start=1)
                    ],
                }
            ],
        }
        for video in videos
    ]


def label_studio_config(labels: Sequence[str]) -> str:
    """The labelling configuration that a project for these tasks needs (Settings, Code).

    It has no XML declaration: Label Studio refuses text that names an encoding.
    """
    root = ElementTree.Element("View")
    control = ElementTree.SubElement(root, "TimelineLabels", name=_CONTROL, toName=_OBJECT)
    for label in labels:
        ElementTree.SubElement(control, "Label", value=one_line(label))
    ElementTree.SubElement(
        root, "Video", name=_OBJECT, value="$video", frameRate="$fps", timelineHeight="120"
    )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def frame_range(segment: Segment, video: VideoSegments) -> tuple[int, int]:
    """First and last frame of a segment, counted from 1: those shown from its start to its end."""
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


def _mean_score(segments: Sequence[Segment]) -> float | None:
    """What Label Studio sorts tasks by, so that the doubtful ones can be looked at first."""
    if not segments:
        return None
    return round(sum(s.mean_score for s in segments) / len(segments), SCORE_DIGITS)


def _media(path: str, target: Path) -> dict[str, str]:
    mime = {"MIME_TYPE": mimetypes.guess_type(path)[0] or "unknown"}
    if _is_address(path):
        return {"MEDIA_URL": path, **mime}
    media = {"MEDIA_URL": Path(_absolute(path)).as_uri(), **mime}
    try:
        relative = os.path.relpath(path, target.parent)
    except ValueError:  # on another drive
        return media
    return {**media, "RELATIVE_MEDIA_URL": "./" + _quoted(relative)}


def _served(path: str) -> str:
    if _is_address(path):
        return path
    return "/data/local-files/?d=" + _quoted(_absolute(path).lstrip("/"))


def _absolute(path: str) -> str:
    return path if _is_address(path) else os.path.abspath(path)  # noqa: PTH100 - links stay


def _quoted(path: str) -> str:
    return quote(os.fsencode(path.replace(os.sep, "/")))


def _is_address(path: str) -> bool:
    return "://" in path
