"""A video and what was found in it -> a video, a picture, cut pieces."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.errors import OutputError
from activity_cli.report.figures import (
    UNKNOWN_COLOUR,
    label_colours,
    rgb,
    text_colour_on,
    timeline_colours,
)
from activity_cli.report.overlay import encoder
from activity_cli.report.overlay import video as overlay
from activity_cli.report.overlay.encoder import new_video
from activity_cli.report.overlay.layer import fit_text, text_mask, with_pillow
from activity_cli.report.overlay.outputs import cut_segments, piece_names
from activity_cli.report.overlay.painter import clock, leading_labels, scores_at
from activity_cli.report.overlay.storyboard import save_storyboard
from activity_cli.report.overlay.thumbnails import MOST_THUMBNAILS, choose_moments, read_thumbnails
from activity_cli.report.overlay.video import overlay_painter, read_frame_rate, save_overlay
from activity_cli.types import Segment, Timeline
from activity_cli.video.reader import VideoReader
from tests.media import DrawClip, Picture, iter_frames

FPS = 10
LABELS = ("jump", "走る")


def numbered_pictures(count: int, size: tuple[int, int] = (480, 360)) -> list[Picture]:
    """Picture i shows i in its middle: sixteens at the left, ones at the right, as grey levels."""
    width, height = size
    pictures = []
    for index in range(count):
        picture = np.full((height, width, 3), 20 + 14 * (index % 16), np.uint8)
        picture[:, : width // 2] = 20 + 14 * (index // 16)
        pictures.append(picture)
    return pictures


def number_in(frame: NDArray[np.uint8]) -> int:
    """Which of the numbered pictures a frame is, after lossy coding or scaling."""
    height, width = frame.shape[:2]
    row = frame[height // 2 - 2 : height // 2 + 2]
    sides = row[:, width // 4], row[:, 3 * width // 4]
    left, right = (round((float(side.mean()) - 20) / 14) for side in sides)
    return 16 * left + right


def make_timeline(end_seconds: float) -> Timeline:
    """The first half of a video is "jump", the second "走る"."""
    starts = np.arange(0, end_seconds - 0.01, 0.2)
    first = starts < end_seconds / 2
    scores = np.where(first[:, None], (0.9, 0.1), (0.2, 0.8)).astype(np.float32)
    return Timeline(
        labels=LABELS,
        starts_seconds=starts,
        window_seconds=0.2,
        end_seconds=end_seconds,
        scores=scores,
    )


def segment(start: float, end: float, label: str = "jump") -> Segment:
    return Segment(
        start_seconds=start, end_seconds=end, label=label, mean_score=0.8, peak_score=0.9
    )


@pytest.fixture(params=["ffmpeg", "opencv"])
def encoder_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to write a video: with ffmpeg, and as on a machine without it."""
    name = str(request.param)
    if name == "opencv":
        monkeypatch.setattr(encoder, "find_ffmpeg", lambda: None)
    elif encoder.find_ffmpeg() is None:
        pytest.skip("there is no ffmpeg on this machine")
    return name


@pytest.fixture
def ffmpeg_path() -> str:
    path = encoder.find_ffmpeg()
    if path is None:
        pytest.skip("there is no ffmpeg on this machine")
    return path


def test_overlay_keeps_frames_times_and_what_it_does_not_draw_on(
    encoder_name: str, draw_clip: DrawClip, tmp_path: Path
) -> None:
    video = draw_clip(fps=FPS, pictures=numbered_pictures(20))
    seen: list[tuple[str, int, int]] = []

    save_overlay(
        video,
        make_timeline(2.0),
        (segment(0, 1), segment(1, 2, "走る")),
        tmp_path / "out.mp4",
        on_progress=lambda *step: seen.append(step),
    )

    seconds, frames = zip(*iter_frames(tmp_path / "out.mp4"), strict=True)
    assert seconds == pytest.approx([index / FPS for index in range(20)])
    assert [number_in(frame) for frame in frames] == list(range(20))
    assert frames[0].shape == (360, 480, 3)
    originals = [frame for _, frame in iter_frames(video)]
    middle = np.s_[90:250, 260:460]  # right of the panel and above the strip; codecs are lossy
    for frame, original in zip(frames, originals, strict=True):
        np.testing.assert_allclose(frame[middle].astype(int), original[middle], atol=6)
    assert seen[-1] == ("overlay", 20, 20)
    with VideoReader(tmp_path / "out.mp4") as reader:
        codec = {"ffmpeg": "h264", "opencv": "FMP4"}[encoder_name]
        assert reader.info.codec == codec
        assert reader.info.duration_seconds_from_header == pytest.approx(2.0)


def test_overlay_draws_label_colours_and_a_play_head_that_moves() -> None:
    size = (640, 360)
    paint = overlay_painter(make_timeline(2.0), (segment(0, 0.9), segment(1.1, 2, "走る")), size)
    colours = label_colours(LABELS)
    painted = {}
    for seconds in (0.5, 1.0, 1.5):
        painted[seconds] = np.full((360, 640, 3), 128, np.uint8)
        paint(painted[seconds], seconds)

    band = painted[1.0][-12]  # a row of pixels below the names, where nothing else is drawn
    np.testing.assert_allclose(band[100], rgb(colours["jump"]), atol=3)
    np.testing.assert_allclose(band[540], rgb(colours["走る"]), atol=3)
    for seconds, frame in painted.items():
        is_head = (frame[-12] > 250).all(axis=1)  # the only white in the row
        place = (np.flatnonzero(is_head).mean() - 7) / (640 - 2 * 7) * 2.0
        assert place == pytest.approx(seconds, abs=0.02)
    panels = [frame[:80, :160] for frame in painted.values()]
    for panel, label in zip(panels, ("jump", None, "走る"), strict=True):
        colour = rgb(colours[label] if label else UNKNOWN_COLOUR)
        assert (np.abs(panel.astype(int) - colour).max(axis=2) < 8).sum() > 50
        assert (panel > 240).all(axis=2).sum() > 50  # letters, white
    assert not np.array_equal(panels[0], panels[2])


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 500), (500, 3), (63, 47), (64, 48), (320, 240), (1080, 1920)]
)
def test_any_size_can_be_drawn_on(size: tuple[int, int], tmp_path: Path) -> None:
    frame = np.full((size[1], size[0], 3), 128, np.uint8)
    width, height = overlay.enlarged_size(frame)
    drawn = np.full((height, width, 3), 128, np.uint8)
    paint = overlay_painter(
        make_timeline(2.0), (segment(0, 0.001), segment(0.5, 2)), (width, height)
    )

    for seconds in (0.0, 0.3, 1.0, 99.0):
        paint(drawn, seconds)
    with new_video(tmp_path / "out.mp4", fps=5) as write:
        write(drawn)
        write(drawn)

    assert width * size[1] == height * size[0]
    assert bool((drawn != 128).any()) == (size != (500, 3))  # too low for letters
    _, read = next(iter_frames(tmp_path / "out.mp4"))
    assert read.shape[:2] == (height + height % 2, width + width % 2)


def test_text_reads_at_240_lines_and_at_4k() -> None:
    heights = []
    for width, height in ((320, 240), (3840, 2160)):
        plain, titled = (np.zeros((height, width, 3), np.uint8) for _ in range(2))
        for frame, label in ((plain, "i"), (titled, "H")):
            found = (segment(0, 2, label),)
            overlay_painter(make_timeline(2.0), found, (width, height))(frame, 1.0)
        differs = (plain != titled).any(axis=2)[: height // 3]
        rows = np.flatnonzero(differs.any(axis=1))
        heights.append(rows[-1] - rows[0] + 1)

    assert heights[0] >= 7  # pixels of a capital letter: less cannot be read
    assert heights[1] / 2160 >= 0.02


def test_labels_of_any_script_are_drawn(draw_clip: DrawClip, tmp_path: Path) -> None:
    labels = ["fight", "ünï", "Прыжок", "走る", "مرحبا", "a/b:c*", "$x^2$ [b]", "x" * 200]
    for label in labels:
        mask = text_mask(label, 20)
        assert (mask > 200).sum() > 20
        assert not np.array_equal(mask, text_mask("?" * len(label), 20))
        assert fit_text(label, 20, 60).shape[1] <= 60
        assert (with_pillow(label, 20) > 200).sum() > 20  # as with OpenCV 4

    video = draw_clip("走る $a$ [x].avi", frames=8, size=(320, 240))
    found = [segment(0.1 * index, 0.1 * index + 0.1, label) for index, label in enumerate(labels)]
    timeline = make_timeline(0.8)
    save_overlay(video, timeline, found, tmp_path / "a.mp4")
    # Warnings are errors here: matplotlib warns of glyphs that its font lacks.
    save_storyboard(video, timeline, found, tmp_path / "a.png")
    assert len(cut_segments(video, found, tmp_path / "cuts")[0]) == len(labels)


def test_pieces_are_cut_to_the_frame(
    encoder_name: str, draw_clip: DrawClip, tmp_path: Path
) -> None:
    del encoder_name
    video = draw_clip(fps=FPS, pictures=numbered_pictures(40, (128, 96)))
    # Frame i is shown from i / 10 s. Neighbours share a boundary; one lies between two frames,
    # one on a frame but for rounding, and the last beyond the end of the video.
    spans = [(0.0, 0.7), (0.7, 1.25), (1.25, 2.0000001), (2.0000001, 2.3), (3.5, 9.0)]
    expected = [range(7), range(7, 13), range(13, 20), range(20, 23), range(35, 40)]

    cut, _ = cut_segments(video, [segment(*span) for span in spans], tmp_path / "cuts")

    for path, numbers in zip(cut, expected, strict=True):
        seconds, frames = zip(*iter_frames(path), strict=True)
        assert [number_in(frame) for frame in frames] == list(numbers)
        assert seconds == pytest.approx([index / FPS for index in range(len(numbers))])
    assert {path.name for path in cut} == {p.name for p in (tmp_path / "cuts").iterdir()}


def test_pieces_may_overlap(draw_clip: DrawClip, tmp_path: Path) -> None:
    video = draw_clip(fps=FPS, pictures=numbered_pictures(20, (128, 96)))
    found = [segment(0.8, 1.5), segment(0.2, 0.9)]

    cut, _ = cut_segments(video, found, tmp_path / "cuts")

    numbers = [[number_in(frame) for _, frame in iter_frames(path)] for path in cut]
    assert numbers == [list(range(8, 15)), list(range(2, 9))]
    with pytest.raises(OutputError, match="not empty"):
        cut_segments(video, found, tmp_path / "cuts")


def test_names_of_pieces_suit_every_file_system() -> None:
    video = Path("-a:b?<c>\udcff\n" + "é" * 200 + ".mp4")
    found = [segment(12.4, 18.2, 'a/b\\c"'), segment(12.4, 18.2, 'a/b\\c"'), segment(0, 1, "..")]

    names = piece_names(video, found)

    assert piece_names(Path("/x/clip.mp4"), [segment(12.4, 18.2)]) == [
        "clip_0012.40-0018.20_jump.mp4"
    ]
    assert len({name.casefold() for name in names}) == 3
    for name in names:
        assert re.fullmatch(r"\w[\w.-]*\.mp4", name)
        assert len(name.encode()) <= 255


def vary_rate(video: Path, target: Path, ffmpeg_path: str) -> None:
    """From frame 10 on, show each frame for three times as long."""
    times = "setpts='round(if(lt(N,10),N,10+(N-10)*3)/10/TB)'"
    command = [ffmpeg_path, "-v", "error", "-i", str(video), "-vf", times, "-fps_mode", "vfr"]
    subprocess.run([*command, "-c:v", "libx264", str(target)], check=True)


def test_a_varying_frame_rate_keeps_the_duration(
    ffmpeg_path: str, draw_clip: DrawClip, tmp_path: Path
) -> None:
    video = tmp_path / "vfr.mp4"
    vary_rate(draw_clip(fps=FPS, pictures=numbered_pictures(17)), video, ffmpeg_path)

    save_overlay(video, make_timeline(3.0), (segment(0, 3),), tmp_path / "out.mp4")
    cut, _ = cut_segments(video, (segment(0.5, 1.95),), tmp_path / "cuts")

    with VideoReader(video) as reader:
        assert not read_frame_rate(reader.info).is_constant
    # Frames 0 to 9 every 0.1 s, 10 to 15 every 0.3 s; the last as long as the header says, which
    # is not known better.
    numbers = [number_in(frame) for _, frame in iter_frames(tmp_path / "out.mp4")]
    steady = [*range(10), *(n for n in range(10, 16) for _ in range(3))]
    assert numbers[: len(steady)] == steady
    assert set(numbers[len(steady) :]) == {16}
    piece = [number_in(frame) for _, frame in iter_frames(cut[0])]
    assert piece == [5, 6, 7, 8, 9, 10, 10, 10, 11, 11, 11, 12, 12, 12, 13][: len(piece)]
    assert len(piece) == 14  # 1.45 s


def add_sound(video: Path, target: Path, ffmpeg_path: str) -> Path:
    """The same video with a tone."""
    tone = ["-f", "lavfi", "-i", "sine=440:duration=2"]
    command = [ffmpeg_path, "-v", "error", "-i", str(video), *tone, "-c:v", "copy", str(target)]
    subprocess.run(command, check=True)
    return target


def sound_seconds(video: Path, ffmpeg_path: str) -> float:
    """The length of the sound, by decoding it."""
    command = [ffmpeg_path, "-v", "error", "-i", str(video), "-map", "0:a", "-f", "s16le"]
    done = subprocess.run(
        [*command, "-ar", "8000", "-ac", "1", "-"], capture_output=True, check=True
    )
    return len(done.stdout) / 2 / 8000


def test_sound_is_kept(ffmpeg_path: str, draw_clip: DrawClip, tmp_path: Path) -> None:
    silent = draw_clip("silent.mp4", fps=FPS, frames=20)
    video = add_sound(silent, tmp_path / "tone.mp4", ffmpeg_path)

    whole = save_overlay(video, make_timeline(2.0), (), tmp_path / "out.mp4")
    cut, _ = cut_segments(video, (segment(0.5, 1.2),), tmp_path / "cuts")
    without = save_overlay(silent, make_timeline(2.0), (), tmp_path / "silent_out.mp4")

    assert whole.is_kept
    assert whole.note == ""
    assert sound_seconds(tmp_path / "out.mp4", ffmpeg_path) == pytest.approx(2.0, abs=0.06)
    assert sound_seconds(cut[0], ffmpeg_path) == pytest.approx(0.7, abs=0.06)
    assert (without.is_kept, without.note) == (False, "")


def test_without_ffmpeg_lost_sound_is_noted(
    draw_clip: DrawClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "find_ffmpeg", lambda: None)

    sound = encoder.sound_of(draw_clip("silent.mp4", fps=FPS, frames=4))

    assert not sound.is_kept
    assert "not kept" in sound.note
    assert "activity-cli[video]" in sound.note


def test_outputs_that_cannot_be(draw_clip: DrawClip, tmp_path: Path) -> None:
    video = draw_clip("in.mp4", frames=4, size=(320, 240))
    before = video.read_bytes()
    timeline, found = make_timeline(0.4), (segment(0, 0.4),)
    (tmp_path / "old.mp4").write_text("old")
    blocked = tmp_path / "old.mp4" / "out"

    with pytest.raises(OutputError, match="video itself"):
        save_overlay(video, timeline, found, tmp_path / "." / "in.mp4", overwrite=True)
    with pytest.raises(OutputError, match="exists"):
        save_overlay(video, timeline, found, tmp_path / "old.mp4")
    with pytest.raises(OutputError, match=r"\.mp4"):
        save_overlay(video, timeline, found, tmp_path / "out.avi")
    with pytest.raises(OutputError, match=r"\.png"):
        save_storyboard(video, timeline, found, tmp_path / "out.jpg")
    for write in (
        lambda: save_overlay(video, timeline, found, blocked.with_suffix(".mp4")),
        lambda: save_storyboard(video, timeline, found, blocked.with_suffix(".png")),
        lambda: cut_segments(video, found, blocked),
    ):
        with pytest.raises(OutputError, match="old"):
            write()

    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "old.mp4"}
    assert video.read_bytes() == before


def test_a_place_that_the_encoder_cannot_write_to(encoder_name: str, tmp_path: Path) -> None:
    del encoder_name
    frame = np.zeros((48, 64, 3), np.uint8)

    def write() -> None:
        with new_video(tmp_path / "gone" / "out.mp4", fps=10) as add:
            (tmp_path / "gone").rmdir()
            for _ in range(100):
                add(frame)

    with pytest.raises(OutputError, match=r"annot write .*out\.mp4|as .*out\.mp4"):
        write()


def test_an_interrupt_leaves_nothing_behind(
    encoder_name: str, draw_clip: DrawClip, tmp_path: Path
) -> None:
    del encoder_name
    video = draw_clip("in.mp4", frames=20, size=(320, 240))

    def interrupt(stage: str, done: int, total: int) -> None:
        del stage, total
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_overlay(video, make_timeline(2.0), (), tmp_path / "o.mp4", on_progress=interrupt)
    found = [segment(0, 2), *(segment(t, t + 0.2) for t in (0.0, 0.5, 1.0))]
    with pytest.raises(KeyboardInterrupt):
        cut_segments(video, found, tmp_path / "cuts", on_progress=interrupt)

    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "cuts"}
    names = [path.name for path in (tmp_path / "cuts").iterdir()]
    assert sorted(names) == piece_names(video, found[1:])  # whole ones stay


def test_thumbnails_show_their_times(draw_clip: DrawClip) -> None:
    video = draw_clip(fps=FPS, pictures=numbered_pictures(40, (128, 96)))

    pictures = read_thumbnails(video, [0.0, 0.31, 1.2, 1.24, 3.9, 50.0], height=48)

    assert [number_in(picture) for picture in pictures] == [0, 3, 12, 12, 39, 39]
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}


def test_thumbnails_of_a_long_video_are_sought(draw_clip: DrawClip) -> None:
    # 1500 frames: decoding.py seeks in videos of a thousand and more
    video = draw_clip(
        "long.mp4",
        fps=FPS,
        pictures=(p for _ in range(6) for p in numbered_pictures(250, (64, 48))),
    )

    pictures = read_thumbnails(video, [3.0, 80.0, 140.0], height=48)

    assert [number_in(picture) for picture in pictures] == [30, 800 % 250, 1400 % 250]


def test_moments_come_from_all_segments_or_the_best_of_many() -> None:
    few = choose_moments((segment(10, 16), segment(20, 26)), 30)
    many = [segment(10 * i, 10 * i + (8 if i % 5 == 0 else 1)) for i in range(80)]

    assert few == pytest.approx([11, 13, 15, 21, 23, 25])
    moments = choose_moments(many, 800)
    assert len(moments) == MOST_THUMBNAILS
    assert moments == sorted(moments)
    assert all(moment % 50 == 4 for moment in moments)  # the middles of the long ones
    assert choose_moments((), 6) == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5])


@pytest.mark.parametrize("count", [0, 1, 9, 80])
def test_storyboard_shows_bands_in_the_labels_colours(
    count: int, draw_clip: DrawClip, tmp_path: Path
) -> None:
    from PIL import Image

    video = draw_clip(fps=FPS, pictures=numbered_pictures(30, (128, 96)))
    step = 3.0 / max(count, 1)
    found = [segment(i * step, (i + 1) * step, LABELS[i % 2]) for i in range(count)]

    path = save_storyboard(video, make_timeline(3.0), found, tmp_path / "a.png", model="m")

    picture = np.asarray(Image.open(path).convert("RGB"))
    jump, other = (
        (picture == np.array(rgb(colour))).all(axis=2).mean(axis=1)
        for colour in label_colours(LABELS).values()
    )
    # The band is 92% of the width and 45 rows of pixels high; names are written into half of it.
    expected = 0.92 * np.array({0: (0, 0), 1: (1, 0), 9: (5 / 9, 4 / 9), 80: (0.5, 0.5)}[count])
    like_band = (abs(jump - expected[0]) < 0.05) & (abs(other - expected[1]) < 0.05)
    if count:
        assert 20 < like_band.sum() < 80  # the edges below two rows of thumbnails look like it
    else:
        assert (jump + other > 0.05).sum() < 60  # curves and their legend


def test_colours_differ_and_unknown_is_grey() -> None:
    labels = [f"label {index}" for index in range(21)]
    colours = label_colours(labels)

    assert len(set(colours.values())) == 21
    assert label_colours(["unknown", *labels]) == {"unknown": UNKNOWN_COLOUR, **colours}
    many = [f"label {index}" for index in range(400)]
    found = {"label 3", "label 24", "label 399", "something else"}
    shown = timeline_colours(many, found)
    assert len({shown[label] for label in found}) == 4
    assert shown["label 0"] == UNKNOWN_COLOUR
    assert {text_colour_on("#000000"), text_colour_on("#ffff00")} == {"#ffffff", "#111827"}


def test_scores_are_those_of_the_windows_at_their_middles() -> None:
    timeline = Timeline(
        labels=("a", "b"),
        starts_seconds=np.array([0.0, 1.0, 2.0]),
        window_seconds=2.0,
        end_seconds=3.0,  # so the last window is 2 to 3, and its middle 2.5
        scores=np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32),
    )

    scores = scores_at(timeline, np.array([0.0, 1.0, 1.5, 2.0, 2.5, 3.0]))

    np.testing.assert_allclose(scores[:, 0], [1, 1, 0.5, 0, 0.5, 0.5])
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert leading_labels(timeline, (segment(0, 1, "b"),), 1) == ["b"]


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0, 0, "0:00"),
        (59.99, 1, "0:59.9"),
        (60.3, 1, "1:00.3"),
        (3723, 0, "1:02:03"),
        (0.7, 2, "0:00.70"),
    ],
)
def test_clock(seconds: float, decimals: int, text: str) -> None:
    assert clock(seconds, decimals=decimals) == text
