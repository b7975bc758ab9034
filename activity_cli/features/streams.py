"""The networks of a model's streams: the frame CNN and the action network, each loaded if used.

S streams, T frames per clip, D features of the widest stream.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
        self.frames, self.action = frames, action  # at least one of them
        loaded = [extractor for extractor in (frames, action) if extractor]
        self.identity = loaded[0].identity
        self.feature_size = max(extractor.feature_size for extractor in loaded)
        self.batch_size = frames.batch_size if frames else 64  # images
        self._lock = threading.Lock()

    def extract(self, clips: Sequence[Mapping[Stream, Images]]) -> list[StreamFeatures]:
        """Compute features (T, D) of pictures (T, H, W, channels), by clip and stream."""
        found: list[StreamFeatures] = [{} for _ in clips]
        actions: tuple[Stream, ...] = ("action",)
        for network, join, streams in (
            (self.frames, np.concatenate, CNN_STREAMS),
            (self.action, np.stack, actions),
        ):
            places = [(n, s) for n, clip in enumerate(clips) for s in streams if s in clip]
            if places and network:
                with self._lock:
                    rows = network.extract(join([clips[n][s] for n, s in places]))
                parts = rows.astype(np.float16).reshape(len(places), -1, network.feature_size)
                for (n, stream), features in zip(places, parts, strict=True):
                    found[n][stream] = features
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
    where: dict[str, Any] = {"cache_dir": cache_dir, "on_prepare": on_prepare}
    where["frame_size"], frames, action = clip.frame_size, None, None
    if not set(CNN_STREAMS).isdisjoint(clip.streams):
        frames = load_extractor(backbone, engine, **where)
    if "action" in clip.streams:
        action = load_action_extractor(engine, num_frames=clip.num_frames, **where)
    return StreamExtractor(frames, action)
