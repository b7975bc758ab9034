"""ELAN (.eaf, EAF 2.7 to 3.0) and CVAT (XML 1.1: tracks, and tags of frames)."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter

from activity_cli.data.annotations.events import Event, Item, Problem
from activity_cli.data.annotations.source import Element, Source

_TIME_UNITS = {"milliseconds": 1e-3, "PAL-frames": 1 / 25, "NTSC-frames": 1001 / 30000}


def is_elan(source: Source) -> bool:
    """Return whether it is an ELAN file."""
    return source.root == "ANNOTATION_DOCUMENT"


def read_elan(source: Source) -> Iterator[Item]:
    """Give the annotations of all tiers. The subject is a tier's participant, else its name."""
    video, unit, origin = source.stem, 1e-3, 0.0
    slots: Mapping[str, float] = {}
    times: dict[str, tuple[float, float]] = {}  # by the annotation's id
    waiting: list[tuple[Element, str]] = []  # those with the times of another one
    for element in source.elements():
        if element.tag == "HEADER":
            unit = _TIME_UNITS[element.attributes.get("TIME_UNITS", "milliseconds")]
            for media in element.find("MEDIA_DESCRIPTOR"):
                url = media.attributes.get("RELATIVE_MEDIA_URL") or media.attributes["MEDIA_URL"]
                if not media.attributes.get("MIME_TYPE", "").startswith("audio"):
                    video, origin = url, float(media.attributes.get("TIME_ORIGIN", 0)) / 1000
                    break
        elif element.tag == "TIME_ORDER":
            slots = _time_slots(element, unit, origin)
        elif element.tag == "TIER":
            subject = element.attributes.get("PARTICIPANT") or element.attributes["TIER_ID"]
            for one in element.find("ANNOTATION/ALIGNABLE_ANNOTATION"):
                ends = (one.attributes["TIME_SLOT_REF1"], one.attributes["TIME_SLOT_REF2"])
                span = slots[ends[0]], slots[ends[1]]
                times[one.attributes["ANNOTATION_ID"]] = span
                yield _annotation(one, span, subject, video)
            waiting += [(one, subject) for one in element.find("ANNOTATION/REF_ANNOTATION")]
    while waiting:
        known = [pair for pair in waiting if pair[0].attributes["ANNOTATION_REF"] in times]
        waiting = [pair for pair in waiting if pair[0].attributes["ANNOTATION_REF"] not in times]
        for one, subject in known:
            span = times[one.attributes["ANNOTATION_REF"]]
            times[one.attributes["ANNOTATION_ID"]] = span
            yield _annotation(one, span, subject, video)
        if not known:
            for one, _ in waiting:
                yield Problem("a reference to an annotation that is missing", f"line {one.line}")
            break


def _annotation(element: Element, span: tuple[float, float], subject: str, video: str) -> Event:
    label = "".join(value.text for value in element.find("ANNOTATION_VALUE"))
    return Event(
        video=video,
        label=label,
        start=span[0],
        end=span[1],
        place=f"line {element.line}",
        subject=subject,
    )


def _time_slots(element: Element, unit: float, origin: float) -> dict[str, float]:
    """Return seconds by slot. Slots without a time lie evenly between those around them."""
    import numpy as np

    ids = [slot.attributes["TIME_SLOT_ID"] for slot in element.children]
    given = [slot.attributes.get("TIME_VALUE") for slot in element.children]
    known = [(k, float(value) * unit + origin) for k, value in enumerate(given) if value]
    where, seconds = zip(*known, strict=True) if known else ((0,), (np.nan,))
    all_seconds = np.interp(range(len(ids)), where, seconds, left=np.nan, right=np.nan)
    return dict(zip(ids, all_seconds.tolist(), strict=True))


def is_cvat(source: Source) -> bool:
    """Return whether it is a CVAT file."""
    return source.root == "annotations"


def read_cvat(source: Source) -> Iterator[Item]:
    """Give an event for each time in which a label is in a video, as a track or as a tag.

    Tracks of one label that touch or overlap are one event: CVAT writes single shapes as tracks.
    """
    videos: dict[str, str] = {}  # by the id of the task; "" is that of the file
    steps: dict[str, int] = {}
    spans: list[tuple[str, str, int, int, int]] = []  # task, label, first, frame after last, line
    for element in source.elements():
        if element.tag == "meta":
            for task in _tasks(element):
                name = _text(task, "id")
                videos[name] = _text(task, "source") or _text(task, "name")
                videos.setdefault("", videos[name])
                rule = _text(task, "frame_filter").replace(" ", "")
                steps[name] = int(rule.removeprefix("step=")) if rule.startswith("step=") else 1
                steps.setdefault("", steps[name])
        elif element.tag in {"track", "image", "tag"}:
            spans += _spans(element, steps)
    for (task, label), run in groupby(sorted(spans), key=itemgetter(0, 1)):
        merged: list[list[int]] = []
        for _, _, first, last, line in run:
            if merged and first <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last, line])
        for first, last, line in merged:
            yield Event(
                video=videos.get(task) or source.stem,
                label=label,
                start=first,
                end=last,
                place=f"line {line}",
                in_frames=True,
            )


def _tasks(meta: Element) -> Iterator[Element]:
    """Give the tasks that a file is of: a project has several, a job is a part of one."""
    for path in ("task", "job", "project/tasks/task", "tasks/task"):
        yield from meta.find(path)


def _text(element: Element, tag: str) -> str:
    return next((found.text.strip() for found in element.find(tag)), "")


def _spans(element: Element, steps: Mapping[str, int]) -> Iterator[tuple[str, str, int, int, int]]:
    """Give the frames of a track, of the tags of a frame, or of a tag."""
    own, task = element.attributes, element.attributes.get("task_id", "")
    step = steps.get(task, 1)  # frames from one that was annotated to the next
    if element.tag == "tag":
        yield task, own["label"], int(own["frame"]), int(own["frame"]) + step, element.line
    elif element.tag == "image":
        for tag in element.find("tag"):
            yield task, tag.attributes["label"], int(own["id"]), int(own["id"]) + step, tag.line
    else:
        begun: int | None = None
        frame = 0
        for shape in sorted(element.children, key=lambda shape: int(shape.attributes["frame"])):
            frame = int(shape.attributes["frame"])
            if shape.attributes.get("outside") == "1":
                if begun is not None:
                    yield task, own["label"], begun, frame, element.line
                begun = None
            elif begun is None:
                begun = frame
        if begun is not None:
            yield task, own["label"], begun, frame + step, element.line
