"""What PyAV decodes in OpenCV's place: the same frames, times and rotation."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from activity_cli.errors import VideoError
from activity_cli.video.pyav import PyAvCapture
from activity_cli.video.reader import VideoReader
from tests.media import DrawClip, drifting_pictures, iter_frames, plain_pictures, turn_clockwise

av: Any = pytest.importorskip("av", reason="needs PyAV: pip install 'activity-cli[codecs]'")


def test_pyav_gives_the_frames_and_times_of_opencv(draw_clip: DrawClip) -> None:
    path = draw_clip("a.mp4", fps=23.976, pictures=drifting_pictures(40))
    turn_clockwise(path)
    with VideoReader(path) as reader:
        capture = PyAvCapture(path, num_threads=1, rotation_degrees=reader.info.rotation_degrees)
        for _ in range(40):
            assert reader.grab() is not None
            assert capture.grab()
            assert capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 == reader.stamp_seconds
            assert (capture.get(cv2.CAP_PROP_FRAME_TYPE) == ord("I")) == reader.is_intra()
            np.testing.assert_array_equal(capture.retrieve()[1], reader.retrieve_bgr())
        assert not capture.grab()
        capture.release()


@pytest.fixture
def av1(tmp_path: Path) -> Path:
    """An AV1 video of 10 plain frames, 0.1 s apart but for the last, which comes 0.4 s later."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=10, options={"preset": "12"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, picture in enumerate(plain_pictures(10, (64, 64))):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = 100 * index + 300 * (index == 9), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_av1_is_read_frame_by_frame(av1: Path) -> None:
    turn_clockwise(av1)

    seconds, frames = zip(*iter_frames(av1), strict=True)

    assert seconds == pytest.approx([*np.arange(9) / 10, 1.2])
    for frame, picture in zip(frames, plain_pictures(10), strict=True):
        np.testing.assert_allclose(frame[32, 32], picture[0, 0], atol=12)  # a lossy codec
    with VideoReader(av1) as reader:
        assert (reader.info.codec.upper(), reader.info.rotation_degrees) == ("AV01", 90)


def test_a_damaged_av1_file_is_unreadable_or_ends_early(av1: Path) -> None:
    content = av1.read_bytes()
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    damaged = content[:start] + bytes(end - start) + content[end:]
    av1.write_bytes(content[: start + 200] + damaged[start + 200 :])
    num_frames = len(list(iter_frames(av1)))
    assert 0 < num_frames < 10

    av1.write_bytes(damaged)
    with pytest.raises(VideoError, match="damaged"):
        VideoReader(av1)
