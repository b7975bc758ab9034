"""Files that vanish, rows lost or doubled, scores invented: all must be 0, whatever happens.

    python -m tests.benchmarks.nothing_lost CLIPS [--odd FOLDER] [--only tree kills fuzz disk]

CLIPS is a folder of sound videos; a third of the files used are drawn. Every part runs the real
command, prints what came of it, and ends with an exit code other than 0 if anything is wrong:

    tree    2,000 files, 3% of them damaged in eight ways: one row each, the right status, exit code
            3, and memory as for a tenth of them
    kills   kill -9 at ten random moments, each followed by the same command: rows as of an unbroken
            run, byte for byte after sorting
    fuzz    500 mutated videos (random byte flips and cuts): no traceback, no hang, no lost row
    disk    a disk that fills up, and a place that cannot be written: a clear message, and the same
            command goes on
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity_cli.common.files import is_video, walk_files
from activity_cli.sampledata import draw_dataset
from tests.benchmarks.memory import watch_memory
from tests.workplace import rows_of

ROOT = Path(__file__).parents[2]
# Root may read and write everything; without these two rights it is like anybody else.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    stderr: str
    seconds: float
    peak_mib: float
    """Of all its processes together."""


class Place:
    """A folder to run the command in, with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, name: str) -> Path:
        """A new folder."""
        path = self.folder / name
        path.mkdir()
        return path

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `activity predict`, without root's rights where this is root."""
        before = AS_ANYBODY if os.geteuid() == 0 else []
        return subprocess.Popen(
            [
                *before,
                sys.executable,
                "-m",
                "activity_cli",
                "predict",
                "--model",
                "surveillance-fight",
                *arguments,
            ],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "HOME": str(self.folder),
                "ACTIVITY_CACHE_DIR": str(self.folder / "cache"),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, timeout: float = 3000) -> Outcome:
        """Run `activity predict` to its end."""
        started = time.perf_counter()
        process = self.start(*arguments)
        with watch_memory(process.pid) as peak:
            _, stderr = process.communicate(timeout=timeout)
        check("Traceback" not in stderr, stderr)
        seconds = time.perf_counter() - started
        return Outcome(process.returncode, stderr, seconds, max(peak, default=0.0))


def check(condition: bool, message: str) -> None:
    """End with a message unless something is as it must be."""
    if not condition:
        raise SystemExit(f"FAILED: {message}")


def main() -> None:
    """Run the parts that were asked for."""
    parts: dict[str, Callable[[Place, Sequence[Path], Path | None], None]] = {
        "tree": show_tree,
        "kills": show_kills,
        "fuzz": show_fuzz,
        "disk": show_disk,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--odd", type=Path, help="more videos to mutate")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    arguments = parser.parse_args()
    clips = [path.absolute() for path in walk_files(arguments.clips) if is_video(path)]
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        draw_dataset(place.folder / "drawn", clips_per_label=4)
        clips += [path for path in walk_files(place.folder / "drawn") if is_video(path)] * (
            len(clips) // 80 + 1
        )
        random.Random(0).shuffle(clips)
        place.run(str(clips[0]))  # prepares the networks
        for part in arguments.only:
            parts[part](place, clips, arguments.odd)
    print("nothing lost, nothing doubled, nothing invented")


def show_tree(place: Place, clips: Sequence[Path], odd: Path | None) -> None:
    """2,000 files, 3% of them damaged."""
    del odd
    peaks = []
    for count in (200, 2000):
        tree = place.new(f"tree{count}")
        expected = plant(tree, clips, count)
        output = place.folder / f"rows{count}.csv"
        outcome = place.run(str(tree), "--no-cache", "--output", str(output))
        peaks.append(outcome.peak_mib)
        rows = rows_of(output)
        found = {row["path"]: row["status"] for row in rows}
        wrong = {p: (s, found.get(p)) for p, s in expected.items() if found.get(p) not in s}
        check(len(rows) == len(found) == count, f"{len(rows)} rows for {count} files")
        check(not wrong, f"expected and found: {list(wrong.items())[:5]}")
        check(all((r["score"] != "") == (r["status"] in SCORED) for r in rows), "invented scores")
        check(outcome.code == 3, f"exit code {outcome.code}")
        rate = count / outcome.seconds
        print(
            f"tree    {count} files: {dict(Counter(found.values()))}, exit code 3, "
            f"{rate:.1f} files/s, peak memory of all processes {outcome.peak_mib:.0f} MiB"
        )
    growth = peaks[1] / peaks[0]
    check(growth < 1.25, f"memory grew {growth:.2f} times from 200 to 2,000 files")


SCORED = {"ok", "short", "truncated"}


def plant(tree: Path, clips: Sequence[Path], count: int) -> dict[str, set[str]]:
    """Fill a folder with clips and with damaged files; gives the statuses to expect."""
    ways = (
        truncate_half,
        cut_to_a_kilobyte,
        write_noise,
        write_nothing,
        write_text,
        make_folder,
        forbid,
        make_pipe,
    )
    expected: dict[str, set[str]] = {}
    for number in range(count):
        source = clips[number % len(clips)]
        path = tree / f"cam {number % 7}" / f"é{number:05d}{source.suffix}"
        path.parent.mkdir(exist_ok=True)
        if number % 33 == 20:
            path = path.with_suffix(".mp4")
            expected[str(path)] = ways[number // 33 % len(ways)](path, source)
        else:
            link(source, path)
            expected[str(path)] = SCORED
    return expected


def link(source: Path, path: Path) -> None:
    """Another name for a file, or a copy; several symbolic links to one file would be one file."""
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copy(source, path)


def truncate_half(path: Path, source: Path) -> set[str]:
    """What is left depends on the container: most MP4 files have their index at the end."""
    content = source.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return {"truncated", "unreadable", "ok"}


def cut_to_a_kilobyte(path: Path, source: Path) -> set[str]:
    """Nothing but a header."""
    path.write_bytes(source.read_bytes()[:1024])
    return {"unreadable"}


def write_noise(path: Path, source: Path) -> set[str]:
    """Random bytes."""
    path.write_bytes(random.Random(source.name).randbytes(50_000))
    return {"unreadable"}


def write_nothing(path: Path, source: Path) -> set[str]:
    """An empty file."""
    del source
    path.touch()
    return {"unreadable"}


def write_text(path: Path, source: Path) -> set[str]:
    """A text file."""
    path.write_text(f"not {source.name}")
    return {"unreadable"}


def make_folder(path: Path, source: Path) -> set[str]:
    """A folder with a video's name."""
    del source
    path.mkdir()
    return {"unreadable"}


def forbid(path: Path, source: Path) -> set[str]:
    """A file that may not be read."""
    shutil.copy(source, path)
    path.chmod(0)
    return {"unreadable"}


def make_pipe(path: Path, source: Path) -> set[str]:
    """A pipe that nobody writes to."""
    del source
    os.mkfifo(path)
    return {"unreadable"}


def show_kills(place: Place, clips: Sequence[Path], odd: Path | None) -> None:
    """kill -9 at ten random moments."""
    del odd
    tree = place.new("kills")
    plant(tree, clips, 400)
    unbroken, broken = place.folder / "unbroken.csv", place.folder / "broken.csv"
    whole = place.run(str(tree), "--no-cache", "--output", str(unbroken))
    moments = random.Random(0)
    kept = []
    for _ in range(10):
        process = place.start(str(tree), "--no-cache", "--output", str(broken))
        time.sleep(moments.uniform(0.3, whole.seconds / 8))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        rows = rows_of(broken) if broken.exists() else []
        check(len({row["path"] for row in rows}) == len(rows), "a row is there twice")
        kept.append(len(rows))
    end = place.run(str(tree), "--no-cache", "--output", str(broken))
    check(end.code == 3, f"exit code {end.code}")
    same = sorted(unbroken.read_bytes().splitlines()) == sorted(broken.read_bytes().splitlines())
    check(same, "rows differ from those of the unbroken run")
    print(f"kills   10 kills, rows after each: {kept}; then all 400, as of an unbroken run")


def show_fuzz(place: Place, clips: Sequence[Path], odd: Path | None) -> None:
    """500 mutated videos."""
    sources = [p.absolute() for p in walk_files(odd)] if odd else []
    sources += clips[:60]
    tree = place.new("fuzz")
    chance = random.Random(0)
    for number in range(500):
        source = sources[number % len(sources)]
        (tree / f"{number:03d}{source.suffix}").write_bytes(mutate(source.read_bytes(), chance))
    output = place.folder / "fuzz.csv"
    outcome = place.run(str(tree), "--no-cache", "--output", str(output), "--timeout", "60")
    rows = rows_of(output)
    names = {row["path"] for row in rows}
    expected = {str(path) for path in walk_files(tree) if is_video(path)}
    check(names == expected and len(rows) == len(names), f"{len(rows)} rows of {len(expected)}")
    check(outcome.code in {0, 3}, f"exit code {outcome.code}")
    statuses = Counter(row["status"] for row in rows)
    print(f"fuzz    {len(rows)} mutated videos: {dict(statuses)}, {outcome.seconds:.0f} s")


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Flip bytes here and there, or in one place, or cut the end or a piece out of the middle."""
    changed = bytearray(content)
    match chance.randrange(4):
        case 0:
            for _ in range(chance.choice([1, 10, 100, 1000])):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
        case 1:
            start = chance.randrange(len(changed))
            length = min(chance.choice([16, 256, 4096]), len(changed) - start)
            changed[start : start + length] = chance.randbytes(length)
        case 2:
            del changed[chance.randrange(1, len(changed)) :]
        case _:
            start = chance.randrange(len(changed))
            del changed[start : start + chance.choice([1, 100, 10_000])]
    return bytes(changed) or b"\0"


def show_disk(place: Place, clips: Sequence[Path], odd: Path | None) -> None:
    """A disk that fills up, then has room again; a place that cannot be written."""
    del odd
    tree = place.new("disk")
    plant(tree, clips, 300)
    locked = place.folder / "locked"
    locked.mkdir(mode=0o555)
    refused = place.run(str(tree), "--output", str(locked / "rows.csv"))
    check(refused.code == 1 and "Cannot write" in refused.stderr, refused.stderr)
    print(f"disk    not writable: exit code 1, {refused.stderr.strip().splitlines()[0]!r}")
    if os.geteuid() != 0:
        print("disk    the full disk needs root, to mount a small one")
        return
    small = place.new("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        output = small / "rows.csv"
        full = place.run(str(tree), "--output", str(output))
        check(full.code == 1 and "No space left" in full.stderr, full.stderr)
        before = len(rows_of(output))
        subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
        end = place.run(str(tree), "--output", str(output))
        rows = rows_of(output)
        check(end.code == 3, f"exit code {end.code}: {end.stderr}")
        check(len({r["path"] for r in rows}) == len(rows) == 300, f"{len(rows)} rows")
        print(f"disk    full after {before} rows: exit code 1; with room again, all 300")
    finally:
        subprocess.run(["umount", small], check=True)


if __name__ == "__main__":
    main()
