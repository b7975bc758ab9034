"""The networks of a model's streams: the frame CNN and the action network, each loaded if used.

S streams, T frames per clip, D features of the widest stream.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from activity_cli.features.action_weights import (
    FEATURE_SIZE,
    HIDDEN_SIZE,
    NAME,
    POOLED_SIZE,
    action_weights_file,
)
from activity_cli.features.backbones import Backbone
from activity_cli.features.engines.choice import (
    Engine,
    identity_of,
    load_action_extractor,
    load_extractor,
)
from activity_cli.features.engines.protocol import Extractor
from activity_cli.features.tflite import read_constants
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


def with_hidden_units(roots: NDArray[np.float16]) -> NDArray[np.float16]:
    """Complete features of `action`: (..., 2528) from the first 480, the roots of the means.

    The others are what the network makes of the means (`movinet.ActionFeatures`), to a step of
    float16: at most 0.004. A BackboneError without weights.
    """
    weights, bias = _hidden_layer()
    means = np.square(roots.astype(np.float32))
    # Not `@`: the threads of BLAS wait actively, for longer than this takes.
    hidden = np.clip(np.einsum("...p,ph->...h", means, weights) + bias, 0, 6)
    return np.concatenate([roots, hidden.astype(np.float16)], axis=-1)


@lru_cache(maxsize=1)
def _hidden_layer() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    constants = read_constants(action_weights_file().read_bytes())
    weights, bias = [values for values in constants if values.ndim != 5][-4:-2]
    return weights.reshape(HIDDEN_SIZE, POOLED_SIZE).T, bias


Networks = tuple[Extractor | None, Extractor | None]
"""The frame CNN and the action network, at least one of them."""


class StreamExtractor:
    """Computes the features of clips. Clips and a long video may share it, in several threads.

    The networks are loaded when they are first needed: cached features need none.
    """

    def __init__(
        self,
        load: Callable[[], Networks],
        *,
        identity: str,
        feature_size: int,
        batch_size: int = 64,
    ) -> None:
        self.identity, self.feature_size = identity, feature_size
        self.batch_size = batch_size  # images per call that keep the device busy
        self._load, self._loading = load, cast("Future[Networks] | None", None)
        self._lock = threading.Lock()

    def prefetch(self) -> None:
        """Begin to load the networks, in a thread of its own."""
        with self._lock:
            if self._loading is None:
                loader = ThreadPoolExecutor(1, thread_name_prefix="load")
                self._loading = loader.submit(self._load)
                loader.shutdown(wait=False)

    @property
    def networks(self) -> Networks:
        """The networks, loaded; errors are those of `load_extractor`."""
        self.prefetch()
        assert self._loading is not None
        return self._loading.result()

    def extract(self, clips: Sequence[Mapping[Stream, Images]]) -> list[StreamFeatures]:
        """Compute features (T, D) of pictures (T, H, W, channels), by clip and stream.

        The CNN computes a picture that repeats the one before it only once.
        """
        found: list[StreamFeatures] = [{} for _ in clips]
        frames, action = self.networks
        places = [(n, s) for n, clip in enumerate(clips) for s in CNN_STREAMS if s in clip]
        if places and frames:
            stacks = [clips[n][s] for n, s in places]
            is_new = [_is_new(stack) for stack in stacks]
            kept = [stack[new] for stack, new in zip(stacks, is_new, strict=True)]
            rows = self._run(frames, kept)
            parts = np.split(rows, np.cumsum([new.sum() for new in is_new])[:-1])
            for (n, stream), part, new in zip(places, parts, is_new, strict=True):
                found[n][stream] = part[np.cumsum(new) - 1]
        with_action = [n for n, clip in enumerate(clips) if "action" in clip]
        if with_action and action:
            rows = self._run(action, [clips[n]["action"][None] for n in with_action])
            for n, features in zip(with_action, rows, strict=True):
                found[n]["action"] = features
        return found

    def _run(self, network: Extractor, inputs: Sequence[Images]) -> NDArray[np.float16]:
        with self._lock:
            return network.extract(np.concatenate(inputs)).astype(np.float16)


def _is_new(pictures: Images) -> NDArray[np.bool_]:
    """Return (T,) whether each picture differs from the one before it."""
    return np.array([True, *(not np.array_equal(a, b) for a, b in pairwise(pictures))])


def load_streams(
    backbone: Backbone,
    clip: ClipSettings,
    engine: Engine,
    *,
    cache_dir: Path,
    on_prepare: Callable[[str], None] = lambda _: None,
) -> StreamExtractor:
    """Return what loads the networks that the streams of a clip need, once features are missing.

    Raises:
        SettingsError: the engine does not compute in that precision here.
        MissingExtraError: the engine is not installed.
    """
    reads_frames = not set(CNN_STREAMS).isdisjoint(clip.streams)

    def load() -> Networks:
        where: dict[str, Any] = {"cache_dir": cache_dir, "on_prepare": on_prepare}
        where["frame_size"], frames, action = clip.frame_size, None, None
        if reads_frames:
            frames = load_extractor(backbone, engine, **where)
        if "action" in clip.streams:
            action = load_action_extractor(engine, num_frames=clip.num_frames, **where)
        return frames, action

    return StreamExtractor(
        load,
        identity=identity_of(
            engine if reads_frames else replace(engine, precision="fp32"), backbone
        ),
        feature_size=feature_size(clip, backbone),
        batch_size=64 if engine.device == "cpu" else 256,
    )
