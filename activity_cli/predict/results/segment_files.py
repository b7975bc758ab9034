"""Segments -> files; the ending chooses the format.

Some formats are for one video. Several videos then need `{name}` in the file's name, which is
replaced by the name of each video without its ending: `subtitles/{name}.srt`. This works for all
formats.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from activity_cli.common.files import NAME, path_per_video, write_json, write_text_atomically
from activity_cli.errors import OutputError
from activity_cli.predict.results.journal import journal_path, read_header
from activity_cli.predict.results.rows import (
    SCORE_DIGITS,
    SECONDS_DIGITS,
    import_parquet,
    write_rows,
)
from activity_cli.predict.results.segment_formats import (
    audacity_text,
    elan_document,
    fiftyone_labels,
    label_studio_config,
    label_studio_tasks,
    srt_text,
    vtt_text,
)
from activity_cli.types import FileResult, Segment, VideoSegments

COLUMNS = ("path", "start", "end", "label", "score", "peak")


class SegmentFormat(StrEnum):
    """The formats of segments, by ending."""

    CSV = ".csv"
    JSONL = ".jsonl"
    PARQUET = ".parquet"
    SRT = ".srt"
    VTT = ".vtt"
    ELAN = ".eaf"
    AUDACITY = ".txt"
    FIFTYONE = ".fiftyone.json"
    LABEL_STUDIO = ".labelstudio.json"

    @classmethod
    def of(cls, path: Path) -> "SegmentFormat":
        """Return the format that a file's ending stands for.

        Raises:
            OutputError: it stands for none.
        """
        for known in cls:
            if path.name.lower().endswith(known):
                return known
        if path.suffix.lower() == ".json":
            raise OutputError(
                f"Cannot write {path}: .json alone does not choose a tool.",
                hint=f"Use a file that ends in {cls.FIFTYONE} or {cls.LABEL_STUDIO}; rows are "
                ".jsonl.",
            )
        raise OutputError(
            f"Cannot write {path}: the format {path.suffix or '(no suffix)'} is not supported.",
            hint=f"Use a file that ends in {', '.join(cls)}.",
        )

    @property
    def is_for_one_video(self) -> bool:
        """Whether a file cannot tell which video a segment is in."""
        return self in {self.SRT, self.VTT, self.ELAN, self.AUDACITY}


class SegmentOutputs:
    """The files that `--segments` asks for: checked before any work, written when a run ends.

    Args:
        files: their endings choose the formats.
        videos: all of the run.
        output: the result file, whose journal lists the files that earlier runs have written.
        overwrite: replace files that exist.

    Raises:
        OutputError: a format is not supported, a file cannot hold all videos, or it exists.
        MissingExtraError: .parquet needs a package that is not installed.
    """

    def __init__(
        self,
        files: Sequence[Path],
        videos: Sequence[Path],
        *,
        output: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self.files = tuple(files)
        journal = journal_path(output) if output else None
        has_earlier = journal is not None and journal.exists() and not overwrite
        ours = read_header(journal).outputs if journal and has_earlier else ()
        for file in files:
            if SegmentFormat.of(file) is SegmentFormat.PARQUET:
                import_parquet()
            targets = _targets(file, [str(video) for video in videos])
            if not overwrite and str(file) not in ours:
                _refuse_existing(targets)

    def write(self, videos: Iterable[VideoSegments], labels: Sequence[str]) -> tuple[Path, ...]:
        """Write all files, each completely or not at all.

        Args:
            videos: with their segments; those without a result may be absent.
            labels: all of the model, for tools that offer them. Others in segments are added.

        Returns:
            The written files. Beside Label Studio's tasks is its labelling configuration, with the
            ending `.labelstudio.xml`.

        Raises:
            OutputError: a file cannot be written.
        """
        found = list(videos) if self.files else []
        used = [segment.label for video in found for segment in video.segments]
        labels = tuple(dict.fromkeys([*labels, *used]))
        written: list[Path] = []
        for path in self.files:
            targets = _targets(path, [video.path for video in found])
            groups = [[video] for video in found] if _is_one_each(path) else [found]
            for target, group in zip(targets, groups, strict=True):
                _write(target, SegmentFormat.of(path), group, labels)
                written += [target, *_beside(target)]
        return tuple(written)


def video_segments(result: FileResult) -> VideoSegments | None:
    """Return the segments of a video; None where it has no score."""
    if not result.status.has_score or not result.duration_seconds or not result.num_frames:
        return None
    return VideoSegments.of(
        result.path, result.duration_seconds, result.num_frames, result.segments
    )


def segment_values(segment: Segment) -> dict[str, Any]:
    """Return a segment as rows and JSON have it."""
    return {
        "start": round(segment.start_seconds, SECONDS_DIGITS),
        "end": round(segment.end_seconds, SECONDS_DIGITS),
        "label": segment.label,
        "score": round(segment.mean_score, SCORE_DIGITS),
        "peak": round(segment.peak_score, SCORE_DIGITS),
    }


def _is_one_each(path: Path) -> bool:
    return NAME in path.name or SegmentFormat.of(path).is_for_one_video


def _targets(path: Path, videos: Sequence[str]) -> list[Path]:
    """Return the file for all videos, or one for each; equal names are numbered."""
    kind = SegmentFormat.of(path)
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


def _refuse_existing(targets: Sequence[Path]) -> None:
    for target in targets:
        for file in (target, *_beside(target)):
            if file.exists():
                raise OutputError(
                    f"{file} exists already.", hint="Choose another file, or add --overwrite."
                )


def _beside(target: Path) -> list[Path]:
    """Return what is written along with a file."""
    is_tasks = SegmentFormat.of(target) is SegmentFormat.LABEL_STUDIO
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
