"""Segments -> files; the ending chooses the format.

`{name}` in a file's name becomes the name of each video without its ending, for one file per video:
`subtitles/{name}.srt`. Formats that are for one video need it where there are several.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from activity_cli.common.files import (
    NAME,
    check_new,
    path_per_video,
    write_json,
    write_text_atomically,
)
from activity_cli.common.optional_dependencies import import_parquet
from activity_cli.errors import OutputError
from activity_cli.predict.results import (
    PARQUET,
    SCORE_DIGITS,
    SECONDS_DIGITS,
    SUFFIXES,
    write_rows,
)
from activity_cli.predict.results.annotation_formats import (
    boris_project,
    cvat_document,
    deepethogram_table,
)
from activity_cli.predict.results.journal import journal_path, read_header
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

OF_ONE_VIDEO: Mapping[str, Callable[[VideoSegments, Path, Sequence[str]], str]] = {
    ".srt": lambda video, *_: srt_text(video),
    ".vtt": lambda video, *_: vtt_text(video),
    ".eaf": lambda video, target, _: elan_document(video, target),
    ".txt": lambda video, *_: audacity_text(video),
    ".cvat.xml": lambda video, _, labels: cvat_document(video, labels),
    ".deepethogram.csv": lambda video, _, labels: deepethogram_table(video, labels),
}
"""Texts by ending; a file cannot tell which video a segment is in, or is of one task."""
BORIS, FIFTYONE, LABEL_STUDIO = ".boris", ".fiftyone.json", ".labelstudio.json"
ENDINGS = (*SUFFIXES, *OF_ONE_VIDEO, BORIS, FIFTYONE, LABEL_STUDIO)


class SegmentOutputs:
    """The files that `--segments` asks for: checked before any work, written when a run ends.

    Files that the journal of the result file `output` lists, from earlier runs, are replaced.

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
        ours: tuple[str, ...] = ()
        if output and not overwrite and journal_path(output).exists():
            _, ours = read_header(journal_path(output))
        for file in files:
            if ending_of(file) == PARQUET:
                import_parquet()
            targets = _targets(file, [str(video) for video in videos])
            for path in (path for one in targets for path in _with_config(one)):
                check_new(path, overwrite=overwrite or str(file) in ours)

    def write(self, videos: Iterable[VideoSegments], labels: Sequence[str]) -> tuple[Path, ...]:
        """Write all files, each completely or not at all, and return their paths.

        `labels` are those of the model, for tools that offer them; others in segments are added.
        """
        found = list(videos) if self.files else []
        used = [segment.label for video in found for segment in video.segments]
        labels = tuple(dict.fromkeys([*labels, *used]))
        written: list[Path] = []
        for path in self.files:
            targets = _targets(path, [video.path for video in found])
            is_one_each = NAME in path.name or ending_of(path) in OF_ONE_VIDEO
            groups = [[video] for video in found] if is_one_each else [found]
            for target, group in zip(targets, groups, strict=True):
                _write(target, group, labels)
                written += _with_config(target)
        return tuple(written)


def ending_of(path: Path) -> str:
    """Return the ending that chooses the format; an OutputError if there is no such format."""
    for ending in sorted(ENDINGS, key=len, reverse=True):  # .deepethogram.csv is no .csv
        if path.name.lower().endswith(ending):
            return ending
    if path.suffix.lower() == ".json":
        raise OutputError(
            f"Cannot write {path}: .json alone does not choose a tool.",
            hint=f"Use a file that ends in {FIFTYONE} or {LABEL_STUDIO}; rows are .jsonl.",
        )
    raise OutputError(
        f"Cannot write {path}: the format {path.suffix or '(no suffix)'} is not supported.",
        hint=f"Use a file that ends in {', '.join(ENDINGS)}.",
    )


def video_segments(result: FileResult) -> VideoSegments | None:
    """Return the segments of a video; None where it has no score."""
    if not result.status.has_score or not result.duration_seconds or not result.num_frames:
        return None
    return VideoSegments(
        path=result.path,
        duration_seconds=result.duration_seconds,
        fps=result.num_frames / result.duration_seconds,
        segments=result.segments,
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


def _targets(path: Path, videos: Sequence[str]) -> list[Path]:
    """Return the file for all videos, or one for each; equal names are numbered."""
    if NAME in path.name:
        return path_per_video(path, videos)
    ending = ending_of(path)
    if ending not in OF_ONE_VIDEO:
        return [path]
    if len(videos) > 1:
        raise OutputError(
            f"{path} cannot hold {len(videos)} videos: {ending} is for one.",
            hint=f"Put {NAME} into its name for one file per video, as in {NAME}{ending}.",
        )
    return [path] * len(videos)


def _with_config(target: Path) -> list[Path]:
    """Return a file, and Label Studio's labelling configuration that is written beside it."""
    is_tasks = ending_of(target) == LABEL_STUDIO
    return [target, target.with_suffix(".xml")] if is_tasks else [target]


def _write(target: Path, videos: Sequence[VideoSegments], labels: Sequence[str]) -> None:
    ending = ending_of(target)
    if ending in OF_ONE_VIDEO:
        write_text_atomically(target, OF_ONE_VIDEO[ending](videos[0], target, labels))
    elif ending == BORIS:
        write_json(target, boris_project(videos, labels))
    elif ending == FIFTYONE:
        write_json(target, fiftyone_labels(videos, labels))
    elif ending == LABEL_STUDIO:
        write_json(target, label_studio_tasks(videos))
        write_text_atomically(_with_config(target)[1], label_studio_config(labels))
    else:
        rows = ({"path": v.path, **segment_values(s)} for v in videos for s in v.segments)
        write_rows(target, COLUMNS, rows)
