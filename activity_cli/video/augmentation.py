"""Views of a clip for training and for test-time augmentation (TTA): other times, other pixels.

The same view of the same file gives the same pixels, so it is part of the key of cached features.
Transforms apply to decoded frames, before motion images are made: so a frame and its motion image
agree, and where nothing moves there is still no motion. H = W is the frame's side.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import SettingsError
from activity_cli.settings import AugmentSettings
from activity_cli.video.sampling import Timing

if TYPE_CHECKING:
    from activity_cli.video.capture import Frame

_GREY_OF_RGB = np.array([0.299, 0.587, 0.114])
_NOISE_MARGIN = 32
"""One field of noise serves a whole view, shifted by up to so many pixels for each frame: as good
as new noise for the CNN, at a tenth of the cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """Changes to the pixels of a view, the same in all of its frames. By default none."""

    is_flipped: bool = False
    rotation_degrees: float = 0.0  # anticlockwise, in the square that the CNN sees
    zoom: float = 1.0  # 2 shows things twice as large
    shift_x: float = 0.0  # to the right, as a share of the side
    shift_y: float = 0.0  # down
    brightness: float = 0.0  # added, as a share of white
    contrast: float = 1.0  # factor, around mid-grey
    saturation: float = 1.0  # factor; 0 is grey
    blur: float = 0.0  # sigma in pixels
    noise: float = 0.0  # standard deviation, as a share of white
    seed: int = 0  # of the noise, which differs from frame to frame

    def describe(self) -> list[str]:
        """Describe each change in a few words."""
        shifted = round(100 * self.shift_x), round(100 * self.shift_y)
        parts = {
            "mirrored": self.is_flipped,
            f"turned {self.rotation_degrees:+.0f}°": abs(self.rotation_degrees) >= 0.5,
            f"zoom {self.zoom:.2f}": abs(self.zoom - 1) >= 0.005,
            f"shifted {shifted[0]:+d}, {shifted[1]:+d}%": any(shifted),
            f"brightness {100 * self.brightness:+.0f}%": abs(self.brightness) >= 0.005,
            f"contrast {self.contrast:.2f}": abs(self.contrast - 1) >= 0.005,
            f"colour {self.saturation:.2f}": abs(self.saturation - 1) >= 0.005,
            f"blur {self.blur:.1f} px": self.blur >= 0.05,
            f"noise {100 * self.noise:.1f}%": self.noise >= 0.0005,
        }
        return [text for text, applies in parts.items() if applies]


class Transformer:
    """Applies one transform to the frames of a clip, of `frame_size` pixels each side."""

    def __init__(self, transform: Transform, frame_size: int) -> None:
        self._transform = transform
        self._size = frame_size
        self._warp = _warp_matrix(transform, frame_size)
        self._colour = _colour_matrix(transform)
        self._noise: NDArray[np.int16] | None = None
        if transform.noise:
            shape = (frame_size + _NOISE_MARGIN, frame_size + _NOISE_MARGIN, 3)
            field = np.random.default_rng(transform.seed).standard_normal(shape, np.float32)
            self._noise = np.asarray(np.rint(field * (255 * transform.noise)), np.int16)

    def apply(self, frame: "Frame", index: int) -> "Frame":
        """Transform a decoded frame, (H, W, channels) uint8.

        Its index in the video chooses its noise: a frame that is used as a picture and again in a
        motion image is the same in both.
        """
        import cv2

        result: NDArray[np.uint8] = frame
        if self._transform.is_flipped:
            result = np.ascontiguousarray(result[:, ::-1])
        if self._warp is not None:
            size, border = (self._size, self._size), cv2.BORDER_REFLECT_101  # mirrors the inside
            warped = cv2.warpAffine(result, self._warp, size, borderMode=border)
            result = np.asarray(warped, np.uint8)
        if self._transform.blur > 0:
            result = np.asarray(cv2.GaussianBlur(result, (0, 0), self._transform.blur), np.uint8)
        if self._colour is not None:
            colour = self._colour
            if frame.shape[2] == 1:  # the factor and the offset of grey
                colour = np.array([[colour[0, :3].sum(), colour[0, 3]]])
            result = np.asarray(cv2.transform(result, colour), np.uint8)
        result = result.reshape(frame.shape)  # OpenCV drops the axis of a single channel
        if self._noise is None:
            return result
        random = np.random.default_rng((self._transform.seed, index))
        top, left = random.integers(0, _NOISE_MARGIN, 2).tolist()
        part = self._noise[top : top + self._size, left : left + self._size, : frame.shape[2]]
        noisy = np.asarray(cv2.add(result, np.ascontiguousarray(part), dtype=cv2.CV_8U), np.uint8)
        return noisy.reshape(frame.shape)


def _warp_matrix(transform: Transform, size: int) -> NDArray[np.float64] | None:
    """Return the (2, 3) matrix from places in the frame to the view; None where they are equal."""
    shift = np.array([transform.shift_x, transform.shift_y])
    if (transform.rotation_degrees, transform.zoom) == (0, 1) and not shift.any():
        return None
    import cv2

    centre = ((size - 1) / 2, (size - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, transform.rotation_degrees, transform.zoom)
    matrix[:, 2] += shift * size
    return np.asarray(matrix, np.float64)


def _colour_matrix(transform: Transform) -> NDArray[np.float64] | None:
    """Return (3, 4) from RGB to RGB: saturation, then contrast around mid-grey, then brightness."""
    if (transform.brightness, transform.contrast, transform.saturation) == (0, 1, 1):
        return None
    grey = np.tile(_GREY_OF_RGB, (3, 1))  # every channel becomes the pixel's brightness
    saturation = transform.saturation
    mixed = transform.contrast * (saturation * np.eye(3) + (1 - saturation) * grey)
    offset = 127.5 * (1 - transform.contrast) + 255 * transform.brightness
    return np.column_stack([mixed, np.full(3, offset)])


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
        return (PLAIN, *(draw_view(settings, identity, 1 + n) for n in range(settings.num_views)))

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
    names a side. It is a SettingsError if there are not that many.
    """
    has_sides = bool(side_labels(labels))
    views = [
        View(timing=Timing(first=first, last=last), transform=Transform(is_flipped=is_flipped))
        for first, last in _TTA_SPANS
        for is_flipped in ((False,) if has_sides else (False, True))
    ]
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
    """Describe the cost of a predictor's test-time augmentation in a line; "" without it."""
    if TTA_PROVENANCE not in provenance:
        return ""
    count = provenance[TTA_PROVENANCE].partition(" ")[0]
    cost = f"the mean of {count} views of each clip: decoded once, {count} times the CNN."
    return f"Scores are {cost}" + " Windows over longer videos are scored without it." * slides


_SIDES = (
    "left leftward leftwards lefthand anticlockwise counterclockwise ccw right rightward rightwards"
    " righthand clockwise cw links rechts gauche droite izquierda derecha sinistra destra"
)


def side_labels(labels: Iterable[str]) -> list[str]:
    """Return the labels that name a side, such as `turn_left`: mirroring would change them.

    `kick_l` is one if there is a `kick_r` too.
    """
    words = {
        label: {word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", label)}
        for label in labels
    }
    sides = set(_SIDES.split())
    if {"l", "r"} <= set().union(*words.values()):
        sides |= {"l", "r"}
    return [label for label in words if words[label] & sides]


def settle_flip(
    settings: AugmentSettings, labels: Iterable[str], on_note: Callable[[str], None]
) -> AugmentSettings:
    """Decide whether views are mirrored if `flip` is None, and warn if a label names a side."""
    sided = side_labels(labels) if settings.num_views and settings.flip is not False else []
    if sided:
        shown = ", ".join(map(repr, sided[:3])) + (", ..." if len(sided) > 3 else "")
        named = f"label {shown} names a side" if len(sided) == 1 else f"labels {shown} name a side"
        if settings.flip:
            on_note(f"Warning: views are mirrored as requested, although {named}.")
        else:
            on_note(f"Warning: {named}, so no view is mirrored.")
    return replace(settings, flip=not sided if settings.flip is None else settings.flip)
