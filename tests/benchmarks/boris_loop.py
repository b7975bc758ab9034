"""From a BORIS project with overlapping behaviours to a model, and back to BORIS.

    python -m tests.benchmarks.boris_loop [FOLDER]

Draws six videos of a person who squats and waves, at times both at once, and writes their events as
a BORIS project. `activity import` makes labels of it, `train` fits a multi-label model to four
videos, `evaluate` measures it on the other two, `predict` writes their segments as a BORIS project
again, and `import` reads that. Prints frame mAP and segment F1 on the two held-out videos.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.long_videos import LONG_ACTIONS, Event, draw_long_video

NUM_VIDEOS, NUM_HELD_OUT, SECONDS = 6, 2, 40.0
ASKED_MAP = 0.9


def main() -> None:
    """Draw, import, train, measure, predict, import again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp(prefix="boris-loop-"))
    folder.mkdir(exist_ok=True)
    videos = folder / "videos"
    videos.mkdir(exist_ok=True)
    events = {}
    for number in range(NUM_VIDEOS):
        name = f"day{number}.mp4"
        events[name] = draw_long_video(videos / name, seconds=SECONDS, seed=number)
    (folder / "project.boris").write_text(json.dumps(boris_project(events)))
    run(folder, "import", "project.boris", "--videos", "videos", "--output", "videos/labels.csv")
    held_out = sorted(events)[-NUM_HELD_OUT:]
    split_table(videos / "labels.csv", held_out)
    run(folder, "train", "videos/train.csv", "--name", "loop", "--test-fraction", "0")
    run(folder, "evaluate", "runs/loop", "videos/test.csv", "--output", "measured")
    paths = [f"videos/{name}" for name in held_out]
    run(folder, "predict", *paths, "--model", "runs/loop", "--segments", "found.boris", "--json")
    run(folder, "import", "found.boris", "--videos", "videos", "--output", "found.csv")
    found = read_rows(folder / "found.csv")
    metrics = json.loads((folder / "measured" / "metrics.json").read_text())
    timelines = metrics["timelines"]
    print(f"\nHeld-out videos: {NUM_HELD_OUT} of {NUM_VIDEOS}, {timelines['seconds']:.0f} s")
    print(f"Frame mAP {timelines['frame_map']:.3f} (asked: {ASKED_MAP})")
    for iou, f1 in timelines["segment_f1"].items():
        print(f"Segment F1 at IoU {iou}: {f1:.3f}")
    print(f"Segments in BORIS's project, read again: {sum(bool(row['label']) for row in found)}")
    sys.exit(timelines["frame_map"] < ASKED_MAP)


def boris_project(events: Mapping[str, Sequence[Event]]) -> dict[str, Any]:
    """Return a project as BORIS saves it: each second row of a behaviour ends it."""
    behaviours = {
        str(number): {"type": "State event", "key": label[0], "code": label, "modifiers": {}}
        for number, label in enumerate(LONG_ACTIONS)
    }
    observations = {}
    for name, found in events.items():
        rows = sorted(
            [time, "", label, "", ""] for label, start, end in found for time in (start, end)
        )
        observations[name.partition(".")[0]] = {
            "type": "MEDIA",
            "file": {"1": [name]},
            "events": rows,
            "media_info": {"length": {name: SECONDS}},
            "observation time interval": [0, 0],
        }
    return {
        "project_format_version": "7.0",
        "behaviors_conf": behaviours,
        "subjects_conf": {},
        "observations": observations,
    }


def split_table(table: Path, held_out: Sequence[str]) -> None:
    """Write the rows of the held-out videos to test.csv, the others to train.csv."""
    rows = read_rows(table)
    for name, is_held_out in (("train.csv", False), ("test.csv", True)):
        with (table.parent / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(row for row in rows if (row["path"] in held_out) == is_held_out)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(folder: Path, *arguments: str) -> None:
    """Run a command of the program; its output stays on the screen."""
    print("\n$ activity", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "activity_cli", *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    main()
