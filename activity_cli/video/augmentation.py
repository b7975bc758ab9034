"""Views of a clip for training and for test-time augmentation (TTA): other times, other pixels.

A view is a plain value. The same view of the same file gives the same pixels, so a view is part of
the key under which features are cached. `transforms` computes the pixels.
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
from activity_cli.video.transforms import Transform


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A variant of a clip. By default the plain clip."""

    timing: Timing = field(default_factory=Timing)
    transform: Transform = field(default_factory=Transform)

    def key(self) -> str:
        """Return a text that is the same for equal views only, on every machine."""
        # "look" was the transform's name when the first features were cached.
        values = {"timing": asdict(self.timing), "look": asdict(self.transform)}
        return json.dumps([_FORMAT, values], sort_keys=True)

    def describe(self) -> str:
        """Describe in a few words what sets the view apart."""
        timing = self.timing
        parts = {
            f"{100 * timing.first:.0f} to {100 * timing.last:.0f}% of its time": timing.first > 0
            or timing.last < 1,
            f"speed {timing.speed:.2f}": abs(timing.speed - 1) >= 0.005,
            "backwards": timing.is_reversed,
        }
        timings = [text for text, applies in parts.items() if applies]
        return ", ".join([*self.transform.describe(), *timings]) or "plain"


_FORMAT = 1  # raise it when the pixels of a view change

PLAIN = View()

ViewsOf = Callable[[str], Sequence[View]]
"""From a clip's identity (a digest of its content; "" where there is none) to its views."""


def plain_only(identity: str) -> Sequence[View]:
    """Return the plain view of every clip."""
    del identity
    return (PLAIN,)


def training_views(settings: AugmentSettings) -> ViewsOf:
    """Give every clip the plain view, then K augmented ones that depend on its content alone."""

    def views(identity: str) -> Sequence[View]:
        numbers = range(1, settings.num_views + 1)
        return (PLAIN, *(draw_view(settings, identity, number) for number in numbers))

    return views


# All are drawn, in this order, whatever is in use: one kind of change does not alter the others.
_DRAWN = (
    *("kept", "first", "speed", "rotation", "zoom", "shift_x", "shift_y"),
    *("brightness", "contrast", "saturation", "blur", "noise"),
)


def draw_view(settings: AugmentSettings, identity: str, number: int) -> View:
    """Draw view `number`, from 1, of a clip; the same arguments give the same view."""
    digest = hashlib.sha256(f"{identity} {settings.seed} {number}".encode()).digest()
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
        transform=Transform(
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


def _factor(most: float, unit: float) -> float:
    """Map [-1, 1] to [1 / (1 + most), 1 + most], so that both directions are equally likely."""
    return math.exp(math.log1p(most) * unit)


_TTA_SPANS = ((0.0, 1.0), (0.0, 0.8), (0.2, 1.0), (0.1, 0.9))

TTA_PROVENANCE = "test-time views"
"""The entry in the provenance of rows; journals of earlier versions have it too."""


def tta_views(count: int, labels: Iterable[str]) -> tuple[View, ...]:
    """Return the first `count` of the views whose scores are averaged when a clip is scored.

    The whole clip, then its first, last and middle 80%; each mirrored as well, unless a label
    names a side.

    Raises:
        SettingsError: there are not that many.
    """
    spans = [Timing(first=first, last=last) for first, last in _TTA_SPANS]
    views = [View(timing=span) for span in spans]
    has_sides = bool(side_labels(labels))
    if not has_sides:
        flip = Transform(is_flipped=True)
        views = [view for plain in views for view in (plain, replace(plain, transform=flip))]
    if not 1 <= count <= len(views):
        sided = " for a model whose labels name a side" * has_sides
        raise SettingsError(
            f"Test-time augmentation averages 1 to {len(views)} views{sided}, not {count}.",
            hint=f"Use --tta {len(views)} or fewer.",
        )
    return tuple(views[:count])


def views_provenance(views: Sequence[View]) -> dict[str, str]:
    """Return what rows record about the views that their scores average; {} for a plain clip."""
    if len(views) == 1:
        return {}
    return {TTA_PROVENANCE: f"{len(views)} ({'; '.join(view.describe() for view in views)})"}


def describe_cost(provenance: Mapping[str, str], *, slides: bool) -> str:
    """Describe the cost of a predictor's test-time augmentation in a line; "" without it.

    `slides`: whether windows slide over videos that are longer than a clip.
    """
    if TTA_PROVENANCE not in provenance:
        return ""
    count = provenance[TTA_PROVENANCE].partition(" ")[0]
    cost = (
        f"Scores are the mean of {count} views of each clip: decoded once, {count} times the CNN."
    )
    return cost + " Windows over longer videos are scored without it." * slides


_SIDES = frozenset(
    (
        *("left", "leftward", "leftwards", "lefthand", "anticlockwise", "counterclockwise", "ccw"),
        *("right", "rightward", "rightwards", "righthand", "clockwise", "cw"),
        *("links", "rechts", "gauche", "droite", "izquierda", "derecha", "sinistra", "destra"),
    )
)


def side_labels(labels: Iterable[str]) -> list[str]:
    """Return the labels that name a side, such as `turn_left`: mirroring would change them.

    `kick_l` is one if there is a `kick_r` too.
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
    """Decide whether views are mirrored if `flip` is None, and warn if a label names a side."""
    sided = side_labels(labels) if settings.num_views and settings.flip is not False else []
    if sided:
        shown = ", ".join(repr(label) for label in sided[:3]) + ", ..." * (len(sided) > 3)
        named = f"label {shown} names a side" if len(sided) == 1 else f"labels {shown} name a side"
        if settings.flip:
            on_note(f"Warning: views are mirrored as requested, although {named}.")
        else:
            on_note(f"Warning: {named}, so no view is mirrored.")
    return replace(settings, flip=not sided if settings.flip is None else settings.flip)
