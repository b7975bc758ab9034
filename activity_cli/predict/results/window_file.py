"""The scores of every window of every video as a CSV, for curves over time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.common.files import LineFile, check_new
from activity_cli.errors import OutputError
from activity_cli.predict.results import SCORE_DIGITS, SECONDS_DIGITS, encode_row
from activity_cli.types import FileResult, Timeline

_SCORE = "score:"  # in front of the labels, as in rows with all scores


class WindowFile:
    """A CSV that gets the windows of each video: path, start, end, ood, score:LABEL...

    With `resumes` rows are added to a file that is there: of a path that occurs twice, the last
    ones count. `ood` is empty for models without an out-of-distribution score.

    Raises:
        OutputError: it is not .csv, exists already, or cannot be written.
    """

    def __init__(
        self, path: Path, labels: Sequence[str], *, resumes: bool = False, overwrite: bool = False
    ) -> None:
        if path.suffix.lower() != ".csv":
            raise OutputError(f"Cannot write {path}: scores of windows are .csv.")
        self._columns = ("path", "start", "end", "ood", *(f"{_SCORE}{label}" for label in labels))
        check_new(path, overwrite=overwrite or resumes)
        is_new = not path.exists() or not resumes
        self._file = LineFile(path, "w" if is_new else "a")
        if is_new:
            header = {name: name for name in self._columns}
            self._file.write(encode_row(".csv", self._columns, header))

    def write(self, result: FileResult) -> None:
        """Add the windows of a video; none for one without scores."""
        if (timeline := result.timeline) is not None:
            rows = (encode_row(".csv", self._columns, row) for row in _rows(result.path, timeline))
            self._file.write(b"".join(rows))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _rows(path: str, timeline: Timeline) -> Iterator[dict[str, Any]]:
    ends = np.minimum(timeline.starts_seconds + timeline.window_seconds, timeline.end_seconds)
    for index, (start, end) in enumerate(zip(timeline.starts_seconds, ends, strict=True)):
        ood = None if timeline.ood_score is None else round(float(timeline.ood_score[index]), 4)
        times = {"start": round(float(start), SECONDS_DIGITS)}
        times["end"] = round(float(end), SECONDS_DIGITS)
        scores = {
            f"{_SCORE}{label}": round(float(score), SCORE_DIGITS)
            for label, score in zip(timeline.labels, timeline.scores[index], strict=True)
        }
        yield {"path": path, **times, "ood": ood, **scores}
