"""The command as it was typed, so that a run's files can say how to do it again."""

import shlex
import sys
from pathlib import Path


def this_command() -> str:
    """The command line of this process, quoted so that a shell reads it back the same."""
    return shlex.join(["activity", *sys.argv[1:]])


def go_on_command(data: Path, run: Path) -> str:
    """The command that goes on with a training run."""
    return shlex.join(["activity", "train", str(data), "--resume", str(run)])
