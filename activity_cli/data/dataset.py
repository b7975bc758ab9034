"""Labelled clips: samples with their labels, groups, splits and folds; long ones cut into windows.

Times are seconds from the start of the file.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import and_more
from activity_cli.errors import DataError, SettingsError, VideoError, did_you_mean
from activity_cli.settings import TrainSettings

if TYPE_CHECKING:
    from activity_cli.video.decoder_pool import DecoderPool

SplitName = Literal["train", "val", "test"]

UNEVEN = 3  # clip counts are uneven if the largest is more than so many times the smallest
FEW = 10
"""Labels with fewer clips have unreliable metrics: 9 of 10 correct has an interval from 0.60 to
0.98."""
_MOST_LABELS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A labelled clip: a video, or a piece of one."""

    path: Path  # absolute
    name: str  # the path as the user wrote it, or relative to the data folder: for reports
    label: str
    start_seconds: float | None = None  # None is the start of the video
    end_seconds: float | None = None  # None is the end of the video
    group: str | None = None  # person, camera or source: must not be in two parts of a split
    split: SplitName | None = None
    folds: Mapping[str, str] = field(default_factory=dict)
    """Values of all other columns; cross-validation may take its folds from one of them."""
    line: int | None = None  # of the CSV, for messages
    captions: tuple[str, ...] = ()  # sentences about it, for `--task describe`


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Samples of a folder or a CSV, in a fixed order."""

    root: Path  # the folder that names are relative to
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]  # all labels, sorted: the order of the model's outputs

    def counts(self) -> dict[str, int]:
        """Return the number of samples per label, in the order of `labels`."""
        found = Counter(sample.label for sample in self.samples)
        return {label: found[label] for label in self.labels}

    def label_indices(self) -> NDArray[np.int64]:
        """Return (N,) the position of each sample's label in `labels`."""
        position = {label: index for index, label in enumerate(self.labels)}
        return np.array([position[sample.label] for sample in self.samples], dtype=np.int64)

    def groups(self) -> NDArray[np.int64] | None:
        """Return (N,) the number of each sample's group, or None when no two samples share one.

        Pieces of one video without a group are a group of their own: they look alike.
        """
        return sample_groups(self.samples)

    def groups_by(self, column: str) -> NDArray[np.int64] | None:
        """Return (N,) the number of each sample's group by another column; "" is no group."""
        if column == "group":
            values = [sample.group for sample in self.samples]
        else:
            values = [sample.folds.get(column) for sample in self.samples]
        if not any(values):
            raise self.no_column(column)
        pairs = zip(values, self.samples, strict=True)
        return number_groups([value or sample.path for value, sample in pairs])

    def check_label(self, label: str | None) -> None:
        """Raise a DataError if there are no clips of a label; None always passes."""
        if label is not None and label not in self.labels:
            hint = f"The labels are: {', '.join(self.labels)}."
            meant = did_you_mean(label, self.labels)
            raise DataError(
                f"There are no clips of the background label {label!r}.{meant}", hint=hint
            )

    def no_column(self, column: str) -> DataError:
        """Return the error for a column that the data does not have."""
        known = [n for n in ("group", "split") if any(getattr(s, n) for s in self.samples)]
        columns = [*known, *self.samples[0].folds]
        return DataError(
            f"{self.root}: the data has no column {column} with values; "
            f"its columns are {', '.join(columns) or 'path and label only'}."
            f"{did_you_mean(column, columns)}",
            hint="Choose one of these, or add the column to the CSV.",
        )


def sample_groups(samples: Sequence[Sample]) -> NDArray[np.int64] | None:
    """Return (N,) the number of each sample's group, as `Dataset.groups`."""
    return number_groups([sample.group or sample.path for sample in samples])


def number_groups(values: Sequence[object]) -> NDArray[np.int64] | None:
    """Return (N,) the same number for equal values, or None when all differ."""
    known: dict[object, int] = {}
    numbers = [known.setdefault(value, len(known)) for value in values]
    return np.array(numbers, dtype=np.int64) if len(known) < len(values) else None


_MOST_WINDOWS = 8
"""Of a piece: more windows of one scene add little, and would outweigh all other clips."""
_LONGER_THAN_A_WINDOW = 1.5  # shorter pieces are not cut
_TOLERANCE = 0.05  # of the video's length, by which a header may be wrong


def prepare_pieces(
    dataset: Dataset, pool: "DecoderPool", *, window_seconds: float | None = None
) -> Dataset:
    """Check all pieces against their videos, and cut those that are longer than a window.

    Without `window_seconds` nothing is cut. A piece beyond the end of its video is a DataError.
    """
    if window_seconds is not None and not 0 < window_seconds < float("inf"):
        raise SettingsError(f"--window must be more than 0 s, got {window_seconds:g}.")
    pieces = [s for s in dataset.samples if (s.start_seconds, s.end_seconds) != (None, None)]
    asked = dataset.samples if window_seconds is not None else pieces
    if not asked:
        return dataset
    seconds = _measure({sample.path for sample in asked}, pool)
    for sample in pieces:
        length = seconds.get(sample.path)
        line = f", line {sample.line}" if sample.line else ""
        for column, at in (("start", sample.start_seconds), ("end", sample.end_seconds)):
            if length is not None and (at or 0) > length * (1 + _TOLERANCE) + 0.5:
                raise DataError(
                    f"{sample.name}{line}, column {column}: {at:g} s is beyond the end of the "
                    f"video, which lasts {length:.1f} s.",
                    hint="Times are seconds from the start of the file; check the video's name "
                    "too.",
                )
    if window_seconds is None:
        return dataset
    windows = [w for s in dataset.samples for w in cut(s, seconds.get(s.path), window_seconds)]
    return replace(dataset, samples=tuple(windows))


def cut(sample: Sample, video_seconds: float | None, window_seconds: float) -> list[Sample]:
    """Spread windows evenly over a sample; one that is hardly longer than a window stays whole."""
    if video_seconds is None:  # its length is not known
        return [sample]
    start = sample.start_seconds or 0.0
    end = min(sample.end_seconds or video_seconds, video_seconds)
    if end - start < _LONGER_THAN_A_WINDOW * window_seconds:
        return [sample]
    count = min(_MOST_WINDOWS, int((end - start) / window_seconds))
    step = (end - start - window_seconds) / max(1, count - 1)
    starts = [round(start + number * step, 3) for number in range(count)]
    return [replace(sample, start_seconds=s, end_seconds=s + window_seconds) for s in starts]


def _measure(paths: set[Path], pool: "DecoderPool") -> dict[Path, float | None]:
    from activity_cli.video.reader import read_seconds  # heavy: only for pieces

    reader = pool.reader()

    def measure(path: Path) -> float | None:
        try:
            return reader.call(read_seconds, path)
        except VideoError:  # reported later, when its clips are decoded
            return None

    ordered = sorted(paths)
    with ThreadPoolExecutor(pool.decoders.num_workers) as threads:
        return dict(zip(ordered, threads.map(measure, ordered), strict=True))


def describe_counts(dataset: Dataset) -> str:
    """Describe in a line how many clips there are per label."""
    counts = dataset.counts()
    total = f"{len(dataset.samples)} clips of {len(counts)} labels"
    if len(counts) > _MOST_LABELS:
        return f"{total}, {min(counts.values())} to {max(counts.values())} of each."
    return f"{total}: {', '.join(f'{label} {count}' for label, count in counts.items())}."


def balance_warnings(
    dataset: Dataset, settings: TrainSettings, *, in_folds: bool = False
) -> list[str]:
    """Return warnings about uneven or small numbers of clips, a line each.

    `in_folds`: they are for a cross-validation, which tests on every clip.
    """
    counts = dataset.counts()
    rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    lines = []
    if counts[commonest] > UNEVEN * counts[rarest]:
        remedy = "Class weights compensate for it."
        if settings.class_weights == "none":
            remedy = "Add --class-weights balanced, so that rare labels count as much."
        lines.append(
            f"Uneven: {commonest} has {counts[commonest]} clips, {rarest} {counts[rarest]}. "
            f"{remedy} Prefer F1 to accuracy."
        )
    if few := [f"{label} {count}" for label, count in counts.items() if count < FEW]:
        advice = "." if in_folds else ", and use `activity crossval`, which tests on every clip."
        lines.append(
            f"Few clips: {and_more(few, 5, 'labels')}. Metrics for labels with fewer than "
            f"{FEW} clips are unreliable: add clips{advice}"
        )
    return lines
