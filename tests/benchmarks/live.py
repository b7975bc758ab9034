"""The delay of a live watch: on the machine as it is, slowed down, and after the camera was away.

    python -m tests.benchmarks.live CLIPS [--seconds 20] [--clips 8] [--cameras 1 2 4 8]

A camera (Motion JPEG over HTTP, 20 frames a second, in a process of its own) plays clips of the
folder; `activity watch` with the shipped model looks at it. The delay is from the arrival of a
window's last frame to the line that is printed. With `--cameras`, so many watches at once, of five
windows a second each, in place of all that.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.mjpeg_server import Camera

_AWAY_SECONDS = 3.0


def main() -> None:
    """Watch, slow down, take the camera away; print what it did to the delay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clips", type=int, default=8, dest="num_clips")
    parser.add_argument("--cameras", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    found = sorted(arguments.clips.rglob("*.mp4"))
    clips = found[:: max(1, len(found) // arguments.num_clips)]
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if arguments.cameras:
        with Camera(clips) as camera:
            for count in arguments.cameras:
                watch_at_once(count, camera.address, arguments.seconds)
        return
    with Camera(clips) as camera, Lines(camera.address) as lines:
        lines.until("connected")
        report("as it is", lines.during(arguments.seconds))
        with busy_processes(2 * (os.cpu_count() or 1)):
            report("2 busy processes per core", lines.during(arguments.seconds))
        with pulses(lines.process):
            report("stopped 3/4 of the time", lines.during(arguments.seconds))
        lines.during(3)
        camera.kill()
        lost = lines.until("lost")
        print(f"camera killed: {lost['reason']}")
        time.sleep(_AWAY_SECONDS)
        camera.start()
        back = time.monotonic()
        lines.until("connected")
        print(
            f"camera back after {_AWAY_SECONDS:g} s: found after {time.monotonic() - back:.1f} s,"
        )
        lines.until("")
        print(f"and the first window {time.monotonic() - back:.1f} s after it was back")


def watch_at_once(count: int, address: str, seconds: float) -> None:
    """Watch a camera several times at once, as if each were another one."""
    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        watches = [stack.enter_context(Lines(address, "--stride", "0.2")) for _ in range(count)]
        for lines in watches:
            lines.until("")  # the first window
        windows = [w for found in pool.map(lambda one: one.during(seconds), watches) for w in found]
    report(f"{count} at once", windows)
    print(f"{len(windows) / count / seconds:.1f} windows a second each")


class Lines:
    """The lines of a watch as they come. A context manager."""

    def __init__(self, address: str, *options: str) -> None:
        command = [
            sys.executable,
            "-m",
            "activity_cli",
            "watch",
            address,
            "--model",
            "surveillance-fight",
            "--json",
            "--quiet",
            *options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        summary = self.process.communicate()[0].splitlines()[-1]
        print(f"exit code {self.process.returncode}; {summary}")

    def next(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the watch ended by itself")
        content: dict[str, Any] = json.loads(line)
        return content

    def until(self, event: str) -> dict[str, Any]:
        """The next event of a kind; with none, the next window."""
        while (line := self.next()).get("event", "") != event:
            pass
        return line

    def during(self, seconds: float) -> list[dict[str, Any]]:
        """The windows of so long a time."""
        end = time.monotonic() + seconds
        lines = []
        while time.monotonic() < end:
            lines.append(self.next())
        return [line for line in lines if "event" not in line]


def report(name: str, windows: list[dict[str, Any]]) -> None:
    delays = [window["delay_seconds"] for window in windows]
    dropped = statistics.mean(window["dropped"] for window in windows) / 16
    print(
        f"{name:28s} {len(windows):4d} windows   delay: median {statistics.median(delays):.2f} s, "
        f"worst {max(delays):.2f} s   dropped {dropped:.0%}"
    )


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextmanager
def pulses(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Let a process stand still for 0.6 of every 0.8 s."""
    code = (
        "import os, signal, sys, time\n"
        "while True:\n"
        "    os.kill(int(sys.argv[1]), signal.SIGSTOP); time.sleep(0.6)\n"
        "    os.kill(int(sys.argv[1]), signal.SIGCONT); time.sleep(0.2)\n"
    )
    pulsing = subprocess.Popen([sys.executable, "-c", code, str(process.pid)])
    try:
        yield
    finally:
        pulsing.kill()
        pulsing.wait()
        process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    main()
