from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.errors import VideoError
from activity_cli.settings import ALL_STREAMS, ClipSettings
from activity_cli.types import ClipFrames, Status
from activity_cli.video import decoding
from activity_cli.video.clips import read_clip, read_frames
from activity_cli.video.reader import PacketTimes, VideoReader, read_packet_times
from activity_cli.video.sampling import partner_indices, sample_indices
from tests.media import DrawClip, drifting_pictures, iter_frames, noise_pictures

SMALL = ClipSettings(stabilize=False, num_frames=8, frame_size=32)
SPARSE = ClipSettings(num_frames=2, frame_size=32)  # far enough apart in 200 frames to seek
Seconds = NDArray[np.float64]


def uneven_seconds(seed: int, count: int) -> Seconds:
    """Frame times with gaps from 20 ms to 100 ms."""
    return np.cumsum(np.random.default_rng(seed).uniform(0.02, 0.1, count))


def expected_samples(seconds: Seconds, start: float, end: float, num_frames: int) -> list[int]:
    """The sampling rule, written down frame by frame. Times within 1 ms count as equal."""
    inside = [i for i, t in enumerate(seconds) if start <= t < end]
    samples = []
    for i in range(num_frames):
        middle = start + (i + 0.5) * (end - start) / num_frames
        samples.append(max((j for j in inside if seconds[j] <= middle + 0.001), default=inside[0]))
    return samples


def expected_pair(seconds: Seconds, index: int, step: float) -> tuple[int, int]:
    """The pairing rule, written down for one frame. Distances within 2 ms count as equal."""
    if index == 0:
        return 0, min(1, len(seconds) - 1)
    distances = [abs(t - (seconds[index] - step)) for t in seconds[:index]]
    return max(k for k, d in enumerate(distances) if d <= min(distances) + 0.002), index


def expected_images(
    path: Path, settings: ClipSettings, start: float | None = None, end: float | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Seconds]:
    """A clip made the slow way: decode everything, then choose."""
    import cv2

    seconds, frames = zip(*iter_frames(path), strict=True)
    times = np.array(seconds)
    video_end = times[-1] + np.median(np.diff(times))
    start, end = times[0] if start is None else start, min(video_end, end or video_end)
    samples = expected_samples(times, start, end, settings.num_frames)
    pairs = [expected_pair(times, i, settings.motion_step_seconds) for i in samples]
    size = (settings.frame_size, settings.frame_size)
    small = [cv2.resize(f, size, interpolation=cv2.INTER_AREA).astype(int) for f in frames]
    motion = [128 + settings.motion_gain * (small[b] - small[a]) for a, b in pairs]
    rgb = np.array([small[i] for i in samples])
    return rgb.astype(np.uint8), np.clip(motion, 0, 255).astype(np.uint8), times[samples]


@pytest.fixture
def grabs(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The times of all frames that readers go to."""
    times: list[float | None] = []
    grab = VideoReader.grab

    def watched_grab(reader: VideoReader) -> float | None:
        times.append(grab(reader))
        return times[-1]

    monkeypatch.setattr(VideoReader, "grab", watched_grab)
    return times


@pytest.fixture
def seek_in_short_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MIN_FRAMES", 2)


def read_all_decoded(
    path: Path, settings: ClipSettings, start: float | None = None, end: float | None = None
) -> ClipFrames:
    """As `read_frames`, by decoding everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_MIN_FRAMES", 10**9)
        return read_frames(path, settings, start_seconds=start, end_seconds=end)


def assert_same_frames(actual: ClipFrames, expected: ClipFrames) -> None:
    assert actual.images.keys() == expected.images.keys()
    for role, images in expected.images.items():
        np.testing.assert_array_equal(actual.images[role], images)
    np.testing.assert_array_equal(actual.decoded.seconds, expected.decoded.seconds)
    assert replace(actual.decoded, seconds=expected.decoded.seconds) == expected.decoded


def patch_avi_frame_count(path: Path, count: int) -> Path:
    """Make an AVI's header promise another number of frames."""
    content = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):
        where = content.index(chunk) + offset
        content[where : where + 4] = count.to_bytes(4, "little")
    path.write_bytes(content)
    return path


def test_as_many_frames_as_samples_takes_each_once() -> None:
    for fps in (1, 12.5, 30000 / 1001, 240, 1000):
        seconds = np.arange(16) / fps
        np.testing.assert_array_equal(sample_indices(seconds, 16 / fps, 16), np.arange(16))


def test_twice_as_many_frames_as_samples_takes_every_second() -> None:
    # Every middle of a part falls on a frame's own time, whatever rounding does to it.
    for seconds in (np.arange(32) / 30, (np.arange(32) / 30).round(3)):
        np.testing.assert_array_equal(sample_indices(seconds, 32 / 30, 16), np.arange(1, 32, 2))


def test_fewer_frames_than_samples_repeats_them() -> None:
    np.testing.assert_array_equal(
        sample_indices(np.array([0.0, 1.0, 2.0]), 3.0, 6), [0, 0, 1, 1, 2, 2]
    )


def test_a_frame_that_stays_longer_on_screen_is_taken_more_often() -> None:
    seconds = np.array([0.0, 0.1, 0.2, 0.9])  # the third stays on for 0.7 of the 1.0 s

    np.testing.assert_array_equal(sample_indices(seconds, 1.0, 10), [0, 1, 2, 2, 2, 2, 2, 2, 2, 3])


@pytest.mark.parametrize("seed", range(5))
def test_sampling_and_pairing_follow_their_rules(seed: int) -> None:
    seconds = uneven_seconds(seed, count=40)
    for start, end in ((seconds[0], seconds[-1] + 0.05), (0.4, 1.1), (0.0, 0.5)):
        samples = sample_indices(seconds, end, 7, start_seconds=start)
        earlier, later = partner_indices(seconds, samples, 1 / 12)

        assert samples.tolist() == expected_samples(seconds, start, end, 7)
        pairs = list(zip(earlier.tolist(), later.tolist(), strict=True))
        assert pairs == [expected_pair(seconds, i, 1 / 12) for i in samples]


def test_pairs_do_not_depend_on_how_a_container_rounds() -> None:
    # At 30 fps a step of 1/12 s is two frames and a half: the later of the two candidates.
    exact = np.arange(40) / 30
    indices = np.arange(5, 40)
    for seconds in (exact, exact.round(3)):
        earlier, _ = partner_indices(seconds, indices, 1 / 12)
        np.testing.assert_array_equal(earlier, indices - 2)


def test_a_clip_shows_the_right_frames_at_the_right_times(draw_clip: DrawClip) -> None:
    clip = read_clip(draw_clip(frames=5, fps=10), replace(SMALL, num_frames=5))

    assert clip.decoded.status is Status.OK
    assert clip.decoded.seconds == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert clip.decoded.num_frames == 5
    assert clip.decoded.duration_seconds == pytest.approx(0.5)
    # Red grows by 50 a frame; MJPEG is lossy, hence atol. Motion: 128 + 2 * 50, and in the
    # first frame the same, because it is paired with the frame after it.
    red = clip.images["rgb"][:, 16, 16, 0]
    np.testing.assert_allclose(red, [0, 50, 100, 150, 200], atol=8)
    np.testing.assert_allclose(clip.images["motion"][:, 16, 16, 0], 228, atol=12)
    np.testing.assert_allclose(clip.images["motion"][:, 16, 16, 1:], 128, atol=12)


def test_frames_are_squashed_whole(draw_clip: DrawClip) -> None:
    picture = np.zeros((48, 256, 3), dtype=np.uint8)
    picture[:, 128:] = (255, 0, 0)
    path = draw_clip(pictures=[picture] * 8)

    for frame_size in (32, 96, 300):  # smaller than both sides, than one, than none
        images = read_clip(path, replace(SMALL, frame_size=frame_size)).images["rgb"]

        assert images.shape == (8, frame_size, frame_size, 3)
        columns = images[4, :, [frame_size // 4, 3 * frame_size // 4], 0].mean(axis=1)
        np.testing.assert_allclose(columns, [0, 255], atol=8)


def test_shrinking_averages_every_pixel(draw_clip: DrawClip) -> None:
    # Fine checks become even grey; taking single pixels would leave black and white.
    checks = (np.indices((240, 320)).sum(axis=0) % 2 * 255).astype(np.uint8)
    path = draw_clip(pictures=[np.stack([checks] * 3, axis=-1)] * 8)

    for frame_size in (32, 100):
        images = read_clip(path, replace(SMALL, frame_size=frame_size)).images["rgb"]
        np.testing.assert_allclose(images, 127, atol=35)


def test_only_the_streams_asked_for_are_made(draw_clip: DrawClip) -> None:
    path = draw_clip(frames=9)
    whole = read_clip(path, replace(SMALL, streams=ALL_STREAMS)).images

    assert list(whole) == list(ALL_STREAMS)
    for stream in ALL_STREAMS:
        images = read_clip(path, replace(SMALL, streams=(stream,))).images
        assert list(images) == [stream]
        np.testing.assert_array_equal(images[stream], whole[stream])


@pytest.mark.parametrize("suffix", ["avi", "mp4", "mkv", "gif"])
def test_what_is_read_is_what_the_slow_way_gives(
    suffix: str, draw_clip: DrawClip, tmp_path: Path
) -> None:
    pictures = noise_pictures(41, seed=1)
    if suffix == "gif":  # the one with a variable frame rate
        from PIL import Image

        images = [Image.fromarray(p) for p in pictures]
        path = tmp_path / "a.gif"
        durations = np.random.default_rng(0).integers(2, 15, 41) * 10
        images[0].save(path, save_all=True, append_images=images[1:], duration=durations.tolist())
    else:
        path = draw_clip(f"a.{suffix}", fps=23.7, pictures=pictures)

    for start, end in ((None, None), (0.31, 1.03), (0.77, None), (None, 0.5), (0.9, 99.0)):
        clip = read_clip(path, SMALL, start_seconds=start, end_seconds=end)
        rgb, motion, seconds = expected_images(path, SMALL, start, end)

        np.testing.assert_array_equal(clip.images["rgb"], rgb)
        np.testing.assert_array_equal(clip.images["motion"], motion)
        np.testing.assert_array_equal(clip.decoded.seconds, seconds)


@pytest.mark.parametrize("promised", [0, 1, 7, 22, 10_000, 2**31 - 1])
def test_a_lying_header_does_not_change_the_clip(promised: int, draw_clip: DrawClip) -> None:
    path = draw_clip(pictures=noise_pictures(20))
    truth = read_clip(path, SMALL)
    patch_avi_frame_count(path, promised)
    with VideoReader(path) as reader:
        assert reader.info.num_frames_from_header != 20
    clip = read_clip(path, SMALL)

    np.testing.assert_array_equal(clip.images["rgb"], truth.images["rgb"])
    np.testing.assert_array_equal(clip.images["motion"], truth.images["motion"])
    assert clip.decoded.num_frames == 20


def test_a_file_that_breaks_off_is_truncated(draw_clip: DrawClip) -> None:
    path = draw_clip(pictures=noise_pictures(50))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    decoded = read_clip(path, SMALL).decoded

    assert decoded.status is Status.TRUNCATED
    assert 10 <= decoded.num_frames <= 25
    assert decoded.reason == (f"header promises 50 frames, {decoded.num_frames} could be decoded")
    # A piece that ends before the break is whole.
    whole = read_clip(path, SMALL, start_seconds=0.2, end_seconds=1.1).decoded
    assert whole.status is Status.OK


def test_a_missing_last_frame_is_no_truncation(draw_clip: DrawClip) -> None:
    path = patch_avi_frame_count(draw_clip(frames=30), 32)

    assert read_clip(path, SMALL).decoded.status is Status.OK


@pytest.mark.parametrize(("frames", "words"), [(5, "5 frames,"), (1, "1 frame,")])
def test_too_few_frames_are_repeated_and_flagged(
    frames: int, words: str, draw_clip: DrawClip
) -> None:
    clip = read_clip(draw_clip(frames=frames), SMALL)

    assert clip.decoded.status is Status.SHORT
    assert clip.decoded.reason == f"{words} the model samples 8: frames were repeated"
    assert len(clip.images["rgb"]) == 8
    if frames == 1:  # nothing moves in a single frame
        assert (clip.images["motion"] == 128).all()
        assert clip.decoded.duration_seconds == pytest.approx(0.1)


def test_a_piece_holds_only_its_own_frames(draw_clip: DrawClip) -> None:
    decoded = read_clip(draw_clip(frames=30), SMALL, start_seconds=0.95, end_seconds=1.95).decoded

    assert decoded.num_frames == 10
    assert decoded.duration_seconds == pytest.approx(1.0)
    assert decoded.seconds.min() == pytest.approx(1.0)
    assert decoded.seconds.max() == pytest.approx(1.8)  # on screen at 1.8875 s


def test_a_piece_between_two_frames_is_the_frame_on_screen(draw_clip: DrawClip) -> None:
    decoded = read_clip(draw_clip(fps=1), SMALL, start_seconds=2.2, end_seconds=2.8).decoded

    assert set(decoded.seconds) == {2.0}
    assert (decoded.num_frames, decoded.status) == (1, Status.SHORT)


def test_a_piece_that_runs_past_the_end_ends_with_the_video(draw_clip: DrawClip) -> None:
    decoded = read_clip(draw_clip(frames=30), SMALL, start_seconds=1.0, end_seconds=60).decoded

    assert decoded.duration_seconds == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (3.0, None, "starts at 3 s, but the video's last frame is at 2.90 s"),
        (7.0, 9.0, "starts at 7 s"),
        (2.0, 1.0, "from 2 s to 1 s is empty"),
        (None, 0.0, "from 0 s to 0 s is empty"),
    ],
)
def test_a_piece_that_does_not_exist_is_an_error(
    start: float | None, end: float | None, message: str, draw_clip: DrawClip
) -> None:
    with pytest.raises(VideoError, match=message):
        read_clip(draw_clip(frames=30), SMALL, start_seconds=start, end_seconds=end)


@pytest.mark.usefixtures("seek_in_short_videos")
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("fps", [25, 30000 / 1001])
def test_seeking_gives_what_decoding_everything_gives(
    suffix: str, fps: float, draw_clip: DrawClip, grabs: list[float | None]
) -> None:
    # MPEG-4 as drawn here has a key frame every 12 frames.
    path = draw_clip(f"a.{suffix}", fps=fps, pictures=drifting_pictures(200))
    spans = ((None, None), (1.03, 7.2), (6.4, None), (6.01, 6.02), (None, 5.5), (3.0, 99.0))
    for settings in (SPARSE, replace(SPARSE, num_frames=1), replace(SMALL, streams=("motion",))):
        for start, end in spans:
            expected = read_all_decoded(path, settings, start, end)
            del grabs[:]
            actual = read_frames(path, settings, start_seconds=start, end_seconds=end)

            assert_same_frames(actual, expected)
            if settings.num_frames <= 2:
                frames_before_the_end = 200 if end is None else min(200, end * fps)
                assert len(grabs) < frames_before_the_end


def test_only_long_videos_that_store_times_are_sought_in(
    draw_clip: DrawClip, grabs: list[float | None]
) -> None:
    long = draw_clip("long.mp4", fps=25, pictures=drifting_pictures(1200))
    short = draw_clip("short.mp4", fps=25, pictures=drifting_pictures(900))
    avi = draw_clip("long.avi", fps=25, pictures=drifting_pictures(1200))

    read_frames(long, SPARSE)
    assert len(grabs) < 200
    for path, num_frames in ((short, 900), (avi, 1200)):
        del grabs[:]
        read_frames(path, SPARSE)
        assert len(grabs) == num_frames + 1  # once through, and the end


@pytest.mark.usefixtures("seek_in_short_videos")
def test_seeking_finds_the_end_of_a_file_that_breaks_off(
    draw_clip: DrawClip, grabs: list[float | None]
) -> None:
    path = draw_clip("a.mkv", fps=25, pictures=drifting_pictures(400))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    expected = read_all_decoded(path, SPARSE)
    num_grabs = len(grabs)
    actual = read_frames(path, SPARSE)

    assert expected.decoded.status is Status.TRUNCATED
    assert_same_frames(actual, expected)
    assert len(grabs) < 1.8 * num_grabs  # less than as many again
    assert_same_frames(
        read_frames(path, SPARSE, start_seconds=5.0, end_seconds=15.0),
        read_all_decoded(path, SPARSE, 5.0, 15.0),
    )


@pytest.mark.usefixtures("seek_in_short_videos")
@pytest.mark.parametrize("lie", ["no key frames", "one frame more", "one frame fewer"])
def test_a_frame_out_of_place_ends_seeking(
    lie: str, draw_clip: DrawClip, monkeypatch: pytest.MonkeyPatch, grabs: list[float | None]
) -> None:
    path = draw_clip("a.mp4", fps=25, pictures=drifting_pictures(200))
    expected = read_all_decoded(path, SPARSE)
    truth = read_packet_times(path)
    told = {
        "no key frames": PacketTimes(truth.seconds, is_key=np.ones(200, dtype=bool)),
        "one frame more": PacketTimes(  # as a packet would that holds no picture
            seconds=np.insert(truth.seconds, 50, truth.seconds[49:51].mean()),
            is_key=np.insert(truth.is_key, 50, False),
        ),
        "one frame fewer": PacketTimes(seconds=truth.seconds[:-1], is_key=truth.is_key[:-1]),
    }
    monkeypatch.setattr(decoding, "read_packet_times", lambda *_, **__: told[lie])
    del grabs[:]
    actual = read_frames(path, SPARSE)

    assert_same_frames(actual, expected)
    assert len(grabs) > 200  # everything was decoded after all


@pytest.mark.usefixtures("seek_in_short_videos")
def test_damage_where_a_frame_is_wanted_ends_seeking(
    draw_clip: DrawClip, grabs: list[float | None]
) -> None:
    path = draw_clip("a.mp4", fps=25, pictures=drifting_pictures(200))
    content = bytearray(path.read_bytes())
    start, length = len(content) // 4 - 3000, 6000  # SPARSE takes frames 50 and 150 of 200
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    expected = read_all_decoded(path, SPARSE)
    num_grabs = len(grabs)

    assert_same_frames(read_frames(path, SPARSE), expected)
    assert len(grabs) > 2 * num_grabs
