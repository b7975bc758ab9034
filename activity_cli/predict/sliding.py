"""Windows over long videos, for whatever kind of predictor."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from activity_cli.errors import VideoError
from activity_cli.features.extraction import ClipRequest
from activity_cli.model.folder import ModelDescription
from activity_cli.predict.file_results import scored_in_windows, unscored
from activity_cli.predict.long_video import OnSeconds, Scan, no_seconds, score_long_video
from activity_cli.predict.segments import find_segments
from activity_cli.settings import SegmentSettings
from activity_cli.types import FileResult
from activity_cli.video.decoder_pool import Decoders
from activity_cli.video.windows import Windows, choose_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliding:
    """The wish that windows slide over videos that are longer than a clip."""

    window_seconds: float | None = None
    """Length of a window; None is that of the clips that the model learned from."""
    stride_seconds: float | None = None
    """From the start of a window to that of the next; None is a quarter of a window."""
    segments: SegmentSettings = field(default_factory=SegmentSettings)
    """How the windows' scores become segments."""
    on_seconds: OnSeconds = no_seconds
    """Told how far a long video has been scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slider:
    """Slides a model's windows over long videos."""

    windows: Windows
    description: ModelDescription
    segments: SegmentSettings
    decoders: Decoders
    on_seconds: OnSeconds

    @property
    def provenance(self) -> Mapping[str, str]:
        """What scores and segments depend on, beside model and engine."""
        return {"windows": self.windows.describe(), "segments": self.segments.describe()}

    @property
    def max_clip_seconds(self) -> float:
        """Videos up to this length are taken as one clip."""
        return self.windows.max_clip_seconds

    def score(self, request: ClipRequest, scan: Scan) -> FileResult | None:
        """What became of a long video; None where it has less than one window after all."""
        try:
            result = score_long_video(
                request.path,
                self.description.clip,
                self.windows,
                scan,
                decoders=self.decoders,
                on_seconds=self.on_seconds,
            )
        except VideoError as error:
            return unscored(request, error, self.description)
        if result is None:
            return None
        segments = find_segments(result.timeline, self.segments)
        return scored_in_windows(request, result, segments, self.description)


def wanted_segments(sliding: Sliding | None, description: ModelDescription) -> SegmentSettings:
    """How scores become segments, those of all labels but the background by default.

    Raises:
        SettingsError: a label is wanted that the model does not know.
    """
    settings = sliding.segments if sliding else SegmentSettings()
    settings.check_labels(description.labels)
    if settings.labels or description.background is None:
        return settings
    events = tuple(label for label in description.labels if label != description.background)
    return replace(settings, labels=events)


def make_slider(
    sliding: Sliding | None, description: ModelDescription, decoders: Decoders
) -> Slider | None:
    """The slider of a model; None where every video is to be taken as one clip.

    Raises:
        SettingsError: windows cannot be so long, or so far apart; or as `wanted_segments`.
    """
    if sliding is None:
        return None
    windows = choose_windows(
        description.clip.num_frames,
        description.data.get("clip_seconds"),
        window_seconds=sliding.window_seconds,
        stride_seconds=sliding.stride_seconds,
    )
    return Slider(
        windows=windows,
        segments=wanted_segments(sliding, description),
        description=description,
        decoders=decoders,
        on_seconds=sliding.on_seconds,
    )
