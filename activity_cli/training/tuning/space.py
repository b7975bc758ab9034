"""What a search may vary, and what a point of that space means as settings.

Names are those of the options of `activity train`, so a point can be typed or put into a settings
file as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from activity_cli.errors import SettingsError
from activity_cli.settings import (
    ALL_STREAMS,
    STREAM_CHOICES,
    ClipSettings,
    NetworkSettings,
    Pooling,
    Stream,
    StreamChoice,
    TrainSettings,
)

Value = str | int | float
Point = Mapping[str, Value]
"""A value for each name that matters at that point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few values."""

    name: str
    values: tuple[Value, ...]

    def with_value(self, value: Value) -> "Choice":
        """The same with a value among them."""
        if value in self.values:
            return self
        values = (*self.values, value)
        is_text = isinstance(value, str)
        return replace(self, values=values if is_text else tuple(sorted(values)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A number between two bounds; `log`: what counts is by which factor it differs."""

    name: str
    low: float
    high: float
    log: bool = False

    def with_value(self, value: Value) -> "Range":
        """The same, wide enough for a value."""
        number = float(value)
        if self.log and number <= 0:
            raise SettingsError(
                f"{self.name} is searched by factors, so {number:g} is no place to start from.",
                hint=f"Give a {self.name} above 0, or leave it out of --search.",
            )
        return replace(self, low=min(self.low, number), high=max(self.high, number))


Dimension = Choice | Range

DEFAULT_FRAMES = (8, 16, 24)
"""8 of 24 frames are the very 8 that would be sampled alone, so two readings serve all three."""

DIMENSIONS: tuple[Dimension, ...] = (
    Choice(name="streams", values=("both", "rgb", "motion")),
    Choice(name="frames", values=DEFAULT_FRAMES),
    Range(name="rgb_penalty", low=0.1, high=1000, log=True),
    Range(name="motion_penalty", low=0.01, high=100, log=True),
    Range(name="flow_penalty", low=0.01, high=100, log=True),
    Choice(name="temporal", values=("lstm", "mean")),
    Choice(name="pooling", values=get_args(Pooling)),
    Choice(name="hidden_size", values=(16, 32, 64, 128)),
    Choice(name="projection_size", values=(16, 32, 64, 128)),
    Choice(name="layers", values=(1, 2)),
    Range(name="dropout", low=0.1, high=0.8),
    Range(name="learning_rate", low=1e-4, high=1e-2, log=True),
    Range(name="weight_decay", low=1e-4, high=1e-1, log=True),
)
"""All that can be searched. The penalties come early: on few clips they matter most."""

SEARCHABLE = tuple(dimension.name for dimension in DIMENSIONS)

_PENALTIES: Mapping[str, Stream] = {
    "rgb_penalty": "rgb",
    "motion_penalty": "motion",
    "flow_penalty": "flow",
}
"""The stream that each is of."""
_OF_ORDER = ("pooling", "hidden_size", "projection_size", "layers", "dropout")
_OF_LSTM = frozenset((*_OF_ORDER, "learning_rate", "weight_decay"))
_DIGITS = 3  # of a number that is searched: more say nothing, and are no joy to read


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Settings as the stages take them."""

    clip: ClipSettings
    network: NetworkSettings
    training: TrainSettings

    def point(self) -> dict[str, Value]:
        """All that can be searched, as it is here."""
        network, training = self.network, self.training
        return {
            "streams": _choice_of(self.clip.streams),
            "frames": self.clip.num_frames,
            "rgb_penalty": training.rgb_penalty,
            "motion_penalty": training.motion_penalty,
            "flow_penalty": training.flow_penalty,
            "temporal": network.temporal,
            "pooling": network.pooling,
            "hidden_size": network.hidden_size,
            "projection_size": network.projection_size,
            "layers": network.num_layers,
            "dropout": network.dropout,
            "learning_rate": training.learning_rate,
            "weight_decay": training.weight_decay,
        }

    def at(self, point: Point) -> "Candidate":
        """The same with what a point says; what it does not say stays.

        Raises:
            SettingsError: a value is out of range.
        """
        values = {**self.point(), **point}
        network = ("temporal", "pooling", "hidden_size", "projection_size", "dropout")
        training = (*_PENALTIES, "learning_rate", "weight_decay")
        changed: dict[str, Any] = {name: values[name] for name in network}
        fitted: dict[str, Any] = {name: float(values[name]) for name in training}
        return Candidate(
            clip=replace(
                self.clip,
                num_frames=int(values["frames"]),
                streams=streams_of(str(values["streams"])),
            ),
            network=replace(self.network, num_layers=int(values["layers"]), **changed),
            training=replace(self.training, **fitted),
        )


def streams_of(name: str) -> tuple[Stream, ...]:
    """The streams that an option's value stands for."""
    return STREAM_CHOICES[cast(StreamChoice, name)]


def _choice_of(streams: tuple[Stream, ...]) -> StreamChoice:
    """The option's value that stands for streams; all where none does."""
    return next((name for name, those in STREAM_CHOICES.items() if those == streams), "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a search varies, around the settings that it begins with."""

    base: Candidate
    dimensions: tuple[Dimension, ...]

    @classmethod
    def around(
        cls, base: Candidate, *, names: Sequence[str] = (), frames: Sequence[int] = DEFAULT_FRAMES
    ) -> "Space":
        """The space of some names, or of all; what the base says is always in it.

        Raises:
            SettingsError: a name cannot be searched, or numbers of frames make no sense.
        """
        if unknown := sorted(set(names) - set(SEARCHABLE)):
            raise SettingsError(
                f"{unknown[0]} cannot be searched.", hint=f"These can: {', '.join(SEARCHABLE)}."
            )
        if not frames or min(frames) < 1:
            raise SettingsError("Numbers of frames to try must be at least 1.")
        point = base.point()
        found: list[Dimension] = []
        for dimension in DIMENSIONS:
            if names and dimension.name not in names:
                continue
            if dimension.name == "frames":
                dimension = Choice(name="frames", values=tuple(sorted(set(frames))))  # noqa: PLW2901
            found.append(dimension.with_value(point[dimension.name]))
        dimensions = [d for d in found if isinstance(d, Range) or len(d.values) > 1]
        return cls(base=base, dimensions=tuple(dimensions))

    @property
    def frames(self) -> tuple[int, ...]:
        """All numbers of frames that may be asked for."""
        for dimension in self.dimensions:
            if isinstance(dimension, Choice) and dimension.name == "frames":
                return tuple(int(value) for value in dimension.values)
        return (self.base.clip.num_frames,)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All streams that may be asked for."""
        asked = set(self.base.clip.streams)
        for dimension in self.dimensions:
            if isinstance(dimension, Choice) and dimension.name == "streams":
                asked.update(*(streams_of(str(value)) for value in dimension.values))
        return tuple(stream for stream in ALL_STREAMS if stream in asked)

    def matter(self, point: Point) -> Iterator[Dimension]:
        """The dimensions that matter at a point which is still being made, in order.

        Those that say which others matter come before them.
        """
        for dimension in self.dimensions:
            values = {**self.base.point(), **point}  # what was put there since the last one
            streams = streams_of(str(values["streams"]))
            if _PENALTIES.get(dimension.name, streams[0]) not in streams:
                continue
            if dimension.name in _OF_LSTM and values["temporal"] != "lstm":
                continue
            yield dimension

    def default_point(self) -> dict[str, Value]:
        """Where the base is in this space."""
        whole, point = self.base.point(), dict[str, Value]()
        for dimension in self.matter(point):
            point[dimension.name] = whole[dimension.name]
        return point

    def to_json(self) -> dict[str, Any]:
        """What the space is, so that a search can tell whether it is the same one."""
        return {
            "base": {
                "clip": self.base.clip.to_json(),
                "network": self.base.network.to_json(),
                "training": self.base.training.to_json(),
            },
            "dimensions": {
                d.name: list(d.values) if isinstance(d, Choice) else [d.low, d.high]
                for d in self.dimensions
            },
        }


def rounded(value: Value) -> Value:
    """A number of a search as it is used, written and read."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
