"""Long drawn videos in which a person squats, waves, or does both at once, with their labels."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from activity_cli.sampledata import encode, make_clip
from activity_cli.sampledata.actions import Floats, Motion, Style, perform
from activity_cli.sampledata.people import Person
from activity_cli.sampledata.rendering import Picture

Event = tuple[str, float, float]
"""Label, start and end in seconds."""

FPS = 20.0
LONG_ACTIONS = ("squat", "wave")


def draw_long_video(path: Path, *, seconds: float, seed: int = 0) -> list[Event]:
    """Draw a person who squats and waves, each for some seconds at a time; return the events.

    The two begin and end independently, so they overlap; at times nothing happens. An OSError if
    the file cannot be written.
    """
    rng = np.random.default_rng([seed, 1])
    events = [event for label in LONG_ACTIONS for event in _draw_events(label, seconds, rng)]
    person = Person.draw(np.random.default_rng(seed))

    def frames() -> Iterator[Picture]:
        # The random stream fixes the length of a clip, so it is the same when it is lengthened.
        short = make_clip("squat", person, np.random.default_rng([seed, 2]))
        length = len(short.camera.shift) / short.frame_rate
        clip = make_clip(
            "squat",
            person,
            np.random.default_rng([seed, 2]),
            perform=partial(_perform_events, events, ceil(seconds / length)),
            lengthened=ceil(seconds / length),
        )
        drawn = clip.frames()
        position, frame = -1, next(drawn)
        for number in range(int(seconds * FPS)):
            wanted = int(number / FPS * clip.frame_rate)
            while position < wanted - 1:
                frame, position = next(drawn), position + 1
            yield frame

    encode(path, FPS, frames())
    return events


def _draw_events(label: str, seconds: float, rng: np.random.Generator) -> list[Event]:
    """Draw bouts of 3 to 6 s with pauses of the same length; a bout or a pause may come first."""
    times = np.cumsum(rng.uniform(3.0, 6.0, size=int(seconds))) - rng.uniform(0, 9)
    times = np.append(times[(times > 0) & (times < seconds)], seconds).round(2)
    return [(label, float(a), float(b)) for a, b in zip(times[::2], times[1::2], strict=False)]


def _perform_events(
    events: Sequence[Event], lengthened: int, label: str, progress: Floats, style: Style
) -> Motion:
    """Return the legs of one action and the right arm of the other, whenever they happen."""
    del label
    progress = progress * lengthened  # in clips, which the movements go on through
    at = progress * style.seconds
    squat, wave = (perform(action, progress, style) for action in LONG_ACTIONS)

    def during(action: str) -> Floats:
        inside = [(at >= start) & (at < end) for one, start, end in events if one == action]
        return np.any(inside, axis=0).astype(float)[:, None] if inside else np.zeros((len(at), 1))

    squats, waves = during("squat"), during("wave")
    hands = squats[:, :, None] * squat.hands + (1 - squats[:, :, None]) * wave.hands
    at_ease = squat.hands[:, 1] * squats + wave.hands[:, 1] * (1 - squats)
    hands[:, 0] = waves * wave.hands[:, 0] + (1 - waves) * at_ease
    return replace(
        wave,
        pelvis=squats * squat.pelvis + (1 - squats) * wave.pelvis,
        lean=squats[:, 0] * squat.lean + (1 - squats[:, 0]) * wave.lean,
        hands=hands,
        feet=squats[:, :, None] * squat.feet + (1 - squats[:, :, None]) * wave.feet,
    )
