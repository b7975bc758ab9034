"""Labelled videos -> features on disk, targets, and the folds of a search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from activity_cli.common.files import output_error
from activity_cli.data.dataset import Dataset
from activity_cli.data.splits import Folds, inner_split, spare_val
from activity_cli.errors import DataError
from activity_cli.features.labelled import DataConfig, LabelledClips, read_labelled
from activity_cli.settings import Stream
from activity_cli.training.crossval import VAL_FRACTION
from activity_cli.training.tuning.space import Space

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStore:
    """Features of all clips in a folder, for every number of frames that a search may use."""

    folder: Path
    streams: tuple[Stream, ...]  # streams in the files
    num_read: dict[int, int]
    """Number of frames -> frames per clip in the file that contains it; see `plan_readings`."""

    def features(self, num_frames: int) -> NDArray[np.float16]:
        """Return (N, S, T, D) of all clips, mapped from disk."""
        num_read = self.num_read[num_frames]
        values = np.load(self.path(num_read), mmap_mode="r")
        return cast(NDArray[np.float16], values[:, :, frames_taken(num_read, num_frames)])

    def path(self, num_read: int) -> Path:
        """Return the file of clips with a number of frames."""
        return self.folder / f"features-{num_read}.npy"


def plan_readings(num_frames: Sequence[int]) -> dict[int, int]:
    """Map each number of frames to the largest one whose clips contain its frames exactly.

    A clip's frames are on screen at the middles of T equal parts of it. With an odd k, these are
    every k-th frame of the clip of k * T frames; with an even k the middles fall in between.
    """
    wanted = sorted(set(num_frames), reverse=True)
    return {
        number: next(read for read in wanted if read % number == 0 and read // number % 2 == 1)
        for number in wanted
    }


def frames_taken(num_read: int, num_frames: int) -> slice:
    """Return which of the frames of a longer clip make up the shorter one, along the time axis."""
    step = num_read // num_frames
    return slice(step // 2, None, step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Row numbers of the clips that a candidate is fitted to and scored on."""

    name: str  # unique within a tuning
    train: Rows
    val: Rows
    """Choose the best epoch. Empty where clips are few: inner cross-validation does it then."""
    held_out: Rows
    groups: Rows | None = None  # (N,) group of each clip of the data set, if there are groups


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningData:
    """All clips that could be decoded."""

    dataset: Dataset  # the N clips
    targets: NDArray[Any]  # (N,) label of each clip, or (N, C) of multi-label ones
    store: FeatureStore
    seed: int  # draws the validation parts
    num_left_out: int = 0  # clips without a decoded frame

    def subset(self, rows: Rows) -> Dataset:
        """Return the data set of some of the clips."""
        return replace(self.dataset, samples=tuple(self.dataset.samples[row] for row in rows))

    def folds(self, rows: Rows, dealt: Folds, *, name: str) -> list[Fold]:
        """Return the folds of a search among some clips, from the fold of each of them."""
        return [
            self.fold(fitted=rows[~is_out], held_out=rows[is_out], name=f"{name}-{number}")
            for number in range(len(dealt.names))
            for is_out in [dealt.index == number]
        ]

    def fold(self, *, fitted: Rows, held_out: Rows, name: str) -> Fold:
        """Return one fold, with a validation part where there are enough clips."""
        groups, targets = self.dataset.groups(), self.targets[fitted]
        own = None if groups is None else groups[fitted]
        parts = inner_split(targets, own, fraction=VAL_FRACTION, seed=self.seed)
        train, val = (fitted[part] for part in spare_val(*parts))
        return Fold(name=name, train=train, val=val, held_out=held_out, groups=groups)


def read_tuning_data(
    dataset: Dataset,
    data_config: DataConfig,
    space: Space,
    folder: Path,
    *,
    check: Callable[[LabelledClips], None] = lambda _: None,
) -> TuningData:
    """Read all clips with every number of frames that the space needs; store features in a folder.

    `check` is called with the first features, before the others are read.

    Raises:
        DataError: the data cannot be used, or changes while it is read.
        BackboneError: the CNN's weights cannot be loaded.
        OutputError: the folder or the cache cannot be written.
    """
    store = FeatureStore(folder=folder, streams=space.streams, num_read=plan_readings(space.frames))
    first: LabelledClips | None = None
    for num_read in sorted(set(store.num_read.values()), reverse=True):
        clip = replace(data_config.clip, num_frames=num_read, streams=space.streams)
        labelled = read_labelled(dataset, replace(data_config, clip=clip))
        if first is None:
            first = labelled
            check(first)
        if labelled.dataset.samples != first.dataset.samples:
            raise DataError(
                "The clips change while they are read: some could be decoded only once.",
                hint="Wait until no program writes to them, then run the command again.",
            )
        try:
            np.save(store.path(num_read), labelled.features.values)
        except OSError as error:
            raise output_error(folder, error) from error
    assert first is not None
    return TuningData(
        dataset=first.dataset,
        targets=first.targets,
        store=store,
        seed=space.base.training.seed,
        num_left_out=len(first.left_out),
    )
