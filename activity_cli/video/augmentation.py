"""Ways to look at a clip: at which of its times, and how its frames are turned and coloured.

A view is a plain value. The same view of the same file gives the same pixels, so a view is part of
the key under which features are cached. Which views are drawn for training and for tests is said
here; what a look does to pixels is in `augmentation`.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from activity_cli.errors import SettingsError
from activity_cli.settings import AugmentSettings
from activity_cli.video.sampling import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is done to the pixels of a view, to all of its frames alike. By default nothing."""

    is_flipped: bool = False
    rotation_degrees: float = 0.0
    """Anticlockwise, in the square that the CNN sees."""
    zoom: float = 1.0
    """2 shows things twice as large."""
    shift_x: float = 0.0
    """To the right, as a share of the side."""
    shift_y: float = 0.0
    """Down."""
    brightness: float = 0.0
    """Added, as a share of white."""
    contrast: float = 1.0
    """Factor, around mid-grey."""
    saturation: float = 1.0
    """Factor; 0 is grey."""
    blur: float = 0.0
    """Sigma in pixels."""
    noise: float = 0.0
    """Standard deviation, as a share of white."""
    seed: int = 0
    """Of the noise, which is another in every frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One way to look at a clip. By default the plain clip."""

    timing: Timing = field(default_factory=Timing)
    look: Look = field(default_factory=Look)

    def key(self) -> str:
        """Tells it from other views, wherever and whenever it is made."""
        return json.dumps([_FORMAT, asdict(self)], sort_keys=True)

    def describe(self) -> str:
        """What sets it apart, in a few words."""
        return ", ".join([*_describe_look(self.look), *_describe_timing(self.timing)]) or "plain"


_FORMAT = 1  # raise it when a view's pixels become others

PLAIN = View()

ViewsOf = Callable[[str], Sequence[View]]
"""From what tells a clip from others (a digest, or nothing where nobody made one) to its views."""


def plain_only(identity: str) -> Sequence[View]:
    """Of every clip the plain view."""
    del identity
    return (PLAIN,)


def training_views(settings: AugmentSettings) -> ViewsOf:
    """Of every clip the plain view, then K augmented ones that depend on its content alone."""

    def views(identity: str) -> Sequence[View]:
        numbers = range(1, settings.num_views + 1)
        return (PLAIN, *(draw_view(settings, identity, number) for number in numbers))

    return views


def draw_view(settings: AugmentSettings, identity: str, number: int) -> View:
    """An augmented view of a clip, by chance: the same for the same arguments.

    Args:
        settings: how much a view may differ.
        identity: what tells the clip from others.
        number: of the view, from 1.
    """
    text = f"{identity} {settings.seed} {number}"
    digest = hashlib.sha256(text.encode()).digest()
    # All are drawn whatever is wanted, so that one kind of change does not alter the others.
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    unit = dict(zip(_DRAWN, random.uniform(-1, 1, len(_DRAWN)).tolist(), strict=True))
    seed = int(random.integers(2**31))
    kept = 1 - settings.crop * abs(unit["kept"])
    first = (1 - kept) * (0.5 + 0.5 * unit["first"])
    noise = settings.noise * max(0.0, unit["noise"])
    return View(
        timing=Timing(
            first=first,
            last=first + kept if kept < 1 else 1.0,
            jitter=settings.jitter,
            speed=_factor(settings.speed, unit["speed"]),
            is_reversed=settings.reverse and number % 4 in {2, 3},
            seed=seed if settings.jitter else 0,
        ),
        look=Look(
            is_flipped=bool(settings.flip) and number % 2 == 1,
            rotation_degrees=settings.rotation_degrees * unit["rotation"],
            zoom=_factor(settings.zoom, unit["zoom"]),
            shift_x=settings.shift * unit["shift_x"],
            shift_y=settings.shift * unit["shift_y"],
            brightness=settings.brightness * unit["brightness"],
            contrast=_factor(settings.contrast, unit["contrast"]),
            saturation=_factor(settings.saturation, unit["saturation"]),
            blur=settings.blur * max(0.0, unit["blur"]),
            noise=noise,
            seed=seed if noise else 0,
        ),
    )


_DRAWN = (
    "kept",
    "first",
    "speed",
    "rotation",
    "zoom",
    "shift_x",
    "shift_y",
    "brightness",
    "contrast",
    "saturation",
    "blur",
    "noise",
)


def _factor(most: float, unit: float) -> float:
    """Between 1 / (1 + most) and 1 + most, as likely to make more as to make less of it."""
    return math.exp(math.log1p(most) * unit)


_TEST_SPANS = ((0.0, 1.0), (0.0, 0.8), (0.2, 1.0), (0.1, 0.9))

MOST_TEST_VIEWS = 2 * len(_TEST_SPANS)


def views_at_test_time(count: int, labels: Iterable[str]) -> tuple[View, ...]:
    """The first so many of the views whose scores are averaged when a clip is scored.

    The whole clip, then its first, last and middle 80%; each mirrored as well, unless a label
    names a side.

    Raises:
        SettingsError: there are not so many.
    """
    spans = [Timing(first=first, last=last) for first, last in _TEST_SPANS]
    plain = [View(timing=span) for span in spans]
    views = plain
    if not side_labels(labels):
        mirrored = [replace(view, look=Look(is_flipped=True)) for view in plain]
        views = [view for pair in zip(plain, mirrored, strict=True) for view in pair]
    if not 1 <= count <= len(views):
        sided = " of a model whose labels name a side" if len(views) < MOST_TEST_VIEWS else ""
        raise SettingsError(
            f"There are 1 to {len(views)} test-time views{sided}, not {count}.",
            hint=f"Use --tta {len(views)} or fewer.",
        )
    return tuple(views[:count])


def views_provenance(views: Sequence[View]) -> dict[str, str]:
    """What rows remember of the views that they are the mean of: nothing of a plain clip."""
    if len(views) == 1:
        return {}
    return {TEST_VIEWS: f"{len(views)} ({'; '.join(view.describe() for view in views)})"}


TEST_VIEWS = "test-time views"


def describe_cost(provenance: Mapping[str, str], *, slides: bool) -> str:
    """A line about the test-time views that scores are made with; empty where there are none.

    Args:
        provenance: of the predictor.
        slides: whether windows slide over videos that are longer than a clip.
    """
    if TEST_VIEWS not in provenance:
        return ""
    count = provenance[TEST_VIEWS].partition(" ")[0]
    cost = (
        f"Scores are the mean of {count} views of each clip: decoded once, {count} times the CNN."
    )
    return cost + " Windows over longer videos are scored as they are." * slides


_SIDES = frozenset(
    (
        *("left", "leftward", "leftwards", "lefthand", "anticlockwise", "counterclockwise", "ccw"),
        *("right", "rightward", "rightwards", "righthand", "clockwise", "cw"),
        *("links", "rechts", "gauche", "droite", "izquierda", "derecha", "sinistra", "destra"),
    )
)


def side_labels(labels: Iterable[str]) -> list[str]:
    """The labels that name a side, such as `turn_left`, so that a mirrored clip would be another.

    `kick_l` is one where there is `kick_r` too.
    """
    words = {
        label: {word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", label)}
        for label in labels
    }
    letters = {"l", "r"} & set().union(*words.values())
    sides = _SIDES | (letters if len(letters) == 2 else set())
    return [label for label in words if words[label] & sides]


def settle_flip(
    settings: AugmentSettings, labels: Iterable[str], on_note: Callable[[str], None]
) -> AugmentSettings:
    """Decide about mirrored views where that was left open, and say so where a label names a side.

    Args:
        settings: with `flip` None, True or False.
        labels: of the data.
        on_note: told in one line what the user has to know.
    """
    sided = side_labels(labels) if settings.num_views and settings.flip is not False else []
    if sided and settings.flip:
        on_note(f"Warning: views are mirrored as asked, though {_sides_named(sided)}.")
    elif sided:
        on_note(f"Warning: {_sides_named(sided)}, so no view is mirrored.")
    return replace(settings, flip=not sided if settings.flip is None else settings.flip)


def _sides_named(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(label) for label in labels[:3]) + ", ..." * (len(labels) > 3)
    return f"label {shown} names a side" if len(labels) == 1 else f"labels {shown} name a side"


def _describe_look(look: Look) -> list[str]:
    shifted = round(100 * look.shift_x), round(100 * look.shift_y)
    parts = {
        "mirrored": look.is_flipped,
        f"turned {look.rotation_degrees:+.0f}°": abs(look.rotation_degrees) >= 0.5,
        f"zoom {look.zoom:.2f}": abs(look.zoom - 1) >= 0.005,
        f"shifted {shifted[0]:+d}, {shifted[1]:+d}%": any(shifted),
        f"brightness {100 * look.brightness:+.0f}%": abs(look.brightness) >= 0.005,
        f"contrast {look.contrast:.2f}": abs(look.contrast - 1) >= 0.005,
        f"colour {look.saturation:.2f}": abs(look.saturation - 1) >= 0.005,
        f"blur {look.blur:.1f} px": look.blur >= 0.05,
        f"noise {100 * look.noise:.1f}%": look.noise >= 0.0005,
    }
    return [text for text, is_so in parts.items() if is_so]


def _describe_timing(timing: Timing) -> list[str]:
    parts = {
        f"{100 * timing.first:.0f} to {100 * timing.last:.0f}% of its time": timing.first > 0
        or timing.last < 1,
        f"speed {timing.speed:.2f}": abs(timing.speed - 1) >= 0.005,
        "backwards": timing.is_reversed,
    }
    return [text for text, is_so in parts.items() if is_so]
