"""Worker processes: what a decoder may do to them, and what that costs the others."""

import ctypes
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from activity_cli.common.processes.pool import WorkerPool
from activity_cli.common.tables import RowError
from activity_cli.errors import (
    ActivityError,
    LongVideoError,
    MissingExtraError,
    MissingVideoError,
    SettingsError,
    VideoError,
    WorkerCrashError,
    WorkerTimeoutError,
)
from activity_cli.export.exporting import ExportConfig, ExportReport, ParityError
from activity_cli.settings import ClipSettings
from activity_cli.video.clips import read_clip
from tests.media import DrawClip, noise_pictures
from tests.processes import PATIENCE_SECONDS
from tests.worker_functions import (
    main_of_parent,
    note_and_sleep,
    note_and_spin,
    print_much,
    raise_odd_error,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at processes as POSIX does")


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerPool]:
    """Two workers for the tests that do not count them."""
    with WorkerPool(2, timeout_seconds=PATIENCE_SECONDS) as pool:
        yield pool


def is_running(pid: int) -> bool:
    """Whether there is such a process. One that has ended but was not waited for counts here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def has_ended(pid: int) -> bool:
    """Whether a process that is not ours, so that others wait for it, has come to its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return not is_running(pid)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_clip_from_a_worker_equals_one_read_here(shared: WorkerPool, draw_clip: DrawClip) -> None:
    path = draw_clip("clip.mp4", pictures=noise_pictures(30))
    settings = ClipSettings(num_frames=8, streams=("rgb", "motion"))

    there = shared.call(read_clip, path, settings, start_seconds=0.5, num_threads=1)

    here = read_clip(path, settings, start_seconds=0.5, num_threads=1)
    assert there.images.keys() == here.images.keys() == {"rgb", "motion"}
    for stream, images in here.images.items():
        np.testing.assert_array_equal(there.images[stream], images)
        assert there.images[stream].flags.writeable
    np.testing.assert_array_equal(there.decoded.seconds, here.decoded.seconds)
    assert there.decoded.status is here.decoded.status
    assert there.decoded.num_frames == here.decoded.num_frames


def test_many_threads_get_each_their_own_results(shared: WorkerPool) -> None:
    def ask(number: int) -> bool:
        # From nothing to more than any pipe holds, both ways, in an order that is no C order.
        sent = np.full((number % 5, 400_000), number, np.uint8).T
        got = shared.call(np.add, sent, 1)
        return got.shape == sent.shape and bool((got == number + 1).all())

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(ask, range(60)))


def test_nothing_that_is_printed_gets_between_the_messages(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with WorkerPool(1) as pool:
        assert pool.call(print_much) == "all printed"
        assert pool.call(max, 1, 2) == 2
        with pytest.raises(WorkerCrashError, match="SIGABRT"):
            pool.call(os.abort)

    assert capfd.readouterr() == ("", "")


def test_a_crash_costs_one_call() -> None:
    with WorkerPool(1) as pool:
        before = pool.call(os.getpid)

        with pytest.raises(WorkerCrashError) as caught:
            pool.call(ctypes.string_at, 0)  # reads address 0

        assert caught.value.status == "crashed"
        assert caught.value.message == "The decoder crashed on this file (SIGSEGV)."
        assert pool.call(os.getpid) != before
        with pytest.raises(WorkerCrashError, match="exit code 3"):
            pool.call(os._exit, 3)
        assert pool.call(max, 1, 2) == 2


def test_a_hang_costs_the_timeout(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    imports = [note_and_sleep.__module__]
    with (
        WorkerPool(1, timeout_seconds=2, imports=imports) as pool,
        ThreadPoolExecutor() as threads,
    ):
        first = pool.call(os.getpid)
        started = time.monotonic()
        hanging = threads.submit(pool.call, note_and_sleep, pid_file)
        wait_for(pid_file.exists)

        # Waits for the first call and for a new worker, which does not count as its own time.
        assert pool.call(time.sleep, 0.2) is None

        with pytest.raises(WorkerTimeoutError) as caught:
            hanging.result()
        assert caught.value.status == "timeout"
        assert caught.value.message == "Decoding took longer than 2 s."
        assert time.monotonic() - started >= 2
        assert not is_running(first)


def test_errors_of_ours_come_back_as_they_are(shared: WorkerPool, tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n")

    with pytest.raises(MissingVideoError) as missing:
        shared.call(read_clip, tmp_path / "gone.mp4", ClipSettings())
    with pytest.raises(VideoError) as refused:
        shared.call(read_clip, playlist, ClipSettings())

    assert missing.value.status == "missing"
    assert missing.value.message == "There is no file at this path."
    assert refused.value.message == "It is a playlist, not a video."
    assert refused.value.hint == "Name the videos that it lists instead."


def all_errors() -> list[ActivityError]:
    """One of each class of the tree."""
    special: list[ActivityError] = [
        MissingExtraError("INT8", package="nncf", extra="int8"),
        LongVideoError(60.0),
        RowError(Path("rows.csv"), 7, "label", "is empty", hint="Give it a label."),
        ParityError(
            ExportReport(
                folder=Path("exports"),
                model="gym",
                config=ExportConfig(formats=("onnx",)),
                num_clips=1,
                verified_on="clips",
                parities=(),
            )
        ),
    ]
    classes: list[type[ActivityError]] = [ActivityError]
    for error_class in classes:  # grows as it is gone through
        classes += [c for c in error_class.__subclasses__() if c.__module__ != __name__]
    plain = set(classes) - {type(error) for error in special}
    in_order = sorted(plain, key=lambda c: c.__qualname__)
    return [*special, *(c("It failed.", hint="Try again.") for c in in_order)]


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: type(error).__name__)
def test_every_error_survives_pickling(error: ActivityError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert (copy.message, copy.hint) == (error.message, error.hint)


def test_bugs_keep_their_traceback(shared: WorkerPool) -> None:
    with pytest.raises(json.JSONDecodeError) as known:
        shared.call(json.loads, "{")
    with pytest.raises(RuntimeError, match="OddError: odd: very") as odd:
        shared.call(raise_odd_error)

    assert "decoder.py" in known.value.__notes__[0]
    assert "in raise_odd_error" in odd.value.__notes__[0]
    with pytest.raises((pickle.PicklingError, AttributeError)):
        shared.call(lambda: None)  # says so here, instead of losing a worker
    assert shared.call(max, 1, 2) == 2


def test_close_ends_busy_workers_and_the_calls_that_wait(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pool = WorkerPool(2)
    with ThreadPoolExecutor() as threads:
        idle = pool.call(os.getpid)
        spinning = threads.submit(pool.call, note_and_spin, pid_file)
        wait_for(pid_file.exists)
        calls: list[Future[Any]] = [spinning]
        calls += [threads.submit(pool.call, time.sleep, 60) for _ in range(2)]

        pool.close()

        pids = {idle, int(pid_file.read_text())}
        assert not any(map(is_running, pids))
        for call in calls:
            with pytest.raises(RuntimeError, match="closed"):
                call.result(timeout=PATIENCE_SECONDS)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.call(max, 1, 2)


@pytest.mark.usefixtures("_own_stack")
def test_ctrl_c_in_a_call_leaves_the_pool_usable(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt() -> None:
        wait_for(pid_file.exists)
        signal.pthread_kill(main_thread, signal.SIGINT)

    with WorkerPool(1) as pool, ThreadPoolExecutor() as threads:
        pid = pool.call(os.getpid)

        interrupting = threads.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.call(note_and_sleep, pid_file)

        interrupting.result()
        assert not is_running(pid)
        assert pool.call(max, 1, 2) == 2


def run_parent(body: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a Python program with a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", body, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    body = f"import sys, pathlib, {main_of_parent.__module__} as functions\n"
    body += "functions.main_of_parent(pathlib.Path(sys.argv[1]))"
    with run_parent(body, str(pid_file)) as parent:
        assert parent.stdout is not None
        idle = int(parent.stdout.readline())
        wait_for(pid_file.exists)
        busy = int(pid_file.read_text())
        assert not has_ended(busy)

        parent.kill()
        parent.wait()

        wait_for(lambda: has_ended(idle) and has_ended(busy))


def test_workers_do_not_hear_ctrl_c_and_end_with_the_interpreter() -> None:
    body = """
import os, signal, sys, threading, time
from activity_cli.common.processes.pool import WorkerPool
signal.signal(signal.SIGINT, lambda *_: None)
pool = WorkerPool(1)
pid = pool.call(os.getpid)
threading.Timer(0.3, os.killpg, (0, signal.SIGINT)).start()
pool.call(time.sleep, 1)
assert pool.call(os.getpid) == pid
print(pid)
"""  # and no close
    with run_parent(body) as parent:
        stdout, stderr = parent.communicate(timeout=PATIENCE_SECONDS)

    assert (parent.returncode, stderr) == (0, "")
    assert has_ended(int(stdout))


def test_a_broken_installation_is_told_and_not_tried_for_ever() -> None:
    with (
        WorkerPool(1, imports=["activity_cli.no_such_module"]) as pool,
        pytest.raises(ActivityError, match="end as soon as they are started") as caught,
    ):
        pool.call(max, 1, 2)
    assert "ACTIVITY_DEBUG" in caught.value.hint


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(SettingsError, match="num_workers"):
        WorkerPool(0)
    with pytest.raises(SettingsError, match="timeout_seconds"):
        WorkerPool(1, timeout_seconds=0)


def test_every_worker_gets_the_environment_of_its_pool() -> None:
    with WorkerPool(1, environment={"ONLY_IN_WORKERS": "yes"}) as pool:
        assert pool.call(os.getenv, "ONLY_IN_WORKERS") == "yes"
        with pytest.raises(WorkerCrashError):
            pool.call(os.abort)
        assert pool.call(os.getenv, "ONLY_IN_WORKERS") == "yes"


def test_a_worker_imports_no_more_than_the_function_needs() -> None:
    with WorkerPool(1, imports=["activity_cli.video.clips"]) as pool:
        loaded = pool.call(eval, "set(__import__('sys').modules)")

    assert "cv2" in loaded
    assert not {"torch", "openvino", "sklearn", "matplotlib", "safetensors"} & loaded
