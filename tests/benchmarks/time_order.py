"""Does the LSTM earn its place? Drawn clips, persons held out, two pairs that differ only in order.

    python -m tests.benchmarks.time_order [--clips-per-label 24] [--seed 0]
    python -m tests.benchmarks.time_order --scratch [--clips-per-label 100] [--views 12]

Prints the accuracy of majority, single-frame, mean-pool and LSTM heads on the same features, over
all labels and on each pair alone (0.5 is chance). With --scratch a small CNN learns the four
actions of the pairs from nothing, with its LSTM, from grey frames of 32 x 32 pixels.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

from activity_cli.data.dataset import Dataset
from activity_cli.data.splits import Folds, make_folds
from activity_cli.features.backbones import find_backbone, scratch_backbone
from activity_cli.features.labelled import DataConfig
from activity_cli.model.metrics import pair_accuracy
from activity_cli.sampledata import ACTIONS, draw_dataset
from activity_cli.settings import (
    AugmentSettings,
    ClipSettings,
    CnnSettings,
    NetworkSettings,
)
from activity_cli.training.crossval import CrossvalRun, run_crossval
from activity_cli.training.head import HeadConfig

PAIRS = (("sit_down", "stand_up"), ("pick_up", "put_down"))


def main() -> None:
    """Draw, cross-validate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips-per-label", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        draw_dataset(
            work / "clips",
            clips_per_label=arguments.clips_per_label or (100 if arguments.scratch else 24),
            seed=arguments.seed,
            labels=[label for pair in PAIRS for label in pair] if arguments.scratch else ACTIONS,
        )
        drawn = time.perf_counter()
        run = (
            learn_from_nothing(work, num_views=arguments.views, num_folds=arguments.folds)
            if arguments.scratch
            else compare(work)
        )
    labels = run.data.dataset.labels
    for name, result in (run.rounds or {"scratch": run.result}).items():
        told_apart = {
            f"{a}/{b}": pair_accuracy(
                result.scores, run.data.targets, labels.index(a), labels.index(b)
            )
            for a, b in PAIRS
        }
        on_pairs = "  ".join(f"{pair} {share:.3f}" for pair, share in told_apart.items())
        print(f"{name:>12}: accuracy {result.evaluation.accuracy:.3f}  {on_pairs}")
    print(f"{drawn - started:.0f} s to draw, {time.perf_counter() - drawn:.0f} s to learn")


def compare(folder: Path) -> CrossvalRun:
    """All heads on the features of the pretrained CNN."""
    return run_crossval(
        folder / "clips",
        DataConfig(backbone=find_backbone(), clip=ClipSettings(), cache_dir=folder / "cache"),
        deal=by_person,
        head=HeadConfig(),
        compare=True,
    )


def learn_from_nothing(folder: Path, *, num_views: int, num_folds: int) -> CrossvalRun:
    """A CNN for each fold, on small grey frames."""
    clip, cnn = ClipSettings(frame_size=32, channels=1), CnnSettings(mode="scratch")
    return run_crossval(
        folder / "clips",
        DataConfig(
            backbone=scratch_backbone(clip, cnn),
            clip=clip,
            cache_dir=folder / "cache",
            augment=AugmentSettings(num_views=num_views),
        ),
        deal=partial(by_person, num_folds=num_folds),
        # The views already regularise it.
        head=HeadConfig(network=NetworkSettings(dropout=0.3)),
        cnn=cnn,
    )


def by_person(dataset: Dataset, num_folds: int = 5) -> Folds:
    """Nobody is in training and held out at once."""
    return make_folds(dataset, num_folds=num_folds, group_column="group")


if __name__ == "__main__":
    main()
