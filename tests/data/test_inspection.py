"""`activity check`: damage, odd files and duplicates."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from activity_cli.data.inspection.checks import FileCheck, check_file, check_files
from activity_cli.data.inspection.duplicates import find_duplicates
from activity_cli.data.inspection.fingerprints import FingerprintStore
from activity_cli.data.inspection.survey import Survey, find_files, survey
from activity_cli.errors import DataError, OutputError
from activity_cli.predict.results import check_rows_file, write_rows
from activity_cli.report.terminal.check import COLUMNS, make_rows, show_survey
from activity_cli.sampledata import draw_dataset
from activity_cli.types import Status
from tests.media import (
    DrawClip,
    Picture,
    drifting_pictures,
    iter_frames,
    noise_pictures,
    write_video,
)
from tests.processes import PATIENCE_SECONDS, stopped_reader, workers_of


def moving_square(count: int, seed: int, size: tuple[int, int] = (160, 120)) -> list[Picture]:
    """A square that wanders before the same noise, as before one camera; the seed says where."""
    width, height = size
    background = np.kron(
        np.random.default_rng(99).integers(60, 190, (12, 16, 3), dtype=np.uint8),
        np.ones((height // 12, width // 16, 1), dtype=np.uint8),
    )
    steps = np.random.default_rng(seed).normal(0, 0.4, (count, 2)).cumsum(axis=0).cumsum(axis=0)
    pictures = []
    for step in steps:
        x, y = (np.abs(step.astype(int) + 40) % [width - 30, height - 30]).tolist()
        picture = background.copy()
        picture[y : y + 30, x : x + 30] = 230
        pictures.append(picture)
    return pictures


def pictures_of(path: Path) -> list[Picture]:
    return [picture for _, picture in iter_frames(path)]


def sets_of(paths: Sequence[Path], store_folder: Path) -> list[set[str]]:
    """The names of the files of each set of duplicates."""
    with FingerprintStore(store_folder) as store:
        checks = list(check_files(paths, store, num_workers=2))
        assert [check.path for check in checks] == list(paths)
        found = find_duplicates(checks, store, [{}] * len(checks))
    return [{paths[file].name for file in one.files} for one in found]


def test_a_sound_file_has_nothing_to_tell(draw_clip: DrawClip) -> None:
    path = draw_clip("a.mp4", fps=12.5, pictures=drifting_pictures(50))

    check, pictures = check_file(path)

    assert check.is_sound
    assert (check.status, check.reason, check.damage, check.notes) == (Status.OK, "", (), ())
    assert (check.codec, check.width, check.height, check.rotation_degrees) == ("FMP4", 64, 48, 0)
    assert check.fps_from_header == check.fps_measured == pytest.approx(12.5)
    assert (check.num_frames, check.num_frames_from_header) == (50, 50)
    assert check.duration_seconds == pytest.approx(4.0)
    assert check.longest_gap_seconds == pytest.approx(0.08)
    assert check.num_bytes == path.stat().st_size
    assert pictures.shape == (40, 256)  # one for each tenth of a second, with the last at 3.92 s


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def clear_a_stretch(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3000:5000] = bytes(2000)
    path.write_bytes(content)


def turn_stamps_back(path: Path) -> None:
    """Let the blocks at 160, 200 and 240 ms of the first Matroska cluster all say 80 ms."""
    content = bytearray(path.read_bytes())
    for milliseconds in (160, 200, 240):
        block = content.index(b"\x81" + struct.pack(">h", milliseconds) + b"\0")
        content[block + 1 : block + 3] = struct.pack(">h", 80)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "break_it", "status", "damage"),
    [
        ("a.avi", cut_in_half, Status.TRUNCATED, "cut off"),
        ("a.mkv", cut_in_half, Status.TRUNCATED, "cut off"),
        ("a.mp4", clear_a_stretch, Status.TRUNCATED, "goes on, but is broken"),
        ("a.mkv", turn_stamps_back, Status.OK, "3 of 60 frames have a timestamp"),
    ],
)
def test_damage_is_told(
    name: str,
    break_it: Callable[[Path], None],
    status: Status,
    damage: str,
    draw_clip: DrawClip,
) -> None:
    path = draw_clip(name, fps=25, pictures=drifting_pictures(60, (160, 120)))
    assert check_file(path)[0].is_sound
    break_it(path)

    check, _ = check_file(path)

    assert not check.is_sound
    assert check.status is status
    assert len(check.damage) == 1
    assert damage in check.damage[0]


def test_frames_that_an_edit_list_hides_are_no_damage(draw_clip: DrawClip) -> None:
    path = draw_clip("a.mp4", fps=25, pictures=drifting_pictures(60, (160, 120)))
    content = bytearray(path.read_bytes())
    time = content.index(b"elst") + 16  # after version and flags, the count, and the duration
    content[time : time + 4] = struct.pack(">i", 12800 * 20 // 25)  # from the 20th frame on
    path.write_bytes(content)

    check, _ = check_file(path)

    assert (check.num_frames, check.num_frames_from_header) == (40, 60)
    assert check.is_sound
    assert check.notes == ("60 frames in the header, 40 decoded",)


def test_a_variable_frame_rate_is_told(tmp_path: Path) -> None:
    from PIL import Image

    pictures = [Image.fromarray(picture) for picture in noise_pictures(20)]
    for name, durations in (("steady", [100] * 20), ("variable", [100, 100, 100, 100, 400] * 4)):
        pictures[0].save(
            tmp_path / f"{name}.gif", save_all=True, append_images=pictures[1:], duration=durations
        )

    steady, _ = check_file(tmp_path / "steady.gif")
    variable, _ = check_file(tmp_path / "variable.gif")

    assert (steady.fps_variation, steady.has_variable_rate) == (0, False)
    assert variable.has_variable_rate
    assert variable.fps_variation == pytest.approx(3 / 19)  # the last frame's has no successor
    assert variable.longest_gap_seconds == pytest.approx(0.4)
    assert any("variable frame rate: 16%" in note for note in variable.notes)


def test_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "clips", clips_per_label=2, labels=("wave", "sit_down"))
    paths = sorted(tmp_path.rglob("*.mp4"))
    for number, path in enumerate(paths):  # the names of the labels' clips are the same
        paths[number] = path.rename(path.with_name(f"{path.parent.name}_{path.name}"))
    # One camera: the same background, other movements.
    paths += [
        write_video(tmp_path / f"camera{seed}.mp4", moving_square(60, seed), 25)
        for seed in range(3)
    ]
    expected = []
    for original in (paths[0], paths[4]):
        frames = pictures_of(original)
        rate = check_file(original)[0].fps_from_header or 0
        small = [np.ascontiguousarray(frame[::2, ::2]) for frame in frames]
        copies = [
            write_video(tmp_path / f"{original.stem}-coded.avi", frames, rate),
            write_video(tmp_path / f"{original.stem}-small.mp4", small, rate),
            write_video(tmp_path / f"{original.stem}-trimmed.mkv", frames[7:], rate),
            write_video(tmp_path / f"{original.stem}-slow.mp4", frames[::2], rate / 2),
        ]
        expected.append({original.name, *(copy.name for copy in copies)})
        paths += copies

    assert sets_of(paths, tmp_path) == expected


def test_a_short_piece_of_a_long_video_is_found(tmp_path: Path) -> None:
    pictures = moving_square(500, 0)
    paths = [
        write_video(tmp_path / "piece.mp4", pictures[203:243], 25),
        write_video(tmp_path / "long.mp4", pictures, 25),
        write_video(tmp_path / "piece2.mp4", pictures[403:443], 25),
    ]

    assert sets_of(paths, tmp_path) == [{"piece.mp4", "long.mp4", "piece2.mp4"}]


@pytest.mark.parametrize("fps", [4, 10, 24])
def test_a_fingerprint_has_a_picture_for_every_tenth_of_a_second(
    fps: float, draw_clip: DrawClip
) -> None:
    _, pictures = check_file(draw_clip("a.mp4", fps=fps, frames=2 * round(fps) + 1))

    assert pictures.shape == (21, 256)  # 0.0 to 2.0 s


def test_clips_in_which_nothing_moves_are_compared_as_pictures(tmp_path: Path) -> None:
    still = {
        "one.mp4": noise_pictures(1, seed=1) * 30,
        "copy.avi": noise_pictures(1, seed=1) * 30,
        "longer.mp4": noise_pictures(1, seed=1) * 60,  # as likely another clip of the same camera
        "other.mp4": [np.flipud(noise_pictures(1, seed=1)[0])] * 30,  # as light as the others
    }
    paths = [write_video(tmp_path / name, pictures, 20) for name, pictures in still.items()]

    assert sets_of(paths, tmp_path) == [{"one.mp4", "copy.avi"}]


@pytest.fixture
def look_at() -> Callable[[Sequence[str | Path]], Survey]:
    """Checks sources as the command does."""

    def look(sources: Sequence[str | Path]) -> Survey:
        return survey(find_files([str(source) for source in sources])[0], num_workers=2)

    return look


Look = Callable[[Sequence[str | Path]], Survey]


def crosses(found: Survey) -> list[Mapping[str, tuple[str, ...]]]:
    return [one.crosses for one in found.duplicates]


def test_copies_that_cross_labels_and_folds_are_leaks(tmp_path: Path, look_at: Look) -> None:
    for name in ("a", "b", "c"):
        write_video(tmp_path / f"{name}.mp4", moving_square(40, ord(name)), 20)
        (tmp_path / f"{name}2.mp4").write_bytes((tmp_path / f"{name}.mp4").read_bytes())
    table = tmp_path / "clips.csv"
    table.write_text(
        "path,label,group,fold,number\n"
        "a.mp4,run,anna,1,100\na2.mp4,walk,anna,1,101\n"
        "b.mp4,run,anna,1,102\nb2.mp4,run,berta,2,103\n"
        "c.mp4,walk,berta,2,104\nc2.mp4,walk,berta,2,105\n"
        + "".join(f"gone{i}.mp4,run,anna,1,{i}\n" for i in range(20))
    )

    found = look_at([table])

    # A column with as many values as rows says nothing about folds, so `number` is not crossed.
    assert crosses(found) == [
        {"label": ("run", "walk")},
        {"group": ("anna", "berta"), "fold": ("1", "2")},
        {},
    ]
    assert [check.status for check in found.checks[6:]] == [Status.MISSING] * 20
    assert found.overview.labels == {"run": 23, "walk": 3}
    assert found.overview.sound_labels == {"run": 3, "walk": 3}


def test_copies_in_two_folders_are_leaks(tmp_path: Path, look_at: Look) -> None:
    pictures = moving_square(40, 0)
    for folder in ("train/run", "train/walk", "test/run"):
        write_video(tmp_path / folder / f"{folder[-3:]}.mp4", pictures, 20)
        pictures = pictures if folder == "train/walk" else moving_square(40, 1)
    paths = [tmp_path / "train", tmp_path / "test"]

    whole = look_at([tmp_path])
    parts = look_at(paths)

    copies = {"split": ("test", "train"), "label": ("run", "walk")}
    assert crosses(whole) == [copies]
    source = {"label": ("run", "walk"), "source": tuple(sorted(map(str, paths)))}
    assert crosses(parts) == [source]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGKILL, Status.CRASHED), (signal.SIGSTOP, Status.TIMEOUT)]
)
def test_a_decoder_that_dies_or_hangs_costs_one_file(
    sent: signal.Signals, status: Status, tmp_path: Path, draw_clip: DrawClip
) -> None:
    long = draw_clip("long.avi", fps=25, pictures=noise_pictures(80, (960, 720)))
    paths = [draw_clip("before.mp4", frames=20), long, draw_clip("after.mp4", frames=20)]

    # One that hangs is only stopped. One that dies does so long before it takes too long.
    timeout_seconds = 5 if sent is signal.SIGSTOP else 200

    before = set(workers_of(os.getpid()))
    with ThreadPoolExecutor(1) as striker, FingerprintStore(tmp_path) as store:
        striking = striker.submit(lambda: os.kill(stopped_reader(long, besides=before), sent))
        checks = list(check_files(paths, store, num_workers=1, timeout_seconds=timeout_seconds))
        striking.result()

    assert [check.status for check in checks] == [Status.OK, status, Status.OK]
    assert checks[1].reason


def run(*arguments: str | Path, folder: Path, code: int) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "activity_cli", "check", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8:surrogateescape"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_every_file_gets_one_row_and_one_status(tmp_path: Path) -> None:
    folder = tmp_path / "footage"
    good = write_video(folder / "good.mp4", moving_square(40, 0), 20).read_bytes()
    for name in ("with space [red].mp4", "-dash.mp4", "ünï 走.mp4", "new\nline.mp4", "\udcff.mp4"):
        (folder / name).write_bytes(good)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("hello\n" * 99)
    (folder / "random.mp4").write_bytes(np.random.default_rng(0).bytes(20000))
    (folder / "cut.mp4").write_bytes(good[: len(good) // 2])
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    (folder / "directory.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")

    done = run("footage", "--json", "--output", "rows.csv", folder=tmp_path, code=3)

    document = json.loads(done.stdout)
    statuses = {Path(row["path"]).name: row["status"] for row in document["files"]}
    assert len(document["files"]) == len(statuses) == 13
    assert statuses == {
        **dict.fromkeys(("good.mp4", "with space [red].mp4", "-dash.mp4", "ünï 走.mp4"), "ok"),
        **dict.fromkeys(("new\nline.mp4", "\udcff.mp4"), "ok"),
        **dict.fromkeys(("empty.mp4", "text.mp4", "random.mp4", "cut.mp4"), "unreadable"),
        **{"dangling.mp4": "missing", "pipe.mp4": "unreadable", "directory.mp4": "unreadable"},
    }
    assert document["summary"]["num_unsound"] == 7
    assert [len(one["files"]) for one in document["duplicates"]] == [6]
    with (tmp_path / "rows.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    for row, wanted in zip(rows, document["files"], strict=True):
        assert tuple(row) == COLUMNS
        for name in ("path", "status", "duplicate_of", "sha256"):
            assert row[name] == wanted[name]


def test_one_sound_file_is_exit_code_0_and_a_full_disk_does_not_cost_the_report(
    tmp_path: Path,
) -> None:
    write_video(tmp_path / "a.mp4", moving_square(40, 0), 20)

    done = run("a.mp4", "--output", "rows.jsonl", folder=tmp_path, code=0)
    disk_full = run("a.mp4", "--output", "/dev/full/rows.csv", folder=tmp_path, code=1)

    for finished in (done, disk_full):
        assert "40 frames (40 by the header)" in finished.stdout
    assert json.loads((tmp_path / "rows.jsonl").read_text())["status"] == "ok"
    with pytest.raises(OutputError, match=r"rows.jsonl exists already"):
        check_rows_file(tmp_path / "rows.jsonl", overwrite=False)
    with pytest.raises(DataError, match="--exclude leave none"):
        find_files([str(tmp_path / "a.mp4")], exclude=["*"])


def test_rows_go_to_parquet(tmp_path: Path, look_at: Look, draw_clip: DrawClip) -> None:
    import pyarrow.parquet

    rows = make_rows(look_at([draw_clip("a.mp4", frames=20), "no.mp4"]))

    write_rows(tmp_path / "rows.parquet", COLUMNS, rows)

    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
    assert table.column_names == list(COLUMNS)
    assert table["frames"].to_pylist() == [20, None]
    assert table["seconds"].to_pylist() == [row["seconds"] for row in rows]


@pytest.mark.slow
def test_ctrl_c_reports_what_was_checked(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clips/00.avi", noise_pictures(30, (640, 480)), 20).read_bytes()
    for number in range(1, 40):
        (tmp_path / f"clips/{number:02}.avi").write_bytes(clip)
    command = [sys.executable, "-m", "activity_cli", "check", "clips", "--workers", "1"]
    with subprocess.Popen(
        [*command, "--output", "rows.csv"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        later = [tmp_path / f"clips/{number:02}.avi" for number in range(2, 40)]
        reader = stopped_reader(*later, of=process.pid)
        process.send_signal(signal.SIGINT)
        os.kill(reader, signal.SIGCONT)
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130, stdout + stderr
    rows = (tmp_path / "rows.csv").read_text().splitlines()[1:]
    assert 2 <= len(rows) < 40
    assert f"{len(rows)} of 40 files were checked" in stderr
    assert f"{len(rows)} files" in stdout


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_of_many_files_is_short(width: int, look_at: Look, draw_clip: DrawClip) -> None:
    found = look_at([draw_clip("good.mp4", frames=20), draw_clip("short.mp4", frames=3), "no.mp4"])
    good, _, missing = found.checks
    checks: list[FileCheck] = [good] * 270 + [missing] * 30
    many = Survey(
        columns=found.columns[:1] * 300,
        checks=tuple(checks),
        overview=found.overview,
        duplicates=(),
    )
    console = Console(width=width)
    with console.capture() as captured:
        console.print(show_survey(many))

    lines = captured.get().splitlines()
    assert len(lines) < 45
    assert max(map(len, lines)) <= width
    assert "and 10 more; use --output FILE for all" in captured.get()
