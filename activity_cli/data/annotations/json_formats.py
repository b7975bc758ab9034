"""JSON of Label Studio, ActivityNet, VIA 3, FERAL and FiftyOne."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from activity_cli.common.files import is_video
from activity_cli.data.annotations.events import Event, FrameCount, Item, Problem, runs_of
from activity_cli.data.annotations.source import Source

_FPS_KEYS = ("fps", "frame_rate", "framerate", "frameRate")


def _has(source: Source, *keys: str) -> bool:
    return isinstance(source.document, dict) and set(keys) <= set(source.document)


def is_label_studio(source: Source) -> bool:
    """Return whether it is an export of Label Studio: tasks with their data."""
    tasks = source.document if isinstance(source.document, list) else [source.document]
    first = tasks[0] if tasks else None
    is_task = isinstance(first, dict) and isinstance(first.get("data"), dict)
    return is_task and bool({"annotations", "predictions", "completions"} & set(first or {}))


def read_label_studio(source: Source) -> Iterator[Item]:
    """Give timeline labels, labels with seconds, and choices, which are of the whole video.

    Predictions count in tasks that nobody has annotated. Frames are counted from 1, both ends
    belong to a region; their rate is the task's `fps`, else that of the video.
    """
    tasks = source.document if isinstance(source.document, list) else [source.document]
    for number, task in enumerate(tasks, 1):
        data, place = task["data"], f"task {task.get('id', number)}"
        texts = [text for text in data.values() if isinstance(text, str)]
        video = data.get("video") or next((t for t in texts if is_video(Path(t))), "")
        fps = next((float(data[key]) for key in _FPS_KEYS if data.get(key)), None)
        done = task.get("annotations") or task.get("completions")
        for one in done or task.get("predictions") or ():
            for region in () if one.get("was_cancelled") else one["result"]:
                yield from _region(region, video, fps, place)


def _region(region: Mapping[str, Any], video: str, fps: float | None, place: str) -> Iterator[Item]:
    value = region.get("value") or {}
    match region.get("type"):
        case "timelinelabels":
            spans = [(span["start"] - 1, span["end"], True) for span in value["ranges"]]
        case "labels" if "start" in value:
            spans = [(value["start"], value["end"], False)]
        case "choices" if "ranges" not in value:
            spans = [(value.get("start"), value.get("end"), False)]
        case kind:
            yield Problem("a region that is not a time with a label", f"{place}: {kind}")
            return
    if value.get("framesCount") and value.get("duration"):
        fps = fps or value["framesCount"] / value["duration"]
    for start, end, in_frames in spans:
        for label in value[region["type"]]:
            yield Event(
                video=video,
                label=label,
                start=start,
                end=end,
                place=f"{place}, region {region.get('id', '?')}",
                in_frames=in_frames,
                fps=fps if in_frames else None,
            )


def is_activitynet(source: Source) -> bool:
    """Return whether it is in the style of ActivityNet: a database by the names of videos."""
    return _has(source, "database")


def read_activitynet(source: Source) -> Iterator[Item]:
    """Give the segments, in seconds. Videos of a test set have none."""
    for video, entry in source.document["database"].items():
        for number, one in enumerate(entry.get("annotations") or (), 1):
            start, end = one["segment"]
            place = f"{video}, annotation {number}"
            yield Event(video=video, label=str(one["label"]), start=start, end=end, place=place)


def is_via(source: Source) -> bool:
    """Return whether it is a project of the VGG annotator VIA, version 3."""
    return _has(source, "attribute", "file", "metadata")


def read_via(source: Source) -> Iterator[Item]:
    """Give the values of the attributes of temporal segments; one of several options is a label."""
    project = source.document
    views = {view: one["fid_list"] for view, one in project.get("view", {}).items()}
    for name, one in project["metadata"].items():
        place, times = f"metadata {name}", one.get("z") or []
        file = project["file"][str(next(iter(views.get(str(one["vid"]), ())), one["vid"]))]
        if one.get("xy"):
            yield Problem("a region of a picture, not a time", place)
            continue
        for attribute, value in one["av"].items():
            options = project["attribute"][attribute].get("options") or {}
            for choice in str(value).split(",") if options else [str(value)]:
                label = options.get(choice, "" if options else choice)
                if options and choice and not label:
                    yield Problem("a label that is not among the options", f"{place}: {choice}")
                elif label:
                    yield Event(
                        video=file.get("src") or file["fname"],
                        label=label,
                        start=times[0] if times else None,
                        end=times[-1] if times else None,
                        place=place,
                    )


def is_feral(source: Source) -> bool:
    """Return whether it has FERAL's labels per frame."""
    return _has(source, "class_names", "labels")


def read_feral(source: Source) -> Iterator[Item]:
    """Give an event for each run of frames of a class. Negative numbers are no class."""
    names = {int(number): name for number, name in source.document["class_names"].items()}
    is_multiple = bool(source.document.get("is_multilabel"))
    for video, values in source.document["labels"].items():
        if is_multiple:
            frames = ([str(k) for k, on in enumerate(row) if on > 0] for row in values)
        else:
            frames = ([str(number)] if number >= 0 else [] for number in values)
        runs = list(runs_of(frames))
        if not runs:
            yield Event(video=video, label="", start=0, end=None, place=video, looked_at=True)
        for number, start, end in runs:
            place = f"{video}, frame {start}"
            if int(number) not in names:
                yield Problem("a class without a name", f"{place}: {number}")
                continue
            label = names[int(number)]
            yield Event(video=video, label=label, start=start, end=end, place=place, in_frames=True)
        yield FrameCount(video, len(values))


def is_fiftyone(source: Source) -> bool:
    """Return whether it has FiftyOne's temporal detections."""
    return _has(source, "classes", "labels")


def read_fiftyone(source: Source) -> Iterator[Item]:
    """Give the detections: `support` counts frames from 1, both ends included."""
    classes = source.document["classes"]
    for video, detections in source.document["labels"].items():
        for number, one in enumerate(detections or (), 1):
            place, index = f"{video}, detection {number}", one["label"]
            if isinstance(index, int) and not 0 <= index < len(classes):
                yield Problem("a class without a name", f"{place}: {index}")
                continue
            in_frames = "support" in one
            start, end = one["support"] if in_frames else one["timestamps"]
            yield Event(
                video=video,
                label=classes[index] if isinstance(index, int) else str(index),
                start=start - 1 if in_frames else start,
                end=end,
                place=place,
                in_frames=in_frames,
            )
