"""The parity gate: every export has to compute the scores of the model in torch fp32.

B clips, T frames per clip, C labels.
"""

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import DataError, VideoError
from activity_cli.model.metrics import Thresholds, predicted_labels
from activity_cli.predict.exported import ExportedModel, ExportedRunner
from activity_cli.predict.exported.metadata import Format, Precision
from activity_cli.settings import ClipSettings
from activity_cli.types import ClipFrames, FrameRole, frame_roles
from activity_cli.video.clips import read_frames

if TYPE_CHECKING:
    from activity_cli.export.graphs import ClipNetwork

Batch = Mapping[FrameRole, NDArray[np.uint8]]
"""(B, T, H, W, channels) uint8 per role."""

MOST_CLIPS = 16
"""Clips that are compared. At 32 images each they take some seconds of CNN per format."""

TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 2e-2, "int8": 2e-2}
"""Of a single score; of the mean in int8, which moved the scores of 300 real clips by up to 0.05,
those of single frames by up to 0.07, and all by 0.008 on average."""
INT8_UNDECIDED = 0.15
"""In int8 a label may change where torch's two best scores are closer than this (twice 0.07, since
both move). On the same clips 1 of 300 labels changed, where they were 0.02 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityInputs:
    """Clips that are scored in one call, and their scores in torch."""

    batch: Batch
    shape: tuple[int, int]  # (B, T)
    scores: NDArray[np.float32]  # (B, C) in torch
    seconds: float  # time that torch took
    is_timed: bool  # whether it is one clip of the model's own length, as in `predict`


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """An export against torch at one batch size and length."""

    batch_size: int
    num_frames: int
    num_clips: int
    largest_difference: float  # largest difference of a score
    mean_difference: float
    num_same_label: int
    num_wrong_label: int
    """Clips with another label than in torch, without those that torch itself is undecided on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """One export against torch, over all cases."""

    format: Format
    precision: Precision
    rows: tuple[ParityRow, ...]
    megabytes: float  # size of its files, in 10^6 bytes
    milliseconds: float  # per clip of the model's own length, median, without decoding
    torch_milliseconds: float  # the same in torch, for comparison

    @property
    def num_clips(self) -> int:
        """Number of clips compared; a clip scored at two lengths counts twice."""
        return sum(row.num_clips for row in self.rows)

    @property
    def num_same_label(self) -> int:
        """Number of clips with torch's label."""
        return sum(row.num_same_label for row in self.rows)

    @property
    def largest_difference(self) -> float:
        """Largest difference of a score of any clip."""
        return max(row.largest_difference for row in self.rows)

    @property
    def mean_difference(self) -> float:
        """Mean difference over all scores of all clips."""
        return sum(row.mean_difference * row.num_clips for row in self.rows) / self.num_clips

    @property
    def failure(self) -> str:
        """Describe what is beyond tolerance; empty if nothing is."""
        what, found = "a score differs by {}", self.largest_difference
        if self.precision == "int8":
            what, found = "scores differ by {} on average", self.mean_difference
        allowed = TOLERANCE[self.precision]
        if not found <= allowed:  # in place of "found > allowed", which is False for NaN
            return f"{what.format(f'{found:.1e}')}, allowed are {allowed:g}"
        wrong = sum(row.num_wrong_label for row in self.rows)
        return f"{wrong} of {self.num_clips} clips get another label" if wrong else ""


def read_clips(
    paths: Iterable[Path], clip: ClipSettings, *, most: int = MOST_CLIPS
) -> list[ClipFrames]:
    """Decode up to `most` clips, evenly picked; those that cannot be decoded are skipped.

    Raises:
        DataError: none can be decoded.
    """
    paths = list(paths)
    chosen = [paths[i * len(paths) // most] for i in range(most)] if len(paths) > most else paths
    clips, reason = [], "no clip was given"
    for path in chosen:
        try:
            clips.append(read_frames(path, clip))
        except VideoError as error:
            reason = f"{path}: {error.message.rstrip('.')}"
    if not clips:
        raise DataError(
            f"No clip to compare the export on can be decoded: {reason}.",
            hint="Give videos that a player can show.",
        )
    return clips


def make_inputs(
    clips: Sequence[ClipFrames], network: "ClipNetwork", clip: ClipSettings, *, dynamic: bool
) -> list[ParityInputs]:
    """Score clips in torch: each by itself and, if sizes are free, at other lengths and batches.

    The other shapes are small, so that they fit into memory: a CNN's first layers are large.
    """
    import torch

    length = clip.num_frames
    shapes = [(1, length)] * len(clips)
    if dynamic:
        shapes += [(1, 1), (1, 2 * length), (2, max(1, length // 2)), (5, 1)]
    inputs = []
    for number, (batch_size, num_frames) in enumerate(shapes):
        picked = [clips[(number + i) % len(clips)] for i in range(batch_size)]
        # Longer ones show each frame twice, shorter ones leave frames out.
        frames = (np.arange(num_frames) * length + length // 2) // num_frames
        batch: Batch = {
            role: np.stack([one.images[role][frames] for one in picked])
            for role in frame_roles(clip)
        }
        started = time.perf_counter()
        with torch.inference_mode():
            scores = network(*map(torch.from_numpy, batch.values())).numpy()
        inputs.append(
            ParityInputs(
                batch=batch,
                shape=(batch_size, num_frames),
                scores=scores,
                seconds=time.perf_counter() - started,
                is_timed=number < len(clips),
            )
        )
    return inputs


def compare(
    inputs: Sequence[ParityInputs], runner: ExportedRunner, model: ExportedModel, *, num_bytes: int
) -> Parity:
    """Run an export, whose files have `num_bytes`, on all inputs and compare its scores."""
    runner.score(inputs[0].batch)  # warms up
    seconds = []
    pairs: dict[tuple[int, int], list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
    for one in inputs:
        started = time.perf_counter()
        scores = runner.score(one.batch)
        if one.is_timed:
            seconds.append(time.perf_counter() - started)
        pairs.setdefault(one.shape, []).append((scores, one.scores))
    return Parity(
        format=model.format,
        precision=model.precision,
        rows=tuple(
            _compare_scores(shape, found, model.precision, model.description.thresholds)
            for shape, found in pairs.items()
        ),
        megabytes=num_bytes / 1e6,
        milliseconds=1000 * statistics.median(seconds),
        torch_milliseconds=1000 * statistics.median(one.seconds for one in inputs if one.is_timed),
    )


def _compare_scores(
    shape: tuple[int, int],
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    precision: Precision,
    thresholds: Thresholds | None,
) -> ParityRow:
    """Compare the scores of the clips of one shape (B, T); the pairs are export and torch.

    A multi-label model has thresholds; torch is undecided where a score is close to its own.
    """
    scores, expected = map(np.concatenate, zip(*pairs, strict=True))  # (clips, C)
    differences = np.abs(scores - expected)
    labels, others = (predicted_labels(one, thresholds) for one in (scores, expected))
    same = (labels == others).all(axis=1)
    if thresholds is None:
        margin = np.ptp(np.sort(expected, axis=1)[:, -2:], axis=1)
        undecided = (margin < INT8_UNDECIDED) & (precision == "int8")
    else:
        undecided = np.abs(expected - thresholds).min(axis=1) < TOLERANCE[precision]
    return ParityRow(
        batch_size=shape[0],
        num_frames=shape[1],
        num_clips=len(expected),
        largest_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        num_same_label=int(same.sum()),
        num_wrong_label=int((~same & ~undecided).sum()),
    )
