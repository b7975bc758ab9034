"""Tables: any CSV or JSON lines with label, start and end; DeepEthogram's values per frame."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from activity_cli.common.optional_dependencies import import_parquet
from activity_cli.data.annotations.events import (
    NO_TIME,
    Event,
    FrameCount,
    Item,
    Problem,
    parse_seconds,
    runs_of,
)
from activity_cli.data.annotations.source import Source
from activity_cli.errors import DataError

_COLUMNS = {
    "video": "path video file filename video_name video_id video_path video_file media media_file "
    "video_filename clip",
    "label": "label class behavior behaviour action activity category event annotation class_name "
    "label_name",
    "start": "start start_time begin begin_time onset from t_start tstart starttime",
    "end": "end end_time stop stop_time offset to finish t_end tend endtime",
    "duration": "duration length",
    "start_frame": "start_frame startframe frame_start first_frame begin_frame",
    "end_frame": "end_frame endframe frame_end stop_frame last_frame",
    "subject": "subject individual animal person id track actor",
    "group": "group",
}
"""Names of columns, without their units."""
BACKGROUND = "background"  # DeepEthogram's column of frames without a behaviour
_UNIT = re.compile(r"[ _]*[(\[]?\b(s|sec|secs|seconds)\b[)\]]?$|_(s|sec|seconds)$")
_KINDS = {name: kind for kind, names in _COLUMNS.items() for name in names.split()}


def is_events(source: Source) -> bool:
    """Return whether it is a table with a label, and with times or a video."""
    return bool(source.columns(_is_header))


def read_events(source: Source) -> Iterator[Item]:
    """Give an event per row. Without a column of videos, the file's name is the video's.

    A row of our own tables with times and no label is a stretch that was looked at.
    """
    kinds = _kinds(source.columns(_is_header))
    for line, row in source.rows(_is_header):
        item = _event({kind: row[name] for kind, name in kinds.items()}, f"line {line}", source)
        if isinstance(item, Event) and kinds.get("video") == "path" and not item.label:
            item = replace(item, looked_at=(item.start, item.end) != (None, None))
        yield item


def is_json_lines(source: Source) -> bool:
    """Return whether it is a file of JSON lines with the same names."""
    return _is_header([name.lower() for name in source.first_object])


def read_json_lines(source: Source) -> Iterator[Item]:
    """Give an event per line."""
    for number, line in source.lines():
        if line.strip():
            try:
                row = {name.lower(): value for name, value in json.loads(line).items()}
            except (json.JSONDecodeError, AttributeError):
                yield Problem("a line that is not a JSON object", f"line {number}")
                continue
            kinds = _kinds(list(row))
            values = {kind: row[name] for kind, name in kinds.items()}
            yield _event(values, f"line {number}", source)


def is_parquet(source: Source) -> bool:
    """Return whether it is a Parquet file."""
    return source.head.startswith("PAR1")


def read_parquet(source: Source) -> Iterator[Item]:
    """Give an event per row; a MissingExtraError without pyarrow."""
    pyarrow, parquet = import_parquet()
    try:
        file = parquet.ParquetFile(source.path)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{source.path} cannot be read: {error}.", hint="Copy it again.") from error
    columns = {name.lower(): name for name in file.schema_arrow.names}
    if not _is_header(list(columns)):
        problem = f"{source.path} has no label with times; its columns: {', '.join(columns)}."
        raise DataError(problem, hint="It needs video,label,start,end.")
    kinds = {kind: columns[name] for kind, name in _kinds(list(columns)).items()}
    number = 0
    for batch in file.iter_batches(batch_size=10_000, columns=list(kinds.values())):
        for row in batch.to_pylist():
            number += 1
            yield _event({k: row[name] for k, name in kinds.items()}, f"row {number}", source)


def _event(values: Mapping[str, Any], place: str, source: Source) -> Item:
    in_frames = "start" not in values and "start_frame" in values
    start = parse_seconds(values.get("start_frame" if in_frames else "start"))
    end = parse_seconds(values.get("end_frame" if in_frames else "end"))
    length = parse_seconds(values.get("duration"))
    if "end" not in values and not in_frames and None not in (start, length):
        end = (start or 0.0) + (length or 0.0)
    if "end" in values and values.get("start") and end is None and values["end"]:
        return Problem(NO_TIME, place)
    return Event(
        video=str(values.get("video", source.stem)),
        label=str(values.get("label", "")),
        start=start,
        end=end + 1 if in_frames and end is not None else end,  # tables name the last frame
        place=place,
        subject=str(values.get("subject") or ""),
        group=str(values.get("group") or ""),
        in_frames=in_frames,
    )


def _kinds(columns: Sequence[str]) -> dict[str, str]:
    """Return the column of each kind; the first one where there are several."""
    found: dict[str, str] = {}
    for name in columns:
        plain = re.sub(r"[ .-]+", "_", _UNIT.sub("", name).strip())
        if (kind := _KINDS.get(plain)) is not None:
            found.setdefault(kind, name)
    return found


def _is_header(names: Sequence[str]) -> bool:
    found = set(_kinds(names))
    has_end = bool({"end", "duration"} & found)
    has_times = ({"start"} <= found and has_end) or {"start_frame", "end_frame"} <= found
    return "label" in found and (has_times or "video" in found)


def is_deepethogram(source: Source) -> bool:
    """Return whether it is a table of 1, 0 and -1: a row per frame, a column per behaviour."""
    lines = source.head.splitlines()
    names, first = (
        [field.strip() for field in line.split(",")] for line in (*lines[:2], "", "")[:2]
    )
    return (
        names[0] in {"", "Unnamed: 0", "frame"}
        and len(names) == len(first) > 1
        and first[0] == "0"
        and all(_state(value) is not None for value in first[1:])
    )


def read_deepethogram(source: Source) -> Iterator[Item]:
    """Give an event for each run of 1, but for those of frames without a behaviour.

    Frames with a -1 were not looked at. The stretches of the others are given where there is such a
    frame, or no event.
    """
    num_frames, num_unseen = 0, 0
    problems: list[Problem] = []

    def frames() -> Iterator[Collection[str]]:
        nonlocal num_frames, num_unseen
        for line, row in source.rows(lambda names: len(names) > 1):
            num_frames += 1
            states = {name: _state(value) for name, value in list(row.items())[1:]}
            if None in states.values():
                problems.append(Problem("a value that is not 1, 0 or -1", f"line {line}"))
            is_unseen = -1 in states.values()
            num_unseen += is_unseen
            held = [name for name, state in states.items() if state == 1 and name != BACKGROUND]
            yield held if is_unseen else [*held, ""]

    names = next(iter(source.head.splitlines())).split(",")
    written = {name.strip().lower(): name.strip() for name in names}
    events = [
        Event(
            video=source.stem,
            label=written.get(label, ""),
            start=start,
            end=end,
            place=f"line {start + 2}",
            in_frames=True,
            looked_at=not label,
        )
        for label, start, end in runs_of(frames())
    ]
    looked_at = num_unseen > 0 or all(event.looked_at for event in events)
    yield from (event for event in events if looked_at or not event.looked_at)
    yield from problems
    yield FrameCount(source.stem, num_frames)


def _state(text: str) -> int | None:
    return {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}.get(text)
