"""Cross-validate on the surveillance fights, and train the model that activity ships.

    python -m tests.benchmarks.surveillance_fight DATA          # figures
    python -m tests.benchmarks.surveillance_fight DATA --ship   # and models/surveillance-fight
    python -m tests.benchmarks.surveillance_fight DATA --calibrate   # its scores, not its weights
    python -m tests.benchmarks.surveillance_fight DATA --cnn finetune --views 4   # of other options

DATA is the folder with the 300 clips and their labels.csv (columns path, label, group,
fold_random, fold_by_source). Options of `activity crossval` go to it. Every command is run as a
user would, in a process of its own: first with an empty cache, then with what it left there. Peak
memory is that of the process.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from activity_cli.common.files import write_text_atomically
from activity_cli.data.splits import make_folds
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import choose_engine
from activity_cli.features.labelled import DataConfig
from activity_cli.model.folder import (
    CARD_FILE,
    CONFUSION_FILE,
    MODEL_SUBFOLDER,
    ModelDescription,
    load_model,
    write_ood_detector,
)
from activity_cli.model.folder import write_description as write_model_json
from activity_cli.model.ood import fit_ood_detector
from activity_cli.report.run_folder import write_model_card
from activity_cli.training.crossval import run_crossval
from activity_cli.training.head import HeadConfig

NAME = "surveillance-fight"
ZOO = Path(__file__).parents[2] / "models"
FOLD_COLUMNS = ("fold_random", "fold_by_source")
DATA_NOTES = """\
[Surveillance Camera Fight Dataset](https://github.com/seymanurakti/fight-detection-surv-dataset)
by Aktı, Tataroğlu and Ekenel ("Vision-based Fight Detection from Surveillance Cameras", IPTA 2019),
MIT licence: 300 clips of about 2 s from surveillance cameras, 150 with a fight and 150 without.
The clips are not part of this repository."""
LIMITS = """\
- Two labels and nothing else: every video gets one of them, whatever it shows, unless
  `--reject auto` reports it as unknown. The OOD score decides that; its threshold leaves room for
  new cameras, so about a third of drawn figures is rejected.
- 300 clips from the web, mostly fixed cameras and people at some distance. Other cameras, crowds,
  sports, dancing and play-fights were hardly seen; expect mistakes there.
- Clips of about 2 s. A longer video is sampled to the same 16 frames, so a short fight in it may
  fall between them.
- It was not examined for differences between groups of people. Do not let it decide about people
  without a person who looks at the video."""


@dataclass(frozen=True)
class Finished:
    """A command that ended well."""

    result: dict[str, Any]
    seconds: float
    peak_mib: float


def main() -> None:
    """Parse the arguments and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--calibrate", action="store_true")
    arguments, options = parser.parse_known_args()
    if options and (arguments.ship or arguments.calibrate):
        parser.error(f"what is shipped has the defaults, not {' '.join(options)}")
    if arguments.calibrate:
        calibrate_shipped(arguments.data)
        return

    results = {}
    for column in FOLD_COLUMNS:
        with tempfile.TemporaryDirectory() as cache:
            first = time_crossval(arguments.data, column, Path(cache), *options)
            again = time_crossval(arguments.data, column, Path(cache)) if not options else first
        low, high = first.result["confidence_interval"]
        print(
            f"{column}: accuracy {first.result['accuracy']:.3f} ({low:.3f} to {high:.3f}), "
            f"{first.seconds:.0f} s from an empty cache, "
            f"{'' if options else f'{again.seconds:.0f} s from the cache, '}"
            f"peak memory {max(first.peak_mib, again.peak_mib):.0f} MiB"
        )
        # What depends on this machine is not part of the result.
        results[column] = {
            key: value
            for key, value in first.result.items()
            if key not in {"command", "conclusion", "seconds"}
        }
    if arguments.ship:
        ship(arguments.data, results)


def time_crossval(data: Path, fold_column: str, cache: Path, *options: str) -> Finished:
    """Cross-validate on a given set of folds."""
    return run("crossval", str(data), "--fold-column", fold_column, *options, cache=cache)


def run(*arguments: str, cache: Path) -> Finished:
    """Run a command of activity and read its JSON."""
    command = [sys.executable, "-m", "activity_cli", *arguments, "--json", "--quiet"]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, env={**os.environ, "ACTIVITY_CACHE_DIR": str(cache)}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        result = json.load(output)
    seconds = time.perf_counter() - started
    return Finished(result=result, seconds=seconds, peak_mib=usage.ru_maxrss / 1024)


def ship(data: Path, results: dict[str, dict[str, Any]]) -> None:
    """Train on all clips and put the model, with the cross-validated figures, into the zoo."""
    target = ZOO / NAME
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        command = ["train", str(data), "--name", NAME, "--test-fraction", "0"]
        run(*command, "--output", str(work), cache=work / "cache")
        model = load_model(work / NAME / MODEL_SUBFOLDER)
        out_of_fold = work / "crossval"
        column = FOLD_COLUMNS[1]
        run(
            "crossval",
            str(data),
            "--fold-column",
            column,
            "--output",
            str(out_of_fold),
            cache=work / "cache",
        )
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(model.folder, target)
        shutil.copy(out_of_fold / CONFUSION_FILE, target / CONFUSION_FILE)
    description = replace(
        model.description,
        metrics={"cross_validation": results},
        data={**model.description.data, "licence": "MIT", "source": NAME},
    )
    write_model_json(replace(model, folder=target, description=description))
    calibrate_shipped(data)


def calibrate_shipped(data: Path) -> None:
    """Give the model in the zoo its temperature, its rule for unknown clips, and its card.

    They come from predictions by source video, out of fold; what the clips look like, from all.
    """
    model = load_model(ZOO / NAME)
    with tempfile.TemporaryDirectory() as cache:
        crossval = run_crossval(
            data,
            DataConfig(
                backbone=find_backbone(),
                clip=model.description.clip,
                cache_dir=Path(os.environ.get("ACTIVITY_CACHE_DIR", cache)),
                engine=choose_engine(device="cpu"),
            ),
            deal=lambda dataset: make_folds(dataset, fold_column=FOLD_COLUMNS[1]),
            head=HeadConfig(),
        )
        ood_detector = fit_ood_detector(
            crossval.data.features.values, np.arange(len(crossval.data.targets))
        )
    description = replace(model.description, calibration=crossval.result.calibration)
    write_ood_detector(replace(model, description=description), ood_detector)
    write_card(description)


def write_card(description: ModelDescription) -> None:
    """The model card, from what model.json says."""
    target = ZOO / NAME
    card = write_model_card(
        description,
        results=describe_results(description.metrics["cross_validation"]),
        command="python -m tests.benchmarks.surveillance_fight DATA --ship",
        data_notes=DATA_NOTES,
        limits=LIMITS,
    )
    write_text_atomically(target / CARD_FILE, card)
    print(f"Wrote {target}")


def describe_results(results: dict[str, dict[str, Any]]) -> str:
    """The cross-validated figures as Markdown."""
    lines = [
        "5-fold cross-validation over all 300 clips, every clip scored by a model that did not see",
        "it. `fold_random` deals clips at random; `fold_by_source` never has clips of one source",
        "video in two folds, so it says more about new cameras.",
        "",
        "| folds | accuracy | 95% interval | log-loss | precision | recall | F1 (macro) |",
        "|---|---|---|---|---|---|---|",
    ]
    for column, metrics in results.items():
        low, high = metrics["confidence_interval"]
        lines.append(
            f"| `{column}` | {metrics['accuracy']:.3f} | {low:.3f} to {high:.3f} "
            f"| {metrics['log_loss']:.3f} | {metrics['macro_precision']:.3f} "
            f"| {metrics['macro_recall']:.3f} | {metrics['macro_f1']:.3f} |"
        )
    for column, metrics in results.items():
        labels, confusion = metrics["labels"], metrics["confusion"]
        lines += ["", f"Confusion on `{column}` (rows are true labels):", ""]
        lines += ["| | " + " | ".join(labels) + " |", "|---" * (len(labels) + 1) + "|"]
        lines += [
            f"| **{label}** | " + " | ".join(map(str, row)) + " |"
            for label, row in zip(labels, confusion, strict=True)
        ]
    lines += [
        "",
        "The choice is nested: in every outer fold, the weights of the streams, the penalty, the",
        "best epoch and the weight of the LSTM come from inner folds of the training clips, by",
        "source. The shipped weights were trained on all clips in the same way. The picture shows",
        "`fold_by_source`.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
