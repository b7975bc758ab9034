"""Segments -> files; the ending chooses the format.

Some formats are made for one video. Several videos then need `{name}` in the file's name, which
becomes the name of each video without its ending: `subtitles/{name}.srt`. It works for all formats.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from activity_cli.common.files import NAME, path_per_video, write_json, write_text_atomically
from activity_cli.errors import OutputError
from activity_cli.predict.results.result_file import import_parquet, write_rows
from activity_cli.predict.results.segment_text import audacity_text, srt_text, vtt_text
from activity_cli.predict.results.segment_tools import (
    elan_document,
    fiftyone_labels,
    label_studio_config,
    label_studio_tasks,
)
from activity_cli.predict.results.writers import (
    SCORE_DIGITS,
    SECONDS_DIGITS,
)
from activity_cli.types import Segment, VideoSegments

COLUMNS = ("path", "start", "end", "label", "score", "peak")


class SegmentFormat(StrEnum):
    """What segments can be written as, by ending."""

    CSV = ".csv"
    JSONL = ".jsonl"
    PARQUET = ".parquet"
    SRT = ".srt"
    VTT = ".vtt"
    ELAN = ".eaf"
    AUDACITY = ".txt"
    FIFTYONE = ".fiftyone.json"
    LABEL_STUDIO = ".labelstudio.json"

    @property
    def is_for_one_video(self) -> bool:
        """Whether a file cannot say which video a segment is in."""
        return self in {self.SRT, self.VTT, self.ELAN, self.AUDACITY}


def segment_format_of(path: Path) -> SegmentFormat:
    """The format that a file's ending stands for.

    Raises:
        OutputError: it stands for none.
    """
    for known in SegmentFormat:
        if path.name.lower().endswith(known):
            return known
    if path.suffix.lower() == ".json":
        raise OutputError(
            f"Cannot write {path}: .json alone does not say which tool is to read it.",
            hint=f"Use a file that ends in {SegmentFormat.FIFTYONE} or "
            f"{SegmentFormat.LABEL_STUDIO}; rows are .jsonl.",
        )
    raise OutputError(
        f"Cannot write {path}: the format {path.suffix or '(no suffix)'} is not known.",
        hint=f"Use a file that ends in {', '.join(SegmentFormat)}.",
    )


def check_segment_files(path: Path, videos: Sequence[str], *, overwrite: bool) -> None:
    """Find out before any work whether the segments of these videos can be written there.

    Raises:
        OutputError: the format is not known, holds one video where there are several, or a file
            exists that is not to be overwritten.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    if segment_format_of(path) is SegmentFormat.PARQUET:
        import_parquet()
    _refuse_existing(_targets(path, videos), overwrite=overwrite)


def write_segments(
    path: Path, videos: Iterable[VideoSegments], *, overwrite: bool, labels: Sequence[str] = ()
) -> tuple[Path, ...]:
    """Write the segments of videos, each file completely or not at all.

    Args:
        path: its ending chooses the format; `{name}` in its name makes a file per video.
        videos: may have no segments.
        overwrite: Replace files that exist.
        labels: all labels of the model, for the tools that offer them. Others that segments have
            are added.

    Returns:
        The files that were written. Label Studio's has its labelling configuration beside it,
        with the ending `.labelstudio.xml`.

    Raises:
        OutputError: as `check_segment_files`, or a file cannot be written.
        MissingExtraError: .parquet needs a package that is not installed.
    """
    videos = list(videos)
    kind = segment_format_of(path)
    targets = _targets(path, [video.path for video in videos])
    _refuse_existing(targets, overwrite=overwrite)
    found = [segment.label for video in videos for segment in video.segments]
    labels = tuple(dict.fromkeys([*labels, *found]))
    groups = [[video] for video in videos] if _is_one_each(path) else [videos]
    for target, group in zip(targets, groups, strict=True):
        _write(target, kind, group, labels)
    return tuple(file for target in targets for file in (target, *_beside(target)))


def _is_one_each(path: Path) -> bool:
    return NAME in path.name or segment_format_of(path).is_for_one_video


def _targets(path: Path, videos: Sequence[str]) -> list[Path]:
    """The file for all videos, or one for each; equal names are numbered."""
    kind = segment_format_of(path)
    if not _is_one_each(path):
        return [path]
    if NAME not in path.name:
        if len(videos) > 1:
            raise OutputError(
                f"{path} cannot hold {len(videos)} videos: {kind} is for one.",
                hint=f"Put {NAME} into its name for one file per video, as in {NAME}{kind}.",
            )
        return [path] * len(videos)
    return path_per_video(path, videos)


def _refuse_existing(targets: Sequence[Path], *, overwrite: bool) -> None:
    for target in () if overwrite else targets:
        for file in (target, *_beside(target)):
            if file.exists():
                raise OutputError(
                    f"{file} exists already.", hint="Choose another file, or add --overwrite."
                )


def _beside(target: Path) -> list[Path]:
    """What is written along with a file."""
    is_tasks = segment_format_of(target) is SegmentFormat.LABEL_STUDIO
    return [target.with_suffix(".xml")] if is_tasks else []


def _write(
    target: Path, kind: SegmentFormat, videos: Sequence[VideoSegments], labels: Sequence[str]
) -> None:
    match kind:
        case SegmentFormat.CSV | SegmentFormat.JSONL | SegmentFormat.PARQUET:
            write_rows(target, COLUMNS, _rows(videos))
        case SegmentFormat.SRT:
            write_text_atomically(target, srt_text(videos[0]))
        case SegmentFormat.VTT:
            write_text_atomically(target, vtt_text(videos[0]))
        case SegmentFormat.AUDACITY:
            write_text_atomically(target, audacity_text(videos[0]))
        case SegmentFormat.ELAN:
            write_text_atomically(target, elan_document(videos[0], target))
        case SegmentFormat.FIFTYONE:
            write_json(target, fiftyone_labels(videos, labels))
        case SegmentFormat.LABEL_STUDIO:
            write_json(target, label_studio_tasks(videos))
            write_text_atomically(_beside(target)[0], label_studio_config(labels))


def _rows(videos: Iterable[VideoSegments]) -> Iterator[dict[str, Any]]:
    for video in videos:
        for segment in video.segments:
            yield {"path": video.path, **segment_values(segment)}


def segment_values(segment: Segment) -> dict[str, Any]:
    """A segment as rows and JSON have it."""
    return {
        "start": round(segment.start_seconds, SECONDS_DIGITS),
        "end": round(segment.end_seconds, SECONDS_DIGITS),
        "label": segment.label,
        "score": round(segment.mean_score, SCORE_DIGITS),
        "peak": round(segment.peak_score, SCORE_DIGITS),
    }
