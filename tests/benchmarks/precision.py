"""What reduced precision of the CNN costs in accuracy, on the data sets and folds of `heads`.

    python -m tests.benchmarks.precision FIGHTS WEIZMANN [--only fold_by_source] [--speed best]

Per data set and precision: the head trained on fp32 features scores the held-out clips' features of
that precision (models move between machines), and the head trained on features of that precision
scores the same. Folds are those of fp32. Features come from the user's cache and are written to it.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from activity_cli.cli.settings import SPEEDS
from activity_cli.errors import SettingsError
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import Engine, Precision, identity_of
from activity_cli.settings import ClipSettings, parse_streams
from activity_cli.training.head import HeadConfig, fit_head
from activity_cli.training.scoring import score_rows
from tests.benchmarks.heads import Task, tasks

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")


def main() -> None:
    """Extract, cross-validate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("fights", type=Path)
    parser.add_argument("weizmann", type=Path)
    parser.add_argument("--only", default="", help="data sets with this in their names")
    parser.add_argument("--streams", default="rgb+motion")
    parser.add_argument("--speed", choices=SPEEDS, default="balanced")
    arguments = parser.parse_args()
    clip = ClipSettings(streams=parse_streams(arguments.streams))
    clip = replace(clip, rgb_every=SPEEDS[arguments.speed].rgb_every)
    engines = {}
    for precision in PRECISIONS:
        engine = Engine(name="openvino", device="cpu", precision=precision)
        try:
            identity_of(engine, find_backbone())
        except SettingsError as error:
            print(error.message)
        else:
            engines[precision] = engine
    with tempfile.TemporaryDirectory() as folder:
        sets = (
            tasks(arguments.fights, arguments.weizmann, Path(folder), clip, engine)
            for engine in engines.values()
        )
        for found in zip(*sets, strict=True):
            if arguments.only in found[0].name:
                measure(dict(zip(engines, found, strict=True)))


def measure(task: dict[str, Task]) -> None:
    """Print the figures of one data set, whose features are given by precision."""
    reference = task["fp32"]
    scores: dict[tuple[str, str], list[NDArray[np.float32]]] = {}
    for train, held_out in reference.folds:
        for trained, own in task.items():
            network = fit_head(own.data, HeadConfig(), train, train[:0]).network
            for scored in task if trained == "fp32" else [trained]:
                rows = score_rows(network, task[scored].data.values, held_out)
                scores.setdefault((trained, scored), []).append(rows)
    targets = np.concatenate([reference.data.targets[rows] for _, rows in reference.folds])
    joined = {names: np.concatenate(parts) for names, parts in scores.items()}
    plain = joined["fp32", "fp32"]
    for (trained, scored), given in joined.items():
        loss = -np.log(np.maximum(given[np.arange(len(targets)), targets], 1e-12)).mean()
        print(
            f"{reference.name:22} trained on {trained}, scored {scored}: "
            f"accuracy {(given.argmax(1) == targets).mean():.2%}, log-loss {loss:.4f}, "
            f"same label {(given.argmax(1) == plain.argmax(1)).mean():.1%}, "
            f"mean difference of scores {np.abs(given - plain).mean():.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
