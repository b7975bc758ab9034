"""Sentences about drawn clips of held-out persons: the model beside three baselines.

    python -m tests.benchmarks.describe FOLDER [--clips-per-label 40]

Draws clips with captions to FOLDER/clips unless they are there, trains with the defaults of
`activity train --task describe`, and prints CIDEr, BLEU-4 and chrF, and the share of sentences that
name the action, the shirt's colour and the place of the clip.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from activity_cli.sampledata import draw_dataset
from activity_cli.sampledata.captions import VERBS

PLACES = ("on the grass", "on a wooden floor", "on a stone floor")


def names_action(row: Mapping[str, str], sentence: str) -> bool:
    verb = VERBS[row["path"].split("/")[0]]
    return verb.present in sentence or verb.gerund in sentence


def names_shirt(row: Mapping[str, str], sentence: str) -> bool:
    colour = row["reference_1"].partition(" shirt")[0].split()[-1]
    return f" {colour} shirt" in sentence


def names_place(row: Mapping[str, str], sentence: str) -> bool:
    place = next(place for place in PLACES if place in row["reference_1"].lower())
    return place in sentence.lower()


SHARES: Mapping[str, Callable[[Mapping[str, str], str], bool]] = {
    "action": names_action,
    "shirt": names_shirt,
    "place": names_place,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips-per-label", type=int, default=40)
    options = parser.parse_args()
    clips, runs = options.folder / "clips", options.folder / "runs"
    if not (clips / "captions.csv").exists():
        draw_dataset(clips, clips_per_label=options.clips_per_label, captions=True)
    train = ("train", str(clips), "--task", "describe", "--output", str(runs), "--json")
    command = [sys.executable, "-m", "activity_cli", *train]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    with Path(found["run"], "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    print(f"{len(rows)} {found['measured_on']} clips of held-out persons, best epoch", end=" ")
    print(found["best_epoch"])
    print("| source | CIDEr | BLEU-4 | chrF |", " | ".join(SHARES), "|")
    print("|" + "---|" * (4 + len(SHARES)))
    for name, metrics in found["metrics"].items():
        column = "caption" if name == "model" else name
        cider, bleu, chrf = (metrics[key] for key in ("CIDEr", "BLEU-4", "chrF"))
        shares = (
            sum(is_right(row, row[column]) for row in rows) / len(rows)
            for is_right in SHARES.values()
        )
        print(
            f"| {name} | {cider[0]:.2f} ({cider[1]:.2f}-{cider[2]:.2f}) | {bleu[0]:.1%} |"
            f" {chrf[0]:.1%} |",
            " | ".join(f"{share:.1%}" for share in shares),
            "|",
        )


if __name__ == "__main__":
    main()
