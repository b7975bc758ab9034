"""The clips that a report shows: which, and frames of them, decoded again."""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from activity_cli.errors import VideoError
from activity_cli.report.data import ClipPrediction, Predictions
from activity_cli.video.decoder_pool import ClipReader, DecoderPool, Decoders

_MAX_CLIPS = 8
_NUM_FRAMES = 6
_HEIGHT = 132


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Frames of a clip, or why there are none."""

    frames: tuple[tuple[str, float], ...] = ()
    """data: URI of each, and its time in the video in seconds."""
    shape: float = 4 / 3
    """Width divided by height."""
    problem: str = ""


def confident_errors(predictions: Predictions) -> list[int]:
    """Return the positions of the wrong clips with the highest scores."""
    wrong = np.flatnonzero(~predictions.is_correct)
    best = predictions.scores[wrong].max(axis=1)
    found: list[int] = wrong[np.argsort(-best, kind="stable")][:_MAX_CLIPS].tolist()
    return found


def least_certain(predictions: Predictions) -> list[int]:
    """Return the positions of the clips whose two best scores are closest."""
    in_order = np.sort(predictions.scores, axis=1)
    margin = in_order[:, -1] - in_order[:, -2]
    found: list[int] = np.argsort(margin, kind="stable")[:_MAX_CLIPS].tolist()
    return found


def read_strips(
    predictions: Predictions, positions: Sequence[int], decoders: Decoders
) -> Mapping[int, Strip]:
    """Decode a few frames of the clips at these positions."""
    wanted = list(dict.fromkeys(positions))
    if not wanted:
        return {}
    clips = [predictions.clips[position] for position in wanted]
    with DecoderPool(decoders) as pool, ThreadPoolExecutor(decoders.num_workers) as threads:
        reader = pool.reader()
        strips = list(threads.map(lambda clip: _read(reader, clip), clips))
    return dict(zip(wanted, strips, strict=True))


def _read(reader: ClipReader, clip: ClipPrediction) -> Strip:
    from activity_cli.report.overlay.strips import read_jpegs

    share = (np.arange(_NUM_FRAMES) + 0.5) / _NUM_FRAMES
    times = (clip.start_seconds + share * clip.duration_seconds).tolist()
    try:
        files, (width, height) = reader.call(read_jpegs, clip.sample.path, times, height=_HEIGHT)
    except VideoError as error:
        return Strip(problem=str(error))
    images = [f"data:image/jpeg;base64,{base64.b64encode(f.tobytes()).decode()}" for f in files]
    return Strip(
        frames=tuple(zip(images, times, strict=True)),
        # Frames of upright videos would be as high as a page.
        shape=max(width / height, 4 / 3),
    )
