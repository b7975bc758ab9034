"""What is a search for settings worth, and how long does it take? On the surveillance fights.

    python -m tests.benchmarks.tune DATA [--trials 40] [--fold-column fold_by_source]

Runs `activity tune DATA --nested` as a user would, by each fold column: a search among all clips,
then one per fold among the clips of the others, whose best settings are scored on that fold. The
clips' features are read beforehand, so the minutes are those of searching. Stopped, it goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLD_COLUMNS = ("fold_random", "fold_by_source")


def main() -> None:
    """Parse the arguments and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--fold-column", action="append", help="one of them only")
    parser.add_argument(
        "--output", type=Path, default=Path("tuning"), help="folder of the searches"
    )
    arguments = parser.parse_args()
    for column in arguments.fold_column or FOLD_COLUMNS:
        result = tune(arguments.data, column, arguments.trials, arguments.output / column)
        print(describe(column, result), flush=True)


def tune(data: Path, fold_column: str, trials: int, output: Path) -> dict[str, Any]:
    """Search with its honest score; gives metrics.json."""
    command = [sys.executable, "-m", "activity_cli", "tune", str(data), "--nested", "--json"]
    command += ["--fold-column", fold_column, "--trials", str(trials), "--output", str(output)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ)
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def describe(column: str, result: dict[str, Any]) -> str:
    """One line per fold column."""
    nested, best = result["nested"], result["best"]
    low, high = nested["interval"]
    return (
        f"{column}: on folds that no search saw {nested['tuned']['accuracy']:.3f} tuned, "
        f"{nested['default']['accuracy']:.3f} by default: {nested['difference']:+.3f} "
        f"({low:+.3f} to {high:+.3f}, bootstrap of {nested['bootstrap_of']}); "
        f"log-loss {nested['tuned']['log_loss']:.3f}, {nested['default']['log_loss']:.3f}. "
        f"The search itself says {best['accuracy']:.3f}. {result['num_trials']} trials and "
        f"{sum(fold['num_trials'] for fold in nested['folds'])} for that score: "
        f"{result['seconds']['searching'] / 60:.1f} min in this run, "
        f"{result['seconds']['all_trials'] / 60:.1f} min in all."
    )


if __name__ == "__main__":
    main()
