"""Does the LSTM earn its place? Drawn clips, persons held out, two pairs that differ only in order.

    python -m tests.benchmarks.time_order [--clips-per-label 24] [--seed 0]

Prints the accuracy of majority, single-frame, mean-pool and LSTM heads on the same features, over
all labels and on each pair alone (0.5 is chance).
"""

import argparse
import tempfile
from pathlib import Path

from activity_cli.backbones import find_backbone
from activity_cli.crossval import run_crossval
from activity_cli.evaluation import pair_accuracy
from activity_cli.labelled import Reading
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import ClipSettings, NetworkSettings, TrainSettings
from activity_cli.splits import make_folds

PAIRS = (("sit_down", "stand_up"), ("pick_up", "put_down"))


def main() -> None:
    """Draw, cross-validate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clips-per-label", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        draw_dataset(clips, clips_per_label=arguments.clips_per_label, seed=arguments.seed)
        run = run_crossval(
            clips,
            Reading(
                backbone=find_backbone(), clip=ClipSettings(), cache_dir=Path(folder) / "cache"
            ),
            deal=lambda dataset: make_folds(dataset, group_column="group"),
            network=NetworkSettings(),
            settings=TrainSettings(),
            compare=True,
        )
    labels = run.data.dataset.labels
    for name, result in run.rounds.items():
        told_apart = {
            f"{a}/{b}": pair_accuracy(
                result.scores, run.data.targets, labels.index(a), labels.index(b)
            )
            for a, b in PAIRS
        }
        on_pairs = "  ".join(f"{pair} {share:.3f}" for pair, share in told_apart.items())
        print(f"{name:>12}: accuracy {result.evaluation.accuracy:.3f}  {on_pairs}")


if __name__ == "__main__":
    main()
