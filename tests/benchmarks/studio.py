"""How long it takes from a folder of videos to the first predictions, in the studio.

    python -m tests.benchmarks.studio FOLDER

Starts `activity studio` on a copy of FOLDER, in which every folder is a label, labels half of the
videos as the page does, presses Train, and waits until all videos have a prediction. Prints seconds
from the start of the program: wall time, and CPU time of all its processes.
"""

import argparse
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.studio.page import Page


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="one folder of videos per label")
    source = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "videos"
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("labels.csv", ".*", "runs"))
        began = time.monotonic()
        words = [sys.executable, "-m", "activity_cli", "studio", str(folder), "--no-browser"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            address = process.stdout.readline().removeprefix("http://127.0.0.1:")
            port, token = address.split("/?token=")
            page = Page(int(port), token=token.strip())
            clips = page.get("/api/clips?limit=500")["clips"]
            show(began, f"page with {len(clips)} videos")
            for clip in clips[::2]:
                label = {"op": "label", "clip": clip["id"], "label": clip["name"].split("/")[0]}
                page.edit(label)
            show(began, f"{len(clips[::2])} labels on the disk")
            job = page.post("/api/jobs", 202, kind="train")
            stage = ""
            while job["state"] in ("queued", "running"):
                time.sleep(0.2)
                job = page.get(f"/api/jobs/{job['id']}")
                if job["stage_name"] != stage:
                    stage = job["stage_name"]
                    show(began, f"stage: {stage}")
            assert job["state"] == "done", job["error"]
            number = page.get("/api/project")["counts"]["predicted"]
            show(began, f"{number} videos have a prediction")
            process.send_signal(signal.SIGINT)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"CPU time of all processes: {spent.ru_utime + spent.ru_stime:.1f} s")


def show(began: float, text: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)


if __name__ == "__main__":
    main()
