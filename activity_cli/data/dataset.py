"""Labelled clips: samples with their labels, groups, splits and folds.

Times are seconds from the start of the file. In multi-label data several actions may happen at once
(`Dataset.multi_label`). N is samples, C labels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.common import and_more, count_of
from activity_cli.errors import DataError, did_you_mean
from activity_cli.settings import TrainSettings

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
    """Of a multi-label window all labels, for people: `eat + walk`, or `none`."""
    labels: tuple[str, ...] | None = None  # of a multi-label window; may be empty
    start_seconds: float | None = None  # None is the start of the video
    end_seconds: float | None = None  # None is the end of the video
    group: str | None = None  # person, camera or source: must not be in two parts of a split
    split: SplitName | None = None
    folds: Mapping[str, str] = field(default_factory=dict)
    """Values of all other columns; cross-validation may take its folds from one of them."""
    line: int | None = None  # of the CSV, for messages
    captions: tuple[str, ...] = ()  # sentences about it, for `--task describe`

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Return the labels of a multi-label window, or the one label."""
        return (self.label,) if self.labels is None else self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Samples of a folder or a CSV, in a fixed order."""

    root: Path  # the folder that names are relative to
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]  # all labels, sorted: the order of the model's outputs
    multi_label: bool = False
    """Whether several actions may happen at once. Then the samples are events, until
    `windows.prepare_pieces` makes windows of them."""
    events: tuple[Sample, ...] = ()
    """Of multi-label data, all rows: events, and looked-at stretches, whose label is empty."""

    def counts(self) -> dict[str, int]:
        """Return the number of samples per label, in the order of `labels`."""
        found = Counter(label for sample in self.samples for label in sample.all_labels)
        return {label: found[label] for label in self.labels}

    def has_label(self) -> NDArray[np.bool_]:
        """Return (N, C) whether a sample has a label."""
        each = [[label in sample.all_labels for label in self.labels] for sample in self.samples]
        return np.array(each, np.bool_).reshape(len(self.samples), len(self.labels))

    def label_indices(self) -> NDArray[Any]:
        """Return (N,) the position of each sample's label in `labels`.

        Of multi-label windows (N, C) float32, 1 for each label that a window has, else 0.
        """
        if any(sample.labels is not None for sample in self.samples):
            return self.has_label().astype(np.float32)
        position = {label: index for index, label in enumerate(self.labels)}
        return np.array([position[sample.label] for sample in self.samples], dtype=np.int64)

    def groups(self) -> NDArray[np.int64] | None:
        """Return (N,) the number of each sample's group, or None when no two samples share one.

        Pieces of one video without a group are a group of their own: they look alike.
        """
        return sample_groups(self.samples)

    def groups_by(self, column: str) -> NDArray[np.int64] | None:
        """Return (N,) the number of each sample's group by another column; "" is no group."""
        pairs = zip(self.column(column), self.samples, strict=True)
        return number_groups([value or sample.path for value, sample in pairs])

    def column(self, name: str) -> list[str]:
        """Return the value of each sample in a column, "" where it has none.

        Raises:
            DataError: the column has no values.
        """
        if name in ("group", "split"):
            values = [getattr(sample, name) or "" for sample in self.samples]
        else:
            values = [sample.folds.get(name, "") for sample in self.samples]
        if not any(values):
            raise self._no_column(name)
        return values

    def check_label(self, label: str | None) -> None:
        """Raise a DataError if there are no clips of a label; None always passes."""
        if label is not None and self.multi_label:
            raise DataError(
                f"The data is multi-label: time without an event is background, not {label!r}.",
                hint=f"Leave out --background-label, and the rows of {label!r}.",
            )
        if label is not None and label not in self.labels:
            hint = f"The labels are: {', '.join(self.labels)}."
            meant = did_you_mean(label, self.labels)
            raise DataError(
                f"There are no clips of the background label {label!r}.{meant}", hint=hint
            )

    def _no_column(self, column: str) -> DataError:
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


def describe_counts(dataset: Dataset) -> str:
    """Describe in a line how many clips there are per label."""
    counts = dataset.counts()
    unit = "event" if dataset.multi_label else "clip"
    total = f"{count_of(len(dataset.samples), unit)} of {count_of(len(counts), 'label')}"
    if len(counts) > _MOST_LABELS:
        return f"{total}, {min(counts.values())} to {max(counts.values())} of each."
    return f"{total}: {', '.join(f'{label} {count}' for label, count in counts.items())}."


def balance_warnings(
    dataset: Dataset, settings: TrainSettings, *, in_folds: bool = False
) -> list[str]:
    """Return warnings about uneven or small numbers of clips, a line each.

    `in_folds`: they are for a cross-validation, which tests on every clip.
    """
    counts, unit = dataset.counts(), "events" if dataset.multi_label else "clips"
    rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    lines = []
    if counts[commonest] > UNEVEN * counts[rarest]:
        remedy = "Class weights compensate for it."
        if settings.class_weights == "none":
            remedy = "Add --class-weights balanced, so that rare labels count as much."
        lines.append(
            f"Uneven: {commonest} has {counts[commonest]} {unit}, {rarest} {counts[rarest]}. "
            f"{remedy} Prefer F1 to accuracy."
        )
    if few := [f"{label} {count}" for label, count in counts.items() if count < FEW]:
        advice = "." if in_folds else ", and use `activity crossval`, which tests on every clip."
        lines.append(
            f"Few {unit}: {and_more(few, 5, 'labels')}. Metrics for labels with fewer than "
            f"{FEW} {unit} are unreliable: add {unit}{advice}"
        )
    return lines
