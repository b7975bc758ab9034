"""The files that `--segments` asks for: checked before any work, written when a run ends."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from activity_cli.predict.results.journal import journal_path, read_outputs
from activity_cli.predict.results.segment_files import check_segment_files, write_segments
from activity_cli.types import FileResult, VideoSegments


class SegmentOutputs:
    """Files for the segments of all videos of a run.

    Args:
        files: where to; their endings choose the formats.
        videos: all of the run.
        output: the file of rows, whose journal knows which files earlier runs have written.
        overwrite: replace files that are there.

    Raises:
        OutputError: a format is not known, a file cannot hold all videos, or it exists.
        MissingExtraError: .parquet needs a package that is not installed.
    """

    def __init__(
        self,
        files: Sequence[Path],
        videos: Sequence[Path],
        *,
        output: Path | None,
        overwrite: bool,
    ) -> None:
        self.files = tuple(files)
        self._names = [str(video) for video in videos]
        journal = journal_path(output) if output else None
        ours = read_outputs(journal) if journal and journal.exists() and not overwrite else []
        for file in files:
            check_segment_files(file, self._names, overwrite=overwrite or str(file) in ours)

    def write(self, videos: Iterable[VideoSegments], labels: Sequence[str]) -> tuple[Path, ...]:
        """Write all files.

        Args:
            videos: with their segments; those that have none yet may be absent.
            labels: all that the model knows.

        Returns:
            What was written.

        Raises:
            OutputError: a file cannot be written.
        """
        if not self.files:
            return ()
        found = list(videos)
        return tuple(
            path
            for file in self.files
            for path in write_segments(file, found, overwrite=True, labels=labels)
        )


def video_segments(result: FileResult) -> VideoSegments | None:
    """The segments of a video; None where it has no score."""
    if not result.status.has_score or not result.duration_seconds or not result.num_frames:
        return None
    return VideoSegments.of(
        result.path, result.duration_seconds, result.num_frames, result.segments
    )
