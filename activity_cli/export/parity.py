"""The parity gate: every export is run on clips and has to say what torch says.

The reference is the model as one torch module in fp32; an export is run by what also runs it in
`predict`. B clips, T frames per clip, C labels.
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
from activity_cli.predict.exported.loading import ExportedModel, ExportedRunner
from activity_cli.predict.exported.metadata import Format, Precision
from activity_cli.settings import ClipSettings
from activity_cli.types import ClipFrames, FrameRole, frame_roles
from activity_cli.video.clips import read_frames

if TYPE_CHECKING:
    from activity_cli.export.graphs import ClipNetwork

Batch = Mapping[FrameRole, NDArray[np.uint8]]
"""(B, T, H, W, channels) uint8 per role."""

MOST_CLIPS = 16
"""Clips that the gate takes. At 32 images each they are some seconds of CNN per format."""

LARGEST_DIFFERENCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 2e-2}
"""The most that any score may differ from torch's. For int8 there is no such bound: it moved the
scores of 300 real clips by up to 0.05, those of single frames by up to 0.07."""
INT8_MEAN_DIFFERENCE = 2e-2
"""The most that int8 scores may differ on average; 0.008 on the same clips."""
INT8_UNDECIDED = 0.15
"""A label may change where torch's own two best scores are closer than this, twice 0.07: both move.
On the same clips 1 of 300 labels changed, where they were 0.02 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Clips that are scored in one call, and what torch says of them."""

    batch: Batch
    scores: NDArray[np.float32]
    """(B, C) in torch."""
    seconds: float
    """That torch took."""
    is_usual: bool
    """One clip of the model's own length: what `predict` asks for, and what is timed."""

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
    """Of any score."""
    mean_difference: float
    num_same_label: int
    num_wrong_label: int
    """Clips with another label than torch's that torch was not undecided about."""


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
        """Clips compared; one that was scored at two lengths counts twice."""
        return sum(row.num_clips for row in self.rows)

    @property
    def num_same_label(self) -> int:
        """Clips with torch's label."""
        return sum(row.num_same_label for row in self.rows)

    @property
    def num_wrong_label(self) -> int:
        """Clips with a label that the gate does not let pass."""
        return sum(row.num_wrong_label for row in self.rows)

    @property
    def largest_difference(self) -> float:
        """Of any score of any clip."""
        return max(row.largest_difference for row in self.rows)

    @property
    def mean_difference(self) -> float:
        """Over all scores of all clips."""
        return sum(row.mean_difference * row.num_clips for row in self.rows) / self.num_clips

    @property
    def failure(self) -> str:
        """What is beyond tolerance, in words; empty when nothing is."""
        if self.precision == "int8":
            what, found = "scores differ by {} on average", self.mean_difference
            allowed = INT8_MEAN_DIFFERENCE
        else:
            what, found = "a score differs by {}", self.largest_difference
            allowed = LARGEST_DIFFERENCE[self.precision]
        if not found <= allowed:  # not "more than": a score that is no number is neither
            return f"{what.format(f'{found:.1e}')}, allowed are {allowed:g}"
        if self.num_wrong_label:
            return f"{self.num_wrong_label} of {self.num_clips} clips get another label"
        return ""


def read_clips(
    paths: Iterable[Path], clip: ClipSettings, *, most: int = MOST_CLIPS
) -> list[ClipFrames]:
    """The first clips that can be decoded, evenly picked when there are more than enough.

    Raises:
        DataError: not one can be decoded.
    """
    paths = list(paths)
    chosen = [paths[i * len(paths) // most] for i in range(most)] if len(paths) > most else paths
    clips, reason = [], "there are none"
    for path in chosen:
        try:
            clips.append(read_frames(path, clip))
        except VideoError as error:
            reason = f"{path}: {error.message}"
    if not clips:
        raise DataError(
            f"No clip can be decoded to check the export with; {reason}",
            hint="Give videos that a player can show.",
        )
    return clips


def make_cases(
    clips: Sequence[ClipFrames], network: "ClipNetwork", clip: ClipSettings, *, dynamic: bool
) -> list[Case]:
    """Score clips in torch: each by itself and, if sizes are free, at other lengths and batches.

    The other cases are small, so that they fit into memory: a CNN's first layers are large.

    Args:
        clips: as `read_clips` gave them.
        network: the model in torch.
        clip: its settings.
        dynamic: whether an export takes any number of clips and frames.
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
                is_usual=number < len(clips),
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
    """Run an export on all cases; `files` are all that it consists of."""
    runner.score(cases[0].batch)  # the first run of a shape also prepares
    seconds = []
    found: dict[tuple[int, int], list[tuple[Case, NDArray[np.float32]]]] = {}
    for case in cases:
        started = time.perf_counter()
        scores = runner.score(case.batch)
        if case.is_usual:
            seconds.append(time.perf_counter() - started)
        found.setdefault(case.shape, []).append((case, scores))
    rows = tuple(_compare_scores(shape, pairs, model.precision) for shape, pairs in found.items())
    return Parity(
        format=model.format,
        precision=model.precision,
        rows=rows,
        megabytes=sum(file.stat().st_size for file in files) / 1e6,
        milliseconds=1000 * statistics.median(seconds),
        torch_milliseconds=1000 * statistics.median(c.seconds for c in cases if c.is_usual),
    )


def _compare_scores(
    shape: tuple[int, int],
    pairs: Sequence[tuple[Case, NDArray[np.float32]]],
    precision: Precision,
) -> ParityRow:
    """The clips of one shape as a row of the table."""
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
