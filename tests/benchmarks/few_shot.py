"""Few-shot: five drawn clips per label to learn from, other people to be measured on.

    python -m tests.benchmarks.few_shot [--streams all] [--shots 5] [--repeats 5]

Draws clips of all sample actions. In every repeat other people give the training clips; everybody
else is measured on, by the model as `activity train` makes it. Prints the accuracy of each repeat,
the mean over them and the share that chance would get.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

from activity_cli.features.backbones import find_backbone
from activity_cli.features.labelled import DataConfig
from activity_cli.sampledata import draw_dataset
from activity_cli.settings import ClipSettings, parse_streams
from activity_cli.training.fitting import Plan, fit_plan
from activity_cli.training.head import HeadConfig
from activity_cli.training.run import run_folder, save_run


def main() -> None:
    """Draw, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--streams", default="both")
    parser.add_argument("--clips-per-label", type=int, default=24)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = draw_dataset(folder / "clips", clips_per_label=arguments.clips_per_label)
        clip = ClipSettings(streams=parse_streams(arguments.streams))
        data_config = DataConfig(backbone=find_backbone(), clip=clip, cache_dir=folder / "cache")
        accuracies = []
        for repeat in range(arguments.repeats):
            data = deal(table, arguments.shots, repeat)
            with run_folder(folder / "runs", f"repeat{repeat}") as run:
                result = save_run(
                    fit_plan(Plan(data=data, data_config=data_config, head=HeadConfig())), run
                )
            accuracies.append(result.evaluation.accuracy)
            print(
                f"repeat {repeat}: {len(result.split.train) + len(result.split.val)} clips to "
                f"learn from, {result.evaluation.num_clips} of other people: "
                f"accuracy {accuracies[-1]:.3f}",
                flush=True,
            )
        chance = 1 / len(result.evaluation.labels)
    print(
        f"{arguments.shots} clips per label: accuracy {np.mean(accuracies):.3f} "
        f"({min(accuracies):.3f} to {max(accuracies):.3f}), chance {chance:.3f}"
    )


def deal(table: Path, shots: int, repeat: int) -> Path:
    """A CSV beside `table` whose split column gives `shots` clips per label of few people."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    people = np.random.default_rng(repeat).permutation(sorted({row["group"] for row in rows}))
    left = dict.fromkeys((row["label"] for row in rows), shots)
    teachers = set()
    for person in people:
        for row in (row for row in rows if row["group"] == person and left[row["label"]]):
            left[row["label"]] -= 1
            row["split"] = "train"
            teachers.add(person)
        if not any(left.values()):
            break
    kept = []
    for row in rows:
        if row["group"] not in teachers:
            row["split"] = "test"
        if "split" in row:
            kept.append(row)
    path = table.with_name(f"repeat{repeat}.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "group", "split"])
        writer.writeheader()
        writer.writerows(kept)
    return path


if __name__ == "__main__":
    main()
