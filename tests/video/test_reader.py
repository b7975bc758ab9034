import os
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from activity_cli.errors import MissingVideoError, UnsupportedVideoError, VideoError
from activity_cli.video.reader import VideoReader, read_packet_times
from tests.media import DrawClip, drifting_pictures, iter_frames, noise_pictures, turn_clockwise


def reason_for(path: Path) -> str:
    """Why a path gives no frames."""
    with pytest.raises(VideoError) as caught:
        VideoReader(path)
    assert str(path) not in caught.value.message
    return caught.value.message


def test_frames_come_in_order_with_their_times(draw_clip: DrawClip) -> None:
    seconds, frames = zip(*iter_frames(draw_clip(frames=5, fps=10)), strict=True)

    assert seconds == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    # Reddish in, reddish out: catches swapped channels. MJPEG is lossy, hence atol.
    np.testing.assert_allclose(frames[3][24, 32], [150, 30, 30], atol=8)


def test_info_says_what_the_header_says(draw_clip: DrawClip) -> None:
    with VideoReader(draw_clip("a.avi", frames=20, fps=8)) as reader:
        info = reader.info

    assert (info.codec, info.width, info.height) == ("MJPG", 64, 48)
    assert (info.fps_from_header, info.num_frames_from_header) == (8.0, 20)
    assert info.duration_seconds_from_header == pytest.approx(2.5)
    assert info.rotation_degrees == 0


def test_a_closed_reader_is_at_its_end(draw_clip: DrawClip) -> None:
    reader = VideoReader(draw_clip())
    reader.close()

    assert reader.grab() is None


def test_timestamps_of_a_variable_frame_rate_are_kept(tmp_path: Path) -> None:
    from PIL import Image

    pictures = [Image.fromarray(p) for p in noise_pictures(4)]
    path = tmp_path / "a.gif"
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=[100, 300, 50, 200], loop=0
    )

    assert [t for t, _ in iter_frames(path)] == pytest.approx([0.0, 0.1, 0.4, 0.45])


def test_frames_without_timestamps_are_counted_on(tmp_path: Path) -> None:
    import cv2

    # A bare MPEG-2 stream as OpenCV writes it has no timestamp on its last, flushed frame.
    path = tmp_path / "a.mpg"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"PIM2"), 25, (64, 48))
    for picture in noise_pictures(12):
        writer.write(picture)
    writer.release()

    assert [t for t, _ in iter_frames(path)] == pytest.approx(np.arange(12) / 25)


def test_rotation_tags_are_honoured(draw_clip: DrawClip) -> None:
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[:24, :32] = 255  # white at the top left
    path = draw_clip("a.mp4", pictures=[picture] * 3)
    turn_clockwise(path)

    with VideoReader(path) as reader:
        reader.grab()
        frame = reader.retrieve()

    assert (reader.info.width, reader.info.height, reader.info.rotation_degrees) == (48, 64, 90)
    assert frame.shape == (64, 48, 3)
    corners = frame[[16, 16, 48, 48], [12, 36, 12, 36]].mean(axis=1)
    np.testing.assert_allclose(corners, [0, 255, 0, 0], atol=25)  # a turn puts it top right


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_packets_tell_the_times_of_frames(suffix: str, draw_clip: DrawClip) -> None:
    path = draw_clip(f"a.{suffix}", fps=23.976, pictures=drifting_pictures(60))
    seconds = [t for t, _ in iter_frames(path)]
    packets = read_packet_times(path)

    assert packets.seconds.tolist() == seconds
    with VideoReader(path) as reader:
        for is_key in packets.is_key:
            reader.grab()
            assert reader.is_intra() == is_key
    until = read_packet_times(path, until_seconds=1.0).seconds.tolist()
    assert until == seconds[: len(until)]
    assert 1.0 <= until[-1] < seconds[-1]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_seek_goes_to_a_frame_not_far_after_the_key_frame(
    suffix: str, draw_clip: DrawClip
) -> None:
    path = draw_clip(f"a.{suffix}", fps=25, pictures=drifting_pictures(120))
    seconds, frames = zip(*iter_frames(path), strict=True)
    keys = np.flatnonzero(read_packet_times(path).is_key[:100])
    with VideoReader(path) as reader:
        for key in (keys[-3], keys[1], keys[len(keys) // 2]):  # onwards and back
            reader.seek(seconds[key])
            for offset in range(3):
                time = reader.grab()
                assert time is not None
                index = seconds.index(time)
                assert 16 <= index - key - offset <= 17
                np.testing.assert_array_equal(reader.retrieve(), frames[index])


@pytest.mark.parametrize(
    "name",
    [
        "with space.avi", "-dash.avi", "a:b.avi", "http:x.avi", "%03d.avi", "[1]*?.avi",
        "ünïcødé 走.avi", "a'b\"c.avi", "new\nline.avi", "file", "a.txt", "a.png",
    ],
)  # fmt: skip
def test_any_file_name_works(
    name: str, draw_clip: DrawClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_clip("plain.avi").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    assert len(list(iter_frames(name))) == 5
    assert len(list(iter_frames(tmp_path / name))) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_file_names_that_are_no_unicode_work(draw_clip: DrawClip, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.avi"))
    draw_clip().rename(path)

    assert len(list(iter_frames(path))) == 5


def test_a_path_without_a_file_is_missing(tmp_path: Path, draw_clip: DrawClip) -> None:
    dangling = tmp_path / "link.mp4"
    dangling.symlink_to(tmp_path / "nowhere.mp4")

    for path in (tmp_path / "none.mp4", dangling, draw_clip() / "inside.mp4"):
        with pytest.raises(MissingVideoError):
            VideoReader(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mp4", b"", "empty"),
        ("a.mp4", b"hello world\n" * 9, "text file"),
        ("a.txt", b"hello world\n" * 2000, "text file"),
        ("a.nfo", b"\x1b[31mhello\xdb\xdb\r\n" * 2000, "text file"),
        ("a.ans", b"\x1b[31m\xdb\x01\x02 hello\r\n" * 2000, "text file"),
        ("a.mp4", np.random.default_rng(0).bytes(20000), "not a video"),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:3,\nhttp://127.0.0.1:9/a.ts\n", "playlist"),
        ("a.mp4", b"ffconcat version 1.0\nfile b.mp4\n", "playlist"),
        ("a.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "playlist"),
    ],
)
def test_files_that_are_no_video_say_what_they_are(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert reason in reason_for(path)


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "tiff", "gif"])
def test_pictures_of_other_names_are_no_videos(suffix: str, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise_pictures(1)[0]).save(path)
    disguised = path.rename(tmp_path / "a.mp4") if suffix == "jpg" else path

    assert "picture" in reason_for(disguised)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it for reading would wait for a writer

    assert "pipe" in reason_for(tmp_path / "pipe.mp4")
    assert "device" in reason_for(Path(os.devnull))
    assert "directory" in reason_for(tmp_path)


def test_a_video_without_its_index_is_unreadable(draw_clip: DrawClip) -> None:
    path = draw_clip("a.mp4", frames=30)
    path.write_bytes(path.read_bytes()[:-600])  # MP4 keeps its index at the end

    assert "damaged" in reason_for(path)


def test_a_known_codec_that_gives_nothing_is_damaged(draw_clip: DrawClip) -> None:
    path = draw_clip("a.avi", frames=3, pictures=noise_pictures(3))
    content = path.read_bytes()
    start = content.index(b"movi") + 4
    path.write_bytes(content[:start] + bytes(len(content) - start))

    assert "damaged" in reason_for(path)


def test_a_codec_without_decoder_is_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # AV1 by hand, in IVF: a temporal delimiter, a sequence header for 640x360, an empty frame.
    # OpenCV's wheels open AV1 and have no software decoder for it; PyAV is taken away.
    monkeypatch.setitem(sys.modules, "av", None)
    unit = (
        b"\x12\0" + bytes.fromhex("0a0e0000000cc4ff673ffe6408080410") + b"\x32\x08\x10" + bytes(7)
    )
    head = b"DKIF\0\0\x20\0AV01" + struct.pack("<HHIIII", 640, 360, 25, 1, 5, 0)
    path = tmp_path / "it's.ivf"
    path.write_bytes(head + b"".join(struct.pack("<IQ", len(unit), i) + unit for i in range(5)))

    with pytest.raises(UnsupportedVideoError, match=r"AV1.*pip install .*codecs") as caught:
        VideoReader(path)
    command = shlex.split(caught.value.hint.removeprefix("Convert it: "))
    assert command[:3] == ["ffmpeg", "-i", str(path)]


def test_nothing_is_written_to_stderr(draw_clip: DrawClip, tmp_path: Path) -> None:
    damaged = draw_clip("damaged.mp4", frames=30, pictures=noise_pictures(30))
    content = bytearray(damaged.read_bytes())
    content[2000:4000] = bytes(2000)
    damaged.write_bytes(content)
    (tmp_path / "junk.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    (tmp_path / "text.mp4").write_text("hello\n" * 99)
    cut = draw_clip("cut.avi", frames=30)
    cut.write_bytes(cut.read_bytes()[:9000])
    program = (
        "import sys\n"
        "from activity_cli.errors import VideoError\n"
        "from tests.media import iter_frames\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        print(len(list(iter_frames(path))))\n"
        "    except VideoError:\n"
        "        print('error')\n"
        "print('torch' in sys.modules)\n"
    )
    paths = [str(p) for p in (damaged, tmp_path / "junk.mp4", tmp_path / "text.mp4", cut)]

    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    assert done.stdout.split()[1:3] == ["error", "error"]
    assert done.stdout.split()[-1] == "False"
