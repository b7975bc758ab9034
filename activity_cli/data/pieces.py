"""Check labelled pieces against their videos, and cut long ones into windows.

Times are seconds from the start of the file.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from activity_cli.data.dataset import Dataset, Sample
from activity_cli.errors import DataError, SettingsError, VideoError
from activity_cli.video.decoder_pool import DecoderPool
from activity_cli.video.reader import read_seconds

_MOST_WINDOWS = 8
"""Of a piece: more windows of one scene add little, and would outweigh all other clips."""
_LONGER_THAN_A_WINDOW = 1.5  # shorter pieces are not cut
_TOLERANCE = 0.05  # of the video's length, by which a header may be wrong


def prepare_pieces(
    dataset: Dataset, pool: DecoderPool, *, window_seconds: float | None = None
) -> Dataset:
    """Check all pieces against their videos, and cut those that are longer than a window.

    Without `window_seconds` nothing is cut.

    Raises:
        SettingsError: the window length is not above 0.
        DataError: a piece is beyond the end of its video.
    """
    if window_seconds is not None and not 0 < window_seconds < float("inf"):
        raise SettingsError(f"--window must be more than 0 s, got {window_seconds:g}.")
    pieces = [s for s in dataset.samples if (s.start_seconds, s.end_seconds) != (None, None)]
    asked = dataset.samples if window_seconds is not None else pieces
    if not asked:
        return dataset
    seconds = _measure({sample.path for sample in asked}, pool)
    for sample in pieces:
        _check_within(sample, seconds.get(sample.path))
    if window_seconds is None:
        return dataset
    windows = [w for s in dataset.samples for w in cut(s, seconds.get(s.path), window_seconds)]
    return replace(dataset, samples=tuple(windows))


def cut(sample: Sample, video_seconds: float | None, window_seconds: float) -> list[Sample]:
    """Spread windows evenly over a sample; a sample that is hardly longer than one stays whole.

    Args:
        sample: a video or a piece of one.
        video_seconds: length of the video; None is unknown: then the sample stays whole.
        window_seconds: length of a window.
    """
    start = sample.start_seconds or 0.0
    if video_seconds is None:
        return [sample]
    end = min(sample.end_seconds or video_seconds, video_seconds)
    if end - start < _LONGER_THAN_A_WINDOW * window_seconds:
        return [sample]
    count = min(_MOST_WINDOWS, int((end - start) / window_seconds))
    step = (end - start - window_seconds) / max(1, count - 1)
    starts = [round(start + number * step, 3) for number in range(count)]
    return [replace(sample, start_seconds=s, end_seconds=s + window_seconds) for s in starts]


def _measure(paths: set[Path], pool: DecoderPool) -> dict[Path, float | None]:
    reader = pool.reader()

    def measure(path: Path) -> float | None:
        try:
            return reader.call(read_seconds, path)
        except VideoError:  # reported later, when its clips are decoded
            return None

    ordered = sorted(paths)
    with ThreadPoolExecutor(pool.decoders.num_workers) as threads:
        return dict(zip(ordered, threads.map(measure, ordered), strict=True))


def _check_within(sample: Sample, video_seconds: float | None) -> None:
    if video_seconds is None:
        return
    limit = video_seconds * (1 + _TOLERANCE) + 0.5
    line = f", line {sample.line}" if sample.line else ""
    for column, seconds in (("start", sample.start_seconds), ("end", sample.end_seconds)):
        if seconds is not None and seconds > limit:
            raise DataError(
                f"{sample.name}{line}, column {column}: {seconds:g} s is beyond the end of the "
                f"video, which lasts {video_seconds:.1f} s.",
                hint="Times are seconds from the start of the file; check the video's name too.",
            )
