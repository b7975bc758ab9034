"""Labelled clips: samples with their labels, groups, splits and folds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from activity_cli.errors import DataError

SplitName = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A labelled clip: a video, or a piece of one."""

    path: Path
    """Absolute."""
    name: str
    """The path as the user wrote it, or relative to the data folder: for reports."""
    label: str
    start_seconds: float | None = None
    """Start of the piece; None is the start of the video."""
    end_seconds: float | None = None
    """End of the piece; None is the end of the video."""
    group: str | None = None
    """Person, camera or source that must not be in two parts of a split."""
    split: SplitName | None = None
    folds: Mapping[str, str] = field(default_factory=dict)
    """Values of all other columns; cross-validation may take its folds from one of them."""
    line: int | None = None
    """Line of the CSV, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Samples of a folder or a CSV, in a fixed order."""

    root: Path
    """The folder that names are relative to."""
    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    """All labels, sorted: the order of the model's outputs."""

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
        """Return (N,) the number of each sample's group by another column; "" is no group.

        Raises:
            DataError: there is no such column.
        """
        if column == "group":
            values = [sample.group for sample in self.samples]
        else:
            values = [sample.folds.get(column) for sample in self.samples]
        if not any(values):
            raise self.no_column(column)
        return _numbers(
            [value or sample.path for value, sample in zip(values, self.samples, strict=True)]
        )

    def check_label(self, label: str | None) -> None:
        """Check that there are clips of a label; None always passes.

        Raises:
            DataError: there are none.
        """
        if label is not None and label not in self.labels:
            raise DataError(
                f"There are no clips of the background label {label!r}.",
                hint=f"The labels are: {', '.join(self.labels)}.",
            )

    def no_column(self, column: str) -> DataError:
        """Return the error for a column that the data does not have."""
        columns = [
            name for name in ("group", "split") if any(getattr(s, name) for s in self.samples)
        ]
        columns += self.samples[0].folds
        return DataError(
            f"{self.root}: the data has no column {column} with values; "
            f"its columns are {', '.join(columns) or 'path and label only'}.",
            hint="Choose one of these, or add the column to the CSV.",
        )


def sample_groups(samples: Sequence[Sample]) -> NDArray[np.int64] | None:
    """Return (N,) the number of each sample's group, as `Dataset.groups`."""
    return _numbers([sample.group or sample.path for sample in samples])


def _numbers(values: Sequence[object]) -> NDArray[np.int64] | None:
    """Return (N,) the same number for equal values, or None when all differ."""
    known: dict[object, int] = {}
    numbers = [known.setdefault(value, len(known)) for value in values]
    return np.array(numbers, dtype=np.int64) if len(known) < len(values) else None
