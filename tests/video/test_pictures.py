"""Pictures are clips of one frame, and a folder of numbered pictures is a clip."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from activity_cli.common.files import find_clips, numbered_frames, walk_files
from activity_cli.errors import VideoError
from activity_cli.settings import ClipSettings
from activity_cli.types import Status
from activity_cli.video.clips import read_clip
from activity_cli.video.sources import expand_sources
from tests.workplace import Workplace

RGB = ClipSettings(num_frames=4, frame_size=16, streams=("rgb",))


def draw(path: Path, red: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((30, 40, 3), (30, 30, red), np.uint8))
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path, ending: str) -> None:
    clip = read_clip(draw(tmp_path / f"é x.{ending}", 200), RGB)

    assert clip.decoded.status is Status.OK
    assert clip.decoded.num_frames == 1
    np.testing.assert_allclose(clip.images["rgb"][:, 8, 8], [[200, 30, 30]] * 4, atol=4)


def test_numbered_frames_are_a_clip_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1, 3):
        draw(tmp_path / f"frames/frame_{number}.png", 20 * number)

    clip = read_clip(tmp_path / "frames", RGB)

    assert clip.images["rgb"][:, 8, 8, 0].tolist() == [20, 40, 60, 200]
    assert clip.decoded.seconds.tolist() == pytest.approx([0, 0.04, 0.08, 0.12])


def test_sources_take_pictures_and_folders_of_frames_but_no_thumbnails(tmp_path: Path) -> None:
    draw(tmp_path / "photos/dog.jpg", 1)
    draw(tmp_path / "films/poster.jpg", 1)
    (tmp_path / "films/a.mp4").touch()
    for number in range(3):
        draw(tmp_path / f"frames/{number:04}.png", 1)
        draw(tmp_path / f"label/{number:04}.png", 1)

    found = [path.relative_to(tmp_path).as_posix() for path in expand_sources([str(tmp_path)])]

    assert found == ["films/a.mp4", "frames", "label", "photos/dog.jpg"]
    assert expand_sources([str(tmp_path / "frames")]) == [tmp_path / "frames"]
    assert len(numbered_frames(tmp_path / "frames")) == 3
    # Of a label's own folder each numbered picture is a clip.
    inside = tmp_path / "label"
    assert len(find_clips(walk_files(inside), inside=inside)) == 3


def test_a_damaged_picture_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")

    with pytest.raises(VideoError, match="The picture cannot be decoded"):
        read_clip(tmp_path / "bad.jpg", RGB)


def wander(folder: Path, *, count: int) -> None:
    """Draw a dot on 10 x 10 grey pixels that wanders up, down, left or right, with noise."""
    rng = np.random.default_rng(0)
    steps = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
    rows = []
    for label, (down, right) in steps.items():
        for number in range(count):
            clip = folder / label / f"{number:03}"
            clip.mkdir(parents=True)
            start, aside = rng.integers(0, 3), rng.integers(1, 9)
            for frame in range(6):
                at = start + frame if down + right > 0 else 9 - start - frame
                picture = rng.integers(0, 60, (10, 10), np.uint8)
                picture[(at, aside) if down else (aside, at)] = rng.integers(180, 256)
                cv2.imwrite(str(clip / f"{frame:04}.png"), picture)
            start_words = rng.choice(["A dot moves", "The bright dot wanders"])
            rows.append([f"{label}/{number:03}", f"{start_words} {label}."])
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "caption"], *rows])


@pytest.mark.slow
def test_a_wandering_dot_of_one_channel_is_classified_and_described(tmp_path: Path) -> None:
    wander(tmp_path / "dots", count=40)
    place = Workplace(tmp_path, tmp_path / "cache")
    small: tuple[str, ...] = (
        "--cnn",
        "scratch",
        "--channels",
        "1",
        "--frame-size",
        "10",
        "--frames",
        "6",
    )
    small += ("--conv-channels", "16,32")  # 10 pixels are halved twice; by default three times

    out = place.run("train", "dots", *small, "--name", "labels", "--json").stdout
    assert json.loads(out)["accuracy"] > 0.95
    described: tuple[str, ...] = (
        "--task",
        "describe",
        "--epochs",
        "22",
        "--batch-size",
        "16",
        "--dropout",
        "0.2",
    )
    described += ("--decoder-size", "32")
    place.run("train", "dots", *small, *described, "--name", "words")
    with (tmp_path / "runs/words/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = [f" {row['path'].split('/')[0]}." in row["caption"] for row in rows]
    assert np.mean(right) >= 0.8


@pytest.mark.slow
def test_predict_takes_a_picture_and_a_folder_of_frames(shared: Workplace) -> None:
    for number in range(4):
        draw(shared.folder / f"frames/{number:04}.jpg", 50 * number)
    draw(shared.folder / "dog.png", 99)
    lines = shared.run(
        "predict", "dog.png", "frames", "--model", "runs/first", "--json"
    ).stdout.splitlines()

    rows = [json.loads(line) for line in lines]
    assert [(row["path"], row["status"], row["frames"]) for row in rows] == [
        ("dog.png", "ok", 1),
        ("frames", "short", 4),
    ]
