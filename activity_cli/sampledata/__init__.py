"""Drawn clips: labelled videos of a person who performs an action, for demos and tests.

People, clothes, places, light and camera differ from clip to clip, independently of the label. Two
pairs of actions, sit_down / stand_up and pick_up / put_down, are the same movement forwards and
backwards: only the order of the frames tells them apart.
"""

import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from activity_cli.common.files import output_error
from activity_cli.common.tables import write_table
from activity_cli.data.captions import CAPTIONS_FILE
from activity_cli.errors import OutputError, SettingsError
from activity_cli.sampledata.actions import ACTIONS, Floats, Motion, Style, perform
from activity_cli.sampledata.captions import describe_clip
from activity_cli.sampledata.people import Clothes, Person, pose
from activity_cli.sampledata.rendering import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    Camera,
    Colour,
    Layer,
    Picture,
    paint,
)
from activity_cli.sampledata.scenery import Props, Room, Stand, box, clutter, draw_background
from activity_cli.types import OnProgress, no_progress

__all__ = ["ACTIONS", "draw_dataset", "draw_video", "make_clip"]

FRAME_RATES = (20.0, 24.0, 25.0, 30.0)
SECONDS = (1.6, 2.6)
"""Shortest and longest clip."""
_VIDEO_FPS = 25.0


def draw_dataset(
    output: Path,
    *,
    clips_per_label: int = 12,
    seed: int = 0,
    labels: Sequence[str] = ACTIONS,
    captions: bool = False,
    on_progress: OnProgress = no_progress,
) -> Path:
    """Draw clips to `output/<label>/` and list them in `output/labels.csv`, written last.

    The CSV has columns path, label and group; the group is the person, and each person performs
    every action. With `captions`, `output/captions.csv` has two sentences about each clip. The same
    seed gives the same files; more clips keep those that fewer give.

    Raises:
        SettingsError: a label is unknown, or a number is out of range.
        OutputError: the folder is not empty or cannot be written.
    """
    _check(clips_per_label, seed, labels)
    total = len(labels) * clips_per_label
    rows, sentences = [], []
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise OutputError(
                f"{output} already has files in it.", hint="Choose a folder that is empty or new."
            )
        with tempfile.TemporaryDirectory(prefix=".drawing-", dir=output) as scratch:
            on_progress("draw", 0, total)
            for index in range(clips_per_label):
                for label in labels:
                    # Two people take turns for four clips, then the next two: all labels alike.
                    person = 2 * (index // 4) + index % 2
                    name = f"{label}/person{person:02d}_{index:03d}.mp4"
                    unfinished = Path(scratch) / "clip.mp4"
                    both = _draw_file(unfinished, label, person, index, seed)
                    (output / label).mkdir(exist_ok=True)
                    unfinished.replace(output / name)
                    rows.append((name, label, f"person{person:02d}"))
                    sentences.append((name, *both, f"person{person:02d}"))
                    on_progress("draw", len(rows), total)
            if captions:
                header = ("path", "caption_1", "caption_2", "group")
                write_table(output / CAPTIONS_FILE, header, sorted(sentences))
            write_table(output / "labels.csv", ("path", "label", "group"), sorted(rows))
            return output / "labels.csv"
    except OSError as error:
        raise OutputError(
            f"The clips cannot be written to {output}: {error.strerror or error}.",
            hint="Choose another folder with --output, or free some space.",
        ) from error


def _check(clips_per_label: int, seed: int, labels: Sequence[str]) -> None:
    for name, value, least in (("clips_per_label", clips_per_label, 1), ("seed", seed, 0)):
        if value < least:
            raise SettingsError(f"{name} must be at least {least}, got {value}.")
    _check_labels(labels)
    if not labels or len(set(labels)) < len(labels):
        raise SettingsError("labels must name each action once, and at least one.")


def _check_labels(labels: Sequence[str]) -> None:
    if unknown := [label for label in labels if label not in ACTIONS]:
        raise SettingsError(
            f"No sample clips can be drawn of {', '.join(unknown)}.",
            hint=f"Choose from {', '.join(ACTIONS)}.",
        )


def draw_video(path: Path, labels: Sequence[str], *, seed: int = 0) -> None:
    """Draw one person who performs these actions one after the other, about 2 s each.

    Raises:
        SettingsError: a label is unknown.
        OutputError: the file cannot be written.
    """
    _check_labels(labels)

    def frames() -> Iterator[Picture]:
        person = Person.draw(np.random.default_rng(seed))
        for index, label in enumerate(labels):
            clip = make_clip(label, person, np.random.default_rng([seed, index]))
            drawn = list(clip.frames())
            seconds = np.arange(0, len(drawn) / clip.frame_rate, 1 / _VIDEO_FPS)
            yield from (drawn[int(t * clip.frame_rate)] for t in seconds)

    try:
        encode(path, _VIDEO_FPS, frames())
    except OSError as error:
        raise output_error(path, error) from error


def _draw_file(path: Path, label: str, person: int, index: int, seed: int) -> tuple[str, str]:
    """Draw one clip and return two sentences about it; an OSError if it cannot be written."""
    # One random stream per clip: a clip does not depend on which others are drawn.
    rng = np.random.default_rng([seed, zlib.crc32(label.encode()), index])
    who = Person.draw(np.random.default_rng([seed, person]))
    clip = make_clip(label, who, rng)
    encode(path, clip.frame_rate, clip.frames())
    return describe_clip(
        label, person=who, clothes=clip.clothes, floor=clip.floor, style=clip.style, rng=rng
    )


def encode(path: Path, fps: float, frames: Iterator[Picture]) -> None:
    """Encode frames as MPEG-4.

    Raises:
        OSError: there is no encoder, or the file is incomplete.
    """
    import cv2

    fourcc, size = cv2.VideoWriter.fourcc(*"mp4v"), (FRAME_WIDTH, FRAME_HEIGHT)
    video = cv2.VideoWriter(str(path), fourcc, fps, size)
    if not video.isOpened():
        raise OSError("OpenCV cannot write MPEG-4 video there")
    try:
        for frame in frames:
            video.write(frame)
    finally:
        video.release()
    # OpenCV does not report a full disk; then the index that ends a file is missing.
    if b"moov" not in path.read_bytes():
        raise OSError("a clip is incomplete")


class Clip(NamedTuple):
    """The contents of a clip of T frames, not yet painted."""

    frame_rate: float
    background: Picture  # larger than the frames
    camera: Camera
    layers: list[Layer]
    light: Floats  # (3,) brightness and colour, BGR
    grain: float  # strength of the camera's noise
    grain_seed: int
    clothes: Clothes
    floor: Colour
    style: Style

    def frames(self) -> Iterator[Picture]:
        """Paint the frames, (H, W, 3) BGR, one after the other."""
        import cv2

        noise = np.random.default_rng(self.grain_seed)
        # OpenCV rounds to nearest, and the half makes that rounding down.
        lit = (np.arange(256)[:, None, None] * self.light - 0.5).astype(np.float32)
        for index in range(len(self.camera.shift)):
            frame = paint(self.background, self.camera, self.layers, index)
            grain = self.grain * noise.standard_normal(frame.shape[:2], np.float32)
            drawn = cv2.add(cv2.LUT(frame, lit), cv2.merge([grain] * 3), dtype=cv2.CV_8U)
            yield np.asarray(drawn, np.uint8)


def make_clip(
    label: str,
    person: Person,
    rng: np.random.Generator,
    *,
    perform: Callable[[str, Floats, Style], Motion] = perform,
    lengthened: int = 1,
) -> Clip:
    """Draw the contents of a clip of a person who performs an action.

    All random choices are made in the same order for every label, so labels differ only in the
    movement and in the objects that it needs. `perform` may be another function that also stretches
    the motion: then the clip is `lengthened` times as long.
    """
    frame_rate = float(rng.choice(FRAME_RATES))
    num_frames = round(rng.uniform(*SECONDS) * frame_rate)
    style = Style.draw(rng, num_frames / frame_rate)
    progress = np.linspace(0, 1, num_frames * lengthened)
    # Near the middle, seen from the side or half from the front.
    facing, to_the_right = rng.uniform(-0.2, 0.95), rng.uniform() < 0.5
    facing = facing if to_the_right else np.pi - facing
    stand = Stand(x=rng.uniform(-0.3, 0.3), away=rng.uniform(4.2, 5.0), facing=facing)
    props = Props.draw(rng, person.body)
    motion = perform(label, progress, style)
    joints = pose(person.body, motion, props.grips)
    mirror = (1, 1, -1 if style.left_handed else 1)
    clothes = Clothes.draw(rng)
    things = person.dressed(clothes, {n: stand.place(p * mirror) for n, p in joints.items()})
    if label in {"sit_down", "stand_up"}:
        things += props.chair(stand, len(progress))
    if label in {"pick_up", "put_down"}:
        moved = (joints["wrists"] - props.grips).mean(axis=1)
        path = props.rest + np.where(motion.held[:, None], moved, 0.0)
        things.append(box(stand, path, props.size, props.colour))
    things += clutter(rng, stand, person.body, len(progress))
    walked = motion.travel * person.body.leg_length * np.cos(stand.facing)
    camera = Camera.draw(rng, np.arange(len(progress)) / frame_rate, stand.away, walked)
    room = Room.draw(rng)
    return Clip(
        frame_rate=frame_rate,
        background=draw_background(rng, camera, room),
        camera=camera,
        layers=[Layer.project(thing, camera) for thing in things],
        light=rng.uniform(0.86, 1.16) * (1 + rng.uniform(-0.07, 0.07) * np.array([-1.0, 0, 1])),
        grain=rng.uniform(0.5, 3.5),
        grain_seed=int(rng.integers(2**32)),
        clothes=clothes,
        floor=room.floor,
        style=style,
    )
