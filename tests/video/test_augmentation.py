"""Views of a clip: what augmentation may change, and what it must not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from activity_cli.errors import SettingsError
from activity_cli.model.encoding import Features, ViewIndex
from activity_cli.settings import STREAMS, AugmentSettings, ClipSettings, NetworkSettings
from activity_cli.settings import TrainSettings as Training
from activity_cli.training.head import HeadConfig, fit_head
from activity_cli.training.scoring import score_rows
from activity_cli.video.augmentation import (
    PLAIN,
    Transform,
    Transformer,
    View,
    draw_view,
    settle_flip,
    side_labels,
    training_views,
    tta_views,
)
from activity_cli.video.clips import read_clip, read_clips, read_views
from activity_cli.video.sampling import Timing
from tests.media import DrawClip, Picture, noise_pictures
from tests.training.test_head import as_dataset

SMALL = ClipSettings(num_frames=6, frame_size=64)
AUGMENT = AugmentSettings(num_views=4, flip=True)
MOVED = Transform(is_flipped=True, rotation_degrees=5, zoom=1.1, shift_x=0.05, shift_y=-0.03)


def marked(background: int, x: int, y: int) -> Picture:
    picture = np.full((64, 64, 3), background, np.uint8)
    cv2.circle(picture, (x, y), 3, (255, 255, 255), -1)
    return picture


def centre_of_mark(frame: Picture) -> NDArray[np.float64]:
    weights = np.maximum(frame[..., 0].astype(float) - 150, 0)
    rows, columns = np.indices(weights.shape)
    sums = [float((columns * weights).sum()), float((rows * weights).sum())]
    return np.array(sums) / float(weights.sum())


def test_a_mark_moves_the_same_way_in_all_frames_and_as_the_look_says() -> None:
    transformer = Transformer(MOVED, 64)
    x, y = 40, 22
    frames = [transformer.apply(marked(shade, x, y), i) for i, shade in enumerate((0, 60, 120))]

    places = [centre_of_mark(frame) for frame in frames]
    for place in places[1:]:
        np.testing.assert_allclose(place, places[0], atol=0.1)
    # Mirrored first, then turned anticlockwise and enlarged around the middle, then shifted.
    turn = np.deg2rad(-5)
    offset = np.array([63 - x, y]) - 31.5
    turned = 1.1 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ offset
    np.testing.assert_allclose(places[0], turned + 31.5 + [64 * 0.05, 64 * -0.03], atol=0.3)


def test_where_nothing_moves_no_view_shows_motion(draw_clip: DrawClip) -> None:
    path = draw_clip(pictures=noise_pictures(1) * 20)  # Motion JPEG: every frame is the same
    looks = replace(AUGMENT, noise=0.0)
    views = [PLAIN, *(draw_view(looks, "clip", number) for number in range(1, 5))]

    clips = read_clips(path, SMALL, views)

    for clip in clips:
        np.testing.assert_array_equal(clip.images["motion"], 128)
        np.testing.assert_array_equal(clip.images["rgb"], clip.images["rgb"][:1].repeat(6, 0))
    assert len({clip.images["rgb"].tobytes() for clip in clips}) == 5


def test_noise_is_new_in_every_frame_and_the_same_wherever_that_frame_is_seen(
    draw_clip: DrawClip,
) -> None:
    path = draw_clip(pictures=noise_pictures(1) * 20)
    noisy = View(transform=Transform(noise=0.02, seed=3))

    plain, seen = (frames.images for frames in read_views(path, SMALL, (PLAIN, noisy)))

    np.testing.assert_array_equal(seen["frames"], seen["later"])
    noise = seen["frames"].astype(int) - plain["frames"]
    assert noise.std() == pytest.approx(0.02 * 255, rel=0.15)  # some is cut off at black and white
    assert len({frame.tobytes() for frame in noise}) == 6


def test_backwards_is_what_a_reversed_video_shows(draw_clip: DrawClip) -> None:
    pictures = noise_pictures(20)
    forth = draw_clip("forth.avi", pictures=pictures)
    back = draw_clip("back.avi", pictures=pictures[::-1])

    [seen] = read_clips(forth, SMALL, (View(timing=Timing(is_reversed=True)),))

    expected = read_clip(back, SMALL)
    for stream in STREAMS:
        np.testing.assert_array_equal(seen.images[stream], expected.images[stream])
    assert (np.diff(seen.decoded.seconds) < 0).all()


def test_a_part_of_the_time_is_that_piece_of_the_video(draw_clip: DrawClip) -> None:
    path = draw_clip(frames=40, pictures=noise_pictures(40))
    [seen] = read_clips(path, SMALL, (View(timing=Timing(first=0.25, last=0.75)),))

    piece = read_clip(path, SMALL, start_seconds=1.0, end_seconds=3.0)

    np.testing.assert_array_equal(seen.images["rgb"], piece.images["rgb"])
    assert (seen.decoded.num_frames, piece.decoded.num_frames) == (40, 20)


def test_jitter_keeps_the_order_and_speed_moves_partners_apart(draw_clip: DrawClip) -> None:
    path = draw_clip(fps=48, pictures=noise_pictures(96))
    jittered = View(timing=Timing(jitter=0.5, seed=1))
    fast = View(timing=Timing(speed=2.0))

    plain, shifted, other = read_clips(path, SMALL, (PLAIN, jittered, fast))

    assert (np.diff(shifted.decoded.seconds) >= 0).all()
    assert (shifted.decoded.seconds != plain.decoded.seconds).any()
    np.testing.assert_array_equal(other.images["rgb"], plain.images["rgb"])
    doubled = read_clip(path, replace(SMALL, motion_step_seconds=2 / 12))
    np.testing.assert_array_equal(other.images["motion"], doubled.images["motion"])


def test_views_are_drawn_by_content_number_and_seed() -> None:
    views = [draw_view(AUGMENT, "clip", number) for number in range(1, 9)]

    assert views == [draw_view(AUGMENT, "clip", number) for number in range(1, 9)]
    others = [
        draw_view(AUGMENT, "other clip", 1),
        draw_view(replace(AUGMENT, seed=1), "clip", 1),
    ]
    assert len({view.key() for view in [*views, *others, PLAIN]}) == 11
    assert [view.transform.is_flipped for view in views] == [True, False] * 4
    turns = [view.transform.rotation_degrees for view in views]
    assert -6 <= min(turns) < 0 < max(turns) <= 6
    assert not any(view.timing.is_reversed for view in views)


def test_only_what_is_asked_for_differs() -> None:
    flips = replace(AUGMENT.only(["flip"]), num_views=2)
    assert training_views(flips)("clip") == (
        PLAIN,
        View(transform=Transform(is_flipped=True)),
        PLAIN,
    )

    turned = draw_view(AUGMENT.only(["rotate"]), "clip", 1)
    angle = draw_view(AUGMENT, "clip", 1).transform.rotation_degrees
    assert turned == View(
        transform=Transform(rotation_degrees=angle)
    )  # other kinds do not change its chance
    with pytest.raises(SettingsError, match="no augmentation 'spin'"):
        AUGMENT.only(["spin"])


@pytest.mark.parametrize(
    ("labels", "sided"),
    [
        (["walk", "copyright", "upright", "leftover"], []),
        (["turn_left", "walk"], ["turn_left"]),
        (["TurnRight", "Left-hand wave"], ["TurnRight", "Left-hand wave"]),
        (["kick_l", "kick_r"], ["kick_l", "kick_r"]),
        (["plan_l", "walk"], []),
    ],
)
def test_labels_that_name_a_side_are_not_mirrored(labels: list[str], sided: list[str]) -> None:
    notes: list[str] = []
    settled = settle_flip(AugmentSettings(num_views=2), labels, notes.append)

    assert side_labels(labels) == sided
    assert settled.flip is not bool(sided)
    assert len(notes) == bool(sided)
    assert all("no view is mirrored" in note and repr(sided[0]) in note for note in notes)
    # Who asks for it gets it, and is told.
    asked = settle_flip(AugmentSettings(num_views=2, flip=True), labels, notes.append)
    assert asked.flip
    assert len(notes) == 2 * bool(sided)
    mirrored = [view.transform.is_flipped for view in tta_views(3, labels)]
    assert any(mirrored) is not bool(sided)


def hidden_order(num_clips: int) -> tuple[Features, Features, NDArray[np.int64]]:
    """Clips 0 to 109 show their class in one of their 2 views only; the others show it plainly."""
    targets = np.arange(num_clips) % 2
    random = np.random.default_rng(0)
    views = 0.5 * random.normal(size=(num_clips, 2, 2, 8, 48))
    plain = 0.5 * random.normal(size=(num_clips, 2, 8, 48))
    ramp = np.where(targets, 1, -1)[:, None, None, None] * np.linspace(-1, 1, 8)[:, None]
    views[:, 1, ..., :10] += ramp
    plain[110:, ..., :10] += ramp[110:]
    return plain.astype(np.float16), views.astype(np.float16), targets


@pytest.mark.slow
@pytest.mark.parametrize("is_augmented", [True, False])
def test_the_head_learns_from_views_and_is_judged_without(is_augmented: bool) -> None:
    plain, views, targets = hidden_order(160)
    fitted = fit_head(
        as_dataset((plain, targets), views=views if is_augmented else None),
        HeadConfig(
            network=NetworkSettings(hidden_size=16, projection_size=16),
            training=Training(epochs=25, patience=25),
        ),
        train_rows=np.arange(110),
        val_rows=np.arange(0),
    )

    right = score_rows(fitted.network, plain, np.arange(110, 160)).argmax(1) == targets[110:]
    assert bool(right.mean() > 0.9) is is_augmented


def test_every_view_of_a_clip_is_drawn_about_as_often() -> None:
    index = ViewIndex(num_clips=5, num_views=2)
    torch.manual_seed(0)

    drawn = index.draw(torch.tensor([2, 0] * 600))

    assert (index.clips[drawn] == torch.tensor([2, 0] * 600)).all()
    counts = Counter(drawn.tolist())
    assert len(counts) == 6
    assert min(counts.values()) > 150  # 200 expected, standard deviation 12


def test_a_preview_shows_every_label_and_trains_nothing(tmp_path: Path) -> None:
    from activity_cli.sampledata import draw_dataset
    from tests.workplace import Workplace

    draw_dataset(tmp_path / "clips", clips_per_label=1, labels=("walk", "wave"))
    (tmp_path / "clips" / "wave").rename(tmp_path / "clips" / "wave left")
    (tmp_path / "clips" / "labels.csv").unlink()
    workplace = Workplace(tmp_path, tmp_path / "cache")

    run = workplace.run("train", "clips", "--views", "1", "--frames", "6", "--preview", "seen.png")

    assert run.stdout.strip() == "seen.png"
    assert "label 'wave left' names a side, so no view is mirrored" in run.stderr
    assert not (tmp_path / "runs").exists()
    picture = cv2.imread(str(tmp_path / "seen.png"))
    assert picture is not None
    height, width = picture.shape[:2]
    # 13 inches wide; 2 clips in 2 views, each with two streams of frames 1.2 inches high.
    assert width == 1950
    assert 8 * 1.2 * 150 < height < 8 * 1.5 * 150 + 300
    grey = (np.abs(picture.astype(int) - 128).max(axis=2) < 12).mean()
    assert grey > 0.12  # motion images, nearly a quarter of the sheet, are mostly mid-grey
    again = workplace.run("train", "clips", "--preview", "seen.png", code=1)
    assert "exists already" in again.stderr
