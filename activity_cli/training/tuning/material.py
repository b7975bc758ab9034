"""Labelled videos -> what searches work on: features on disk, targets, and folds of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import output_error
from activity_cli.data.dataset import Dataset
from activity_cli.data.splits import Folds, inner_split, spare_val
from activity_cli.errors import DataError
from activity_cli.features.labelled import DataConfig, LabelledFeatures, read_labelled
from activity_cli.training.crossval import VAL_FRACTION
from activity_cli.training.tuning.folds import Fold, Readings, Rows
from activity_cli.training.tuning.frames import plan_readings
from activity_cli.training.tuning.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All clips that could be decoded, once for every number of frames."""

    dataset: Dataset
    """The N clips."""
    targets: NDArray[np.int64]
    """(N,) label of each clip."""
    readings: Readings
    seed: int
    """Of the parts that choose the best epoch."""
    num_left_out: int = 0
    """Clips without a single decoded frame."""

    def part(self, rows: Rows) -> Dataset:
        """Some of the clips, as if there were no others."""
        return replace(self.dataset, samples=tuple(self.dataset.samples[row] for row in rows))

    def folds(self, rows: Rows, dealt: Folds, *, name: str) -> list[Fold]:
        """The folds of a search among some clips.

        Args:
            rows: the clips; no other takes part in anything.
            dealt: the fold of each of them.
            name: of the search, which its folds share.
        """
        return [
            self.fold(
                learned=rows[dealt.index != number],
                held_out=rows[dealt.index == number],
                name=f"{name}-{number}",
            )
            for number in range(len(dealt.names))
        ]

    def fold(self, *, learned: Rows, held_out: Rows, name: str) -> Fold:
        """One fold; of the clips to learn from, some choose the best epoch if there are many."""
        groups = self.dataset.groups()
        parts = inner_split(
            self.targets[learned],
            None if groups is None else groups[learned],
            fraction=VAL_FRACTION,
            seed=self.seed,
        )
        train, val = (learned[part] for part in spare_val(*parts))
        return Fold(name=name, train=train, val=val, held_out=held_out, groups=groups)


def read_material(
    dataset: Dataset,
    data_config: DataConfig,
    space: Space,
    folder: Path,
    *,
    check: Callable[[LabelledFeatures], None] = lambda _: None,
) -> Material:
    """Read all clips with every number of frames that the space needs, and keep them in a folder.

    `check` is called with the first reading, before the others.

    Raises:
        DataError: the data cannot be used, or changes while it is read.
        BackboneError: the CNN's weights are not to be had.
        OutputError: the folder or the cache cannot be written.
    """
    sources = plan_readings(space.frames)
    readings = Readings(folder=folder, streams=space.streams, sources=sources)
    first: LabelledFeatures | None = None
    for num_read in sorted({source.num_read for source in sources.values()}, reverse=True):
        clip = replace(data_config.clip, num_frames=num_read, streams=space.streams)
        labelled = read_labelled(dataset, replace(data_config, clip=clip))
        if first is None:
            first = labelled
            check(first)
        if labelled.dataset.samples != first.dataset.samples:
            raise DataError(
                "The clips change while they are read: not all of them could be decoded twice.",
                hint="Wait until nothing writes to them, and run the command again.",
            )
        try:
            np.save(readings.path(num_read), labelled.features)
        except OSError as error:
            raise output_error(folder, error) from error
    assert first is not None
    return Material(
        dataset=first.dataset,
        targets=first.targets,
        readings=readings,
        seed=space.base.training.seed,
        num_left_out=len(first.left_out),
    )
