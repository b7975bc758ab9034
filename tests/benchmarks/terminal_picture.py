"""Draw the README's terminal picture from what the commands really print.

    make demo && .venv/bin/python -m tests.benchmarks.terminal_picture

Runs two commands on what `make demo` left in demo/ and writes .github/terminal.svg.
"""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / ".github" / "terminal.svg"
COLUMNS = 92
COMMANDS = (
    "activity train demo/clips --name actions --output demo/picture --quiet",
    "activity predict demo/new --model demo/runs/actions",
)


def main() -> None:
    """Run the commands and write the picture."""
    shutil.rmtree(ROOT / "demo" / "picture", ignore_errors=True)
    environment = {
        **os.environ,
        "ACTIVITY_CACHE_DIR": "demo/cache",
        "COLUMNS": str(COLUMNS),
        "FORCE_COLOR": "1",
    }
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in COMMANDS:
        run = subprocess.run(
            [sys.executable, "-m", "activity_cli", *command.split()[1:]],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(run.stdout.rstrip()))
        console.print()
    svg = console.export_svg(title="activity")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fonts from the network
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
