"""Scores at every frame -> CSV: one row per decoded frame, `frame,seconds` and a column per label.

F is frames, C labels.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from activity_cli.common.files import NAME, check_new, path_per_video, writing
from activity_cli.common.tables import guarded
from activity_cli.errors import OutputError, VideoError
from activity_cli.predict.results import SCORE_DIGITS, SECONDS_DIGITS
from activity_cli.predict.segments import cell_scores
from activity_cli.types import FileResult
from activity_cli.video.decoder_pool import DecoderPool, Decoders
from activity_cli.video.reader import read_frame_seconds


class FrameFiles:
    """The file, or one per video, that `--frames` asks for. `videos` are all of them.

    Raises:
        OutputError: it is no CSV, or there is one name for several videos.
    """

    def __init__(
        self, path: Path, videos: Sequence[Path], *, decoders: Decoders, overwrite: bool = False
    ) -> None:
        if path.suffix.lower() != ".csv":
            raise OutputError(f"{path} does not end in .csv.", hint="Name it frames.csv.")
        if len(videos) > 1 and NAME not in path.name:
            raise OutputError(
                f"{path} is one file, and there are {len(videos)} videos.",
                hint=f"Put {NAME} into its name for one file per video, as in {NAME}.csv.",
            )
        names = [str(video) for video in videos]
        self._paths = dict(zip(names, path_per_video(path, names), strict=True))
        self._decoders, self._overwrite = decoders, overwrite

    def write(self, result: FileResult) -> None:
        """Write the file of a video that has scores. The video is decoded again, for its times.

        Raises:
            OutputError: the file exists already, or cannot be written.
            VideoError: the video cannot be read any more.
        """
        if result.timeline is None:
            return
        path = self._paths[result.path]
        check_new(path, overwrite=self._overwrite)
        with DecoderPool(self._decoders, start=False) as pool:
            seconds = pool.reader().call(read_frame_seconds, Path(result.path))  # (F,)
        if len(seconds) != result.num_frames:
            raise VideoError(
                f"{result.path} was changed: {len(seconds)} frames, before that "
                f"{result.num_frames}."
            )
        scores = cell_scores(result.timeline).at(seconds).round(SCORE_DIGITS)  # (F, C)
        columns = ["frame", "seconds", *result.timeline.labels]
        with (
            writing(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(map(guarded, columns))
            for number, (time, row) in enumerate(zip(seconds.tolist(), scores, strict=True)):
                rows.writerow([number, round(time, SECONDS_DIGITS), *row.tolist()])
