"""BORIS: projects (.boris), and the tables of "Export events", tabular or aggregated.

Read by the columns that the user guide documents. Files of older versions have lines about the
observation above the header. In a project, each second event of a state behaviour ends it. The
times of an observation go on through its videos (player 1); other players show the same time. The
time interval of an observation is what was looked at, and so is a video without events.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from activity_cli.data.annotations.events import NO_TIME, Event, Item, Problem, parse_seconds
from activity_cli.data.annotations.source import Source

_NO_START, _NO_STOP = "a STOP without a START", "a START without a STOP"
_NOBODY = "no focal subject"
_NO_MEDIA = {"", "NA", "Not found"}  # the last one where an observation has a time offset
_MEDIA = ("media file name", "media file path", "media file", "source")


def is_project(source: Source) -> bool:
    """Return whether it is a project."""
    found = source.document
    return isinstance(found, dict) and {"behaviors_conf", "observations"} <= set(found)


def read_project(source: Source) -> Iterator[Item]:
    """Give the events of all observations, without their time offset."""
    project = source.document
    types = {one["code"]: one.get("type") or "" for one in project["behaviors_conf"].values()}
    for name, observation in project["observations"].items():
        media = observation.get("file") or {}
        videos = media.get("1") or [] if isinstance(media, dict) else media
        lengths = (observation.get("media_info") or {}).get("length") or {}
        seconds = [lengths.get(video) for video in videos]
        begun: dict[tuple[str, ...], Event] = {}
        offset = float(observation.get("time offset") or 0)
        rows = sorted(observation["events"], key=lambda row: float(row[0]))
        low, high = map(float, observation.get("observation time interval") or (0, 0))
        if high > low or not rows:
            place, until = f"observation {name}", high if high > low else math.inf
            seen = Event(video="", label="", start=low, end=until, place=place, looked_at=True)
            yield from _on_videos(seen, videos, seconds)
        for number, row in enumerate(rows, 1):
            event = Event(
                video="",
                label=row[2],
                start=float(row[0]) - offset,
                end=float(row[0]) - offset,
                place=f"observation {name}, event {number}",
                subject=_subject(row[1] or ""),
            )
            key = (event.subject, event.label, str(row[3:4]))  # with modifiers
            if event.label not in types:
                yield Problem("a behaviour that is not in the ethogram", f"{event.place}: {row[2]}")
            elif "state" not in types[event.label].lower():
                yield from _on_videos(event, videos, seconds)
            elif key in begun:
                yield from _on_videos(replace(begun.pop(key), end=event.end), videos, seconds)
            else:
                begun[key] = event
        for event in begun.values():
            yield Problem(_NO_STOP, event.place)


def _on_videos(
    event: Event, videos: Sequence[str], lengths: Sequence[float | None]
) -> Iterator[Item]:
    """Give the parts of an event on each of the videos that follow each other."""
    if not videos:
        yield Problem("an observation without a video", event.place)
        return
    if len(videos) > 1 and not all(lengths):
        yield Problem("several videos, whose lengths are not in the project", event.place)
        return
    start, end, begin = event.start or 0.0, event.end or 0.0, 0.0
    for video, length in zip(videos, [*lengths[:-1], None], strict=True):
        until = math.inf if length is None else begin + length
        if start < until:
            times = max(start, begin) - begin, min(end, until) - begin
            known = times[1] if math.isfinite(times[1]) else None
            yield replace(event, video=video, start=times[0], end=known)
        if end <= until:
            break
        begin = until


def is_table(source: Source) -> bool:
    """Return whether it is a table of events."""
    return bool(source.columns(_is_header))


def read_table(source: Source) -> Iterator[Item]:
    """Give the events of a table, aggregated (a row per event) or tabular (START and STOP rows)."""
    is_aggregated = "start (s)" in source.columns(_is_header)
    begun: dict[tuple[str, ...], tuple[float, str]] = {}
    first_video: dict[str, str] = {}
    for line, row in source.rows(_is_header):
        place, observation = f"line {line}", row.get("observation id", "")
        video = next((row[name] for name in _MEDIA if row.get(name, "") not in _NO_MEDIA), "")
        video = video.removeprefix("player #1:").strip() or first_video.get(observation, "")
        event = Event(
            video=video,
            label=row["behavior"],
            start=None,
            end=None,
            place=place,
            subject=_subject(row.get("subject", "")),
        )
        if ";" in video or first_video.setdefault(observation, video) != video:
            yield Problem("several videos in one observation: import the project instead", place)
        elif is_aggregated:
            start, end = parse_seconds(row["start (s)"]), parse_seconds(row["stop (s)"])
            if start is None or end is None:
                yield Problem(_NO_START if start is None else _NO_STOP, place)
            else:
                yield replace(event, start=start - _offset(row), end=end - _offset(row))
        else:
            yield from _pair(row, event, begun)
    for _, place in begun.values():
        yield Problem(_NO_STOP, place)


def _pair(
    row: Mapping[str, str], event: Event, begun: dict[tuple[str, ...], tuple[float, str]]
) -> Iterator[Item]:
    """Give the event that a row of a tabular export ends."""
    time = parse_seconds(row["time"])
    kind = (row.get("behavior type") or row.get("status") or "").upper()
    modifiers = tuple(text for name, text in row.items() if name.startswith("modifier"))
    key = (row.get("observation id", ""), event.subject, event.label, *modifiers)
    if time is None:
        yield Problem(NO_TIME, event.place)
        return
    time -= _offset(row)
    if kind == "START":
        if key in begun:
            yield Problem(_NO_STOP, begun[key][1])
        begun[key] = time, event.place
    elif kind == "STOP" and key in begun:
        start, place = begun.pop(key)
        yield replace(event, start=start, end=time, place=place)
    elif kind == "STOP":
        yield Problem(_NO_START, event.place)
    elif kind == "POINT":
        yield replace(event, start=time, end=time)
    else:
        yield Problem("an event that is not START, STOP or POINT", f"{event.place}: {kind}")


def _offset(row: Mapping[str, str]) -> float:
    """Return the seconds that BORIS added to the times of an observation; 0 in older exports."""
    seconds = parse_seconds(row.get("time offset (s)"))
    return 0.0 if seconds is None or math.isnan(seconds) else seconds


def _is_header(names: Sequence[str]) -> bool:
    found = set(names)
    is_tabular = "time" in found and bool({"behavior type", "status"} & found)
    return "behavior" in found and (is_tabular or {"start (s)", "stop (s)"} <= found)


def _subject(name: str) -> str:
    return "" if name.lower() == _NOBODY else name
