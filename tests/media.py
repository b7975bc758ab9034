"""Media that the tests draw for themselves: small videos whose every pixel is known."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.video.reader import VideoReader

Picture = NDArray[np.uint8]  # (H, W, 3) RGB


class DrawClip(Protocol):
    """The `draw_clip` fixture: draws a video into the test's own folder."""

    def __call__(
        self,
        name: str = "clip.avi",
        *,
        frames: int = 5,
        fps: float = 10,
        size: tuple[int, int] = (64, 48),
        pictures: Iterable[Picture] | None = None,
    ) -> Path: ...


def write_video(path: Path, pictures: Iterable[Picture], fps: float) -> Path:
    """Write RGB pictures as a video: MPEG-4, in .avi Motion JPEG, in .webm VP8."""
    import cv2

    codec = {".avi": "MJPG", ".webm": "VP80"}.get(path.suffix, "mp4v")
    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(
        str(path.absolute()), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (width, height)
    )
    assert writer.isOpened(), f"cannot write {path}"
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def plain_pictures(count: int, size: tuple[int, int] = (64, 48)) -> list[Picture]:
    """Picture i is RGB (50 * i modulo 250, 30, 30) all over; size is (width, height)."""
    width, height = size
    return [
        np.full((height, width, 3), (50 * i % 250, 30, 30), dtype=np.uint8) for i in range(count)
    ]


def noise_pictures(count: int, size: tuple[int, int] = (64, 48), seed: int = 0) -> list[Picture]:
    """Coarse random colours, different in every picture, which lossy codecs keep apart."""
    width, height = size
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 3), dtype=np.uint8)
    return [np.kron(c, np.ones((height // 3, width // 4, 1), dtype=np.uint8)) for c in coarse]


def drifting_pictures(count: int, size: tuple[int, int] = (64, 48)) -> list[Picture]:
    """One coarse picture that drifts. Codecs need a key frame only now and then, unlike for noise.

    No two of the first 3072 pictures are equal.
    """
    width, height = size
    base = noise_pictures(1, size)[0]
    return [np.roll(base, (i // width % height, i % width), axis=(0, 1)) for i in range(count)]


def turn_clockwise(path: Path) -> None:
    """Give an .mp4 the rotation tag of a quarter turn."""
    # The track header's matrix, in 16.16 fixed point: identity, then a quarter turn clockwise.
    one, none, minus_one, last = (n.to_bytes(4, "big") for n in (1 << 16, 0, 0xFFFF << 16, 1 << 30))
    identity = b"".join([one, none, none, none, one, none, none, none, last])
    turned = b"".join([none, one, none, minus_one, none, none, none, none, last])
    content = path.read_bytes()
    track = content.index(b"tkhd")
    path.write_bytes(content[:track] + content[track:].replace(identity, turned, 1))


def iter_frames(path: Path | str) -> Iterator[tuple[float, Picture]]:
    """All frames of a video: time in seconds, picture as (H, W, 3) RGB."""
    with VideoReader(path) as reader:
        while (seconds := reader.grab()) is not None:
            yield seconds, reader.retrieve()
