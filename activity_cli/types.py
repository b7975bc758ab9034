"""Values that pass between the stages. Each checks its shapes when it is made.

T is frames per clip, S streams, D the CNN's feature size, C labels; H and W are pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import compress
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from activity_cli.settings import ClipSettings, Stream

Images = NDArray[np.uint8]  # (N, H, W, channels): RGB, or grey for models of one channel

UNKNOWN = "unknown"
"""Label of what a model rejects. A model may also have a label of this name, with this meaning."""

JOIN = " + "  # between labels of a multi-label model that are there at once
NONE = "none"
"""What a multi-label model answers where no label reaches its threshold."""

FrameRole = Literal["frames", "earlier", "later", "flow"]
"""Role of a frame: the RGB frame itself, one of the two of its motion image, or their flow."""


def frame_roles(clip: ClipSettings) -> tuple[FrameRole, ...]:
    """Return the roles of `ClipFrames.images` that a model reads, in the order of its inputs."""
    rgb: tuple[FrameRole, ...] = ("frames",) if clip.keeps_frames else ()
    motion: tuple[FrameRole, ...] = ("earlier", "later") if "motion" in clip.streams else ()
    flow: tuple[FrameRole, ...] = ("flow",) if "flow" in clip.streams else ()
    return rgb + motion + flow


class Timesteps(Protocol):
    """N points in time of a long or live video."""

    @property
    def images(self) -> Mapping[Any, Images]:
        """(N, H, W, channels) uint8 per stream, or per `FrameRole` if frames were requested."""
        ...

    @property
    def num_timesteps(self) -> int:
        """N."""
        ...


OnProgress = Callable[[str, int, int], None]
"""Called with (stage, done, total); a total of 0 is not known."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Report nothing."""
    del stage, done, total


class Status(StrEnum):
    """Outcome of a file, for every file that was asked for."""

    OK = "ok"
    SHORT = "short"  # fewer frames than the model samples; frames were repeated. Scored.
    TRUNCATED = "truncated"
    """The file ends earlier than its header promises. Scored on what could be decoded."""
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    MISSING = "missing"
    CRASHED = "crashed"
    TIMEOUT = "timeout"

    @property
    def has_score(self) -> bool:
        """Whether frames were decoded and scored."""
        return self in {Status.OK, Status.SHORT, Status.TRUNCATED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Properties of a decoded clip."""

    seconds: NDArray[np.float64]  # (T,) time of each sampled frame, from the start of the file
    num_frames: int
    """Decoded frames in the clip's span, sampled or not. The header's count may differ."""
    duration_seconds: float  # length of the clip's span, from decoded timestamps
    status: Status = Status.OK
    reason: str = ""  # why the status is not ok, in one line

    def __post_init__(self) -> None:
        _check(self.seconds.ndim == 1, f"seconds must be (T,), got {self.seconds.shape}")
        _check(self.num_frames >= 1, "a clip needs at least one decoded frame")
        _check(self.status.has_score, f"a decoded clip cannot be {self.status}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFrames:
    """A video sampled to T frames, before motion images are made.

    `later` is the sampled frame, and `earlier` the one a motion step before it. For the first frame
    of the video, `earlier` is that frame and `later` the one after it.
    """

    images: Mapping[FrameRole, Images]
    """(T, H, W, channels) uint8 per role: `frames` for the streams rgb and action, `earlier` and
    `later` for motion, `flow` for flow."""
    decoded: Decoded

    def __post_init__(self) -> None:
        _check_images(self.images, len(self.decoded.seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A video sampled to T frames, as images for the CNN."""

    images: Mapping[Stream, Images]  # (T, H, W, channels) uint8 per stream
    decoded: Decoded

    def __post_init__(self) -> None:
        _check_images(self.images, len(self.decoded.seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChunk:
    """The next timesteps of a long video, and how far it has been read."""

    images: Mapping[Any, Images]
    """(N, H, W, channels) uint8 per stream, or per role if frames are wanted; empty if N is 0."""
    num_timesteps: int  # N
    first_seconds: float  # of the video's first frame
    end_seconds: float  # of the video, as far as it was decoded
    num_frames: int  # decoded so far, used or not
    is_last: bool
    status: Status = Status.OK  # in the last chunk, whether the file is truncated
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Scores of all labels, which sum to 1; of a multi-label model they are independent."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]  # (C,)
    thresholds: NDArray[np.float64] | None = None  # (C,) of a multi-label model

    def __post_init__(self) -> None:
        right = self.scores.shape == (len(self.labels),)
        _check(right, f"scores must be ({len(self.labels)},), got {self.scores.shape}")

    @property
    def label(self) -> str:
        """The label with the highest score, or the first one of `top`."""
        if self.thresholds is not None:
            return self.top(1)[0][0]
        return self.labels[int(self.scores.argmax())]

    @property
    def score(self) -> float:
        """The highest score, or the score of `label`."""
        return float(self.scores.max()) if self.thresholds is None else self.top(1)[0][1]

    @property
    def answer(self) -> str:
        """The label; of a multi-label model all labels that reach their thresholds, or `none`."""
        if self.thresholds is None:
            return self.label
        return JOIN.join(compress(self.labels, self.scores >= self.thresholds)) or NONE

    def top(self, k: int) -> list[tuple[str, float]]:
        """Return the k best labels with their scores, best first.

        Of a multi-label model only those that reach their thresholds; without any, `none` with what
        the highest score leaves of 1.
        """
        best = np.argsort(-self.scores, kind="stable")
        if self.thresholds is not None:
            best = best[self.scores[best] >= self.thresholds[best]]
            if not len(best):
                return [(NONE, 1 - float(self.scores.max()))]
        best = best[:k]
        return [(self.labels[i], float(self.scores[i])) for i in best]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A sentence about a clip."""

    text: str
    words: tuple[str, ...]
    probabilities: tuple[float, ...]  # of each word, given those before
    attention: NDArray[np.float32]  # (len(words), T) weights of the clip's frames for each word
    share: float  # of the scores of all sentences that were followed

    def __post_init__(self) -> None:
        right = len(self.words) == len(self.probabilities) == len(self.attention)
        _check(right, "each word needs a probability and its attention")

    @property
    def probability(self) -> float:
        """Geometric mean of the probabilities of the words."""
        return float(np.exp(np.log(np.maximum(self.probabilities, 1e-12)).mean()))


@dataclass(frozen=True, slots=True)
class FileState:
    """Identifies a version of a file; None where there is no file."""

    num_bytes: int | None
    mtime_ns: int | None
    sha256: str | None = None  # of the content, if requested


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Scores of the W sliding windows of a video."""

    labels: tuple[str, ...]
    starts_seconds: NDArray[np.float64]  # (W,) increasing, from the start of the file
    window_seconds: float
    """Length of a window. One that reaches beyond the end of the video ends there."""
    end_seconds: float  # where the video ends
    scores: NDArray[np.float32]  # (W, C), each row sums to 1 but of a multi-label model
    thresholds: NDArray[np.float64] | None = None  # (C,) of a multi-label model
    ood_score: NDArray[np.float32] | None = None
    """(W,) OOD score of each window, about 1 for training clips; None: not known."""

    def __post_init__(self) -> None:
        count = len(self.starts_seconds)
        _check(count >= 1, "a timeline needs at least one window")
        right = self.scores.shape == (count, len(self.labels))
        _check(right, f"scores must be ({count}, {len(self.labels)}), got {self.scores.shape}")
        increasing = bool((np.diff(self.starts_seconds) > 0).all())
        _check(increasing, "windows must start one after the other")
        inside = self.window_seconds > 0 and self.starts_seconds[-1] < self.end_seconds
        _check(inside, "windows must start before the video ends")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """An action in a video, and when it happens."""

    start_seconds: float
    end_seconds: float
    label: str
    mean_score: float  # mean of the label's score over the segment
    peak_score: float  # the label's highest score in the segment
    is_sentence: bool = False  # whether the label is a sentence that describes it

    def __post_init__(self) -> None:
        right = 0 <= self.start_seconds < self.end_seconds
        _check(right, f"a segment cannot span {self.start_seconds} to {self.end_seconds} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """Result of a file that was asked for. No prediction unless frames were decoded."""

    path: str
    status: Status
    reason: str = ""
    prediction: Prediction | None = None
    duration_seconds: float | None = None
    num_frames: int | None = None
    model: str = ""
    timeline: Timeline | None = None
    """Scores of its windows, of which the prediction is the mean; a clip is a single window."""
    segments: tuple[Segment, ...] = ()
    """Actions in order, without overlap; those of different labels overlap in multi-label ones."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Time per stage: decode, cnn, lstm; for exported models decode, network."""
    state: FileState | None = None  # of the file when it was read, if that was checked
    ood_score: float | None = None  # OOD score, about 1 for training clips; None: not known
    captions: tuple[Caption, ...] = ()
    """Sentences of a model that describes, the best one first; the prediction has them as labels.
    Those of the longest part of a long video."""
    rejected: str = ""  # reason for the label `unknown`, in one line; empty for other labels

    def __post_init__(self) -> None:
        _check(
            (self.prediction is not None) == self.status.has_score,
            f"status {self.status} and a prediction of {self.prediction} do not go together",
        )

    @property
    def label(self) -> str | None:
        """The reported label; None without a prediction."""
        if self.prediction is None:
            return None
        return UNKNOWN if self.rejected else self.prediction.label


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSegments:
    """The segments of a video, with its length and frame rate."""

    path: str  # a file, or an address with `://`
    duration_seconds: float
    fps: float  # frames per second, on average
    segments: tuple[Segment, ...]  # as in `FileResult`; may be empty


def _check_images(images: Mapping[Any, Images], num_frames: int) -> None:
    for name, stack in images.items():
        right = stack.ndim == 4 and stack.shape[0] == num_frames and stack.shape[3] in {1, 3}
        _check(right, f"{name} must be ({num_frames}, H, W, 3 or 1), got {stack.shape}")
        _check(stack.dtype == np.uint8, f"{name} must be uint8, got {stack.dtype}")


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
