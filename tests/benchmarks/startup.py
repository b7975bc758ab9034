"""Time to start `activity predict`, against the import of torch, and the help.

    python -m tests.benchmarks.startup [--rounds 7]

Whole processes, caches warm, on a drawn clip: with its features in the cache, and with --no-cache,
where the clip is decoded and goes through the CNN. Help is compared with the import of Typer and
Rich, which print it. Ratios are of medians; commands take turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from activity_cli.sampledata import draw_dataset

ACTIVITY = (sys.executable, "-m", "activity_cli")
MODEL = ("--model", "surveillance-fight")


def main() -> None:
    """Time the commands in turns and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw_dataset(Path(folder, "clips"), clips_per_label=1, labels=("wave",))
        clip = str(next(Path(folder, "clips").rglob("*.mp4")))
        commands = {
            "import torch": (sys.executable, "-c", "import torch"),
            "import typer, rich": (sys.executable, "-c", "import typer, rich"),
            "activity predict": (*ACTIVITY, "predict", clip, *MODEL),
            "activity predict --no-cache": (*ACTIVITY, "predict", clip, *MODEL, "--no-cache"),
            "activity --help": (*ACTIVITY, "--help"),
            "activity train --help": (*ACTIVITY, "train", "--help"),
        }
        environment = {**os.environ, "ACTIVITY_CACHE_DIR": str(Path(folder, "cache"))}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(arguments.rounds + 1):
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, env=environment, capture_output=True, check=True)
                if number:  # the first round warms the caches
                    seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        base = "import typer, rich" if "--help" in name else "import torch"
        print(f"{name:28s} {median:.2f} s   {median / medians[base]:.2f} of {base}")


if __name__ == "__main__":
    main()
