"""Long videos: windows see what clips cut at the same place would see."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import SettingsError, VideoError, WorkerCrashError
from activity_cli.settings import ALL_STREAMS, ClipSettings
from activity_cli.types import FrameChunk, Images, Status
from activity_cli.video.clips import read_clip
from activity_cli.video.decoder_pool import Decoders, ResamplingSession
from activity_cli.video.reader import VideoReader
from activity_cli.video.resampling import Resampler
from activity_cli.video.sampling import Windows, choose_windows, slide
from tests.media import DrawClip, drifting_pictures, noise_pictures
from tests.processes import state_of, stopped_reader

SETTINGS = ClipSettings(num_frames=8, frame_size=32, streams=ALL_STREAMS)
WINDOWS = Windows(num_frames=8, step_seconds=0.25, stride_steps=2, max_clip_seconds=3)


def open_session(path: Path) -> ResamplingSession:
    return ResamplingSession(path, Decoders(), SETTINGS, step_seconds=0.25, as_streams=True)


def windows_of(reader: Resampler, stream: str = "motion") -> dict[int, Images]:
    """All windows of a video by their first point, from chunks of an odd size."""
    chunks: list[FrameChunk] = []
    while not chunks or not chunks[-1].is_last:
        chunks.append(reader.read(5))
    parts = [np.stack(list(c.images.values())) for c in chunks if c.num_timesteps]  # (S, n, ...)
    index = list(SETTINGS.streams).index(stream)  # type: ignore[arg-type]
    return {start: window[index] for start, window in slide(parts, WINDOWS)}


@pytest.mark.parametrize("stream", ALL_STREAMS)
@pytest.mark.parametrize("name", ["long.mp4", "long.avi", "long.mkv"])
def test_a_window_sees_what_a_clip_of_that_time_sees(
    name: str, stream: str, draw_clip: DrawClip
) -> None:
    path = draw_clip(name, pictures=drifting_pictures(159), fps=12)  # 13.25 s

    windows = windows_of(
        Resampler(path, SETTINGS, step_seconds=WINDOWS.step_seconds), stream=stream
    )

    # Every half second, and one more that reaches the end.
    assert list(windows) == [*range(0, 46, 2), 45]
    for start, images in windows.items():
        begin = start * WINDOWS.step_seconds
        end = begin + WINDOWS.window_seconds
        piece = read_clip(path, SETTINGS, start_seconds=begin, end_seconds=end)
        np.testing.assert_array_equal(images, piece.images[stream])  # type: ignore[index]


def test_times_that_nobody_foresaw_cost_time_and_nothing_else(
    draw_clip: DrawClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw_clip("long.mp4", pictures=drifting_pictures(120), fps=10)
    grab = VideoReader.grab

    def stutter(reader: VideoReader) -> float | None:
        """As from a camera that loses frames after 4 s, which no header tells."""
        seconds = grab(reader)
        while seconds is not None and seconds > 4 and round(seconds * 10) % 7:
            seconds = grab(reader)
        return seconds

    monkeypatch.setattr(VideoReader, "grab", stutter)
    reader = Resampler(path, SETTINGS, step_seconds=WINDOWS.step_seconds)

    windows = windows_of(reader)

    assert reader.num_passes == 2
    # The points of all windows are those of one clip over all of them.
    points = list(windows)[-1] + 8
    sparse = replace(SETTINGS, num_frames=points)
    whole = read_clip(path, sparse, start_seconds=0, end_seconds=points * WINDOWS.step_seconds)
    for start, images in windows.items():
        np.testing.assert_array_equal(images, whole.images["motion"][start : start + 8])


def test_memory_does_not_grow_with_the_video(draw_clip: DrawClip) -> None:
    path = draw_clip("long.avi", pictures=noise_pictures(20) * 100, fps=20)
    reader = Resampler(path, SETTINGS, step_seconds=0.5)

    most = 0
    while not reader.read(10).is_last:
        most = max(most, len(reader.kept))

    assert 3 <= most <= 12


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
def test_a_decoder_that_dies_between_two_steps_is_a_crash(draw_clip: DrawClip) -> None:
    path = draw_clip("long.avi", pictures=noise_pictures(100), fps=10)

    with ResamplingSession(
        path, Decoders(), SETTINGS, step_seconds=0.25, as_streams=True
    ) as session:
        session.read(4)
        decoder = stopped_reader(path)
        os.kill(decoder, signal.SIGKILL)
        while state_of(decoder) != "Z":  # it stays so until its end is noticed
            time.sleep(0.01)
        with pytest.raises(WorkerCrashError) as error:
            session.read(4)
    assert error.value.status == "crashed"
    assert error.value.hint


def test_the_end_says_whether_the_file_broke_off(draw_clip: DrawClip) -> None:
    path = draw_clip("long.avi", pictures=noise_pictures(100), fps=10)
    whole = path.read_bytes()

    def last_chunk() -> tuple[Status, int, float]:
        with ResamplingSession(
            path, Decoders(), SETTINGS, step_seconds=0.25, as_streams=True
        ) as session:
            while not (chunk := session.read(16)).is_last:
                pass
            return chunk.status, chunk.num_frames, chunk.end_seconds

    status, num_frames, end_seconds = last_chunk()
    assert (status, num_frames) == (Status.OK, 100)
    assert end_seconds == pytest.approx(10)
    path.write_bytes(whole[: len(whole) // 2])
    status, num_frames, end_seconds = last_chunk()
    assert status is Status.TRUNCATED
    assert end_seconds == pytest.approx(num_frames / 10)
    path.write_bytes(b"nothing")
    with pytest.raises(VideoError):
        last_chunk()


def test_windows_slide_over_everything_once() -> None:
    for count in range(40):
        for stride, size in ((1, 1), (2, 3), (3, 7), (8, 100), (5, 1)):
            windows = replace(WINDOWS, stride_steps=stride)
            points = np.arange(count)[None]
            parts = [points[:, i : i + size] for i in range(0, count, size)]
            found = dict(slide(parts, windows))

            regular = range(0, count - 7, stride)
            assert list(found) == sorted({*regular, *([count - 8] if count >= 8 else [])})
            for start, window in found.items():
                assert window.tolist() == [list(range(start, start + 8))]


def test_windows_are_as_long_as_training_clips_unless_told() -> None:
    seconds = {"min": 1.0, "median": 2.0, "max": 9.0}

    usual = choose_windows(16, seconds)
    assert (usual.window_seconds, usual.stride_seconds) == (2.0, 0.5)
    assert usual.max_clip_seconds == 9.0  # what it was trained on is a clip
    own = choose_windows(16, seconds, window_seconds=4, stride_seconds=1.1)
    assert (own.window_seconds, own.stride_seconds, own.max_clip_seconds) == (4, 1, 6)
    assert choose_windows(16, None).window_seconds == 2.0
    for lengths in ((1.9, 2.1), (0.98, 1.04), (11.0, 11.5)):  # of clips before and after a training
        one, other = (choose_windows(16, {"median": m, "max": 20.0}) for m in lengths)
        assert one == other
    assert choose_windows(1, seconds).stride_seconds == 2.0
    for window, stride in ((0, None), (-1, None), (2, 2.1), (None, 0), (float("nan"), None)):
        with pytest.raises(SettingsError):
            choose_windows(16, seconds, window_seconds=window, stride_seconds=stride)
