"""The search space: which settings vary, between which bounds, and what a point means as settings.

Bounds stand beside each setting, in the `search` metadata of its dataclass field. Names are those
of the options of `activity train`, so a point can be typed or written to a settings file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from activity_cli.errors import SettingsError
from activity_cli.setting_fields import SearchRange
from activity_cli.settings import (
    ALL_STREAMS,
    ClipSettings,
    NetworkSettings,
    Stream,
    TrainSettings,
    name_streams,
    parse_streams,
)

Value = str | int | float
Point = Mapping[str, Value]
"""A value for each setting that has an effect at that point."""

_PARTS = {"clip": ClipSettings, "network": NetworkSettings, "training": TrainSettings}
_CONDITIONS = ("streams", "temporal")
"""Settings that decide whether others have an effect. They are chosen first."""
_LSTM_ONLY = frozenset(
    {
        *("pooling", "hidden_size", "projection_size", "layers", "dropout"),
        # Without an LSTM the head is fitted by L-BFGS, which has no learning rate.
        *("learning_rate", "weight_decay"),
    }
)
_DIGITS = 3  # significant digits of a value; more would suggest a precision that nobody measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The settings of one trial, as the stages take them."""

    clip: ClipSettings
    network: NetworkSettings
    training: TrainSettings

    def point(self) -> dict[str, Value]:
        """Return the values of all settings that can be searched."""
        values = {d.name: getattr(getattr(self, d.part), d.field) for d in DIMENSIONS}
        return values | {"streams": name_streams(self.clip.streams)}

    def at(self, point: Point) -> "Candidate":
        """Return these settings with the values of a point, or raise SettingsError."""
        parts: dict[str, Any] = {part: getattr(self, part) for part in _PARTS}
        for name, value in point.items():
            dimension = next(d for d in DIMENSIONS if d.name == name)
            new = streams_of(value) if name == "streams" else value
            parts[dimension.part] = replace(parts[dimension.part], **{dimension.field: new})
        return Candidate(**parts)


@dataclass(frozen=True, slots=True)
class Dimension:
    """A setting that varies."""

    name: str
    part: str  # field of `Candidate`
    field: str  # field of that part's dataclass
    values: tuple[Value, ...] | SearchRange

    def including(self, value: Value) -> "Dimension":
        """Return the dimension, widened where needed to contain a value, or raise SettingsError."""
        if isinstance(self.values, SearchRange):
            number, bounds = float(value), self.values
            if bounds.log and number <= 0:
                raise SettingsError(
                    f"{self.name} is searched on a logarithmic scale, which has no {number:g}.",
                    hint=f"Set {self.name} above 0, or search other settings with --search.",
                )
            bounds = replace(bounds, low=min(bounds.low, number), high=max(bounds.high, number))
            return replace(self, values=bounds)
        return replace(self, values=tuple(dict.fromkeys((*self.values, value))))


_FOUND = (
    Dimension(setting.option or field.name, part, field.name, setting.search)
    for part, settings in _PARTS.items()
    for field in fields(settings)
    if (setting := field.metadata.get("setting")) and setting.search is not None
)
DIMENSIONS = tuple(sorted(_FOUND, key=lambda dimension: dimension.name not in _CONDITIONS))
"""All settings that can be searched."""
SEARCHABLE = tuple(dimension.name for dimension in DIMENSIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The settings that a search varies, and the settings that it starts from."""

    base: Candidate
    dimensions: tuple[Dimension, ...]

    @classmethod
    def around(
        cls, base: Candidate, *, names: Sequence[str] = (), frames: Sequence[int] = ()
    ) -> "Space":
        """Return a space that contains the base settings.

        It varies the named settings, or all, and these numbers of frames, or the usual ones.

        Raises:
            SettingsError: a setting cannot be searched, or a number of frames is below 1.
        """
        if unknown := sorted(set(names) - set(SEARCHABLE)):
            raise SettingsError(
                f"{unknown[0]} cannot be searched.", hint=f"These can: {', '.join(SEARCHABLE)}."
            )
        if frames and min(frames) < 1:
            raise SettingsError("Numbers of frames to try must be at least 1.")
        dimensions, point = list[Dimension](), base.point()
        for d in DIMENSIONS:
            if not names or d.name in names:
                is_set = frames and d.name == "frames"
                bounds = replace(d, values=tuple(sorted(set(frames)))) if is_set else d
                dimensions.append(bounds.including(point[d.name]))
        varied = (d for d in dimensions if isinstance(d.values, SearchRange) or len(d.values) > 1)
        return cls(base=base, dimensions=tuple(varied))

    def choices(self, name: str) -> tuple[Value, ...]:
        """Return all values that trials may use of a setting with choices."""
        found = (cast(tuple[Value, ...], d.values) for d in self.dimensions if d.name == name)
        return next(found, (self.base.point()[name],))

    @property
    def frames(self) -> tuple[int, ...]:
        """All numbers of frames that a trial may use."""
        return tuple(sorted(int(value) for value in self.choices("frames")))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams that a trial may use."""
        used = {s for value in self.choices("streams") for s in streams_of(value)}
        return tuple(stream for stream in ALL_STREAMS if stream in used)

    def active(self, point: Point) -> Iterator[Dimension]:
        """Yield the dimensions with an effect, in order; the point may grow meanwhile."""
        base = self.base.point()
        for dimension in self.dimensions:
            values, name = {**base, **point}, dimension.name
            if name not in _LSTM_ONLY or values["temporal"] == "lstm":
                yield dimension

    def default_point(self) -> dict[str, Value]:
        """Return the base settings as a point of this space."""
        base = self.base.point()
        return {dimension.name: base[dimension.name] for dimension in self.active({})}


def streams_of(value: Value) -> tuple[Stream, ...]:
    """Return the streams that a value of `--streams` stands for."""
    return parse_streams(str(value))


def rounded(value: Value) -> Value:
    """Round a number to the digits with which it is used, written and read."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
