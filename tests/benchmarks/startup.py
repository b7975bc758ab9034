"""Time of whole commands, `activity predict`, help or `train`, against imports.

    python -m tests.benchmarks.startup [--rounds 9] [--train | --train-on FIGHTS]

Whole processes on a drawn clip, networks prepared: with its features in the cache; without them,
where the clip is decoded and goes through the CNN; and the same with --no-cache. Help is compared
with the import of Typer and Rich, which print it. CPU seconds are those of a command and its worker
processes. Ratios are of medians; commands take turns. --train times training on 100 and on 200
drawn clips in the cache instead; --train-on times it on a folder of clips, with features in the
cache and without, by the defaults and by those of the first versions.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from activity_cli.common.cache import FEATURES
from activity_cli.sampledata import draw_dataset

ACTIVITY = (sys.executable, "-m", "activity_cli")
MODEL = ("--model", "surveillance-fight")
NEW = ", not in the cache"
"""End of the names of commands before which the cache of features is emptied."""
FORMER = ("--streams", "rgb+motion", "--speed", "best", "--precision", "fp32")


def main() -> None:
    """Time the commands in turns and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=9)
    training = parser.add_mutually_exclusive_group()
    training.add_argument("--train", action="store_true")
    training.add_argument("--train-on", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands: dict[str, tuple[str, ...]] = {
            "import torch": (sys.executable, "-c", "import torch"),
            **chosen(Path(folder), arguments),
        }
        environment = {**os.environ, "ACTIVITY_CACHE_DIR": str(Path(folder, "cache"))}
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(arguments.rounds + 1):
            for name, command in commands.items():
                if name.endswith(NEW):
                    shutil.rmtree(Path(folder, "cache", FEATURES), ignore_errors=True)
                wall, cpu = time.perf_counter(), _cpu_seconds()
                subprocess.run(command, env=environment, capture_output=True, check=True)
                if number:  # the first round warms the caches
                    used = time.perf_counter() - wall, _cpu_seconds() - cpu
                    measured[name].append(used)
    medians = {
        name: tuple(map(statistics.median, zip(*values, strict=True)))
        for name, values in measured.items()
    }
    for name, (wall, cpu) in medians.items():
        base = "import typer, rich" if "--help" in name else "import torch"
        base_wall, base_cpu = medians[base]
        print(
            f"{name:38s} {wall:.2f} s, {cpu:.2f} CPU s   "
            f"{wall / base_wall:.2f}, {cpu / base_cpu:.2f} of {base}"
        )


def chosen(folder: Path, arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the commands that the arguments ask for."""
    if arguments.train_on:
        train = train_command(arguments.train_on, folder)
        return {
            f"train{NEW}": train,
            "train": train,
            f"train, first versions{NEW}": (*train, *FORMER),
            "train, first versions": (*train, *FORMER),
        }
    return train_commands(folder) if arguments.train else short_commands(folder)


def short_commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Draw a clip; return what predicts it, and help."""
    draw_dataset(folder / "clips", clips_per_label=1, labels=("wave",))
    clip = str(next((folder / "clips").rglob("*.mp4")))
    return {
        "import typer, rich": (sys.executable, "-c", "import typer, rich"),
        "activity predict": (*ACTIVITY, "predict", clip, *MODEL),
        f"activity predict{NEW}": (*ACTIVITY, "predict", clip, *MODEL),
        "activity predict --no-cache": (*ACTIVITY, "predict", clip, *MODEL, "--no-cache"),
        "activity --help": (*ACTIVITY, "--help"),
        "activity train --help": (*ACTIVITY, "train", "--help"),
    }


def train_commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Draw clips of ten actions; return what trains on them."""
    commands: dict[str, tuple[str, ...]] = {}
    for count in (10, 20):
        clips = folder / f"clips{count}"
        draw_dataset(clips, clips_per_label=count)
        commands[f"activity train, {10 * count} clips"] = train_command(clips, folder)
    return commands


def train_command(clips: Path, folder: Path) -> tuple[str, ...]:
    """Return what trains on a folder of clips."""
    return (*ACTIVITY, "train", str(clips), "--output", str(folder / "runs"))


def _cpu_seconds() -> float:
    """Return the CPU seconds of all child processes that have ended, and of their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
