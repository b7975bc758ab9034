"""The networks of a model's streams: the frame CNN and the action network, each loaded if used.

S streams, T frames per clip, D features of the widest stream.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.features.action_weights import FEATURE_SIZE, NAME
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import Engine, load_action_extractor, load_extractor
from activity_cli.features.engines.protocol import Extractor
from activity_cli.settings import CNN_STREAMS, ClipSettings, Stream
from activity_cli.types import Images

StreamFeatures = dict[Stream, NDArray[np.float16]]
"""(T, D) of each stream at its own width. float16 is finer than the CNN's own rounding in bf16."""


def feature_size(clip: ClipSettings, backbone: Backbone) -> int:
    """Return D."""
    return max(FEATURE_SIZE if s == "action" else backbone.feature_size for s in clip.streams)


def network_names(clip: ClipSettings, backbone: Backbone) -> str:
    """Return the names of the networks that the streams need."""
    used = {NAME if stream == "action" else backbone.name: None for stream in clip.streams}
    return " and ".join(used)


def pad_features(features: NDArray[np.float16], size: int) -> NDArray[np.float16]:
    """Append zeros to the last axis, up to D."""
    missing = size - features.shape[-1]
    return np.pad(features, [(0, 0)] * (features.ndim - 1) + [(0, missing)])


class StreamExtractor:
    """Computes the features of clips. Clips and a long video may share it, in several threads."""

    def __init__(self, frames: Extractor | None, action: Extractor | None = None) -> None:
        """Take the extractor of frames, and that of clips; at least one of them."""
        self.frames, self.action = frames, action
        loaded = [extractor for extractor in (frames, action) if extractor]
        self.identity = loaded[0].identity
        self.feature_size = max(extractor.feature_size for extractor in loaded)
        self.batch_size = frames.batch_size if frames else 64  # images
        self._lock = threading.Lock()

    def extract(self, clips: Sequence[Mapping[Stream, Images]]) -> list[StreamFeatures]:
        """Compute features (T, D) of the pictures (T, H, W, channels) of each clip's streams."""
        found: list[StreamFeatures] = [{} for _ in clips]
        for extractor, join in ((self.frames, np.concatenate), (self.action, np.stack)):
            places = [
                (features, stream, images)
                for features, clip in zip(found, clips, strict=True)
                for stream, images in clip.items()
                if (stream == "action") is (join is np.stack)
            ]
            if places:
                assert extractor is not None
                with self._lock:
                    rows = extractor.extract(join([images for *_, images in places]))
                whole = rows.astype(np.float16).reshape(-1, extractor.feature_size)
                ends = np.cumsum([len(images) for *_, images in places])[:-1]
                for (features, stream, _), part in zip(places, np.split(whole, ends), strict=True):
                    features[stream] = part
        return found


def load_streams(
    backbone: Backbone,
    clip: ClipSettings,
    engine: Engine,
    *,
    cache_dir: Path,
    on_prepare: Callable[[str], None] = lambda _: None,
) -> StreamExtractor:
    """Load the networks that the streams of a clip need; errors are those of `load_extractor`."""
    frames = action = None
    if not set(CNN_STREAMS).isdisjoint(clip.streams):
        frames = load_extractor(
            backbone, engine, cache_dir=cache_dir, frame_size=clip.frame_size, on_prepare=on_prepare
        )
    if "action" in clip.streams:
        action = load_action_extractor(
            engine,
            cache_dir=cache_dir,
            num_frames=clip.num_frames,
            frame_size=clip.frame_size,
            on_prepare=on_prepare,
        )
    return StreamExtractor(frames, action)
