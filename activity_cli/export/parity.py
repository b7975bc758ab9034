"""The parity gate: every export has to compute the same scores as torch on the same clips.

The reference is the model as one torch module in fp32. `predict` runs an export with the same code.
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

LARGEST_DIFFERENCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 2e-2}
"""Tolerance of a single score. int8 has none: it moved the scores of 300 real clips by up to 0.05,
those of single frames by up to 0.07."""
INT8_MEAN_DIFFERENCE = 2e-2
"""Tolerance of int8 scores on average; measured on the same clips: 0.008."""
INT8_UNDECIDED = 0.15
"""In int8 a label may change where torch's two best scores are closer than this (twice 0.07, since
both move). On the same clips 1 of 300 labels changed, where they were 0.02 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Clips that are scored in one call, and their scores in torch."""

    batch: Batch
    scores: NDArray[np.float32]
    """(B, C) in torch."""
    seconds: float
    """Time that torch took."""
    is_timed: bool
    """Whether it is one clip of the model's own length, as in `predict`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        num_clips, num_frames = next(iter(self.batch.values())).shape[:2]
        return num_clips, num_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """An export against torch at one batch size and length."""

    batch_size: int
    num_frames: int
    num_clips: int
    largest_difference: float
    """Largest difference of a score."""
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
    megabytes: float
    """Size of its files, in 10^6 bytes."""
    milliseconds: float
    """Per clip of the model's own length, median, without decoding."""
    torch_milliseconds: float
    """The same in torch, for comparison."""

    @property
    def num_clips(self) -> int:
        """Number of clips compared; a clip scored at two lengths counts twice."""
        return sum(row.num_clips for row in self.rows)

    @property
    def num_same_label(self) -> int:
        """Number of clips with torch's label."""
        return sum(row.num_same_label for row in self.rows)

    @property
    def num_wrong_label(self) -> int:
        """Number of clips with a label that the gate refuses."""
        return sum(row.num_wrong_label for row in self.rows)

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
        if self.precision == "int8":
            what, found = "scores differ by {} on average", self.mean_difference
            allowed = INT8_MEAN_DIFFERENCE
        else:
            what, found = "a score differs by {}", self.largest_difference
            allowed = LARGEST_DIFFERENCE[self.precision]
        if not found <= allowed:  # in place of "found > allowed", which is False for NaN
            return f"{what.format(f'{found:.1e}')}, allowed are {allowed:g}"
        if self.num_wrong_label:
            return f"{self.num_wrong_label} of {self.num_clips} clips get another label"
        return ""


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


def make_cases(
    clips: Sequence[ClipFrames], network: "ClipNetwork", clip: ClipSettings, *, dynamic: bool
) -> list[Case]:
    """Score clips in torch: each by itself and, if sizes are free, at other lengths and batches.

    The other cases are small, so that they fit into memory: a CNN's first layers are large.
    """
    length = clip.num_frames
    shapes = [(1, length)] * len(clips)
    if dynamic:
        shapes += [(1, 1), (1, 2 * length), (2, max(1, length // 2)), (5, 1)]
    roles = frame_roles(clip)
    cases = []
    for number, (batch_size, num_frames) in enumerate(shapes):
        picked = [clips[(number + i) % len(clips)] for i in range(batch_size)]
        # Longer ones show each frame twice, shorter ones leave frames out.
        frames = (np.arange(num_frames) * length + length // 2) // num_frames
        batch: Batch = {
            role: np.stack([one.images[role][frames] for one in picked]) for role in roles
        }
        started = time.perf_counter()
        scores = _score_in_torch(network, [batch[role] for role in roles])
        cases.append(
            Case(
                batch=batch,
                scores=scores,
                seconds=time.perf_counter() - started,
                is_timed=number < len(clips),
            )
        )
    return cases


def compare(
    cases: Sequence[Case],
    runner: ExportedRunner,
    model: ExportedModel,
    *,
    files: Iterable[Path],
) -> Parity:
    """Run an export, which consists of `files`, on all cases and compare its scores."""
    runner.score(cases[0].batch)  # warms up
    seconds = []
    found: dict[tuple[int, int], list[tuple[Case, NDArray[np.float32]]]] = {}
    for case in cases:
        started = time.perf_counter()
        scores = runner.score(case.batch)
        if case.is_timed:
            seconds.append(time.perf_counter() - started)
        found.setdefault(case.shape, []).append((case, scores))
    rows = tuple(_compare_scores(shape, pairs, model.precision) for shape, pairs in found.items())
    return Parity(
        format=model.format,
        precision=model.precision,
        rows=rows,
        megabytes=sum(file.stat().st_size for file in files) / 1e6,
        milliseconds=1000 * statistics.median(seconds),
        torch_milliseconds=1000 * statistics.median(c.seconds for c in cases if c.is_timed),
    )


def _compare_scores(
    shape: tuple[int, int],
    pairs: Sequence[tuple[Case, NDArray[np.float32]]],
    precision: Precision,
) -> ParityRow:
    """Compare the scores of the clips of one shape."""
    expected = np.concatenate([case.scores for case, _ in pairs])  # (clips, C)
    scores = np.concatenate([scores for _, scores in pairs])
    differences = np.abs(scores - expected)
    same = scores.argmax(axis=1) == expected.argmax(axis=1)
    best_two = np.sort(expected, axis=1)[:, -2:]
    undecided = (best_two[:, 1] - best_two[:, 0] < INT8_UNDECIDED) & (precision == "int8")
    return ParityRow(
        batch_size=shape[0],
        num_frames=shape[1],
        num_clips=len(expected),
        largest_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        num_same_label=int(same.sum()),
        num_wrong_label=int((~same & ~undecided).sum()),
    )


def _score_in_torch(
    network: "ClipNetwork", images: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        scores: NDArray[np.float32] = network(*map(torch.from_numpy, images)).numpy()
    return scores
